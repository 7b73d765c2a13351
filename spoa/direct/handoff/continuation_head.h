/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Continuation head: whether the head of a node's answer (RFC 9112 4, 5) is exactly the one that announces the
 * continuation asked for. Bytes in, verdict out. */
#ifndef DISC_CONTINUATION_HEAD_H
#define DISC_CONTINUATION_HEAD_H

#include <stddef.h>
#include <stdint.h>

#define CONTINUATION_HEAD_MAX 16384u /* bytes */

enum continuation_head_status {
	CONTINUATION_HEAD_INCOMPLETE, /* more bytes are needed */
	CONTINUATION_HEAD_EXPECTED,   /* 206 with this announcement and this length; records follow */
	CONTINUATION_HEAD_REFUSED,    /* anything else */
};

/* Judges the <len> bytes at <bytes>. With CONTINUATION_HEAD_EXPECTED <*head_len> is the head's length; with
 * CONTINUATION_HEAD_REFUSED <*fault> is a static text. */
enum continuation_head_status continuation_head_judge(const char *bytes, size_t len, const char *announcement,
						      uint64_t length, size_t *head_len, const char **fault);

#endif

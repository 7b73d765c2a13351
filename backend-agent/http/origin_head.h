/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Origin head: the head of an origin's answer (RFC 9112 4, 5) - what of it goes on to the client, and whether its body
 * can be sealed. Lines in, struct out. */
#ifndef DISC_ORIGIN_HEAD_H
#define DISC_ORIGIN_HEAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define ORIGIN_HEAD_FIELDS_MAX 126976u /* bytes: leaves room for our own in a response's head */
#define ORIGIN_HEAD_REASON_MAX 64u
#define ORIGIN_HEAD_LISTED_MAX 512u
#define ORIGIN_HEAD_ETAG_MAX 256u

struct origin_head {
	int status; /* 0: no status line yet */
	char reason[ORIGIN_HEAD_REASON_MAX];
	bool complete;
	bool has_length;
	uint64_t length; /* Content-Length */
	bool has_transfer_encoding;
	bool has_strong_etag;                /* exactly one ETag, not weak (RFC 9110 8.8.3) */
	char etag[ORIGIN_HEAD_ETAG_MAX + 1]; /* it, if it is no longer than that; else empty */
	bool has_range;                      /* exactly one Content-Range that says where the body begins (14.4) */
	uint64_t range_first, range_length;  /* bytes */
	unsigned ranges;
	bool has_date;
	unsigned etags;
	char *fields; /* the end-to-end fields, as lines that each end with CRLF, terminated; NULL: none */
	size_t fields_len, fields_size;
	char listed[ORIGIN_HEAD_LISTED_MAX]; /* the values of Connection (RFC 9110 7.6.1), commas between them */
	size_t listed_len;
	const char *fault;
};

enum origin_head_status {
	ORIGIN_HEAD_INCOMPLETE, /* more lines follow */
	ORIGIN_HEAD_COMPLETE,   /* all of it is there */
	ORIGIN_HEAD_REFUSED,    /* malformed or too long, see head->fault: answer 502 */
};

/* Takes one line of <len> bytes, its end included. Heads of interim responses (1xx) are forgotten. <head> is all zero
 * before the first line. */
enum origin_head_status origin_head_take(struct origin_head *head, const char *line, size_t len);

/* Frees what <head> holds. */
void origin_head_release(struct origin_head *head);

#endif

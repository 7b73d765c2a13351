/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Plain body: bytes of one open file as they are, moved by the kernel (sendfile(2)). Nobody asks whether the file was
 * written meanwhile: what is under way in the page cache would escape the question, and a file that only grows has the
 * announced bytes. */
#ifndef DISC_PLAIN_BODY_H
#define DISC_PLAIN_BODY_H

#include <stddef.h>
#include <stdint.h>

#include "file_source.h"

struct plain_body {
	struct file_object object; /* owned */
	uint64_t offset, left;     /* of the next byte, and bytes still to go */
};

enum plain_body_status {
	PLAIN_BODY_SENT,      /* <*sent> bytes left; more to do */
	PLAIN_BODY_END,       /* all of it left */
	PLAIN_BODY_BLOCKED,   /* the socket takes nothing now */
	PLAIN_BODY_TRUNCATED, /* the file ends before the announced bytes: the transfer must break here */
	PLAIN_BODY_FAILED,    /* errno says why: the socket, or reading the file */
};

/* Takes <object> over (object->fd is -1 then). */
void plain_body_init(struct plain_body *body, struct file_object *object, uint64_t offset, uint64_t length);
void plain_body_release(struct plain_body *body);

/* Sends at most <max> bytes to the non-blocking socket <fd>, once. */
enum plain_body_status plain_body_send(struct plain_body *body, int fd, size_t max, size_t *sent);

#endif

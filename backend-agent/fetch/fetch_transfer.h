/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Fetch transfer: one response on its way to the socket - its head, then nothing, or a plain, a relayed, a sealed
 * or a granted body. */
#ifndef DISC_FETCH_TRANSFER_H
#define DISC_FETCH_TRANSFER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "granted_body.h"
#include "plain_body.h"
#include "relayed_body.h"
#include "sealed_body.h"

enum fetch_body {
	FETCH_BODY_NONE,
	FETCH_BODY_OPEN,
	FETCH_BODY_PLAIN,
	FETCH_BODY_RELAYED,
	FETCH_BODY_SEALED,
	FETCH_BODY_GRANTED
};

struct fetch_transfer {
	/* owned; with the text of an answer that has one, and with what frames the chunks of an open body */
	uint8_t *head;
	size_t head_len, head_sent;
	enum fetch_body kind;
	bool chunk_open; /* <sealed> is one chunk, whose end is still to be written */
	struct plain_body plain;
	struct relayed_body *relayed;
	struct sealed_body *sealed;
	struct granted_body *granted;
	uint64_t sent; /* bytes of body that left for the kernel */
};

enum fetch_transfer_status {
	FETCH_TRANSFER_DONE,      /* the last byte left for the kernel */
	FETCH_TRANSFER_BLOCKED,   /* the socket takes nothing now */
	FETCH_TRANSFER_STARVED,   /* the body's source has nothing now, no grant came, or the body is open */
	FETCH_TRANSFER_YIELDED,   /* <budget> is spent: let others work, then go on */
	FETCH_TRANSFER_PEER_GONE, /* the connection is broken */
	FETCH_TRANSFER_BROKEN,    /* the object changed or cannot be read: close before its end */
	FETCH_TRANSFER_MISGRANTED, /* never by fetch_transfer_send(): the peer's grant was refused, close before its end */
};

/* Begins a transfer with a copy of the head's <len> bytes. Returns 0, or -1 when memory is exhausted. The bodies are
 * set by the following four, at most one of them. */
int fetch_transfer_init(struct fetch_transfer *transfer, const void *head, size_t len);
void fetch_transfer_set_plain(struct fetch_transfer *transfer, struct file_object *object, uint64_t offset,
			      uint64_t length);
void fetch_transfer_set_relayed(struct fetch_transfer *transfer, struct relayed_body *body); /* takes it over */
void fetch_transfer_set_sealed(struct fetch_transfer *transfer, struct sealed_body *body);   /* takes it over */
void fetch_transfer_set_granted(struct fetch_transfer *transfer, struct granted_body *body); /* takes it over */

/* A chunked body (RFC 9112 7.1) of which it is not known yet whether its bytes will be sent here: one of the two behind
 * follows. */
void fetch_transfer_set_open(struct fetch_transfer *transfer);

/* They are not: one byte, which means nothing, ends the open body. */
void fetch_transfer_close(struct fetch_transfer *transfer);

/* They are: <body>, which is taken over, is the only chunk of the open body. */
void fetch_transfer_set_chunk(struct fetch_transfer *transfer, struct sealed_body *body);

/* Frees all that <transfer> holds; keys are wiped. */
void fetch_transfer_release(struct fetch_transfer *transfer);

/* Sends to the non-blocking socket <fd> until it blocks, the end, a fault, or about <budget> bytes. With _BROKEN,
 * <*why> is a static text. */
enum fetch_transfer_status fetch_transfer_send(struct fetch_transfer *transfer, int fd, size_t budget,
					       const char **why);

#endif

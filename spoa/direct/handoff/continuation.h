/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Continuation: the last records of a body, which this agent fetches from a node that holds the same object and writes
 * to the client's connection. It asks one node after the other; a later one goes on where an earlier one failed.
 *
 *   start() --> COLLECTING --(all that was asked for apart)--> collected() --write()--> WRITING --> ended()
 *       \_____________________________(nothing asked for apart)_____________________/
 */
#ifndef DISC_CONTINUATION_H
#define DISC_CONTINUATION_H

#include <ev.h>

#include "handoff_body.h"
#include "node_pool.h"

struct continuation;

enum continuation_end {
	CONTINUATION_DONE,   /* every byte was written */
	CONTINUATION_CLIENT, /* the client's connection failed */
	CONTINUATION_NODE,   /* no node can make the continuation */
};

/* Called from the loop, never from within this module's functions. */
struct continuation_handlers {
	/* Returns the node to ask now, none of <asked>; NULL: there is none. */
	const struct node *(*choose)(void *context, node_set asked);
	/* Sends <offer> to <node>; keys in it are wiped afterwards. Returns 0 or -1. */
	int (*offer)(void *context, const struct node *node, const struct control_offer *offer);
	/* continuation_collected() has all bytes asked for apart. May free the continuation, else calls
	 * continuation_write(). */
	void (*collected)(void *context);
	/* The last call; <fault> is why with CONTINUATION_NODE and CONTINUATION_CLIENT. May free the continuation. */
	void (*ended)(void *context, enum continuation_end end, const char *fault);
};

/* Begins to fetch the records of <body>, which stays the caller's, from byte <from> of them on, which is less than all.
 * <apart> bytes are collected first; if 0, all are written to the live descriptor <fd>, the caller's. Returns the
 * continuation, or NULL if memory or descriptors are exhausted. */
struct continuation *continuation_start(struct ev_loop *loop, const struct handoff_body *body, uint64_t from,
					size_t apart, int fd, const struct continuation_handlers *handlers,
					void *context);

/* Returns the bytes collected, valid until continuation_write(), and their number in <*len>. */
const uint8_t *continuation_collected(const struct continuation *continuation, size_t *len);

/* After collected(): writes what follows to the live descriptor <fd>, the caller's. */
void continuation_write(struct continuation *continuation, int fd);

/* Byte of the records up to which all was collected or written. */
uint64_t continuation_position(const struct continuation *continuation);

/* Ends it at once. <continuation> may be NULL. */
void continuation_free(struct continuation *continuation);

#endif

/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Completion: this agent fetches a continuation from a node that holds the same object and writes it to the client's
 * connection. It asks the nodes of the pool one after the other; a later one goes on where an earlier one failed.
 *
 *   start() --> COLLECTING --(all that was asked for apart)--> collected() --> WRITING --> ended()
 *       \______________________(nothing asked for apart)________________________/
 */
#ifndef DISC_COMPLETION_H
#define DISC_COMPLETION_H

#include "handoff_body.h"
#include "node_pool.h"

struct completion;
struct handoff_environment;

enum completion_end {
	COMPLETION_DONE,   /* every byte was written */
	COMPLETION_CLIENT, /* the client's connection failed */
	COMPLETION_NODE,   /* no node can make the continuation */
};

/* Called from the loop, never from within this module's functions. */
struct completion_handlers {
	/* The bytes asked for apart. Returns the live descriptor to write what follows to, or -1: then ended() follows,
	 * with COMPLETION_CLIENT. Must not free the completion. */
	int (*collected)(void *context, const uint8_t *bytes, size_t len);
	/* The last call; <fault> is why with COMPLETION_NODE and COMPLETION_CLIENT. May free the completion. */
	void (*ended)(void *context, enum completion_end end, const char *fault);
};

struct completion_job {
	const struct handoff_body *body; /* stays the caller's */
	const struct node_pool *pool;
	const struct node *last; /* the node to be asked last, or NULL */
	uint64_t from;           /* byte of the records to go on from; less than all of them */
	size_t apart;            /* bytes that are collected first */
	int fd;                  /* live and the caller's; not used before collected() if something is collected */
};

/* Begins. Returns the completion, or NULL if memory or descriptors are exhausted. */
struct completion *completion_start(struct handoff_environment *environment, const struct completion_job *job,
				    const struct completion_handlers *handlers, void *context);

/* Byte of the records up to which all was written, or given to collected(). */
uint64_t completion_position(const struct completion *completion);

/* Ends it at once. <completion> may be NULL. */
void completion_free(struct completion *completion);

#endif

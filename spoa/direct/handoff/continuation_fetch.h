/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Continuation fetch: one HTTP/1.1 request (RFC 9112) from this agent to a node for a continuation, the last records of
 * a body, announced as "splice" as to HAProxy (doc/protocol.md section 4). The answer must be exactly the one expected;
 * anything else is a fault.
 *
 *   start() --> ASKING --(head as expected)--> TAKING --(last byte)--> ended(NULL)
 *                  \--------(fault, silence)-----\--------------------> ended(fault)
 */
#ifndef DISC_CONTINUATION_FETCH_H
#define DISC_CONTINUATION_FETCH_H

#include <ev.h>
#include <stddef.h>
#include <stdint.h>

#include "address.h"
#include "ticket.h"

#define CONTINUATION_FETCH_SILENCE_S 5.0 /* a node that says nothing for this long has failed */

struct continuation_fetch;

struct continuation_fetch_request {
	const struct address *node;
	const char *host, *target, *etag; /* without bytes that a head cannot carry */
	struct ticket ticket;
	const uint8_t *proof_key; /* PROOF_KEY_LEN bytes: proves the request */
	uint64_t first, last;     /* bytes of the object, both included */
	const char *announcement; /* value of Disc-Body that must come */
	uint64_t length;          /* bytes of records that must come */
};

/* Called from the loop, never from within this module's functions; must not free the fetch. */
struct continuation_fetch_handlers {
	/* Bytes of records. Returns how many were taken; if fewer, nothing more comes until
	 * continuation_fetch_resume(). */
	size_t (*take)(void *context, const uint8_t *bytes, size_t len);
	/* All was taken (<fault> NULL), or nothing more will come: a static or its own text. The last call. */
	void (*ended)(void *context, const char *fault);
};

/* Sends the request, of which nothing is kept. Returns the fetch, or NULL with errno set if the request could not be
 * proven (ENOMEM) or no socket be made. */
struct continuation_fetch *continuation_fetch_start(struct ev_loop *loop,
						    const struct continuation_fetch_request *request,
						    const struct continuation_fetch_handlers *handlers, void *context);

/* There is room again for what take() left. take() is called from the loop. */
void continuation_fetch_resume(struct continuation_fetch *fetch);

/* Closes the connection and frees <fetch>, which may be NULL. */
void continuation_fetch_free(struct continuation_fetch *fetch);

#endif

/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Handoff body: what another node needs to make the continuation of a body whose connection is or will be handed off,
 * and where that continuation begins. The layout of records is deterministic (record.h): every node makes the same
 * bytes. */
#ifndef DISC_HANDOFF_BODY_H
#define DISC_HANDOFF_BODY_H

#include <stdbool.h>
#include <stdint.h>

#include "control.h"
#include "handoff_message.h"
#include "lease_store.h"
#include "record.h"

struct handoff_body {
	struct lease_store *leases;
	struct tx_state *lease; /* in <leases> */
	uint64_t lease_id;
	char *host, *target; /* of the request; once announced, the target that the node was asked for; terminated */
	bool announced;      /* what follows is known */
	char *etag;          /* NULL: no other node can go on with this body */
	uint64_t offset;     /* of the body in the object, bytes of plaintext */
	struct record_layout layout; /* its records */
};

/* Keeps what <offer> says of the request and the lease <state>. Returns 0, or -1 if memory is exhausted or if host or
 * target have bytes that no request of our own can carry (space, control characters): then there is nothing to
 * release. */
int handoff_body_init(struct handoff_body *body, struct lease_store *leases, const struct control_offer *offer);

/* Takes what HAProxy says of the body with PARKED. What the node announced on the fetch hop, which is plain HTTP, counts
 * only with the proof under the lease's key: a forged entity tag would have another node seal other bytes in used slots.
 * Returns NULL, or what is wrong with it: then <body> is as it was. */
const char *handoff_body_announce(struct handoff_body *body, const struct handoff_message *parked);

/* Whether another node can make a continuation: not of an HTTP origin's body, which is never sealed a second time. */
static inline bool handoff_body_can_continue(const struct handoff_body *body)
{
	return body->etag != NULL;
}

/* Wipes the lease and frees everything. */
void handoff_body_release(struct handoff_body *body);

/* A continuation: the records from the one on that has byte <from> of all of them. */
struct continuation_range {
	struct tx_state state; /* for the first of them; the caller wipes it */
	uint64_t first, last;  /* bytes of the object, both included (RFC 9110 14.1.2) */
	struct record_layout layout;
	uint64_t skip; /* bytes at the beginning of the first record that precede <from> */
};

/* Computes the continuation from byte <from> on, which is less than body->layout.ciphertext. Returns true, or false if
 * the sequence number would wrap. */
bool continuation_range_init(struct continuation_range *range, const struct handoff_body *body, uint64_t from);

#endif

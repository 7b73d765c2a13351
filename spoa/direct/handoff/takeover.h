/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Takeover: how a connection goes on here after the node that transmitted on it is gone. Pure: what was frozen, what
 * the client was seen to say since then, out comes the state to restore.
 *
 * What the client acknowledged last is known; what it already holds beyond is not, but can be no more than its window
 * was. All that is put into the send queue as already sent, since a socket ignores acknowledgements of what it did not
 * send.
 */
#ifndef DISC_TAKEOVER_H
#define DISC_TAKEOVER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "steering.h"
#include "tcp_state.h"

#define TAKEOVER_FLIGHT_MAX (8u << 20) /* bytes: no node has more under way, since its send buffer is bounded */

/* What the connection was when it left, and what is known of it since. */
struct takeover_facts {
	const struct tcp_state *frozen; /* send_next: where the records begin */
	size_t tail_len;                /* bytes of the send queue when it was frozen */
	uint64_t ciphertext;            /* bytes of all records */
	uint64_t acknowledged;          /* bytes of records, as the node last reported */
	uint64_t received;              /* bytes that the node had from the client and passed on */
	const struct steering_seen *seen;
	double elapsed; /* seconds since it was frozen */
};

struct takeover_plan {
	struct tcp_state state; /* to be restored: its send queue is <tail> and <flight> bytes */
	size_t tail;            /* bytes at the end of the frozen send queue that the client does not have */
	uint64_t from;          /* byte of the records that the client has acknowledged up to */
	size_t flight;          /* bytes of records from there on that may be on their way */
};

/* Makes the plan. Returns true, or false if the client acknowledged what was never sent. */
bool takeover_plan(struct takeover_plan *plan, const struct takeover_facts *facts);

/* The sequence number that the client expects next, as far as known: for a RST. */
uint32_t takeover_sequence(const struct takeover_facts *facts);

#endif

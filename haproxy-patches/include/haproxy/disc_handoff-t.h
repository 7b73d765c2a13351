/*
 * include/haproxy/disc_handoff-t.h
 * Handoff of client connections to DiSC's agent: types.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef _HAPROXY_DISC_HANDOFF_T_H
#define _HAPROXY_DISC_HANDOFF_T_H

#include <inttypes.h>

#include <import/ebtree-t.h>
#include <haproxy/list-t.h>

struct connection;
struct disc_lease;

/* Messages of the handoff socket, see DiSC's doc/direct-path.md. Each begins with
 *   version u8 | type u8 | 0 u16 | 0 u32 | handoff u64
 */
#define DISC_MSG_VERSION  2
#define DISC_MSG_HEADER   16
#define DISC_MSG_PARKED_LEN 48 /* before its two texts */
#define DISC_MSG_MAX      32   /* of those of the agent */
#define DISC_PLACES       65536 /* handoffs of a thread at a time */

enum disc_msg_type {
	DISC_MSG_PARKED = 1,   /* to the agent: ticket[16], ciphertext bytes u64, lengths of announcement u16
	                        * and target u16, place u32, these two, and the descriptor */
	DISC_MSG_ABANDON = 2,  /* to the agent: we closed it */
	DISC_MSG_RETURNED = 3, /* all records were written, the connection lives */
	DISC_MSG_LOST = 4,     /* bytes u64, cause u8, 0[7]: the client was told */
	DISC_MSG_PROGRESS = 5, /* bytes u64: acknowledged by the client so far */
	DISC_MSG_REFUSED = 7,  /* it still is, and the agent does without it */
	DISC_MSG_RECALL = 8,   /* to the agent, handoff 0: we want all of our connections back */
	DISC_MSG_PLACES = 9,   /* to the agent, handoff 0: the places, by a descriptor */
};

enum disc_lost_cause {
	DISC_LOST_CLIENT = 1,
	DISC_LOST_NODE = 2,
	DISC_LOST_AGENT = 3,
};

/*            disc_park()              sent            RETURNED, LOST
 *   (none) -------------> QUEUED --------------> SENT -----------------> (none)
 *                            |                     |
 *                            |                     | disc_handoff_abandon()    sent
 *                            |                     +-----------------> ABANDONED --> (none)
 *                            |
 *                            +-- disc_handoff_abandon() --> (none)
 *
 * QUEUED and SENT end, too, when the agent refuses or is gone: the connection is as it
 * was, and we go on with it, unless the agent has taken it.
 *
 * Each handoff has its place in memory which we share with the agent. Before the agent
 * touches the connection it writes the handoff's number there, which we only look at when
 * the agent is gone: so this needs no message, and does not depend on the agent's life.
 */
enum disc_handoff_state {
	DISC_HANDOFF_QUEUED = 0,
	DISC_HANDOFF_SENT,
	DISC_HANDOFF_ABANDONED,
};

struct disc_handoff {
	struct eb64_node node;          /* by number, in the agent's handoffs */
	struct list queue;              /* in the agent's queue while there is something to be sent about it */
	enum disc_handoff_state state;
	uint32_t date;                  /* when it began, in milliseconds */
	struct connection *conn;        /* NULL once abandoned */
	struct disc_lease *lease;       /* its lease, NULL once abandoned */
	uint32_t place;                 /* in the agent's places */
	char *claim;                    /* see struct disc_txn; NULL once it was sent */
	uint16_t claim_announcement;
	uint16_t claim_target;
};

/* where a list of all handoffs goes on */
struct disc_handoff_place {
	int thread;                     /* first one to look at, from 0 */
	uint64_t handoff;                  /* first number to look for there */
};

#endif /* _HAPROXY_DISC_HANDOFF_T_H */

/*
 * include/haproxy/disc_lend-t.h
 * Lending of client connections to DiSC's agent: types.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef _HAPROXY_DISC_LEND_T_H
#define _HAPROXY_DISC_LEND_T_H

#include <inttypes.h>

#include <import/ebtree-t.h>
#include <haproxy/list-t.h>

struct connection;
struct disc_lease;

/* Messages of the lending socket, see DiSC's doc/direct-path.md. Each begins with
 *   version u8 | type u8 | 0 u16 | 0 u32 | loan u64
 */
#define DISC_LEND_VERSION  1
#define DISC_LEND_HEADER   16
#define DISC_LEND_MSG_MAX  40

enum disc_lend_type {
	DISC_LEND_LEND = 1,     /* to the agent: ticket[16], ciphertext bytes u64, and the descriptor */
	DISC_LEND_ABANDON = 2,  /* to the agent: we closed it */
	DISC_LEND_RETURNED = 3, /* all records were written, the connection lives */
	DISC_LEND_LOST = 4,     /* bytes u64, cause u8, 0[7]: the client was told */
	DISC_LEND_PROGRESS = 5, /* bytes u64: so many were acknowledged by the client */
	DISC_LEND_TAKEN = 6,    /* the connection is not any more as we lent it */
	DISC_LEND_REFUSED = 7,  /* it still is, and the agent does without it */
	DISC_LEND_RECALL = 8,   /* to the agent, loan 0: we want all of our connections back */
};

enum disc_lend_cause {
	DISC_LOST_CLIENT = 1,
	DISC_LOST_NODE = 2,
	DISC_LOST_AGENT = 3,
};

/*            disc_lend()              sent              TAKEN             RETURNED, LOST
 *   (none) -------------> QUEUED --------------> LENT --------------> TAKEN --------------> (none)
 *                            |                     |                     |
 *                            |                     |  disc_lend_abandon()|
 *                            |                     v                     v     sent
 *                            |                 ABANDONED <---------------+ -----------> (none)
 *                            |
 *                            +-- disc_lend_abandon() --> (none)
 *
 * QUEUED and LENT end, too, when the agent refuses or is gone: the connection is as it
 * was, and we go on with it. LENT may be over without having been TAKEN as well.
 */
enum disc_loan_state {
	DISC_LOAN_QUEUED = 0,
	DISC_LOAN_LENT,
	DISC_LOAN_TAKEN,
	DISC_LOAN_ABANDONED,
};

struct disc_loan {
	struct eb64_node node;          /* by number, in the lender's loans */
	struct list queue;              /* in the lender's queue while there is something to be sent about it */
	enum disc_loan_state state;
	uint32_t date;                  /* when it began, in milliseconds */
	struct connection *conn;        /* NULL once abandoned */
	struct disc_lease *lease;       /* its lease, NULL once abandoned */
};

/* where a list of all loans goes on */
struct disc_lend_place {
	int thread;                     /* first one to look at, from 0 */
	uint64_t loan;                  /* first number to look for there */
};

#endif /* _HAPROXY_DISC_LEND_T_H */

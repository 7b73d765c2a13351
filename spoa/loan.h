/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Loan: one body on the direct path (doc/direct-path.md), from the offer that allows it until HAProxy has the client's
 * connection back or knows that it is lost.
 *
 *   OFFERED      --LEND-->                         WAITING       --nobody lends--> ended
 *   WAITING      --tail short: hold, Handoff-->    HANDING       --not fit--> COMPLETING, or refused if no node could
 *   HANDING      --HandoffReply-->                 AWAY          --refused by the node--> COMPLETING
 *   AWAY         --Drained-->                      RETURNING     --recall--> RECALLING
 *   RECALLING    --Drained-->                      RETURNING
 *   RETURNING    --Handback, all is written-->     returned      --Handback, not all--> COMPLETING
 *   HANDING to RETURNING --node gone or silent-->  TAKING_OVER
 *   TAKING_OVER  --seated-->                       COMPLETING    --no node has it--> lost
 *   COMPLETING   --all is written-->               returned      --no node has it--> lost
 *
 * Returned, lost and refused are told to HAProxy and end the loan. Refused: it was not touched (see loan_take()), and
 * HAProxy goes on by the splice path.
 *
 * ABANDON in HANDING, AWAY, RECALLING or RETURNING leads to DISCARDING until the node has dropped the connection;
 * elsewhere it ends the loan at once. Where the client's connection is: at HAProxy's socket, live, in WAITING and
 * COMPLETING; nowhere (the socket is a mute placeholder, its packets are held) in HANDING, RETURNING and TAKING_OVER;
 * at the node in AWAY, RECALLING and DISCARDING.
 *
 * A loan belongs to one loop. Functions that get a message of the node return NULL, or a reason to close its channel
 * with. Every function may end the loan: environment->ended() is called then.
 */
#ifndef DISC_LOAN_H
#define DISC_LOAN_H

#include <uthash.h>

#include "byte_queue.h"
#include "completion.h"
#include "lending_server.h"
#include "lent_body.h"
#include "loan_cause.h"
#include "loan_environment.h"

#define LOAN_INPUT_MAX 49152u       /* bytes of client data that a loan keeps; beyond it is recalled */
#define LOAN_INPUT_LIMIT (1u << 20) /* and beyond this given up */
#define LOAN_LINGER_S 60.0          /* how long LEND is waited for after the node has given up */

enum loan_state {
	LOAN_OFFERED,
	LOAN_WAITING,
	LOAN_HANDING,
	LOAN_AWAY,
	LOAN_RECALLING,
	LOAN_RETURNING,
	LOAN_TAKING_OVER,
	LOAN_COMPLETING,
	LOAN_DISCARDING,
	LOAN_ENDED,
};

struct loan {
	unsigned magic;
	struct loan_environment *environment;
	struct ticket ticket;
	enum loan_state state;
	const struct policy_route *route;
	struct node *node; /* that the body was offered to */
	struct lent_body body;
	bool node_gone;                /* it does not wait for a Handoff any more */
	bool recalled;                 /* see loan_recall_for_lender() */
	ev_timer timer;                /* what for depends on the state */
	double deadline;               /* in WAITING, loop time */
	double lent_at;                /* loop time */
	double lent_clock, held_clock; /* when it was lent, and held; see loan_clock() */
	/* HAProxy's side, from LEND on */
	struct lending_connection *lender; /* NULL once abandoned */
	uint64_t number;
	uint64_t announced; /* bytes of records that HAProxy expects */
	int fd;
	bool taken; /* HAProxy was told: it cannot go on with <fd> by itself any more */
	bool live;  /* <fd> is the connection, not its placeholder */
	/* The connection, from HANDING on */
	struct tcp_state frozen; /* its records begin at frozen.send_next */
	double frozen_at;        /* see loan_clock() */
	uint32_t late_at;        /* what the client had acknowledged when the node was late */
	uint8_t *tail;           /* of the send queue, until the client has it */
	size_t tail_len;
	struct byte_queue input; /* from the client, not yet HAProxy's */
	uint64_t received;       /* bytes of ClientData */
	uint64_t acknowledged;   /* bytes of records that the client has */
	bool answered;           /* the node transmits, or did */
	struct completion *completion;
	struct takeover_plan *plan;          /* in TAKING_OVER */
	UT_hash_handle by_ticket, by_number; /* loan_table's */
	struct loan_number {
		const struct lending_connection *lender;
		uint64_t number;
	} key; /* loan_table's, of <by_number> */
};

/* Makes a loan in OFFERED for <offer>, which is about to be made to <node>. Returns it, or NULL if the request cannot
 * be repeated or memory is exhausted. */
struct loan *loan_new(struct loan_environment *environment, const struct control_offer *offer,
		      const struct policy_route *route, struct node *node);

/* Frees <loan>, which has ended or was never lent. */
void loan_free(struct loan *loan);

/* HAProxy lent the connection <fd>, which the loan owns from now on, for <bytes> of records. In OFFERED only. */
void loan_lend(struct loan *loan, struct lending_connection *lender, uint64_t number, uint64_t bytes, int fd);

/* In OFFERED: this agent does without the connection. The node sends the body on the fetch hop. */
void loan_decline(struct loan *loan);

/* HAProxy closed the connection, or is gone itself. Not in OFFERED. */
void loan_abandon(struct loan *loan);

/* The node's messages. */
const char *loan_prepared(struct loan *loan, const struct control_prepared *message);
const char *loan_handoff_replied(struct loan *loan, const struct control_handoff_reply *message);
const char *loan_progressed(struct loan *loan, const struct control_progress *message);
const char *loan_client_sent(struct loan *loan, const struct control_client_data *message);
const char *loan_drained(struct loan *loan);
const char *loan_handed_back(struct loan *loan, const struct control_handback *message);
const char *loan_gone(struct loan *loan, const struct control_gone *message);
void loan_resulted(struct loan *loan);

/* The node's channel is closed. */
void loan_node_lost(struct loan *loan);

/* Takes the connection back before the end of the body, if the node has it, and goes on here: this agent drains. */
void loan_recall(struct loan *loan);

/* The same for HAProxy, who wants none of it to leave any more. */
void loan_recall_for_lender(struct loan *loan);

/* The node drains: as loan_recall() if another node can go on. Otherwise it stays where it is: a node that drains
 * finishes what it has. */
void loan_node_drains(struct loan *loan);

/* This agent ends now: resets the client and tells HAProxy. */
void loan_give_up(struct loan *loan);

const char *loan_state_text(enum loan_state state);

#endif

/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Handoff: one body on the direct path (doc/direct-path.md), from the offer that allows it until HAProxy has the
 * client's connection back or knows that it is lost.
 *
 *   state         usual way on                               other ways on
 *   OFFERED       PARKED: WAITING                            no PARKED in time: ended
 *   WAITING       short tail, hold, Handoff: HANDING         unfit: COMPLETING, or refused if no node can continue
 *   HANDING       HandoffReply: AWAY                         refused by the node: COMPLETING
 *   AWAY          Drained: RETURNING                         recall: RECALLING
 *   RECALLING     Drained: RETURNING
 *   RETURNING     Handback, all is written: returned         Handback, not all is: COMPLETING
 *   TAKING_OVER   seated: COMPLETING                         no node can continue: lost
 *   COMPLETING    all is written: returned                   no node can continue: lost
 *
 * From HANDING to RETURNING a node that is gone or silent leads to TAKING_OVER. ABANDON leads from HANDING, AWAY,
 * RECALLING and RETURNING to DISCARDING until the node has dropped the connection; elsewhere it ends the handoff at
 * once. The agent tells HAProxy of returned, lost and refused, each of which ends the handoff. Refused: the connection
 * was not touched (see handoff_take()), and HAProxy goes on by the splice path.
 *
 * Where the client's connection is:
 *   WAITING, COMPLETING               at HAProxy's socket, live
 *   HANDING, RETURNING, TAKING_OVER   nowhere: the socket is a mute placeholder, packets are held
 *   AWAY, RECALLING, DISCARDING       at the node
 *
 * A handoff belongs to one loop. Functions that get a message of the node return NULL, or a reason to close its channel
 * with. Every function may end the handoff: environment->ended() is called then.
 */
#ifndef DISC_HANDOFF_H
#define DISC_HANDOFF_H

#include <ev.h>
#include <uthash.h>

#include "breaker.h"
#include "byte_queue.h"
#include "completion.h"
#include "completion_cause.h"
#include "handoff_body.h"
#include "handoff_server.h"
#include "lease_store.h"
#include "log_limit.h"
#include "node_link.h"
#include "node_reach.h"
#include "spoa_config.h"
#include "spoa_metrics.h"
#include "steering.h"
#include "tcp_freeze.h"

#define HANDOFF_INPUT_MAX 49152u       /* bytes of client data that a handoff keeps; with more it is recalled */
#define HANDOFF_INPUT_LIMIT (1u << 20) /* and with more than this given up */
#define HANDOFF_LINGER_S 60.0          /* how long to wait for PARKED after the node has given up */

struct handoff;

/* What all handoffs of a disc-spoa share; direct_path fills it in. */
struct handoff_environment {
	struct ev_loop *loop;
	const struct spoa_config *config;
	struct spoa_metrics *metrics;
	struct node_link *const *links; /* by the nodes' index */
	struct steering *steering;
	struct lease_store *leases;
	struct breaker *breakers;                              /* one for each route of the policy */
	struct node_route routes[NODE_MAX][2];                 /* by the nodes' index; IPv4 and IPv6 */
	struct tcp_frozen *frozen;                             /* for the connection that is being frozen */
	uint8_t *frame;                                        /* room for one encoded message, secret_alloc()ed */
	size_t collected;                                      /* bytes that takeovers collect at this time */
	bool draining;                                         /* nothing is handed off any more */
	void (*ended)(void *context, struct handoff *handoff); /* forget <handoff>, then handoff_free() it */
	void *context;
	struct log_limit takeovers, losses, failures; /* lines of each kind */
};

enum handoff_state {
	HANDOFF_OFFERED,
	HANDOFF_WAITING,
	HANDOFF_HANDING,
	HANDOFF_AWAY,
	HANDOFF_RECALLING,
	HANDOFF_RETURNING,
	HANDOFF_TAKING_OVER,
	HANDOFF_COMPLETING,
	HANDOFF_DISCARDING,
	HANDOFF_ENDED,
};

struct handoff {
	unsigned magic;
	struct handoff_environment *environment;
	struct ticket ticket;
	enum handoff_state state;
	const struct policy_route *route;
	struct node *node; /* the body was offered to it */
	struct handoff_body body;
	bool node_gone;                  /* it does not wait for a Handoff any more */
	bool recalled;                   /* see handoff_recall_for_haproxy() */
	ev_timer timer;                  /* what for depends on the state */
	double deadline;                 /* in WAITING, loop time */
	double parked_at;                /* loop time */
	double parked_clock, held_clock; /* when HAProxy parked it, and when it was held; see handoff_clock() */
	/* HAProxy's side, from PARKED on */
	struct handoff_connection *haproxy; /* NULL once abandoned */
	uint64_t number;
	uint64_t announced; /* bytes of records that HAProxy expects */
	int fd;
	bool taken; /* see handoff_take(): HAProxy cannot go on with <fd> by itself any more */
	bool live;  /* <fd> is the connection, not its placeholder */
	/* The connection, from HANDING on */
	struct tcp_state frozen; /* its records begin at frozen.send_next */
	double frozen_at;        /* see handoff_clock() */
	uint32_t late_at;        /* what the client had acknowledged when the node was late */
	uint8_t *tail;           /* of the send queue, until the client has it */
	size_t tail_len;
	struct byte_queue input; /* from the client, not yet HAProxy's */
	uint64_t received;       /* bytes of ClientData */
	uint64_t acknowledged;   /* bytes of records that the client has */
	bool answered;           /* the node transmits, or did */
	struct completion *completion;
	struct takeover_plan *plan;          /* in TAKING_OVER */
	UT_hash_handle by_ticket, by_number; /* handoff_table's */
	struct handoff_number {
		const struct handoff_connection *haproxy;
		uint64_t number;
	} key; /* handoff_table's, of <by_number> */
};

/* Makes a handoff in OFFERED for <offer>, which is about to be made to <node>. Returns it, or NULL if the request
 * cannot be repeated or memory is exhausted. */
struct handoff *handoff_new(struct handoff_environment *environment, const struct control_offer *offer,
			    const struct policy_route *route, struct node *node);

/* Frees <handoff>, which has ended or is in OFFERED. */
void handoff_free(struct handoff *handoff);

/* In OFFERED: HAProxy parked the connection <fd>, which the handoff owns from now on, for <bytes> of records. */
void handoff_parked(struct handoff *handoff, struct handoff_connection *haproxy, uint64_t number, uint64_t bytes,
		    int fd);

/* In OFFERED: gives the connection up. The node sends the body on the fetch hop. */
void handoff_decline(struct handoff *handoff);

/* HAProxy closed the connection, or is gone itself. Not in OFFERED. */
void handoff_abandon(struct handoff *handoff);

/* The node's messages. */
const char *handoff_prepared(struct handoff *handoff, const struct control_prepared *message);
const char *handoff_replied(struct handoff *handoff, const struct control_handoff_reply *message);
const char *handoff_progressed(struct handoff *handoff, const struct control_progress *message);
const char *handoff_client_sent(struct handoff *handoff, const struct control_client_data *message);
const char *handoff_drained(struct handoff *handoff);
const char *handoff_handed_back(struct handoff *handoff, const struct control_handback *message);
const char *handoff_gone(struct handoff *handoff, const struct control_gone *message);
void handoff_resulted(struct handoff *handoff);

/* The node's channel is closed. */
void handoff_node_lost(struct handoff *handoff);

/* This agent drains: if the node has the connection, takes it back before the end of the body and completes it here. */
void handoff_recall(struct handoff *handoff);

/* The same for HAProxy. The connection does not leave any more if it has not. */
void handoff_recall_for_haproxy(struct handoff *handoff);

/* The node drains: as handoff_recall() if another node can make the continuation. Otherwise the connection stays there:
 * a node that drains finishes what it has. */
void handoff_node_drains(struct handoff *handoff);

/* This agent ends now: resets the client and tells HAProxy. */
void handoff_give_up(struct handoff *handoff);

const char *handoff_state_text(enum handoff_state state);

#endif

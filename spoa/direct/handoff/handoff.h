/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Handoff: one body on the direct path (doc/direct-path.md), from the offer that allows it until HAProxy has the
 * client's connection back or knows that it is lost. What happens when is decided in machine.c; here messages and timers
 * become its events, and its actions are carried out, those that touch the connection by mover.c.
 *
 * A handoff belongs to one loop. Every function that feeds an event may end the handoff: then it is taken out of the
 * table and freed.
 */
#ifndef DISC_HANDOFF_H
#define DISC_HANDOFF_H

#include <ev.h>
#include <uthash.h>

#include "byte_queue.h"
#include "continuation.h"
#include "handoff_body.h"
#include "handoff_server.h"
#include "handoff_table.h"
#include "machine.h"
#include "takeover.h"

#define HANDOFF_INPUT_MAX 49152u       /* bytes of client data that a handoff keeps; with more it is recalled */
#define HANDOFF_INPUT_LIMIT (1u << 20) /* and with more than this given up */

struct handoff {
	unsigned magic;
	struct handoff_table *table;
	struct machine machine;
	struct ticket ticket;
	struct spoa_config *config; /* held: what <route> and <node> are of */
	const struct policy_route *route;
	struct node *node; /* the body was offered to it */
	struct handoff_body body;
	ev_timer timer;
	/* HAProxy's side, from PARKED on */
	struct handoff_connection *haproxy; /* NULL once abandoned */
	uint64_t number;
	uint32_t place; /* see handoff_connection_take() */
	int fd;
	bool live;                       /* <fd> is the connection, not its placeholder */
	double parked_at, deadline;      /* loop time; HAND is tried until then */
	double parked_clock, held_clock; /* when HAProxy parked it, and when it was held; see mover_clock() */
	/* The connection, from AWAY on */
	struct tcp_state frozen; /* its records begin at frozen.send_next */
	double frozen_at;        /* see mover_clock() */
	uint32_t late_at;        /* what the client had acknowledged when the node was late */
	uint8_t *tail;           /* of the send queue, until the client has it */
	size_t tail_len;
	struct byte_queue input; /* from the client, not yet HAProxy's */
	uint64_t received;       /* bytes of ClientData */
	uint64_t acknowledged;   /* bytes of records that the client has */
	struct takeover_plan plan;
	struct continuation *continuation;
	size_t collecting;                   /* bytes counted in table->collected */
	UT_hash_handle by_ticket, by_number; /* handoff_table's */
	struct handoff_number {
		const struct handoff_connection *haproxy;
		uint64_t number;
	} key; /* handoff_table's, of <by_number> */
};

/* Makes a handoff in OFFERED for <offer>, which is about to be made to <node>. Returns it, or NULL if the request
 * cannot be repeated or memory is exhausted. It is not in the table. */
struct handoff *handoff_new(struct handoff_table *table, const struct control_offer *offer,
			    const struct policy_route *route, struct node *node);

/* Frees <handoff>, which is in OFFERED and not in the table any more. */
void handoff_free(struct handoff *handoff);

/* In OFFERED, and its body was announced: HAProxy parked the connection <fd>, which the handoff owns from now on. */
void handoff_parked(struct handoff *handoff, struct handoff_connection *haproxy, const struct handoff_message *parked,
		    int fd);

/* The client has acknowledged all records of <owner>, a handoff: see struct steering_settings. */
void handoff_acknowledged(void *owner);

/* DECLINE, RECALL, ABANDON, NODE_LOST, NODE_DRAINS, AGENT_DRAINS or AGENT_ENDS. If no other node can make the
 * continuation, NODE_DRAINS is none: a node that drains finishes what it has. */
void handoff_feed(struct handoff *handoff, enum handoff_event event);

/* The node's message about this handoff. Returns NULL, or a reason to close its channel with. */
const char *handoff_received(struct handoff *handoff, const struct control_message *message);

#endif

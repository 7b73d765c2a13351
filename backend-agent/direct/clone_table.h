/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Clone table: finds the thread that holds the clone of a ticket, and brings it what the ticket's agent orders. One per
 * process, used by all threads. An agent reaches the clones of its own control channel only.
 *
 *   control thread --hand_off(), recall(), ...--> clone_inbox of a worker --> its loop
 */
#ifndef DISC_CLONE_TABLE_H
#define DISC_CLONE_TABLE_H

#include <ev.h>
#include <stdbool.h>
#include <stdint.h>

#include "control.h"
#include "tcp_freeze.h"
#include "ticket.h"

struct clone_table;

enum clone_order_kind {
	CLONE_ORDER_HANDOFF,      /* here is the connection */
	CLONE_ORDER_RECALL,       /* give it back */
	CLONE_ORDER_DISCARD,      /* drop it */
	CLONE_ORDER_RELEASE,      /* it is back without you */
	CLONE_ORDER_CHANNEL_LOST, /* nobody is left to give it back to: the clone must end at once */
};

struct clone_order {
	enum clone_order_kind kind;
	struct ticket ticket;
	uint64_t channel;
	struct tcp_frozen *frozen;       /* HANDOFF only */
	uint64_t bytes;                  /* HANDOFF only: of all records, as announced to HAProxy */
	struct clone_order *prev, *next; /* private */
};

/* Where one thread gets its orders. Belongs to one loop. */
struct clone_inbox {
	struct ev_loop *loop;
	struct clone_table *table;
	/* Called on the loop for each order, in the order of their coming; <order> is freed afterwards. The ticket may
	 * have no clone any more. */
	void (*receive)(void *context, const struct clone_order *order);
	void *context;
	struct clone_order *orders;      /* private */
	size_t lost;                     /* private: clones of lost channels */
	ev_async wake;                   /* private */
	struct clone_inbox *prev, *next; /* private */
};

enum clone_order_status {
	CLONE_ORDER_GIVEN,
	CLONE_ORDER_UNKNOWN,   /* no such ticket on this channel (any more): there is nothing to do */
	CLONE_ORDER_TWICE,     /* a second Handoff of one ticket: the agent is at fault */
	CLONE_ORDER_NO_MEMORY, /* the order is lost */
};

/* Returns a table, or NULL when memory is exhausted. */
struct clone_table *clone_table_new(void);

/* Frees <table>, which may be NULL; no inbox may be left. */
void clone_table_free(struct clone_table *table);

/* Begins to receive orders on inbox->loop, in whose thread this is called; set loop, table, receive and context before.
 * The inbox must stay where it is. */
void clone_inbox_open(struct clone_inbox *inbox);

/* Ends it; no clone of it may be left in the table. */
void clone_inbox_close(struct clone_inbox *inbox);

/* <inbox> has a clone of <ticket> from now on, which was offered on <channel>. Returns 0, or -1 if the ticket has one
 * already or memory is exhausted. */
int clone_table_add(struct clone_table *table, const struct ticket *ticket, uint64_t channel,
		    struct clone_inbox *inbox);
void clone_table_remove(struct clone_table *table, const struct ticket *ticket);

/* The orders of an agent. <handoff> is copied. */
enum clone_order_status clone_table_hand_off(struct clone_table *table, uint64_t channel,
					     const struct control_handoff *handoff);
enum clone_order_status clone_table_recall(struct clone_table *table, uint64_t channel, const struct ticket *ticket,
					   bool discard);
enum clone_order_status clone_table_release(struct clone_table *table, uint64_t channel, const struct ticket *ticket);
void clone_table_channel_lost(struct clone_table *table, uint64_t channel);

#endif

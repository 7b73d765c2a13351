/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Ticket table: where offers (from the control channel) and fetches (from HAProxy) meet. One per process, used by all
 * threads. Either side may come first; each waits at most <wait_s>. A ticket is good for one meeting: afterwards, or
 * when the wait is over, it is remembered as used for <remember_s> and refused.
 *
 *        offer                    fetch claims               wait over, channel gone
 *   (none) --> OFFERED ----------------------------> USED <---------------------------------- OFFERED
 *
 *        fetch claims             offer                      wait over, fetch gone
 *   (none) --> AWAITED ----------------------------> USED <---------------------------------- AWAITED
 *
 * A fetch that will decline claims its offer too: only the taker of an unused offer knows that nothing was and nothing
 * will be sealed under it. TX states are kept in one block of secret memory of fixed size. An offer belongs to the
 * table until it is handed out; its new owner gives it back with ticket_table_release(), which wipes it.
 */
#ifndef DISC_TICKET_TABLE_H
#define DISC_TICKET_TABLE_H

#include <ev.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ip_address.h"
#include "text_span.h"
#include "ticket.h"
#include "tx_state.h"

struct ticket_table;

struct ticket_limits {
	double wait_s;      /* how long an offer waits for its fetch, and a fetch for its offer */
	double remember_s;  /* how long a used ticket is refused */
	size_t max_waiting; /* offers that may wait, and as many fetches */
	size_t max_used;    /* maximum of remembered tickets; further offers are refused */
};

/* What an offer asks for beside the sealing itself. */
struct ticket_terms {
	uint64_t lease_id;        /* HAProxy's, for logs */
	uint64_t channel;         /* number of the control channel it came on */
	uint64_t splice_min;      /* bytes of plaintext from which a body is sealed at all */
	uint64_t direct_min;      /* and from which "direct" may be announced; 0: never */
	struct ip_address client; /* other end of the connection */
	/* For an Offer of a continuation: what it must be of. */
	struct ticket_continuation {
		struct text_span etag;   /* the entity tag that its object must have; empty: no continuation */
		struct text_span target; /* the target that the fetch must name */
		uint64_t offset, length; /* the bytes of the object that it must be */
	} continuation;
};

struct ticket_offer {
	struct ticket ticket;
	struct tx_state state;
	struct ticket_terms terms;
	char *continuation_texts;       /* private: terms.continuation's */
	struct ticket_offer *next_free; /* private */
};

/* Brings a thread the offers for its waiting fetches. Belongs to one loop. */
struct ticket_mailbox {
	struct ev_loop *loop;
	struct ticket_table *table;
	struct ticket_waiter *joined; /* private: waiters to be called */
	ev_async wake;                /* private */
};

/* A fetch that waits for its offer. Set ticket, mailbox, call and context before ticket_table_claim(). */
struct ticket_waiter {
	struct ticket ticket;
	struct ticket_mailbox *mailbox;
	/* Called on the mailbox's loop, once, with the offer, which is the waiter's from then on. */
	void (*call)(struct ticket_waiter *waiter, struct ticket_offer *offer);
	void *context;
	struct ticket_offer *offer;        /* private */
	struct ticket_waiter *prev, *next; /* private: in mailbox->joined */
	bool waiting;                      /* private: in the table or in the mailbox */
};

enum ticket_offer_status {
	TICKET_OFFER_KEPT,    /* waits for its fetch */
	TICKET_OFFER_JOINED,  /* a fetch was waiting: its thread gets it */
	TICKET_OFFER_USED,    /* the ticket was used or offered before: dropped */
	TICKET_OFFER_REFUSED, /* the table is full: dropped */
};

enum ticket_claim_status {
	TICKET_CLAIM_JOINED,  /* the offer is the caller's */
	TICKET_CLAIM_WAITING, /* <waiter> will be called, unless it is withdrawn first */
	TICKET_CLAIM_USED,    /* the ticket was used, or another fetch waits for it */
	TICKET_CLAIM_REFUSED, /* the table is full */
};

/* Seconds on a clock that never jumps: <now> of the functions below. */
double ticket_clock(void);

/* Returns a table, or NULL when memory is exhausted. */
struct ticket_table *ticket_table_new(const struct ticket_limits *limits);

/* Wipes and frees <table>, which may be NULL; no waiter may be left. */
void ticket_table_free(struct ticket_table *table);

/* Begins to watch <mailbox> on <loop>, in whose thread this is called; the mailbox must stay where it is. */
void ticket_mailbox_open(struct ticket_mailbox *mailbox, struct ticket_table *table, struct ev_loop *loop);

/* Ends it; no waiter of it may be left. */
void ticket_mailbox_close(struct ticket_mailbox *mailbox);

/* Brings an offer; <state> and <terms> are copied. */
enum ticket_offer_status ticket_table_offer(struct ticket_table *table, const struct ticket *ticket,
					    const struct tx_state *state, const struct ticket_terms *terms, double now);

/* Asks for the offer of waiter->ticket: it is in <*offer> with TICKET_CLAIM_JOINED, else <*offer> is NULL. */
enum ticket_claim_status ticket_table_claim(struct ticket_table *table, struct ticket_waiter *waiter,
					    struct ticket_offer **offer, double now);

/* Withdraws a waiting <waiter>, in its mailbox's thread; the ticket is used from now on. Returns the offer if it had
 * come but call() was not made yet (it is the caller's, call() is not made any more), else NULL. */
struct ticket_offer *ticket_table_withdraw(struct ticket_table *table, struct ticket_waiter *waiter, double now);

/* Does so for all waiting offers of <channel>. Returns how many there were. */
size_t ticket_table_drop_channel(struct ticket_table *table, uint64_t channel, double now);

/* Wipes the offers whose wait is over, calling <expired> for each (without the table's lock; may be NULL), and forgets
 * tickets used long ago. Returns how many offers expired. To be called a few times a second. */
size_t ticket_table_expire(struct ticket_table *table, double now,
			   void (*expired)(void *context, const struct ticket *ticket, uint64_t channel),
			   void *context);

/* Wipes <offer> and gives its memory back; NULL is left alone. */
void ticket_table_release(struct ticket_table *table, struct ticket_offer *offer);

/* Number of offers that wait. */
size_t ticket_table_offers(struct ticket_table *table);

#endif

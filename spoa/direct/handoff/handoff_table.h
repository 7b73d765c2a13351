/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Handoff table: the handoffs of this disc-spoa, by ticket and, from PARKED on, by connection of the handoff socket and
 * number; with what they share. Bounded. */
#ifndef DISC_HANDOFF_TABLE_H
#define DISC_HANDOFF_TABLE_H

#include <ev.h>
#include <stdbool.h>

#include "breaker.h"
#include "late_release.h"
#include "lease_store.h"
#include "log_limit.h"
#include "node_link.h"
#include "node_reach.h"
#include "spoa_config.h"
#include "spoa_metrics.h"
#include "steering.h"
#include "tcp_freeze.h"

struct handoff;
struct handoff_connection;

/* Empty when all zero but what its owner, direct_path, fills in. */
struct handoff_table {
	struct handoff *tickets, *numbers; /* heads of the hashes */
	size_t count, max;
	size_t collected;                             /* bytes that takeovers collect at this time */
	bool draining;                                /* nothing is handed off any more */
	struct log_limit takeovers, losses, failures; /* lines of each kind */
	struct late_release releases;
	/* The owner's. */
	struct ev_loop *loop;
	struct spoa_config *config; /* the one in use */
	struct spoa_metrics *metrics;
	struct node_link *const *links; /* by the nodes' index */
	struct steering *steering;
	struct lease_store *leases;
	struct breaker *breakers;              /* by the number that routes have */
	struct node_route routes[NODE_MAX][2]; /* by the nodes' index; IPv4 and IPv6 */
	struct tcp_frozen *frozen;             /* for the connection that is being frozen */
	uint8_t *frame;                        /* room for one encoded message, secret_alloc()ed */
	void (*settled)(void *context);        /* a handoff has ended and is freed; may be NULL */
	void *context;
};

/* Adds <handoff>, whose ticket no other has. Returns false if the table is full or memory is exhausted. */
bool handoff_table_add(struct handoff_table *table, struct handoff *handoff);

/* Makes <handoff>, which is in the table, known as <number> of <haproxy>. Returns false if another handoff in the table
 * has this number of <haproxy>, or if memory is exhausted. */
bool handoff_table_number(struct handoff_table *table, struct handoff *handoff,
			  const struct handoff_connection *haproxy, uint64_t number);

/* Forgets the number of <handoff>, if it has one. */
void handoff_table_unnumber(struct handoff_table *table, struct handoff *handoff);

/* Takes <handoff> out. */
void handoff_table_remove(struct handoff_table *table, struct handoff *handoff);

/* Return the handoff, or NULL. */
struct handoff *handoff_table_find(const struct handoff_table *table, const struct ticket *ticket);
struct handoff *handoff_table_find_number(const struct handoff_table *table, const struct handoff_connection *haproxy,
					  uint64_t number);

/* Handoffs whose connection HAProxy has parked. */
size_t handoff_table_parked(const struct handoff_table *table);

/* Calls <act> for each handoff; <act> may remove that one. */
void handoff_table_each(struct handoff_table *table, void (*act)(void *context, struct handoff *handoff),
			void *context);

#endif

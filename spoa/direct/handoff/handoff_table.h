/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Handoff table: handoffs by ticket and, from PARKED on, by connection of the handoff socket and number. It owns none
 * of them. Bounded. */
#ifndef DISC_HANDOFF_TABLE_H
#define DISC_HANDOFF_TABLE_H

#include <stdbool.h>

#include "handoff.h"

/* Empty when all zero but <max>. */
struct handoff_table {
	struct handoff *tickets, *numbers; /* heads of the hashes */
	size_t count, max;
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

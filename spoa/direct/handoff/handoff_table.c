/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Running out of memory is answered, not an exit(). */
#define HASH_NONFATAL_OOM 1
#include "handoff_table.h"

#include "handoff.h"

bool handoff_table_add(struct handoff_table *table, struct handoff *handoff)
{
	if (table->count >= table->max)
		return false;
	HASH_ADD(by_ticket, table->tickets, ticket, sizeof(handoff->ticket), handoff);
	if (!handoff->by_ticket.tbl)
		return false;
	table->count++;
	return true;
}

bool handoff_table_number(struct handoff_table *table, struct handoff *handoff,
			  const struct handoff_connection *haproxy, uint64_t number)
{
	if (handoff_table_find_number(table, haproxy, number))
		return false;
	handoff->key = (struct handoff_number){haproxy, number};
	HASH_ADD(by_number, table->numbers, key, sizeof(handoff->key), handoff);
	return handoff->by_number.tbl != NULL;
}

void handoff_table_unnumber(struct handoff_table *table, struct handoff *handoff)
{
	if (!handoff->by_number.tbl)
		return;
	HASH_DELETE(by_number, table->numbers, handoff);
	handoff->by_number.tbl = NULL;
}

void handoff_table_remove(struct handoff_table *table, struct handoff *handoff)
{
	handoff_table_unnumber(table, handoff);
	HASH_DELETE(by_ticket, table->tickets, handoff);
	table->count--;
}

struct handoff *handoff_table_find(const struct handoff_table *table, const struct ticket *ticket)
{
	struct handoff *handoff;

	HASH_FIND(by_ticket, table->tickets, ticket, sizeof(*ticket), handoff);
	return handoff;
}

struct handoff *handoff_table_find_number(const struct handoff_table *table, const struct handoff_connection *haproxy,
					  uint64_t number)
{
	const struct handoff_number key = {haproxy, number};
	struct handoff *handoff;

	HASH_FIND(by_number, table->numbers, &key, sizeof(key), handoff);
	return handoff;
}

size_t handoff_table_parked(const struct handoff_table *table)
{
	const struct handoff *handoff;
	size_t count = 0;

	for (handoff = table->tickets; handoff; handoff = handoff->by_ticket.next)
		count += handoff->machine.state != HANDOFF_OFFERED;
	return count;
}

void handoff_table_each(struct handoff_table *table, void (*act)(void *context, struct handoff *handoff), void *context)
{
	struct handoff *handoff, *next;

	HASH_ITER (by_ticket, table->tickets, handoff, next)
		act(context, handoff);
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Running out of memory is answered, not an exit(). */
#define HASH_NONFATAL_OOM 1
#include "loan_table.h"

#include <string.h>

bool loan_table_add(struct loan_table *table, struct loan *loan)
{
	if (table->count >= table->max)
		return false;
	HASH_ADD(by_ticket, table->tickets, ticket, sizeof(loan->ticket), loan);
	if (!loan->by_ticket.tbl)
		return false;
	table->count++;
	return true;
}

bool loan_table_number(struct loan_table *table, struct loan *loan, const struct lending_connection *lender,
		       uint64_t number)
{
	if (loan_table_find_number(table, lender, number))
		return false;
	loan->key = (struct loan_number){lender, number};
	HASH_ADD(by_number, table->numbers, key, sizeof(loan->key), loan);
	return loan->by_number.tbl != NULL;
}

void loan_table_unnumber(struct loan_table *table, struct loan *loan)
{
	if (!loan->by_number.tbl)
		return;
	HASH_DELETE(by_number, table->numbers, loan);
	loan->by_number.tbl = NULL;
}

void loan_table_remove(struct loan_table *table, struct loan *loan)
{
	loan_table_unnumber(table, loan);
	HASH_DELETE(by_ticket, table->tickets, loan);
	table->count--;
}

struct loan *loan_table_find(const struct loan_table *table, const struct ticket *ticket)
{
	struct loan *loan;

	HASH_FIND(by_ticket, table->tickets, ticket, sizeof(*ticket), loan);
	return loan;
}

struct loan *loan_table_find_number(const struct loan_table *table, const struct lending_connection *lender,
				    uint64_t number)
{
	const struct loan_number key = {lender, number};
	struct loan *loan;

	HASH_FIND(by_number, table->numbers, &key, sizeof(key), loan);
	return loan;
}

size_t loan_table_lent(const struct loan_table *table)
{
	const struct loan *loan;
	size_t count = 0;

	for (loan = table->tickets; loan; loan = loan->by_ticket.next)
		count += loan->state != LOAN_OFFERED;
	return count;
}

void loan_table_each(struct loan_table *table, void (*act)(void *context, struct loan *loan), void *context)
{
	struct loan *loan, *next;

	HASH_ITER (by_ticket, table->tickets, loan, next)
		act(context, loan);
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Loan table: loans by ticket, and once they are lent by HAProxy's connection and number. It owns none of them.
 * Bounded. */
#ifndef DISC_LOAN_TABLE_H
#define DISC_LOAN_TABLE_H

#include <stdbool.h>

#include "loan.h"

/* Empty when all zero but <max>. */
struct loan_table {
	struct loan *tickets, *numbers; /* heads of the hashes */
	size_t count, max;
};

/* Adds <loan>, whose ticket no other has. Returns false if the table is full or memory is exhausted. */
bool loan_table_add(struct loan_table *table, struct loan *loan);

/* Makes <loan>, which is in the table, known as <number> of <lender>. Returns false if <lender> has used the number for
 * a loan that still is, or if memory is exhausted. */
bool loan_table_number(struct loan_table *table, struct loan *loan, const struct lending_connection *lender,
		       uint64_t number);

/* Forgets the number of <loan>, if it has one. */
void loan_table_unnumber(struct loan_table *table, struct loan *loan);

/* Takes <loan> out. */
void loan_table_remove(struct loan_table *table, struct loan *loan);

/* Return the loan, or NULL. */
struct loan *loan_table_find(const struct loan_table *table, const struct ticket *ticket);
struct loan *loan_table_find_number(const struct loan_table *table, const struct lending_connection *lender,
				    uint64_t number);

/* Loans that are lent. */
size_t loan_table_lent(const struct loan_table *table);

/* Calls <act> for each loan; <act> may remove that one. */
void loan_table_each(struct loan_table *table, void (*act)(void *context, struct loan *loan), void *context);

#endif

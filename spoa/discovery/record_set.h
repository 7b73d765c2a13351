/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Record set: the nodes that a DNS name has, as answers and time change them. Pure: answers and the clock in, members out.
 *
 *   an answer with records     those that are new are members at once, up to the maximum; members that it does not have leave
 *                              after hold_gone
 *   an answer without records  (the name does not exist, or has none) members leave after hold_empty, unless another answer has
 *                              them again: a zone that is being reloaded takes no node away
 *   no answer                  nothing changes
 *
 * Members stay members as long as they are in answers: over the maximum a new record waits until a member has left.
 */
#ifndef DISC_RECORD_SET_H
#define DISC_RECORD_SET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "node_template.h"

#define RECORD_SET_ANSWER_MAX 256u /* records of one answer; further ones are ignored */
#define RECORD_SET_MAX (RECORD_SET_ANSWER_MAX + NODE_MAX)

/* Seconds, but for <members>. */
struct record_set_limits {
	double ttl_min, ttl_max; /* how long an answer holds, whatever its TTL */
	double hold_gone, hold_empty;
	size_t members; /* at a time; at most NODE_MAX */
};

struct record_set {
	struct record_set_limits limits;
	struct record_set_entry {
		struct node_record record;
		bool member;
		bool gone;     /* not in the last answer */
		double leaves; /* with <gone>: when */
	} entries[RECORD_SET_MAX];
	size_t count;
	size_t ignored;  /* records of the last answer that are no members, because there are enough */
	double ask;      /* when the name is to be resolved again */
	double patience; /* seconds until it is asked again if there is no answer */
};

/* An empty set, to be resolved at <now> (seconds, any clock, the same one in all calls). */
void record_set_init(struct record_set *set, const struct record_set_limits *limits, double now);

/* Has <set> know what <known> knows, with its own limits: members over its maximum are none any more. */
void record_set_inherit(struct record_set *set, const struct record_set *known);

/* Takes the <count> records of an answer, in any order, duplicates among them, that holds for <ttl> seconds as DNS has it (RFC 2181,
 * section 8: more than 2^31 - 1 is 0). Returns whether the members are other ones now. */
bool record_set_answer(struct record_set *set, const struct node_record *records, size_t count, uint32_t ttl,
		       double now);

/* There was no answer: asks again, at first after ttl_min, then after twice the time, up to ttl_max. */
void record_set_failure(struct record_set *set, double now);

/* Lets members leave whose time has come. Returns whether the members are other ones now. */
bool record_set_pass(struct record_set *set, double now);

/* When record_set_pass() is due next; a time that never comes if no member is about to leave. */
double record_set_due(const struct record_set *set);

/* Fills <members> with pointers into <set>, which hold until it changes. Returns how many. */
size_t record_set_members(const struct record_set *set, const struct node_record *members[static NODE_MAX]);

#endif

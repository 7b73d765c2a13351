/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "record_set.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

void record_set_init(struct record_set *set, const struct record_set_limits *limits, double now)
{
	memset(set, 0, sizeof(*set));
	set->limits = *limits;
	set->ask = now;
	set->patience = limits->ttl_min;
}

static double clamp(double value, double min, double max)
{
	return value < min ? min : value > max ? max : value;
}

static struct record_set_entry *find(struct record_set *set, const struct node_record *record)
{
	for (size_t i = 0; i < set->count; i++)
		if (node_record_compare(&set->entries[i].record, record) == 0)
			return &set->entries[i];
	return NULL;
}

static void mark_gone(struct record_set *set, double leaves)
{
	for (size_t i = 0; i < set->count; i++) {
		struct record_set_entry *entry = &set->entries[i];

		if (!entry->gone || leaves < entry->leaves)
			entry->leaves = leaves;
		entry->gone = true;
	}
}

static size_t count_members(const struct record_set *set)
{
	size_t count = 0;

	for (size_t i = 0; i < set->count; i++)
		count += set->entries[i].member;
	return count;
}

/* Forgets what has left, and what waited for a place and is not there any more. Returns whether there was a member among it. */
static bool forget(struct record_set *set, double now)
{
	size_t kept = 0;
	bool changed = false;

	for (size_t i = 0; i < set->count; i++) {
		const struct record_set_entry *entry = &set->entries[i];

		if (!entry->gone || (entry->member && now < entry->leaves))
			set->entries[kept++] = *entry;
		else
			changed = changed || entry->member;
	}
	set->count = kept;
	return changed;
}

static int compare_entries(const void *left, const void *right)
{
	const struct record_set_entry *a = left, *b = right;

	return node_record_compare(&a->record, &b->record);
}

/* Gives the places that are free to records that wait, in their order. Returns whether any got one. */
static bool admit(struct record_set *set)
{
	size_t places = set->limits.members, members = count_members(set);
	bool changed = false;

	qsort(set->entries, set->count, sizeof(set->entries[0]), compare_entries);
	set->ignored = 0;
	for (size_t i = 0; i < set->count; i++) {
		struct record_set_entry *entry = &set->entries[i];

		if (entry->member)
			continue;
		if (members == places) {
			set->ignored++;
			continue;
		}
		entry->member = changed = true;
		members++;
	}
	return changed;
}

bool record_set_pass(struct record_set *set, double now)
{
	bool left = forget(set, now);

	return admit(set) || left;
}

bool record_set_answer(struct record_set *set, const struct node_record *records, size_t count, uint32_t ttl,
		       double now)
{
	const struct record_set_limits *limits = &set->limits;

	if (count > RECORD_SET_ANSWER_MAX)
		count = RECORD_SET_ANSWER_MAX;
	mark_gone(set, now + (count ? limits->hold_gone : limits->hold_empty));
	/* Those that only wait are new ones again: with the members there is room for a whole answer. */
	for (size_t i = 0; i < set->count;) {
		if (set->entries[i].member)
			i++;
		else
			set->entries[i] = set->entries[--set->count];
	}
	for (size_t i = 0; i < count; i++) {
		struct record_set_entry *entry = find(set, &records[i]);

		if (entry)
			entry->gone = false;
		else
			set->entries[set->count++] = (struct record_set_entry){.record = records[i]};
	}
	set->patience = limits->ttl_min;
	set->ask = now + clamp(ttl > INT32_MAX ? 0. : ttl, limits->ttl_min, limits->ttl_max);
	return record_set_pass(set, now);
}

void record_set_inherit(struct record_set *set, const struct record_set *known)
{
	size_t members = 0;

	memcpy(set->entries, known->entries, sizeof(set->entries));
	set->count = known->count;
	for (size_t i = 0; i < set->count; i++) {
		struct record_set_entry *entry = &set->entries[i];

		entry->member = entry->member && members < set->limits.members;
		members += entry->member;
	}
	(void)admit(set);
}

void record_set_failure(struct record_set *set, double now)
{
	set->ask = now + set->patience;
	set->patience = clamp(set->patience * 2, set->limits.ttl_min, set->limits.ttl_max);
}

double record_set_due(const struct record_set *set)
{
	double due = INFINITY;

	for (size_t i = 0; i < set->count; i++)
		if (set->entries[i].gone && set->entries[i].leaves < due)
			due = set->entries[i].leaves;
	return due;
}

size_t record_set_members(const struct record_set *set, const struct node_record *members[static NODE_MAX])
{
	size_t count = 0;

	for (size_t i = 0; i < set->count; i++)
		if (set->entries[i].member)
			members[count++] = &set->entries[i].record;
	return count;
}

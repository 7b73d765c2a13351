/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "node_roster.h"

static struct node *find(const struct node_roster *roster, const struct node *wanted)
{
	for (size_t i = 0; i < NODE_MAX; i++)
		if (roster->nodes[i] && node_is_same(roster->nodes[i], wanted))
			return roster->nodes[i];
	return NULL;
}

static void add(struct node_roster *roster, struct node *node)
{
	size_t index = 0;

	while (roster->nodes[index])
		index++;
	node->index = index;
	node_hold(node);
	roster->nodes[index] = node;
	if (roster->events.joins)
		roster->events.joins(roster->events.context, node);
}

static struct node *take_known(struct node *known, struct node *node)
{
	known->server_id = node->server_id;
	atomic_store(&known->weight, atomic_load(&node->weight));
	atomic_store(&known->max_offloads, atomic_load(&node->max_offloads));
	node_hold(known);
	node_drop(node);
	return known;
}

int node_roster_adopt(struct node_roster *roster, struct node **nodes, size_t count)
{
	size_t total = node_roster_sweep(roster);

	for (size_t i = 0; i < count; i++)
		total += !find(roster, nodes[i]);
	if (total > NODE_MAX)
		return -1;
	for (size_t i = 0; i < count; i++) {
		struct node *known = find(roster, nodes[i]);

		if (known)
			nodes[i] = take_known(known, nodes[i]);
		else
			add(roster, nodes[i]);
	}
	return 0;
}

static void leave(struct node_roster *roster, size_t index)
{
	struct node *node = roster->nodes[index];

	roster->nodes[index] = NULL;
	if (roster->events.left)
		roster->events.left(roster->events.context, node);
	node_drop(node);
}

size_t node_roster_sweep(struct node_roster *roster)
{
	size_t stay = 0;

	for (size_t i = 0; i < NODE_MAX; i++) {
		if (!roster->nodes[i])
			continue;
		/* Only who uses a node can give it to another user, so this one gets none any more. */
		if (atomic_load(&roster->nodes[i]->others) == 0)
			leave(roster, i);
		else
			stay++;
	}
	return stay;
}

void node_roster_clear(struct node_roster *roster)
{
	for (size_t i = 0; i < NODE_MAX; i++)
		if (roster->nodes[i])
			leave(roster, i);
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Node roster: the nodes that this process knows, those of the configuration and those that left it and still have users. Each
 * has a number below NODE_MAX of its own for as long as it has any: its bit in a node_set, and its place in every table of
 * nodes. So a node that stays when the configuration is read again stays the same one, with its links and its load.
 *
 * The main thread's alone; workers only hold and drop nodes.
 */
#ifndef DISC_NODE_ROSTER_H
#define DISC_NODE_ROSTER_H

#include <stddef.h>

#include "node_pool.h"

/* Empty when all zero. */
struct node_roster {
	struct node *nodes[NODE_MAX]; /* by their number; NULL: free */
	struct node_roster_events {
		/* A node, which has its number, joins; it has left, and is about to be freed. May be NULL. */
		void (*joins)(void *context, struct node *node);
		void (*left)(void *context, struct node *node);
		void *context;
	} events;
};

/* Takes the <count> nodes <nodes>, each held by its first user alone: one that is what a node of the roster is (all but weight,
 * server_id and max_offloads, which that one takes over) is dropped, and <nodes> has that one instead, held once more; the
 * others get numbers. Returns 0; or -1 if there are not enough of these: nothing is changed then. */
int node_roster_adopt(struct node_roster *roster, struct node **nodes, size_t count);

/* Drops nodes that nobody else uses. Returns how many stay. */
size_t node_roster_sweep(struct node_roster *roster);

/* Drops all nodes. */
void node_roster_clear(struct node_roster *roster);

#endif

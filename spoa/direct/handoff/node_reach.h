/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Node reach: whether the nodes' addresses for packets of clients are reached, by a route and on the wire, and the
 * log lines that say so when it changes. Looked up every few seconds; a node that is silent on the wire stays out until
 * it answers.
 */
#ifndef DISC_NODE_REACH_H
#define DISC_NODE_REACH_H

#include <stdbool.h>
#include <stddef.h>

#include "node_pool.h"
#include "steering.h"

/* How one node is reached by one address family. */
struct node_route {
	bool known;       /* <route> holds */
	double usable_at; /* loop time when its neighbour was last known to be no silent one; 0: never */
	struct steering_route route;
};

enum direct_reach {
	DIRECT_REACHED = 0, /* as far as is known */
	DIRECT_NO_ROUTE,
	DIRECT_SILENT, /* it answers neither ARP nor neighbour discovery */
};

/* All zero at first. */
struct node_reach {
	enum direct_reach logged[NODE_MAX][2]; /* by the nodes' index; IPv4 and IPv6 */
};

/* Looks up the <count> <nodes>: <found>, by their index, says where packets of clients can be sent. Returns how many
 * nodes have an address that is not reached. */
size_t node_reach_find(struct node_reach *routes, struct steering *steering, struct node *const *nodes, size_t count,
		       struct node_route found[][2]);

/* Forgets what is known of a node whose number a new one gets. */
void node_reach_forget(struct node_reach *routes, size_t index, struct node_route found[][2]);

/* Whether packets can be sent by <route> at the loop time <now>, as the kernel said a moment ago at most. */
bool node_route_usable(struct node_route *route, double now);

/* Whether packets can be sent to <node> by <route>, its route of <family> (0: IPv4, 1: IPv6). If the kernel has found
 * out meanwhile that the node is silent, logs that at once and makes <route> unknown. */
bool node_reach_usable(struct node_reach *routes, const struct node *node, size_t family, struct node_route *route,
		       double now);

#endif

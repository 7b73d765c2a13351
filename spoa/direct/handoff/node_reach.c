/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "node_reach.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>

#include "log.h"

#define ERROR_MAX 256
#define ASK_AGAIN_S 0.25 /* the kernel, about a neighbour: it needs seconds itself to find one silent */

static const char *host_of(const struct address *address, char text[static INET6_ADDRSTRLEN])
{
	const struct sockaddr_in *v4 = (const struct sockaddr_in *)&address->storage;
	const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)&address->storage;
	const void *ip = address->storage.ss_family == AF_INET ? (const void *)&v4->sin_addr : &v6->sin6_addr;

	return inet_ntop(address->storage.ss_family, ip, text, INET6_ADDRSTRLEN) ? text : "?";
}

/* Says in the log that <reach> is how it is now, <why> if it is not reached; once. */
static void tell(struct node_reach *routes, const struct node *node, size_t family, enum direct_reach reach,
		 const char *why)
{
	enum direct_reach *logged = &routes->logged[node->index][family];
	char text[INET6_ADDRSTRLEN];

	if (*logged == reach)
		return;
	*logged = reach;
	(void)host_of(&node->direct[family], text);
	if (reach == DIRECT_REACHED)
		log_notice("node %s (%s) is reached directly again", node->name, text);
	else
		log_warning("node %s (%s) gets no connections of clients: %s", node->name, text, why);
}

static void tell_silent(struct node_reach *routes, const struct node *node, size_t family, struct node_route *route)
{
	char why[ERROR_MAX];

	route->known = false;
	(void)snprintf(why, sizeof(why), "it does not answer %s on %s", family == 0 ? "ARP" : "neighbour discovery",
		       route->route.interface_name);
	tell(routes, node, family, DIRECT_SILENT, why);
}

/* Returns whether the address is reached, or there is none. */
static bool find(struct node_reach *routes, struct steering *steering, const struct node *node, size_t family,
		 struct node_route *route)
{
	enum steering_neighbour neighbour;
	char error[ERROR_MAX];

	if (!node->direct[family].len)
		return true;
	route->usable_at = 0;
	route->known = steering_route_find(steering, &node->direct[family], &route->route, error, sizeof(error)) == 0;
	if (!route->known) {
		tell(routes, node, family, DIRECT_NO_ROUTE, error);
		return false;
	}
	neighbour = steering_route_neighbour(&route->route);
	/* Asking anew does not make a silent node one that answers. */
	if (neighbour == STEERING_NEIGHBOUR_SILENT ||
	    (neighbour == STEERING_NEIGHBOUR_UNKNOWN && routes->logged[node->index][family] == DIRECT_SILENT)) {
		tell_silent(routes, node, family, route);
		return false;
	}
	tell(routes, node, family, DIRECT_REACHED, "");
	return true;
}

size_t node_reach_find(struct node_reach *routes, struct steering *steering, struct node *const *nodes, size_t count,
		       struct node_route found[][2])
{
	size_t unreachable = 0;

	for (size_t i = 0; i < count; i++) {
		bool v4 = find(routes, steering, nodes[i], 0, &found[nodes[i]->index][0]);
		bool v6 = find(routes, steering, nodes[i], 1, &found[nodes[i]->index][1]);

		unreachable += !v4 || !v6;
	}
	return unreachable;
}

void node_reach_forget(struct node_reach *routes, size_t index, struct node_route found[][2])
{
	for (size_t family = 0; family < 2; family++) {
		routes->logged[index][family] = DIRECT_REACHED;
		found[index][family] = (struct node_route){.known = false};
	}
}

bool node_route_usable(struct node_route *route, double now)
{
	if (!route->known)
		return false;
	if (route->usable_at > 0 && now - route->usable_at < ASK_AGAIN_S)
		return true;
	route->usable_at = steering_route_usable(&route->route) ? now : 0;
	return route->usable_at > 0;
}

bool node_reach_usable(struct node_reach *routes, const struct node *node, size_t family, struct node_route *route,
		       double now)
{
	if (!route->known)
		return false;
	if (node_route_usable(route, now))
		return true;
	tell_silent(routes, node, family, route);
	return false;
}

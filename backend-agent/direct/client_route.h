/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Client route: whether this node has a way to a client, before its connection is asked for. */
#ifndef DISC_CLIENT_ROUTE_H
#define DISC_CLIENT_ROUTE_H

#include <stdbool.h>
#include <stddef.h>

#include "direct_settings.h"

#define CLIENT_ROUTE_KEPT 256 /* clients whose routes are remembered */
#define CLIENT_ROUTE_KEPT_S 1.0

/* Clients to whom there was a route just now: asking costs four system calls. Empty when zeroed; of one thread. A route that is
 * lost is noticed so much later; a clone without one sends nothing, and the agent takes over. */
struct client_route_memory {
	struct client_route_known {
		struct ip_address client;
		double until; /* see client_route_exists() */
	} known[CLIENT_ROUTE_KEPT];
};

/* Returns false if the kernel has no route to <client> from any virtual address of its family, which is counted each
 * time and said in the log now and then. True if there is one, or was less than CLIENT_ROUTE_KEPT_S before <now>, in
 * seconds of a clock that does not go back; or if that is unknown (family 0 too): the handoff will show. Nothing is
 * sent. Of any thread. */
bool client_route_exists(const struct direct_settings *settings, struct client_route_memory *memory,
			 const struct ip_address *client, double now);

#endif

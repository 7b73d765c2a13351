/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Direct net: the network of tests of the direct path.
 *
 *              +---- 10.0.1.0/24, fd01::/64 ---- lb     VIP on lo
 *   client ----+
 *   on lo      +---- 10.0.2.0/24, fd02::/64 ---- node   VIP on lo, its interface to the client is called "eth0"
 *
 * The client sends to the VIP by the way that direct_net_route() chose last. Every function fails the test if it
 * cannot.
 */
#ifndef DIRECT_NET_H
#define DIRECT_NET_H

#include <stdint.h>
#include <sys/socket.h>

#include "netns.h"

#define NET_VIP4 "192.0.2.1"
#define NET_VIP6 "2001:db8::1"
#define NET_CLIENT4 "198.51.100.1"
#define NET_CLIENT6 "2001:db8:1::1"

enum net_place { NET_CLIENT, NET_LB, NET_NODE, NET_PLACES };

struct direct_net {
	struct netns places[NET_PLACES];
};

void direct_net_open(struct direct_net *net);
void direct_net_close(struct direct_net *net);

/* Sockets that this thread makes from now on belong to <place>; "ip" and "/proc/sys/net" are those of it. */
void direct_net_enter(const struct direct_net *net, enum net_place place);

/* Runs a shell command, as printf(), in <place>; the thread stays where it was. */
#define direct_net_run(net, place, ...) assert_int_equal(netns_do(&(net)->places[place], __VA_ARGS__), 0)

/* What the client sends to the VIP goes to <place> from now on; with NET_CLIENT nowhere. */
void direct_net_route(const struct direct_net *net, enum net_place place);

/* Writes the socket address of <v4> or <v6>, whichever <family> (4, 6) asks for. Returns its length. */
socklen_t direct_net_endpoint(struct sockaddr_storage *address, uint8_t family, const char *v4, const char *v6,
			      uint16_t port);

#endif

/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "direct_net.h"

#include <arpa/inet.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

void direct_net_enter(const struct direct_net *net, enum net_place place)
{
	assert_int_equal(netns_enter(&net->places[place]), 0);
}

static void set_up_end(const struct direct_net *net, enum net_place place, const char *name, unsigned number)
{
	assert_int_equal(netns_link(&net->places[NET_CLIENT], name, &net->places[place], "eth0"), 0);
	direct_net_run(net, NET_CLIENT, "ip addr add 10.0.%u.1/24 dev %s && ip addr add fd0%u::1/64 dev %s", number,
		       name, number, name);
	direct_net_run(net, place,
		       "set -e; ip addr add 10.0.%u.2/24 dev eth0; ip addr add fd0%u::2/64 dev eth0; "
		       "ip addr add " NET_VIP4 "/32 dev lo; ip addr add " NET_VIP6 "/128 dev lo; "
		       "ip route add " NET_CLIENT4 " via 10.0.%u.1; ip route add " NET_CLIENT6 " via fd0%u::1",
		       number, number, number, number);
}

void direct_net_open(struct direct_net *net)
{
	for (int i = 0; i < NET_PLACES; i++) {
		assert_int_equal(netns_make(&net->places[i]), 0);
		/* The client sends by one way and hears by another. */
		direct_net_run(net, i, "for c in all default; do echo 0 >/proc/sys/net/ipv4/conf/$c/rp_filter; done");
	}
	direct_net_run(net, NET_CLIENT,
		       "ip addr add " NET_CLIENT4 "/32 dev lo && ip addr add " NET_CLIENT6 "/128 dev lo");
	set_up_end(net, NET_LB, "to-lb", 1);
	set_up_end(net, NET_NODE, "to-node", 2);
	direct_net_run(net, NET_NODE,
		       "cd /proc/sys/net/ipv4/conf && echo 1 >eth0/arp_ignore && echo 2 >eth0/arp_announce");
	direct_net_route(net, NET_LB);
}

void direct_net_close(struct direct_net *net)
{
	assert_int_equal(netns_leave(), 0);
	for (int i = 0; i < NET_PLACES; i++)
		netns_release(&net->places[i]);
}

void direct_net_route(const struct direct_net *net, enum net_place place)
{
	if (place == NET_CLIENT)
		direct_net_run(net, NET_CLIENT,
			       "ip route replace blackhole " NET_VIP4 " && "
			       "ip -6 route del " NET_VIP6 " 2>/dev/null; ip -6 route add blackhole " NET_VIP6);
	else
		direct_net_run(net, NET_CLIENT,
			       "ip route replace " NET_VIP4 " via 10.0.%d.2 && "
			       "ip -6 route del " NET_VIP6 " 2>/dev/null; ip -6 route add " NET_VIP6 " via fd0%d::2",
			       (int)place, (int)place);
}

socklen_t direct_net_endpoint(struct sockaddr_storage *address, uint8_t family, const char *v4, const char *v6,
			      uint16_t port)
{
	struct sockaddr_in *in = (struct sockaddr_in *)address;
	struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)address;

	memset(address, 0, sizeof(*address));
	if (family == 4) {
		in->sin_family = AF_INET;
		in->sin_port = htons(port);
		assert_int_equal(inet_pton(AF_INET, v4, &in->sin_addr), 1);
		return sizeof(*in);
	}
	in6->sin6_family = AF_INET6;
	in6->sin6_port = htons(port);
	assert_int_equal(inet_pton(AF_INET6, v6, &in6->sin6_addr), 1);
	return sizeof(*in6);
}

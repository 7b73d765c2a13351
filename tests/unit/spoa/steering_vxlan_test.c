/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Guards: VXLAN interfaces do as well as others, where clients come in and where the node is reached. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "steering_lab.h"

#define LAB(state)                           \
	struct steering_lab *lab = *(state); \
                                             \
	if (!lab) {                          \
		skip();                      \
		return;                      \
	}

/* Tunnels on both wires: the LB's "vc" to the client, "vn" to the node. */
static void make_tunnels(struct steering_lab *lab)
{
	assert_int_equal(netns_do(&lab->client,
				  "ip link add vc type vxlan id 7 dev eth0 local 192.0.2.2 remote 192.0.2.1 "
				  "dstport 4789 && ip link set vc up"),
			 0);
	assert_int_equal(netns_do(&lab->lb,
				  "ip link add vc type vxlan id 7 dev in0 local 192.0.2.1 remote 192.0.2.2 "
				  "dstport 4789 && ip link set vc up && "
				  "ip link add vn type vxlan id 8 dev out0 local 198.51.100.1 remote 198.51.100.2 "
				  "dstport 4789 && ip address add 10.9.0.1/24 dev vn && "
				  "ip address add 2001:db8:9::1/64 dev vn && ip link set vn up"),
			 0);
	assert_int_equal(netns_do(&lab->node,
				  "ip link add vn type vxlan id 8 dev eth0 local 198.51.100.2 "
				  "remote 198.51.100.1 dstport 4789 && ip address add 10.9.0.2/24 dev vn && "
				  "ip address add 2001:db8:9::2/64 dev vn && ip link set vn up"),
			 0);
	raw_sender_close(&lab->sender);
	raw_watcher_close(&lab->node_wire);
	assert_int_equal(raw_sender_open(&lab->sender, &lab->client, "vc", &lab->lb, "vc"), 0);
	assert_int_equal(raw_watch_wire(&lab->node_wire, &lab->node, "vn"), 0);
}

static struct steering_route route_to(struct steering_lab *lab, const char *node)
{
	struct steering_route route;
	struct address address;
	char error[256] = "";
	const char *why;
	int result;

	assert_int_equal(address_parse(&address, node, &why), 0);
	assert_int_equal(netns_enter(&lab->lb), 0);
	result = steering_route_find(lab->steering, &address, &route, error, sizeof(error));
	assert_int_equal(netns_leave(), 0);
	if (result < 0)
		fail_msg("%s", error);
	assert_string_equal(route.interface_name, "vn");
	return route;
}

static void go_through(struct steering_lab *lab, unsigned family, const struct steering_route *route)
{
	struct tcp_state flow = steering_lab_flow(family, 8000);
	struct steering_counters counters;

	steering_count(lab->steering, &counters);
	assert_int_equal(steering_hold(lab->steering, &flow), 0);
	steering_lab_send(lab, &flow, 1);
	steering_lab_send(lab, &flow, 2);
	steering_lab_wait(lab, steering_lab_held, counters.held + 2);
	assert_int_equal(steering_redirect(lab->steering, &flow, route, NULL), 0);
	steering_lab_send(lab, &flow, 3);
	for (uint32_t seq = 1; seq <= 3; seq++)
		steering_lab_expect_node(lab, seq);
	assert_int_equal(steering_hold(lab->steering, &flow), 0);
	steering_lab_send(lab, &flow, 4);
	steering_lab_wait(lab, steering_lab_held, counters.held + 3);
	steering_release(lab->steering, &flow);
	steering_lab_expect_stack(lab, family, 4);
}

static void tunnels_do_as_well_as_wires(void **state)
{
	static const char *const interfaces[] = {"vc", NULL};
	struct steering_settings settings = {.interfaces = interfaces, .max_flows = 16};
	struct steering_route route4, route6;
	char error[256] = "";

	LAB(state)
	make_tunnels(lab);
	assert_int_equal(netns_enter(&lab->lb), 0);
	lab->steering = steering_open(lab->loop, &settings, NULL, NULL, error, sizeof(error));
	assert_int_equal(netns_leave(), 0);
	if (!lab->steering)
		fail_msg("%s", error);
	route4 = route_to(lab, "10.9.0.2:1");
	route6 = route_to(lab, "[2001:db8:9::2]:1");
	go_through(lab, 4, &route4);
	go_through(lab, 6, &route6);
	steering_lab_close(lab);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(tunnels_do_as_well_as_wires),
	};

	return cmocka_run_group_tests(tests, steering_lab_make, steering_lab_remove);
}

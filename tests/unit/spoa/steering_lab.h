/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A network for tests of steering: client -- LB -- node, each a namespace.
 *
 *   client eth0 -------- in0 LB out0 -------- eth0 node
 *   192.0.2.2        192.0.2.1  198.51.100.1        198.51.100.2     MTU 1500
 *   2001:db8:1::2    ::1        2001:db8:2::1       2001:db8:2::2
 *
 * The LB has the VIPs 192.0.2.1 and 2001:db8:1::1, the node too, on its loopback. IPv6 is the same with all.
 */
#ifndef STEERING_LAB_H
#define STEERING_LAB_H

#include <ev.h>

#include "netns.h"
#include "raw_packet.h"
#include "steering.h"

struct steering_lab {
	struct netns client, lb, node;
	struct raw_sender sender; /* at the client, towards the LB */
	struct raw_watcher node_wire, stack4, stack6;
	struct ev_loop *loop;
	struct steering *steering;
	struct steering_route route4, route6;
	void (*acknowledged)(void *owner); /* of the steering that is opened next */
};

/* A cmocka set-up and tear-down: <*state> becomes the lab, without a steering; NULL where no namespaces can be made,
 * with a line that says why. */
int steering_lab_make(void **state);
int steering_lab_remove(void **state);

/* Opens the LB's steering and its routes to the node. */
void steering_lab_open(struct steering_lab *lab, size_t max_flows, double max_age);
void steering_lab_close(struct steering_lab *lab);

/* The flow from the client's port to port 443 of the VIP. */
struct tcp_state steering_lab_flow(unsigned family, unsigned port);

/* Sends an acknowledgement with this sequence number from the client. */
void steering_lab_send(struct steering_lab *lab, const struct tcp_state *flow, uint32_t seq);

/* Asserts that the next packet there has this sequence number. */
void steering_lab_expect_node(struct steering_lab *lab, uint32_t seq);
void steering_lab_expect_stack(struct steering_lab *lab, unsigned family, uint32_t seq);

/* Asserts that nothing has reached our own stack up to now: sends a packet of another flow and sees it come first. */
void steering_lab_expect_nothing(struct steering_lab *lab, unsigned family);

/* Runs the loop until <count>, which reads a counter, is at least <value>; fails after seconds. */
void steering_lab_wait(struct steering_lab *lab, uint64_t (*count)(const struct steering_counters *counters),
		       uint64_t value);
uint64_t steering_lab_held(const struct steering_counters *counters);
uint64_t steering_lab_muted(const struct steering_counters *counters);

#endif

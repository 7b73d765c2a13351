/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "steering_lab.h"

#include <arpa/inet.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define PATIENCE_MS 60000
#define SENTINEL_PORT 9

static int make_network(struct steering_lab *lab)
{
	if (netns_make(&lab->client) < 0 || netns_make(&lab->lb) < 0 || netns_make(&lab->node) < 0)
		return -1;
	if (netns_link(&lab->client, "eth0", &lab->lb, "in0") < 0 ||
	    netns_link(&lab->lb, "out0", &lab->node, "eth0") < 0)
		return -1;
	if (netns_do(&lab->client, "ip address add 192.0.2.2/24 dev eth0 && ip address add 2001:db8:1::2/64 dev eth0") <
	    0)
		return -1;
	if (netns_do(&lab->lb,
		     "ip address add 192.0.2.1/24 dev in0 && ip address add 2001:db8:1::1/64 dev in0 && "
		     "ip address add 198.51.100.1/24 dev out0 && ip address add 2001:db8:2::1/64 dev out0") < 0)
		return -1;
	return netns_do(
		&lab->node,
		"ip address add 198.51.100.2/24 dev eth0 && ip address add 2001:db8:2::2/64 dev eth0 && "
		"ip address add 192.0.2.1/32 dev lo && ip address add 2001:db8:1::1/128 dev lo && "
		"echo 0 >/proc/sys/net/ipv4/conf/all/rp_filter && echo 0 >/proc/sys/net/ipv4/conf/eth0/rp_filter");
}

int steering_lab_make(void **state)
{
	static struct steering_lab lab;
	char why[128];

	*state = NULL;
	if (!netns_usable(why, sizeof(why))) {
		print_message("skipped: %s\n", why);
		return 0;
	}
	lab = (struct steering_lab){.loop = ev_loop_new(EVFLAG_AUTO)};
	if (!lab.loop || make_network(&lab) < 0)
		return -1;
	if (raw_sender_open(&lab.sender, &lab.client, "eth0", &lab.lb, "in0") < 0 ||
	    raw_watch_wire(&lab.node_wire, &lab.node, "eth0") < 0 || raw_watch_stack(&lab.stack4, &lab.lb, 4) < 0 ||
	    raw_watch_stack(&lab.stack6, &lab.lb, 6) < 0)
		return -1;
	*state = &lab;
	return 0;
}

int steering_lab_remove(void **state)
{
	struct steering_lab *lab = *state;

	if (!lab)
		return 0;
	steering_lab_close(lab);
	raw_watcher_close(&lab->node_wire);
	raw_watcher_close(&lab->stack4);
	raw_watcher_close(&lab->stack6);
	raw_sender_close(&lab->sender);
	netns_release(&lab->client);
	netns_release(&lab->lb);
	netns_release(&lab->node);
	ev_loop_destroy(lab->loop);
	return 0;
}

static void find_route(struct steering_lab *lab, const char *node, struct steering_route *route)
{
	struct address address;
	const char *why;
	char error[256] = "";

	assert_int_equal(address_parse(&address, node, &why), 0);
	if (steering_route_find(lab->steering, &address, route, error, sizeof(error)) < 0)
		fail_msg("%s", error);
}

void steering_lab_open(struct steering_lab *lab, size_t max_flows, double max_age)
{
	static const char *const interfaces[] = {"in0", NULL};
	struct steering_settings settings = {.interfaces = interfaces,
					     .max_flows = max_flows,
					     .max_age = max_age,
					     .acknowledged = lab->acknowledged};
	char error[256] = "";

	assert_int_equal(netns_enter(&lab->lb), 0);
	lab->steering = steering_open(lab->loop, &settings, NULL, NULL, error, sizeof(error));
	if (lab->steering) {
		find_route(lab, "198.51.100.2:1", &lab->route4);
		find_route(lab, "[2001:db8:2::2]:1", &lab->route6);
	}
	assert_int_equal(netns_leave(), 0);
	if (!lab->steering)
		fail_msg("%s", error);
}

void steering_lab_close(struct steering_lab *lab)
{
	if (!lab->steering)
		return;
	assert_int_equal(netns_enter(&lab->lb), 0);
	steering_close(lab->steering);
	assert_int_equal(netns_leave(), 0);
	lab->steering = NULL;
}

struct tcp_state steering_lab_flow(unsigned family, unsigned port)
{
	struct tcp_state flow = {.family = (uint8_t)family, .local.port = 443, .remote.port = (uint16_t)port};
	int domain = family == 4 ? AF_INET : AF_INET6;

	(void)inet_pton(domain, family == 4 ? "192.0.2.1" : "2001:db8:1::1", flow.local.address);
	(void)inet_pton(domain, family == 4 ? "192.0.2.2" : "2001:db8:1::2", flow.remote.address);
	return flow;
}

void steering_lab_send(struct steering_lab *lab, const struct tcp_state *flow, uint32_t seq)
{
	struct raw_packet packet = {.flow = flow, .seq = seq, .ack = 1, .flags = 0x10, .window = 1};

	assert_int_equal(raw_send(&lab->sender, &packet), 0);
}

void steering_lab_expect_node(struct steering_lab *lab, uint32_t seq)
{
	struct raw_seen seen;

	if (raw_next(&lab->node_wire, &seen, PATIENCE_MS) < 0)
		fail_msg("packet %u has not come to the node", seq);
	assert_int_equal(seen.seq, seq);
	assert_int_equal(seen.hop_limit, 61);
}

void steering_lab_expect_stack(struct steering_lab *lab, unsigned family, uint32_t seq)
{
	struct raw_seen seen;

	if (raw_next(family == 4 ? &lab->stack4 : &lab->stack6, &seen, PATIENCE_MS) < 0)
		fail_msg("packet %u has not come to our own stack", seq);
	assert_int_equal(seen.seq, seq);
}

void steering_lab_expect_nothing(struct steering_lab *lab, unsigned family)
{
	struct tcp_state sentinel = steering_lab_flow(family, SENTINEL_PORT);
	struct raw_seen seen;

	steering_lab_send(lab, &sentinel, 4711);
	assert_int_equal(raw_next(family == 4 ? &lab->stack4 : &lab->stack6, &seen, PATIENCE_MS), 0);
	assert_int_equal(seen.source_port, SENTINEL_PORT);
}

static void on_time(struct ev_loop *loop, ev_timer *timer, int events)
{
	(void)events;
	*(bool *)timer->data = true;
	ev_break(loop, EVBREAK_ALL);
}

void steering_lab_wait(struct steering_lab *lab, uint64_t (*count)(const struct steering_counters *counters),
		       uint64_t value)
{
	struct steering_counters counters;
	bool late = false;
	ev_timer timer;

	ev_timer_init(&timer, on_time, PATIENCE_MS / 1000.0, 0);
	timer.data = &late;
	ev_timer_start(lab->loop, &timer);
	for (steering_count(lab->steering, &counters); count(&counters) < value && !late;
	     steering_count(lab->steering, &counters))
		(void)ev_run(lab->loop, EVRUN_NOWAIT);
	ev_timer_stop(lab->loop, &timer);
	if (late)
		fail_msg("a counter should be %llu, and is %llu", (unsigned long long)value,
			 (unsigned long long)count(&counters));
}

uint64_t steering_lab_held(const struct steering_counters *counters)
{
	return counters->held;
}

uint64_t steering_lab_muted(const struct steering_counters *counters)
{
	return counters->muted;
}

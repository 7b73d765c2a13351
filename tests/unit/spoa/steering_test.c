/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Guards: packets of a flow are held, sent to a node and given to our own stack as told, in order and complete, and
 * nothing else is touched. Real packets in a network of namespaces; a program of the kernel decides. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <errno.h>
#include <time.h>
#include <unistd.h>

#include "steering_lab.h"

#define MANY 262144u

#define LAB(state)                           \
	struct steering_lab *lab = *(state); \
                                             \
	if (!lab) {                          \
		skip();                      \
		return;                      \
	}

static struct steering_counters counters_of(struct steering_lab *lab)
{
	struct steering_counters counters;

	steering_count(lab->steering, &counters);
	return counters;
}

static const struct steering_route *route_of(const struct steering_lab *lab, const struct tcp_state *flow)
{
	return flow->family == 4 ? &lab->route4 : &lab->route6;
}

static void go_all_ways(struct steering_lab *lab, unsigned family)
{
	struct tcp_state flow = steering_lab_flow(family, 1000 + family);
	uint64_t held = counters_of(lab).held;

	steering_lab_send(lab, &flow, 1);
	steering_lab_expect_stack(lab, family, 1);
	assert_int_equal(steering_hold(lab->steering, &flow), 0);
	for (uint32_t seq = 2; seq <= 4; seq++)
		steering_lab_send(lab, &flow, seq);
	steering_lab_wait(lab, steering_lab_held, held + 3);
	steering_lab_expect_nothing(lab, family);
	assert_int_equal(steering_redirect(lab->steering, &flow, route_of(lab, &flow), NULL), 0);
	steering_lab_send(lab, &flow, 5);
	for (uint32_t seq = 2; seq <= 5; seq++)
		steering_lab_expect_node(lab, seq);
	assert_int_equal(steering_hold(lab->steering, &flow), 0);
	steering_lab_send(lab, &flow, 6);
	steering_lab_send(lab, &flow, 7);
	steering_lab_wait(lab, steering_lab_held, held + 5);
	steering_lab_expect_nothing(lab, family);
	steering_release(lab->steering, &flow);
	steering_lab_send(lab, &flow, 8);
	for (uint32_t seq = 6; seq <= 8; seq++)
		steering_lab_expect_stack(lab, family, seq);
	assert_int_equal(counters_of(lab).flows, 0);
}

static void packets_go_where_the_flow_goes(void **state)
{
	LAB(state)
	steering_lab_open(lab, MANY, 0);
	go_all_ways(lab, 4);
	go_all_ways(lab, 6);
	assert_int_equal(counters_of(lab).reinjected, 10);
	assert_int_equal(counters_of(lab).hold_overflows, 0);
	steering_lab_close(lab);
}

static void the_node_hears_that_packets_are_too_big(void **state)
{
	LAB(state)
	steering_lab_open(lab, 16, 0);
	for (unsigned family = 4; family <= 6; family += 2) {
		struct tcp_state flow = steering_lab_flow(family, 1900), other = steering_lab_flow(family, 1901);
		struct raw_seen seen;

		assert_int_equal(steering_hold(lab->steering, &flow), 0);
		assert_int_equal(steering_redirect(lab->steering, &flow, route_of(lab, &flow), NULL), 0);
		assert_int_equal(raw_send_too_big(&lab->sender, &flow), 0);
		assert_int_equal(raw_next(&lab->node_wire, &seen, 5000), 0);
		assert_true(seen.too_big);
		assert_int_equal(seen.hop_limit, 61);
		assert_int_equal(raw_send_too_big(&lab->sender, &other), 0);
		steering_lab_send(lab, &flow, 1);
		steering_lab_expect_node(lab, 1);
		steering_release(lab->steering, &flow);
	}
	steering_lab_close(lab);
}

static void what_the_client_said_is_known(void **state)
{
	struct tcp_state flow = steering_lab_flow(4, 2000);
	struct raw_packet packet = {.flow = &flow, .flags = 0x10, .window = 500, .timestamp = 77, .timestamp_echo = 66};
	struct steering_seen seen;

	LAB(state)
	steering_lab_open(lab, MANY, 0);
	assert_int_equal(steering_seen(lab->steering, &flow, &seen), -1);
	assert_int_equal(errno, ENOENT);
	assert_int_equal(steering_hold(lab->steering, &flow), 0);
	assert_int_equal(steering_seen(lab->steering, &flow, &seen), 0);
	assert_false(seen.any);
	/* Sequence numbers wrap meanwhile; the older acknowledgement that comes last changes nothing. */
	packet.seq = 0xfffffff0u, packet.ack = 0xffffff00u, packet.payload = 100;
	assert_int_equal(raw_send(&lab->sender, &packet), 0);
	packet.seq = 84, packet.ack = 10, packet.payload = 0, packet.flags = 0x11, packet.window = 600,
	packet.timestamp = 78;
	assert_int_equal(raw_send(&lab->sender, &packet), 0);
	packet.seq = 0xfffffff0u, packet.ack = 0xffffff01u, packet.flags = 0x18, packet.window = 700,
	packet.timestamp = 79;
	assert_int_equal(raw_send(&lab->sender, &packet), 0);
	steering_lab_wait(lab, steering_lab_held, 3);
	assert_int_equal(steering_seen(lab->steering, &flow, &seen), 0);
	assert_true(seen.any);
	assert_int_equal(seen.acknowledged, 10);
	assert_int_equal(seen.window, 600);
	assert_int_equal(seen.timestamp, 78);
	assert_int_equal(seen.timestamp_echo, 66);
	assert_int_equal(seen.sequence_end, 85);
	assert_int_equal(seen.tcp_flags, 0x19);
	assert_int_equal(seen.packets, 3);
	assert_int_equal(seen.bytes, 3 * (14 + 20 + 32) + 100);
	assert_true(seen.age >= 0 && seen.age < 60);
	steering_drop(lab->steering, &flow);
	steering_lab_expect_nothing(lab, 4);
	assert_int_equal(counters_of(lab).flows, 0);
	assert_int_equal(counters_of(lab).reinjected, 0);
	steering_lab_close(lab);
}

/* What Linux' tcp_may_update_window() makes of a packet: RFC 9293 3.10.7.4 with SND.WL1 and SND.WL2. */
static void only_a_newer_packet_changes_the_window(void **state)
{
	static const struct {
		uint32_t seq, ack;
		unsigned window, expected;
		uint32_t timestamp, timestamp_expected;
	} packets[] = {
		{100, 10, 600, 600, 70, 70},
		{50, 10, 300, 600, 60, 70},  /* older, and overtaken */
		{100, 10, 400, 600, 71, 71}, /* as new: it must have been overtaken, too */
		{100, 10, 900, 900, 72, 72},
		{100, 10, 0, 0, 73, 73}, /* but larger, or shut */
		{101, 10, 50, 50, 74, 74},
		{99, 11, 70, 70, 75, 75}, /* newer by one number or the other */
		{102, 9, 800, 70, 76, 75},
		{0x80000063u, 11, 900, 70, 74, 75}, /* what it acknowledges is old; wrapped */
	};
	struct tcp_state flow = steering_lab_flow(4, 2050);
	struct raw_packet packet = {.flow = &flow, .flags = 0x10, .timestamp_echo = 1};
	struct steering_seen seen;

	LAB(state)
	steering_lab_open(lab, 16, 0);
	assert_int_equal(steering_hold(lab->steering, &flow), 0);
	for (size_t i = 0; i < sizeof(packets) / sizeof(packets[0]); i++) {
		packet.seq = packets[i].seq, packet.ack = packets[i].ack, packet.timestamp = packets[i].timestamp;
		packet.window = (uint16_t)packets[i].window;
		assert_int_equal(raw_send(&lab->sender, &packet), 0);
		steering_lab_wait(lab, steering_lab_held, i + 1);
		assert_int_equal(steering_seen(lab->steering, &flow, &seen), 0);
		if (seen.window != packets[i].expected || seen.timestamp != packets[i].timestamp_expected)
			fail_msg("packet %zu: window %u, timestamp %u", i, seen.window, seen.timestamp);
	}
	assert_int_equal(seen.acknowledged, 11);
	steering_drop(lab->steering, &flow);
	steering_lab_close(lab);
}

static void what_acknowledges_nothing_tells_nothing(void **state)
{
	struct tcp_state flow = steering_lab_flow(4, 2060);
	struct raw_packet packet = {.flow = &flow, .flags = 0x04, .seq = 0x70000000u, .window = 9};
	struct steering_seen seen;

	LAB(state)
	steering_lab_open(lab, 16, 0);
	assert_int_equal(steering_hold(lab->steering, &flow), 0);
	assert_int_equal(raw_send(&lab->sender, &packet), 0);
	steering_lab_wait(lab, steering_lab_held, 1);
	assert_int_equal(steering_seen(lab->steering, &flow, &seen), 0);
	assert_false(seen.any);
	packet.flags = 0x10, packet.seq = 5, packet.ack = 0xf0000000u;
	assert_int_equal(raw_send(&lab->sender, &packet), 0);
	steering_lab_wait(lab, steering_lab_held, 2);
	assert_int_equal(steering_seen(lab->steering, &flow, &seen), 0);
	assert_true(seen.any);
	assert_int_equal(seen.acknowledged, 0xf0000000u);
	assert_int_equal(seen.sequence_end, 5);
	assert_int_equal(seen.tcp_flags, 0x14);
	steering_drop(lab->steering, &flow);
	steering_lab_close(lab);
}

static void a_flow_that_is_not_steered_can_be_left_alone(void **state)
{
	struct tcp_state flow = steering_lab_flow(4, 2100), flow6 = steering_lab_flow(6, 2100);

	LAB(state)
	steering_lab_open(lab, 16, 0);
	steering_release(lab->steering, &flow);
	steering_drop(lab->steering, &flow);
	assert_int_equal(steering_redirect(lab->steering, &flow, &lab->route4, NULL), -1);
	assert_int_equal(errno, ENOENT);
	assert_int_equal(steering_hold(lab->steering, &flow), 0);
	assert_int_equal(steering_redirect(lab->steering, &flow, &lab->route4, NULL), 0);
	assert_int_equal(steering_redirect(lab->steering, &flow, &lab->route4, NULL), -1);
	assert_int_equal(errno, EBUSY);
	assert_int_equal(steering_hold(lab->steering, &flow6), 0);
	assert_int_equal(steering_redirect(lab->steering, &flow6, &lab->route4, NULL), -1);
	assert_int_equal(errno, EAFNOSUPPORT);
	/* IPv4 by an IPv6 neighbour does work. */
	assert_int_equal(steering_hold(lab->steering, &flow), 0);
	assert_int_equal(steering_redirect(lab->steering, &flow, &lab->route6, NULL), 0);
	steering_lab_send(lab, &flow, 1);
	steering_lab_expect_node(lab, 1);
	steering_release(lab->steering, &flow);
	steering_release(lab->steering, &flow6);
	assert_int_equal(counters_of(lab).flows, 0);
	steering_lab_close(lab);
}

static void a_full_table_says_so_and_recovers(void **state)
{
	struct tcp_state flows[5];

	LAB(state)
	steering_lab_open(lab, 4, 0);
	for (unsigned i = 0; i < 5; i++)
		flows[i] = steering_lab_flow(4, 3000 + i);
	for (int round = 0; round < 3; round++) {
		for (int i = 0; i < 4; i++)
			assert_int_equal(steering_hold(lab->steering, &flows[i]), 0);
		assert_int_equal(steering_hold(lab->steering, &flows[4]), -1);
		assert_int_equal(errno, ENOSPC);
		assert_int_equal(steering_hold(lab->steering, &flows[0]), 0);
		steering_release(lab->steering, &flows[round]);
		assert_int_equal(steering_hold(lab->steering, &flows[4]), 0);
		for (int i = 0; i < 5; i++)
			steering_release(lab->steering, &flows[i]);
		assert_int_equal(counters_of(lab).flows, 0);
	}
	steering_lab_close(lab);
}

static uint64_t overflows(const struct steering_counters *counters)
{
	return counters->hold_overflows;
}

static void what_cannot_be_held_is_counted(void **state)
{
	struct tcp_state flow = steering_lab_flow(4, 3100);
	struct raw_packet packet = {.flow = &flow, .flags = 0x10, .payload = 1400};
	struct steering_counters counters;
	struct raw_seen seen;
	uint32_t last = 0;

	LAB(state)
	steering_lab_open(lab, 16, 0);
	assert_int_equal(steering_hold(lab->steering, &flow), 0);
	for (packet.seq = 1; packet.seq <= 400; packet.seq++)
		assert_int_equal(raw_send(&lab->sender, &packet), 0);
	steering_lab_wait(lab, overflows, 100);
	assert_int_equal(steering_redirect(lab->steering, &flow, &lab->route4, NULL), 0);
	steering_lab_send(lab, &flow, 1000);
	counters = counters_of(lab);
	assert_int_equal(counters.hold_overflows + counters.reinjected, 400);
	for (uint64_t i = 0; i < counters.reinjected; i++) {
		assert_int_equal(raw_next(&lab->node_wire, &seen, 5000), 0);
		assert_true(seen.seq > last);
		last = seen.seq;
	}
	steering_lab_expect_node(lab, 1000);
	steering_release(lab->steering, &flow);
	steering_lab_close(lab);
}

static uint64_t no_flows(const struct steering_counters *counters)
{
	return counters->flows == 0;
}

static void a_flow_that_nobody_asks_for_goes(void **state)
{
	struct tcp_state flow = steering_lab_flow(4, 4000), asked = steering_lab_flow(4, 4001);
	struct steering_seen seen;

	LAB(state)
	steering_lab_open(lab, MANY, 0.4);
	assert_int_equal(steering_hold(lab->steering, &flow), 0);
	assert_int_equal(steering_hold(lab->steering, &asked), 0);
	steering_lab_send(lab, &flow, 1);
	while (counters_of(lab).flows > 1) {
		assert_int_equal(steering_seen(lab->steering, &asked, &seen), 0);
		(void)ev_run(lab->loop, EVRUN_ONCE);
	}
	assert_int_equal(steering_redirect(lab->steering, &flow, &lab->route4, NULL), -1);
	assert_int_equal(errno, ENOENT);
	steering_lab_wait(lab, no_flows, 1);
	steering_lab_send(lab, &flow, 2);
	steering_lab_expect_stack(lab, 4, 2);
	steering_lab_close(lab);
}

static double milliseconds_since(const struct timespec *begin)
{
	struct timespec end;

	(void)clock_gettime(CLOCK_MONOTONIC, &end);
	return (double)(end.tv_sec - begin->tv_sec) * 1e3 + (double)(end.tv_nsec - begin->tv_nsec) / 1e6;
}

static void a_full_size_table_holds_what_it_promises(void **state)
{
	struct tcp_state flow;
	struct timespec begin;
	double hold, redirect, release;

	LAB(state)
	steering_lab_open(lab, MANY, 0);
	(void)clock_gettime(CLOCK_MONOTONIC, &begin);
	for (unsigned i = 0; i < MANY; i++) {
		flow = steering_lab_flow(i & 1 ? 4 : 6, 1 + i % 60000);
		flow.remote.address[3] = (uint8_t)(i / 60000);
		if (steering_hold(lab->steering, &flow) < 0)
			fail_msg("flow %u: %s", i, strerror(errno));
	}
	hold = milliseconds_since(&begin);
	assert_int_equal(counters_of(lab).flows, MANY);
	flow = steering_lab_flow(4, 65000);
	assert_int_equal(steering_hold(lab->steering, &flow), -1);
	assert_int_equal(errno, ENOSPC);
	(void)clock_gettime(CLOCK_MONOTONIC, &begin);
	for (unsigned i = 0; i < MANY; i++) {
		flow = steering_lab_flow(i & 1 ? 4 : 6, 1 + i % 60000);
		flow.remote.address[3] = (uint8_t)(i / 60000);
		assert_int_equal(steering_redirect(lab->steering, &flow, route_of(lab, &flow), NULL), 0);
	}
	redirect = milliseconds_since(&begin);
	(void)clock_gettime(CLOCK_MONOTONIC, &begin);
	for (unsigned i = 0; i < MANY; i++) {
		flow = steering_lab_flow(i & 1 ? 4 : 6, 1 + i % 60000);
		flow.remote.address[3] = (uint8_t)(i / 60000);
		steering_release(lab->steering, &flow);
	}
	release = milliseconds_since(&begin);
	assert_int_equal(counters_of(lab).flows, 0);
	print_message("%u flows, microseconds each: hold %.2f, redirect %.2f, release %.2f\n", MANY, hold * 1e3 / MANY,
		      redirect * 1e3 / MANY, release * 1e3 / MANY);
	steering_lab_close(lab);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(packets_go_where_the_flow_goes),
		cmocka_unit_test(the_node_hears_that_packets_are_too_big),
		cmocka_unit_test(what_the_client_said_is_known),
		cmocka_unit_test(only_a_newer_packet_changes_the_window),
		cmocka_unit_test(what_acknowledges_nothing_tells_nothing),
		cmocka_unit_test(a_flow_that_is_not_steered_can_be_left_alone),
		cmocka_unit_test(a_full_table_says_so_and_recovers),
		cmocka_unit_test(what_cannot_be_held_is_counted),
		cmocka_unit_test(a_flow_that_nobody_asks_for_goes),
		cmocka_unit_test(a_full_size_table_holds_what_it_promises),
	};

	return cmocka_run_group_tests(tests, steering_lab_make, steering_lab_remove);
}

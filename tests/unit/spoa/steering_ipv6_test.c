/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Guards: IPv6 packets belong to their flow whatever stands before their TCP header, fragments by {source, flow label}
 * once that is known (RFC 7098), and never by label 0 or by one that several flows share. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "steering_lab.h"

#define LABEL 0x12345u
#define PATIENCE_MS 5000

#define LAB(state)                           \
	struct steering_lab *lab = *(state); \
                                             \
	if (!lab) {                          \
		skip();                      \
		return;                      \
	}

static void send_packet(struct steering_lab *lab, struct raw_packet packet)
{
	packet.flags = 0x10;
	packet.payload = 16;
	assert_int_equal(raw_send(&lab->sender, &packet), 0);
}

static void expect_fragment(struct steering_lab *lab)
{
	struct raw_seen seen;

	assert_int_equal(raw_next(&lab->node_wire, &seen, PATIENCE_MS), 0);
	assert_true(seen.fragment);
}

static void redirect(struct steering_lab *lab, const struct tcp_state *flow)
{
	assert_int_equal(steering_hold(lab->steering, flow), 0);
	assert_int_equal(steering_redirect(lab->steering, flow, flow->family == 4 ? &lab->route4 : &lab->route6, NULL),
			 0);
}

static uint64_t fragments_of(struct steering_lab *lab)
{
	struct steering_counters counters;

	steering_count(lab->steering, &counters);
	return counters.fragments;
}

static void extension_headers_are_walked(void **state)
{
	struct tcp_state flow = steering_lab_flow(6, 6000);
	struct steering_seen seen;

	LAB(state)
	steering_lab_open(lab, 64, 0);
	redirect(lab, &flow);
	send_packet(lab, (struct raw_packet){.flow = &flow, .seq = 1, .ack = 5, .extension = RAW_CHAIN});
	steering_lab_expect_node(lab, 1);
	assert_int_equal(steering_seen(lab->steering, &flow, &seen), 0);
	assert_int_equal(seen.sequence_end, 17);
	assert_int_equal(seen.acknowledged, 5);
	assert_int_equal(steering_hold(lab->steering, &flow), 0);
	send_packet(lab, (struct raw_packet){.flow = &flow, .seq = 2, .extension = RAW_CHAIN});
	steering_lab_wait(lab, steering_lab_held, 1);
	steering_release(lab->steering, &flow);
	steering_lab_expect_stack(lab, 6, 2);
	steering_lab_close(lab);
}

static void fragments_follow_the_flow_of_their_label(void **state)
{
	struct tcp_state flow = steering_lab_flow(6, 6100);
	struct raw_seen seen;

	LAB(state)
	steering_lab_open(lab, 64, 0);
	redirect(lab, &flow);
	send_packet(lab, (struct raw_packet){.flow = &flow, .label = LABEL, .fragment = 2});
	send_packet(lab, (struct raw_packet){.flow = &flow, .label = LABEL, .seq = 1});
	steering_lab_expect_node(lab, 1); /* the fragment before it was nobody's */
	assert_int_equal(fragments_of(lab), 1);
	send_packet(lab, (struct raw_packet){.flow = &flow, .label = LABEL, .seq = 2, .fragment = 1});
	send_packet(lab, (struct raw_packet){.flow = &flow, .label = LABEL, .fragment = 2});
	steering_lab_expect_node(lab, 2);
	expect_fragment(lab);
	send_packet(lab, (struct raw_packet){.flow = &flow, .label = LABEL, .seq = 3, .extension = RAW_LONG_CHAIN});
	steering_lab_expect_node(lab, 3);
	/* Held, and put back in order. */
	assert_int_equal(steering_hold(lab->steering, &flow), 0);
	send_packet(lab, (struct raw_packet){.flow = &flow, .label = LABEL, .seq = 4, .fragment = 1});
	send_packet(lab, (struct raw_packet){.flow = &flow, .label = LABEL, .fragment = 2});
	send_packet(lab, (struct raw_packet){.flow = &flow, .label = LABEL, .seq = 5});
	steering_lab_wait(lab, steering_lab_held, 3);
	assert_int_equal(steering_redirect(lab->steering, &flow, &lab->route6, NULL), 0);
	steering_lab_expect_node(lab, 4);
	expect_fragment(lab);
	steering_lab_expect_node(lab, 5);
	assert_int_equal(fragments_of(lab), 1);
	/* Nor is it the node's any longer when the flow is not. */
	steering_release(lab->steering, &flow);
	send_packet(lab, (struct raw_packet){.flow = &flow, .label = LABEL, .fragment = 2});
	send_packet(lab, (struct raw_packet){.flow = &flow, .label = LABEL, .seq = 6});
	steering_lab_expect_stack(lab, 6, 6);
	assert_int_equal(raw_next(&lab->node_wire, &seen, 0), -1);
	steering_lab_close(lab);
}

static void a_new_label_replaces_the_old_one(void **state)
{
	struct tcp_state flow = steering_lab_flow(6, 6200);

	LAB(state)
	steering_lab_open(lab, 64, 0);
	redirect(lab, &flow);
	send_packet(lab, (struct raw_packet){.flow = &flow, .label = LABEL, .seq = 1});
	send_packet(lab, (struct raw_packet){.flow = &flow, .label = LABEL + 1, .seq = 2});
	send_packet(lab, (struct raw_packet){.flow = &flow, .label = LABEL, .fragment = 2});
	send_packet(lab, (struct raw_packet){.flow = &flow, .label = LABEL + 1, .fragment = 2});
	steering_lab_expect_node(lab, 1);
	steering_lab_expect_node(lab, 2);
	expect_fragment(lab);
	steering_lab_send(lab, &flow, 3);
	steering_lab_expect_node(lab, 3);
	assert_int_equal(fragments_of(lab), 1);
	steering_release(lab->steering, &flow);
	steering_lab_close(lab);
}

static void label_zero_names_no_flow(void **state)
{
	struct tcp_state flow = steering_lab_flow(6, 6300);

	LAB(state)
	steering_lab_open(lab, 64, 0);
	redirect(lab, &flow);
	send_packet(lab, (struct raw_packet){.flow = &flow, .seq = 1});
	send_packet(lab, (struct raw_packet){.flow = &flow, .fragment = 2});
	send_packet(lab, (struct raw_packet){.flow = &flow, .seq = 2, .fragment = 1});
	send_packet(lab, (struct raw_packet){.flow = &flow, .seq = 3, .extension = RAW_LONG_CHAIN});
	send_packet(lab, (struct raw_packet){.flow = &flow, .seq = 4});
	steering_lab_expect_node(lab, 1);
	steering_lab_expect_node(lab, 4);
	assert_int_equal(fragments_of(lab), 3);
	steering_release(lab->steering, &flow);
	steering_lab_close(lab);
}

static void a_label_that_two_flows_share_names_none(void **state)
{
	struct tcp_state one = steering_lab_flow(6, 6400), two = steering_lab_flow(6, 6401);

	LAB(state)
	steering_lab_open(lab, 64, 0);
	redirect(lab, &one);
	redirect(lab, &two);
	send_packet(lab, (struct raw_packet){.flow = &one, .label = LABEL, .seq = 1});
	send_packet(lab, (struct raw_packet){.flow = &two, .label = LABEL, .seq = 2});
	send_packet(lab, (struct raw_packet){.flow = &one, .label = LABEL, .fragment = 2});
	send_packet(lab, (struct raw_packet){.flow = &one, .label = LABEL, .seq = 3});
	for (uint32_t seq = 1; seq <= 3; seq++)
		steering_lab_expect_node(lab, seq);
	assert_int_equal(fragments_of(lab), 1);
	steering_release(lab->steering, &one);
	steering_release(lab->steering, &two);
	steering_lab_close(lab);
}

/* Asserts that a fragment with LABEL is no flow's. */
static void expect_nobodys_fragment(struct steering_lab *lab, const struct tcp_state *flow, uint32_t seq)
{
	uint64_t before = fragments_of(lab);

	send_packet(lab, (struct raw_packet){.flow = flow, .label = LABEL, .fragment = 2});
	send_packet(lab, (struct raw_packet){.flow = flow, .label = LABEL, .seq = seq});
	steering_lab_expect_node(lab, seq);
	assert_int_equal(fragments_of(lab), before + 1);
}

static void a_shared_label_is_free_when_its_last_flow_has_ended(void **state)
{
	struct tcp_state flows[4];

	LAB(state)
	steering_lab_open(lab, 64, 0);
	for (unsigned i = 0; i < 4; i++) {
		flows[i] = steering_lab_flow(6, 6410 + i);
		redirect(lab, &flows[i]);
	}
	for (uint32_t i = 0; i < 2; i++) {
		send_packet(lab, (struct raw_packet){.flow = &flows[i], .label = LABEL, .seq = 1 + i});
		steering_lab_expect_node(lab, 1 + i);
	}
	/* The other one still has it: who comes next must not get that one's fragments. */
	steering_drop(lab->steering, &flows[0]);
	send_packet(lab, (struct raw_packet){.flow = &flows[2], .label = LABEL, .seq = 3});
	steering_lab_expect_node(lab, 3);
	expect_nobodys_fragment(lab, &flows[1], 4);
	/* Nor is it free because one takes another label. */
	send_packet(lab, (struct raw_packet){.flow = &flows[1], .label = LABEL + 1, .seq = 5});
	steering_lab_expect_node(lab, 5);
	steering_drop(lab->steering, &flows[2]);
	send_packet(lab, (struct raw_packet){.flow = &flows[3], .label = LABEL, .seq = 6});
	steering_lab_expect_node(lab, 6);
	expect_nobodys_fragment(lab, &flows[3], 7);
	steering_drop(lab->steering, &flows[1]);
	steering_drop(lab->steering, &flows[3]);
	redirect(lab, &flows[0]);
	send_packet(lab, (struct raw_packet){.flow = &flows[0], .label = LABEL, .seq = 8});
	send_packet(lab, (struct raw_packet){.flow = &flows[0], .label = LABEL, .fragment = 2});
	steering_lab_expect_node(lab, 8);
	expect_fragment(lab);
	steering_release(lab->steering, &flows[0]);
	steering_lab_close(lab);
}

static void fragments_of_ipv4_are_counted(void **state)
{
	struct tcp_state flow = steering_lab_flow(4, 6500);

	LAB(state)
	steering_lab_open(lab, 64, 0);
	redirect(lab, &flow);
	send_packet(lab, (struct raw_packet){.flow = &flow, .seq = 1, .fragment = 1});
	send_packet(lab, (struct raw_packet){.flow = &flow, .seq = 2});
	steering_lab_expect_node(lab, 2);
	assert_int_equal(fragments_of(lab), 1);
	steering_release(lab->steering, &flow);
	steering_lab_close(lab);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(extension_headers_are_walked),
		cmocka_unit_test(fragments_follow_the_flow_of_their_label),
		cmocka_unit_test(a_new_label_replaces_the_old_one),
		cmocka_unit_test(label_zero_names_no_flow),
		cmocka_unit_test(a_label_that_two_flows_share_names_none),
		cmocka_unit_test(a_shared_label_is_free_when_its_last_flow_has_ended),
		cmocka_unit_test(fragments_of_ipv4_are_counted),
	};

	return cmocka_run_group_tests(tests, steering_lab_make, steering_lab_remove);
}

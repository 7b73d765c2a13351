/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Guards: a takeover goes on at what the client acknowledged last, marks all that may be under way as sent, and neither
 * sequence numbers that wrap nor bodies of more than 4 GB mislead it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "takeover.h"

struct scene {
	struct tcp_state frozen;
	struct steering_seen seen;
	struct takeover_facts facts;
	struct takeover_plan plan;
};

/* A body of 1 MB whose records begin at sequence 1000; the header record, 200 bytes, is not acknowledged yet. */
static void set_up(struct scene *scene)
{
	*scene = (struct scene){.frozen = {.family = 4,
					   .flags = TCP_STATE_TIMESTAMPS | TCP_STATE_SCALING,
					   .send_scale = 7,
					   .send_next = 1000,
					   .receive_next = 5000,
					   .timestamp = 100,
					   .send_window = 30000,
					   .max_window = 60000,
					   .receive_window = 40000,
					   .receive_window_seq = 4000,
					   .unsent = 17}};
	scene->facts = (struct takeover_facts){
		.frozen = &scene->frozen, .tail_len = 200, .ciphertext = 1 << 20, .seen = &scene->seen, .elapsed = 1.5};
}

static void client_said(struct scene *scene, uint32_t acknowledged, uint32_t window)
{
	scene->seen.any = true;
	scene->seen.acknowledged = acknowledged;
	scene->seen.window = window;
	scene->seen.sequence_end = 5000;
	scene->seen.tcp_flags = 0x10;
}

static void a_silent_client_may_have_all_that_fits_its_window(void **state)
{
	struct scene scene;

	(void)state;
	set_up(&scene);
	assert_true(takeover_plan(&scene.plan, &scene.facts));
	assert_int_equal(scene.plan.tail, 200);
	assert_int_equal(scene.plan.from, 0);
	assert_int_equal(scene.plan.flight, 30000 - 200);
	assert_int_equal(scene.plan.state.send_next, 800 + 30000);
	assert_int_equal(scene.plan.state.unsent, 0);
	assert_int_equal(scene.plan.state.send_window, 30000);
	assert_int_equal(takeover_sequence(&scene.facts), 800);
}

static void it_goes_on_behind_the_last_acknowledgement(void **state)
{
	struct scene scene;

	(void)state;
	set_up(&scene);
	client_said(&scene, 1000 + 50000, 1000);
	assert_true(takeover_plan(&scene.plan, &scene.facts));
	assert_int_equal(scene.plan.tail, 0);
	assert_int_equal(scene.plan.from, 50000);
	assert_int_equal(scene.plan.flight, 128000);
	assert_int_equal(scene.plan.state.send_next, 1000 + 50000 + 128000);
	assert_int_equal(scene.plan.state.send_window, 128000);
	assert_int_equal(scene.plan.state.max_window, 128000);
	/* 1.5 s and a margin, in milliseconds */
	assert_true(scene.plan.state.timestamp >= 1600 && scene.plan.state.timestamp < 1700);
}

/* Clocks differ, and may be set: what the client echoed it has seen. */
static void the_timestamp_is_later_than_any_that_the_client_has_seen(void **state)
{
	struct scene scene;

	(void)state;
	set_up(&scene);
	client_said(&scene, 1000 + 50000, 1000);
	scene.seen.timestamp_echo = 9000;
	assert_true(takeover_plan(&scene.plan, &scene.facts));
	assert_true(scene.plan.state.timestamp > 9000 && scene.plan.state.timestamp < 9100);
	scene.seen.timestamp_echo = 1200;
	scene.facts.elapsed = -3;
	assert_true(takeover_plan(&scene.plan, &scene.facts));
	assert_true(scene.plan.state.timestamp > 1200 && scene.plan.state.timestamp < 1300);
}

static void a_part_of_the_headers_may_be_missing(void **state)
{
	struct scene scene;

	(void)state;
	set_up(&scene);
	client_said(&scene, 950, 0);
	assert_true(takeover_plan(&scene.plan, &scene.facts));
	assert_int_equal(scene.plan.tail, 50);
	assert_int_equal(scene.plan.flight, 0);
	assert_int_equal(scene.plan.state.send_next, 1000);
	client_said(&scene, 700, 1); /* an old packet: what was frozen knew more */
	assert_true(takeover_plan(&scene.plan, &scene.facts));
	assert_int_equal(scene.plan.tail, 200);
	assert_int_equal(scene.plan.state.send_next, 1000);
}

static void what_the_node_told_counts_if_it_is_more(void **state)
{
	struct scene scene;

	(void)state;
	set_up(&scene);
	scene.facts.acknowledged = 60000;
	scene.facts.tail_len = 0;
	client_said(&scene, 1000 + 50000, 10);
	assert_true(takeover_plan(&scene.plan, &scene.facts));
	assert_int_equal(scene.plan.from, 60000);
	assert_int_equal(takeover_sequence(&scene.facts), 61000);
}

static void the_flight_ends_with_the_body_and_is_bounded(void **state)
{
	struct scene scene;

	(void)state;
	set_up(&scene);
	client_said(&scene, 1000 + (1 << 20) - 5, 60000);
	assert_true(takeover_plan(&scene.plan, &scene.facts));
	assert_int_equal(scene.plan.flight, 5);
	client_said(&scene, 1000 + (1 << 20), 60000);
	assert_true(takeover_plan(&scene.plan, &scene.facts));
	assert_int_equal(scene.plan.from, 1 << 20);
	assert_int_equal(scene.plan.flight, 0);
	scene.frozen.send_scale = 14;
	scene.facts.ciphertext = 1ULL << 40;
	client_said(&scene, 2000, 65535);
	assert_true(takeover_plan(&scene.plan, &scene.facts));
	assert_int_equal(scene.plan.flight, TAKEOVER_FLIGHT_MAX);
}

static void what_was_never_sent_cannot_be_acknowledged(void **state)
{
	struct scene scene;

	(void)state;
	set_up(&scene);
	client_said(&scene, 1000 + (1 << 20) + 1, 60000);
	assert_false(takeover_plan(&scene.plan, &scene.facts));
}

static void sequence_numbers_wrap(void **state)
{
	struct scene scene;

	(void)state;
	set_up(&scene);
	scene.frozen.send_next = UINT32_MAX - 99;
	client_said(&scene, 400, 1);
	assert_true(takeover_plan(&scene.plan, &scene.facts));
	assert_int_equal(scene.plan.from, 500);
	set_up(&scene);
	scene.facts.ciphertext = 20ULL << 30;
	scene.facts.acknowledged = (9ULL << 30) + 7;
	client_said(&scene, 1000 + (uint32_t)((9ULL << 30) + 100000), 1);
	assert_true(takeover_plan(&scene.plan, &scene.facts));
	assert_true(scene.plan.from == (9ULL << 30) + 100000);
}

static void what_the_node_read_is_not_asked_for_again(void **state)
{
	struct scene scene;

	(void)state;
	set_up(&scene);
	scene.facts.received = 300;
	client_said(&scene, 2000, 100);
	scene.seen.sequence_end = 5300;
	assert_true(takeover_plan(&scene.plan, &scene.facts));
	assert_int_equal(scene.plan.state.receive_next, 5300);
	assert_int_equal(scene.plan.state.receive_window_seq, 5300);
	assert_int_equal(scene.plan.state.flags & TCP_STATE_PEER_CLOSED, 0);
	scene.seen.sequence_end = 5301;
	scene.seen.tcp_flags |= 1;
	assert_true(takeover_plan(&scene.plan, &scene.facts));
	assert_int_equal(scene.plan.state.receive_next, 5301);
	assert_int_equal(scene.plan.state.flags & TCP_STATE_PEER_CLOSED, TCP_STATE_PEER_CLOSED);
}

#define ADDED 4 /* milliseconds that tcp_freeze adds to a clock when it restores a connection */

/* A connection that is handed off and returns 10,000 times, to a node whose clock runs 0.1 % fast, for 0.3 ms to 40 ms each time: what
 * the client sees never goes back, and runs ahead by a few milliseconds a time. */
static void ten_thousand_handoffs_hardly_move_the_clock(void **state)
{
	double passed = 0;
	uint32_t begin = 0xffff0000u, ours = begin; /* wraps meanwhile */
	struct scene scene;

	(void)state;
	set_up(&scene);
	for (unsigned i = 0; i < 10000; i++) {
		double away = i % 2 ? 0.0003 : 0.0001 * (i % 400);
		uint32_t last = 0;

		scene.frozen.timestamp = ours;
		scene.facts.elapsed = away;
		passed += away;
		/* The node's last word, on its own clock, which the client has echoed or not. */
		last = ours + ADDED + (uint32_t)(away * 1.001 * 1000);
		client_said(&scene, 1000 + (1 << 20), 60000);
		scene.seen.timestamp_echo = i % 3 ? last : 0;
		assert_true(takeover_plan(&scene.plan, &scene.facts));
		assert_int_equal(scene.plan.from, 1 << 20);
		assert_int_equal(scene.plan.flight + scene.plan.tail, 0);
		ours = scene.plan.state.timestamp + ADDED;
		assert_true((int32_t)(ours - last) >= 0);
	}
	assert_in_range(ours - begin, (uint32_t)(passed * 1000), (uint32_t)(passed * 1000) + 10000 * 10);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_silent_client_may_have_all_that_fits_its_window),
		cmocka_unit_test(it_goes_on_behind_the_last_acknowledgement),
		cmocka_unit_test(the_timestamp_is_later_than_any_that_the_client_has_seen),
		cmocka_unit_test(a_part_of_the_headers_may_be_missing),
		cmocka_unit_test(what_the_node_told_counts_if_it_is_more),
		cmocka_unit_test(the_flight_ends_with_the_body_and_is_bounded),
		cmocka_unit_test(what_was_never_sent_cannot_be_acknowledged),
		cmocka_unit_test(sequence_numbers_wrap),
		cmocka_unit_test(what_the_node_read_is_not_asked_for_again),
		cmocka_unit_test(ten_thousand_handoffs_hardly_move_the_clock),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

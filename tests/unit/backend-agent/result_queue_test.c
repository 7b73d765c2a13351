/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Guards: results of bodies that went well are reported together and soon; one that tells of a failure, and those before it, at once;
 * each exactly once and in order, those too that are there when the receiver comes or goes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "channel_number.h"
#include "result_queue.h"

#define ROUNDING_S 1e-9 /* of times in a double */

struct receiver {
	uint64_t records[16]; /* of each result, which number them here */
	unsigned count;
};

static void receive(void *context, const struct offload_result *result)
{
	struct receiver *receiver = context;

	assert_in_range(receiver->count, 0, 15);
	receiver->records[receiver->count++] = result->records;
}

static void push(struct result_queue *queue, uint64_t number, enum control_outcome outcome)
{
	const struct offload_result result = {.outcome = outcome, .records = number, .reason = ""};

	result_queue_push(queue, &result);
}

static void expect_received(const struct receiver *receiver, unsigned count)
{
	assert_int_equal(receiver->count, count);
	for (unsigned i = 0; i < count; i++)
		assert_int_equal(receiver->records[i], i + 1);
}

static void good_results_are_reported_together(void **unused)
{
	struct ev_loop *loop = ev_loop_new(0);
	struct receiver receiver = {.count = 0};
	struct result_queue queue;
	ev_tstamp begin;

	(void)unused;
	assert_int_equal(result_queue_init(&queue, 0), 0);
	result_queue_attach(&queue, loop, receive, &receiver);
	push(&queue, 1, CONTROL_OUTCOME_SEALED);
	begin = ev_time();
	ev_run(loop, EVRUN_ONCE);
	push(&queue, 2, CONTROL_OUTCOME_SEALED);
	push(&queue, 3, CONTROL_OUTCOME_SEALED);
	expect_received(&receiver, 0);
	while (!receiver.count)
		ev_run(loop, EVRUN_ONCE);
	expect_received(&receiver, 3);
	assert_true(ev_time() - begin >= RESULT_DELAY_S / 2);

	/* Nothing waits any more: the next one has a delay of its own. */
	push(&queue, 4, CONTROL_OUTCOME_SEALED);
	ev_run(loop, EVRUN_ONCE);
	expect_received(&receiver, 3);
	while (receiver.count < 4)
		ev_run(loop, EVRUN_ONCE);
	expect_received(&receiver, 4);
	result_queue_detach(&queue);
	result_queue_destroy(&queue);
	ev_loop_destroy(loop);
}

static void a_failure_is_reported_at_once(void **unused)
{
	static const enum control_outcome failures[] = {
		CONTROL_OUTCOME_FAILED,
		CONTROL_OUTCOME_ABORTED,
		CONTROL_OUTCOME_EXPIRED,
	};

	(void)unused;
	for (unsigned i = 0; i < sizeof(failures) / sizeof(*failures); i++) {
		struct ev_loop *loop = ev_loop_new(0);
		struct receiver receiver = {.count = 0};
		struct result_queue queue;

		assert_int_equal(result_queue_init(&queue, 0), 0);
		result_queue_attach(&queue, loop, receive, &receiver);
		push(&queue, 1, CONTROL_OUTCOME_SEALED);
		ev_run(loop, EVRUN_ONCE);
		push(&queue, 2, failures[i]);
		push(&queue, 3, CONTROL_OUTCOME_SEALED);
		ev_run(loop, EVRUN_NOWAIT);
		expect_received(&receiver, 3);
		result_queue_detach(&queue);
		result_queue_destroy(&queue);
		ev_loop_destroy(loop);
	}
}

static void what_is_sent_anyway_takes_results_along(void **unused)
{
	struct ev_loop *loop = ev_loop_new(0);
	struct receiver receiver = {.count = 0};
	struct result_queue queue;

	(void)unused;
	assert_int_equal(result_queue_init(&queue, 0), 0);
	result_queue_attach(&queue, loop, receive, &receiver);
	push(&queue, 1, CONTROL_OUTCOME_SEALED);
	push(&queue, 2, CONTROL_OUTCOME_SEALED);
	result_queue_flush(&queue);
	expect_received(&receiver, 2);
	/* Nothing is left that the loop would wake up for later. */
	ev_run(loop, EVRUN_NOWAIT);
	push(&queue, 3, CONTROL_OUTCOME_SEALED);
	ev_run(loop, EVRUN_NOWAIT);
	result_queue_flush(&queue);
	expect_received(&receiver, 3);
	result_queue_detach(&queue);
	result_queue_destroy(&queue);
	ev_loop_destroy(loop);
}

/* Also behind one that may wait longer. */
static void results_of_the_direct_path_are_reported_sooner(void **unused)
{
	const struct offload_result direct = {
		.outcome = CONTROL_OUTCOME_SEALED, .records = 2, .reason = "", .direct = true};
	struct ev_loop *loop = ev_loop_new(0);
	struct receiver receiver = {.count = 0};
	struct result_queue queue;

	(void)unused;
	assert_int_equal(result_queue_init(&queue, 0), 0);
	result_queue_attach(&queue, loop, receive, &receiver);
	push(&queue, 1, CONTROL_OUTCOME_SEALED);
	ev_run(loop, EVRUN_NOWAIT);
	assert_true(ev_timer_remaining(loop, &queue.delay) > RESULT_DIRECT_DELAY_S + ROUNDING_S);
	result_queue_push(&queue, &direct);
	ev_run(loop, EVRUN_NOWAIT);
	assert_true(receiver.count || ev_timer_remaining(loop, &queue.delay) <= RESULT_DIRECT_DELAY_S + ROUNDING_S);
	while (!receiver.count)
		ev_run(loop, EVRUN_ONCE);
	expect_received(&receiver, 2);
	result_queue_detach(&queue);
	result_queue_destroy(&queue);
	ev_loop_destroy(loop);
}

static void each_loop_gets_the_results_of_its_channels(void **unused)
{
	struct ev_loop *loop = ev_loop_new(0);
	struct receiver receivers[3] = {{.count = 0}};
	struct result_queue queue;

	(void)unused;
	assert_int_equal(result_queue_init(&queue, 2), 0);
	for (unsigned lane = 0; lane < 3; lane++)
		result_queue_attach(result_queue_of(&queue, lane), loop, receive, &receivers[lane]);
	for (unsigned i = 0; i < 9; i++) {
		const struct offload_result result = {.outcome = CONTROL_OUTCOME_FAILED,
						      .channel = channel_number(i, i % 3),
						      .records = i / 3 + 1,
						      .reason = ""};

		result_queue_push(&queue, &result);
	}
	ev_run(loop, EVRUN_NOWAIT);
	for (unsigned lane = 0; lane < 3; lane++) {
		expect_received(&receivers[lane], 3);
		result_queue_detach(result_queue_of(&queue, lane));
	}
	result_queue_destroy(&queue);
	ev_loop_destroy(loop);
}

static void none_is_lost_when_the_receiver_comes_and_goes(void **unused)
{
	struct ev_loop *loop = ev_loop_new(0);
	struct receiver receiver = {.count = 0};
	struct result_queue queue;

	(void)unused;
	assert_int_equal(result_queue_init(&queue, 0), 0);
	push(&queue, 1, CONTROL_OUTCOME_SEALED);
	result_queue_attach(&queue, loop, receive, &receiver);
	expect_received(&receiver, 1);
	push(&queue, 2, CONTROL_OUTCOME_SEALED);
	result_queue_detach(&queue);
	expect_received(&receiver, 2);
	push(&queue, 3, CONTROL_OUTCOME_FAILED);
	expect_received(&receiver, 2);
	result_queue_destroy(&queue);
	ev_loop_destroy(loop);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(good_results_are_reported_together),
		cmocka_unit_test(a_failure_is_reported_at_once),
		cmocka_unit_test(what_is_sent_anyway_takes_results_along),
		cmocka_unit_test(results_of_the_direct_path_are_reported_sooner),
		cmocka_unit_test(each_loop_gets_the_results_of_its_channels),
		cmocka_unit_test(none_is_lost_when_the_receiver_comes_and_goes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

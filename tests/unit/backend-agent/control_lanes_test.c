/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Guards: a channel reaches the worker of its lane in its thread, in whatever moment the worker comes or goes, and none is
 * given where nobody is. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "control_lanes.h"

#define GIVEN 1000

struct receiver {
	struct control_lane lane;
	pthread_t thread;
	unsigned count, strangers;
};

static void on_arrived(void *context, struct control_arrival *arrival)
{
	struct receiver *receiver = context;

	assert_non_null(arrival);
	receiver->count++;
	receiver->strangers += !pthread_equal(pthread_self(), receiver->thread);
	if (receiver->count == GIVEN)
		ev_break(receiver->lane.loop, EVBREAK_ALL);
}

static void open_receiver(struct control_lanes *lanes, struct receiver *receiver, unsigned number)
{
	*receiver = (struct receiver){
		.lane = {.loop = ev_loop_new(EVFLAG_AUTO), .arrived = on_arrived, .context = receiver},
		.thread = pthread_self()};
	control_lane_open(lanes, &receiver->lane, number);
}

static void nothing_is_given_where_nobody_is(void **state)
{
	struct control_arrival arrival = {NULL};
	struct receiver receiver;
	struct control_lanes lanes;

	(void)state;
	assert_int_equal(control_lanes_init(&lanes, 2), 0);
	for (unsigned number = 0; number < 4; number++)
		assert_int_equal(control_lanes_give(&lanes, number, &arrival), -1);
	open_receiver(&lanes, &receiver, 2);
	assert_int_equal(control_lanes_give(&lanes, 1, &arrival), -1);
	assert_int_equal(control_lanes_give(&lanes, 2, &arrival), 0);
	/* It is received although the loop never ran. */
	control_lane_close(&lanes, 2);
	assert_int_equal(receiver.count, 1);
	assert_int_equal(control_lanes_give(&lanes, 2, &arrival), -1);
	ev_loop_destroy(receiver.lane.loop);
	control_lanes_destroy(&lanes);
}

static void *give_all(void *context)
{
	static struct control_arrival arrivals[GIVEN];

	for (size_t i = 0; i < GIVEN; i++) {
		if (control_lanes_give(context, 1, &arrivals[i]) < 0)
			return context;
	}
	return NULL;
}

static void all_are_received_in_the_workers_thread(void **state)
{
	struct receiver receiver;
	struct control_lanes lanes;
	pthread_t giver;
	void *failed;

	(void)state;
	assert_int_equal(control_lanes_init(&lanes, 1), 0);
	open_receiver(&lanes, &receiver, 1);
	assert_int_equal(pthread_create(&giver, NULL, give_all, &lanes), 0);
	ev_run(receiver.lane.loop, 0);
	assert_int_equal(pthread_join(giver, &failed), 0);
	assert_null(failed);
	assert_int_equal(receiver.count, GIVEN);
	assert_int_equal(receiver.strangers, 0);
	control_lane_close(&lanes, 1);
	ev_loop_destroy(receiver.lane.loop);
	control_lanes_destroy(&lanes);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(nothing_is_given_where_nobody_is),
		cmocka_unit_test(all_are_received_in_the_workers_thread),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

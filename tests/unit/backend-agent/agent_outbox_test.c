/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Guards the way from clones to agents: order within a channel, whatever thread posts; a channel that takes nothing
 * holds up none but itself; and there is an end to what waits for it. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "agent_outbox.h"
#include "channel_number.h"

#define LETTERS_MAX 4096
#define THREADS 4
#define LETTERS_OF_A_THREAD 500

struct bench {
	struct ev_loop *loop;
	struct agent_outbox outbox;
	uint64_t full; /* the channel that takes nothing now */
	struct {
		uint64_t channel, number;
	} taken[LETTERS_MAX];
	unsigned count, refused;
};

static enum agent_outbox_status deliver(void *context, uint64_t channel, const uint8_t *bytes, size_t len)
{
	struct bench *bench = context;
	struct control_message message;

	if (channel == bench->full) {
		bench->refused++;
		return AGENT_OUTBOX_LATER;
	}
	assert_int_equal(control_decode(&message, bytes, len), CONTROL_OK);
	assert_true(bench->count < LETTERS_MAX);
	bench->taken[bench->count].channel = channel;
	bench->taken[bench->count++].number =
		message.type == CONTROL_PROGRESS ? message.u.progress.bytes : message.u.client_data.offset;
	control_release(&message);
	return AGENT_OUTBOX_TAKEN;
}

static int bench_open(void **state)
{
	struct bench *bench = calloc(1, sizeof(*bench));

	assert_non_null(bench);
	bench->loop = ev_loop_new(EVFLAG_AUTO);
	bench->full = UINT64_MAX;
	assert_int_equal(agent_outbox_init(&bench->outbox, 0), 0);
	*state = bench;
	return 0;
}

static int bench_close(void **state)
{
	struct bench *bench = *state;

	agent_outbox_destroy(&bench->outbox);
	ev_loop_destroy(bench->loop);
	free(bench);
	return 0;
}

static void post(struct bench *bench, uint64_t channel, uint64_t number)
{
	struct control_message message = {.type = CONTROL_PROGRESS, .u.progress = {.bytes = number}};

	assert_int_equal(agent_outbox_post(&bench->outbox, channel, &message), 0);
}

static void each_loop_gets_the_letters_of_its_channels(void **state)
{
	struct bench *bench = *state, other = {.full = UINT64_MAX};

	agent_outbox_destroy(&bench->outbox);
	assert_int_equal(agent_outbox_init(&bench->outbox, 1), 0);
	agent_outbox_attach(agent_outbox_of(&bench->outbox, 0), bench->loop, deliver, bench);
	agent_outbox_attach(agent_outbox_of(&bench->outbox, 1), bench->loop, deliver, &other);
	post(bench, channel_number(7, 1), 1);
	post(bench, channel_number(7, 0), 2);
	post(bench, channel_number(8, 1), 3);
	(void)ev_run(bench->loop, EVRUN_NOWAIT);
	assert_int_equal(bench->count, 1);
	assert_int_equal(bench->taken[0].number, 2);
	assert_int_equal(other.count, 2);
	assert_int_equal(other.taken[1].number, 3);
	agent_outbox_detach(agent_outbox_of(&bench->outbox, 1));
	agent_outbox_detach(agent_outbox_of(&bench->outbox, 0));
}

static void message_that_cannot_be_encoded_is_refused(void **state)
{
	struct control_message message = {.type = CONTROL_CLIENT_DATA}; /* without data */
	struct bench *bench = *state;

	assert_int_equal(agent_outbox_post(&bench->outbox, 1, &message), -1);
	agent_outbox_attach(&bench->outbox, bench->loop, deliver, bench);
	assert_int_equal(bench->count, 0);
	agent_outbox_detach(&bench->outbox);
}

static void what_was_posted_before_anyone_listened_is_delivered(void **state)
{
	struct bench *bench = *state;

	post(bench, 1, 10);
	post(bench, 2, 20);
	agent_outbox_attach(&bench->outbox, bench->loop, deliver, bench);
	assert_int_equal(bench->count, 2);
	post(bench, 1, 11);
	(void)ev_run(bench->loop, EVRUN_ONCE);
	assert_int_equal(bench->count, 3);
	assert_int_equal(bench->taken[2].number, 11);
	agent_outbox_detach(&bench->outbox);
	post(bench, 1, 12); /* goes with the outbox */
	assert_int_equal(bench->count, 3);
}

static void full_channel_holds_up_itself_alone_and_keeps_its_order(void **state)
{
	struct bench *bench = *state;

	bench->full = 1;
	agent_outbox_attach(&bench->outbox, bench->loop, deliver, bench);
	for (uint64_t i = 0; i < 5; i++) {
		post(bench, 1, i);
		post(bench, 2, i);
	}
	agent_outbox_retry(&bench->outbox);
	assert_int_equal(bench->count, 5);
	assert_int_equal(bench->refused, 1); /* those behind it are not even offered */
	bench->full = UINT64_MAX;
	agent_outbox_retry(&bench->outbox);
	assert_int_equal(bench->count, 10);
	for (uint64_t i = 0; i < 5; i++) {
		assert_int_equal(bench->taken[i].channel, 2);
		assert_int_equal(bench->taken[5 + i].channel, 1);
		assert_int_equal(bench->taken[5 + i].number, i);
	}
	agent_outbox_detach(&bench->outbox);
}

static void room_ends_and_comes_back(void **state)
{
	static const uint8_t data[CONTROL_CLIENT_DATA_MAX];
	struct control_message message = {.type = CONTROL_CLIENT_DATA, .u.client_data = {.data = {data, sizeof(data)}}};
	struct bench *bench = *state;
	unsigned posted = 0;

	bench->full = 1;
	agent_outbox_attach(&bench->outbox, bench->loop, deliver, bench);
	while (agent_outbox_has_room(&bench->outbox, 1)) {
		assert_int_equal(agent_outbox_post(&bench->outbox, 1, &message), 0);
		assert_true(++posted <= AGENT_OUTBOX_ROOM / sizeof(data));
	}
	assert_true(agent_outbox_has_room(&bench->outbox, 2));
	bench->full = UINT64_MAX;
	agent_outbox_retry(&bench->outbox);
	assert_int_equal(bench->count, posted);
	assert_true(agent_outbox_has_room(&bench->outbox, 1));
	agent_outbox_detach(&bench->outbox);
}

struct poster {
	struct bench *bench;
	uint64_t channel;
	pthread_t thread;
};

static void *post_many(void *argument)
{
	struct poster *poster = argument;
	struct control_message message = {.type = CONTROL_PROGRESS};

	for (unsigned i = 0; i < LETTERS_OF_A_THREAD; i++) {
		message.u.progress.bytes = i;
		if (agent_outbox_post(&poster->bench->outbox, poster->channel, &message) < 0)
			return argument;
	}
	return NULL;
}

static void every_thread_keeps_its_order(void **state)
{
	struct bench *bench = *state;
	struct poster posters[THREADS];
	uint64_t next[THREADS] = {0};

	agent_outbox_attach(&bench->outbox, bench->loop, deliver, bench);
	for (unsigned i = 0; i < THREADS; i++) {
		posters[i] = (struct poster){.bench = bench, .channel = i};
		assert_int_equal(pthread_create(&posters[i].thread, NULL, post_many, &posters[i]), 0);
	}

	while (bench->count < THREADS * LETTERS_OF_A_THREAD)
		(void)ev_run(bench->loop, EVRUN_ONCE);
	for (unsigned i = 0; i < THREADS; i++) {
		void *failed;

		assert_int_equal(pthread_join(posters[i].thread, &failed), 0);
		assert_null(failed);
	}
	for (unsigned i = 0; i < bench->count; i++)
		assert_int_equal(bench->taken[i].number, next[bench->taken[i].channel]++);
	agent_outbox_detach(&bench->outbox);
}

int main(void)
{
#define BENCH_TEST(name) cmocka_unit_test_setup_teardown(name, bench_open, bench_close)
	const struct CMUnitTest tests[] = {
		BENCH_TEST(message_that_cannot_be_encoded_is_refused),
		BENCH_TEST(each_loop_gets_the_letters_of_its_channels),
		BENCH_TEST(what_was_posted_before_anyone_listened_is_delivered),
		BENCH_TEST(full_channel_holds_up_itself_alone_and_keeps_its_order),
		BENCH_TEST(room_ends_and_comes_back),
		BENCH_TEST(every_thread_keeps_its_order),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

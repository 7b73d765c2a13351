/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Guards: each worker has a thread and a loop of its own; the first signal asks for a graceful end, the second one or
 * the grace period for an immediate one; a worker that cannot start ends the whole program; a hang-up reloads. */
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "log.h"
#include "worker.h"

#define WORKERS 3

/* What the workers of one run did. */
struct diary {
	_Atomic unsigned started, stopped, drained, forced;
	_Atomic unsigned running; /* workers whose loop runs */
	pthread_t threads[WORKERS];
	struct ev_loop *loops[WORKERS];
	ev_timer ticks[WORKERS];
	unsigned failing;       /* index of the worker that cannot start; WORKERS: none */
	bool leaves_when_asked; /* drain() without force ends the loop */
	_Atomic unsigned reloads;
	int first_signal, second_signal; /* sent by the last worker that runs; 0: none */
};

/* The last loop that comes to life sends the signals, so that all of them are there to be asked. */
static void tick(struct ev_loop *loop, ev_timer *timer, int events)
{
	struct diary *diary = timer->data;

	(void)events;
	ev_timer_stop(loop, timer);
	/* Signals are blocked in workers: it is for the main thread that they are sent. */
	if (atomic_fetch_add(&diary->running, 1) + 1 == WORKERS && diary->first_signal)
		assert_int_equal(kill(getpid(), diary->first_signal), 0);
}

static int start(struct worker *worker, void *shared)
{
	struct diary *diary = shared;
	ev_timer *timer = &diary->ticks[worker->index];

	assert_true(worker->index < WORKERS);
	if (worker->index == diary->failing)
		return -1;
	diary->threads[worker->index] = pthread_self();
	diary->loops[worker->index] = worker->loop;
	ev_timer_init(timer, tick, 0., 0.);
	timer->data = diary;
	ev_timer_start(worker->loop, timer);
	worker->context = diary;
	atomic_fetch_add(&diary->started, 1);
	return 0;
}

static void drain(struct worker *worker, void *shared, int force)
{
	struct diary *diary = shared;

	assert_true(pthread_equal(pthread_self(), diary->threads[worker->index]));
	assert_ptr_equal(worker->context, diary);
	atomic_fetch_add(force ? &diary->forced : &diary->drained, 1);
	if (force || diary->leaves_when_asked)
		ev_break(worker->loop, EVBREAK_ALL);
	else if (atomic_load(&diary->drained) == WORKERS && diary->second_signal)
		assert_int_equal(kill(getpid(), diary->second_signal), 0);
}

static void stop(struct worker *worker, void *shared)
{
	struct diary *diary = shared;

	assert_true(pthread_equal(pthread_self(), diary->threads[worker->index]));
	ev_timer_stop(worker->loop, &diary->ticks[worker->index]);
	atomic_fetch_add(&diary->stopped, 1);
}

/* A hang-up reloads; the next thing is the end. */
static void reload(void *shared)
{
	struct diary *diary = shared;

	assert_int_equal(diary->drained, 0);
	atomic_fetch_add(&diary->reloads, 1);
	assert_int_equal(kill(getpid(), diary->second_signal), 0);
}

static const struct worker_program program = {start, drain, stop, NULL, NULL};
static const struct worker_program reloading = {start, drain, stop, NULL, reload};

static int silence(void **unused)
{
	(void)unused;
	log_open("worker_test", LOG_TARGET_STDERR, LOG_LEVEL_ERROR);
	/* A program that hangs is a failed test. */
	(void)alarm(280);
	return 0;
}

static void each_signal_ends_all_workers_gracefully(void **unused)
{
	static const int signals[] = {SIGTERM, SIGINT, SIGUSR1};

	(void)unused;
	for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]); i++) {
		struct diary diary = {.failing = WORKERS, .leaves_when_asked = true, .first_signal = signals[i]};

		assert_int_equal(worker_run(&program, WORKERS, 30., &diary), 0);
		assert_int_equal(diary.started, WORKERS);
		assert_int_equal(diary.drained, WORKERS);
		assert_int_equal(diary.forced, 0);
		assert_int_equal(diary.stopped, WORKERS);
	}
}

static void workers_have_threads_and_loops_of_their_own(void **unused)
{
	struct diary diary = {.failing = WORKERS, .leaves_when_asked = true, .first_signal = SIGTERM};

	(void)unused;
	assert_int_equal(worker_run(&program, WORKERS, 30., &diary), 0);
	for (int i = 0; i < WORKERS; i++) {
		assert_false(pthread_equal(diary.threads[i], pthread_self()));
		for (int j = 0; j < i; j++) {
			assert_false(pthread_equal(diary.threads[i], diary.threads[j]));
			assert_ptr_not_equal(diary.loops[i], diary.loops[j]);
		}
	}
}

static void second_signal_ends_at_once(void **unused)
{
	struct diary diary = {.failing = WORKERS, .first_signal = SIGTERM, .second_signal = SIGINT};

	(void)unused;
	/* Nobody waits for the end of this grace period. */
	assert_int_equal(worker_run(&program, WORKERS, 1e6, &diary), 0);
	assert_int_equal(diary.drained, WORKERS);
	assert_int_equal(diary.forced, WORKERS);
	assert_int_equal(diary.stopped, WORKERS);
}

static void grace_period_ends_at_once(void **unused)
{
	struct diary diary = {.failing = WORKERS, .first_signal = SIGTERM};
	ev_tstamp begun = ev_time();

	(void)unused;
	assert_int_equal(worker_run(&program, WORKERS, 0.3, &diary), 0);
	assert_true(ev_time() - begun >= 0.29);
	assert_int_equal(diary.drained, WORKERS);
	assert_int_equal(diary.forced, WORKERS);
	assert_int_equal(diary.stopped, WORKERS);
}

static void worker_that_cannot_start_ends_the_program(void **unused)
{
	(void)unused;
	for (unsigned failing = 0; failing < WORKERS; failing++) {
		struct diary diary = {.failing = failing};

		assert_int_equal(worker_run(&program, WORKERS, 30., &diary), -1);
		assert_int_equal(diary.started, WORKERS - 1);
		assert_int_equal(diary.stopped, WORKERS - 1);
	}
}

static void hangups_and_broken_pipes_are_ignored(void **unused)
{
	struct diary diary = {.failing = WORKERS, .leaves_when_asked = true, .first_signal = SIGTERM};
	struct sigaction action;

	(void)unused;
	assert_int_equal(worker_run(&program, WORKERS, 30., &diary), 0);
	assert_int_equal(sigaction(SIGPIPE, NULL, &action), 0);
	assert_ptr_equal(action.sa_handler, SIG_IGN);
	assert_int_equal(sigaction(SIGHUP, NULL, &action), 0);
	assert_ptr_equal(action.sa_handler, SIG_IGN);
}

static void hangup_reloads(void **unused)
{
	struct diary diary = {
		.failing = WORKERS, .leaves_when_asked = true, .first_signal = SIGHUP, .second_signal = SIGTERM};
	struct sigaction action;

	(void)unused;
	assert_int_equal(worker_run(&reloading, WORKERS, 30., &diary), 0);
	assert_int_equal(diary.reloads, 1);
	assert_int_equal(diary.drained, WORKERS);
	assert_int_equal(sigaction(SIGHUP, NULL, &action), 0);
	assert_ptr_equal(action.sa_handler, SIG_IGN);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(worker_that_cannot_start_ends_the_program),
		cmocka_unit_test(each_signal_ends_all_workers_gracefully),
		cmocka_unit_test(workers_have_threads_and_loops_of_their_own),
		cmocka_unit_test(second_signal_ends_at_once),
		cmocka_unit_test(grace_period_ends_at_once),
		cmocka_unit_test(hangups_and_broken_pipes_are_ignored),
		cmocka_unit_test(hangup_reloads),
	};

	return cmocka_run_group_tests(tests, silence, NULL);
}

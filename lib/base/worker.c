/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "worker.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "log.h"
#include "service_manager.h"

/* How far the end has been asked for. Only rises. */
enum drain_level { DRAIN_NONE, DRAIN_GRACEFUL, DRAIN_FORCED };

struct crew;

/* What a worker's thread is driven by. */
struct post {
	struct worker worker;
	struct crew *crew;
	pthread_t thread;
	bool threaded;              /* the thread exists and is to be joined */
	ev_async wake;              /* on the worker's loop: the crew's level rose, or it is asked for a sign of life */
	_Atomic unsigned answered;  /* the last of the crew's questions that its loop has answered */
	enum drain_level delivered; /* the worker's thread alone touches it */
};

/* All workers and the main thread's loop that watches over them. */
struct crew {
	const struct worker_program *program;
	void *shared;
	struct post *posts;
	unsigned count;
	unsigned joinable;    /* threads that exist */
	struct ev_loop *loop; /* the main thread's */
	ev_signal signals[3], hang_up;
	ev_timer grace;
	double grace_s;
	ev_async ended;    /* a worker's thread is about to end, or has started */
	ev_timer watchdog; /* asks every worker's loop for a sign of life, see question */
	_Atomic int level; /* enum drain_level */
	_Atomic unsigned question;
	_Atomic unsigned started_count, ended_count;
	bool reload_due;             /* SIGHUP came before <ready> */
	bool program_started, ready; /* ready: the service manager knows it */
	_Atomic bool failed;         /* a worker could not start */
};

static void worker_woken(struct ev_loop *loop, ev_async *async, int events)
{
	struct post *post = async->data;
	enum drain_level level = (enum drain_level)atomic_load(&post->crew->level);

	(void)events;
	atomic_store(&post->answered, atomic_load(&post->crew->question));
	if (level <= post->delivered)
		return;
	post->delivered = level;
	post->crew->program->drain(&post->worker, post->crew->shared, level == DRAIN_FORCED);
	/* Forced means now, whatever the program still hoped for. */
	if (level == DRAIN_FORCED)
		ev_break(loop, EVBREAK_ALL);
}

static void *worker_main(void *argument)
{
	struct post *post = argument;
	struct crew *crew = post->crew;

	ev_async_start(post->worker.loop, &post->wake);
	if (crew->program->start(&post->worker, crew->shared) < 0) {
		atomic_store(&crew->failed, true);
	} else {
		atomic_fetch_add(&crew->started_count, 1);
		ev_async_send(crew->loop, &crew->ended);
		/* A level that rose before the watcher stood would be missed otherwise. */
		ev_feed_event(post->worker.loop, &post->wake, EV_ASYNC);
		(void)ev_run(post->worker.loop, 0);
		crew->program->stop(&post->worker, crew->shared);
	}
	ev_async_stop(post->worker.loop, &post->wake);
	atomic_fetch_add(&crew->ended_count, 1);
	ev_async_send(crew->loop, &crew->ended);
	return NULL;
}

static void wake_workers(struct crew *crew)
{
	for (unsigned i = 0; i < crew->count; i++)
		ev_async_send(crew->posts[i].worker.loop, &crew->posts[i].wake);
}

static void notify_manager(const char *state)
{
	if (service_notify(state) < 0)
		log_warning("cannot tell the service manager \"%s\": %s", state, strerror(errno));
}

static void raise_level(struct crew *crew, enum drain_level level)
{
	if (atomic_load(&crew->level) >= (int)level)
		return;
	if (atomic_exchange(&crew->level, (int)level) == DRAIN_NONE)
		notify_manager(SERVICE_STOPPING);
	wake_workers(crew);
}

/* A sign of life is sent only if the loops of all workers have turned since the last question: one that blocks ends the
 * program, by the service manager. */
static void watchdog_due(struct ev_loop *loop, ev_timer *timer, int events)
{
	struct crew *crew = timer->data;
	unsigned question = atomic_load(&crew->question), silent = 0;

	(void)loop;
	(void)events;
	for (unsigned i = 0; i < crew->count; i++)
		silent += atomic_load(&crew->posts[i].answered) != question;
	/* Workers that have ended have nothing to answer; that the program ends is what the others wait for. */
	if (silent > atomic_load(&crew->ended_count))
		return;
	notify_manager(SERVICE_ALIVE);
	atomic_store(&crew->question, question + 1);
	wake_workers(crew);
}

static void reload(struct crew *crew)
{
	crew->reload_due = false;
	if (!crew->program->reload || atomic_load(&crew->level) != DRAIN_NONE)
		return;
	notify_manager(SERVICE_RELOADING);
	crew->program->reload(crew->shared);
	notify_manager(SERVICE_READY);
}

static void hang_up_came(struct ev_loop *loop, ev_signal *watcher, int events)
{
	struct crew *crew = watcher->data;

	(void)loop;
	(void)events;
	if (crew->ready)
		reload(crew);
	else
		crew->reload_due = true;
}

static void ready_if_all_started(struct crew *crew)
{
	if (crew->ready || !crew->program_started || atomic_load(&crew->started_count) < crew->count ||
	    atomic_load(&crew->level) != DRAIN_NONE)
		return;
	crew->ready = true;
	notify_manager(SERVICE_READY);
	if (crew->reload_due)
		reload(crew);
}

static void signal_came(struct ev_loop *loop, ev_signal *watcher, int events)
{
	struct crew *crew = watcher->data;

	(void)events;
	if (atomic_load(&crew->level) == DRAIN_NONE) {
		log_notice("%s: finishing the work under way, at most %.0f s", strsignal(watcher->signum),
			   crew->grace_s);
		raise_level(crew, DRAIN_GRACEFUL);
		ev_timer_start(loop, &crew->grace);
	} else {
		log_notice("%s again: ending now", strsignal(watcher->signum));
		raise_level(crew, DRAIN_FORCED);
	}
}

static void grace_passed(struct ev_loop *loop, ev_timer *timer, int events)
{
	(void)loop;
	(void)events;
	log_warning("the grace period passed: ending with work under way");
	raise_level(timer->data, DRAIN_FORCED);
}

static void worker_ended(struct ev_loop *loop, ev_async *async, int events)
{
	struct crew *crew = async->data;

	(void)events;
	if (atomic_load(&crew->failed))
		raise_level(crew, DRAIN_FORCED);
	else
		ready_if_all_started(crew);
	if (atomic_load(&crew->ended_count) == crew->joinable)
		ev_break(loop, EVBREAK_ALL);
}

static void watch(struct crew *crew)
{
	static const int numbers[] = {SIGTERM, SIGINT, SIGUSR1};

	for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
		ev_signal_init(&crew->signals[i], signal_came, numbers[i]);
		crew->signals[i].data = crew;
		ev_signal_start(crew->loop, &crew->signals[i]);
	}
	ev_signal_init(&crew->hang_up, hang_up_came, SIGHUP);
	crew->hang_up.data = crew;
	ev_signal_start(crew->loop, &crew->hang_up);
	ev_timer_init(&crew->grace, grace_passed, crew->grace_s, 0.);
	crew->grace.data = crew;
	ev_async_init(&crew->ended, worker_ended);
	crew->ended.data = crew;
	ev_async_start(crew->loop, &crew->ended);
	/* Thrice within the time that is granted: a question, its answers, and one that came late. */
	ev_timer_init(&crew->watchdog, watchdog_due, 0., service_watchdog_s() / 3.);
	crew->watchdog.data = crew;
	if (crew->watchdog.repeat > 0.)
		ev_timer_start(crew->loop, &crew->watchdog);
}

static void unwatch(struct crew *crew)
{
	for (size_t i = 0; i < sizeof(crew->signals) / sizeof(crew->signals[0]); i++)
		ev_signal_stop(crew->loop, &crew->signals[i]);
	ev_signal_stop(crew->loop, &crew->hang_up);
	(void)signal(SIGHUP, SIG_IGN); /* libev restores what would end the program */
	ev_timer_stop(crew->loop, &crew->grace);
	ev_timer_stop(crew->loop, &crew->watchdog);
	ev_async_stop(crew->loop, &crew->ended);
}

static int make_loops(struct crew *crew)
{
	for (unsigned i = 0; i < crew->count; i++) {
		struct post *post = &crew->posts[i];

		post->crew = crew;
		post->worker.index = i;
		post->worker.loop = ev_loop_new(EVFLAG_AUTO);
		if (!post->worker.loop) {
			log_error("cannot make an event loop for worker %u", i);
			return -1;
		}
		ev_async_init(&post->wake, worker_woken);
		post->wake.data = post;
	}
	return 0;
}

/* Signals are for the main thread alone: a worker's thread inherits a mask with all of them blocked, but for those of its
 * own faults. Were they blocked, no handler would get them. */
static void start_threads(struct crew *crew)
{
	static const int faults[] = {SIGBUS, SIGSEGV, SIGFPE, SIGILL};
	sigset_t others, before;

	(void)sigfillset(&others);
	for (size_t i = 0; i < sizeof(faults) / sizeof(*faults); i++)
		(void)sigdelset(&others, faults[i]);
	(void)pthread_sigmask(SIG_SETMASK, &others, &before);
	for (unsigned i = 0; i < crew->count; i++) {
		int error = pthread_create(&crew->posts[i].thread, NULL, worker_main, &crew->posts[i]);

		if (error != 0) {
			log_error("cannot start the thread of worker %u: %s", i, strerror(error));
			atomic_store(&crew->failed, true);
			break;
		}
		crew->posts[i].threaded = true;
		crew->joinable++;
	}
	(void)pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (crew->joinable < crew->count)
		raise_level(crew, DRAIN_FORCED);
}

static void dismiss(struct crew *crew)
{
	for (unsigned i = 0; i < crew->count; i++) {
		if (crew->posts[i].threaded)
			(void)pthread_join(crew->posts[i].thread, NULL);
	}
	for (unsigned i = 0; i < crew->count; i++) {
		if (crew->posts[i].worker.loop)
			ev_loop_destroy(crew->posts[i].worker.loop);
	}
	free(crew->posts);
}

int worker_run(const struct worker_program *program, unsigned count, double grace_s, void *shared)
{
	struct crew crew = {.program = program, .shared = shared, .count = count, .grace_s = grace_s};

	(void)signal(SIGPIPE, SIG_IGN);
	(void)signal(SIGHUP, SIG_IGN);
	crew.loop = ev_default_loop(EVFLAG_AUTO);
	crew.posts = calloc(count, sizeof(*crew.posts));
	if (!crew.loop || !crew.posts) {
		log_error("cannot make %u workers: out of memory", count);
		free(crew.posts);
		return -1;
	}
	if (make_loops(&crew) < 0) {
		dismiss(&crew);
		return -1;
	}
	watch(&crew);
	start_threads(&crew);
	if (program->started && program->started(shared) < 0) {
		atomic_store(&crew.failed, true);
		raise_level(&crew, DRAIN_FORCED);
	}
	crew.program_started = true;
	ready_if_all_started(&crew);
	if (crew.joinable)
		(void)ev_run(crew.loop, 0);
	unwatch(&crew);
	dismiss(&crew);
	return atomic_load(&crew.failed) ? -1 : 0;
}

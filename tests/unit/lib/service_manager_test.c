/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Guards: the service manager hears that a program is ready when all its workers have started and not before, that it ends,
 * and signs of life only as long as every worker's loop turns. */
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

#include "log.h"
#include "service_manager.h"
#include "worker.h"

#define WORKERS 2
#define SIGNS_OF_LIFE 5
#define BLOCKED_US 300000

static int manager; /* its socket */

/* The abstract address of a manager of our own becomes $NOTIFY_SOCKET. */
static int manager_start(void **unused)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	char name[64];
	int len = snprintf(name, sizeof(name), "@disc-manager-%d", (int)getpid());

	(void)unused;
	log_open("service_manager_test", LOG_TARGET_STDERR, LOG_LEVEL_ERROR);
	(void)alarm(280);
	memcpy(address.sun_path + 1, name + 1, (size_t)len - 1);
	manager = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	assert_true(manager >= 0);
	assert_int_equal(bind(manager, (struct sockaddr *)&address,
			      (socklen_t)(offsetof(struct sockaddr_un, sun_path) + (size_t)len)),
			 0);
	assert_int_equal(setenv("NOTIFY_SOCKET", name, 1), 0);
	assert_int_equal(unsetenv("WATCHDOG_USEC"), 0);
	assert_int_equal(unsetenv("WATCHDOG_PID"), 0);
	return 0;
}

static int manager_stop(void **unused)
{
	(void)unused;
	return close(manager);
}

/* Writes the manager's next datagram to <text>, "" if there is none. */
static const char *heard(char text[64])
{
	ssize_t len = recv(manager, text, 63, 0);

	text[len < 0 ? 0 : len] = '\0';
	return text;
}

static void says_what_it_is_told_to(void **unused)
{
	char text[64];

	(void)unused;
	assert_int_equal(service_notify("READY=1\nSTATUS=well"), 0);
	assert_string_equal(heard(text), "READY=1\nSTATUS=well");
}

static void nobody_or_somebody_who_is_gone(void **unused)
{
	static const char *const wrong[] = {"relative", "@", "/"};
	char too_long[200] = "/";

	(void)unused;
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		assert_int_equal(setenv("NOTIFY_SOCKET", wrong[i], 1), 0);
		assert_int_equal(service_notify(SERVICE_READY), -1);
		assert_int_equal(errno, EINVAL);
	}
	memset(too_long + 1, 'x', sizeof(too_long) - 2);
	assert_int_equal(setenv("NOTIFY_SOCKET", too_long, 1), 0);
	assert_int_equal(service_notify(SERVICE_READY), -1);
	assert_int_equal(setenv("NOTIFY_SOCKET", "@disc-nobody-listens-here", 1), 0);
	assert_int_equal(service_notify(SERVICE_READY), -1);
	assert_int_equal(errno, ECONNREFUSED);
	assert_int_equal(setenv("NOTIFY_SOCKET", "", 1), 0);
	assert_int_equal(service_notify(SERVICE_READY), 0);
	assert_int_equal(unsetenv("NOTIFY_SOCKET"), 0);
	assert_int_equal(service_notify(SERVICE_READY), 0);
}

static void watchdog_of_another_process_or_none(void **unused)
{
	static const char *const none[] = {"", "0", "-5", "1s", "99999999999999999999"};
	char pid[16];

	(void)unused;
	assert_true(service_watchdog_s() == 0.);
	for (size_t i = 0; i < sizeof(none) / sizeof(none[0]); i++) {
		assert_int_equal(setenv("WATCHDOG_USEC", none[i], 1), 0);
		assert_true(service_watchdog_s() == 0.);
	}
	assert_int_equal(setenv("WATCHDOG_USEC", "1500000", 1), 0);
	assert_true(service_watchdog_s() == 1.5);
	assert_int_equal(setenv("WATCHDOG_PID", "1", 1), 0);
	assert_true(service_watchdog_s() == 0.);
	(void)snprintf(pid, sizeof(pid), "%d", (int)getpid());
	assert_int_equal(setenv("WATCHDOG_PID", pid, 1), 0);
	assert_true(service_watchdog_s() == 1.5);
}

struct plan {
	unsigned failing; /* index of the worker that cannot start */
	bool blocks;      /* the last worker's loop does, once, for BLOCKED_US */
	ev_timer timers[WORKERS];
	unsigned ready, alive; /* what the manager got */
};

/* On the first worker's loop, which listens to the manager. */
static void listen_on(struct ev_loop *loop, ev_timer *timer, int events)
{
	struct plan *plan = timer->data;
	char text[64];

	(void)loop;
	(void)events;
	while (heard(text)[0] != '\0') {
		if (strcmp(text, SERVICE_ALIVE) == 0)
			plan->alive++;
		else
			plan->ready += strcmp(text, SERVICE_READY) == 0;
	}
	if (plan->ready && plan->alive >= SIGNS_OF_LIFE)
		assert_int_equal(kill(getpid(), SIGTERM), 0);
}

static void block(struct ev_loop *loop, ev_timer *timer, int events)
{
	struct plan *plan = timer->data;
	char text[64];

	(void)loop;
	(void)events;
	if (!plan->blocks)
		return;
	while (heard(text)[0] != '\0')
		continue;
	(void)usleep(BLOCKED_US);
	while (heard(text)[0] != '\0')
		plan->alive += strcmp(text, SERVICE_ALIVE) == 0;
	assert_int_equal(kill(getpid(), SIGTERM), 0);
}

static int start(struct worker *worker, void *shared)
{
	struct plan *plan = shared;
	ev_timer *timer = &plan->timers[worker->index];

	if (worker->index == plan->failing)
		return -1;
	ev_timer_init(timer, worker->index == 0 && !plan->blocks ? listen_on : block, 0.005,
		      worker->index ? 0. : 0.005);
	timer->data = plan;
	if (worker->index || !plan->blocks)
		ev_timer_start(worker->loop, timer);
	worker->context = plan;
	return 0;
}

static void drain(struct worker *worker, void *shared, int force)
{
	(void)shared;
	(void)force;
	ev_break(worker->loop, EVBREAK_ALL);
}

static void stop(struct worker *worker, void *shared)
{
	struct plan *plan = shared;

	ev_timer_stop(worker->loop, &plan->timers[worker->index]);
}

static int cannot_go_on(void *shared)
{
	(void)shared;
	return -1;
}

static const struct worker_program program = {start, drain, stop, NULL, NULL};

static void ready_once_then_alive_then_stopping(void **unused)
{
	struct plan plan = {.failing = WORKERS};
	char text[64];

	(void)unused;
	assert_int_equal(setenv("WATCHDOG_USEC", "60000", 1), 0);
	assert_int_equal(worker_run(&program, WORKERS, 30., &plan), 0);
	assert_int_equal(plan.ready, 1);
	assert_true(plan.alive >= SIGNS_OF_LIFE);
	do {
		(void)heard(text);
		assert_true(text[0] != '\0');
	} while (strcmp(text, SERVICE_STOPPING) != 0);
}

static void no_sign_of_life_while_a_loop_blocks(void **unused)
{
	struct plan plan = {.failing = WORKERS, .blocks = true};

	(void)unused;
	assert_int_equal(setenv("WATCHDOG_USEC", "30000", 1), 0);
	assert_int_equal(worker_run(&program, WORKERS, 30., &plan), 0);
	/* Thirty would be due: one for the answer before, none after. */
	assert_true(plan.alive <= 1);
}

static void not_ready_without_all_workers(void **unused)
{
	static const struct worker_program refuses = {start, drain, stop, cannot_go_on, NULL};
	struct plan plan = {.failing = WORKERS - 1}, all = {.failing = WORKERS};
	char text[64];

	(void)unused;
	assert_int_equal(worker_run(&program, WORKERS, 30., &plan), -1);
	while (heard(text)[0] != '\0')
		assert_string_not_equal(text, SERVICE_READY);
	assert_int_equal(worker_run(&refuses, WORKERS, 30., &all), -1);
	while (heard(text)[0] != '\0')
		assert_string_not_equal(text, SERVICE_READY);
}

#define MANAGED(test) cmocka_unit_test_setup_teardown(test, manager_start, manager_stop)

int main(void)
{
	const struct CMUnitTest tests[] = {
		MANAGED(nobody_or_somebody_who_is_gone),      MANAGED(says_what_it_is_told_to),
		MANAGED(watchdog_of_another_process_or_none), MANAGED(not_ready_without_all_workers),
		MANAGED(ready_once_then_alive_then_stopping), MANAGED(no_sign_of_life_while_a_loop_blocks),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

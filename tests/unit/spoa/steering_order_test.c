/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Guards: while a client sends as fast as it can, a flow changes its way again and again, and no packet is lost,
 * doubled or overtaken. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <errno.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "steering_lab.h"

#define PACKETS 3500u /* a queue holds this many of any kind */
#define FLOODS 6
#define PATIENCE_MS 10000

#define LAB(state)                           \
	struct steering_lab *lab = *(state); \
                                             \
	if (!lab) {                          \
		skip();                      \
		return;                      \
	}

struct flood {
	struct steering_lab *lab;
	struct tcp_state flow;
};

static int send_all(void *context)
{
	struct flood *flood = context;
	struct raw_packet packet = {.flow = &flood->flow, .flags = 0x10};

	for (packet.seq = 1; packet.seq <= PACKETS; packet.seq++)
		while (raw_send(&flood->lab->sender, &packet) < 0)
			if (errno != ENOBUFS && errno != EAGAIN)
				return 1;
	return 0;
}

static bool has_ended(pid_t child, int *status)
{
	return waitpid(child, status, WNOHANG) == child;
}

/* Reads what came, up to where <last> is the last packet of all or nothing is left. Returns how many; each must come
 * after the one before. */
static unsigned take(const struct raw_watcher *watcher, uint16_t port, uint32_t *last)
{
	struct raw_seen seen;
	unsigned count = 0;

	while (raw_next(watcher, &seen, 0) == 0) {
		if (seen.source_port != port)
			continue;
		if (seen.seq <= *last)
			fail_msg("packet %u has come after %u", seen.seq, *last);
		*last = seen.seq;
		count++;
	}
	return count;
}

static int run_flood(struct steering_lab *lab, struct flood *flood, bool to_node, unsigned *rounds)
{
	const struct steering_route *route = flood->flow.family == 4 ? &lab->route4 : &lab->route6;
	pid_t child = netns_spawn(&lab->client, send_all, flood);
	int status = -1;

	assert_true(child > 0);
	for (*rounds = 0; !has_ended(child, &status); ++*rounds) {
		assert_int_equal(steering_hold(lab->steering, &flood->flow), 0);
		for (int i = 0; i < 5; i++)
			(void)ev_run(lab->loop, EVRUN_NOWAIT);
		if (to_node)
			assert_int_equal(steering_redirect(lab->steering, &flood->flow, route, NULL), 0);
		else
			steering_release(lab->steering, &flood->flow);
		for (int i = 0; i < 5; i++)
			(void)ev_run(lab->loop, EVRUN_NOWAIT);
	}
	return status;
}

/* The kernel asks for the node's MAC address now, not under load: few packets wait for an answer. */
static void meet_node(struct steering_lab *lab, unsigned family)
{
	struct tcp_state flow = steering_lab_flow(family, 7001);

	assert_int_equal(steering_hold(lab->steering, &flow), 0);
	assert_int_equal(steering_redirect(lab->steering, &flow, family == 4 ? &lab->route4 : &lab->route6, NULL), 0);
	steering_lab_send(lab, &flow, 1);
	steering_lab_expect_node(lab, 1);
	steering_release(lab->steering, &flow);
}

/* Returns how many packets were held. */
static uint64_t change_ways_under_load(struct steering_lab *lab, unsigned family, bool to_node)
{
	struct flood flood = {.lab = lab, .flow = steering_lab_flow(family, 7000)};
	const struct raw_watcher *stack = family == 4 ? &lab->stack4 : &lab->stack6;
	struct steering_counters before, counters;
	uint32_t last_node = 0, last_stack = 0;
	unsigned rounds, seen = 0;
	time_t end;

	steering_lab_open(lab, 64, 0);
	meet_node(lab, family);
	steering_count(lab->steering, &before);
	if (to_node) /* from the first packet on */
		assert_int_equal(steering_hold(lab->steering, &flood.flow), 0);
	assert_int_equal(run_flood(lab, &flood, to_node, &rounds), 0);
	for (end = time(NULL) + PATIENCE_MS / 1000; seen < PACKETS && time(NULL) < end;) {
		(void)ev_run(lab->loop, EVRUN_NOWAIT);
		seen += take(&lab->node_wire, 7000, &last_node) + take(stack, 7000, &last_stack);
	}
	steering_release(lab->steering, &flood.flow);
	steering_count(lab->steering, &counters);
	print_message("%u changes, %llu of %u packets held\n", rounds, (unsigned long long)counters.held, PACKETS);
	assert_int_equal(counters.hold_overflows, 0);
	assert_int_equal(seen, PACKETS);
	assert_int_equal(to_node ? last_stack : last_node, 0);
	steering_lab_close(lab);
	return counters.held - before.held;
}

static void nothing_is_lost_or_overtaken_on_the_way_to_a_node(void **state)
{
	uint64_t held = 0;

	LAB(state)
	for (unsigned i = 0; i < FLOODS; i++)
		held += change_ways_under_load(lab, i % 2 ? 4 : 6, true);
	assert_true(held > 0);
}

static void nothing_is_lost_or_overtaken_on_the_way_to_our_own_stack(void **state)
{
	uint64_t held = 0;

	LAB(state)
	for (unsigned i = 0; i < FLOODS; i++)
		held += change_ways_under_load(lab, i % 2 ? 4 : 6, false);
	assert_true(held > 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(nothing_is_lost_or_overtaken_on_the_way_to_a_node),
		cmocka_unit_test(nothing_is_lost_or_overtaken_on_the_way_to_our_own_stack),
	};

	return cmocka_run_group_tests(tests, steering_lab_make, steering_lab_remove);
}

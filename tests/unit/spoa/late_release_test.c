/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Guards: every ticket is released once, at its node, in the order in which connections came back: with the next message
 * to that node, or when the list is full, or soon; never at a node whose channel is closed, nor when all is over. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "late_release.h"

#define LAST (NODE_MAX - 1)
#define DUE_MS 5

static struct sent {
	size_t node;
	struct ticket ticket;
} sent[2 * LATE_RELEASE_MAX + 2];
static unsigned sent_count;
static struct late_release late; /* too large for a stack */

static void note(void *context, size_t node, const struct ticket *ticket)
{
	assert_ptr_equal(context, &sent_count);
	assert_true(sent_count < sizeof(sent) / sizeof(sent[0]));
	sent[sent_count++] = (struct sent){.node = node, .ticket = *ticket};
}

static struct ticket ticket_of(unsigned number)
{
	struct ticket ticket;

	memset(&ticket, (int)number, sizeof(ticket));
	return ticket;
}

/* Releases the tickets with the numbers from <first> on. */
static void add(size_t node, unsigned first, unsigned count)
{
	for (unsigned i = 0; i < count; i++) {
		struct ticket ticket = ticket_of(first + i);

		late_release_add(&late, node, &ticket);
	}
}

/* So many have been sent, the last ones being those from <first> on, to <node>. */
static void were_sent(unsigned total, size_t node, unsigned first, unsigned count)
{
	assert_int_equal(sent_count, total);
	for (unsigned i = 0; i < count; i++) {
		struct ticket ticket = ticket_of(first + i);

		assert_int_equal(sent[total - count + i].node, node);
		assert_memory_equal(&sent[total - count + i].ticket, &ticket, sizeof(ticket));
	}
}

static int open_late(void **state)
{
	(void)state;
	sent_count = 0;
	late = (struct late_release){.loop = ev_loop_new(EVFLAG_AUTO), .send = note, .context = &sent_count};
	assert_non_null(late.loop);
	late_release_open(&late);
	return 0;
}

static int close_late(void **state)
{
	(void)state;
	late_release_close(&late);
	assert_false(ev_is_active(&late.due));
	ev_loop_destroy(late.loop);
	return 0;
}

/* Waits for what is due; returns the milliseconds that it took by the loop's clock. */
static double until_due(void)
{
	ev_tstamp before;

	ev_now_update(late.loop);
	before = ev_now(late.loop);
	ev_run(late.loop, EVRUN_ONCE);
	return (ev_now(late.loop) - before) * 1000;
}

static void what_nothing_follows_leaves_soon(void **state)
{
	double waited;

	(void)state;
	ev_now_update(late.loop);
	add(0, 1, 3);
	add(LAST, 4, 1);
	assert_int_equal(sent_count, 0); /* not at once: the next message is to take them along */
	assert_true(ev_is_active(&late.due));
	assert_true(ev_timer_remaining(late.loop, &late.due) * 1000 < DUE_MS + 0.01);
	waited = until_due();
	assert_true(waited >= DUE_MS - 2); /* the kernel's clock is coarse */
	were_sent(4, LAST, 4, 1);
	sent_count = 3;
	were_sent(3, 0, 1, 3);
	assert_false(ev_is_active(&late.due));
}

/* Those that come later do not put off the first: its clone would live too long. */
static void more_of_them_do_not_put_it_off(void **state)
{
	double first, second;

	(void)state;
	ev_now_update(late.loop);
	add(0, 1, 1);
	first = ev_timer_remaining(late.loop, &late.due);
	for (ev_tstamp begin = ev_now(late.loop); ev_now(late.loop) - begin < 0.001;)
		ev_now_update(late.loop);
	add(0, 2, 1);
	second = ev_timer_remaining(late.loop, &late.due);
	assert_true(second < first - 0.0009);
	until_due();
	were_sent(2, 0, 1, 2);
}

static void the_next_message_to_the_node_takes_them_along(void **state)
{
	(void)state;
	add(0, 1, 2);
	add(1, 3, 1);
	late_release_flush(&late, 0);
	were_sent(2, 0, 1, 2); /* the other node's wait */
	late_release_flush(&late, 0);
	assert_int_equal(sent_count, 2); /* once */
	until_due();
	were_sent(3, 1, 3, 1);
}

static void a_full_list_leaves_before_the_next(void **state)
{
	(void)state;
	add(2, 1, LATE_RELEASE_MAX);
	assert_int_equal(sent_count, 0);
	add(2, 1 + LATE_RELEASE_MAX, 1);
	were_sent(LATE_RELEASE_MAX, 2, 1, LATE_RELEASE_MAX);
	until_due();
	were_sent(LATE_RELEASE_MAX + 1, 2, 1 + LATE_RELEASE_MAX, 1);
}

static void a_dead_node_is_told_nothing(void **state)
{
	(void)state;
	add(0, 1, 2);
	add(1, 3, 1);
	late_release_forget(&late, 0);
	late_release_flush(&late, 0);
	assert_int_equal(sent_count, 0);
	until_due();
	were_sent(1, 1, 3, 1);
	/* Its next channel carries only what came back since. */
	add(0, 4, 1);
	late_release_flush(&late, 0);
	were_sent(2, 0, 4, 1);
}

/* The timer of tickets that left earlier, with a message, brings on what has come since; each is sent once. */
static void an_idle_timer_sends_nothing_twice(void **state)
{
	(void)state;
	add(0, 1, 1);
	late_release_flush(&late, 0);
	add(0, 2, 1);
	until_due();
	were_sent(2, 0, 1, 2);
	add(0, 3, 1);
	until_due();
	were_sent(3, 0, 3, 1);
}

static void nothing_is_sent_when_all_is_over(void **state)
{
	(void)state;
	add(0, 1, 1);
	late_release_close(&late);
	assert_false(ev_run(late.loop, EVRUN_NOWAIT)); /* nothing is waited for */
	assert_int_equal(sent_count, 0);
	late_release_close(&late);
}

/* As in the agent without a direct path. */
static void what_was_never_opened_can_be_closed(void **state)
{
	static struct late_release never;

	(void)state;
	late_release_close(&never);
}

#define LATE_TEST(name) cmocka_unit_test_setup_teardown(name, open_late, close_late)

int main(void)
{
	const struct CMUnitTest tests[] = {
		LATE_TEST(what_nothing_follows_leaves_soon),
		LATE_TEST(more_of_them_do_not_put_it_off),
		LATE_TEST(the_next_message_to_the_node_takes_them_along),
		LATE_TEST(a_full_list_leaves_before_the_next),
		LATE_TEST(a_dead_node_is_told_nothing),
		LATE_TEST(an_idle_timer_sends_nothing_twice),
		LATE_TEST(nothing_is_sent_when_all_is_over),
		cmocka_unit_test(what_was_never_opened_can_be_closed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

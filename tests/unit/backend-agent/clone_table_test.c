/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Guards the way from agents to clones: only its own channel reaches a clone, one Handoff a ticket, and a lost channel
 * is told to each of its clones and to no other. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "clone_table.h"

#define ORDERS_MAX 64

struct bench {
	struct ev_loop *loop;
	struct clone_table *table;
	struct clone_inbox inbox, other;
	struct clone_order orders[ORDERS_MAX];
	unsigned count;
	struct tcp_frozen frozen;       /* of the last Handoff */
	const struct ticket *to_remove; /* when the next order comes */
};

static void receive(void *context, const struct clone_order *order)
{
	struct bench *bench = context;

	assert_true(bench->count < ORDERS_MAX);
	bench->orders[bench->count++] = *order;
	if (order->kind == CLONE_ORDER_HANDOFF) {
		assert_non_null(order->frozen);
		bench->frozen = *order->frozen;
	} else {
		assert_null(order->frozen);
	}
	if (bench->to_remove)
		clone_table_remove(bench->table, bench->to_remove);
	bench->to_remove = NULL;
}

static void receive_nothing(void *context, const struct clone_order *order)
{
	(void)context;
	(void)order;
	fail_msg("an order came to another thread's inbox");
}

static int bench_open(void **state)
{
	struct bench *bench = calloc(1, sizeof(*bench));

	assert_non_null(bench);
	bench->loop = ev_loop_new(EVFLAG_AUTO);
	bench->table = clone_table_new();
	assert_non_null(bench->table);
	bench->inbox =
		(struct clone_inbox){.loop = bench->loop, .table = bench->table, .receive = receive, .context = bench};
	bench->other = (struct clone_inbox){.loop = bench->loop, .table = bench->table, .receive = receive_nothing};
	clone_inbox_open(&bench->inbox);
	clone_inbox_open(&bench->other);
	*state = bench;
	return 0;
}

static int bench_close(void **state)
{
	struct bench *bench = *state;

	clone_inbox_close(&bench->inbox);
	clone_inbox_close(&bench->other);
	clone_table_free(bench->table);
	ev_loop_destroy(bench->loop);
	free(bench);
	return 0;
}

static struct ticket ticket_of(uint8_t number)
{
	return (struct ticket){.bytes = {number}};
}

static enum clone_order_status hand_off(struct bench *bench, uint64_t channel, uint8_t number)
{
	struct control_handoff handoff = {.ticket = ticket_of(number),
					  .state = {.family = 4, .send_next = 7},
					  .send_queue = {(const uint8_t *)"sent", 4},
					  .receive_queue = {(const uint8_t *)"unread", 6}};

	return clone_table_hand_off(bench->table, channel, &handoff);
}

static void add(struct bench *bench, uint64_t channel, uint8_t number, struct clone_inbox *inbox)
{
	struct ticket ticket = ticket_of(number);

	assert_int_equal(clone_table_add(bench->table, &ticket, channel, inbox), 0);
}

static void drop(struct bench *bench, uint8_t number)
{
	struct ticket ticket = ticket_of(number);

	clone_table_remove(bench->table, &ticket);
}

static void strangers_reach_no_clone(void **state)
{
	struct bench *bench = *state;
	struct ticket ticket = ticket_of(1);

	add(bench, 5, 1, &bench->inbox);
	assert_int_equal(hand_off(bench, 6, 1), CLONE_ORDER_UNKNOWN);
	assert_int_equal(clone_table_recall(bench->table, 6, &ticket, true), CLONE_ORDER_UNKNOWN);
	assert_int_equal(hand_off(bench, 5, 2), CLONE_ORDER_UNKNOWN);
	clone_table_channel_lost(bench->table, 6);
	(void)ev_run(bench->loop, EVRUN_NOWAIT);
	assert_int_equal(bench->count, 0);
	drop(bench, 1);
}

static void ticket_has_one_clone_and_one_handoff(void **state)
{
	struct bench *bench = *state;
	struct ticket ticket = ticket_of(1);

	add(bench, 5, 1, &bench->inbox);
	assert_int_equal(clone_table_add(bench->table, &ticket, 5, &bench->other), -1);
	assert_int_equal(hand_off(bench, 5, 1), CLONE_ORDER_GIVEN);
	assert_int_equal(hand_off(bench, 5, 1), CLONE_ORDER_TWICE);
	(void)ev_run(bench->loop, EVRUN_ONCE);
	assert_int_equal(hand_off(bench, 5, 1), CLONE_ORDER_TWICE);
	assert_int_equal(bench->count, 1);
	drop(bench, 1);
	assert_int_equal(hand_off(bench, 5, 1), CLONE_ORDER_UNKNOWN);
}

static void orders_come_in_order_with_the_connection(void **state)
{
	struct bench *bench = *state;
	struct ticket ticket = ticket_of(1);

	add(bench, 5, 1, &bench->inbox);
	add(bench, 5, 2, &bench->other);
	assert_int_equal(hand_off(bench, 5, 1), CLONE_ORDER_GIVEN);
	assert_int_equal(clone_table_recall(bench->table, 5, &ticket, false), CLONE_ORDER_GIVEN);
	assert_int_equal(clone_table_recall(bench->table, 5, &ticket, true), CLONE_ORDER_GIVEN);
	(void)ev_run(bench->loop, EVRUN_ONCE);
	assert_int_equal(bench->count, 3);
	assert_int_equal(bench->orders[0].kind, CLONE_ORDER_HANDOFF);
	assert_int_equal(bench->orders[1].kind, CLONE_ORDER_RECALL);
	assert_int_equal(bench->orders[2].kind, CLONE_ORDER_DISCARD);
	assert_int_equal(bench->frozen.state.send_next, 7);
	assert_int_equal(bench->frozen.send_len, 4);
	assert_memory_equal(bench->frozen.send_queue, "sent", 4);
	assert_int_equal(bench->frozen.receive_len, 0); /* it stays with the agent */
	drop(bench, 1);
	drop(bench, 2);
}

static void lost_channel_is_told_to_each_of_its_clones(void **state)
{
	struct bench *bench = *state;
	struct ticket second = ticket_of(2);

	for (uint8_t number = 1; number <= 5; number++)
		add(bench, number == 4 ? 6 : 5, number, &bench->inbox);
	/* One that ends on its own meanwhile gets no order. */
	bench->to_remove = &second;
	clone_table_channel_lost(bench->table, 5);
	(void)ev_run(bench->loop, EVRUN_ONCE);
	assert_in_range(bench->count, 3, 4);
	for (unsigned i = 0; i < bench->count; i++) {
		assert_int_equal(bench->orders[i].kind, CLONE_ORDER_CHANNEL_LOST);
		assert_int_equal(bench->orders[i].channel, 5);
		assert_int_not_equal(bench->orders[i].ticket.bytes[0], 4);
	}
	drop(bench, 1);
	for (uint8_t number = 3; number <= 5; number++)
		drop(bench, number);
}

int main(void)
{
#define BENCH_TEST(name) cmocka_unit_test_setup_teardown(name, bench_open, bench_close)
	const struct CMUnitTest tests[] = {
		BENCH_TEST(strangers_reach_no_clone),
		BENCH_TEST(ticket_has_one_clone_and_one_handoff),
		BENCH_TEST(orders_come_in_order_with_the_connection),
		BENCH_TEST(lost_channel_is_told_to_each_of_its_clones),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

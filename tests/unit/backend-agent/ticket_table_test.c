/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Guards the meeting of offers and fetches: each ticket is honoured once, whichever side came first and from whichever
 * thread, and what is not fetched is wiped. Time is an argument here, nothing waits. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "ticket_table.h"

static const struct ticket_limits limits = {.wait_s = 1, .remember_s = 10, .max_waiting = 4, .max_used = 12};

struct bench {
	struct ev_loop *loop;
	struct ticket_table *table;
	struct ticket_mailbox mailbox;
};

static int open_bench(void **state)
{
	static struct bench bench;

	bench.loop = ev_loop_new(EVFLAG_AUTO);
	bench.table = ticket_table_new(&limits);
	assert_non_null(bench.table);
	ticket_mailbox_open(&bench.mailbox, bench.table, bench.loop);
	*state = &bench;
	return 0;
}

static int close_bench(void **state)
{
	struct bench *bench = *state;

	ticket_mailbox_close(&bench->mailbox);
	ticket_table_free(bench->table);
	ev_loop_destroy(bench->loop);
	return 0;
}

static struct ticket ticket_of(unsigned number)
{
	struct ticket ticket = {{0}};

	memcpy(ticket.bytes, &number, sizeof(number));
	return ticket;
}

static enum ticket_offer_status offer(struct bench *bench, unsigned number, uint64_t seq, uint64_t channel, double now)
{
	struct ticket ticket = ticket_of(number);
	struct tx_state tx = {.tls_minor = 4, .suite = 0x1301, .aead = TX_AEAD_AES_GCM, .key_len = 16, .seq = seq};
	struct ticket_terms terms = {.lease_id = number, .channel = channel};

	return ticket_table_offer(bench->table, &ticket, &tx, &terms, now);
}

/* Remembers the offer that its waiter was called with. */
static void on_joined(struct ticket_waiter *waiter, struct ticket_offer *got)
{
	*(struct ticket_offer **)waiter->context = got;
}

static struct ticket_waiter waiter_for(struct bench *bench, unsigned number, struct ticket_offer **got)
{
	*got = NULL;
	return (struct ticket_waiter){
		.ticket = ticket_of(number), .mailbox = &bench->mailbox, .call = on_joined, .context = got};
}

static enum ticket_claim_status claim(struct bench *bench, unsigned number, double now)
{
	struct ticket_offer *got, *called;
	struct ticket_waiter waiter = waiter_for(bench, number, &called);
	enum ticket_claim_status status = ticket_table_claim(bench->table, &waiter, &got, now);

	assert_int_equal(status == TICKET_CLAIM_JOINED, got != NULL);
	ticket_table_release(bench->table, got);
	if (status == TICKET_CLAIM_WAITING)
		assert_null(ticket_table_withdraw(bench->table, &waiter, now));
	return status;
}

static void offer_first_is_joined_once(void **state)
{
	struct bench *bench = *state;
	struct ticket_offer *got, *called;
	struct ticket_waiter waiter = waiter_for(bench, 1, &called);

	assert_int_equal(offer(bench, 1, 42, 7, 0), TICKET_OFFER_KEPT);
	assert_int_equal(ticket_table_offers(bench->table), 1);
	assert_int_equal(ticket_table_claim(bench->table, &waiter, &got, 0.5), TICKET_CLAIM_JOINED);
	assert_int_equal(got->state.seq, 42);
	assert_int_equal(got->terms.channel, 7);
	assert_int_equal(got->terms.lease_id, 1);
	ticket_table_release(bench->table, got);
	assert_int_equal(ticket_table_offers(bench->table), 0);
	assert_int_equal(claim(bench, 1, 0.6), TICKET_CLAIM_USED);
	assert_int_equal(offer(bench, 1, 43, 7, 0.7), TICKET_OFFER_USED);
	assert_int_equal(claim(bench, 1, 0.8), TICKET_CLAIM_USED);
}

static void fetch_first_is_called_once(void **state)
{
	struct bench *bench = *state;
	struct ticket_offer *got, *called;
	struct ticket_waiter waiter = waiter_for(bench, 2, &called), second = waiter_for(bench, 2, &called);

	assert_int_equal(ticket_table_claim(bench->table, &waiter, &got, 0), TICKET_CLAIM_WAITING);
	assert_int_equal(ticket_table_claim(bench->table, &second, &got, 0), TICKET_CLAIM_USED);
	assert_int_equal(offer(bench, 2, 5, 7, 0.2), TICKET_OFFER_JOINED);
	assert_int_equal(offer(bench, 2, 6, 7, 0.2), TICKET_OFFER_USED);
	assert_null(called);
	(void)ev_run(bench->loop, EVRUN_ONCE);
	assert_non_null(called);
	assert_int_equal(called->state.seq, 5);
	ticket_table_release(bench->table, called);
	assert_int_equal(claim(bench, 2, 0.3), TICKET_CLAIM_USED);
}

static void second_offer_of_a_ticket_is_dropped(void **state)
{
	struct bench *bench = *state;
	struct ticket_offer *got, *called;
	struct ticket_waiter waiter = waiter_for(bench, 3, &called);

	assert_int_equal(offer(bench, 3, 1, 7, 0), TICKET_OFFER_KEPT);
	assert_int_equal(offer(bench, 3, 2, 8, 0), TICKET_OFFER_USED);
	assert_int_equal(ticket_table_claim(bench->table, &waiter, &got, 0), TICKET_CLAIM_JOINED);
	assert_int_equal(got->state.seq, 1);
	ticket_table_release(bench->table, got);
}

static void count_expired(void *context, const struct ticket *ticket, uint64_t channel)
{
	struct ticket expected = ticket_of(4);

	assert_memory_equal(ticket, &expected, sizeof(expected));
	assert_int_equal(channel, 9);
	(*(unsigned *)context)++;
}

static void offer_expires_and_its_ticket_is_used(void **state)
{
	struct bench *bench = *state;
	unsigned expired = 0;

	assert_int_equal(offer(bench, 4, 1, 9, 0), TICKET_OFFER_KEPT);
	assert_int_equal(ticket_table_expire(bench->table, 0.99, count_expired, &expired), 0);
	/* Too late already, though nobody has cleared it away yet. */
	assert_int_equal(claim(bench, 4, 1.0), TICKET_CLAIM_USED);
	assert_int_equal(ticket_table_expire(bench->table, 1.0, count_expired, &expired), 1);
	assert_int_equal(expired, 1);
	assert_int_equal(ticket_table_offers(bench->table), 0);
	assert_int_equal(claim(bench, 4, 1.1), TICKET_CLAIM_USED);
	assert_int_equal(offer(bench, 4, 1, 9, 1.1), TICKET_OFFER_USED);
}

static void fetch_that_waited_in_vain_uses_the_ticket(void **state)
{
	struct bench *bench = *state;

	assert_int_equal(claim(bench, 5, 0), TICKET_CLAIM_WAITING); /* and withdraws */
	assert_int_equal(offer(bench, 5, 1, 9, 1.0), TICKET_OFFER_USED);
	assert_int_equal(claim(bench, 5, 1.0), TICKET_CLAIM_USED);
}

static void withdrawal_before_the_call_returns_the_offer(void **state)
{
	struct bench *bench = *state;
	struct ticket_offer *got, *called;
	struct ticket_waiter waiter = waiter_for(bench, 6, &called);

	assert_int_equal(ticket_table_claim(bench->table, &waiter, &got, 0), TICKET_CLAIM_WAITING);
	assert_int_equal(offer(bench, 6, 3, 9, 0), TICKET_OFFER_JOINED);
	got = ticket_table_withdraw(bench->table, &waiter, 0.1);
	assert_non_null(got);
	assert_int_equal(got->state.seq, 3);
	ticket_table_release(bench->table, got);
	(void)ev_run(bench->loop, EVRUN_NOWAIT);
	assert_null(called);
}

static void terms_of_a_continuation_are_the_tables_own(void **state)
{
	struct bench *bench = *state;
	struct ticket ticket = ticket_of(7);
	struct tx_state tx = {.seq = 1};
	struct ticket_offer *got, *called;
	struct ticket_waiter waiter = waiter_for(bench, 7, &called);
	char etag[] = "\"x\"", target[] = "/a?b";
	const struct ticket_terms terms = {
		.channel = 9,
		.continuation = {.etag = {etag, strlen(etag)}, .target = {target, strlen(target)}, .offset = 5}};

	assert_int_equal(ticket_table_offer(bench->table, &ticket, &tx, &terms, 0), TICKET_OFFER_KEPT);
	memset(etag, '?', strlen(etag));
	memset(target, '?', strlen(target));
	assert_int_equal(ticket_table_claim(bench->table, &waiter, &got, 0), TICKET_CLAIM_JOINED);
	assert_true(text_span_equals(got->terms.continuation.etag, "\"x\""));
	assert_true(text_span_equals(got->terms.continuation.target, "/a?b"));
	assert_int_equal(got->terms.continuation.offset, 5);
	ticket_table_release(bench->table, got);
}

static void closed_channel_drops_its_offers_only(void **state)
{
	struct bench *bench = *state;

	assert_int_equal(offer(bench, 10, 1, 1, 0), TICKET_OFFER_KEPT);
	assert_int_equal(offer(bench, 11, 1, 2, 0), TICKET_OFFER_KEPT);
	assert_int_equal(offer(bench, 12, 1, 1, 0), TICKET_OFFER_KEPT);
	assert_int_equal(ticket_table_drop_channel(bench->table, 1, 0), 2);
	assert_int_equal(claim(bench, 10, 0), TICKET_CLAIM_USED);
	assert_int_equal(claim(bench, 11, 0), TICKET_CLAIM_JOINED);
	assert_int_equal(claim(bench, 12, 0), TICKET_CLAIM_USED);
}

static void waiting_and_memory_of_use_are_bounded(void **state)
{
	struct bench *bench = *state;
	unsigned number = 100;

	for (unsigned i = 0; i < limits.max_waiting; i++)
		assert_int_equal(offer(bench, number++, 1, 1, 0), TICKET_OFFER_KEPT);
	assert_int_equal(offer(bench, number, 1, 1, 0), TICKET_OFFER_REFUSED);
	assert_int_equal(ticket_table_expire(bench->table, 1, NULL, NULL), limits.max_waiting);
	for (unsigned used = (unsigned)limits.max_waiting; used < limits.max_used; used++)
		assert_int_equal(claim(bench, number++, 1), TICKET_CLAIM_WAITING);
	/* Nothing is forgotten early: a full memory refuses the new instead. */
	assert_int_equal(offer(bench, number, 1, 1, 2), TICKET_OFFER_REFUSED);
	assert_int_equal(claim(bench, number, 2), TICKET_CLAIM_REFUSED);
	assert_int_equal(claim(bench, 100, 2), TICKET_CLAIM_USED);
	assert_int_equal(ticket_table_expire(bench->table, 11, NULL, NULL), 0);
	assert_int_equal(offer(bench, number, 1, 1, 11), TICKET_OFFER_KEPT);
}

/* --- across threads --- */

#define RACES 2000u

/* Offers every ticket, while the test's thread claims them. */
static void *offer_all(void *context)
{
	struct ticket_table *table = context;
	struct tx_state tx = {.tls_minor = 4, .suite = 0x1301, .aead = TX_AEAD_AES_GCM, .key_len = 16};
	struct ticket_terms terms = {.channel = 1};

	for (unsigned number = 0; number < RACES; number++) {
		struct ticket ticket = ticket_of(number);

		tx.seq = number;
		terms.lease_id = number;
		while (ticket_table_offer(table, &ticket, &tx, &terms, 0) == TICKET_OFFER_REFUSED)
			continue;
	}
	return NULL;
}

struct racer {
	struct ticket_waiter waiter;
	unsigned number;
	unsigned *met;
	struct ticket_table *table;
};

static void meet(struct racer *racer, struct ticket_offer *got)
{
	assert_int_equal(got->state.seq, racer->number);
	ticket_table_release(racer->table, got);
	(*racer->met)++;
}

static void on_raced(struct ticket_waiter *waiter, struct ticket_offer *got)
{
	meet(waiter->context, got);
}

static void every_ticket_meets_exactly_once_across_threads(void **state)
{
	static struct racer racers[RACES];
	const struct ticket_limits wide = {.wait_s = 1, .remember_s = 10, .max_waiting = RACES, .max_used = 2 * RACES};
	struct ev_loop *loop = ev_loop_new(EVFLAG_AUTO);
	struct ticket_table *table = ticket_table_new(&wide);
	struct ticket_mailbox mailbox;
	struct ticket_offer *got;
	unsigned met = 0;
	pthread_t thread;

	(void)state;
	assert_non_null(table);
	ticket_mailbox_open(&mailbox, table, loop);
	assert_int_equal(pthread_create(&thread, NULL, offer_all, table), 0);
	for (unsigned number = 0; number < RACES; number++) {
		struct racer *racer = &racers[number];

		*racer = (struct racer){.number = number, .met = &met, .table = table};
		racer->waiter = (struct ticket_waiter){
			.ticket = ticket_of(number), .mailbox = &mailbox, .call = on_raced, .context = racer};
		switch (ticket_table_claim(table, &racer->waiter, &got, 0)) {
		case TICKET_CLAIM_JOINED:
			meet(racer, got);
			break;
		case TICKET_CLAIM_WAITING:
			break;
		case TICKET_CLAIM_USED:
		case TICKET_CLAIM_REFUSED:
			fail_msg("ticket %u was not honoured", number);
		}
		(void)ev_run(loop, EVRUN_NOWAIT);
	}
	while (met < RACES)
		(void)ev_run(loop, EVRUN_ONCE);
	assert_int_equal(pthread_join(thread, NULL), 0);
	assert_int_equal(met, RACES);
	assert_int_equal(ticket_table_offers(table), 0);
	ticket_mailbox_close(&mailbox);
	ticket_table_free(table);
	ev_loop_destroy(loop);
}

int main(void)
{
#define BENCH_TEST(name) cmocka_unit_test_setup_teardown(name, open_bench, close_bench)
	const struct CMUnitTest tests[] = {
		BENCH_TEST(offer_first_is_joined_once),
		BENCH_TEST(fetch_first_is_called_once),
		BENCH_TEST(second_offer_of_a_ticket_is_dropped),
		BENCH_TEST(offer_expires_and_its_ticket_is_used),
		BENCH_TEST(fetch_that_waited_in_vain_uses_the_ticket),
		BENCH_TEST(withdrawal_before_the_call_returns_the_offer),
		BENCH_TEST(terms_of_a_continuation_are_the_tables_own),
		BENCH_TEST(closed_channel_drops_its_offers_only),
		BENCH_TEST(waiting_and_memory_of_use_are_bounded),
		cmocka_unit_test(every_ticket_meets_exactly_once_across_threads),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

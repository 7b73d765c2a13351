/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Guards: no sequence of events makes us and a node use a (key, nonce) twice, exceeds the budget of KeyUpdates, leaves
 * more tainted generations ahead than allowed, or shows the client another byte than was sent.
 *
 * Random walks over everything that may happen to a connection, from fixed seeds. The checks stand in leased_line.c;
 * after each walk the holder of every lease that was neither used nor returned seals three records. DISC_WALKS=n walks
 * more. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <haproxy/disc_wolfssl.h>

#include "leased_line.h"
#include "seal_log.h"

#define WALKS 60 /* for each suite */
#define STEPS 120
#define OWN_MAX 50000
#define BODY_MAX 60000

static uint32_t random_state;

/* A number below <limit>. */
static uint32_t below(uint32_t limit)
{
	random_state ^= random_state << 13;
	random_state ^= random_state >> 17;
	random_state ^= random_state << 5;
	return random_state % limit;
}

/* Small numbers are as likely as large ones. */
static size_t length_up_to(uint32_t limit)
{
	return 1 + below(1 + below(below(4) ? 200 : limit));
}

static uint32_t tainted_ahead(const struct disc_lease *lease)
{
	uint32_t first = lease->closed_first > lease->gen ? lease->closed_first : lease->gen + 1;

	return lease->closed_last < first ? 0 : lease->closed_last - first + 1;
}

/* How often each event really happened: walks in which nothing passes prove nothing. */
static struct {
	size_t taken, kept, refused, given_up, returned, abandoned, passed, written, updated, blocked,
		closed_in_records, notified;
	size_t of_connection, of_response;
} seen;

static struct {
	uint32_t seed;
	const struct line_suite *suite;
} last_walk;

/* Returns NULL or why there is no lease. */
static const char *take(struct leased_line *line)
{
	const char *why;

	if (line->tls_minor == 4)
		line->keys = below(3) ? DISC_KEYS_CONNECTION : DISC_KEYS_RESPONSE;
	why = line_take(line);
	if (!why) {
		seen.taken++;
		*(line->keys == DISC_KEYS_CONNECTION ? &seen.of_connection : &seen.of_response) += 1;
	}
	return why;
}

static void take_or_lose(struct leased_line *line)
{
	if (line->lease.state == DISC_LS_NONE) {
		if (below(4) == 0 && !line_take_for_nobody(line))
			seen.kept++;
		else if (take(line))
			seen.refused++;
	} else if (line->lease.state == DISC_LS_LEASED && below(3) == 0) {
		line_return(line);
		seen.returned++;
	} else {
		disc_lease_give_up(&line->lease, line->now);
		seen.given_up++;
	}
}

static void pass_a_body(struct leased_line *line)
{
	if (line->lease.state == DISC_LS_NONE && below(2))
		(void)take(line);
	if (line->lease.state == DISC_LS_LEASED && below(10) == 0) {
		/* Its headers never come: what is next decides. */
		seen.abandoned += (size_t)disc_lease_accept(&line->lease, 1 + below(BODY_MAX), line->now);
		return;
	}
	if (line->lease.state == DISC_LS_LEASED && line->given[line->given_count - 1].holder == HOLDER_HAS_IT &&
	    byte_queue_length(&line->own) == 0 &&
	    line_pass(line, length_up_to(DISC_RECORD_MAX - 1), length_up_to(BODY_MAX)))
		seen.passed++;
}

static void client_updates_keys(struct leased_line *line)
{
	if (line->tls_minor == 3)
		return;
	for (uint32_t i = below(3) ? 1 : below(5); i > 0; i--)
		assert_true(openssl_client_update_keys(line->client, below(3) != 0));
	seen.updated++;
}

static void client_sends_garbage(struct leased_line *line)
{
	uint8_t garbage[5 + 32] = {0x17, 0x03, 0x03, 0x00, 32};

	line_read(line);
	assert_true(byte_queue_reserve(&line->server.input, sizeof(garbage)));
	byte_queue_append(&line->server.input, garbage, sizeof(garbage));
	line_read(line);
}

static void step(struct leased_line *line)
{
	switch (below(13)) {
	case 0:
	case 1:
		if (line->lease.state < DISC_LS_PASSING)
			take_or_lose(line);
		break;
	case 2:
	case 3:
		pass_a_body(line);
		break;
	case 4:
	case 5:
		if (line->lease.state != DISC_LS_PASSING) {
			line_write(line, length_up_to(OWN_MAX));
			seen.written++;
		}
		break;
	case 6:
		client_updates_keys(line);
		break;
	case 7:
		assert_true(openssl_client_write(line->client, (const uint8_t *)"request", 7));
		break;
	case 8:
		line->server.room = below(2) ? SIZE_MAX : below(below(2) ? 200 : 40000);
		break;
	case 9:
		line->now += below(below(2) ? 100 : below(4) ? 2000 : 300000);
		break;
	case 10:
		line_flush(line);
		break;
	default:
		line_read(line);
	}
	/* Else the transport changed its mind before we noticed. */
	if (below(2))
		line_progress(line);
	if (line->server.room == 0)
		seen.blocked++;
	assert_true(tainted_ahead(&line->lease) <= DISC_TAINTED_MAX);
	assert_int_not_equal(line->lease.state, DISC_LS_POISONED);
	assert_false(line->dead);
}

static void finish(struct leased_line *line)
{
	bool notified;

	if (below(2)) {
		line_drain(line);
		line_read(line);
		line_drain(line);
	}
	if (below(3) == 0)
		client_sends_garbage(line);
	if (line->lease.state == DISC_LS_PASSING)
		seen.closed_in_records++;
	notified = line_shut(line);
	if (below(2)) {
		client_updates_keys(line);
		line_read_on(line);
	}
	line->server.room = SIZE_MAX;
	line_progress(line);
	if (!openssl_client_was_alerted(line->client))
		assert_int_equal(openssl_client_was_notified(line->client), notified);
	seen.notified += notified;
}

static void walk(const struct line_suite *suite, uint32_t seed)
{
	struct leased_line line;

	random_state = seed;
	line_open(&line, suite, below(4) != 0, below(2) ? 0 : UINT32_MAX - below(3000));
	for (int i = 0; i < STEPS; i++)
		step(&line);
	finish(&line);
	line_close(&line);
}

static void random_walks_break_nothing(void **unused)
{
	const char *given = getenv("DISC_WALKS");
	uint32_t walks = given ? (uint32_t)strtoul(given, NULL, 10) : WALKS;

	(void)unused;
	for (uint32_t seed = 1; seed <= walks; seed++) {
		for (size_t s = 0; s < leasable_suite_count; s++) {
			last_walk.seed = seed * 2654435761u;
			last_walk.suite = &leasable_suites[s];
			walk(last_walk.suite, last_walk.seed);
		}
	}
}

/* The one to repeat if there was a failure. */
static int tell_last_walk(void **unused)
{
	(void)unused;
	(void)fprintf(stderr, "last walk: seed %u, %s\n", last_walk.seed, last_walk.suite->name);
	return 0;
}

static void walks_met_every_event(void **unused)
{
	(void)unused;
	assert_true(seen.taken > 100 && seen.refused > 20 && seen.given_up > 50 && seen.returned > 20);
	assert_true(seen.of_connection > 100 && seen.of_response > 100 && seen.kept > 50 && seen.abandoned > 20);
	assert_true(seen.passed > 100 && seen.written > 100 && seen.updated > 100 && seen.blocked > 100);
	assert_true(seen.closed_in_records > 5 && seen.notified > 20);
	assert_true(seal_log_total() > 10000);
}

int main(int count, char **arguments)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(random_walks_break_nothing, tell_last_walk),
		cmocka_unit_test(walks_met_every_event),
	};

	(void)count;
	seal_log_start(arguments);
	return cmocka_run_group_tests(tests, NULL, NULL);
}

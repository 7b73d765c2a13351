/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Guards: slots that are given away by grants (HAProxy's disc_slots.c). No slot is given twice or sealed with two plaintexts, whatever
 * becomes of a grant and whatever nodes do with those they got; the client gets exactly the bytes that were sent; a void grant costs one
 * KeyUpdate and a pause, the second one ends grants on the connection.
 *
 * The first tests take one path each, then random walks from fixed seeds take all. At the end of each walk a node fills every slot of
 * every grant that was void with something else. DISC_WALKS=n walks more. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <haproxy/disc_slots.h>
#include <haproxy/disc_wolfssl.h>

#include "leased_line.h"
#include "record.h"
#include "seal_log.h"

#define GRANTS_MAX 400
#define WALKS 60
#define STEPS 150
#define PIVOT_LEN 137

struct given {
	struct tx_state state;
	uint64_t slot, records;
	uint32_t gen;
	bool used;
};

struct granting_line {
	struct leased_line line;
	struct disc_slots slots;
	struct tx_state state; /* what nodes have of the generation <gen> */
	uint32_t gen;
	bool exported;
	struct given given[GRANTS_MAX]; /* all grants, the last one first open */
	size_t count;
	struct byte_queue run; /* records that were committed, to go out before anything else */
	size_t waiting;        /* bytes of our own that wait for a grant to end */
};

static uint8_t pattern_byte;

static void open_it(struct granting_line *g, const struct line_suite *suite, uint32_t now)
{
	memset(g, 0, sizeof(*g));
	line_open(&g->line, suite, true, now);
	disc_slots_init(&g->slots, &g->line.lease);
}

/* Seals the records of <given>, all full, with <fill>; appends them to <out> unless it is NULL. */
static void seal(const struct given *given, uint8_t fill, struct byte_queue *out)
{
	static uint8_t plain[RECORD_PLAIN_MAX], sealed[RECORD_SEALED_MAX];
	struct tx_state state = given->state;
	struct record_sealer *sealer;
	size_t len;

	if (given->records == 0)
		return;
	state.use = TX_USE_RANGE;
	state.seq = given->slot;
	memset(plain, fill, sizeof(plain));
	assert_int_equal(record_sealer_new(&sealer, &state, given->records * RECORD_PLAIN_MAX, 0), RECORD_OK);
	for (uint64_t i = 0; i < given->records; i++) {
		assert_int_equal(record_seal_next(sealer, plain, sizeof(plain), sealed, &len), RECORD_OK);
		if (out) {
			assert_true(byte_queue_reserve(out, len));
			byte_queue_append(out, sealed, len);
		}
	}
	record_sealer_free(sealer);
}

static void close_it(struct granting_line *g)
{
	for (size_t i = 0; i < g->count; i++) {
		if (!g->given[i].used)
			seal(&g->given[i], 0xee, NULL);
	}
	byte_queue_clear(&g->run);
	line_close(&g->line);
}

static const char *export(struct granting_line *g)
{
	uint8_t wire[DISC_TX_WIRE_LEN], key[DISC_PROOF_BYTES];
	const char *why = disc_slots_export(&g->slots, wire, key, g->line.now);

	if (why)
		return why;
	assert_int_equal(tx_state_decode(&g->state, wire, sizeof(wire)), TX_STATE_OK);
	assert_int_equal(g->state.use, TX_USE_GRANTS);
	assert_memory_equal(g->state.proof_key, key, sizeof(key));
	g->gen = g->slots.gen;
	g->exported = true;
	return NULL;
}

static bool grant(struct granting_line *g, uint64_t records)
{
	struct given *given = &g->given[g->count];

	if (g->count == GRANTS_MAX || byte_queue_length(&g->line.own) > 0 ||
	    !disc_slots_open(&g->slots, g->gen, records, g->line.now))
		return false;
	*given = (struct given){.state = g->state, .slot = g->slots.pivot + 1, .records = records, .gen = g->gen};
	for (size_t i = 0; i < g->count; i++) {
		if (g->given[i].gen == given->gen)
			assert_true(g->given[i].slot + g->given[i].records <= given->slot);
	}
	g->count++;
	return true;
}

/* As disc_h2_commit(): the pivot goes to the transport whatever room it has, the records wait behind it. */
static bool commit(struct granting_line *g)
{
	struct given *given = &g->given[g->count - 1];
	struct wolfssl_server *server = &g->line.server;
	uint8_t pivot[PIVOT_LEN];
	const size_t room = server->room;
	size_t written;

	if (!disc_slots_untouched(&g->slots, g->line.now)) {
		disc_slots_void(&g->slots, g->line.now);
		return false;
	}
	memset(pivot, ++pattern_byte, sizeof(pivot));
	server->room = SIZE_MAX;
	assert_int_equal(wolfssl_server_write(server, pivot, sizeof(pivot), &written), SERVER_DONE);
	server->room = room;
	assert_int_equal(disc_slots_commit(&g->slots, g->line.now), 1);
	assert_int_equal(disc_wolf_seq(server->ssl), given->slot + given->records);
	given->used = true;
	seal(given, pattern_byte, &g->run);
	assert_true(byte_queue_reserve(&g->line.expected, sizeof(pivot) + given->records * RECORD_PLAIN_MAX));
	byte_queue_append(&g->line.expected, pivot, sizeof(pivot));
	for (uint64_t i = 0; i < given->records; i++) {
		static uint8_t plain[RECORD_PLAIN_MAX];

		memset(plain, pattern_byte, sizeof(plain));
		byte_queue_append(&g->line.expected, plain, sizeof(plain));
	}
	return true;
}

/* Sends records; own data only when none are left and no grant is open. */
static void progress(struct granting_line *g)
{
	struct wolfssl_server *server = &g->line.server;

	byte_queue_consume(&g->run,
			   wolfssl_server_send_raw(server, byte_queue_head(&g->run), byte_queue_length(&g->run)));
	if (byte_queue_length(&g->run) > 0 || g->slots.open)
		return;
	if (g->waiting > 0)
		line_write(&g->line, g->waiting);
	g->waiting = 0;
	line_progress(&g->line);
}

static void drain(struct granting_line *g)
{
	g->line.server.room = SIZE_MAX;
	progress(g);
	assert_int_equal(byte_queue_length(&g->run), 0);
	line_drain(&g->line);
}

/* Reading may make the session write: behind records that go out, that has to wait. */
static void read_on(struct granting_line *g)
{
	const size_t room = g->line.server.room;

	if (byte_queue_length(&g->run) > 0)
		g->line.server.room = 0;
	line_read(&g->line);
	g->line.server.room = room;
}

static void grants_and_own_data_take_turns(void **unused)
{
	(void)unused;
	for (size_t s = 5; s < leasable_suite_count; s++) {
		struct granting_line g;

		open_it(&g, &leasable_suites[s], 0);
		assert_null(export(&g));
		for (uint64_t i = 0; i < 100; i++) {
			if (i % 3 == 0)
				assert_null(export(&g));
			if (i % 2 == 0)
				line_expect_written(&g.line, 1000);
			assert_true(grant(&g, i % 5));
			assert_false(grant(&g, 1));
			assert_true(commit(&g));
			drain(&g);
		}
		assert_int_equal(g.line.update_count, 0);
		assert_int_equal(g.slots.voids, 0);
		close_it(&g);
	}
}

static void void_grant_costs_one_key_update_and_a_pause(void **unused)
{
	struct granting_line g;

	(void)unused;
	open_it(&g, LINE_TLS13, UINT32_MAX - 500);
	assert_null(export(&g));
	assert_true(grant(&g, 4));
	disc_slots_void(&g.slots, g.line.now);
	assert_int_equal(disc_slots_usable(&g.slots, g.gen, g.line.now), 0);
	assert_false(grant(&g, 1));
	assert_string_equal(export(&g), "backoff");
	line_expect_written(&g.line, 5000);
	assert_int_equal(g.line.update_count, 1);
	assert_false(grant(&g, 1)); /* nodes have keys that are not in use any more */
	g.line.now += DISC_BACKOFF;
	assert_null(export(&g));
	assert_true(grant(&g, 4));
	assert_true(commit(&g));
	drain(&g);
	assert_true(grant(&g, 1));
	disc_slots_void(&g.slots, g.line.now);
	g.line.now += 60000;
	assert_string_equal(export(&g), "voids");
	line_expect_written(&g.line, 5000);
	close_it(&g);
}

/* What our own host seals alone is nobody else's: nothing is lost. */
static void void_grant_without_slots_costs_nothing(void **unused)
{
	struct granting_line g;

	(void)unused;
	open_it(&g, LINE_TLS13, 0);
	assert_null(export(&g));
	assert_true(grant(&g, 0));
	disc_slots_void(&g.slots, g.line.now);
	assert_int_equal(g.slots.voids, 0);
	assert_true(grant(&g, 2));
	assert_true(commit(&g));
	drain(&g);
	assert_int_equal(g.line.update_count, 0);
	close_it(&g);
}

static void key_update_of_the_client_ends_the_grant(void **unused)
{
	struct granting_line g;

	(void)unused;
	open_it(&g, LINE_TLS13, 0);
	assert_null(export(&g));
	assert_true(grant(&g, 4));
	assert_true(openssl_client_update_keys(g.line.client, true));
	line_read(&g.line);
	assert_false(commit(&g));
	assert_int_equal(g.line.lease.state, DISC_LS_NONE);
	line_expect_written(&g.line, 3000);
	assert_int_equal(g.line.update_count, 0); /* the session's answer has left the generation */
	close_it(&g);
}

/* A stream that comes in between gets the keys of the next generation, whose slots are not those of the open grant. */
static void keys_given_away_in_between_do_not_mend_a_grant(void **unused)
{
	struct granting_line g;

	(void)unused;
	for (int commits = 0; commits < 2; commits++) {
		open_it(&g, LINE_TLS13, 0);
		assert_null(export(&g));
		assert_true(grant(&g, 4));
		assert_true(openssl_client_update_keys(g.line.client, true));
		line_read(&g.line);
		assert_null(export(&g));
		wolfssl_server_set_sequence(&g.line.server, g.slots.pivot);
		if (commits)
			assert_int_equal(disc_slots_untouched(&g.slots, g.line.now), 0);
		disc_slots_void(&g.slots, g.line.now);
		assert_int_equal(g.line.lease.state, DISC_LS_NONE);
		g.line.dead = true; /* the client knows nothing of the sequence number */
		close_it(&g);
	}
}

/* The session's alert takes the pivot, and the next slot is the node's. */
static void alert_while_a_grant_is_open_poisons(void **unused)
{
	static const uint8_t garbage[] = {0x17, 0x03, 0x03, 0x00, 0x14, 1,  2,  3,  4,  5,  6,  7, 8,
					  9,    10,   11,   12,   13,   14, 15, 16, 17, 18, 19, 20};
	struct granting_line g;

	(void)unused;
	open_it(&g, LINE_TLS13, 0);
	assert_null(export(&g));
	assert_true(grant(&g, 4));
	assert_true(byte_queue_reserve(&g.line.server.input, sizeof(garbage)));
	byte_queue_append(&g.line.server.input, garbage, sizeof(garbage));
	line_read(&g.line);
	assert_false(commit(&g));
	assert_int_equal(g.line.lease.state, DISC_LS_POISONED);
	assert_string_equal(export(&g), "busy");
	close_it(&g);
}

static void only_tls13_has_grants(void **unused)
{
	struct granting_line g;

	(void)unused;
	open_it(&g, LINE_TLS12, 0);
	assert_string_equal(export(&g), "suite");
	line_expect_written(&g.line, 100);
	close_it(&g);
}

/* A grant must not reach the limit of records under a key; the next export leaves the generation. */
static void keys_that_are_used_up_are_left(void **unused)
{
	struct granting_line g;

	(void)unused;
	open_it(&g, LINE_TLS13, 0);
	assert_null(export(&g));
	wolfssl_server_set_sequence(&g.line.server, DISC_RECORDS_MAX - 1024);
	assert_false(grant(&g, 1));
	assert_null(export(&g));
	assert_int_equal(g.line.update_count, 1);
	g.line.dead = true; /* the client knows nothing of the sequence number */
	close_it(&g);
}

/*
 * Walks
 */

static uint32_t random_state;

static uint32_t below(uint32_t limit)
{
	random_state ^= random_state << 13;
	random_state ^= random_state >> 17;
	random_state ^= random_state << 5;
	return random_state % limit;
}

static struct {
	size_t exported, refused, granted, committed, lost, voided, written, updated, held;
} seen;

static void step(struct granting_line *g)
{
	switch (below(12)) {
	case 0:
		if (export(g))
			seen.refused++;
		else
			seen.exported++;
		break;
	case 1:
	case 2:
	case 3:
		if (g->exported && grant(g, below(8)))
			seen.granted++;
		break;
	case 4:
	case 5:
	case 6:
		if (!g->slots.open || byte_queue_length(&g->run) > 0)
			break;
		if (commit(g))
			seen.committed++;
		else
			seen.lost++;
		break;
	case 7:
		if (g->slots.open && below(6) == 0) {
			disc_slots_void(&g->slots, g->line.now);
			seen.voided++;
		}
		break;
	case 8:
		g->waiting += 1 + below(40000);
		seen.written++;
		break;
	case 9:
		if (below(4) == 0) {
			assert_true(openssl_client_update_keys(g->line.client, below(3) != 0));
			seen.updated++;
		}
		break;
	case 10:
		g->line.server.room = below(2) ? SIZE_MAX : below(below(2) ? 200 : 60000);
		break;
	default:
		g->line.now += below(below(2) ? 100 : 3000);
		read_on(g);
	}
	if (byte_queue_length(&g->run) > 0)
		seen.held++;
	if (below(2))
		progress(g);
	assert_int_not_equal(g->line.lease.state, DISC_LS_POISONED);
	assert_false(g->line.dead);
}

static void random_walks_break_nothing(void **unused)
{
	const char *given = getenv("DISC_WALKS");
	uint32_t walks = given ? (uint32_t)strtoul(given, NULL, 10) : WALKS;

	(void)unused;
	for (uint32_t seed = 1; seed <= walks; seed++) {
		struct granting_line g;

		random_state = seed * 2654435761u;
		open_it(&g, &leasable_suites[5 + seed % 3], below(2) ? 0 : UINT32_MAX - below(3000));
		for (int i = 0; i < STEPS; i++)
			step(&g);
		if (g.slots.open && below(2))
			(void)(byte_queue_length(&g.run) == 0 && commit(&g));
		disc_slots_void(&g.slots, g.line.now);
		drain(&g);
		close_it(&g);
	}
}

/* Walks in which nothing happens prove nothing. */
static void walks_met_every_event(void **unused)
{
	(void)unused;
	assert_true(seen.exported > 100 && seen.refused > 50 && seen.granted > 300 && seen.committed > 200);
	assert_true(seen.lost > 5 && seen.voided > 20 && seen.written > 200 && seen.updated > 50 && seen.held > 100);
}

int main(int count, char **arguments)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(grants_and_own_data_take_turns),
		cmocka_unit_test(void_grant_costs_one_key_update_and_a_pause),
		cmocka_unit_test(void_grant_without_slots_costs_nothing),
		cmocka_unit_test(key_update_of_the_client_ends_the_grant),
		cmocka_unit_test(keys_given_away_in_between_do_not_mend_a_grant),
		cmocka_unit_test(alert_while_a_grant_is_open_poisons),
		cmocka_unit_test(only_tls13_has_grants),
		cmocka_unit_test(keys_that_are_used_up_are_left),
		cmocka_unit_test(random_walks_break_nothing),
		cmocka_unit_test(walks_met_every_event),
	};

	(void)count;
	seal_log_start(arguments);
	return cmocka_run_group_tests(tests, NULL, NULL);
}

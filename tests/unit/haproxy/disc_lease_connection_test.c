/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Guards: leases in the generation in use (HAProxy's disc_lease.c). They cost no KeyUpdate while their fate is known; each slot has
 * one owner whatever becomes of them; their proofs are theirs alone. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <haproxy/disc_wolfssl.h>

#include "leased_line.h"
#include "seal_log.h"

static bool is_of_response(const struct line_suite *suite)
{
	return suite->tls_minor == 4 && suite->keys == DISC_KEYS_RESPONSE;
}

static uint64_t write_sequence(struct leased_line *line)
{
	return disc_wolf_seq(line->server.ssl);
}

static void leases_of_the_connection_cost_no_key_update(void **unused)
{
	(void)unused;
	for (size_t s = 5; s < leasable_suite_count; s++) {
		struct leased_line line;
		uint64_t before;

		line_open(&line, &leasable_suites[s], true, 0);
		before = write_sequence(&line);
		for (uint64_t i = 0; i < 1000; i++) {
			line_expect_passed(&line, 200, 20000);
			if (i % 3 == 0)
				line_expect_written(&line, 100);
		}
		assert_int_equal(line.update_count, 0);
		assert_int_equal(write_sequence(&line), before + 1000 * 3 + 334);
		line_close(&line);
	}
}

/* What nobody got is ours: it costs nothing, and the next lease has the same slots. */
static void lease_that_nobody_got_is_taken_back(void **unused)
{
	(void)unused;
	for (int own_data = 0; own_data < 2; own_data++) {
		struct leased_line line;

		line_open(&line, LINE_TLS13, true, 0);
		for (size_t i = 0; i < 10; i++) {
			assert_null(line_take_for_nobody(&line));
			if (own_data)
				line_expect_written(&line, 100);
			else
				disc_lease_give_up(&line.lease, line.now);
			assert_int_equal(line.lease.fate, DISC_LF_RETURNED);
			assert_int_equal(line.given[i].state.seq, line.given[0].state.seq + (own_data ? i : 0));
		}
		assert_int_equal(line.update_count, 0);
		line_expect_passed(&line, 100, 20000);
		line_close(&line);
	}
}

static void lease_is_given_away_once(void **unused)
{
	(void)unused;
	for (size_t s = 0; s < leasable_suite_count; s++) {
		struct leased_line line;

		line_open(&line, &leasable_suites[s], true, 0);
		assert_null(disc_lease_export(&line.lease));
		assert_null(line_take(&line));
		assert_null(disc_lease_export(&line.lease));
		disc_lease_give_up(&line.lease, line.now);
		assert_null(disc_lease_export(&line.lease));
		line_close(&line);
	}
}

/* The generation of a lease with an unknown fate is left with the next own data; leases pause, longer each time. */
static void unknown_fate_costs_one_key_update_and_a_pause(void **unused)
{
	struct leased_line line;
	uint32_t pause = DISC_BACKOFF;

	(void)unused;
	line_open(&line, LINE_TLS13, true, UINT32_MAX - 5000);
	for (size_t i = 1; i <= 14; i++) {
		assert_null(line_take(&line));
		disc_lease_give_up(&line.lease, line.now);
		assert_int_equal(line.lease.fate, DISC_LF_UNKNOWN);
		assert_string_equal(line_take(&line), "backoff");
		assert_int_equal(line.update_count, i - 1);
		line_expect_written(&line, 40000);
		assert_int_equal(line.update_count, i);
		line.now += pause - 1;
		assert_string_equal(line_take(&line), "backoff");
		line.now++;
		line_expect_passed(&line, 100, 20000);
		assert_int_equal(line.update_count, i);
		if (i <= DISC_BACKOFF_MAX)
			pause *= 2;
	}
	line_close(&line);
}

/* Without own data the next lease leaves it. */
static void closed_generation_is_left_before_the_next_lease(void **unused)
{
	struct leased_line line;

	(void)unused;
	line_open(&line, LINE_TLS13, true, 0);
	line_expect_written(&line, 100);
	assert_null(line_take(&line));
	disc_lease_give_up(&line.lease, line.now);
	line.now += DISC_BACKOFF;
	assert_null(line_take(&line));
	assert_int_equal(line.update_count, 1);
	assert_int_equal(line.given[1].state.seq, 1);
	assert_memory_not_equal(line.given[1].state.key, line.given[0].state.key, 16);
	assert_true(line_pass(&line, 100, 20000));
	line_drain(&line);
	line_close(&line);
}

/* wolfSSL's own answer has left the generation: that slot was ours, and no further KeyUpdate is needed. */
static void key_update_of_the_client_costs_the_lease(void **unused)
{
	struct leased_line line;

	(void)unused;
	line_open(&line, LINE_TLS13, true, 0);
	assert_null(line_take(&line));
	assert_true(openssl_client_update_keys(line.client, true));
	line_read(&line);
	assert_int_equal(disc_lease_usable(&line.lease, line.now), 0);
	assert_int_equal(disc_lease_accept(&line.lease, 1000, line.now), 0);
	disc_lease_return(&line.lease, line.now);
	assert_int_equal(line.lease.fate, DISC_LF_UNKNOWN);
	line_expect_written(&line, 100);
	assert_int_equal(line.update_count, 0);
	line.now += DISC_BACKOFF;
	line_expect_passed(&line, 100, 20000);
	line_close(&line);
}

static void counter_is_behind_the_records_before_the_first_one_leaves(void **unused)
{
	(void)unused;
	for (size_t s = 0; s < leasable_suite_count; s++) {
		struct leased_line line;

		line_open(&line, &leasable_suites[s], true, 0);
		assert_null(line_take(&line));
		line.server.room = 27 + 5 + 8 + 100 + 17;
		assert_true(line_pass(&line, 100, 100000));
		line_progress(&line);
		assert_int_equal(line.lease.clear_left, 0);
		assert_true(line.lease.cipher_left > 100000);
		assert_int_equal(write_sequence(&line), line.lease.seq + 7);
		line_drain(&line);
		line_close(&line);
	}
}

static void accepted_response_that_is_never_sent_leaves_an_unknown_fate(void **unused)
{
	(void)unused;
	for (size_t s = 0; s < leasable_suite_count; s++) {
		struct leased_line line;

		line_open(&line, &leasable_suites[s], true, 0);
		assert_null(line_take(&line));
		assert_int_equal(disc_lease_accept(&line.lease, 1000, line.now), 1);
		assert_string_equal(disc_lease_state_str(line.lease.state), "accepted");
		assert_int_equal(disc_lease_accept(&line.lease, 1000, line.now), 0);
		if (!is_of_response(&leasable_suites[s])) {
			line_expect_written(&line, 100);
			assert_int_equal(line.lease.state, DISC_LS_NONE);
		} else {
			disc_lease_give_up(&line.lease, line.now);
		}
		assert_string_equal(disc_lease_fate_str(line.lease.fate), "unknown");
		line_close(&line);
	}
}

/* wolfSSL's alert takes the pivot: the next slot would be the holder's. */
static void alert_while_leased_poisons(void **unused)
{
	static const uint8_t garbage[] = {0x17, 0x03, 0x03, 0x00, 0x14, 1,  2,  3,  4,  5,  6,  7, 8,
					  9,    10,   11,   12,   13,   14, 15, 16, 17, 18, 19, 20};

	(void)unused;
	for (int end = 0; end < 3; end++) {
		struct leased_line line;
		size_t count = 10;

		line_open(&line, LINE_TLS13, true, 0);
		assert_null(line_take(&line));
		assert_true(byte_queue_reserve(&line.server.input, sizeof(garbage)));
		byte_queue_append(&line.server.input, garbage, sizeof(garbage));
		line_read(&line);
		assert_true(line.dead);
		if (end == 0)
			disc_lease_give_up(&line.lease, line.now);
		else if (end == 1)
			disc_lease_return(&line.lease, line.now);
		assert_int_equal(disc_lease_before_write(&line.lease, &count, line.now), DISC_WR_KILL);
		assert_int_equal(line.lease.state, DISC_LS_POISONED);
		assert_int_equal(disc_lease_may_notify(&line.lease, line.now), 0);
		line_close(&line);
	}
}

/* The alert may not take the pivot, nor the answer to the client's KeyUpdate behind it the holder's first slot. */
static void close_notify_leaves_a_closed_generation_first(void **unused)
{
	(void)unused;
	for (int written = 0; written < 2; written++) {
		struct leased_line line;

		line_open(&line, LINE_TLS13, true, 0);
		if (written)
			line_expect_written(&line, 100);
		assert_null(line_take(&line));
		disc_lease_give_up(&line.lease, line.now);
		assert_true(line_shut(&line));
		assert_int_equal(line.update_count, 1);
		assert_true(openssl_client_update_keys(line.client, true));
		line_read_on(&line);
		line_progress(&line);
		assert_true(openssl_client_was_notified(line.client));
		line_close(&line);
	}
}

static void generation_in_use_for_long_is_left_for_a_lease(void **unused)
{
	struct leased_line line;

	(void)unused;
	line_open(&line, LINE_TLS13, true, 0);
	wolfssl_server_set_sequence(&line.server, DISC_OWN_SEQ_MAX);
	assert_null(line_take(&line));
	assert_int_equal(line.update_count, 1);
	assert_int_equal(line.given[0].state.seq, 1);
	byte_queue_consume(&line.server.output, byte_queue_length(&line.server.output));
	line_close(&line);

	/* No more records under one key than RFC 8446 5.5 allows, by HAProxy and nodes together. */
	line_open(&line, LINE_TLS13, true, 0);
	wolfssl_server_set_sequence(&line.server, DISC_OWN_SEQ_MAX - 1);
	assert_null(line_take(&line));
	assert_int_equal(line.update_count, 0);
	assert_int_equal(disc_lease_accept(&line.lease, (DISC_RECORDS_MAX - DISC_OWN_SEQ_MAX + 1) * DISC_RECORD_MAX, 0),
			 0);
	assert_int_equal(disc_lease_accept(&line.lease, (DISC_RECORDS_MAX - DISC_OWN_SEQ_MAX) * DISC_RECORD_MAX, 0), 1);
	line_close(&line);
}

/* A KeyUpdate is kept in reserve for an unknown fate. */
static void no_lease_without_a_key_update_to_spare(void **unused)
{
	struct leased_line line;

	(void)unused;
	line_open(&line, LINE_TLS13, true, 0);
	for (int i = 0; i < DISC_KU_MAX; i++) {
		assert_null(line_take(&line));
		line_return(&line);
		assert_true(openssl_client_update_keys(line.client, true));
		line_read(&line);
	}
	assert_string_equal(line_take(&line), "budget");
	line.now += DISC_KU_WINDOW;
	line_expect_passed(&line, 100, 1000);
	line_close(&line);
}

static void both_kinds_of_leases_take_turns(void **unused)
{
	struct leased_line line;

	(void)unused;
	line_open(&line, LINE_TLS13, true, 0);
	for (int i = 0; i < 30; i++) {
		line.keys = i % 2 ? DISC_KEYS_RESPONSE : DISC_KEYS_CONNECTION;
		if (i % 5 == 0) {
			assert_null(line_take(&line));
			disc_lease_give_up(&line.lease, line.now);
			line.now += 1 << 20;
		}
		line_expect_passed(&line, 100, 20000);
		if (i % 3 == 0)
			line_expect_written(&line, 100);
		line.now += DISC_KU_WINDOW;
	}
	assert_true(line_shut(&line));
	line_progress(&line);
	assert_true(openssl_client_was_notified(line.client));
	line_close(&line);
}

/* --- proofs --- */

static void proofs_are_those_of_the_lease(void **unused)
{
	char proof[DISC_PROOF_LEN + 1], other[DISC_PROOF_LEN + 1];
	struct leased_line line;

	(void)unused;
	line_open(&line, LINE_TLS13, true, 0);
	assert_null(line_take(&line));
	/* The holder of the TX state has the same key. */
	assert_memory_equal(line.lease.wire + DISC_TX_WIRE_LEN - DISC_PROOF_BYTES, line.lease.proof_key,
			    DISC_PROOF_BYTES);
	assert_int_equal(disc_lease_prove(&line.lease, "a text", 6, proof), 1);
	assert_int_equal(disc_lease_is_proven(&line.lease, "a text", 6, proof), 1);
	assert_int_equal(disc_lease_is_proven(&line.lease, "a text", 5, proof), 0);
	assert_int_equal(disc_lease_is_proven(&line.lease, "A text", 6, proof), 0);
	for (int i = 0; i < DISC_PROOF_LEN; i++) {
		memcpy(other, proof, sizeof(other));
		other[i] ^= 1;
		assert_int_equal(disc_lease_is_proven(&line.lease, "a text", 6, other), 0);
	}
	line_return(&line);
	for (int i = 0; i < DISC_PROOF_BYTES; i++)
		assert_int_equal(line.lease.proof_key[i], 0);
	assert_null(line_take(&line));
	assert_int_equal(disc_lease_is_proven(&line.lease, "a text", 6, proof), 0);
	line_close(&line);
}

/* HMAC-SHA256 as everybody computes it. */
static void proof_has_the_known_value(void **unused)
{
	static const uint8_t key[DISC_PROOF_BYTES] = "0123456789abcdef";
	static const uint8_t known[DISC_PROOF_BYTES] = {0x71, 0x4d, 0x53, 0x77, 0xbf, 0xe0, 0xd0, 0x00,
							0x32, 0x5e, 0x73, 0x30, 0xc7, 0x7c, 0x63, 0x79};
	uint8_t proof[DISC_PROOF_BYTES];

	(void)unused;
	assert_int_equal(disc_wolf_proof(key, "disc-body-2\nnone", 16, proof), 1);
	assert_memory_equal(proof, known, sizeof(known));
}

static void seals_were_recorded(void **unused)
{
	(void)unused;
	assert_true(seal_log_total() > 1000);
}

int main(int count, char **arguments)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(leases_of_the_connection_cost_no_key_update),
		cmocka_unit_test(lease_that_nobody_got_is_taken_back),
		cmocka_unit_test(lease_is_given_away_once),
		cmocka_unit_test(unknown_fate_costs_one_key_update_and_a_pause),
		cmocka_unit_test(closed_generation_is_left_before_the_next_lease),
		cmocka_unit_test(key_update_of_the_client_costs_the_lease),
		cmocka_unit_test(counter_is_behind_the_records_before_the_first_one_leaves),
		cmocka_unit_test(accepted_response_that_is_never_sent_leaves_an_unknown_fate),
		cmocka_unit_test(alert_while_leased_poisons),
		cmocka_unit_test(close_notify_leaves_a_closed_generation_first),
		cmocka_unit_test(generation_in_use_for_long_is_left_for_a_lease),
		cmocka_unit_test(no_lease_without_a_key_update_to_spare),
		cmocka_unit_test(both_kinds_of_leases_take_turns),
		cmocka_unit_test(proofs_are_those_of_the_lease),
		cmocka_unit_test(proof_has_the_known_value),
		cmocka_unit_test(seals_were_recorded),
	};

	(void)count;
	seal_log_start(arguments);
	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Guards: the state machine of HAProxy's disc_lease.c. A lease shares no (key, nonce) with us whatever becomes of it,
 * and counters stop before their ends meet. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <haproxy/disc_wolfssl.h>

#include "leased_line.h"
#include "seal_log.h"

/* Sequence number at which wolfSSL 5.7.2 updates AES-GCM keys by itself. It means the 23726566 records of RFC 8446 5.5,
 * but has the halves of that number in two words of 32 bits. */
#define RFC_LIMIT 23726566ull
#define AEAD_LIMIT (0x16aull << 32 | 0x9e6)

/* Whether a lease is a generation of its own. */
static bool is_of_response(const struct line_suite *suite)
{
	return suite->tls_minor == 4 && suite->keys == DISC_KEYS_RESPONSE;
}

static uint64_t write_sequence(struct leased_line *line)
{
	struct disc_tx tx;

	assert_int_equal(disc_wolf_tx_get(line->server.ssl, &tx), 1);
	return tx.seq;
}

static void taking_a_lease_sends_nothing(void **unused)
{
	(void)unused;
	for (size_t s = 0; s < leasable_suite_count; s++) {
		struct leased_line line;
		struct disc_tx tx;

		line_open(&line, &leasable_suites[s], true, 0);
		line_expect_written(&line, 100);
		assert_int_equal(disc_wolf_tx_get(line.server.ssl, &tx), 1);
		assert_null(line_take(&line));
		assert_int_equal(byte_queue_length(&line.server.output), 0);
		if (is_of_response(&leasable_suites[s])) {
			assert_int_equal(line.given[0].state.seq, 1);
			assert_memory_not_equal(line.given[0].state.key, tx.key, tx.key_len);
		} else if (leasable_suites[s].tls_minor == 4) {
			assert_int_equal(line.given[0].state.seq, tx.seq + 1);
			assert_memory_equal(line.given[0].state.key, tx.key, tx.key_len);
			assert_memory_equal(line.given[0].state.iv, tx.iv, sizeof(tx.iv));
		} else {
			assert_int_equal(line.given[0].state.seq, tx.seq + 1);
			assert_memory_equal(line.given[0].state.iv, tx.iv, 4);
			assert_memory_not_equal(line.given[0].state.iv + 4, tx.iv + 4, 3);
			assert_memory_equal(line.given[0].state.iv + 7, "\0\0\0\0\0", 5);
		}
		assert_int_equal(line.lease.seq, line.given[0].state.seq);
		/* The exported form is gone as soon as it was used. */
		disc_lease_wipe_wire(&line.lease);
		for (size_t i = 0; i < DISC_TX_WIRE_LEN; i++)
			assert_int_equal(line.lease.wire[i], 0);
		line_close(&line);
	}
}

static void bodies_of_all_sizes_pass_among_our_own_responses(void **unused)
{
	static const size_t lengths[] = {1, 16383, 16384, 16385, 100000};

	(void)unused;
	for (size_t s = 0; s < leasable_suite_count * 2; s++) {
		struct leased_line line;

		line_open(&line, &leasable_suites[s / 2], s % 2 == 0, UINT32_MAX - 1000);
		for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
			line_expect_passed(&line, 200 + i, lengths[i]);
			if (i % 2)
				line_expect_written(&line, 40000);
			line.now += DISC_KU_WINDOW;
		}
		assert_true(line_shut(&line));
		line_progress(&line);
		assert_true(openssl_client_was_notified(line.client));
		line_close(&line);
	}
}

/* One body after the other without anything of ours between them. */
static void kept_alive_leases_follow_each_other(void **unused)
{
	(void)unused;
	for (size_t s = 0; s < leasable_suite_count; s++) {
		struct leased_line line;

		line_open(&line, &leasable_suites[s], true, 0);
		for (int i = 0; i < 20; i++) {
			line_expect_passed(&line, 16384, 20000);
			line.now += DISC_KU_WINDOW / 2;
		}
		line_expect_written(&line, 1);
		line_close(&line);
	}
}

static void lease_given_up_costs_nothing_and_two_are_the_limit(void **unused)
{
	struct leased_line line;

	(void)unused;
	line_open(&line, LINE_TLS13_RESPONSE, true, 0);
	for (int i = 0; i < DISC_TAINTED_MAX; i++) {
		assert_null(line_take(&line));
		line_expect_written(&line, 100);
		disc_lease_give_up(&line.lease, line.now);
		assert_int_equal(line.lease.state, DISC_LS_NONE);
		assert_int_equal(line.update_count, 0);
	}
	assert_string_equal(line_take(&line), "tainted");
	/* The next data of ours leave them all behind. */
	line_expect_written(&line, 100);
	assert_int_equal(line.update_count, DISC_TAINTED_MAX + 1);
	line.now += DISC_KU_WINDOW;
	line_expect_passed(&line, 100, 20000);
	line_expect_written(&line, 100);
	line_close(&line);
}

static void lease_behind_tainted_generations_is_reached(void **unused)
{
	struct leased_line line;

	(void)unused;
	line_open(&line, LINE_TLS13_RESPONSE, true, 0);
	assert_null(line_take(&line));
	disc_lease_give_up(&line.lease, line.now);
	line_expect_written(&line, 100);
	line_expect_passed(&line, 100, 20000);
	assert_int_equal(line.update_count, 2);
	line_expect_written(&line, 100);
	line_close(&line);
}

static void lease_returned_serves_again(void **unused)
{
	(void)unused;
	for (size_t s = 0; s < leasable_suite_count; s++) {
		struct leased_line line;

		line_open(&line, &leasable_suites[s], true, 0);
		for (int i = 0; i < 10; i++) {
			assert_null(line_take(&line));
			line_return(&line);
			assert_int_equal(line.lease.state, DISC_LS_NONE);
			assert_memory_equal(line.given[i].state.key, line.given[0].state.key, 32);
			/* Regions are plenty, so none depends on a promise. */
			if (leasable_suites[s].tls_minor == 4)
				assert_memory_equal(line.given[i].state.iv, line.given[0].state.iv, 12);
			else if (i > 0)
				assert_memory_not_equal(line.given[i].state.iv, line.given[i - 1].state.iv, 7);
			assert_string_equal(disc_lease_state_str(line.lease.state), "none");
		}
		assert_int_equal(line.update_count, 0);
		line_expect_passed(&line, 100, 20000);
		assert_null(line_take(&line));
		line_return(&line);
		line_expect_written(&line, 100);
		line_close(&line);
	}
}

/* A lease that was given up stays so: a late promise about it frees nothing. */
static void lease_given_up_cannot_be_returned(void **unused)
{
	(void)unused;
	for (size_t s = 0; s < leasable_suite_count; s++) {
		struct leased_line line;

		line_open(&line, &leasable_suites[s], true, 0);
		assert_null(line_take(&line));
		disc_lease_give_up(&line.lease, line.now);
		disc_lease_return(&line.lease, line.now);
		line.now += DISC_BACKOFF;
		assert_null(line_take(&line));
		assert_true(line_pass(&line, 100, 20000));
		line_drain(&line);
		line_close(&line);
	}
}

static void own_data_while_leased_cost_the_lease_unless_it_is_a_generation(void **unused)
{
	(void)unused;
	for (size_t s = 0; s < leasable_suite_count; s++) {
		bool survives = is_of_response(&leasable_suites[s]);
		struct leased_line line;

		line_open(&line, &leasable_suites[s], true, 0);
		assert_null(line_take(&line));
		assert_int_equal(disc_lease_survives_write(&line.lease), survives);
		line_expect_written(&line, 40000);
		assert_int_equal(disc_lease_usable(&line.lease, line.now), survives);
		assert_int_equal(line_pass(&line, 100, 20000), survives);
		line_drain(&line);
		/* Behind a body our own data need another generation, so this lease cannot survive. */
		line.now += DISC_KU_WINDOW;
		if (survives) {
			assert_null(line_take(&line));
			assert_int_equal(disc_lease_survives_write(&line.lease), 0);
			line_expect_written(&line, 100);
			assert_int_equal(disc_lease_usable(&line.lease, line.now), 0);
		}
		line_close(&line);
	}
}

static void more_than_four_key_updates_are_never_needed(void **unused)
{
	struct leased_line line;
	int passed = 0;

	(void)unused;
	line_open(&line, LINE_TLS13_RESPONSE, true, UINT32_MAX - 700);
	for (int i = 0; i < 300; i++) {
		const char *why = line_take(&line);

		if (why) {
			assert_string_equal(why, "budget");
		} else {
			assert_true(line_pass(&line, 100, 1000));
			line_drain(&line);
			passed++;
		}
		line_expect_written(&line, 100);
		line.now += 10;
	}
	assert_in_range(passed, 3, 6);
	line_close(&line);
}

/* --- what must not be --- */

static void misuse_poisons(void **unused)
{
	(void)unused;
	for (int misuse = 0; misuse < 9; misuse++) {
		struct leased_line line;
		struct disc_lease *lease = &line.lease;
		size_t count = 10;

		line_open(&line, LINE_TLS13_RESPONSE, true, 0);
		if (misuse > 0)
			assert_null(line_take(&line));
		if (misuse > 1)
			assert_int_equal(disc_lease_accept(lease, 1000, 0), 1);
		if (misuse > 4)
			assert_int_equal(disc_lease_begin(lease, 100), 1);
		switch (misuse) {
		case 0: /* no lease */
		case 1: /* nothing accepted */
			assert_int_equal(disc_lease_begin(lease, 100), 0);
			break;
		case 2: /* no headers */
			assert_int_equal(disc_lease_begin(lease, 0), 0);
			break;
		case 3: /* headers of two records */
			assert_int_equal(disc_lease_begin(lease, DISC_RECORD_MAX + 1), 0);
			break;
		case 4: /* not passing */
			assert_int_equal(disc_lease_forwarded(lease, 1), -1);
			break;
		case 5: /* headers first */
			assert_int_equal(disc_lease_forwarded(lease, 1), -1);
			break;
		case 6: /* headers were not sealed */
			assert_int_equal(disc_lease_enter(lease, 0), 1);
			assert_int_equal(disc_lease_headers_sent(lease), 0);
			break;
		case 7: /* data of ours */
			assert_int_equal(disc_lease_before_write(lease, &count, 0), DISC_WR_KILL);
			break;
		case 8: /* more than was announced */
			assert_int_equal(disc_lease_enter(lease, 0), 1);
			assert_int_equal(wolfssl_server_write(&line.server, (const uint8_t *)"0123456789", 10, &count),
					 SERVER_DONE);
			assert_int_equal(disc_lease_headers_sent(lease), 1);
			assert_int_equal(disc_lease_forwarded(lease, 1000 + 23), -1);
			break;
		}
		assert_int_equal(lease->state, DISC_LS_POISONED);
		assert_string_equal(disc_lease_take(lease, DISC_KEYS_RESPONSE, 7, 0), "busy");
		assert_int_equal(disc_lease_before_write(lease, &count, 0), DISC_WR_KILL);
		assert_int_equal(disc_lease_may_notify(lease, 0), 0);
		assert_int_equal(disc_lease_enter(lease, 0), 0);
		disc_lease_give_up(lease, 0);
		disc_lease_return(lease, 0);
		assert_int_equal(lease->state, DISC_LS_POISONED);
		line_close(&line);
	}
}

static void headers_of_two_records_poison(void **unused)
{
	(void)unused;
	for (size_t s = 0; s < leasable_suite_count; s++) {
		struct leased_line line;
		size_t written;

		line_open(&line, &leasable_suites[s], true, 0);
		assert_null(line_take(&line));
		assert_int_equal(disc_lease_accept(&line.lease, 1000, 0), 1);
		assert_int_equal(disc_lease_begin(&line.lease, 10), 1);
		for (int i = 0; i < 2; i++) {
			assert_int_equal(disc_lease_enter(&line.lease, 0), i == 0);
			if (i == 0)
				assert_int_equal(
					wolfssl_server_write(&line.server, (const uint8_t *)"01234", 5, &written),
					SERVER_DONE);
		}
		assert_int_equal(line.lease.state, DISC_LS_POISONED);
		line_close(&line);
	}
}

static void layout_never_wraps(void **unused)
{
	const uint64_t longest = DISC_RECORDS_MAX * DISC_RECORD_MAX;
	struct disc_lease lease = {.overhead = 22, .seq = 1};
	uint64_t records, ciphertext;

	(void)unused;
	assert_int_equal(disc_lease_layout(&lease, 0, &records, &ciphertext), 0);
	assert_int_equal(disc_lease_layout(&lease, longest + 1, &records, &ciphertext), 0);
	assert_int_equal(disc_lease_layout(&lease, UINT64_MAX, &records, &ciphertext), 0);
	assert_int_equal(disc_lease_layout(&lease, longest, &records, &ciphertext), 1);
	assert_true(records == DISC_RECORDS_MAX && ciphertext == longest + 22 * DISC_RECORDS_MAX);
	assert_int_equal(disc_lease_layout(&lease, 16385, &records, &ciphertext), 1);
	assert_true(records == 2 && ciphertext == 16385 + 44);
	lease.seq = UINT64_MAX - 1;
	assert_int_equal(disc_lease_layout(&lease, 16384, &records, &ciphertext), 1);
	assert_int_equal(disc_lease_layout(&lease, 16385, &records, &ciphertext), 0);
}

/* --- the ends of counters --- */

static uint32_t region_of(const struct leased_line *line, size_t lease)
{
	const uint8_t *iv = line->given[lease].state.iv;

	return (uint32_t)(iv[4] << 16 | iv[5] << 8 | iv[6]);
}

/* Regions go around the end of their 24 bits; salt and our own region are never touched. */
static void regions_go_around_the_end(void **unused)
{
	(void)unused;
	for (uint32_t base = 0xfffff9; base <= 0xfffffe; base++) {
		struct leased_line line;
		uint8_t salt[12], now[12];

		line_open(&line, LINE_TLS12, true, 0);
		wolfssl_server_set_nonce(&line.server, (uint64_t)base << 40 | 12345);
		wolfssl_server_get_nonce(&line.server, salt);
		for (uint32_t i = 0; i < 10; i++) {
			line_expect_passed(&line, 100, 40000);
			assert_int_equal(region_of(&line, i), (base + 2 + i) & 0xffffff);
			assert_memory_equal(line.given[i].state.iv, salt, 4);
			line_expect_written(&line, 100);
		}
		wolfssl_server_get_nonce(&line.server, now);
		assert_memory_equal(now, salt, 7);
		line_close(&line);
	}
}

/* Our counter may carry into the region behind its first, but not further, and never into the salt. */
static void no_lease_where_our_counter_could_carry(void **unused)
{
	struct leased_line line;

	(void)unused;
	line_open(&line, LINE_TLS12, true, 0);
	wolfssl_server_set_nonce(&line.server, 0xffffff0000000000);
	assert_string_equal(line_take(&line), "nonce");
	line_expect_written(&line, 100);
	line_close(&line);

	line_open(&line, LINE_TLS12, true, 0);
	wolfssl_server_set_nonce(&line.server, 5ull << 40 | 0xffffffffff);
	line_expect_passed(&line, 100, 1000);
	line_expect_written(&line, 100);
	line_expect_passed(&line, 100, 1000);
	assert_int_equal(region_of(&line, 0), 7);
	assert_int_equal(region_of(&line, 1), 8);
	wolfssl_server_set_nonce(&line.server, 7ull << 40);
	assert_string_equal(line_take(&line), "nonce");
	line_close(&line);
}

static void regions_end_before_they_meet(void **unused)
{
	struct leased_line line;

	(void)unused;
	line_open(&line, LINE_TLS12, true, 0);
	line_expect_passed(&line, 100, 1000);
	line.lease.regions = (1 << 22) - 1;
	line_expect_passed(&line, 100, 1000);
	assert_string_equal(line_take(&line), "nonce");
	line_expect_written(&line, 100);
	line_close(&line);
}

/* A generation used for long is left by ourselves if closed ones are ahead: wolfSSL would seal under those. */
static void long_used_generation_is_left_by_ourselves(void **unused)
{
	static const uint64_t sequences[] = {DISC_OWN_SEQ_MAX - 1, DISC_OWN_SEQ_MAX, RFC_LIMIT, AEAD_LIMIT - 1,
					     AEAD_LIMIT};

	(void)unused;
	for (size_t s = 0; s < 3; s++) {
		for (size_t i = 0; i < sizeof(sequences) / sizeof(sequences[0]); i++) {
			struct leased_line line;

			line_open(&line, &leasable_suites[s], false, 0);
			assert_null(line_take(&line));
			disc_lease_give_up(&line.lease, line.now);
			wolfssl_server_set_sequence(&line.server, sequences[i]);
			/* The client cannot follow such a jump, so it does not get to see this. */
			for (int write = 0; write < 3; write++) {
				size_t count = 100;

				assert_int_equal(disc_lease_before_write(&line.lease, &count, 0), DISC_WR_GO);
				assert_int_equal(
					wolfssl_server_write(&line.server, (const uint8_t[100]){1}, 100, &count),
					SERVER_DONE);
				disc_lease_after_write(&line.lease, 0);
			}
			assert_int_equal(line.update_count, 2);
			assert_true(write_sequence(&line) < 4);
			byte_queue_consume(&line.server.output, byte_queue_length(&line.server.output));
			line_close(&line);
		}
	}
}

/* Without closed generations ahead wolfSSL updates keys when it wants to; leases go on from there. */
static void update_by_wolfssl_itself_is_noticed(void **unused)
{
	(void)unused;
	for (size_t s = 0; s < 2; s++) {
		struct leased_line line;
		struct disc_tx tx;
		size_t count = 100;

		line_open(&line, &leasable_suites[s], true, 0);
		wolfssl_server_set_sequence(&line.server, AEAD_LIMIT);
		assert_int_equal(disc_lease_before_write(&line.lease, &count, 0), DISC_WR_GO);
		assert_int_equal(wolfssl_server_write(&line.server, (const uint8_t[100]){1}, 100, &count), SERVER_DONE);
		disc_lease_after_write(&line.lease, 0);
		assert_int_equal(write_sequence(&line), 1);
		assert_null(line_take(&line));
		assert_int_equal(line.lease.gen, 1);
		assert_int_equal(line.lease.lease_gen, 2);
		assert_int_equal(disc_wolf_tx_get(line.server.ssl, &tx), 1);
		assert_memory_not_equal(line.given[0].state.key, tx.key, tx.key_len);
		byte_queue_consume(&line.server.output, byte_queue_length(&line.server.output));
		line_close(&line);
	}
}

/* Foreign keys in the session: nothing may be assumed any more. */
static void unknown_keys_poison(void **unused)
{
	struct leased_line line;

	(void)unused;
	line_open(&line, LINE_TLS13_RESPONSE, true, 0);
	assert_null(line_take(&line));
	memset(line.lease.secret, 0xee, sizeof(line.lease.secret));
	assert_int_equal(disc_lease_usable(&line.lease, 0), 0);
	assert_int_equal(line.lease.state, DISC_LS_POISONED);
	line_close(&line);
}

static void seals_were_recorded(void **unused)
{
	(void)unused;
	assert_true(seal_log_total() > 1000);
}

int main(int count, char **arguments)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(taking_a_lease_sends_nothing),
		cmocka_unit_test(bodies_of_all_sizes_pass_among_our_own_responses),
		cmocka_unit_test(kept_alive_leases_follow_each_other),
		cmocka_unit_test(lease_given_up_costs_nothing_and_two_are_the_limit),
		cmocka_unit_test(lease_behind_tainted_generations_is_reached),
		cmocka_unit_test(lease_returned_serves_again),
		cmocka_unit_test(lease_given_up_cannot_be_returned),
		cmocka_unit_test(own_data_while_leased_cost_the_lease_unless_it_is_a_generation),
		cmocka_unit_test(more_than_four_key_updates_are_never_needed),
		cmocka_unit_test(misuse_poisons),
		cmocka_unit_test(headers_of_two_records_poison),
		cmocka_unit_test(layout_never_wraps),
		cmocka_unit_test(regions_go_around_the_end),
		cmocka_unit_test(no_lease_where_our_counter_could_carry),
		cmocka_unit_test(regions_end_before_they_meet),
		cmocka_unit_test(long_used_generation_is_left_by_ourselves),
		cmocka_unit_test(update_by_wolfssl_itself_is_noticed),
		cmocka_unit_test(unknown_keys_poison),
		cmocka_unit_test(seals_were_recorded),
	};

	(void)count;
	seal_log_start(arguments);
	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Guards: with leases about, the client gets exactly the bytes that were sent, wherever the transport blocks, whenever
 * it updates its keys, and however the connection ends (HAProxy's disc_lease.c). */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <haproxy/disc_wolfssl.h>

#include "leased_line.h"
#include "seal_log.h"

/* --- blocked transports --- */

/* Lets the transport take <first> bytes, then <step> at a time. */
static void trickle(struct leased_line *line, size_t first, size_t step)
{
	line->server.room = first;
	line_progress(line);
	for (int i = 0; i < 2000 && !line->dead && byte_queue_length(&line->expected) > 0; i++) {
		line->server.room += step;
		line_progress(line);
	}
	line_drain(line);
}

/* Own data, a body, own data, blocked after each number of bytes. */
static void transport_may_block_at_every_byte_of_a_response(void **unused)
{
	const size_t headers = 60, longest = 27 + 60 + 29 + 40;

	(void)unused;
	for (size_t s = 0; s < leasable_suite_count; s++) {
		struct leased_line line;

		line_open(&line, &leasable_suites[s], true, 0);
		for (size_t first = 0; first < longest; first++) {
			assert_null(line_take(&line));
			assert_true(line_pass(&line, headers, 30));
			trickle(&line, first, first % 3 == 0 ? 1 : 50);
			line_write(&line, 50);
			trickle(&line, first, first % 3 == 1 ? 1 : 50);
			line.now += DISC_KU_WINDOW;
		}
		line_close(&line);
	}
}

static void transport_may_block_while_tainted_generations_are_left(void **unused)
{
	struct leased_line line;

	(void)unused;
	line_open(&line, LINE_TLS13_RESPONSE, true, 0);
	for (size_t first = 0; first < 3 * 27 + 22 + 50; first++) {
		for (int i = 0; i < DISC_TAINTED_MAX; i++) {
			assert_null(line_take(&line));
			disc_lease_give_up(&line.lease, line.now);
		}
		line_write(&line, 50);
		trickle(&line, first, 1 + first % 40);
		line.now += DISC_KU_WINDOW;
	}
	line_close(&line);
}

/* wolfSSL would take bytes for sent twice, or send them twice. */
static void client_may_update_keys_while_a_write_is_blocked(void **unused)
{
	(void)unused;
	for (int partial = 0; partial < 2; partial++) {
		for (size_t first = 0; first < 200; first++) {
			struct leased_line line;

			line_open(&line, LINE_TLS13_RESPONSE, partial, 0);
			line_expect_passed(&line, 100, 1000);
			line.now += DISC_KU_WINDOW;
			line.server.room = first;
			line_write(&line, first % 2 ? 100 : 40000);
			line_progress(&line);
			for (int i = 0; i < 3; i++) {
				assert_true(openssl_client_update_keys(line.client, i != 1));
				line.server.room += i == 1 ? 60 : 0;
				line_read(&line);
				line_progress(&line);
			}
			line_write(&line, 8000);
			line_drain(&line);
			line_read(&line);
			line.now += DISC_KU_WINDOW;
			line_expect_passed(&line, 100, 1000);
			line_expect_written(&line, 8000);
			line_close(&line);
		}
	}
}

/* The answer to the client's KeyUpdate flushes what was blocked: it must not be sent a second time. */
static void blocked_write_may_be_flushed_by_a_key_update(void **unused)
{
	(void)unused;
	for (size_t first = 0; first < 150; first++) {
		struct leased_line line;

		line_open(&line, LINE_TLS13_RESPONSE, first % 2, 0);
		if (first % 3 == 0)
			line_expect_passed(&line, 100, 1000);
		line.server.room = first;
		line_write(&line, 1000);
		line_progress(&line);
		line_write(&line, 500);
		line.server.room = first % 5 ? SIZE_MAX : 2000;
		assert_true(openssl_client_update_keys(line.client, true));
		line_read(&line);
		line_drain(&line);
		line_close(&line);
	}
}

/* HAProxy's ssl_sock_handshake() flushes wolfSSL's output buffer while the answer to a KeyUpdate waits there. If this
 * happens to the headers, they must not be sealed again: the next sequence number is the node's. */
static void blocked_headers_may_be_flushed_by_a_handshake(void **unused)
{
	(void)unused;
	for (size_t s = 0; s < leasable_suite_count * 2; s++) {
		bool answer_waits = s % 2 && leasable_suites[s / 2].tls_minor == 4;
		struct leased_line line;

		line_open(&line, &leasable_suites[s / 2], true, 0);
		assert_null(line_take(&line));
		if (answer_waits) {
			line.server.room = 10;
			assert_true(openssl_client_update_keys(line.client, true));
			line_read(&line);
			assert_true(disc_wolf_unflushed(line.server.ssl) > 0);
		}
		line.server.room = 60;
		if (line_pass(&line, 100, 1000)) {
			line_progress(&line);
			assert_true(line.lease.clear_left > 0);
			line.server.room = SIZE_MAX;
			line_flush(&line);
			line_progress(&line);
			assert_true(line.dead || byte_queue_length(&line.expected) == 0);
		} else {
			assert_true(answer_waits);
		}
		line_close(&line);
	}
}

static void no_lease_while_a_write_is_blocked(void **unused)
{
	(void)unused;
	for (size_t s = 0; s < leasable_suite_count; s++) {
		struct leased_line line;

		line_open(&line, &leasable_suites[s], true, 0);
		line_write(&line, 100);
		line.server.room = 10;
		assert_null(line_take(&line));
		line_progress(&line);
		assert_int_equal(disc_lease_usable(&line.lease, line.now), 0);
		assert_int_equal(disc_lease_accept(&line.lease, 1000, line.now), 0);
		disc_lease_give_up(&line.lease, line.now);
		assert_string_equal(line_take(&line), "pending");
		line_drain(&line);
		line.now += DISC_BACKOFF;
		assert_null(line_take(&line));
		line_close(&line);
	}
}

/* --- the client's KeyUpdates --- */

static void lease_survives_one_answered_key_update(void **unused)
{
	(void)unused;
	for (int updates = 0; updates < 4; updates++) {
		for (int ask = 0; ask < 2; ask++) {
			bool usable = !ask || updates < 2;
			struct leased_line line;

			line_open(&line, LINE_TLS13_RESPONSE, true, 0);
			assert_null(line_take(&line));
			for (int i = 0; i < updates; i++) {
				assert_true(openssl_client_update_keys(line.client, ask));
				line_read(&line);
			}
			assert_int_equal(disc_lease_usable(&line.lease, line.now), usable);
			assert_int_equal(line_pass(&line, 100, 1000), usable);
			line_drain(&line);
			line_expect_written(&line, 100);
			line_close(&line);
		}
	}
}

static void hundreds_of_key_updates_at_once_do_not_confuse(void **unused)
{
	struct leased_line line;

	(void)unused;
	line_open(&line, LINE_TLS13_RESPONSE, true, 0);
	assert_null(line_take(&line));
	for (int i = 0; i < 200; i++)
		assert_true(openssl_client_update_keys(line.client, true));
	line_read(&line);
	line_expect_written(&line, 100);
	line.now += DISC_KU_WINDOW;
	line_expect_passed(&line, 100, 1000);
	line_close(&line);
}

/* --- closing --- */

static void close_notify_is_sealed_unless_records_or_a_write_are_cut(void **unused)
{
	(void)unused;
	for (size_t s = 0; s < leasable_suite_count; s++) {
		struct leased_line line;

		/* Leased, given up, behind a body. */
		for (int when = 0; when < 3; when++) {
			line_open(&line, &leasable_suites[s], true, 0);
			if (when == 2)
				line_expect_passed(&line, 100, 1000);
			else
				assert_null(line_take(&line));
			if (when == 1)
				disc_lease_give_up(&line.lease, line.now);
			assert_true(line_shut(&line));
			line_progress(&line);
			assert_true(openssl_client_was_notified(line.client));
			line_close(&line);
		}
		/* In the headers, in the records, in a write of ours. */
		for (int when = 0; when < 3; when++) {
			line_open(&line, &leasable_suites[s], true, 0);
			assert_null(line_take(&line));
			line.server.room = when == 1 ? 500 : 40;
			if (when < 2)
				assert_true(line_pass(&line, 100, 1000));
			else
				line_write(&line, 100);
			line_progress(&line);
			line.server.room = SIZE_MAX;
			assert_false(line_shut(&line));
			line_progress(&line);
			assert_false(openssl_client_was_notified(line.client));
			line_close(&line);
		}
	}
}

static void close_notify_behind_a_body_leaves_tainted_generations(void **unused)
{
	struct leased_line line;

	(void)unused;
	line_open(&line, LINE_TLS13_RESPONSE, true, 0);
	line_expect_passed(&line, 100, 1000);
	assert_null(line_take(&line));
	disc_lease_give_up(&line.lease, line.now);
	assert_true(line_shut(&line));
	line_progress(&line);
	assert_true(openssl_client_was_notified(line.client));
	line_close(&line);
}

/* wolfSSL answers garbage with an alert by itself, which takes the one record that we have in a closed generation. */
static void nothing_follows_a_fatal_alert_in_a_closed_generation(void **unused)
{
	static const uint8_t garbage[] = {0x17, 0x03, 0x03, 0x00, 0x14, 1,  2,  3,  4,  5,  6,  7, 8,
					  9,    10,   11,   12,   13,   14, 15, 16, 17, 18, 19, 20};

	(void)unused;
	for (int given_up = 0; given_up < 2; given_up++) {
		struct leased_line line;

		line_open(&line, LINE_TLS13_RESPONSE, true, 0);
		assert_null(line_take(&line));
		assert_true(openssl_client_update_keys(line.client, true));
		line_read(&line);
		assert_false(line.dead);
		if (given_up)
			disc_lease_give_up(&line.lease, line.now);
		assert_true(byte_queue_reserve(&line.server.input, sizeof(garbage)));
		byte_queue_append(&line.server.input, garbage, sizeof(garbage));
		line_read(&line);
		assert_true(line.dead);
		(void)line_shut(&line);
		line_close(&line);
	}
}

static void seals_were_recorded(void **unused)
{
	(void)unused;
	assert_true(seal_log_total() > 1000);
}

int main(int count, char **arguments)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(transport_may_block_at_every_byte_of_a_response),
		cmocka_unit_test(transport_may_block_while_tainted_generations_are_left),
		cmocka_unit_test(client_may_update_keys_while_a_write_is_blocked),
		cmocka_unit_test(blocked_write_may_be_flushed_by_a_key_update),
		cmocka_unit_test(blocked_headers_may_be_flushed_by_a_handshake),
		cmocka_unit_test(no_lease_while_a_write_is_blocked),
		cmocka_unit_test(lease_survives_one_answered_key_update),
		cmocka_unit_test(hundreds_of_key_updates_at_once_do_not_confuse),
		cmocka_unit_test(close_notify_is_sealed_unless_records_or_a_write_are_cut),
		cmocka_unit_test(close_notify_behind_a_body_leaves_tainted_generations),
		cmocka_unit_test(nothing_follows_a_fatal_alert_in_a_closed_generation),
		cmocka_unit_test(seals_were_recorded),
	};

	(void)count;
	seal_log_start(arguments);
	return cmocka_run_group_tests(tests, NULL, NULL);
}

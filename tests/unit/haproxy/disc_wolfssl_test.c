/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Guards: what HAProxy's disc_wolfssl.c reads from wolfSSL's internals is what the record layer does: a record sealed
 * from it by lib/wire/record.c is accepted by OpenSSL in the middle of the stream, and what must not be leased is
 * refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <haproxy/disc_wolfssl.h>

#include "openssl_client.h"
#include "record.h"
#include "wolfssl_server.h"

#define HANDSHAKE_STEPS 20

struct session {
	struct server_certificate certificate;
	struct wolfssl_server server;
	struct openssl_client *client;
};

static void carry(struct session *session)
{
	struct byte_queue *output = &session->server.output;
	uint8_t bytes[4096];
	size_t len;

	assert_true(openssl_client_feed(session->client, byte_queue_head(output), byte_queue_length(output)));
	byte_queue_consume(output, byte_queue_length(output));
	while ((len = openssl_client_output(session->client, bytes, sizeof(bytes))) > 0) {
		assert_true(byte_queue_reserve(&session->server.input, len));
		byte_queue_append(&session->server.input, bytes, len);
	}
}

static bool handshake(struct session *session)
{
	bool server_done = false, client_done = false;

	for (int step = 0; step < HANDSHAKE_STEPS && !(server_done && client_done); step++) {
		int client = openssl_client_handshake(session->client);

		assert_true(client >= 0);
		client_done = client == 1;
		carry(session);
		if (!server_done)
			server_done = wolfssl_server_handshake(&session->server) == SERVER_DONE;
		carry(session);
	}
	return server_done && client_done;
}

static void prepare(struct session *session, const char *suite, int tls_minor, uint8_t fragment)
{
	memset(session, 0, sizeof(*session));
	assert_true(server_certificate_make(&session->certificate));
	assert_true(wolfssl_server_init(&session->server, &session->certificate, true));
	session->client = openssl_client_new(suite, tls_minor, fragment);
	assert_non_null(session->client);
}

static void start(struct session *session, const char *suite, int tls_minor, uint8_t fragment)
{
	prepare(session, suite, tls_minor, fragment);
	assert_true(handshake(session));
}

static void end(struct session *session)
{
	openssl_client_free(session->client);
	wolfssl_server_free(&session->server);
}

static void expect_received(struct session *session, const uint8_t *plain, size_t len)
{
	static uint8_t received[20000];

	carry(session);
	assert_int_equal(openssl_client_read(session->client, received, sizeof(received)), len);
	assert_memory_equal(received, plain, len);
}

static void server_sends(struct session *session, const char *text)
{
	size_t written;

	assert_int_equal(wolfssl_server_write(&session->server, (const uint8_t *)text, strlen(text), &written),
			 SERVER_DONE);
	expect_received(session, (const uint8_t *)text, strlen(text));
}

/* Seals <len> bytes from <tx> past wolfSSL and puts them into its stream. */
static void node_sends(struct session *session, const struct disc_tx *tx, const uint8_t *plain, size_t len)
{
	static uint8_t sealed[RECORD_SEALED_MAX];
	struct tx_state state = {
		.tls_minor = tx->tls_minor,
		.suite = tx->suite,
		.aead = (enum tx_aead)tx->aead,
		.key_len = tx->key_len,
		.seq = tx->seq,
	};
	struct record_sealer *sealer;
	size_t sealed_len;

	memcpy(state.key, tx->key, sizeof(state.key));
	memcpy(state.iv, tx->iv, sizeof(state.iv));
	assert_int_equal(record_sealer_new(&sealer, &state, len, 0), RECORD_OK);
	for (size_t at = 0; at < len; at += RECORD_PLAIN_MAX) {
		size_t piece = len - at < RECORD_PLAIN_MAX ? len - at : RECORD_PLAIN_MAX;

		assert_int_equal(record_seal_next(sealer, plain + at, piece, sealed, &sealed_len), RECORD_OK);
		assert_int_equal(wolfssl_server_send_raw(&session->server, sealed, sealed_len), sealed_len);
	}
	record_sealer_free(sealer);
}

static const struct {
	const char *name;
	int tls_minor;
	uint16_t number;
	enum disc_aead aead;
	uint8_t key_len;
} leasable[] = {
	{"TLS_AES_128_GCM_SHA256", 4, 0x1301, DISC_AEAD_AES_GCM, 16},
	{"TLS_AES_256_GCM_SHA384", 4, 0x1302, DISC_AEAD_AES_GCM, 32},
	{"TLS_CHACHA20_POLY1305_SHA256", 4, 0x1303, DISC_AEAD_CHACHA20, 32},
	{"ECDHE-ECDSA-AES128-GCM-SHA256", 3, 0xc02b, DISC_AEAD_AES_GCM, 16},
	{"ECDHE-ECDSA-AES256-GCM-SHA384", 3, 0xc02c, DISC_AEAD_AES_GCM, 32},
};
#define LEASABLE (sizeof(leasable) / sizeof(leasable[0]))

/* wolfSSL, two records from elsewhere, wolfSSL again, twice. */
static void record_sealed_from_the_reading_is_accepted(void **unused)
{
	static uint8_t plain[DISC_RECORD_MAX + 100];

	(void)unused;
	memset(plain, 0x5a, sizeof(plain));
	for (size_t i = 0; i < LEASABLE; i++) {
		struct session session;
		struct disc_tx tx;

		start(&session, leasable[i].name, leasable[i].tls_minor, 0);
		for (int round = 0; round < 2; round++) {
			uint64_t seq;

			server_sends(&session, "before");
			assert_int_equal(disc_wolf_tx_get(session.server.ssl, &tx), 1);
			assert_int_equal(tx.tls_minor, leasable[i].tls_minor);
			assert_int_equal(tx.suite, leasable[i].number);
			assert_int_equal(tx.aead, leasable[i].aead);
			assert_int_equal(tx.key_len, leasable[i].key_len);
			seq = tx.seq;
			if (tx.tls_minor == 3)
				tx.iv[4] ^= 0x80; /* a region of its own */
			node_sends(&session, &tx, plain, sizeof(plain));
			expect_received(&session, plain, sizeof(plain));
			assert_int_equal(disc_wolf_advance(session.server.ssl, 2), 1);
			server_sends(&session, "after");
			assert_int_equal(disc_wolf_tx_get(session.server.ssl, &tx), 1);
			assert_int_equal(tx.seq, seq + 3);
		}
		end(&session);
	}
}

/* The explicit nonce that is read is the one of wolfSSL's next record. */
static void explicit_nonce_is_that_of_the_next_record(void **unused)
{
	(void)unused;
	for (size_t i = 0; i < LEASABLE; i++) {
		struct session session;
		struct disc_tx tx;
		size_t written;

		if (leasable[i].tls_minor != 3)
			continue;
		start(&session, leasable[i].name, 3, 0);
		assert_int_equal(disc_wolf_tx_get(session.server.ssl, &tx), 1);
		assert_int_equal(wolfssl_server_write(&session.server, (const uint8_t *)"x", 1, &written), SERVER_DONE);
		assert_memory_equal(byte_queue_head(&session.server.output) + 5, tx.iv + 4, 8);
		end(&session);
	}
}

static void next_generation_is_what_a_key_update_enters(void **unused)
{
	(void)unused;
	for (size_t i = 0; i < LEASABLE; i++) {
		uint8_t secret[DISC_SECRET_MAX], entered[DISC_SECRET_MAX];
		struct disc_tx derived, current;
		struct session session;

		start(&session, leasable[i].name, leasable[i].tls_minor, 0);
		if (leasable[i].tls_minor == 3) {
			assert_true(disc_wolf_secret(session.server.ssl, secret) > 0);
			assert_int_equal(disc_wolf_next_secret(session.server.ssl, secret), 0);
			assert_int_equal(disc_wolf_key_update(session.server.ssl), 0);
			end(&session);
			continue;
		}
		for (int generation = 0; generation < 3; generation++) {
			disc_wolf_secret(session.server.ssl, secret);
			assert_int_equal(disc_wolf_tx_from_secret(session.server.ssl, secret, &derived), 1);
			assert_int_equal(disc_wolf_tx_get(session.server.ssl, &current), 1);
			assert_memory_equal(derived.key, current.key, sizeof(current.key));
			assert_memory_equal(derived.iv, current.iv, sizeof(current.iv));

			assert_int_equal(disc_wolf_next_secret(session.server.ssl, secret), 1);
			assert_int_equal(disc_wolf_tx_from_secret(session.server.ssl, secret, &derived), 1);
			assert_int_equal(derived.seq, 0);
			assert_memory_not_equal(derived.key, current.key, current.key_len);
			assert_int_equal(disc_wolf_key_update(session.server.ssl), 1);
			disc_wolf_secret(session.server.ssl, entered);
			assert_memory_equal(entered, secret, sizeof(secret));
			assert_int_equal(disc_wolf_tx_get(session.server.ssl, &current), 1);
			assert_memory_equal(&derived, &current, sizeof(current));
			server_sends(&session, "under the new keys");
		}
		/* It asked for no answer. */
		assert_int_equal(byte_queue_length(&session.server.input), 0);
		end(&session);
	}
}

static void expect_refused(const char *suite, int tls_minor, uint8_t fragment)
{
	struct session session;
	struct disc_tx tx, zero = {0};

	start(&session, suite, tls_minor, fragment);
	memset(&tx, 0xff, sizeof(tx));
	assert_int_equal(disc_wolf_tx_get(session.server.ssl, &tx), 0);
	assert_memory_equal(&tx, &zero, sizeof(tx));
	end(&session);
}

static void other_suites_are_refused(void **unused)
{
	(void)unused;
	expect_refused("ECDHE-ECDSA-CHACHA20-POLY1305", 3, 0);
	expect_refused("ECDHE-ECDSA-AES128-SHA256", 3, 0);
	expect_refused("ECDHE-ECDSA-AES256-SHA", 3, 0);
}

static void short_records_are_refused(void **unused)
{
	(void)unused;
	for (uint8_t fragment = 1; fragment <= 4; fragment++) {
		expect_refused("TLS_AES_128_GCM_SHA256", 4, fragment);
		expect_refused("ECDHE-ECDSA-AES128-GCM-SHA256", 3, fragment);
	}
}

static void session_is_refused_until_the_handshake_is_done(void **unused)
{
	(void)unused;
	for (size_t i = 0; i < LEASABLE; i++) {
		struct session session;
		struct disc_tx tx;
		int steps = 0;

		prepare(&session, leasable[i].name, leasable[i].tls_minor, 0);
		do {
			assert_int_equal(disc_wolf_tx_get(session.server.ssl, &tx), 0);
			assert_true(openssl_client_handshake(session.client) >= 0);
			carry(&session);
			assert_true(steps++ < HANDSHAKE_STEPS);
		} while (wolfssl_server_handshake(&session.server) != SERVER_DONE);
		assert_int_equal(disc_wolf_tx_get(session.server.ssl, &tx), 1);
		end(&session);
	}
}

static void session_is_refused_after_close_notify_and_after_a_fatal_alert(void **unused)
{
	static const uint8_t garbage[] = {0x17, 0x03, 0x03, 0x00, 0x14, 1,  2,  3,  4,  5,  6,  7, 8,
					  9,    10,   11,   12,   13,   14, 15, 16, 17, 18, 19, 20};

	(void)unused;
	for (size_t i = 0; i < LEASABLE; i++) {
		struct session session;
		struct disc_tx tx;

		start(&session, leasable[i].name, leasable[i].tls_minor, 0);
		assert_int_equal(wolfssl_server_shutdown(&session.server), SERVER_DONE);
		assert_int_equal(disc_wolf_tx_get(session.server.ssl, &tx), 0);
		end(&session);

		start(&session, leasable[i].name, leasable[i].tls_minor, 0);
		assert_true(byte_queue_reserve(&session.server.input, sizeof(garbage)));
		byte_queue_append(&session.server.input, garbage, sizeof(garbage));
		assert_int_equal(wolfssl_server_read(&session.server), SERVER_FAILED);
		assert_int_equal(disc_wolf_tx_get(session.server.ssl, &tx), 0);
		end(&session);
	}
}

static void sequence_number_never_wraps(void **unused)
{
	struct session session;
	struct disc_tx tx;

	(void)unused;
	start(&session, leasable[0].name, 4, 0);
	wolfssl_server_set_sequence(&session.server, 0xfffffffe);
	assert_int_equal(disc_wolf_advance(session.server.ssl, 5), 1);
	assert_int_equal(disc_wolf_tx_get(session.server.ssl, &tx), 1);
	assert_true(tx.seq == 0x100000003);
	wolfssl_server_set_sequence(&session.server, UINT64_MAX - 3);
	assert_int_equal(disc_wolf_advance(session.server.ssl, 4), 0);
	assert_int_equal(disc_wolf_tx_get(session.server.ssl, &tx), 1);
	assert_true(tx.seq == UINT64_MAX - 3);
	assert_int_equal(disc_wolf_advance(session.server.ssl, 3), 1);
	end(&session);
}

/* What a blocked write has sealed is what counts as sent once it is flushed. */
static void blocked_writes_are_read_as_they_are(void **unused)
{
	static uint8_t plain[DISC_RECORD_MAX];
	struct session session;
	size_t written;

	(void)unused;
	start(&session, leasable[0].name, 4, 0);
	assert_int_equal(disc_wolf_unflushed(session.server.ssl), 0);
	session.server.room = 100;
	assert_int_equal(wolfssl_server_write(&session.server, plain, 1000, &written), SERVER_WANTS_WRITE);
	assert_int_equal(disc_wolf_unflushed(session.server.ssl), 1000 + 22 - 100);
	assert_int_equal(disc_wolf_blocked_plain(session.server.ssl), 1000);
	session.server.room = SIZE_MAX;
	assert_int_equal(wolfssl_server_write(&session.server, plain, 1000, &written), SERVER_DONE);
	assert_int_equal(written, 1000);
	disc_wolf_forget_blocked(session.server.ssl);
	assert_int_equal(disc_wolf_blocked_plain(session.server.ssl), 0);
	expect_received(&session, plain, 1000);
	end(&session);
}

static void wipe_leaves_zeros(void **unused)
{
	uint8_t area[100], zero[100] = {0};

	(void)unused;
	memset(area, 0xa5, sizeof(area));
	disc_wolf_wipe(area, 99);
	assert_memory_equal(area, zero, 99);
	assert_int_equal(area[99], 0xa5);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(record_sealed_from_the_reading_is_accepted),
		cmocka_unit_test(explicit_nonce_is_that_of_the_next_record),
		cmocka_unit_test(next_generation_is_what_a_key_update_enters),
		cmocka_unit_test(other_suites_are_refused),
		cmocka_unit_test(short_records_are_refused),
		cmocka_unit_test(session_is_refused_until_the_handshake_is_done),
		cmocka_unit_test(session_is_refused_after_close_notify_and_after_a_fatal_alert),
		cmocka_unit_test(sequence_number_never_wraps),
		cmocka_unit_test(blocked_writes_are_read_as_they_are),
		cmocka_unit_test(wipe_leaves_zeros),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "leased_line.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <haproxy/disc_wolfssl.h>

#include "record.h"
#include "seal_log.h"

#define HANDSHAKE_STEPS 20 /* in memory it needs fewer than ten */
#define WORST_RECORDS 3    /* that a node seals under a lease which we gave up */

const struct line_suite leasable_suites[] = {
	{"TLS_AES_128_GCM_SHA256", 4, DISC_KEYS_RESPONSE},
	{"TLS_AES_256_GCM_SHA384", 4, DISC_KEYS_RESPONSE},
	{"TLS_CHACHA20_POLY1305_SHA256", 4, DISC_KEYS_RESPONSE},
	{"ECDHE-ECDSA-AES128-GCM-SHA256", 3, DISC_KEYS_CONNECTION},
	{"ECDHE-ECDSA-AES256-GCM-SHA384", 3, DISC_KEYS_RESPONSE},
	{"TLS_AES_128_GCM_SHA256", 4, DISC_KEYS_CONNECTION},
	{"TLS_AES_256_GCM_SHA384", 4, DISC_KEYS_CONNECTION},
	{"TLS_CHACHA20_POLY1305_SHA256", 4, DISC_KEYS_CONNECTION},
};
const size_t leasable_suite_count = sizeof(leasable_suites) / sizeof(leasable_suites[0]);

/* The line whose KeyUpdates are being counted; a test has one at a time. */
static struct leased_line *open_line;

int __real_disc_wolf_key_update(void *ssl);
int __wrap_disc_wolf_key_update(void *ssl);

int __wrap_disc_wolf_key_update(void *ssl)
{
	if (open_line && open_line->server.ssl == ssl) {
		size_t size = (open_line->update_count + 1) * sizeof(open_line->updates[0]);

		open_line->updates = realloc(open_line->updates, size);
		assert_non_null(open_line->updates);
		open_line->updates[open_line->update_count++].date = open_line->now;
	}
	return __real_disc_wolf_key_update(ssl);
}

static void append(struct byte_queue *queue, const uint8_t *bytes, size_t len)
{
	assert_true(byte_queue_reserve(queue, len));
	byte_queue_append(queue, bytes, len);
}

/* Returns <len> bytes unlike all those before, to be freed by the caller, and expects the client to get them. */
static uint8_t *new_plaintext(struct leased_line *line, size_t len)
{
	uint8_t *plain = malloc(len);

	assert_non_null(plain);
	for (size_t i = 0; i < len; i++) {
		line->pattern = line->pattern * 1664525 + 1013904223;
		plain[i] = (uint8_t)(line->pattern >> 24);
	}
	append(&line->expected, plain, len);
	return plain;
}

/* --- the two ends --- */

static void carry_to_server(struct leased_line *line)
{
	uint8_t bytes[4096];
	size_t len;

	while ((len = openssl_client_output(line->client, bytes, sizeof(bytes))) > 0)
		append(&line->server.input, bytes, len);
}

static void carry_to_client(struct leased_line *line)
{
	struct byte_queue *output = &line->server.output;

	assert_true(openssl_client_feed(line->client, byte_queue_head(output), byte_queue_length(output)));
	byte_queue_consume(output, byte_queue_length(output));
}

/* The client reads all that arrived: neither a byte more nor another one than was sent. */
static void client_reads(struct leased_line *line)
{
	static uint8_t plain[16384];
	long got;

	carry_to_client(line);
	do {
		got = openssl_client_read(line->client, plain, sizeof(plain));
		assert_true(got >= 0);
		assert_true((size_t)got <= byte_queue_length(&line->expected));
		if (got > 0)
			assert_memory_equal(plain, byte_queue_head(&line->expected), (size_t)got);
		byte_queue_consume(&line->expected, (size_t)got);
	} while (got == (long)sizeof(plain));
	assert_true(line->dead || !openssl_client_was_alerted(line->client));
	carry_to_server(line);
}

void line_open(struct leased_line *line, const struct line_suite *suite, bool partial_writes, uint32_t now)
{
	bool client_done = false, server_done = false;

	/* What a test that failed has left is not this one's fault. */
	(void)seal_log_count_reuses();
	open_line = NULL;
	memset(line, 0, sizeof(*line));
	line->tls_minor = suite->tls_minor;
	line->keys = suite->keys;
	line->now = now;
	assert_true(server_certificate_make(&line->certificate));
	assert_true(wolfssl_server_init(&line->server, &line->certificate, partial_writes));
	line->client = openssl_client_new(suite->name, suite->tls_minor, 0);
	assert_non_null(line->client);
	for (int step = 0; step < HANDSHAKE_STEPS && !(client_done && server_done); step++) {
		int client = client_done ? 1 : openssl_client_handshake(line->client);

		assert_true(client >= 0);
		client_done = client == 1;
		carry_to_server(line);
		if (!server_done) {
			enum server_result server = wolfssl_server_handshake(&line->server);

			assert_true(server == SERVER_DONE || server == SERVER_WANTS_READ);
			server_done = server == SERVER_DONE;
		}
		carry_to_client(line);
	}
	assert_true(client_done && server_done);
	disc_lease_init(&line->lease, line->server.ssl);
	open_line = line;
}

/* --- the node --- */

static void seal_records(struct leased_line *line, const struct tx_state *state, const uint8_t *plain, size_t len,
			 bool send)
{
	struct record_sealer *sealer;
	static uint8_t sealed[RECORD_SEALED_MAX];

	assert_int_equal(record_sealer_new(&sealer, state, len, 0), RECORD_OK);
	for (size_t offset = 0; offset < len; offset += RECORD_PLAIN_MAX) {
		size_t piece = len - offset < RECORD_PLAIN_MAX ? len - offset : RECORD_PLAIN_MAX, sealed_len;

		assert_int_equal(record_seal_next(sealer, plain + offset, piece, sealed, &sealed_len), RECORD_OK);
		if (send)
			append(&line->records, sealed, sealed_len);
	}
	record_sealer_free(sealer);
}

static void holders_do_their_worst(struct leased_line *line)
{
	static const uint8_t anything[(WORST_RECORDS - 1) * RECORD_PLAIN_MAX + 1] = {0x55};

	for (size_t i = 0; i < line->given_count; i++) {
		if (line->given[i].holder == HOLDER_HAS_IT)
			seal_records(line, &line->given[i].state, anything, sizeof(anything), false);
	}
}

const char *line_take_for_nobody(struct leased_line *line)
{
	const char *why = disc_lease_take(&line->lease, line->keys, line->given_count + 1, line->now);

	if (why) {
		assert_int_not_equal(line->lease.state, DISC_LS_LEASED);
		return why;
	}
	assert_int_equal(line->lease.state, DISC_LS_LEASED);
	line->given = realloc(line->given, (line->given_count + 1) * sizeof(line->given[0]));
	assert_non_null(line->given);
	line->given[line->given_count].holder = HOLDER_NONE;
	assert_int_equal(tx_state_decode(&line->given[line->given_count].state, line->lease.wire, DISC_TX_WIRE_LEN),
			 TX_STATE_OK);
	line->given_count++;
	return NULL;
}

const char *line_take(struct leased_line *line)
{
	const char *why = line_take_for_nobody(line);

	if (why)
		return why;
	assert_ptr_equal(disc_lease_export(&line->lease), line->lease.wire);
	line->given[line->given_count - 1].holder = HOLDER_HAS_IT;
	return NULL;
}

void line_return(struct leased_line *line)
{
	disc_lease_return(&line->lease, line->now);
	line->given[line->given_count - 1].holder = HOLDER_RETURNED_IT;
}

bool line_pass(struct leased_line *line, size_t headers, size_t length)
{
	struct disc_lease *lease = &line->lease;
	uint8_t *plain;

	assert_int_equal(byte_queue_length(&line->own), 0);
	if (!disc_lease_accept(lease, length, line->now))
		return false;
	assert_int_equal(disc_lease_begin(lease, headers), 1);
	plain = new_plaintext(line, headers);
	append(&line->own, plain, headers);
	free(plain);
	plain = new_plaintext(line, length);
	seal_records(line, &line->given[line->given_count - 1].state, plain, length, true);
	free(plain);
	line->given[line->given_count - 1].holder = HOLDER_SEALED_A_BODY;
	assert_int_equal(byte_queue_length(&line->records), lease->ciphertext);
	return true;
}

/* --- our side --- */

void line_write(struct leased_line *line, size_t len)
{
	uint8_t *plain = new_plaintext(line, len);

	append(&line->own, plain, len);
	free(plain);
}

/* As ssl_sock_from_buf(). Returns false if nothing more can be sent now. */
static bool write_own(struct leased_line *line)
{
	size_t count = byte_queue_length(&line->own);
	enum server_result result;

	switch (disc_lease_before_write(&line->lease, &count, line->now)) {
	case DISC_WR_KILL:
		line->dead = true;
		return false;
	case DISC_WR_DONE:
		break;
	case DISC_WR_GO:
		result = wolfssl_server_write(&line->server, byte_queue_head(&line->own), count, &count);
		disc_lease_after_write(&line->lease, result == SERVER_WANTS_WRITE);
		line->dead = result != SERVER_DONE && result != SERVER_WANTS_WRITE;
		if (result != SERVER_DONE)
			return false;
	}
	byte_queue_consume(&line->own, count);
	return true;
}

/* As disc_xprt_send_headers(). */
static bool write_headers(struct leased_line *line)
{
	struct disc_lease *lease = &line->lease;
	size_t clear = lease->clear_left, written = clear;
	enum server_result result = SERVER_DONE;

	switch (disc_lease_enter(lease, line->now)) {
	case DISC_WR_KILL:
		line->dead = true;
		return false;
	case DISC_WR_DONE:
		disc_lease_after_write(lease, 0);
		break;
	case DISC_WR_GO:
		result = wolfssl_server_write(&line->server, byte_queue_head(&line->own), clear, &written);
		disc_lease_after_write(lease, result == SERVER_WANTS_WRITE);
		if (result == SERVER_WANTS_WRITE)
			return false;
	}
	if (result != SERVER_DONE || written != clear || !disc_lease_headers_sent(lease)) {
		disc_lease_poison(lease);
		line->dead = true;
		return false;
	}
	byte_queue_consume(&line->own, clear);
	return true;
}

/* As disc_xprt_from_buf() behind the headers. */
static bool forward_records(struct leased_line *line)
{
	size_t sent = wolfssl_server_send_raw(&line->server, byte_queue_head(&line->records),
					      byte_queue_length(&line->records));
	int ret;

	if (sent == 0)
		return false;
	byte_queue_consume(&line->records, sent);
	ret = disc_lease_forwarded(&line->lease, sent);
	assert_int_equal(ret, byte_queue_length(&line->records) == 0);
	return true;
}

/* One attempt to send something. Returns false if the transport blocks or nothing is to be sent. */
static bool send_some(struct leased_line *line)
{
	if (line->dead)
		return false;
	if (line->lease.state == DISC_LS_PASSING)
		return line->lease.clear_left ? write_headers(line) : forward_records(line);
	return byte_queue_length(&line->own) > 0 && write_own(line);
}

void line_progress(struct leased_line *line)
{
	while (send_some(line))
		;
	client_reads(line);
}

void line_drain(struct leased_line *line)
{
	line->server.room = SIZE_MAX;
	line_progress(line);
	assert_false(line->dead);
	assert_int_equal(byte_queue_length(&line->own), 0);
	assert_int_equal(byte_queue_length(&line->records), 0);
	assert_int_equal(byte_queue_length(&line->expected), 0);
}

void line_expect_passed(struct leased_line *line, size_t headers, size_t length)
{
	assert_null(line_take(line));
	assert_true(line_pass(line, headers, length));
	line_drain(line);
	assert_int_equal(line->lease.state, DISC_LS_NONE);
}

void line_expect_written(struct leased_line *line, size_t len)
{
	line_write(line, len);
	line_drain(line);
}

void line_read(struct leased_line *line)
{
	enum server_result result;

	carry_to_server(line);
	if (line->dead || line->lease.state == DISC_LS_PASSING || line->lease.state == DISC_LS_ACCEPTED)
		return;
	result = wolfssl_server_read(&line->server);
	/* The answer to a KeyUpdate may block, but wolfSSL does not tell: HAProxy would stop everything for a
	 * handshake. */
	assert_int_not_equal(result, SERVER_WANTS_WRITE);
	if (result == SERVER_FAILED)
		line->dead = true;
}

void line_read_on(struct leased_line *line)
{
	carry_to_server(line);
	if (line->lease.state == DISC_LS_NONE)
		(void)wolfssl_server_read(&line->server);
}

void line_flush(struct leased_line *line)
{
	enum server_result result;

	/* Reading never makes a session of TLS 1.2 write, so nothing leads HAProxy there. */
	if (line->tls_minor == 3)
		return;
	result = wolfssl_server_handshake(&line->server);
	assert_true(result == SERVER_DONE || result == SERVER_WANTS_WRITE);
}

bool line_shut(struct leased_line *line)
{
	line->dead = true;
	if (line->lease.state == DISC_LS_PASSING) { /* disc_xprt_shutw() */
		disc_lease_poison(&line->lease);
		return false;
	}
	if (!disc_lease_may_notify(&line->lease, line->now)) /* ssl_sock_shutw() */
		return false;
	return wolfssl_server_shutdown(&line->server) == SERVER_DONE;
}

static void expect_budget_kept(const struct leased_line *line)
{
	for (size_t i = DISC_KU_MAX; i < line->update_count; i++)
		assert_true(line->updates[i].date - line->updates[i - DISC_KU_MAX].date >= DISC_KU_WINDOW);
}

void line_close(struct leased_line *line)
{
	holders_do_their_worst(line);
	expect_budget_kept(line);
	disc_lease_wipe(&line->lease);
	open_line = NULL;
	openssl_client_free(line->client);
	wolfssl_server_free(&line->server);
	byte_queue_clear(&line->own);
	byte_queue_clear(&line->records);
	byte_queue_clear(&line->expected);
	free(line->given);
	free(line->updates);
	assert_int_equal(seal_log_count_reuses(), 0);
}

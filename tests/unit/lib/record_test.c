/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Guards: the layout of records is arithmetic that never wraps; each sequence number and nonce is used once and in
 * order; what is sealed is what real TLS libraries accept; a resumed body is the same bytes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "aead_choice.h"
#include "record.h"
#include "tls_peer.h"

/* Deterministic bytes without a period that would divide the records' size. */
static void fill(uint8_t *bytes, size_t len)
{
	uint32_t value = 0x9e3779b9;

	for (size_t i = 0; i < len; i++) {
		value = value * 1664525 + 1013904223;
		bytes[i] = (uint8_t)(value >> 24);
	}
}

static struct tx_state state_of(const struct tls_suite *suite, const struct tls_write_keys *keys)
{
	struct tx_state state = {
		.tls_minor = suite->tls_minor,
		.suite = suite->number,
		.aead = suite->chacha ? TX_AEAD_CHACHA20_POLY1305 : TX_AEAD_AES_GCM,
		.key_len = suite->key_len,
		.seq = keys->seq,
	};

	memcpy(state.key, keys->key, suite->key_len);
	memcpy(state.iv, keys->iv, sizeof(state.iv));
	return state;
}

/* A state with arbitrary keys, as if leased by a client with <suite>. */
static struct tx_state some_state(const struct tls_suite *suite, uint64_t seq)
{
	struct tls_write_keys keys = {.seq = seq};

	fill(keys.key, suite->key_len);
	fill(keys.iv, sizeof(keys.iv));
	return state_of(suite, &keys);
}

static void set_explicit_nonce(struct tx_state *state, uint64_t nonce)
{
	for (int i = 0; i < 8; i++)
		state->iv[4 + i] = (uint8_t)(nonce >> (56 - 8 * i));
}

static bool has_explicit_nonce(const struct tls_suite *suite)
{
	return suite->tls_minor == 3;
}

/* Seals the records of <plain> from <first> on to memory that the caller frees, and stores their size in
 * <*sealed_len>. */
static uint8_t *seal_body(const struct tx_state *state, const uint8_t *plain, uint64_t length, uint64_t first,
			  size_t *sealed_len)
{
	struct record_sealer *sealer;
	const struct record_layout *layout;
	uint8_t *sealed;

	assert_int_equal(record_sealer_new(&sealer, state, length, first), RECORD_OK);
	layout = record_sealer_layout(sealer);
	sealed = malloc((size_t)layout->ciphertext + RECORD_SEALED_MAX);
	*sealed_len = 0;
	for (uint64_t i = first; i < layout->records; i++) {
		size_t len;

		assert_int_equal(record_sealer_next(sealer), i);
		assert_int_equal(record_seal_next(sealer, plain + i * RECORD_PLAIN_MAX, record_plain_length(layout, i),
						  sealed + *sealed_len, &len),
				 RECORD_OK);
		assert_int_equal(len, record_plain_length(layout, i) + layout->overhead);
		*sealed_len += len;
	}
	assert_int_equal(record_sealer_next(sealer), layout->records);
	if (first == 0)
		assert_int_equal(*sealed_len, layout->ciphertext);
	record_sealer_free(sealer);
	return sealed;
}

/* --- layout --- */

static void layout_cuts_at_16384_bytes(void **unused)
{
	static const struct {
		uint64_t length, records;
		size_t last;
	} cases[] = {
		{1, 1, 1},
		{16383, 1, 16383},
		{16384, 1, 16384},
		{16385, 2, 1},
		{32768, 2, 16384},
		{32769, 3, 1},
		{100000, 7, 1696},
		{1ull << 30, 65536, 16384},
		{(1ull << 24) * 16384, 1u << 24, 16384},
		{(1ull << 24) * 16384 - 1, 1u << 24, 16383},
	};

	(void)unused;
	for (size_t s = 0; s < tls_suite_count; s++) {
		struct tx_state state = some_state(&tls_suites[s], 1);
		unsigned overhead = tls_suites[s].tls_minor == 4 ? 22 : 29;

		set_explicit_nonce(&state, 1ull << 40);
		for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
			struct record_layout layout;

			assert_int_equal(record_layout_init(&layout, &state, cases[i].length), RECORD_OK);
			assert_int_equal(layout.length, cases[i].length);
			assert_int_equal(layout.records, cases[i].records);
			assert_int_equal(layout.overhead, overhead);
			assert_int_equal(layout.ciphertext, cases[i].length + cases[i].records * overhead);
			assert_int_equal(record_plain_length(&layout, cases[i].records - 1), cases[i].last);
			assert_int_equal(record_plain_length(&layout, cases[i].records), 0);
			assert_int_equal(record_plain_length(&layout, UINT64_MAX), 0);
			if (cases[i].records > 1)
				assert_int_equal(record_plain_length(&layout, cases[i].records - 2), 16384);
		}
	}
}

static void layout_refuses_empty_and_too_long_bodies(void **unused)
{
	struct tx_state state = some_state(&tls_suites[0], 0);
	struct record_layout layout;
	struct record_sealer *sealer;

	(void)unused;
	assert_int_equal(record_layout_init(&layout, &state, 0), RECORD_EMPTY);
	assert_int_equal(record_layout_init(&layout, &state, (1ull << 24) * 16384 + 1), RECORD_TOO_LONG);
	assert_int_equal(record_layout_init(&layout, &state, UINT64_MAX), RECORD_TOO_LONG);
	assert_int_equal(record_sealer_new(&sealer, &state, 0, 0), RECORD_EMPTY);
	assert_null(sealer);
	assert_int_equal(record_sealer_new(&sealer, &state, UINT64_MAX, 0), RECORD_TOO_LONG);
	assert_null(sealer);
}

static void sequence_numbers_never_wrap(void **unused)
{
	(void)unused;
	for (size_t s = 0; s < tls_suite_count; s++) {
		struct record_layout layout;
		struct tx_state state = some_state(&tls_suites[s], UINT64_MAX - 2);

		set_explicit_nonce(&state, 0);
		assert_int_equal(record_layout_init(&layout, &state, 2 * 16384), RECORD_OK);
		assert_int_equal(record_layout_init(&layout, &state, 2 * 16384 + 1), RECORD_SEQ_EXHAUSTED);
		state.seq = UINT64_MAX;
		assert_int_equal(record_layout_init(&layout, &state, 1), RECORD_SEQ_EXHAUSTED);
	}
}

static void explicit_nonces_never_wrap(void **unused)
{
	(void)unused;
	for (size_t s = 0; s < tls_suite_count; s++) {
		struct record_layout layout;
		struct tx_state state = some_state(&tls_suites[s], 1);
		enum record_error expected = has_explicit_nonce(&tls_suites[s]) ? RECORD_SEQ_EXHAUSTED : RECORD_OK;

		set_explicit_nonce(&state, UINT64_MAX - 2);
		assert_int_equal(record_layout_init(&layout, &state, 2 * 16384), RECORD_OK);
		assert_int_equal(record_layout_init(&layout, &state, 2 * 16384 + 1), expected);
		set_explicit_nonce(&state, UINT64_MAX);
		assert_int_equal(record_layout_init(&layout, &state, 1), expected);
	}
}

/* --- order --- */

static void expect_dead(struct record_sealer *sealer, const uint8_t *plain, size_t len)
{
	uint8_t out[RECORD_SEALED_MAX];
	size_t out_len = 1;

	assert_int_equal(record_seal_next(sealer, plain, len, out, &out_len), RECORD_OUT_OF_ORDER);
	assert_int_equal(out_len, 0);
}

static void wrong_length_kills_the_sealer(void **unused)
{
	static const size_t wrong_first[] = {0, 1, 16383, 16385, SIZE_MAX};
	static uint8_t plain[20000];
	struct tx_state state = some_state(&tls_suites[0], 0);

	(void)unused;
	for (size_t i = 0; i < sizeof(wrong_first) / sizeof(wrong_first[0]); i++) {
		struct record_sealer *sealer;

		assert_int_equal(record_sealer_new(&sealer, &state, sizeof(plain), 0), RECORD_OK);
		expect_dead(sealer, plain, wrong_first[i]);
		/* Even what would have been right. */
		expect_dead(sealer, plain, 16384);
		record_sealer_free(sealer);
	}
}

static void nothing_is_sealed_behind_the_last_record(void **unused)
{
	static uint8_t plain[100], out[RECORD_SEALED_MAX];
	struct tx_state state = some_state(&tls_suites[0], 0);
	struct record_sealer *sealer;
	size_t len;

	(void)unused;
	assert_int_equal(record_sealer_new(&sealer, &state, sizeof(plain), 0), RECORD_OK);
	assert_int_equal(record_seal_next(sealer, plain, sizeof(plain), out, &len), RECORD_OK);
	expect_dead(sealer, plain, sizeof(plain));
	expect_dead(sealer, plain, 0);
	record_sealer_free(sealer);
	assert_int_equal(record_sealer_new(&sealer, &state, sizeof(plain), 1), RECORD_OUT_OF_ORDER);
	assert_null(sealer);
	assert_int_equal(record_sealer_new(&sealer, &state, sizeof(plain), UINT64_MAX), RECORD_OUT_OF_ORDER);
	assert_null(sealer);
	record_sealer_free(NULL);
}

/* --- bytes --- */

static void each_record_opens_under_its_own_nonce(void **unused)
{
	static uint8_t plain[3 * 16384 + 77], opened[RECORD_SEALED_MAX];
	const uint64_t seq = (1ull << 40) + 254, explicit_nonce = (5ull << 40) + 65535;

	(void)unused;
	fill(plain, sizeof(plain));
	for (size_t s = 0; s < tls_suite_count; s++) {
		const struct tls_suite *suite = &tls_suites[s];
		struct tx_state state = some_state(suite, seq);
		size_t sealed_len, offset = has_explicit_nonce(suite) ? 13 : 5;
		uint8_t *sealed, *record;

		set_explicit_nonce(&state, explicit_nonce);
		record = sealed = seal_body(&state, plain, sizeof(plain), 0, &sealed_len);
		for (uint64_t i = 0; i < 4; i++) {
			size_t len = i < 3 ? 16384 : 77, inner = len + (suite->tls_minor == 4);
			size_t total = offset + inner + 16;
			uint8_t nonce[12], additional[13];
			size_t additional_len = 5;

			assert_memory_equal(record, "\x17\x03\x03", 3);
			assert_int_equal(record[3] << 8 | record[4], total - 5);
			memcpy(nonce, state.iv, 12);
			for (int b = 0; b < 8; b++) {
				uint8_t seq_byte = (uint8_t)((seq + i) >> (56 - 8 * b));

				if (has_explicit_nonce(suite)) {
					nonce[4 + b] = (uint8_t)((explicit_nonce + i) >> (56 - 8 * b));
					assert_int_equal(record[5 + b], nonce[4 + b]);
				} else {
					nonce[4 + b] ^= seq_byte;
				}
				additional[b] = seq_byte;
			}
			if (suite->tls_minor == 4) {
				memcpy(additional, record, 5);
			} else {
				additional_len = 13;
				memcpy(additional + 8, "\x17\x03\x03", 3);
				additional[11] = (uint8_t)(len >> 8);
				additional[12] = (uint8_t)len;
			}
			assert_true(aead_open(suite->chacha, state.key, state.key_len, nonce, additional,
					      additional_len, record + offset, inner, opened));
			assert_memory_equal(opened, plain + i * 16384, len);
			if (suite->tls_minor == 4)
				assert_int_equal(opened[len], 0x17);
			record += total;
		}
		assert_int_equal(record - sealed, sealed_len);
		free(sealed);
	}
}

/* RFC 8448 section 3, "server application_data" with the keys of that trace: 50 bytes, sequence number 1. */
static void record_of_rfc_8448_is_reproduced(void **unused)
{
	static const uint8_t key[] = {0x9f, 0x02, 0x28, 0x3b, 0x6c, 0x9c, 0x07, 0xef,
				      0xc2, 0x6b, 0xb9, 0xf2, 0xac, 0x92, 0xe3, 0x56};
	static const uint8_t iv[] = {0xcf, 0x78, 0x2b, 0x88, 0xdd, 0x83, 0x54, 0x9a, 0xad, 0xf1, 0xe9, 0x84};
	static const uint8_t expected[] = {
		0x17, 0x03, 0x03, 0x00, 0x43, 0x2e, 0x93, 0x7e, 0x11, 0xef, 0x4a, 0xc7, 0x40, 0xe5, 0x38,
		0xad, 0x36, 0x00, 0x5f, 0xc4, 0xa4, 0x69, 0x32, 0xfc, 0x32, 0x25, 0xd0, 0x5f, 0x82, 0xaa,
		0x1b, 0x36, 0xe3, 0x0e, 0xfa, 0xf9, 0x7d, 0x90, 0xe6, 0xdf, 0xfc, 0x60, 0x2d, 0xcb, 0x50,
		0x1a, 0x59, 0xa8, 0xfc, 0xc4, 0x9c, 0x4b, 0xf2, 0xe5, 0xf0, 0xa2, 0x1c, 0x00, 0x47, 0xc2,
		0xab, 0xf3, 0x32, 0x54, 0x0d, 0xd0, 0x32, 0xe1, 0x67, 0xc2, 0x95, 0x5d,
	};
	struct tls_write_keys keys = {.seq = 1};
	struct tx_state state;
	uint8_t plain[50], *sealed;
	size_t len;

	(void)unused;
	memcpy(keys.key, key, sizeof(key));
	memcpy(keys.iv, iv, sizeof(iv));
	for (uint8_t i = 0; i < sizeof(plain); i++)
		plain[i] = i;
	state = state_of(&tls_suites[0], &keys);
	sealed = seal_body(&state, plain, sizeof(plain), 0, &len);
	assert_int_equal(len, sizeof(expected));
	assert_memory_equal(sealed, expected, sizeof(expected));
	free(sealed);
}

static void resumed_body_is_the_same_bytes(void **unused)
{
	static uint8_t plain[5 * 16384 + 9];

	(void)unused;
	fill(plain, sizeof(plain));
	for (size_t s = 0; s < tls_suite_count; s++) {
		struct tx_state state = some_state(&tls_suites[s], 7);
		size_t whole_len, record_len = 16384 + (tls_suites[s].tls_minor == 4 ? 22 : 29);
		uint8_t *whole = seal_body(&state, plain, sizeof(plain), 0, &whole_len);

		for (uint64_t first = 1; first < 6; first++) {
			size_t rest_len;
			uint8_t *rest = seal_body(&state, plain, sizeof(plain), first, &rest_len);

			assert_int_equal(rest_len, whole_len - first * record_len);
			assert_memory_equal(rest, whole + first * record_len, rest_len);
			free(rest);
		}
		free(whole);
	}
}

static void sealing_in_place_gives_the_same_bytes(void **unused)
{
	static uint8_t plain[16384], out[RECORD_SEALED_MAX + 8];

	(void)unused;
	fill(plain, sizeof(plain));
	for (size_t s = 0; s < tls_suite_count; s++) {
		struct tx_state state = some_state(&tls_suites[s], 3);
		struct record_sealer *sealer;
		size_t offset, expected_len, len;
		uint8_t *expected = seal_body(&state, plain, sizeof(plain), 0, &expected_len);

		assert_int_equal(record_sealer_new(&sealer, &state, sizeof(plain), 0), RECORD_OK);
		offset = record_plain_offset(sealer);
		memset(out, 0xee, sizeof(out));
		memcpy(out + offset, plain, sizeof(plain));
		assert_int_equal(record_seal_next(sealer, out + offset, sizeof(plain), out, &len), RECORD_OK);
		assert_int_equal(len, expected_len);
		assert_memory_equal(out, expected, len);
		/* Not a byte behind the record. */
		assert_memory_equal(out + len, "\xee\xee\xee\xee\xee\xee\xee\xee", 8);
		record_sealer_free(sealer);
		free(expected);
	}
}

/* --- real clients --- */

static void expect_received(struct tls_peer *peer, const struct tx_state *state, const uint8_t *plain, size_t len)
{
	uint8_t *opened = malloc(len + 1);
	size_t sealed_len;
	uint8_t *sealed = seal_body(state, plain, len, 0, &sealed_len);

	assert_int_equal(tls_peer_receive(peer, sealed, sealed_len, opened, len + 1), len);
	assert_memory_equal(opened, plain, len);
	free(sealed);
	free(opened);
}

/* Bodies of several sizes on one connection, each under a lease of its own that begins where the last one ended. */
static void real_client_accepts(enum tls_client client)
{
	static const size_t lengths[] = {1, 16383, 16384, 16385, 100000, 5};
	static uint8_t plain[100000];

	fill(plain, sizeof(plain));
	for (size_t s = 0; s < tls_suite_count; s++) {
		struct tls_write_keys keys;
		struct tls_peer *peer = tls_peer_open(client, &tls_suites[s], &keys);
		struct tx_state state;

		assert_non_null(peer);
		state = state_of(&tls_suites[s], &keys);
		for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
			if (has_explicit_nonce(&tls_suites[s]))
				set_explicit_nonce(&state, (uint64_t)(i + 1) << 40);
			expect_received(peer, &state, plain, lengths[i]);
			state.seq += (lengths[i] + 16383) / 16384;
		}
		tls_peer_close(peer);
	}
}

static void openssl_accepts_the_records(void **unused)
{
	(void)unused;
	real_client_accepts(TLS_CLIENT_OPENSSL);
}

static void gnutls_accepts_the_records(void **unused)
{
	(void)unused;
	real_client_accepts(TLS_CLIENT_GNUTLS);
}

/* So that the tests above can fail: the same clients refuse a wrong sequence number and a changed byte. */
static void real_clients_refuse_wrong_records(void **unused)
{
	uint8_t plain[100] = {0}, opened[200];

	(void)unused;
	for (int client = TLS_CLIENT_OPENSSL; client <= TLS_CLIENT_GNUTLS; client++) {
		for (size_t s = 0; s < tls_suite_count * 2; s++) {
			const struct tls_suite *suite = &tls_suites[s / 2];
			struct tls_write_keys keys;
			struct tls_peer *peer = tls_peer_open((enum tls_client)client, suite, &keys);
			struct tx_state state;
			uint8_t *sealed;
			size_t len;

			assert_non_null(peer);
			state = state_of(suite, &keys);
			state.seq += s % 2;
			sealed = seal_body(&state, plain, sizeof(plain), 0, &len);
			if (s % 2 == 0)
				sealed[len - 20] ^= 1;
			assert_int_equal(tls_peer_receive(peer, sealed, len, opened, sizeof(opened)), -1);
			free(sealed);
			tls_peer_close(peer);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(layout_refuses_empty_and_too_long_bodies),
		cmocka_unit_test(layout_cuts_at_16384_bytes),
		cmocka_unit_test(sequence_numbers_never_wrap),
		cmocka_unit_test(explicit_nonces_never_wrap),
		cmocka_unit_test(wrong_length_kills_the_sealer),
		cmocka_unit_test(nothing_is_sealed_behind_the_last_record),
		cmocka_unit_test(each_record_opens_under_its_own_nonce),
		cmocka_unit_test(record_of_rfc_8448_is_reproduced),
		cmocka_unit_test(resumed_body_is_the_same_bytes),
		cmocka_unit_test(sealing_in_place_gives_the_same_bytes),
		cmocka_unit_test(openssl_accepts_the_records),
		cmocka_unit_test(gnutls_accepts_the_records),
		cmocka_unit_test(real_clients_refuse_wrong_records),
	};

	int failed = cmocka_run_group_tests_name("wolfCrypt", tests, NULL, NULL);

	/* Where ipsec-mb cannot be used, aead_test says so. */
	if (!aead_choose(AEAD_SETTING_IPSEC_MB))
		failed += cmocka_run_group_tests_name("ipsec-mb", tests, NULL, NULL);
	return failed;
}

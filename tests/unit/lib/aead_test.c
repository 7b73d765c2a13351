/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Guards: both libraries give the same bytes, whatever the cipher, the length, the place and its alignment, and write
 * nothing behind them; a setting that cannot be met says why. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "aead_choice.h"
#include "record.h"
#include "tls_peer.h"

#define GUARD 64u
#define ROOM (GUARD + RECORD_SEALED_MAX + GUARD)

static uint8_t plain[GUARD + RECORD_PLAIN_MAX], sealed[2][ROOM];

static void fill(uint8_t *bytes, size_t len, uint32_t value)
{
	for (size_t i = 0; i < len; i++) {
		value = value * 1664525 + 1013904223;
		bytes[i] = (uint8_t)(value >> 24);
	}
}

static void need_ipsec_mb(void)
{
	const char *why = aead_ipsec_mb_open();

	if (!why)
		return;
	print_message("ipsec-mb cannot be used here: %s\n", why);
	skip();
}

/* Seals <len> bytes with both libraries, at places that lie differently in their cache lines for each length. */
static void expect_alike(struct aead_key *keys, size_t len, uint8_t trailer, bool in_place)
{
	size_t from = len % GUARD, to = len * 7 % GUARD, written = len + (trailer ? 1 : 0) + AEAD_TAG_LEN;
	uint8_t nonce[AEAD_NONCE_LEN], additional[13];
	size_t additional_len = trailer ? 5 : 13;

	fill(nonce, sizeof(nonce), (uint32_t)len);
	fill(additional, sizeof(additional), (uint32_t)len + 1);
	for (int library = AEAD_WOLFCRYPT; library <= AEAD_IPSEC_MB; library++) {
		uint8_t *out = sealed[library] + to;
		const uint8_t *in = in_place ? out : plain + from;

		memset(sealed[library], 0xee, to + written + GUARD);
		if (in_place)
			memcpy(out, plain + from, len);
		assert_true(aead_seal(&keys[library], nonce, additional, additional_len, in, len, trailer, out));
	}
	if (memcmp(sealed[0], sealed[1], to + written + GUARD) != 0)
		fail_msg("%s, %zu bytes, trailer %u, %s: the libraries differ", aead_cipher_name(keys[0].cipher), len,
			 trailer, in_place ? "in place" : "not in place");
	for (size_t i = 0; i < GUARD; i++)
		assert_int_equal(sealed[0][to + written + i], 0xee);
}

static void both_libraries_seal_every_length_alike(void **unused)
{
	uint8_t bytes[32];

	(void)unused;
	need_ipsec_mb();
	fill(plain, sizeof(plain), 1);
	fill(bytes, sizeof(bytes), 2);
	for (enum aead_cipher cipher = 0; cipher < AEAD_CIPHERS; cipher++) {
		struct aead_key keys[2];

		for (int library = AEAD_WOLFCRYPT; library <= AEAD_IPSEC_MB; library++)
			assert_true(aead_key_init(&keys[library], (enum aead_library)library, cipher, bytes));
		for (size_t len = 0; len <= RECORD_PLAIN_MAX; len++)
			for (int in_place = 0; in_place < 2; in_place++)
				for (int trailer = 0; trailer < 2; trailer++)
					expect_alike(keys, len, trailer ? 0x17 : 0, in_place);
		for (int library = AEAD_WOLFCRYPT; library <= AEAD_IPSEC_MB; library++)
			aead_key_release(&keys[library]);
	}
}

/* Seals <len> bytes as the last records of a body, at <out>. Returns their size. */
static size_t seal_records(enum aead_setting setting, const struct tx_state *state, size_t len, bool in_place,
			   uint8_t *out)
{
	struct record_sealer *sealer;
	const uint8_t *from = plain;
	size_t written;

	assert_null(aead_choose(setting));
	assert_int_equal(record_sealer_new(&sealer, state, len, 0), RECORD_OK);
	if (in_place) {
		memcpy(out + record_plain_offset(sealer), plain, len);
		from = out + record_plain_offset(sealer);
	}
	assert_int_equal(record_seal_next(sealer, from, len, out, &written), RECORD_OK);
	record_sealer_free(sealer);
	return written;
}

static void both_libraries_make_the_same_records(void **unused)
{
	static const size_t some[] = {1, 2, 15, 16, 17, 255, 256, 257, 4095, 4096, 8191, 16367, 16368, 16383, 16384};

	(void)unused;
	need_ipsec_mb();
	fill(plain, sizeof(plain), 3);
	for (size_t s = 0; s < tls_suite_count; s++) {
		const struct tls_suite *suite = &tls_suites[s];
		struct tx_state state = {
			.tls_minor = suite->tls_minor,
			.suite = suite->number,
			.aead = suite->chacha ? TX_AEAD_CHACHA20_POLY1305 : TX_AEAD_AES_GCM,
			.key_len = suite->key_len,
			.seq = 1ull << 33,
		};

		fill(state.key, suite->key_len, 4);
		fill(state.iv, sizeof(state.iv), 5);
		for (size_t i = 0; i < 2 * sizeof(some) / sizeof(some[0]); i++) {
			size_t len = some[i / 2];
			size_t ours = seal_records(AEAD_SETTING_WOLFCRYPT, &state, len, i % 2, sealed[0]);
			size_t other = seal_records(AEAD_SETTING_IPSEC_MB, &state, len, i % 2, sealed[1]);

			assert_int_equal(ours, other);
			assert_memory_equal(sealed[0], sealed[1], ours);
		}
	}
	assert_null(aead_choose(AEAD_SETTING_WOLFCRYPT));
}

static void setting_decides_who_seals(void **unused)
{
	const char *missing = aead_ipsec_mb_open();
	char text[AEAD_CHOICE_TEXT_MAX];
	enum aead_setting setting;

	(void)unused;
	assert_false(aead_setting_parse(&setting, "openssl"));
	assert_true(aead_setting_parse(&setting, "wolfcrypt"));
	assert_null(aead_choose(setting));
	for (enum aead_cipher cipher = 0; cipher < AEAD_CIPHERS; cipher++)
		assert_int_equal(aead_chosen(cipher), AEAD_WOLFCRYPT);
	assert_string_equal(aead_choice_format(text), "wolfCrypt seals, as configured");
	assert_true(aead_setting_parse(&setting, "ipsec-mb"));
	assert_ptr_equal(aead_choose(setting), missing);
	for (enum aead_cipher cipher = 0; cipher < AEAD_CIPHERS; cipher++)
		assert_int_equal(aead_chosen(cipher), missing ? AEAD_WOLFCRYPT : AEAD_IPSEC_MB);
	assert_true(aead_setting_parse(&setting, "auto"));
	assert_null(aead_choose(setting));
	assert_non_null(strstr(aead_choice_format(text), missing ? missing : "ChaCha20-Poly1305 by "));
	assert_null(aead_choose(AEAD_SETTING_WOLFCRYPT));
}

static void released_key_is_wiped(void **unused)
{
	static const uint8_t bytes[32] = {0xa5, 0x5a, 1, 2, 3, 4, 5, 6};
	static struct aead_key key;

	(void)unused;
	for (int library = AEAD_WOLFCRYPT; library <= AEAD_IPSEC_MB; library++) {
		if (library == AEAD_IPSEC_MB && aead_ipsec_mb_open())
			continue;
		for (enum aead_cipher cipher = 0; cipher < AEAD_CIPHERS; cipher++) {
			const uint8_t *at = (const uint8_t *)&key;

			assert_true(aead_key_init(&key, (enum aead_library)library, cipher, bytes));
			assert_true(aead_seal(&key, bytes, bytes, 5, plain, 1000, 0x17, sealed[0]));
			aead_key_release(&key);
			for (size_t i = 0; i < sizeof(key); i++)
				assert_int_equal(at[i], 0);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(both_libraries_seal_every_length_alike),
		cmocka_unit_test(both_libraries_make_the_same_records),
		cmocka_unit_test(setting_decides_who_seals),
		cmocka_unit_test(released_key_is_wiped),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Guards: a grant's records lie where doc/protocol.md section 6 says, each is one DATA frame in one record as another
 * implementation seals it (Python's cryptography), and no slot is ever used twice. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "data_record.h"

static struct tx_state state_of(uint16_t suite, enum tx_aead aead, uint8_t key_len)
{
	struct tx_state state = {
		.tls_minor = 4, .suite = suite, .aead = aead, .key_len = key_len, .use = TX_USE_GRANTS};

	for (int i = 0; i < key_len; i++)
		state.key[i] = (uint8_t)(0xa0 + i);
	for (int i = 0; i < TX_STATE_IV_LEN; i++)
		state.iv[i] = (uint8_t)(0x50 + i);
	return state;
}

static void expect_layout(uint32_t bytes, uint32_t clear, unsigned records, uint32_t ciphertext)
{
	struct grant grant = {.bytes = bytes, .clear = clear};
	struct data_layout layout = data_layout_of(&grant);
	uint32_t sum = 0;

	assert_int_equal(layout.sealed, bytes - clear);
	assert_int_equal(layout.records, records);
	assert_int_equal(layout.ciphertext, ciphertext);
	for (unsigned i = 0; i < records; i++) {
		assert_true(i == records - 1 || data_payload_length(&layout, i) == 16375);
		assert_in_range(data_payload_length(&layout, i), 1, 16375);
		sum += (uint32_t)data_payload_length(&layout, i);
	}
	assert_int_equal(sum, layout.sealed);
	assert_int_equal(data_payload_length(&layout, records), 0);
}

static void records_are_full_but_the_last(void **unused)
{
	(void)unused;
	expect_layout(1, 1, 0, 0);
	expect_layout(2, 1, 1, 1 + 31);
	expect_layout(16376, 1, 1, 16375 + 31);
	expect_layout(16377, 1, 2, 16376 + 62);
	expect_layout(65536, 1, 5, 65535 + 5 * 31);
	expect_layout(262144, 1, 17, 262143 + 17 * 31);
	assert_int_equal(DATA_RECORDS_MAX, 17);
}

static void expect_record(const struct tx_state *state, const uint8_t *expected, size_t len)
{
	static const char payload[] = "hello, DATA";
	uint8_t record[sizeof(payload) - 1 + DATA_RECORD_OVERHEAD];
	struct data_sealer *sealer;

	assert_int_equal(sizeof(record), len);
	assert_int_equal(data_sealer_new(&sealer, state), RECORD_OK);
	memcpy(record + DATA_RECORD_INSET, payload, sizeof(payload) - 1);
	assert_int_equal(data_seal(sealer, 0x010203, 5, true, sizeof(payload) - 1, record), RECORD_OK);
	assert_memory_equal(record, expected, len);
	assert_int_equal(data_sealer_next(sealer), 0x010204);
	data_sealer_free(sealer);
}

static void record_is_what_others_seal(void **unused)
{
	static const uint8_t aes[] = {0x17, 0x03, 0x03, 0x00, 0x25, 0xde, 0x60, 0xf9, 0x93, 0xa8, 0xc1,
				      0xba, 0x93, 0xe1, 0x01, 0x56, 0x47, 0x1e, 0x55, 0xd1, 0xd1, 0x93,
				      0x13, 0x6f, 0xd2, 0xce, 0xe6, 0x41, 0x42, 0x8d, 0x25, 0x04, 0xa8,
				      0xd6, 0xf1, 0x30, 0x57, 0xfa, 0xda, 0xc4, 0xff, 0x61};
	static const uint8_t chacha20[] = {0x17, 0x03, 0x03, 0x00, 0x25, 0x04, 0x8f, 0xc0, 0x10, 0xe8, 0x5c,
					   0x78, 0x11, 0x66, 0x92, 0x98, 0x81, 0x9f, 0x3a, 0xc4, 0x6c, 0x42,
					   0x2d, 0x38, 0x4f, 0x2f, 0xcc, 0x51, 0x40, 0x28, 0x90, 0x5c, 0x8d,
					   0xd2, 0x1f, 0x5a, 0x72, 0x2e, 0x36, 0xec, 0xe2, 0x0a};
	struct tx_state state = state_of(0x1301, TX_AEAD_AES_GCM, 16);

	(void)unused;
	expect_record(&state, aes, sizeof(aes));
	state = state_of(0x1303, TX_AEAD_CHACHA20_POLY1305, 32);
	expect_record(&state, chacha20, sizeof(chacha20));
}

static void only_a_state_for_grants_seals_them(void **unused)
{
	struct tx_state state = state_of(0x1301, TX_AEAD_AES_GCM, 16);
	struct record_layout layout;
	struct record_sealer *records;
	struct data_sealer *sealer;

	(void)unused;
	assert_int_equal(record_layout_init(&layout, &state, 100), RECORD_WRONG_USE);
	assert_int_equal(record_sealer_new(&records, &state, 100, 0), RECORD_WRONG_USE);
	assert_null(records);
	assert_non_null(record_error_text(RECORD_WRONG_USE));
	state.use = TX_USE_RANGE;
	assert_int_equal(data_sealer_new(&sealer, &state), RECORD_WRONG_USE);
	assert_null(sealer);
	data_sealer_free(NULL);
}

/* After a fault nothing is sealed any more, in whatever slot. */
static void expect_dead(uint64_t first, uint64_t slot, size_t len)
{
	struct tx_state state = state_of(0x1301, TX_AEAD_AES_GCM, 16);
	uint8_t *out = malloc(RECORD_SEALED_MAX + 64);
	struct data_sealer *sealer;

	assert_non_null(out);
	memset(out, 'x', RECORD_SEALED_MAX + 64);
	assert_int_equal(data_sealer_new(&sealer, &state), RECORD_OK);
	if (first)
		assert_int_equal(data_seal(sealer, first, 1, false, 16375, out), RECORD_OK);
	assert_int_equal(data_seal(sealer, slot, 1, false, len, out), RECORD_OUT_OF_ORDER);
	assert_int_equal(data_seal(sealer, 1000000, 1, false, 1, out), RECORD_OUT_OF_ORDER);
	data_sealer_free(sealer);
	free(out);
}

static void no_slot_is_used_twice(void **unused)
{
	(void)unused;
	expect_dead(7, 7, 1);
	expect_dead(7, 6, 1);
	expect_dead(7, 0, 1);
	expect_dead(0, 0, 1);
	expect_dead(0, 1 << 24, 1);
	expect_dead(0, UINT64_MAX, 1);
	expect_dead(7, 8, 0);
	expect_dead(7, 8, 16376);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(records_are_full_but_the_last),
		cmocka_unit_test(record_is_what_others_seal),
		cmocka_unit_test(only_a_state_for_grants_seals_them),
		cmocka_unit_test(no_slot_is_used_twice),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

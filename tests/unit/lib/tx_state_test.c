/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Guards: wire form 2 is read and written field by field as tx_state.h has it, every wrong field is refused with
 * its own error, and a refused state leaves nothing behind. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <string.h>

#include <cmocka.h>

#include "tx_state.h"

/* TLS 1.3, TLS_AES_256_GCM_SHA384, sequence number 0x0102030405060708. */
static void make_wire(uint8_t wire[static TX_STATE_WIRE_LEN])
{
	static const uint8_t head[] = {2, 4, 0x13, 0x02, 1, 32, 0, 0};
	static const uint8_t seq[] = {1, 2, 3, 4, 5, 6, 7, 8};

	memcpy(wire, head, sizeof(head));
	for (int i = 0; i < 32; i++)
		wire[8 + i] = (uint8_t)(0x40 + i);
	for (int i = 0; i < 12; i++)
		wire[40 + i] = (uint8_t)(0xa0 + i);
	memcpy(wire + 52, seq, sizeof(seq));
	for (int i = 0; i < 16; i++)
		wire[60 + i] = (uint8_t)(0xc0 + i);
}

static void expect_refused(const uint8_t *wire, size_t len, enum tx_state_error expected)
{
	static const struct tx_state empty;
	struct tx_state state;

	memset(&state, 0x5a, sizeof(state));
	assert_int_equal(tx_state_decode(&state, wire, len), expected);
	assert_memory_equal(&state, &empty, sizeof(state));
	assert_non_null(tx_state_error_text(expected));
}

static void every_length_but_76_is_refused(void **unused)
{
	uint8_t wire[TX_STATE_WIRE_LEN + 1] = {0};

	(void)unused;
	make_wire(wire);
	for (size_t len = 0; len <= sizeof(wire); len++) {
		if (len != TX_STATE_WIRE_LEN)
			expect_refused(wire, len, TX_STATE_BAD_LENGTH);
	}
}

static void every_wrong_field_has_its_error(void **unused)
{
	static const struct {
		size_t at;
		uint8_t value;
		enum tx_state_error error;
	} cases[] = {
		{0, 0, TX_STATE_BAD_VERSION},      {0, 1, TX_STATE_BAD_VERSION},    {1, 2, TX_STATE_BAD_TLS_VERSION},
		{1, 5, TX_STATE_BAD_TLS_VERSION},  {1, 3, TX_STATE_BAD_SUITE},      {2, 0xc0, TX_STATE_BAD_SUITE},
		{3, 0x04, TX_STATE_BAD_SUITE},     {3, 0x03, TX_STATE_BAD_AEAD},    {3, 0x01, TX_STATE_BAD_KEY_LENGTH},
		{4, 0, TX_STATE_BAD_AEAD},         {4, 2, TX_STATE_BAD_AEAD},       {4, 3, TX_STATE_BAD_AEAD},
		{5, 16, TX_STATE_BAD_KEY_LENGTH},  {5, 0, TX_STATE_BAD_KEY_LENGTH}, {5, 33, TX_STATE_BAD_KEY_LENGTH},
		{5, 255, TX_STATE_BAD_KEY_LENGTH}, {6, 1, TX_STATE_BAD_USE},        {6, 2, TX_STATE_BAD_USE},
		{6, 255, TX_STATE_BAD_USE},        {7, 1, TX_STATE_BAD_RESERVED},
	};

	(void)unused;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		uint8_t wire[TX_STATE_WIRE_LEN];

		make_wire(wire);
		wire[cases[i].at] = cases[i].value;
		expect_refused(wire, sizeof(wire), cases[i].error);
	}
}

static void key_bytes_behind_a_short_key_must_be_zero(void **unused)
{
	uint8_t wire[TX_STATE_WIRE_LEN];
	struct tx_state state;

	(void)unused;
	make_wire(wire);
	wire[3] = 0x01;
	wire[5] = 16;
	expect_refused(wire, sizeof(wire), TX_STATE_BAD_RESERVED);
	memset(wire + 24, 0, 16);
	assert_int_equal(tx_state_decode(&state, wire, sizeof(wire)), TX_STATE_OK);
	wire[39] = 1;
	expect_refused(wire, sizeof(wire), TX_STATE_BAD_RESERVED);
}

static void grants_are_for_tls_1_3_without_a_sequence_number(void **unused)
{
	uint8_t wire[TX_STATE_WIRE_LEN], again[TX_STATE_WIRE_LEN];
	struct tx_state state;

	(void)unused;
	make_wire(wire);
	wire[6] = 1;
	memset(wire + 52, 0, 8);
	assert_int_equal(tx_state_decode(&state, wire, sizeof(wire)), TX_STATE_OK);
	assert_int_equal(state.use, TX_USE_GRANTS);
	tx_state_encode(again, &state);
	assert_memory_equal(again, wire, sizeof(wire));
	wire[59] = 1;
	expect_refused(wire, sizeof(wire), TX_STATE_BAD_USE);
	wire[59] = 0;
	wire[1] = 3;
	wire[2] = 0xc0;
	wire[3] = 0x30;
	expect_refused(wire, sizeof(wire), TX_STATE_BAD_USE);
	wire[6] = 0;
	assert_int_equal(tx_state_decode(&state, wire, sizeof(wire)), TX_STATE_OK);
	assert_int_equal(state.use, TX_USE_RANGE);
}

static void fields_are_read_big_endian(void **unused)
{
	uint8_t wire[TX_STATE_WIRE_LEN], again[TX_STATE_WIRE_LEN];
	struct tx_state state;

	(void)unused;
	make_wire(wire);
	assert_int_equal(tx_state_decode(&state, wire, sizeof(wire)), TX_STATE_OK);
	assert_int_equal(state.tls_minor, 4);
	assert_int_equal(state.suite, 0x1302);
	assert_int_equal(state.aead, TX_AEAD_AES_GCM);
	assert_int_equal(state.key_len, 32);
	assert_memory_equal(state.key, wire + 8, 32);
	assert_memory_equal(state.iv, wire + 40, 12);
	assert_true(state.seq == 0x0102030405060708);
	assert_memory_equal(state.proof_key, wire + 60, 16);
	memset(again, 0xff, sizeof(again));
	tx_state_encode(again, &state);
	assert_memory_equal(again, wire, sizeof(wire));
}

static void form_1_is_refused_by_name(void **unused)
{
	uint8_t wire[TX_STATE_WIRE_LEN];

	(void)unused;
	make_wire(wire);
	wire[0] = 1;
	expect_refused(wire, sizeof(wire), TX_STATE_BAD_VERSION);
	assert_non_null(strstr(tx_state_error_text(TX_STATE_BAD_VERSION), "another wire form than 2"));
	expect_refused(wire, 60, TX_STATE_BAD_LENGTH);
	assert_non_null(strstr(tx_state_error_text(TX_STATE_BAD_LENGTH), "76 bytes"));
}

static void exactly_the_leasable_suites_are_accepted(void **unused)
{
	static const struct {
		uint16_t suite;
		uint8_t minor, aead, key_len;
	} accepted[] = {
		{0x1301, 4, 1, 16}, {0x1302, 4, 1, 32}, {0x1303, 4, 2, 32}, {0x009c, 3, 1, 16},
		{0x009d, 3, 1, 32}, {0x009e, 3, 1, 16}, {0x009f, 3, 1, 32}, {0xc02b, 3, 1, 16},
		{0xc02c, 3, 1, 32}, {0xc02f, 3, 1, 16}, {0xc030, 3, 1, 32},
	};
	const size_t count = sizeof(accepted) / sizeof(accepted[0]);
	size_t found = 0;

	(void)unused;
	/* All numbers, both versions, both AEADs, both key lengths: no other combination gets in. */
	for (unsigned number = 0; number <= 0xffff; number++) {
		for (unsigned variant = 0; variant < 8; variant++) {
			uint8_t wire[TX_STATE_WIRE_LEN] = {2,
							   (uint8_t)(3 + variant % 2),
							   (uint8_t)(number >> 8),
							   (uint8_t)number,
							   (uint8_t)(1 + variant / 2 % 2),
							   (uint8_t)(16 << variant / 4)};
			struct tx_state state;
			bool expected = false;

			for (size_t i = 0; i < count; i++)
				expected |= accepted[i].suite == number && accepted[i].minor == wire[1] &&
					    accepted[i].aead == wire[4] && accepted[i].key_len == wire[5];
			assert_int_equal(tx_state_decode(&state, wire, sizeof(wire)) == TX_STATE_OK, expected);
			found += expected;
		}
	}
	assert_int_equal(found, count);
}

static struct tx_state state_of(uint8_t tls_minor, enum tx_aead aead, uint64_t seq, uint8_t nonce_end)
{
	struct tx_state state = {.tls_minor = tls_minor, .aead = aead, .key_len = 16, .seq = seq};

	memset(state.iv, 0x5a, 4);
	memset(state.iv + 4, 0, 7);
	state.iv[11] = nonce_end;
	return state;
}

static void advancing_moves_the_sequence(void **unused)
{
	struct tx_state state = state_of(4, TX_AEAD_AES_GCM, 1, 9), before = state;

	(void)unused;
	assert_true(tx_state_advance(&state, 70000));
	assert_int_equal(state.seq, 70001);
	assert_memory_equal(state.iv, before.iv, sizeof(state.iv));
}

static void advancing_moves_the_explicit_nonce_and_never_the_salt(void **unused)
{
	static const uint8_t moved[TX_STATE_IV_LEN] = {0x5a, 0x5a, 0x5a, 0x5a, 0, 0, 0, 0, 0, 1, 0x11, 0x79};
	struct tx_state state = state_of(3, TX_AEAD_AES_GCM, 7, 9), before;

	(void)unused;
	assert_true(tx_state_advance(&state, 70000));
	assert_int_equal(state.seq, 70007);
	assert_memory_equal(state.iv, moved, sizeof(moved));
	memset(state.iv + 4, 0xff, 8);
	before = state;
	assert_true(tx_state_advance(&state, 0));
	assert_false(tx_state_advance(&state, 1));
	assert_memory_equal(&state, &before, sizeof(state));
}

static void advancing_beyond_the_last_sequence_is_refused(void **unused)
{
	struct tx_state state = state_of(4, TX_AEAD_CHACHA20_POLY1305, UINT64_MAX - 2, 0);

	(void)unused;
	assert_false(tx_state_advance(&state, 3));
	assert_int_equal(state.seq, UINT64_MAX - 2);
	assert_true(tx_state_advance(&state, 2));
	assert_int_equal(state.seq, UINT64_MAX);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_length_but_76_is_refused),
		cmocka_unit_test(form_1_is_refused_by_name),
		cmocka_unit_test(every_wrong_field_has_its_error),
		cmocka_unit_test(key_bytes_behind_a_short_key_must_be_zero),
		cmocka_unit_test(grants_are_for_tls_1_3_without_a_sequence_number),
		cmocka_unit_test(fields_are_read_big_endian),
		cmocka_unit_test(exactly_the_leasable_suites_are_accepted),
		cmocka_unit_test(advancing_moves_the_sequence),
		cmocka_unit_test(advancing_moves_the_explicit_nonce_and_never_the_salt),
		cmocka_unit_test(advancing_beyond_the_last_sequence_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

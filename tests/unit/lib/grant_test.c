/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Guards: grants and the node's messages are to the byte what doc/protocol.md section 6 says, their proofs as Python's hmac
 * computes them; each wrong field of a grant is refused with its own error, and one bit changed anywhere with that of the
 * proof. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "data_record.h"
#include "grant.h"
#include "granting.h"

static const uint8_t key[PROOF_KEY_LEN] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};

static struct ticket ticket_of(int value)
{
	struct ticket ticket;

	memset(ticket.bytes, value, sizeof(ticket.bytes));
	return ticket;
}

static struct grant usual(void)
{
	return (struct grant){.stream = 5, .number = 1, .slot = 7, .bytes = 65536, .clear = 1};
}

static enum grant_error decode(struct grant *grant, const uint8_t wire[static GRANT_WIRE_LEN])
{
	struct ticket ticket = ticket_of(0xa5);

	return grant_decode(grant, wire, &ticket, key);
}

static void grant_is_read_field_by_field(void **unused)
{
	static const uint8_t wire[GRANT_WIRE_LEN] = {
		0x01, 0x01, 0x00, 0x00, 0x7f, 0xff, 0xff, 0xff, 0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x07, 0x08,
		0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0xa0, 0xb0, 0x11, 0x12, 0x13, 0x14, 0x15, 0x16, 0x17, 0x18,
		0x00, 0x03, 0x02, 0x01, 0x00, 0x00, 0x02, 0x01, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
		0x82, 0x5a, 0x9a, 0xa6, 0xb6, 0x5a, 0x3b, 0x4e, 0x72, 0xe9, 0xef, 0x8c, 0x98, 0x9e, 0x21, 0x7f};
	struct ticket ticket = ticket_of(0xa5);
	uint8_t again[GRANT_WIRE_LEN];
	struct grant grant;

	(void)unused;
	assert_int_equal(decode(&grant, wire), GRANT_OK);
	assert_true(grant.last);
	assert_int_equal(grant.stream, 0x7fffffff);
	assert_true(grant.number == 0x0102030405060708);
	assert_int_equal(grant.slot, 0xa0b0);
	assert_true(grant.first == 0x1112131415161718);
	assert_int_equal(grant.bytes, 0x30201);
	assert_int_equal(grant.clear, 0x201);
	granting_encode(again, &grant, &ticket, key);
	assert_memory_equal(again, wire, sizeof(wire));
}

static void message_is_written_and_proven_exactly(void **unused)
{
	static const uint8_t expected[GRANT_MESSAGE_HEAD_LEN] = {
		0x01, 0x00, 0x00, 0x00, 0x01, 0x02, 0x03, 0x04, 0x11, 0x12, 0x13, 0x14, 0x15, 0x16,
		0x17, 0x18, 0x21, 0x22, 0x23, 0x24, 0x25, 0x26, 0x27, 0x28, 0xda, 0xf7, 0xf0, 0x2f,
		0x50, 0x97, 0x1f, 0x13, 0x96, 0x4a, 0xc2, 0x29, 0x9a, 0x13, 0xd8, 0xbc};
	const struct grant_message message = {GRANT_MESSAGE_ANSWER, 0x01020304, 0x1112131415161718, 0x2122232425262728};
	struct ticket ticket = ticket_of(0xa5);
	uint8_t wire[GRANT_MESSAGE_HEAD_LEN];
	struct granting_message seen;

	(void)unused;
	memset(wire, 0xff, sizeof(wire));
	assert_true(grant_message_encode(wire, &message, &ticket, key));
	assert_memory_equal(wire, expected, sizeof(wire));
	assert_true(granting_read(&seen, wire, &ticket, key));
	assert_true(seen.type == 1 && seen.payload == message.payload && seen.number == message.number &&
		    seen.ready == message.ready);
}

static void every_wrong_field_has_its_error(void **unused)
{
	static const struct {
		size_t at;
		int bytes;
		uint64_t value;
		enum grant_error error;
	} cases[] = {
		{0, 1, 0, GRANT_BAD_VERSION},
		{0, 1, 2, GRANT_BAD_VERSION},
		{1, 1, 2, GRANT_BAD_RESERVED},
		{1, 1, 0x80, GRANT_BAD_RESERVED},
		{2, 1, 1, GRANT_BAD_RESERVED},
		{3, 1, 1, GRANT_BAD_RESERVED},
		{40, 1, 1, GRANT_BAD_RESERVED},
		{47, 1, 1, GRANT_BAD_RESERVED},
		{4, 4, 0, GRANT_BAD_STREAM},
		{4, 4, 2, GRANT_BAD_STREAM},
		{4, 4, 0x80000001, GRANT_BAD_STREAM},
		{8, 8, 0, GRANT_BAD_NUMBER},
		{32, 4, 0, GRANT_BAD_BYTES},
		{32, 4, 262145, GRANT_BAD_BYTES},
		{24, 8, UINT64_MAX - 65535, GRANT_BAD_BYTES},
		{36, 4, 0, GRANT_BAD_CLEAR},
		{36, 4, 1025, GRANT_BAD_CLEAR},
		{36, 4, 65535, GRANT_BAD_CLEAR},
		{36, 4, 65537, GRANT_BAD_CLEAR},
		{36, 4, UINT32_MAX, GRANT_BAD_CLEAR},
		{16, 8, 0, GRANT_BAD_SLOT},
		{36, 4, 65536, GRANT_BAD_SLOT}, /* nothing is sealed, but there is a slot */
		{16, 8, (1 << 24) - 5, GRANT_BAD_SLOT},
		{16, 8, 1 << 24, GRANT_BAD_SLOT},
		{16, 8, UINT64_MAX, GRANT_BAD_SLOT},
		{0, 1, 1, GRANT_OK},
		{1, 1, 1, GRANT_OK},
		{4, 4, 0x7fffffff, GRANT_OK},
		{8, 8, UINT64_MAX, GRANT_OK},
		{32, 4, 262144, GRANT_OK},
		{32, 4, 2, GRANT_OK},
		{24, 8, UINT64_MAX - 65536, GRANT_OK},
		{36, 4, 1024, GRANT_OK},
		{16, 8, 1, GRANT_OK},
		{16, 8, (1 << 24) - 6, GRANT_OK}, /* 65535 bytes are 5 records */
	};
	struct ticket ticket = ticket_of(0xa5);

	(void)unused;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		uint8_t wire[GRANT_WIRE_LEN];
		struct grant grant = usual();

		granting_encode(wire, &grant, &ticket, key);
		granting_put(wire + cases[i].at, cases[i].value, cases[i].bytes);
		granting_prove(wire, &ticket, key);
		if (decode(&grant, wire) != cases[i].error)
			fail_msg("case %zu: \"%s\"", i, grant_error_text(decode(&grant, wire)));
		assert_non_null(grant_error_text(cases[i].error));
	}
}

static void grant_without_sealed_bytes_has_no_slot(void **unused)
{
	struct grant grant = {.stream = 1, .number = 1, .bytes = 262144, .clear = 262144}, seen;
	struct ticket ticket = ticket_of(0xa5);
	uint8_t wire[GRANT_WIRE_LEN];

	(void)unused;
	granting_encode(wire, &grant, &ticket, key);
	assert_int_equal(decode(&seen, wire), GRANT_OK);
	assert_int_equal(data_layout_of(&seen).records, 0);
	assert_int_equal(data_layout_of(&seen).ciphertext, 0);
}

static void any_change_breaks_the_proof(void **unused)
{
	struct ticket ticket = ticket_of(0xa5), other = ticket_of(0xa4);
	struct grant grant = usual(), seen;
	uint8_t wire[GRANT_WIRE_LEN], altered_key[PROOF_KEY_LEN];

	(void)unused;
	granting_encode(wire, &grant, &ticket, key);
	assert_int_equal(grant_decode(&seen, wire, &ticket, key), GRANT_OK);
	for (size_t bit = 0; bit < 8 * sizeof(wire); bit++) {
		wire[bit / 8] ^= (uint8_t)(1u << bit % 8);
		assert_int_equal(grant_decode(&seen, wire, &ticket, key), GRANT_BAD_PROOF);
		wire[bit / 8] ^= (uint8_t)(1u << bit % 8);
	}
	assert_int_equal(grant_decode(&seen, wire, &other, key), GRANT_BAD_PROOF);
	memcpy(altered_key, key, sizeof(altered_key));
	altered_key[15] ^= 1;
	assert_int_equal(grant_decode(&seen, wire, &ticket, altered_key), GRANT_BAD_PROOF);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(grant_is_read_field_by_field),
		cmocka_unit_test(message_is_written_and_proven_exactly),
		cmocka_unit_test(every_wrong_field_has_its_error),
		cmocka_unit_test(grant_without_sealed_bytes_has_no_slot),
		cmocka_unit_test(any_change_breaks_the_proof),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

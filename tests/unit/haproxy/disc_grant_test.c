/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Guards: HAProxy's side of grants on the fetch hop (disc_grant.c) and the node's one (lib/wire/grant.c) understand each other to the
 * byte, and what a node must not send is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <haproxy/disc_grant.h>

#include "data_record.h"
#include "grant.h"
#include "ticket.h"

static const uint8_t key[DISC_PROOF_BYTES] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
static const char hex[] = "00112233445566778899aabbccddeeff";

static void sizes_are_those_of_the_node(void **unused)
{
	static const uint32_t sizes[][2] = {{1, 1},     {2, 1},       {1025, 1024},  {16376, 1},
					    {16377, 1}, {65536, 128}, {262144, 128}, {262144, 262144}};

	(void)unused;
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		struct disc_grant ours = {.bytes = sizes[i][0], .clear = sizes[i][1]};
		struct grant theirs = {.bytes = sizes[i][0], .clear = sizes[i][1]};
		struct data_layout layout = data_layout_of(&theirs);

		assert_int_equal(disc_grant_records(&ours), layout.records);
		assert_int_equal(disc_grant_ciphertext(&ours), layout.ciphertext);
	}
}

static struct ticket the_ticket(void)
{
	struct ticket ticket;

	for (size_t i = 0; i < sizeof(ticket.bytes); i++)
		ticket.bytes[i] = (uint8_t)(0x11 * i);
	return ticket;
}

static void the_node_reads_what_is_granted(void **unused)
{
	const struct ticket ticket = the_ticket();
	const struct disc_grant ours = {.number = 0x0102030405060708,
					.slot = 77,
					.first = 0x1122334455,
					.bytes = 200000,
					.clear = 128,
					.stream = 0x01020305,
					.last = 1};
	uint8_t wire[DISC_GRANT_LEN];
	struct grant theirs;

	(void)unused;
	assert_int_equal(disc_grant_encode(&ours, key, hex, wire), 1);
	assert_int_equal(grant_decode(&theirs, wire, &ticket, key), GRANT_OK);
	assert_true(theirs.last && theirs.number == ours.number && theirs.slot == ours.slot &&
		    theirs.first == ours.first);
	assert_true(theirs.bytes == ours.bytes && theirs.clear == ours.clear && theirs.stream == ours.stream);
}

static void a_message_needs_its_proof(void **unused)
{
	const struct ticket ticket = the_ticket();
	const struct grant_message theirs = {.type = GRANT_MESSAGE_ANSWER, .payload = 200, .number = 3, .ready = 256};
	uint8_t wire[DISC_MESSAGE_LEN];
	struct disc_message msg;

	(void)unused;
	assert_true(grant_message_encode(wire, &theirs, &ticket, key));
	assert_int_equal(disc_message_decode(&msg, wire, key, hex), 1);
	assert_int_equal(msg.type, DISC_MSG_ANSWER);
	assert_int_equal(msg.payload, 200);
	assert_int_equal(msg.number, 3);
	assert_int_equal(msg.ready, 256);
	for (size_t bit = 0; bit < 8 * sizeof(wire); bit++) {
		wire[bit / 8] ^= (uint8_t)(1 << bit % 8);
		assert_int_equal(disc_message_decode(&msg, wire, key, hex), 0);
		wire[bit / 8] ^= (uint8_t)(1 << bit % 8);
	}
}

static void a_chunk_size_is_exact(void **unused)
{
	static const struct {
		const char *text;
		int used;
		uint32_t size;
	} cases[] = {
		{"28\r\n", 4, 0x28},    {"0\r\n", 3, 0},     {"FFFFFFFF\r\n", 10, 0xffffffff},
		{"a1b\r\nx", 5, 0xa1b}, {"", 0, 0},          {"28", 0, 0},
		{"28\r", 0, 0},         {"28\n", -1, 0},     {"\r\n", -1, 0},
		{"28 \r\n", -1, 0},     {"28;x\r\n", -1, 0}, {"123456789\r\n", -1, 0},
		{"g\r\n", -1, 0},       {"-1\r\n", -1, 0},   {"28\rx", -1, 0},
	};

	(void)unused;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		uint32_t size = 0;

		assert_int_equal(disc_chunk_size(cases[i].text, strlen(cases[i].text), &size), cases[i].used);
		if (cases[i].used > 0)
			assert_int_equal(size, cases[i].size);
	}
}

static void a_frame_has_the_head_of_data(void **unused)
{
	static const uint8_t expected[] = {0, 0x40, 0, 0, 1, 0, 0, 0, 7};
	uint8_t head[DISC_FRAME_HEAD];

	(void)unused;
	disc_data_head(head, 16384, 7, 1);
	assert_memory_equal(head, expected, sizeof(expected));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(sizes_are_those_of_the_node),  cmocka_unit_test(the_node_reads_what_is_granted),
		cmocka_unit_test(a_message_needs_its_proof),    cmocka_unit_test(a_chunk_size_is_exact),
		cmocka_unit_test(a_frame_has_the_head_of_data),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

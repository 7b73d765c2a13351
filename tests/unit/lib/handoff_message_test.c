/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Guards: messages of the handoff socket have the bytes of doc/direct-path.md, and whatever else is refused with its
 * reason. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "handoff_message.h"

static const uint8_t parked[] = {2, 1, 0, 0, 0, 0, 0,  0,  0,  0,  0,   0,   0,   0,   1,   2,   1,   2,  3,
				 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14,  15,  16,  0,   0,   0,   1,   0,  0,
				 0, 5, 0, 6, 0, 2, 0,  1,  0,  2,  'd', 'i', 'r', 'e', 'c', 't', '/', 'a'};
static const uint8_t abandon[] = {2, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7};
static const uint8_t returned[] = {2, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7};
static const uint8_t lost[] = {2, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7,
			       0, 0, 0, 0, 0, 0, 3, 4, 2, 0, 0, 0, 0, 0, 0, 0};
static const uint8_t progress[] = {2, 5, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 3, 4};

static const uint8_t refused[] = {2, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7};

static const uint8_t places[] = {2, 9, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0};
static const uint8_t recall[] = {2, 8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0};

static struct handoff_message round_trip(const uint8_t *bytes, size_t len)
{
	uint8_t again[HANDOFF_MESSAGE_MAX];
	struct handoff_message message;

	assert_int_equal(handoff_message_decode(&message, bytes, len), HANDOFF_MESSAGE_OK);
	assert_int_equal(handoff_message_encode(again, &message), len);
	assert_memory_equal(again, bytes, len);
	return message;
}

static void messages_have_the_documented_bytes(void **state)
{
	struct handoff_message message = round_trip(parked, sizeof(parked));

	(void)state;
	assert_int_equal(message.type, HANDOFF_MESSAGE_PARKED);
	assert_int_equal(message.handoff, 258);
	assert_memory_equal(message.ticket.bytes, parked + 16, TICKET_LEN);
	assert_true(message.bytes == (1ULL << 32) + 5);
	assert_int_equal(message.place, 65538);
	assert_int_equal(message.announcement_len, 6);
	assert_memory_equal(message.announcement, "direct", 6);
	assert_int_equal(message.target_len, 2);
	assert_memory_equal(message.target, "/a", 2);
	assert_int_equal(round_trip(abandon, sizeof(abandon)).type, HANDOFF_MESSAGE_ABANDON);
	assert_int_equal(round_trip(returned, sizeof(returned)).handoff, 7);
	message = round_trip(lost, sizeof(lost));
	assert_int_equal(message.bytes, 772);
	assert_int_equal(message.cause, HANDOFF_LOSS_NODE);
	assert_int_equal(round_trip(progress, sizeof(progress)).bytes, 772);
	assert_int_equal(round_trip(refused, sizeof(refused)).type, HANDOFF_MESSAGE_REFUSED);
	assert_int_equal(round_trip(recall, sizeof(recall)).type, HANDOFF_MESSAGE_RECALL);
	assert_int_equal(round_trip(places, sizeof(places)).type, HANDOFF_MESSAGE_PLACES);
}

/* <bytes> with <value> at <at>. */
static void refuses(const uint8_t *bytes, size_t len, size_t at, uint8_t value, enum handoff_message_error expected)
{
	static const struct handoff_message empty;
	uint8_t changed[HANDOFF_MESSAGE_MAX];
	struct handoff_message message;

	memcpy(changed, bytes, len);
	changed[at] = value;
	memset(&message, 0x55, sizeof(message));
	assert_int_equal(handoff_message_decode(&message, changed, len), expected);
	assert_memory_equal(&message, &empty, sizeof(message));
	assert_true(strlen(handoff_message_error_text(expected)) > 0);
}

static void malformed_fields_are_refused(void **state)
{
	uint8_t nothing[sizeof(parked)];

	(void)state;
	refuses(parked, sizeof(parked), 0, 1, HANDOFF_MESSAGE_BAD_VERSION);
	refuses(parked, sizeof(parked), 1, 0, HANDOFF_MESSAGE_BAD_TYPE);
	refuses(parked, sizeof(parked), 1, 3, HANDOFF_MESSAGE_BAD_LENGTH);
	refuses(parked, sizeof(parked), 1, 6, HANDOFF_MESSAGE_BAD_TYPE);
	refuses(parked, sizeof(parked), 1, 10, HANDOFF_MESSAGE_BAD_TYPE);
	refuses(parked, sizeof(parked), 40, 2, HANDOFF_MESSAGE_BAD_LENGTH);
	refuses(parked, sizeof(parked), 42, 60, HANDOFF_MESSAGE_BAD_LENGTH);
	refuses(places, sizeof(places), 15, 1, HANDOFF_MESSAGE_BAD_NUMBER);
	refuses(recall, sizeof(recall), 15, 1, HANDOFF_MESSAGE_BAD_NUMBER);
	for (size_t at = 2; at < 8; at++)
		refuses(abandon, sizeof(abandon), at, 1, HANDOFF_MESSAGE_BAD_RESERVED);
	refuses(lost, sizeof(lost), 24, 0, HANDOFF_MESSAGE_BAD_CAUSE);
	refuses(lost, sizeof(lost), 24, 4, HANDOFF_MESSAGE_BAD_CAUSE);
	for (size_t at = 25; at < 32; at++)
		refuses(lost, sizeof(lost), at, 1, HANDOFF_MESSAGE_BAD_RESERVED);
	memcpy(nothing, parked, sizeof(parked));
	memset(nothing + 32, 0, 8);
	refuses(nothing, sizeof(nothing), 0, 2, HANDOFF_MESSAGE_BAD_BYTES);
	memcpy(nothing, parked, sizeof(parked));
	nothing[41] = 8;
	refuses(nothing, sizeof(nothing), 43, 0, HANDOFF_MESSAGE_BAD_BYTES);
	nothing[41] = 0;
	refuses(nothing, sizeof(nothing), 43, 8, HANDOFF_MESSAGE_BAD_BYTES);
}

static void every_other_length_is_refused(void **state)
{
	static const struct {
		const uint8_t *bytes;
		size_t len;
	} all[] = {
		{parked, sizeof(parked)}, {abandon, sizeof(abandon)},   {returned, sizeof(returned)},
		{lost, sizeof(lost)},     {progress, sizeof(progress)},
	};
	uint8_t longer[HANDOFF_MESSAGE_MAX + 2] = {0};
	struct handoff_message message;

	(void)state;
	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
		memcpy(longer, all[i].bytes, all[i].len);
		for (size_t len = 0; len < sizeof(longer); len++) {
			enum handoff_message_error expected =
				len == all[i].len ? HANDOFF_MESSAGE_OK : HANDOFF_MESSAGE_BAD_LENGTH;

			assert_int_equal(handoff_message_decode(&message, longer, len), expected);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(messages_have_the_documented_bytes),
		cmocka_unit_test(malformed_fields_are_refused),
		cmocka_unit_test(every_other_length_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

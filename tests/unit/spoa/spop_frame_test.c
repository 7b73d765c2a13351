/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Guards: malformed frames are refused with the status that SPOP has for it; well-formed ones mean what HAProxy
 * means. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "spop_frame.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* NOTIFY as HAProxy 3.0 sends it: stream 240, frame 1, message "m" with a binary "lease" of 2 bytes and a null
 * "host". */
static const uint8_t notify_bytes[] = {3,   0,   0,   0, 1, 0xf0, 0x00, 1, 1,   'm', 2,   5,   'l', 'e',
				       'a', 's', 'e', 9, 2, 0xaa, 0xbb, 4, 'h', 'o', 's', 't', 0};
#define NOTIFY_HEAD_LEN 8

/* A frame without its length, on the heap and exactly as long. */
struct bytes {
	uint8_t *data;
	size_t len;
};

static struct bytes bytes_of(const void *data, size_t len)
{
	struct bytes bytes = {malloc(len ? len : 1), len};

	assert_non_null(bytes.data);
	memcpy(bytes.data, data, len);
	return bytes;
}

static enum spop_status read_status(const void *data, size_t len)
{
	struct bytes bytes = bytes_of(data, len);
	struct spop_frame frame;
	enum spop_status status = spop_frame_read(&frame, bytes.data, bytes.len);

	free(bytes.data);
	return status;
}

static void head_cut_at_every_byte_is_refused(void **state)
{
	(void)state;
	for (size_t len = 0; len < NOTIFY_HEAD_LEN; len++)
		assert_int_equal(read_status(notify_bytes, len), SPOP_STATUS_INVALID);
	assert_int_equal(read_status(notify_bytes, NOTIFY_HEAD_LEN), SPOP_STATUS_NORMAL);
}

static void fragments_are_refused_with_their_own_status(void **state)
{
	static const uint8_t first[] = {3, 0, 0, 0, 0, 1, 1}, next[] = {0, 0, 0, 0, 0, 1, 1},
			     last[] = {0, 0, 0, 0, 1, 1, 1};
	static const uint8_t aborted[] = {3, 0, 0, 0, 3, 1, 1};

	(void)state;
	assert_int_equal(read_status(first, sizeof(first)), SPOP_STATUS_FRAGMENTED);
	assert_int_equal(read_status(next, sizeof(next)), SPOP_STATUS_FRAGMENTED);
	assert_int_equal(read_status(last, sizeof(last)), SPOP_STATUS_FRAGMENTED);
	assert_int_equal(read_status(aborted, sizeof(aborted)), SPOP_STATUS_FRAGMENTED);
	assert_int_equal(SPOP_STATUS_FRAGMENTED, 10);
}

static void types_that_haproxy_does_not_send_are_refused(void **state)
{
	(void)state;
	for (unsigned type = 4; type <= 255; type++) {
		const uint8_t frame[] = {(uint8_t)type, 0, 0, 0, 1, 0, 0};

		assert_int_equal(read_status(frame, sizeof(frame)), SPOP_STATUS_INVALID);
	}
}

static void hello_and_disconnect_with_ids_are_refused(void **state)
{
	static const uint8_t frames[][7] = {{1, 0, 0, 0, 1, 1, 0}, {1, 0, 0, 0, 1, 0, 1}, {2, 0, 0, 0, 1, 1, 0}};
	static const uint8_t good[] = {1, 0, 0, 0, 1, 0, 0};

	(void)state;
	for (size_t i = 0; i < COUNT(frames); i++)
		assert_int_equal(read_status(frames[i], sizeof(frames[i])), SPOP_STATUS_INVALID);
	assert_int_equal(read_status(good, sizeof(good)), SPOP_STATUS_NORMAL);
}

static void notify_gives_ids_message_and_arguments(void **state)
{
	struct bytes bytes = bytes_of(notify_bytes, sizeof(notify_bytes));
	struct spop_frame frame;
	struct spop_notify notify;
	struct spop_item item;

	(void)state;
	assert_int_equal(spop_frame_read(&frame, bytes.data, bytes.len), SPOP_STATUS_NORMAL);
	assert_int_equal(frame.type, SPOP_NOTIFY);
	assert_int_equal(frame.stream_id, 240);
	assert_int_equal(frame.frame_id, 1);
	spop_notify_begin(&notify, frame.payload);
	assert_int_equal(spop_notify_next(&notify, &item), SPOP_STEP_MESSAGE);
	assert_true(spop_slice_is(item.name, "m"));
	assert_int_equal(spop_notify_next(&notify, &item), SPOP_STEP_ARGUMENT);
	assert_true(spop_slice_is(item.name, "lease"));
	assert_int_equal(item.value.type, SPOP_DATA_BINARY);
	assert_int_equal(item.value.bytes.len, 2);
	assert_memory_equal(item.value.bytes.data, "\xaa\xbb", 2);
	assert_int_equal(spop_notify_next(&notify, &item), SPOP_STEP_ARGUMENT);
	assert_true(spop_slice_is(item.name, "host"));
	assert_int_equal(item.value.type, SPOP_DATA_NULL);
	assert_int_equal(spop_notify_next(&notify, &item), SPOP_STEP_END);
	free(bytes.data);
}

/* Walks through <payload>; returns how it ended. */
static enum spop_step walk(const uint8_t *payload, size_t len)
{
	struct bytes bytes = bytes_of(payload, len);
	struct spop_notify notify;
	struct spop_item item;
	enum spop_step step;

	spop_notify_begin(&notify, (struct spop_slice){bytes.data, bytes.len});
	do {
		step = spop_notify_next(&notify, &item);
	} while (step == SPOP_STEP_MESSAGE || step == SPOP_STEP_ARGUMENT);
	free(bytes.data);
	return step;
}

static void notify_cut_at_every_byte_is_a_fault(void **state)
{
	const uint8_t *payload = notify_bytes + NOTIFY_HEAD_LEN;
	size_t whole = sizeof(notify_bytes) - NOTIFY_HEAD_LEN;

	(void)state;
	for (size_t len = 1; len < whole; len++)
		assert_int_equal(walk(payload, len), SPOP_STEP_FAULT);
	assert_int_equal(walk(payload, whole), SPOP_STEP_END);
	assert_int_equal(walk(payload, 0), SPOP_STEP_END);
}

static void notify_with_lengths_beyond_the_frame_is_a_fault(void **state)
{
	static const uint8_t name[] = {200, 'm', 0}, argument[] = {1, 'm', 1, 9, 'a', 0},
			     value[] = {1, 'm', 1, 1, 'a', 8, 9, 'x'};
	static const uint8_t more_arguments[] = {1, 'm', 2, 1, 'a', 0}, no_name[] = {0, 0},
			     bad_type[] = {1, 'm', 1, 1, 'a', 15};

	(void)state;
	assert_int_equal(walk(name, sizeof(name)), SPOP_STEP_FAULT);
	assert_int_equal(walk(argument, sizeof(argument)), SPOP_STEP_FAULT);
	assert_int_equal(walk(value, sizeof(value)), SPOP_STEP_FAULT);
	assert_int_equal(walk(more_arguments, sizeof(more_arguments)), SPOP_STEP_FAULT);
	assert_int_equal(walk(no_name, sizeof(no_name)), SPOP_STEP_FAULT);
	assert_int_equal(walk(bad_type, sizeof(bad_type)), SPOP_STEP_FAULT);
}

struct hello_fields {
	const char *versions, *capabilities, *engine_id;
	uint32_t max_frame_size;
	bool healthcheck, versions_as_number;
};

/* Builds a HELLO's payload; NULL and 0 leave a key out. Returns its length. */
static size_t build_hello_payload(uint8_t *out, size_t cap, const struct hello_fields *fields)
{
	struct spop_writer writer = {out, out, out + cap, false};

	if (fields->versions) {
		spop_write_string(&writer, "supported-versions");
		spop_write_text_value(&writer, fields->versions);
	}
	if (fields->versions_as_number) {
		spop_write_string(&writer, "supported-versions");
		spop_write_uint32_value(&writer, 2);
	}
	if (fields->max_frame_size) {
		spop_write_string(&writer, "max-frame-size");
		spop_write_uint32_value(&writer, fields->max_frame_size);
	}
	if (fields->capabilities) {
		spop_write_string(&writer, "capabilities");
		spop_write_text_value(&writer, fields->capabilities);
	}
	if (fields->healthcheck) {
		spop_write_string(&writer, "healthcheck");
		spop_write_byte(&writer, SPOP_DATA_BOOL | 0x10);
	}
	if (fields->engine_id) {
		spop_write_string(&writer, "engine-id");
		spop_write_text_value(&writer, fields->engine_id);
	}
	spop_write_string(&writer, "some-later-key");
	spop_write_text_value(&writer, "skipped");
	assert_false(writer.full);
	return (size_t)(writer.p - out);
}

static enum spop_status read_hello(const struct hello_fields *fields, struct spop_hello *hello)
{
	uint8_t payload[512];
	size_t len = build_hello_payload(payload, sizeof(payload), fields);

	return spop_hello_read(hello, (struct spop_slice){payload, len});
}

static void hello_without_a_key_names_it(void **state)
{
	static const struct {
		struct hello_fields fields;
		enum spop_status status;
	} cases[] = {
		{{NULL, "", NULL, 16380, false, false}, SPOP_STATUS_NO_VERSION},
		{{"1.0, 3.0", "", NULL, 16380, false, false}, SPOP_STATUS_BAD_VERSION},
		{{"", "", NULL, 16380, false, false}, SPOP_STATUS_BAD_VERSION},
		{{"20.1", "", NULL, 16380, false, false}, SPOP_STATUS_BAD_VERSION},
		{{"2.0", "", NULL, 0, false, false}, SPOP_STATUS_NO_FRAME_SIZE},
		{{"2.0", "", NULL, 255, false, false}, SPOP_STATUS_BAD_FRAME_SIZE},
		{{"2.0", NULL, NULL, 256, false, false}, SPOP_STATUS_NO_CAPABILITIES},
		{{NULL, "", NULL, 16380, false, true}, SPOP_STATUS_INVALID},
		{{"2.0", "", NULL, 256, false, false}, SPOP_STATUS_NORMAL},
		{{"1.0,2.1", "", NULL, 256, false, false}, SPOP_STATUS_NORMAL},
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		struct spop_hello hello;

		assert_int_equal(read_hello(&cases[i].fields, &hello), cases[i].status);
	}
}

static void hello_of_a_connection_and_of_a_health_check(void **state)
{
	const struct hello_fields connection = {"2.0", "fragmentation, pipelining,async", "7f-01", 16380, false, false};
	const struct hello_fields check = {"2.0", "", NULL, 16380, true, false};
	struct spop_hello hello;

	(void)state;
	assert_int_equal(read_hello(&connection, &hello), SPOP_STATUS_NORMAL);
	assert_true(hello.pipelining);
	assert_false(hello.healthcheck);
	assert_int_equal(hello.max_frame_size, 16380);
	assert_int_equal(hello.engine_id.len, 5);
	assert_int_equal(read_hello(&check, &hello), SPOP_STATUS_NORMAL);
	assert_false(hello.pipelining);
	assert_true(hello.healthcheck);
	assert_int_equal(hello.engine_id.len, 0);
}

static void hello_cut_inside_a_key_is_refused(void **state)
{
	const struct hello_fields fields = {"2.0", "", NULL, 16380, false, false};
	uint8_t payload[512];
	size_t len = build_hello_payload(payload, sizeof(payload), &fields);

	(void)state;
	for (size_t cut = 1; cut < len; cut++) {
		struct bytes bytes = bytes_of(payload, cut);
		struct spop_hello hello;

		/* Cut between two keys it lacks those behind; "capabilities" is the last that is needed. */
		if (cut < len - strlen("some-later-key") - strlen("skipped") - 3)
			assert_int_not_equal(spop_hello_read(&hello, (struct spop_slice){bytes.data, cut}),
					     SPOP_STATUS_NORMAL);
		else if (cut > len - strlen("some-later-key") - strlen("skipped") - 3)
			assert_int_equal(spop_hello_read(&hello, (struct spop_slice){bytes.data, cut}),
					 SPOP_STATUS_INVALID);
		free(bytes.data);
	}
}

static void disconnect_needs_its_status(void **state)
{
	uint8_t frame[SPOP_DISCONNECT_MAX];
	size_t len = spop_build_disconnect(frame, sizeof(frame), SPOP_STATUS_TIMEOUT, "late");
	struct spop_disconnect disconnect;
	/* Behind the prefix, type, flags and two ids of a byte. */
	struct spop_slice payload = {frame + SPOP_PREFIX_LEN + 7, len - SPOP_PREFIX_LEN - 7};

	(void)state;
	assert_int_equal(spop_disconnect_read(&disconnect, payload), SPOP_STATUS_NORMAL);
	assert_int_equal(disconnect.status, SPOP_STATUS_TIMEOUT);
	assert_true(spop_slice_is(disconnect.message, "late"));
	payload.len--;
	assert_int_equal(spop_disconnect_read(&disconnect, payload), SPOP_STATUS_INVALID);
	payload.len = 0;
	assert_int_equal(spop_disconnect_read(&disconnect, payload), SPOP_STATUS_INVALID);
}

static void disconnect_cuts_a_long_message(void **state)
{
	uint8_t frame[SPOP_DISCONNECT_MAX];
	char text[400];

	(void)state;
	memset(text, 'x', sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';
	size_t len = spop_build_disconnect(frame, sizeof(frame), SPOP_STATUS_UNKNOWN, text);
	assert_true(len > SPOP_MESSAGE_TEXT_MAX && len <= SPOP_DISCONNECT_MAX);
	assert_int_equal(spop_build_disconnect(frame, 100, SPOP_STATUS_UNKNOWN, text), 0);
}

static void answers_have_the_bytes_of_the_specification(void **state)
{
	static const uint8_t ack_bytes[] = {0, 0, 0,   27,  103, 0,   0,   0,   1, 0xf0, 0,   1,   1,   3,
					    2, 6, 'a', 'c', 't', 'i', 'o', 'n', 8, 4,    'p', 'a', 's', 's'};
	static const uint8_t number_bytes[] = {0, 0, 0, 18, 103, 0,   0,   0, 1,    0xf0, 0,
					       1, 1, 3, 2,  2,   'i', 'd', 5, 0xf0, 0};
	static const uint8_t hello_bytes[] = "\0\0\0\x48\x65\0\0\0\x01\0\0\x07version\x08\x03"
					     "2.0\x0emax-frame-size\x03\xfc\xf0\x06\x0c"
					     "capabilities\x08\x0apipelining";
	struct spop_writer ack;
	uint8_t out[128];
	size_t len;

	(void)state;
	spop_ack_begin(&ack, out, sizeof(out), 240, 1);
	spop_ack_set_text(&ack, SPOP_SCOPE_TRANSACTION, "action", "pass");
	len = spop_ack_end(&ack);
	assert_int_equal(len, sizeof(ack_bytes));
	assert_int_equal(out[3], len - SPOP_PREFIX_LEN);
	assert_memory_equal(out + 4, ack_bytes + 4, len - 4);
	spop_ack_begin(&ack, out, sizeof(out), 240, 1);
	spop_ack_set_number(&ack, SPOP_SCOPE_TRANSACTION, "id", 240);
	len = spop_ack_end(&ack);
	assert_int_equal(len, sizeof(number_bytes));
	assert_int_equal(out[3], len - SPOP_PREFIX_LEN);
	assert_memory_equal(out + 4, number_bytes + 4, len - 4);
	len = spop_build_hello(out, sizeof(out), 16380, true);
	assert_int_equal(out[3], len - SPOP_PREFIX_LEN);
	assert_int_equal(len, sizeof(hello_bytes) - 1);
	assert_memory_equal(out + 4, hello_bytes + 4, len - 4);
}

static void ack_that_does_not_fit_is_none(void **state)
{
	uint8_t out[64];
	struct spop_writer ack;

	(void)state;
	for (size_t cap = 0; cap < 28; cap++) {
		spop_ack_begin(&ack, out, cap, 240, 1);
		spop_ack_set_text(&ack, SPOP_SCOPE_TRANSACTION, "action", "pass");
		assert_int_equal(spop_ack_end(&ack), 0);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(head_cut_at_every_byte_is_refused),
		cmocka_unit_test(fragments_are_refused_with_their_own_status),
		cmocka_unit_test(types_that_haproxy_does_not_send_are_refused),
		cmocka_unit_test(hello_and_disconnect_with_ids_are_refused),
		cmocka_unit_test(notify_cut_at_every_byte_is_a_fault),
		cmocka_unit_test(notify_with_lengths_beyond_the_frame_is_a_fault),
		cmocka_unit_test(notify_gives_ids_message_and_arguments),
		cmocka_unit_test(hello_without_a_key_names_it),
		cmocka_unit_test(hello_cut_inside_a_key_is_refused),
		cmocka_unit_test(hello_of_a_connection_and_of_a_health_check),
		cmocka_unit_test(disconnect_needs_its_status),
		cmocka_unit_test(disconnect_cuts_a_long_message),
		cmocka_unit_test(answers_have_the_bytes_of_the_specification),
		cmocka_unit_test(ack_that_does_not_fit_is_none),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

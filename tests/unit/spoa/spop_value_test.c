/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Guards: no value that a peer sends makes the reader leave the frame, and what is written is read back the same. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "spop_value.h"

/* Copies to the heap, exactly as long, so that a sanitizer sees any byte read behind it. */
static uint8_t *exact(const void *bytes, size_t len)
{
	uint8_t *copy = malloc(len ? len : 1);

	assert_non_null(copy);
	memcpy(copy, bytes, len);
	return copy;
}

static bool read_varint(const void *bytes, size_t len, uint64_t *number, size_t *used)
{
	uint8_t *copy = exact(bytes, len);
	struct spop_reader reader = {copy, copy + len};
	bool read = spop_read_varint(&reader, number);

	*used = (size_t)(reader.p - copy);
	free(copy);
	return read;
}

static bool read_value(const void *bytes, size_t len, struct spop_value *value)
{
	uint8_t *copy = exact(bytes, len);
	struct spop_reader reader = {copy, copy + len};
	bool read = spop_read_value(&reader, value);

	value->bytes.data = NULL;
	free(copy);
	return read;
}

static void varint_of_eleven_bytes_is_refused(void **state)
{
	static const uint8_t eleven[] = {0xf0, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x00};
	uint64_t number;
	size_t used;

	(void)state;
	assert_false(read_varint(eleven, sizeof(eleven), &number, &used));
	assert_int_equal(used, SPOP_VARINT_MAX);
}

static void varint_over_64_bits_is_refused(void **state)
{
	static const uint8_t over[] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x10};
	static const uint8_t wraps[] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x0f};
	uint64_t number;
	size_t used;

	(void)state;
	assert_false(read_varint(over, sizeof(over), &number, &used));
	assert_false(read_varint(wraps, sizeof(wraps), &number, &used));
}

static void varint_that_is_cut_is_refused(void **state)
{
	static const uint8_t whole[] = {0xff, 0xff, 0xff, 0x7f};
	uint64_t number;
	size_t used;

	(void)state;
	for (size_t len = 0; len < sizeof(whole); len++)
		assert_false(read_varint(whole, len, &number, &used));
	assert_true(read_varint(whole, sizeof(whole), &number, &used));
	assert_int_equal(used, sizeof(whole));
}

static void varints_of_the_specification_are_read(void **state)
{
	static const struct {
		uint8_t bytes[3];
		size_t len;
		uint64_t number;
	} cases[] = {
		{{0x00}, 1, 0},
		{{0xef}, 1, 239},
		{{0xf0, 0x00}, 2, 240},
		{{0xff, 0x7f}, 2, 2287},
		{{0xf0, 0x80, 0x00}, 3, 2288},
		{{0xff, 0xff, 0x7f}, 3, 264431},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		uint64_t number;
		size_t used;

		assert_true(read_varint(cases[i].bytes, cases[i].len, &number, &used));
		assert_int_equal(number, cases[i].number);
		assert_int_equal(used, cases[i].len);
	}
}

static void varints_that_are_written_are_read_back(void **state)
{
	(void)state;
	for (unsigned shift = 0; shift <= 64; shift++) {
		for (int delta = -241; delta <= 241; delta++) {
			uint64_t base = shift == 64 ? 0 : (uint64_t)1 << shift, number = base + (uint64_t)delta, back;
			uint8_t bytes[SPOP_VARINT_MAX];
			struct spop_writer writer = {bytes, bytes, bytes + sizeof(bytes), false};
			size_t used;

			spop_write_varint(&writer, number);
			assert_false(writer.full);
			assert_true(read_varint(bytes, (size_t)(writer.p - bytes), &back, &used));
			assert_true(back == number);
			assert_int_equal(used, writer.p - bytes);
		}
	}
}

static void length_beyond_the_frame_is_refused(void **state)
{
	/* String of 2^64 - 1 bytes: added to a pointer it would lie before the buffer. */
	uint8_t huge[1 + SPOP_VARINT_MAX + 4] = {SPOP_DATA_STRING};
	struct spop_writer writer = {huge, huge + 1, huge + 1 + SPOP_VARINT_MAX, false};
	static const uint8_t one_more[] = {SPOP_DATA_BINARY, 4, 'a', 'b', 'c'};
	struct spop_value value;

	(void)state;
	spop_write_varint(&writer, UINT64_MAX);
	assert_false(read_value(huge, sizeof(huge), &value));
	assert_false(read_value(one_more, sizeof(one_more), &value));
}

static void values_that_are_cut_are_refused(void **state)
{
	static const struct {
		uint8_t bytes[18];
		size_t len;
	} cases[] = {
		{{SPOP_DATA_NULL}, 1},
		{{SPOP_DATA_BOOL}, 1},
		{{SPOP_DATA_INT32, 5}, 2},
		{{SPOP_DATA_UINT32, 0xf0, 0}, 3},
		{{SPOP_DATA_INT64, 5}, 2},
		{{SPOP_DATA_UINT64, 5}, 2},
		{{SPOP_DATA_IPV4, 192, 0, 2, 1}, 5},
		{{SPOP_DATA_IPV6, 0x20, 1, 0xd, 0xb8}, 17},
		{{SPOP_DATA_STRING, 2, 'o', 'k'}, 4},
		{{SPOP_DATA_BINARY, 0}, 2},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct spop_value value;

		for (size_t len = 0; len < cases[i].len; len++)
			assert_false(read_value(cases[i].bytes, len, &value));
		assert_true(read_value(cases[i].bytes, cases[i].len, &value));
		assert_int_equal(value.type, cases[i].bytes[0]);
	}
}

static void unknown_types_are_refused(void **state)
{
	struct spop_value value;

	(void)state;
	for (uint8_t type = SPOP_DATA_BINARY + 1; type <= 0x0f; type++) {
		uint8_t bytes[20] = {type};

		assert_false(read_value(bytes, sizeof(bytes), &value));
	}
}

static void numbers_have_their_range(void **state)
{
	static const uint8_t over_32_bits[] = {SPOP_DATA_UINT32, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f};
	static const uint8_t yes[] = {SPOP_DATA_BOOL | 0x10}, no[] = {SPOP_DATA_BOOL};
	struct spop_value value;

	(void)state;
	assert_false(read_value(over_32_bits, sizeof(over_32_bits), &value));
	assert_true(read_value(yes, sizeof(yes), &value));
	assert_int_equal(value.number, 1);
	assert_true(read_value(no, sizeof(no), &value));
	assert_int_equal(value.number, 0);
}

static void writer_that_is_full_stays_so(void **state)
{
	uint8_t bytes[8];
	struct spop_writer writer = {bytes, bytes, bytes + sizeof(bytes), false};

	(void)state;
	memset(bytes, 0xee, sizeof(bytes));
	spop_write_bytes(&writer, "123456", 6);
	assert_false(writer.full);
	spop_write_string(&writer, "long");
	assert_true(writer.full);
	spop_write_byte(&writer, 1);
	assert_true(writer.full);
	assert_int_equal(writer.p - bytes, 7);
	assert_int_equal(bytes[7], 0xee);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(varint_of_eleven_bytes_is_refused),
		cmocka_unit_test(varint_over_64_bits_is_refused),
		cmocka_unit_test(varint_that_is_cut_is_refused),
		cmocka_unit_test(length_beyond_the_frame_is_refused),
		cmocka_unit_test(values_that_are_cut_are_refused),
		cmocka_unit_test(unknown_types_are_refused),
		cmocka_unit_test(numbers_have_their_range),
		cmocka_unit_test(varints_of_the_specification_are_read),
		cmocka_unit_test(varints_that_are_written_are_read_back),
		cmocka_unit_test(writer_that_is_full_stays_so),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

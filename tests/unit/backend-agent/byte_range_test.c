/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Guards the reading of Range: what is malformed or several ranges never fails a request, and what is accepted always
 * lies inside the file. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "byte_range.h"

static struct text_span span(const char *text)
{
	return (struct text_span){text, strlen(text)};
}

static void malformed_is_ignored(void **state)
{
	static const char *const values[] = {
		"",           "bytes",     "bytes=",        "bytes= ",     "bytes=-",    "bytes=a-b",   "bytes=1",
		"bytes=1-2x", "bytes=1-x", "bytes=5-4",     "bytes=--5",   "bytes=-5-",  "bytes=-5x",   "bytes=+1-2",
		"bytes 0-1",  "items=0-1", "bytes=0-1,3-4", "bytes=-1,-2", "bytes=0-1;", "bytes=0x1-2", "bytes=1 -2"};
	struct byte_range range;

	(void)state;
	for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++)
		if (byte_range_parse(&range, span(values[i]), 100) != BYTE_RANGE_IGNORED)
			fail_msg("\"%s\" was not ignored", values[i]);
}

static void outside_the_file_is_unsatisfiable(void **state)
{
	static const char *const values[] = {"bytes=100-", "bytes=100-200", "bytes=-0", "bytes=18446744073709551615-",
					     "bytes=99999999999999999999999-"};
	struct byte_range range;

	(void)state;
	for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++)
		if (byte_range_parse(&range, span(values[i]), 100) != BYTE_RANGE_UNSATISFIABLE)
			fail_msg("\"%s\" was not unsatisfiable", values[i]);
}

/* A downloader that asks for all of a file by a range takes 416 for a failure. */
static void any_range_of_an_empty_file_is_ignored(void **state)
{
	static const char *const values[] = {"bytes=0-", "bytes=0-0",  "bytes=0-499",
					     "bytes=5-", "bytes=5-9",  "bytes=-1",
					     "bytes=-0", "bytes=-500", "bytes=18446744073709551615-"};
	struct byte_range range;

	(void)state;
	for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++)
		if (byte_range_parse(&range, span(values[i]), 0) != BYTE_RANGE_IGNORED)
			fail_msg("\"%s\" was not ignored", values[i]);
}

static void inside_the_file_is_satisfied(void **state)
{
	static const struct {
		const char *value;
		uint64_t size, offset, length;
	} cases[] = {
		{"bytes=0-0", 100, 0, 1},
		{"bytes=0-", 100, 0, 100},
		{"bytes=99-", 100, 99, 1},
		{"bytes=10-19", 100, 10, 10},
		{"bytes=10-99999999999999999999999", 100, 10, 90},
		{"bytes=-1", 100, 99, 1},
		{"bytes=-100", 100, 0, 100},
		{"bytes=-99999999999999999999999", 100, 0, 100},
		{"BYTES=1-2", 100, 1, 2},
		{"bytes= 1-2 ", 100, 1, 2},
		{"bytes=9223372036854775807-9223372036854775807", UINT64_MAX, 9223372036854775807u, 1},
	};
	struct byte_range range;

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		if (byte_range_parse(&range, span(cases[i].value), cases[i].size) != BYTE_RANGE_SATISFIABLE)
			fail_msg("\"%s\" was not satisfied", cases[i].value);
		assert_int_equal(range.offset, cases[i].offset);
		assert_int_equal(range.length, cases[i].length);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(malformed_is_ignored),
		cmocka_unit_test(outside_the_file_is_unsatisfiable),
		cmocka_unit_test(any_range_of_an_empty_file_is_ignored),
		cmocka_unit_test(inside_the_file_is_satisfied),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

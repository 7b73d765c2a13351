/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Guards the three forms of HTTP dates (RFC 9110 5.6.7) and that nothing else passes for one. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "http_date.h"

static struct text_span span(const char *text)
{
	return (struct text_span){text, strlen(text)};
}

static void malformed_is_refused(void **state)
{
	static const char *const values[] = {"",
					     "0",
					     "784111777",
					     "yesterday",
					     "Sun, 06 Nov 1994 08:49:37",
					     "Sun, 06 Nov 1994 08:49:37 CET",
					     "Sun, 06 Nov 1994 08:49:37 GMT ",
					     "Sun, 06 Nov 1994 08:49:37 GMTx",
					     "Sun, 06 Foo 1994 08:49:37 GMT",
					     "Sun, 00 Nov 1994 08:49:37 GMT",
					     "Sun, 32 Nov 1994 08:49:37 GMT",
					     "Sun, 06 Nov 1994 24:49:37 GMT",
					     "Sun, 06 Nov 1994 08:60:37 GMT",
					     "Sun, 06 Nov 1994 08:49:61 GMT",
					     "Sun, 06 Nov 1994 -8:49:37 GMT",
					     "Sun Nov  6 08:49:37",
					     "\"a1b2\"",
					     "Sun, 06 Nov 1994 08:49:37 GMT Sun, 06 Nov 1994 08:49:37 GMT"};
	time_t when;

	(void)state;
	for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++)
		if (http_date_parse(&when, span(values[i])))
			fail_msg("\"%s\" was read as a date", values[i]);
	assert_false(http_date_parse(&when, (struct text_span){"Sun, 06 Nov 1994\0 08:49:37 GMT", 30}));
}

static void all_three_forms_are_read(void **state)
{
	static const char *const values[] = {"Sun, 06 Nov 1994 08:49:37 GMT", "Sunday, 06-Nov-94 08:49:37 GMT",
					     "Sun Nov  6 08:49:37 1994"};
	time_t when;

	(void)state;
	for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
		if (!http_date_parse(&when, span(values[i])))
			fail_msg("\"%s\" was not read", values[i]);
		assert_int_equal(when, 784111777);
	}
}

static void what_is_written_reads_back(void **state)
{
	static const time_t times[] = {0, 1, 784111777, 951782400, 1709164800, 4102444799, 253402300799};
	char text[HTTP_DATE_LEN + 1];
	time_t when;

	(void)state;
	for (size_t i = 0; i < sizeof(times) / sizeof(times[0]); i++) {
		http_date_format(text, times[i]);
		assert_int_equal(strlen(text), HTTP_DATE_LEN);
		assert_true(http_date_parse(&when, span(text)));
		assert_int_equal(when, times[i]);
	}
	http_date_format(text, 784111777);
	assert_string_equal(text, "Sun, 06 Nov 1994 08:49:37 GMT");
}

static void years_out_of_range_still_make_a_date(void **state)
{
	char text[HTTP_DATE_LEN + 1];

	(void)state;
	http_date_format(text, (time_t)1 << 60);
	assert_int_equal(strlen(text), HTTP_DATE_LEN);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(malformed_is_refused),
		cmocka_unit_test(all_three_forms_are_read),
		cmocka_unit_test(what_is_written_reads_back),
		cmocka_unit_test(years_out_of_range_still_make_a_date),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

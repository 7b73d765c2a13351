/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Guards the preconditions of RFC 9110 13: a wrong 304 shows a client an old file, a wrong match of If-Range joins
 * parts of two files. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "conditional.h"

#define MODIFIED 784111777 /* Sun, 06 Nov 1994 08:49:37 GMT */
#define SAME "Sun, 06 Nov 1994 08:49:37 GMT"
#define BEFORE "Sun, 06 Nov 1994 08:49:36 GMT"
#define AFTER "Sun, 06 Nov 1994 08:49:38 GMT"

static const struct conditional_validators file = {"\"abc\"", MODIFIED, MODIFIED + 1000};

static struct text_span span(const char *text)
{
	return (struct text_span){text, text ? strlen(text) : 0};
}

static enum conditional_verdict evaluate(const char *if_match, const char *if_none_match, const char *if_modified_since,
					 const char *if_unmodified_since)
{
	struct conditional_headers headers = {
		.if_match = span(if_match),
		.if_none_match = span(if_none_match),
		.if_modified_since = span(if_modified_since),
		.if_unmodified_since = span(if_unmodified_since),
	};

	return conditional_evaluate(&headers, &file);
}

static void malformed_conditions_do_not_hide_the_file(void **state)
{
	static const char *const tags[] = {"",        "abc",     "\"abc",     "abc\"",        "'abc'", "W/",   "W/abc",
					   "\"ab\"c", "*, junk", "w/\"abc\"", "junk \"abc\"", "\"",    "\"\"", ",,,"};
	static const char *const dates[] = {"", "now", "Sun, 06 Nov 1994 08:49:37 CET", "\"abc\""};

	(void)state;
	for (size_t i = 0; i < sizeof(tags) / sizeof(tags[0]); i++)
		if (evaluate(NULL, tags[i], NULL, NULL) != CONDITIONAL_PROCEED)
			fail_msg("If-None-Match: %s", tags[i]);
	for (size_t i = 0; i < sizeof(dates) / sizeof(dates[0]); i++) {
		assert_int_equal(evaluate(NULL, NULL, dates[i], NULL), CONDITIONAL_PROCEED);
		assert_int_equal(evaluate(NULL, NULL, NULL, dates[i]), CONDITIONAL_PROCEED);
	}
}

static void if_none_match_compares_weakly(void **state)
{
	(void)state;
	assert_int_equal(evaluate(NULL, "\"abc\"", NULL, NULL), CONDITIONAL_NOT_MODIFIED);
	assert_int_equal(evaluate(NULL, "W/\"abc\"", NULL, NULL), CONDITIONAL_NOT_MODIFIED);
	assert_int_equal(evaluate(NULL, "\"x\", \"y,z\" , \"abc\"", NULL, NULL), CONDITIONAL_NOT_MODIFIED);
	assert_int_equal(evaluate(NULL, " * ", NULL, NULL), CONDITIONAL_NOT_MODIFIED);
	assert_int_equal(evaluate(NULL, "\"abcd\", \"ab\"", NULL, NULL), CONDITIONAL_PROCEED);
}

static void if_modified_since_counts_only_without_if_none_match(void **state)
{
	(void)state;
	assert_int_equal(evaluate(NULL, NULL, SAME, NULL), CONDITIONAL_NOT_MODIFIED);
	assert_int_equal(evaluate(NULL, NULL, AFTER, NULL), CONDITIONAL_NOT_MODIFIED);
	assert_int_equal(evaluate(NULL, NULL, BEFORE, NULL), CONDITIONAL_PROCEED);
	assert_int_equal(evaluate(NULL, "\"other\"", SAME, NULL), CONDITIONAL_PROCEED);
}

static void if_match_compares_strongly(void **state)
{
	(void)state;
	assert_int_equal(evaluate("\"abc\"", NULL, NULL, NULL), CONDITIONAL_PROCEED);
	assert_int_equal(evaluate("*", NULL, NULL, NULL), CONDITIONAL_PROCEED);
	assert_int_equal(evaluate("W/\"abc\"", NULL, NULL, NULL), CONDITIONAL_PRECONDITION_FAILED);
	assert_int_equal(evaluate("\"x\"", NULL, NULL, NULL), CONDITIONAL_PRECONDITION_FAILED);
	assert_int_equal(evaluate("junk", NULL, NULL, NULL), CONDITIONAL_PRECONDITION_FAILED);
	assert_int_equal(evaluate("\"abc\"", NULL, NULL, BEFORE), CONDITIONAL_PROCEED);
	assert_int_equal(evaluate("\"abc\"", "\"abc\"", NULL, NULL), CONDITIONAL_NOT_MODIFIED);
}

static void if_unmodified_since_fails_for_a_newer_file(void **state)
{
	(void)state;
	assert_int_equal(evaluate(NULL, NULL, NULL, BEFORE), CONDITIONAL_PRECONDITION_FAILED);
	assert_int_equal(evaluate(NULL, NULL, NULL, SAME), CONDITIONAL_PROCEED);
}

/* RFC 9110 8.8.3.2: a weak tag of ours is good for caches, and for nothing that puts bytes together. */
static void weak_tag_of_the_file_matches_weakly_only(void **state)
{
	const struct conditional_validators weak = {"W/\"abc\"", MODIFIED, MODIFIED + 1000};
	static const char *const tags[] = {"\"abc\"", "W/\"abc\"", "\"x\", W/\"abc\""};
	struct conditional_headers headers;

	(void)state;
	for (size_t i = 0; i < sizeof(tags) / sizeof(tags[0]); i++) {
		headers = (struct conditional_headers){.if_none_match = span(tags[i])};
		assert_int_equal(conditional_evaluate(&headers, &weak), CONDITIONAL_NOT_MODIFIED);
		headers = (struct conditional_headers){.if_match = span(tags[i])};
		assert_int_equal(conditional_evaluate(&headers, &weak), CONDITIONAL_PRECONDITION_FAILED);
		headers = (struct conditional_headers){.if_range = span(tags[i])};
		assert_false(conditional_range_holds(&headers, &weak));
	}
	headers = (struct conditional_headers){.if_none_match = span("W/\"x\", \"W/abc\"")};
	assert_int_equal(conditional_evaluate(&headers, &weak), CONDITIONAL_PROCEED);
	headers = (struct conditional_headers){.if_match = span("*")};
	assert_int_equal(conditional_evaluate(&headers, &weak), CONDITIONAL_PROCEED);
	headers = (struct conditional_headers){.if_range = span(NULL)};
	assert_true(conditional_range_holds(&headers, &weak));
}

static bool range_holds(const char *if_range, time_t now)
{
	struct conditional_headers headers = {.if_range = span(if_range)};
	struct conditional_validators validators = {"\"abc\"", MODIFIED, now};

	return conditional_range_holds(&headers, &validators);
}

static void if_range_needs_a_strong_match(void **state)
{
	(void)state;
	assert_true(range_holds(NULL, MODIFIED + 1000));
	assert_true(range_holds("\"abc\"", MODIFIED + 1000));
	assert_true(range_holds(SAME, MODIFIED + 1000));
	assert_false(range_holds("W/\"abc\"", MODIFIED + 1000));
	assert_false(range_holds("\"abd\"", MODIFIED + 1000));
	assert_false(range_holds("*", MODIFIED + 1000));
	assert_false(range_holds("\"abc\", \"abc\"", MODIFIED + 1000));
	assert_false(range_holds("", MODIFIED + 1000));
	assert_false(range_holds(BEFORE, MODIFIED + 1000));
	assert_false(range_holds(AFTER, MODIFIED + 1000));
	/* The file may change again in the second in which it was changed. */
	assert_false(range_holds(SAME, MODIFIED));
	assert_false(range_holds(SAME, MODIFIED + 1));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(malformed_conditions_do_not_hide_the_file),
		cmocka_unit_test(if_none_match_compares_weakly),
		cmocka_unit_test(if_modified_since_counts_only_without_if_none_match),
		cmocka_unit_test(if_match_compares_strongly),
		cmocka_unit_test(if_unmodified_since_fails_for_a_newer_file),
		cmocka_unit_test(if_range_needs_a_strong_match),
		cmocka_unit_test(weak_tag_of_the_file_matches_weakly_only),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

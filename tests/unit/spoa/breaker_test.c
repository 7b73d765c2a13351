/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Guards: a route leaves the direct path after failures in a row and not before, for the time configured, and one
 * success brings it back for good. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "breaker.h"

static const struct breaker_settings settings = {.max_failures = 3, .retry_after = 30.};

static struct breaker opened_at(double now)
{
	struct breaker breaker = {.failures = 0};

	assert_false(breaker_failed(&breaker, &settings, now));
	assert_false(breaker_failed(&breaker, &settings, now));
	assert_true(breaker_allows(&breaker, now));
	assert_true(breaker_failed(&breaker, &settings, now));
	return breaker;
}

static void failures_in_a_row_open_it_for_a_time(void **state)
{
	struct breaker breaker = opened_at(100.);

	(void)state;
	assert_false(breaker_allows(&breaker, 100.));
	assert_false(breaker_allows(&breaker, 129.9));
	assert_true(breaker_allows(&breaker, 130.));
}

static void a_success_between_failures_counts(void **state)
{
	struct breaker breaker = {.failures = 0};

	(void)state;
	for (int i = 0; i < 10; i++) {
		assert_false(breaker_failed(&breaker, &settings, i));
		assert_false(breaker_failed(&breaker, &settings, i));
		assert_false(breaker_succeeded(&breaker, i));
	}
	assert_true(breaker_allows(&breaker, 11.));
}

static void after_the_time_one_failure_opens_it_again(void **state)
{
	struct breaker breaker = opened_at(0.);

	(void)state;
	assert_true(breaker_failed(&breaker, &settings, 40.));
	assert_false(breaker_allows(&breaker, 69.));
	assert_true(breaker_allows(&breaker, 70.));
	assert_true(breaker_succeeded(&breaker, 71.));
	assert_false(breaker_failed(&breaker, &settings, 72.));
	assert_true(breaker_allows(&breaker, 72.));
}

static void what_began_before_it_opened_changes_nothing(void **state)
{
	struct breaker breaker = opened_at(0.);

	(void)state;
	assert_false(breaker_failed(&breaker, &settings, 29.));
	assert_false(breaker_succeeded(&breaker, 29.));
	assert_false(breaker_allows(&breaker, 29.));
	assert_true(breaker_allows(&breaker, 30.));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(failures_in_a_row_open_it_for_a_time),
		cmocka_unit_test(a_success_between_failures_counts),
		cmocka_unit_test(after_the_time_one_failure_opens_it_again),
		cmocka_unit_test(what_began_before_it_opened_changes_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Guards: a path whose object changed is kept from offloading for the time configured, alone, and however many changed
 * before it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "changed_paths.h"

static struct changed_paths paths;

static struct control_text text(const char *target)
{
	return (struct control_text){target, strlen(target)};
}

static int reset(void **state)
{
	(void)state;
	memset(&paths, 0, sizeof(paths));
	return 0;
}

static void changed_path_is_held_for_its_time(void **state)
{
	(void)state;
	assert_false(changed_paths_hold(&paths, text("/growing"), 100));
	changed_paths_add(&paths, text("/growing"), 100, 60);
	assert_true(changed_paths_hold(&paths, text("/growing"), 100));
	assert_true(changed_paths_hold(&paths, text("/growing"), 160));
	assert_false(changed_paths_hold(&paths, text("/growing"), 161));
	changed_paths_add(&paths, text("/growing"), 200, 60);
	assert_true(changed_paths_hold(&paths, text("/growing"), 260));
}

static void query_does_not_count(void **state)
{
	(void)state;
	changed_paths_add(&paths, text("/growing?a=1"), 100, 60);
	assert_true(changed_paths_hold(&paths, text("/growing"), 100));
	assert_true(changed_paths_hold(&paths, text("/growing?b=2"), 100));
}

static void other_paths_are_not_held(void **state)
{
	char target[32];

	(void)state;
	changed_paths_add(&paths, text("/growing"), 100, 60);
	assert_false(changed_paths_hold(&paths, text("/"), 100));
	assert_false(changed_paths_hold(&paths, text(""), 100));
	for (int i = 0; i < 100000; i++) {
		(void)snprintf(target, sizeof(target), "/growing%d", i);
		assert_false(changed_paths_hold(&paths, text(target), 100));
	}
}

static void last_one_is_held_after_any_number(void **state)
{
	char target[32];

	(void)state;
	for (int i = 0; i < 100000; i++) {
		(void)snprintf(target, sizeof(target), "/%d", i);
		changed_paths_add(&paths, text(target), 100, 60);
		assert_true(changed_paths_hold(&paths, text(target), 100));
	}
}

static void no_time_holds_nothing(void **state)
{
	(void)state;
	changed_paths_add(&paths, text("/growing"), 100, 0);
	assert_false(changed_paths_hold(&paths, text("/growing"), 100));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(changed_path_is_held_for_its_time, reset),
		cmocka_unit_test_setup(query_does_not_count, reset),
		cmocka_unit_test_setup(other_paths_are_not_held, reset),
		cmocka_unit_test_setup(last_one_is_held_after_any_number, reset),
		cmocka_unit_test_setup(no_time_holds_nothing, reset),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

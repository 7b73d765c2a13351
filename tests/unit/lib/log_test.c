/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Guards: one line a message with its priority, only up to the level set, and nothing that a peer sent can forge a
 * line, reach a terminal or run over. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "log.h"
#include "stderr_capture.h"

static char text[1 << 20];
static struct stderr_capture capture;

static void begin(enum log_level level)
{
	log_open("log_test", LOG_TARGET_STDERR, level);
	assert_int_equal(stderr_capture_begin(&capture), 0);
}

static void expect(const char *expected)
{
	assert_true(stderr_capture_end(&capture, text, sizeof(text)) >= 0);
	assert_string_equal(text, expected);
}

static void before_opening_notices_are_written(void **unused)
{
	(void)unused;
	assert_int_equal(stderr_capture_begin(&capture), 0);
	log_notice("early %d", 1);
	log_info("too early");
	expect("<5>early 1\n");
}

static void messages_up_to_the_level_carry_their_priority(void **unused)
{
	(void)unused;
	begin(LOG_LEVEL_DEBUG);
	log_error("a");
	log_warning("b");
	log_notice("c");
	log_info("d %s %d", "e", -5);
	log_debug("f");
	expect("<3>a\n<4>b\n<5>c\n<6>d e -5\n<7>f\n");
	begin(LOG_LEVEL_WARNING);
	log_warning("in");
	log_notice("out");
	log_debug("out");
	expect("<4>in\n");
	assert_true(log_enabled(LOG_LEVEL_ERROR));
	assert_true(log_enabled(LOG_LEVEL_WARNING));
	assert_false(log_enabled(LOG_LEVEL_NOTICE));
}

static void control_characters_are_replaced(void **unused)
{
	(void)unused;
	begin(LOG_LEVEL_INFO);
	log_info("%s", "a\n<3>forged\r\x1b[31m\x7f\tb\xc3\xa4");
	expect("<6>a?<3>forged??[31m??b\xc3\xa4\n");
}

static void long_messages_are_cut_to_one_line(void **unused)
{
	static char message[10000];
	size_t len;

	(void)unused;
	memset(message, 'x', sizeof(message) - 1);
	begin(LOG_LEVEL_INFO);
	log_info("%s", message);
	log_info("next");
	assert_true(stderr_capture_end(&capture, text, sizeof(text)) > 0);
	len = strcspn(text, "\n");
	assert_true(len > 1000 && len <= 2048);
	assert_string_equal(text + len, "\n<6>next\n");
}

#define THREADS 4
#define LINES 500

static void *write_lines(void *name)
{
	for (int i = 0; i < LINES; i++)
		log_info("%s%s%s%s", (char *)name, (char *)name, (char *)name, (char *)name);
	return NULL;
}

static void threads_do_not_mix_their_lines(void **unused)
{
	static char *const names[THREADS] = {"aaaaaaaaaaaaaaaa", "bbbbbbbbbbbbbbbb", "cccccccccccccccc",
					     "dddddddddddddddd"};
	pthread_t threads[THREADS];
	size_t lines = 0;

	(void)unused;
	begin(LOG_LEVEL_INFO);
	for (int i = 0; i < THREADS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, write_lines, names[i]), 0);
	for (int i = 0; i < THREADS; i++)
		assert_int_equal(pthread_join(threads[i], NULL), 0);
	assert_true(stderr_capture_end(&capture, text, sizeof(text)) > 0);
	for (char *line = strtok(text, "\n"); line; line = strtok(NULL, "\n"), lines++) {
		assert_int_equal(strlen(line), 3 + 64);
		assert_int_equal(strspn(line + 3, (char[]){line[3], '\0'}), 64);
	}
	assert_int_equal(lines, THREADS * LINES);
}

static void level_names_are_read_exactly(void **unused)
{
	static const char *const wrong[] = {"", "Error", "err", "debug ", "7", "trace"};
	enum log_level level = LOG_LEVEL_INFO;

	(void)unused;
	assert_true(log_level_parse(&level, "error"));
	assert_int_equal(level, LOG_LEVEL_ERROR);
	assert_true(log_level_parse(&level, "debug"));
	assert_int_equal(level, LOG_LEVEL_DEBUG);
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
		assert_false(log_level_parse(&level, wrong[i]));
	assert_int_equal(level, LOG_LEVEL_DEBUG);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(before_opening_notices_are_written),
		cmocka_unit_test(messages_up_to_the_level_carry_their_priority),
		cmocka_unit_test(control_characters_are_replaced),
		cmocka_unit_test(long_messages_are_cut_to_one_line),
		cmocka_unit_test(threads_do_not_mix_their_lines),
		cmocka_unit_test(level_names_are_read_exactly),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

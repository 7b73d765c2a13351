/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Guards content types: a wrong one is a security fault in browsers, a strange mime.types must not break a response. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "content_type.h"

static struct content_types *types_of(const char *text)
{
	char name[] = "/tmp/disc-mime-XXXXXX";
	struct content_types *types;
	int fd = mkstemp(name);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
	assert_int_equal(close(fd), 0);
	types = content_types_new(name);
	assert_non_null(types);
	assert_int_equal(unlink(name), 0);
	return types;
}

static void unreadable_file_is_a_fault(void **state)
{
	(void)state;
	assert_null(content_types_new("/nowhere/mime.types"));
	assert_int_equal(errno, ENOENT);
	assert_null(content_types_new("/tmp"));
}

static void strange_lines_are_passed_over(void **state)
{
	char line[600] = "text/long ";
	struct content_types *types;

	(void)state;
	memset(line + 10, 'e', 500);
	types = types_of(line);
	content_types_free(types);
	types = types_of(
		"# text/comment aa\n\n \t\nnotype bb\ntext/no-extension\ntext/x\r\x01 cc\n/ dd\ntext/ok ee # ff\n"
		"t\xff/x gg\ntext/last hh");
	assert_string_equal(content_type_of(types, "f.aa"), "application/octet-stream");
	assert_string_equal(content_type_of(types, "f.bb"), "application/octet-stream");
	assert_string_equal(content_type_of(types, "f.cc"), "application/octet-stream");
	assert_string_equal(content_type_of(types, "f.ee"), "text/ok");
	assert_string_equal(content_type_of(types, "f.ff"), "application/octet-stream");
	assert_string_equal(content_type_of(types, "f.gg"), "application/octet-stream");
	assert_string_equal(content_type_of(types, "f.hh"), "text/last");
	content_types_free(types);
}

static void only_the_last_extension_of_the_name_counts(void **state)
{
	struct content_types *types = content_types_new(NULL);

	(void)state;
	assert_non_null(types);
	assert_string_equal(content_type_of(types, "a.html"), "text/html; charset=utf-8");
	assert_string_equal(content_type_of(types, "a/b.c/d.PNG"), "image/png");
	assert_string_equal(content_type_of(types, "a.html/b"), "application/octet-stream");
	assert_string_equal(content_type_of(types, "a.html.exe"), "application/octet-stream");
	assert_string_equal(content_type_of(types, "a."), "application/octet-stream");
	assert_string_equal(content_type_of(types, ""), "application/octet-stream");
	assert_string_equal(content_type_of(types, "html"), "application/octet-stream");
	content_types_free(types);
}

static void file_overrides_the_built_in_but_keeps_its_charset(void **state)
{
	struct content_types *types = types_of("text/html html\nimage/x-other PNG\n");

	(void)state;
	assert_string_equal(content_type_of(types, "a.html"), "text/html; charset=utf-8");
	assert_string_equal(content_type_of(types, "a.png"), "image/x-other");
	content_types_free(types);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(unreadable_file_is_a_fault),
		cmocka_unit_test(strange_lines_are_passed_over),
		cmocka_unit_test(only_the_last_extension_of_the_name_counts),
		cmocka_unit_test(file_overrides_the_built_in_but_keeps_its_charset),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Guards the way from a request's target to a relative path: whatever a client writes, the path never begins with '/'
 * and never holds an empty, "." or ".." segment. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "url_path.h"

static enum url_path_status parse(struct url_path *path, const char *target)
{
	return url_path_parse(path, (struct text_span){target, strlen(target)});
}

static void malformed_is_refused(void **state)
{
	static const char *const targets[] = {"",        "*",       "a",    "?",     "host:80", "ftp://host/a",
					      "http:/a", "http://", "/%",   "/%4",   "/%zz",    "/%0",
					      "/a%00b",  "/%2",     "/a#b", "/%%41", "/%4g"};
	struct url_path path;

	(void)state;
	for (size_t i = 0; i < sizeof(targets) / sizeof(targets[0]); i++)
		if (parse(&path, targets[i]) != URL_PATH_MALFORMED)
			fail_msg("\"%s\" was not refused", targets[i]);
	assert_int_equal(url_path_parse(&path, (struct text_span){"/a\0b", 4}), URL_PATH_MALFORMED);
}

static void encoded_slash_names_no_file(void **state)
{
	struct url_path path;

	(void)state;
	assert_int_equal(parse(&path, "/a%2fb"), URL_PATH_NO_SUCH_FILE);
	assert_int_equal(parse(&path, "/..%2F..%2fetc/passwd"), URL_PATH_NO_SUCH_FILE);
	/* But what is malformed stays so. */
	assert_int_equal(parse(&path, "/a%2fb%00"), URL_PATH_MALFORMED);
}

static void path_longer_than_any_names_no_file(void **state)
{
	size_t len = 3 * URL_PATH_MAX;
	char *target = malloc(len + 1);
	struct url_path path;

	(void)state;
	assert_non_null(target);
	for (size_t size = URL_PATH_MAX - 3; size < URL_PATH_MAX + 3; size++) {
		memset(target, 'a', size);
		target[0] = '/';
		target[size] = '\0';
		assert_int_equal(parse(&path, target), size <= URL_PATH_MAX ? URL_PATH_OK : URL_PATH_NO_SUCH_FILE);
		target[size - 1] = '/';
		assert_int_equal(parse(&path, target), size <= URL_PATH_MAX ? URL_PATH_OK : URL_PATH_NO_SUCH_FILE);
		assert_true(path.len < URL_PATH_MAX);
	}
	for (size_t i = 0; i < len; i++)
		target[i] = i % 2 ? 'a' : '/';
	target[len] = '\0';
	assert_int_equal(parse(&path, target), URL_PATH_NO_SUCH_FILE);
	free(target);
}

static void targets_become_normal_relative_paths(void **state)
{
	static const struct {
		const char *target, *path;
	} cases[] = {
		{"/", ""},
		{"/a", "a"},
		{"/a/", "a/"},
		{"/a/b.txt?c=/d#e", "a/b.txt"},
		{"//a///b", "a/b"},
		{"/./a/./b/.", "a/b/"},
		{"/a/../b", "b"},
		{"/a/..", ""},
		{"/a/b/..", "a/"},
		{"/a/b/../", "a/"},
		{"/..", ""},
		{"/../../../etc/passwd", "etc/passwd"},
		{"/%2e%2e/%2E%2e/etc/passwd", "etc/passwd"},
		{"/a/.%2e/b", "b"},
		{"/a/../../b/../../c", "c"},
		{"/...", "..."},
		{"/..a/a..", "..a/a.."},
		{"/.hidden", ".hidden"},
		{"/a%20b", "a b"},
		{"/%41%5a", "AZ"},
		{"/%252e%252e/x", "%2e%2e/x"},
		{"/a+b", "a+b"},
		{"/a\\..\\b", "a\\..\\b"},
		{"/%ff%80", "\xff\x80"},
		{"http://host/a", "a"},
		{"HTTPS://host:8080/a/../b", "b"},
		{"http://host", ""},
		{"http://host?q", ""},
	};
	struct url_path path;

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		assert_int_equal(parse(&path, cases[i].target), URL_PATH_OK);
		assert_string_equal(path.text, cases[i].path);
		assert_int_equal(path.len, strlen(cases[i].path));
	}
}

static void query_is_told_apart(void **state)
{
	struct url_path path;

	(void)state;
	assert_int_equal(parse(&path, "/a?b?c"), URL_PATH_OK);
	assert_true(text_span_equals(path.query, "b?c"));
	assert_int_equal(parse(&path, "/a?"), URL_PATH_OK);
	assert_true(text_span_is_set(path.query));
	assert_int_equal(parse(&path, "/a"), URL_PATH_OK);
	assert_false(text_span_is_set(path.query));
}

static void encoding_escapes_what_would_change_the_meaning(void **state)
{
	struct url_path path;
	char out[64];

	(void)state;
	assert_int_equal(parse(&path, "/a%20b/%3fc%0d%0aX:y%25/%c3%a4"), URL_PATH_OK);
	assert_int_equal(url_path_encode(&path, out, sizeof(out)), strlen("/a%20b/%3Fc%0D%0AX:y%25/%C3%A4"));
	assert_string_equal(out, "/a%20b/%3Fc%0D%0AX:y%25/%C3%A4");
	assert_int_equal(url_path_encode(&path, out, 10), 0);
	assert_int_equal(url_path_encode(&path, out, 1), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(malformed_is_refused),
		cmocka_unit_test(encoded_slash_names_no_file),
		cmocka_unit_test(path_longer_than_any_names_no_file),
		cmocka_unit_test(targets_become_normal_relative_paths),
		cmocka_unit_test(query_is_told_apart),
		cmocka_unit_test(encoding_escapes_what_would_change_the_meaning),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

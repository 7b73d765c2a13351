/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Guards what a request is answered with, down to the bytes of the head: status, headers, and which bytes of the
 * file. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "fetch_answer.h"

#define NOW 1700000000

static char root[64];
static struct fetch_content content;
static const char *const index_names[] = {"first.html", "index.html", NULL};
static char answered[RESPONSE_HEAD_MAX];

static void write_file(const char *name, const char *text)
{
	const struct timespec modified[2] = {{.tv_sec = 784111777}, {.tv_sec = 784111777}};
	char path[128];
	int fd;

	(void)snprintf(path, sizeof(path), "%s/%s", root, name);
	fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
	assert_int_equal(futimens(fd, modified), 0);
	assert_int_equal(close(fd), 0);
}

static void make_folder(const char *name)
{
	char path[128];

	(void)snprintf(path, sizeof(path), "%s/%s", root, name);
	assert_int_equal(mkdir(path, 0755), 0);
}

static int make_root(void **state)
{
	(void)state;
	strcpy(root, "/tmp/disc-answer-XXXXXX");
	assert_non_null(mkdtemp(root));
	write_file("ten.txt", "0123456789");
	write_file("empty.txt", "");
	make_folder("with index");
	write_file("with index/index.html", "<p>");
	make_folder("without");
	make_folder("first");
	make_folder("first/first.html"); /* a folder is no index */
	write_file("first/index.html", "2");
	content = (struct fetch_content){
		.files = file_source_new(root), .types = content_types_new(NULL), .index = index_names};
	assert_non_null(content.files);
	assert_non_null(content.types);
	return 0;
}

static int remove_root(void **state)
{
	char command[128];

	(void)state;
	file_source_free(content.files);
	content_types_free(content.types);
	(void)snprintf(command, sizeof(command), "rm -rf '%s'", root);
	return system(command);
}

static void ask(struct fetch_answer *answer, const char *line, const char *headers)
{
	struct fetch_request request;
	struct response_head head;
	char text[1024];
	size_t consumed;

	(void)snprintf(text, sizeof(text), "%s HTTP/1.1\r\nHost: site\r\n%s\r\n", line, headers);
	assert_int_equal(fetch_request_parse(&request, text, strlen(text), sizeof(text), &consumed), FETCH_REQUEST_OK);
	fetch_answer_init(answer, &content, &request, NOW);
	fetch_answer_describe(answer, &head);
	head.date = NOW;
	consumed = response_head_format(answered, sizeof(answered), &head);
	assert_true(consumed > 0);
	answered[consumed] = '\0';
}

static void assert_says(const char *line)
{
	if (!strstr(answered, line))
		fail_msg("\"%s\" is missing in:\n%s", line, answered);
}

static void assert_status(const char *line, const char *headers, int status)
{
	struct fetch_answer answer;

	ask(&answer, line, headers);
	if (answer.status != status)
		fail_msg("%s: %d, expected %d", line, answer.status, status);
	assert_false(answer.has_body);
	assert_int_equal(answer.object.fd, -1);
	fetch_answer_release(&answer);
}

static void each_refusal_has_its_status(void **state)
{
	(void)state;
	assert_status("GET /%zz", "", 400);
	assert_status("OPTIONS *", "", 405);
	assert_status("POST /ten.txt", "Content-Length: 0\r\n", 405);
	assert_says("\r\nAllow: GET, HEAD\r\n");
	assert_status("GET /none", "", 404);
	assert_status("GET /ten.txt/", "", 404);
	assert_status("GET /a%2fb", "", 404);
	assert_status("GET /without/", "", 403);
	assert_status("GET /", "", 403);
	assert_status("HEAD /none", "", 404);
}

static void folder_is_redirected_to_its_slash(void **state)
{
	struct fetch_answer answer;

	(void)state;
	ask(&answer, "GET //with%20index?a=b", "");
	assert_int_equal(answer.status, 301);
	assert_says("\r\nLocation: /with%20index/?a=b\r\n");
	fetch_answer_release(&answer);
	/* Never to another host. */
	ask(&answer, "GET //..//first", "");
	assert_says("\r\nLocation: /first/\r\n");
	fetch_answer_release(&answer);
}

static void index_is_served_for_a_folder(void **state)
{
	struct fetch_answer answer;

	(void)state;
	ask(&answer, "GET /with%20index/", "");
	assert_int_equal(answer.status, 200);
	assert_int_equal(answer.length, 3);
	assert_says("\r\nContent-Type: text/html; charset=utf-8\r\n");
	fetch_answer_release(&answer);
	ask(&answer, "GET /first/", "");
	assert_int_equal(answer.status, 200);
	assert_int_equal(answer.length, 1);
	fetch_answer_release(&answer);
}

static void whole_file_has_its_validators(void **state)
{
	struct fetch_answer answer;

	(void)state;
	ask(&answer, "GET /ten.txt", "");
	assert_int_equal(answer.status, 200);
	assert_true(answer.has_body);
	assert_int_equal(answer.offset, 0);
	assert_int_equal(answer.length, 10);
	assert_memory_equal(answered, "HTTP/1.1 200 OK\r\nDate: Tue, 14 Nov 2023 22:13:20 GMT\r\n", 54);
	assert_says("\r\nContent-Length: 10\r\n");
	assert_says("\r\nLast-Modified: Sun, 06 Nov 1994 08:49:37 GMT\r\n");
	assert_says("\r\nAccept-Ranges: bytes\r\n");
	assert_says(answer.etag);
	fetch_answer_release(&answer);
	ask(&answer, "GET /empty.txt", "");
	assert_int_equal(answer.status, 200);
	assert_false(answer.has_body);
	assert_says("\r\nContent-Length: 0\r\n");
	fetch_answer_release(&answer);
}

static void head_says_the_same_without_a_body(void **state)
{
	struct fetch_answer answer;
	char got[RESPONSE_HEAD_MAX];

	(void)state;
	ask(&answer, "GET /ten.txt", "");
	strcpy(got, answered);
	fetch_answer_release(&answer);
	ask(&answer, "HEAD /ten.txt", "Range: bytes=1-2\r\n"); /* a range is for GET alone */
	assert_string_equal(got, answered);
	assert_false(answer.has_body);
	fetch_answer_release(&answer);
}

static void ranges_choose_bytes(void **state)
{
	struct fetch_answer answer;

	(void)state;
	ask(&answer, "GET /ten.txt", "Range: bytes=-3\r\n");
	assert_int_equal(answer.status, 206);
	assert_int_equal(answer.offset, 7);
	assert_int_equal(answer.length, 3);
	assert_says("\r\nContent-Range: bytes 7-9/10\r\n");
	assert_says("\r\nContent-Length: 3\r\n");
	fetch_answer_release(&answer);
	ask(&answer, "GET /ten.txt", "Range: bytes=10-\r\n");
	assert_int_equal(answer.status, 416);
	assert_says("\r\nContent-Range: bytes */10\r\n");
	fetch_answer_release(&answer);
	ask(&answer, "GET /ten.txt", "Range: bytes=0-1,4-5\r\n");
	assert_int_equal(answer.status, 200);
	fetch_answer_release(&answer);
	ask(&answer, "GET /ten.txt", "Range: bytes=0-1\r\nIf-Range: \"old\"\r\n");
	assert_int_equal(answer.status, 200);
	assert_int_equal(answer.length, 10);
	fetch_answer_release(&answer);
}

static void preconditions_come_before_the_range(void **state)
{
	struct fetch_answer answer;

	(void)state;
	ask(&answer, "GET /ten.txt", "If-Modified-Since: Sun, 06 Nov 1994 08:49:37 GMT\r\nRange: bytes=99-\r\n");
	assert_int_equal(answer.status, 304);
	assert_false(answer.has_body);
	assert_null(strstr(answered, "Content-Length"));
	assert_says(answer.etag);
	fetch_answer_release(&answer);
	assert_status("GET /ten.txt", "If-Match: \"old\"\r\nRange: bytes=0-1\r\n", 412);
}

static void head_that_does_not_fit_is_refused(void **state)
{
	struct response_head head = {.status = 301, .location = "/0123456789/0123456789/0123456789/"};
	char bytes[200];
	size_t len = response_head_format(bytes, sizeof(bytes), &head);

	(void)state;
	assert_true(len > 0);
	for (size_t cap = 0; cap <= len; cap++) {
		char *exact = malloc(cap + 1);

		assert_non_null(exact);
		assert_int_equal(response_head_format(exact, cap, &head), 0);
		free(exact);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_refusal_has_its_status),
		cmocka_unit_test(folder_is_redirected_to_its_slash),
		cmocka_unit_test(index_is_served_for_a_folder),
		cmocka_unit_test(whole_file_has_its_validators),
		cmocka_unit_test(head_says_the_same_without_a_body),
		cmocka_unit_test(ranges_choose_bytes),
		cmocka_unit_test(preconditions_come_before_the_range),
		cmocka_unit_test(head_that_does_not_fit_is_refused),
	};

	return cmocka_run_group_tests(tests, make_root, remove_root);
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Guards: /metrics and /health answer what monitoring reads, to GET and HEAD only; a program's own pages get the arguments of
 * their query; nothing else is there. */
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "admin.h"

static _Atomic int is_draining;

static int draining(void *context)
{
	return atomic_load((_Atomic int *)context);
}

static struct metric metrics[] = {{.name = "disc_test_total", .help = "Test.", .kind = METRIC_COUNTER}};

/* Says what it was asked, with status 400 if that has the argument "bad". */
static char *render_echo(void *context, const struct admin_argument *arguments, size_t count, unsigned *status)
{
	char *text = NULL;
	size_t len = 0;
	FILE *out = open_memstream(&text, &len);

	assert_ptr_equal(context, &is_draining);
	for (size_t i = 0; i < count; i++) {
		(void)fprintf(out, "%s=%s\n", arguments[i].name, arguments[i].value);
		if (strcmp(arguments[i].name, "bad") == 0)
			*status = 400;
	}
	(void)fclose(out);
	return text;
}

static char *render_nothing(void *context, const struct admin_argument *arguments, size_t count, unsigned *status)
{
	(void)context;
	(void)arguments;
	(void)count;
	(void)status;
	return NULL;
}

static const struct admin_page pages[] = {{"/echo", "text/x-echo", render_echo},
					  {"/none", "text/plain", render_nothing}};
static const struct admin_source source = {
	.metrics = metrics, .count = 1, .draining = draining, .context = &is_draining, .pages = pages, .page_count = 2};
static struct admin *admin;
static struct address address;
static char folder[] = "/tmp/disc-admin-XXXXXX";

/* On a UNIX socket, for admin_start() does not tell which port it got. */
static int start(void **state)
{
	char text[128];
	const char *why;

	(void)state;
	if (!mkdtemp(folder))
		return -1;
	(void)snprintf(text, sizeof(text), "unix:%s/admin", folder);
	if (address_parse(&address, text, &why) < 0)
		return -1;
	admin = admin_start(&address, &source);
	return admin ? 0 : -1;
}

static int stop(void **state)
{
	char path[128];

	(void)state;
	admin_stop(admin);
	admin_stop(NULL);
	(void)snprintf(path, sizeof(path), "%s/admin", folder);
	return unlink(path) == 0 ? rmdir(folder) : -1;
}

/* Sends <request> and reads the answer until the endpoint closes. */
static const char *ask(const char *request)
{
	static char answer[16384];
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	size_t len = 0;
	ssize_t got;

	assert_true(fd >= 0);
	assert_int_equal(connect(fd, (const struct sockaddr *)&address.storage, address.len), 0);
	assert_int_equal(write(fd, request, strlen(request)), strlen(request));
	while ((got = read(fd, answer + len, sizeof(answer) - 1 - len)) > 0)
		len += (size_t)got;
	answer[len] = '\0';
	assert_int_equal(close(fd), 0);
	return answer;
}

static const char *ask_for(const char *method, const char *path)
{
	char request[256];

	(void)snprintf(request, sizeof(request), "%s %s HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", method,
		       path);
	return ask(request);
}

static void expect(const char *answer, const char *status, const char *body)
{
	const char *end = strstr(answer, "\r\n\r\n");

	if (strncmp(answer, "HTTP/1.1 ", 9) != 0 || strncmp(answer + 9, status, 3) != 0)
		fail_msg("\"%.60s\" has not status %s", answer, status);
	assert_non_null(end);
	assert_string_equal(end + 4, body);
}

static void metrics_are_served(void **state)
{
	const char *answer;

	(void)state;
	metric_add(&metrics[0], 41);
	answer = ask_for("GET", "/metrics");
	expect(answer, "200", "# HELP disc_test_total Test.\n# TYPE disc_test_total counter\ndisc_test_total 41\n");
	assert_non_null(strcasestr(answer, "content-type: text/plain; version=0.0.4"));
	expect(ask_for("HEAD", "/metrics"), "200", "");
}

static void health_tells_draining(void **state)
{
	(void)state;
	expect(ask_for("GET", "/health"), "200", "ok\n");
	atomic_store(&is_draining, 1);
	expect(ask_for("GET", "/health"), "503", "draining\n");
	expect(ask_for("HEAD", "/health"), "503", "");
	atomic_store(&is_draining, 0);
	expect(ask_for("GET", "/health"), "200", "ok\n");
}

static void pages_get_the_arguments_of_their_query(void **state)
{
	char long_query[512] = "/echo?";
	const char *answer;

	(void)state;
	answer = ask_for("GET", "/echo?a=1%20%262&empty=&none&b=%C3%A4+c");
	expect(answer, "200", "a=1 &2\nempty=\nnone=\nb=\xc3\xa4 c\n");
	assert_non_null(strcasestr(answer, "content-type: text/x-echo\r\n"));
	expect(ask_for("GET", "/echo"), "200", "");
	expect(ask_for("GET", "/echo?bad=1"), "400", "bad=1\n");
	expect(ask_for("HEAD", "/echo?a=1"), "200", "");
	expect(ask_for("GET", "/none"), "500", "out of memory\n");
	/* More than are taken: the first ones. */
	for (int i = 0; i < 40; i++)
		strcat(long_query, "x=&");
	answer = strstr(ask_for("GET", long_query), "\r\n\r\n");
	assert_int_equal(strlen(answer + 4), 32 * strlen("x=\n"));
}

static void everything_else_is_refused(void **state)
{
	static const char *const paths[] = {"/",        "/metrics/",   "/metricsx", "/Health",
					    "//health", "/../metrics", "/echo/"};
	static const char *const methods[] = {"POST", "PUT", "DELETE", "OPTIONS", "BREW"};

	(void)state;
	for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++)
		expect(ask_for("GET", paths[i]), "404", "not found: /metrics and /health are here\n");
	for (size_t i = 0; i < sizeof(methods) / sizeof(methods[0]); i++)
		expect(ask_for(methods[i], "/metrics"), "405", "only GET and HEAD\n");
	expect(ask("POST /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 5\r\n\r\nhello"), "405",
	       "only GET and HEAD\n");
}

static void garbage_is_survived(void **state)
{
	(void)state;
	(void)ask("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n");
	(void)ask("GET\r\n\r\n");
	expect(ask_for("GET", "/health"), "200", "ok\n");
}

static void address_in_use_is_an_error(void **state)
{
	(void)state;
	assert_null(admin_start(&address, &source));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(garbage_is_survived),
		cmocka_unit_test(everything_else_is_refused),
		cmocka_unit_test(metrics_are_served),
		cmocka_unit_test(health_tells_draining),
		cmocka_unit_test(pages_get_the_arguments_of_their_query),
		cmocka_unit_test(address_in_use_is_an_error),
	};

	return cmocka_run_group_tests(tests, start, stop);
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Guards the HTTP source by itself: what an origin is asked, that its answer comes out byte by byte whatever the pace,
 * that memory stays bounded, and that no broken answer passes for a whole one. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "http_source.h"
#include "lib/channel_fixture.h"
#include "scripted_origin.h"

#define BIG (5u * 1024 * 1024 + 11)
#define OK "HTTP/1.1 200 OK\r\n"

struct lab {
	struct ev_loop *loop;
	struct scripted_origin origin;
	struct http_source_settings settings;
	char base[ADDRESS_TEXT_MAX + 16], socket_path[64];
	struct http_source *source;
	struct http_stream *stream;
	struct body_source *body;
	size_t taken; /* bytes of body, all as the origin sent them */
	unsigned calls;
	bool reads;                    /* as bytes come */
	enum body_source_status ended; /* with reads: WAITING until it ended */
};

/* Takes what is ready, at most <max> bytes. */
static enum body_source_status take(struct lab *lab, size_t max)
{
	uint8_t bytes[10000];
	uint64_t ready = 0;
	enum body_source_status status = body_source_look(lab->body, &ready);

	while (status == BODY_SOURCE_READY && max) {
		struct iovec pieces[2];
		size_t len = ready < sizeof(bytes) ? (size_t)ready : sizeof(bytes);

		len = len < max ? len : max;
		pieces[0] = (struct iovec){bytes, len / 3};
		pieces[1] = (struct iovec){bytes + len / 3, len - len / 3};
		assert_int_equal(body_source_read(lab->body, pieces, 2), BODY_SOURCE_READY);
		for (size_t i = 0; i < len; i++)
			if (bytes[i] != origin_byte(lab->taken + i))
				fail_msg("byte %zu is a wrong one", lab->taken + i);
		lab->taken += len;
		max -= len;
		status = body_source_look(lab->body, &ready);
	}
	return status;
}

static void on_progress(void *context)
{
	struct lab *lab = context;

	lab->calls++;
	if (lab->reads && http_stream_state(lab->stream) != HTTP_STREAM_ASKING)
		lab->ended = take(lab, SIZE_MAX);
}

static void open_source(struct lab *lab, const char *where)
{
	char text[ADDRESS_TEXT_MAX];

	origin_open(&lab->origin, lab->loop, where);
	if (strncmp(where, "unix:", 5) == 0) {
		lab->settings.base = "http://localhost/";
		lab->settings.unix_path = where + 5;
	} else {
		(void)snprintf(lab->base, sizeof(lab->base), "http://%s/", address_format(&lab->origin.address, text));
		lab->settings.base = lab->base;
	}
	lab->source = http_source_new(lab->loop, &lab->settings);
	assert_non_null(lab->source);
}

/* Whose answer is to be there before libcurl's send() of the next request returns; NULL: nobody's. */
static struct scripted_origin *prompt;

/* Reads and answers what was asked on the one connection there is. */
static void answer_at_once(struct scripted_origin *origin)
{
	if (!origin->accepted) {
		on_origin_accept(origin->loop, &origin->acceptor, EV_READ);
		ev_clear_pending(origin->loop, &origin->acceptor);
	}
	for (size_t i = 0; i < ORIGIN_CONNECTIONS; i++) {
		struct origin_connection *connection = &origin->connections[i];

		if (connection->fd >= 0)
			on_origin_event(origin->loop, &connection->io, EV_READ);
	}
}

/* In the place of libc's, for libcurl too. */
ssize_t send(int fd, const void *bytes, size_t len, int flags)
{
	ssize_t sent = sendto(fd, bytes, len, flags, NULL, 0);
	struct scripted_origin *origin = prompt;

	prompt = NULL;
	if (origin)
		answer_at_once(origin);
	return sent;
}

static int lab_open(void **state)
{
	struct lab *lab = calloc(1, sizeof(*lab));

	assert_non_null(lab);
	lab->loop = ev_loop_new(EVFLAG_AUTO);
	lab->settings.connect_timeout = 5;
	lab->settings.timeout = 10;
	lab->settings.max_connections = 2;
	lab->reads = true;
	lab->ended = BODY_SOURCE_WAITING;
	*state = lab;
	return 0;
}

static void drop_stream(struct lab *lab)
{
	body_source_free(lab->body);
	lab->body = NULL;
	lab->stream = NULL;
}

static int lab_close(void **state)
{
	struct lab *lab = *state;

	drop_stream(lab);
	http_source_free(lab->source);
	origin_close(&lab->origin);
	if (lab->socket_path[0] != '\0')
		(void)unlink(lab->socket_path);
	ev_loop_destroy(lab->loop);
	free(lab);
	return 0;
}

static void ask(struct lab *lab, const char *text)
{
	struct fetch_request request;
	size_t consumed;

	assert_int_equal(fetch_request_parse(&request, text, strlen(text), 8192, &consumed), FETCH_REQUEST_OK);
	lab->taken = 0;
	lab->ended = BODY_SOURCE_WAITING;
	lab->stream = http_source_fetch(lab->source, &request, on_progress, lab);
	assert_non_null(lab->stream);
	lab->body = http_stream_body(lab->stream);
}

#define GET "GET /a HTTP/1.1\r\nHost: site\r\n\r\n"

static bool is_over(void *context)
{
	const struct lab *lab = context;

	return lab->ended == BODY_SOURCE_END || lab->ended == BODY_SOURCE_FAILED;
}

static bool is_answered(void *context)
{
	return http_stream_state(((struct lab *)context)->stream) != HTTP_STREAM_ASKING;
}

static void assert_whole(struct lab *lab, size_t len)
{
	run_until(lab->loop, is_over, lab, "the answer ends");
	assert_int_equal(lab->ended, BODY_SOURCE_END);
	assert_int_equal(lab->taken, len);
}

static void assert_failed(struct lab *lab, int status, const char *fault)
{
	run_until(lab->loop, is_over, lab, "the answer fails");
	assert_int_equal(lab->ended, BODY_SOURCE_FAILED);
	assert_int_equal(http_stream_state(lab->stream), HTTP_STREAM_FAILED);
	assert_int_equal(http_stream_failure_status(lab->stream), status);
	assert_string_equal(lab->body->fault, fault);
}

/* --- what goes wrong --- */

static void garbage_is_502(void **state)
{
	struct lab *lab = *state;

	open_source(lab, "127.0.0.1:0");
	lab->origin.close = true;
	lab->origin.head = "\x16\x03\x01 this is no HTTP\r\n\r\n";
	ask(lab, GET);
	assert_failed(lab, 502, "its answer is malformed");
	drop_stream(lab);
	lab->origin.head = OK "Content-Length: 1\r\nContent-Length: 1\r\n\r\nx";
	ask(lab, GET);
	assert_failed(lab, 502, "it has Content-Length twice");
	drop_stream(lab);
	lab->origin.head = OK "Content-Length: 12x\r\n\r\n";
	ask(lab, GET);
	assert_failed(lab, 502, "its Content-Length is malformed");
	drop_stream(lab);
	lab->origin.head = OK "Transfer-Encoding: chunked\r\n\r\nnonsense\r\n";
	ask(lab, GET);
	assert_failed(lab, 502, "the connection broke");
}

static void end_within_the_head_is_502(void **state)
{
	struct lab *lab = *state;

	open_source(lab, "127.0.0.1:0");
	lab->origin.close = true;
	lab->origin.head = OK "Content-Len";
	ask(lab, GET);
	run_until(lab->loop, is_over, lab, "the answer fails");
	assert_int_equal(http_stream_state(lab->stream), HTTP_STREAM_FAILED);
	assert_int_equal(http_stream_failure_status(lab->stream), 502);
}

static void end_within_the_body_never_passes_for_the_end(void **state)
{
	struct lab *lab = *state;

	open_source(lab, "127.0.0.1:0");
	lab->origin.close = true;
	lab->origin.head = OK "Content-Length: 100000\r\nETag: \"1\"\r\n\r\n";
	lab->origin.body_len = 99999;
	ask(lab, GET);
	assert_failed(lab, 502, "it closed the connection early");
	assert_true(lab->taken < 100000);
}

static void end_within_a_chunk_never_passes_for_the_end(void **state)
{
	struct lab *lab = *state;

	open_source(lab, "127.0.0.1:0");
	lab->origin.close = true;
	lab->origin.head = OK "Transfer-Encoding: chunked\r\n\r\n1000\r\n";
	lab->origin.body_len = 100;
	ask(lab, GET);
	assert_failed(lab, 502, "it closed the connection early");
}

/* More than was announced: with the head, later in one piece, and right behind the last announced byte. */
static void excess_breaks_off_before_the_last_byte(void **state)
{
	static const size_t announced[] = {10, 100000, 65536, 16384};
	struct lab *lab = *state;
	char head[100];

	open_source(lab, "127.0.0.1:0");
	lab->origin.close = true;
	for (size_t i = 0; i < sizeof(announced) / sizeof(announced[0]); i++) {
		(void)snprintf(head, sizeof(head), OK "Content-Length: %zu\r\nETag: \"1\"\r\n\r\n", announced[i]);
		lab->origin.head = head;
		lab->origin.body_len = announced[i] + 1;
		ask(lab, GET);
		assert_failed(lab, 502, "it sent more than it announced");
		assert_true(lab->taken < announced[i]);
		drop_stream(lab);
	}
}

static void silence_is_504(void **state)
{
	struct lab *lab = *state;

	lab->settings.timeout = 0.2;
	open_source(lab, "127.0.0.1:0");
	ask(lab, GET);
	assert_failed(lab, 504, "it was silent for too long");
}

static void silence_within_the_body_breaks_off(void **state)
{
	struct lab *lab = *state;

	lab->settings.timeout = 0.2;
	open_source(lab, "127.0.0.1:0");
	lab->origin.head = OK "Content-Length: 100000\r\n\r\n";
	lab->origin.body_len = 100000;
	lab->origin.hold = 50000;
	ask(lab, GET);
	assert_failed(lab, 504, "it was silent for too long");
	assert_int_equal(lab->taken, 50000);
}

static void nobody_there_is_502(void **state)
{
	struct lab *lab = *state;

	open_source(lab, "127.0.0.1:0");
	origin_close(&lab->origin);
	ask(lab, GET);
	assert_failed(lab, 502, "it cannot be reached");
	origin_open(&lab->origin, lab->loop, "127.0.0.1:0"); /* for lab_close() */
}

/* --- what goes right --- */

static void origin_is_asked_what_the_client_asked(void **state)
{
	struct lab *lab = *state;

	open_source(lab, "127.0.0.1:0");
	lab->origin.head = OK "Content-Length: 0\r\n\r\n";
	ask(lab, "GET http://other/%2e%2e/a//../b?q=1&r HTTP/1.1\r\nHost: site:8443\r\nRange: bytes=1-2\r\n"
		 "If-None-Match: \"x\"\r\nCookie: c=1\r\nX-Empty:\r\nConnection: keep-alive, X-Hop\r\nX-Hop: 1\r\n"
		 "Disc-Ticket: 00112233445566778899aabbccddeeff; proof=bf1103062927ab139b1a9a121f2da62e\r\nTE: "
		 "trailers\r\nExpect: nothing\r\n\r\n");
	assert_whole(lab, 0);
	assert_string_equal(lab->origin.request, "GET /%2e%2e/a//../b?q=1&r HTTP/1.1\r\nHost: site:8443\r\n"
						 "Range: bytes=1-2\r\nIf-None-Match: \"x\"\r\nCookie: c=1\r\n"
						 "X-Empty:\r\n\r\n");
}

static void small_and_empty_bodies_come_whole(void **state)
{
	struct lab *lab = *state;

	open_source(lab, "127.0.0.1:0");
	lab->origin.head = OK "Content-Length: 1\r\n\r\n";
	lab->origin.body_len = 1;
	ask(lab, GET);
	assert_whole(lab, 1);
	drop_stream(lab);
	lab->origin.head = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n" OK
			   "Content-Length: 0\r\n\r\n";
	lab->origin.body_len = 0;
	ask(lab, GET);
	assert_whole(lab, 0);
	assert_int_equal(http_stream_head(lab->stream)->status, 200);
}

static void head_has_a_length_and_no_body(void **state)
{
	struct lab *lab = *state;

	open_source(lab, "127.0.0.1:0");
	lab->origin.head = OK "Content-Length: 12345\r\n\r\n";
	ask(lab, "HEAD /a HTTP/1.1\r\nHost: site\r\n\r\n");
	assert_whole(lab, 0);
	assert_int_equal(http_stream_head(lab->stream)->length, 12345);
	assert_int_equal(strncmp(lab->origin.request, "HEAD /a HTTP/1.1\r\n", 18), 0);
}

static void body_until_the_end_of_the_connection_comes_whole(void **state)
{
	struct lab *lab = *state;

	open_source(lab, "127.0.0.1:0");
	lab->origin.close = true;
	lab->origin.head = "HTTP/1.0 200 OK\r\n\r\n";
	lab->origin.body_len = BIG;
	ask(lab, GET);
	assert_whole(lab, BIG);
	assert_false(http_stream_head(lab->stream)->has_length);
}

static void connection_is_used_again(void **state)
{
	struct lab *lab = *state;

	open_source(lab, "127.0.0.1:0");
	lab->origin.head = OK "Content-Length: 100000\r\n\r\n";
	lab->origin.body_len = 100000;
	for (int i = 0; i < 5; i++) {
		ask(lab, GET);
		assert_whole(lab, 100000);
		drop_stream(lab);
	}
	assert_int_equal(lab->origin.asked, 5);
	assert_int_equal(lab->origin.accepted, 1);
}

/* libcurl need not wait for the answer then, so that it never says on which connection it comes. */
static void answer_that_is_there_at_once_comes_whole(void **state)
{
	static const size_t lengths[] = {0, 10, 150000, 200000, 240000, HTTP_STREAM_BUFFER, BIG};
	struct lab *lab = *state;
	char head[100];

	open_source(lab, "127.0.0.1:0");
	lab->origin.head = head;
	for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
		(void)snprintf(head, sizeof(head), OK "Content-Length: %zu\r\nETag: \"1\"\r\n\r\n", lengths[i]);
		lab->origin.body_len = lengths[i];
		/* Once with a reader that takes its time, as one that waits for a client's connection does. */
		for (int slow = 0; slow < 2; slow++) {
			lab->reads = !slow;
			prompt = &lab->origin;
			ask(lab, GET);
			for (int turn = 0; slow && turn < 100; turn++)
				(void)ev_run(lab->loop, EVRUN_NOWAIT);
			lab->reads = true;
			if (slow)
				on_progress(lab);
			assert_whole(lab, lengths[i]);
			assert_null(prompt);
			drop_stream(lab);
		}
	}
	assert_int_equal(lab->origin.accepted, 1);
	assert_int_equal(lab->origin.ended, 0);
}

/* The origin dropped it while nobody looked: the next request goes over a new one. */
static void connection_that_died_idle_is_replaced(void **state)
{
	struct lab *lab = *state;

	open_source(lab, "127.0.0.1:0");
	lab->origin.head = OK "Content-Length: 10\r\n\r\n";
	lab->origin.body_len = 10;
	ask(lab, GET);
	assert_whole(lab, 10);
	drop_stream(lab);
	origin_drop(&lab->origin);
	ask(lab, GET);
	assert_whole(lab, 10);
	assert_int_equal(lab->origin.accepted, 2);
}

/* What an origin says without being asked is not the answer to the next request. */
static void unsolicited_answer_is_nobodys(void **state)
{
	struct lab *lab = *state;

	open_source(lab, "127.0.0.1:0");
	lab->origin.head = OK "Content-Length: 10\r\n\r\n";
	lab->origin.body_len = 10;
	ask(lab, GET);
	assert_whole(lab, 10);
	drop_stream(lab);
	origin_say(&lab->origin, OK "Content-Length: 4\r\n\r\nevil");
	ask(lab, GET);
	assert_whole(lab, 10);
	assert_int_equal(lab->origin.accepted, 2);
}

static void open_unix_source(struct lab *lab)
{
	char where[80];
	int placeholder;

	strcpy(lab->socket_path, "/tmp/disc-origin-XXXXXX");
	placeholder = mkstemp(lab->socket_path);
	assert_true(placeholder >= 0);
	close(placeholder);
	assert_int_equal(unlink(lab->socket_path), 0);
	(void)snprintf(where, sizeof(where), "unix:%s", lab->socket_path);
	open_source(lab, where);
	lab->settings.unix_path = lab->socket_path;
}

static void unix_socket_is_an_origin_too(void **state)
{
	struct lab *lab = *state;

	open_unix_source(lab);
	lab->origin.head = OK "Content-Length: 300000\r\n\r\n";
	lab->origin.body_len = 300000;
	ask(lab, GET);
	assert_whole(lab, 300000);
	assert_non_null(strstr(lab->origin.request, "\r\nHost: site\r\n"));
}

/* Also where libcurl waited neither for the connection nor for the first answer. */
static void unsolicited_answer_of_a_prompt_origin_is_nobodys(void **state)
{
	struct lab *lab = *state;

	open_unix_source(lab);
	lab->origin.head = OK "Content-Length: 10\r\n\r\n";
	lab->origin.body_len = 10;
	prompt = &lab->origin;
	ask(lab, GET);
	assert_whole(lab, 10);
	assert_null(prompt);
	drop_stream(lab);
	origin_say(&lab->origin, OK "Content-Length: 4\r\n\r\nevil");
	ask(lab, GET);
	assert_whole(lab, 10);
	assert_int_equal(lab->origin.accepted, 2);
}

/* --- pace --- */

static size_t ready_bytes(struct lab *lab)
{
	uint64_t ready = 0;

	assert_int_not_equal(body_source_look(lab->body, &ready), BODY_SOURCE_FAILED);
	assert_true(ready <= HTTP_STREAM_BUFFER);
	return (size_t)ready;
}

/* libcurl hands out 16 KB at most at once. */
static bool is_full(void *context)
{
	return is_answered(context) && ready_bytes(context) + 16384 > HTTP_STREAM_BUFFER;
}

static void reader_that_takes_nothing_stops_the_origin(void **state)
{
	struct lab *lab = *state;
	unsigned calls;

	lab->settings.timeout = 0.3;
	open_source(lab, "127.0.0.1:0");
	lab->origin.head = OK "Content-Length: 33554432\r\nETag: \"1\"\r\n\r\n";
	lab->origin.body_len = 33554432;
	lab->reads = false;
	ask(lab, GET);
	run_until(lab->loop, is_full, lab, "the buffer is full");
	calls = lab->calls;
	for (int i = 0; i < 100; i++)
		(void)ev_run(lab->loop, EVRUN_NOWAIT);
	assert_true(is_full(lab));
	assert_int_equal(lab->calls, calls);
	/* Several times it is taken from, fills again, and is left alone. A pause is no silence of the origin's. */
	for (int i = 0; i < 5; i++) {
		(void)take(lab, HTTP_STREAM_BUFFER * 3 / 4);
		run_until(lab->loop, is_full, lab, "the buffer is full again");
	}
	lab->reads = true;
	lab->ended = take(lab, SIZE_MAX);
	assert_whole(lab, 33554432);
}

static bool has_half(void *context)
{
	return ((struct lab *)context)->taken == 50000;
}

static void body_comes_as_the_origin_sends_it(void **state)
{
	struct lab *lab = *state;

	open_source(lab, "127.0.0.1:0");
	lab->origin.head = OK "Content-Length: 100000\r\n\r\n";
	lab->origin.body_len = 100000;
	lab->origin.hold = 50000;
	ask(lab, GET);
	run_until(lab->loop, has_half, lab, "the first half came");
	assert_false(is_over(lab));
	origin_release(&lab->origin);
	assert_whole(lab, 100000);
}

static bool origin_saw_the_end(void *context)
{
	return ((struct lab *)context)->origin.ended > 0;
}

static void transfer_that_is_freed_is_cancelled_at_once(void **state)
{
	struct lab *lab = *state;

	open_source(lab, "127.0.0.1:0");
	lab->origin.head = OK "Content-Length: 100000\r\n\r\n";
	lab->origin.body_len = 100000;
	lab->origin.hold = 50000;
	ask(lab, GET);
	run_until(lab->loop, has_half, lab, "the first half came");
	drop_stream(lab);
	run_until(lab->loop, origin_saw_the_end, lab, "the connection is closed");
	/* Also one that was not answered at all. */
	lab->origin.ended = 0;
	lab->origin.head = NULL;
	ask(lab, GET);
	drop_stream(lab);
}

static bool both_were_asked(void *context)
{
	return ((struct lab *)context)->origin.asked == 2;
}

/* With both connections at work a third request waits, and is served when one is free. */
static void requests_beyond_the_limit_wait(void **state)
{
	struct lab *lab = *state;
	struct body_source *busy[2];

	open_source(lab, "127.0.0.1:0");
	lab->origin.head = OK "Content-Length: 1000\r\n\r\n";
	lab->origin.body_len = 1000;
	lab->origin.hold = 500;
	lab->reads = false;
	for (int i = 0; i < 2; i++) {
		ask(lab, GET);
		busy[i] = lab->body;
	}
	run_until(lab->loop, both_were_asked, lab, "two requests");
	lab->reads = true;
	ask(lab, GET);
	for (int i = 0; i < 100; i++)
		(void)ev_run(lab->loop, EVRUN_NOWAIT);
	assert_int_equal(lab->origin.asked, 2);
	assert_int_equal(http_stream_state(lab->stream), HTTP_STREAM_ASKING);
	origin_release(&lab->origin);
	assert_whole(lab, 1000);
	assert_int_equal(lab->origin.accepted, 2);
	body_source_free(busy[0]);
	body_source_free(busy[1]);
}

#define LAB_TEST(name) cmocka_unit_test_setup_teardown(name, lab_open, lab_close)

int main(void)
{
	const struct CMUnitTest tests[] = {
		LAB_TEST(garbage_is_502),
		LAB_TEST(end_within_the_head_is_502),
		LAB_TEST(end_within_the_body_never_passes_for_the_end),
		LAB_TEST(end_within_a_chunk_never_passes_for_the_end),
		LAB_TEST(excess_breaks_off_before_the_last_byte),
		LAB_TEST(silence_is_504),
		LAB_TEST(silence_within_the_body_breaks_off),
		LAB_TEST(nobody_there_is_502),
		LAB_TEST(origin_is_asked_what_the_client_asked),
		LAB_TEST(small_and_empty_bodies_come_whole),
		LAB_TEST(head_has_a_length_and_no_body),
		LAB_TEST(body_until_the_end_of_the_connection_comes_whole),
		LAB_TEST(connection_is_used_again),
		LAB_TEST(answer_that_is_there_at_once_comes_whole),
		LAB_TEST(connection_that_died_idle_is_replaced),
		LAB_TEST(unsolicited_answer_is_nobodys),
		LAB_TEST(unix_socket_is_an_origin_too),
		LAB_TEST(unsolicited_answer_of_a_prompt_origin_is_nobodys),
		LAB_TEST(reader_that_takes_nothing_stops_the_origin),
		LAB_TEST(body_comes_as_the_origin_sends_it),
		LAB_TEST(transfer_that_is_freed_is_cancelled_at_once),
		LAB_TEST(requests_beyond_the_limit_wait),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Guards a node that fronts an origin, from the fetch hop: what is sealed, what is relayed and certified "none", how a
 * broken answer shows, and that a client that goes away takes its transfer with it. Node, origin and client share a
 * loop. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "fetch_proving.h"
#include "fetch_server.h"
#include "granting.h"
#include "lib/channel_fixture.h"
#include "node_metrics.h"
#include "record.h"
#include "scripted_origin.h"

#define SIZE (700u * 1024 + 33)
#define SPLICE_MIN 2000u
#define TICKET "00000000000000000000000000000007"
#define OK "HTTP/1.1 200 OK\r\n"
#define STRONG "ETag: \"v1\"\r\n"

struct lab {
	struct ev_loop *loop;
	struct scripted_origin origin;
	struct http_source_settings settings;
	char base[ADDRESS_TEXT_MAX + 16];
	struct fetch_content content;
	struct ticket_table *tickets;
	struct result_queue results;
	struct fetch_server *server;
	struct address address;
	int listener;
	_Atomic bool draining;
	int client; /* -1: none */
	ev_io reader;
	uint8_t *response;
	size_t len, cap;
	bool ended, was_reset;
	unsigned result_count;
	struct offload_result result;
};

/* --- the lab --- */

static void on_idle(void *context)
{
	(void)context;
}

static void on_result(void *context, const struct offload_result *result)
{
	struct lab *lab = context;

	lab->result = *result;
	lab->result_count++;
}

static int lab_open(void **state)
{
	struct lab *lab = calloc(1, sizeof(*lab));
	struct ticket_limits limits = {.wait_s = 0.4, .remember_s = 60, .max_waiting = 8, .max_used = 80};
	struct fetch_service service;
	char text[ADDRESS_TEXT_MAX];
	const char *why;

	assert_non_null(lab);
	lab->loop = ev_loop_new(EVFLAG_AUTO);
	origin_open(&lab->origin, lab->loop, "127.0.0.1:0");
	(void)snprintf(lab->base, sizeof(lab->base), "http://%s/", address_format(&lab->origin.address, text));
	lab->settings = (struct http_source_settings){
		.base = lab->base, .connect_timeout = 5, .timeout = 10, .max_connections = 4};
	lab->content.origin = &lab->settings;
	lab->tickets = ticket_table_new(&limits);
	assert_non_null(lab->tickets);
	assert_int_equal(result_queue_init(&lab->results, 0), 0);
	result_queue_attach(&lab->results, lab->loop, on_result, lab);
	assert_int_equal(address_parse(&lab->address, "127.0.0.1:0", &why), 0);
	lab->listener = address_listen(&lab->address, 16, 0600);
	assert_true(lab->listener >= 0);
	lab->address.len = sizeof(lab->address.storage);
	assert_int_equal(getsockname(lab->listener, (struct sockaddr *)&lab->address.storage, &lab->address.len), 0);
	service = (struct fetch_service){
		.loop = lab->loop,
		.limits = {.keep_alive_timeout = 20,
			   .header_timeout = 20,
			   .send_timeout = 20,
			   .ticket_wait = 0.4,
			   .max_header_size = 8192,
			   .max_connections = 8},
		.content = &lab->content,
		.tickets = lab->tickets,
		.results = &lab->results,
		.draining = &lab->draining,
	};
	lab->server = fetch_server_start(&service, &lab->listener, 1, on_idle, lab);
	assert_non_null(lab->server);
	lab->client = -1;
	*state = lab;
	return 0;
}

static void client_close(struct lab *lab)
{
	if (lab->client < 0)
		return;
	ev_io_stop(lab->loop, &lab->reader);
	assert_int_equal(close(lab->client), 0);
	lab->client = -1;
}

static int lab_close(void **state)
{
	struct lab *lab = *state;

	client_close(lab);
	fetch_server_stop(lab->server);
	assert_int_equal(node_metric_value(NODE_OFFLOADS_ACTIVE), 0);
	assert_int_equal(node_metric_value(NODE_CONNECTIONS), 0);
	close(lab->listener);
	result_queue_detach(&lab->results);
	ticket_table_free(lab->tickets);
	result_queue_destroy(&lab->results);
	origin_close(&lab->origin);
	ev_loop_destroy(lab->loop);
	free(lab->response);
	free(lab);
	return 0;
}

/* --- the client --- */

static void on_client_readable(struct ev_loop *loop, ev_io *io, int events)
{
	struct lab *lab = io->data;
	ssize_t n;

	(void)events;
	if (lab->cap - lab->len < 65536) {
		lab->cap = 2 * lab->cap + 65536;
		lab->response = realloc(lab->response, lab->cap);
		assert_non_null(lab->response);
	}
	n = recv(lab->client, lab->response + lab->len, 65536, MSG_DONTWAIT);
	if (n > 0) {
		lab->len += (size_t)n;
		return;
	}
	lab->ended = true;
	lab->was_reset = n < 0;
	ev_io_stop(loop, io);
}

static void client_send(struct lab *lab, const char *request)
{
	if (lab->client < 0) {
		lab->client = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
		assert_true(lab->client >= 0);
		assert_int_equal(connect(lab->client, (const struct sockaddr *)&lab->address.storage, lab->address.len),
				 0);
		ev_io_init(&lab->reader, on_client_readable, lab->client, EV_READ);
		lab->reader.data = lab;
		ev_io_start(lab->loop, &lab->reader);
		lab->ended = false;
	}
	lab->len = 0;
	assert_int_equal(send(lab->client, request, strlen(request), MSG_NOSIGNAL), (ssize_t)strlen(request));
}

static size_t body_at(const struct lab *lab)
{
	const uint8_t *end = lab->len ? memmem(lab->response, lab->len, "\r\n\r\n", 4) : NULL;

	return !end ? 0 : (size_t)(end + 4 - lab->response);
}

static bool has(const struct lab *lab, const char *text)
{
	return memmem(lab->response, body_at(lab), text, strlen(text)) != NULL;
}

static bool has_head(void *context)
{
	return body_at(context) > 0;
}

static bool is_whole(void *context)
{
	const struct lab *lab = context;
	const char *length;

	if (body_at(lab) == 0)
		return false;
	length = memmem(lab->response, body_at(lab), "\r\nContent-Length: ", 18);
	return lab->ended || (length && lab->len - body_at(lab) >= strtoull(length + 18, NULL, 10));
}

static bool has_last_chunk(void *context)
{
	const struct lab *lab = context;

	return lab->ended || (lab->len > 5 && memcmp(lab->response + lab->len - 5, "0\r\n\r\n", 5) == 0);
}

static bool is_ended(void *context)
{
	return ((struct lab *)context)->ended;
}

static void assert_body(const struct lab *lab, const uint8_t *bytes, size_t len, size_t expected)
{
	(void)lab;
	assert_int_equal(len, expected);
	for (size_t i = 0; i < len; i++)
		if (bytes[i] != origin_byte(i))
			fail_msg("byte %zu is a wrong one", i);
}

/* --- tickets --- */

static void offer_state(struct lab *lab, unsigned number, struct tx_state state)
{
	struct ticket_terms terms = {.lease_id = 1, .channel = 1, .splice_min = SPLICE_MIN};
	struct ticket ticket;
	char text[TICKET_TEXT_LEN + 1];

	(void)snprintf(text, sizeof(text), "%032x", number);
	assert_true(ticket_parse(&ticket, text, TICKET_TEXT_LEN));
	(void)ticket_table_offer(lab->tickets, &ticket, &state, &terms, ticket_clock());
}

static void offer(struct lab *lab, unsigned number)
{
	offer_state(lab, number, opening_state(1));
}

/* Asks for /a with the ticket <number> and <more> header lines, each with its CRLF. */
static void fetch_with(struct lab *lab, unsigned number, const char *method, const char *more)
{
	char ticket[TICKET_TEXT_LEN + 1], header[PROVING_HEADER_MAX], request[512];

	(void)snprintf(ticket, sizeof(ticket), "%032x", number);
	prove_request(header, ticket, method, "/a", more);
	(void)snprintf(request, sizeof(request), "%s /a HTTP/1.1\r\nHost: site\r\nDisc-Ticket: %s\r\n%s\r\n", method,
		       header, more);
	client_send(lab, request);
}

static void fetch(struct lab *lab)
{
	fetch_with(lab, 7, "GET", "");
}

static void script(struct lab *lab, const char *head, size_t body_len, bool close_after)
{
	lab->origin.head = head;
	lab->origin.body_len = body_len;
	lab->origin.close = close_after;
}

static bool has_result(void *context)
{
	return ((struct lab *)context)->result_count > 0;
}

static void assert_result(struct lab *lab, enum control_outcome outcome, const char *reason)
{
	run_until(lab->loop, has_result, lab, "a result");
	assert_int_equal(lab->result_count, 1);
	assert_int_equal(lab->result.outcome, outcome);
	assert_string_equal(lab->result.reason, reason);
}

/* The announcement is <claim> and its proof. */
static void assert_announced(const struct lab *lab, const char *claim)
{
	char value[512], line[600];

	(void)snprintf(value, sizeof(value), "%s", claim);
	prove_announcement(value, sizeof(value));
	(void)snprintf(line, sizeof(line), "\r\nDisc-Body: %s\r\n", value);
	assert_true(has(lab, line));
}

static void assert_none(struct lab *lab, const char *reason)
{
	run_until(lab->loop, has_head, lab, "a response");
	assert_announced(lab, "none; ticket=" TICKET);
	assert_result(lab, CONTROL_OUTCOME_DECLINED, reason);
}

static size_t opened_of(struct lab *lab, uint8_t *plain, uint64_t *records)
{
	struct tx_state state = opening_state(1);
	size_t len;

	assert_true(open_records(&state, lab->response + body_at(lab), lab->len - body_at(lab), plain, SIZE, &len,
				 records));
	return len;
}

static void assert_sealed_as(struct lab *lab, const char *claim)
{
	uint8_t *plain = malloc(SIZE);
	uint64_t records;
	size_t len;

	assert_non_null(plain);
	run_until(lab->loop, is_whole, lab, "the whole response");
	assert_announced(lab, claim);
	len = opened_of(lab, plain, &records);
	assert_int_equal(records, (SIZE + 16383) / 16384);
	assert_body(lab, plain, len, SIZE);
	free(plain);
	assert_result(lab, CONTROL_OUTCOME_SEALED, "");
}

/* The entity tag is empty: an origin may give other bytes the same one. */
static void assert_sealed(struct lab *lab)
{
	assert_sealed_as(lab,
			 "splice; ticket=" TICKET "; seq=1; records=44; length=716833; status=200; first=0; etag=");
}

#define PINNED OK STRONG "Content-Length: 716833\r\nX-Own: 1\r\nConnection: keep-alive\r\n\r\n"

/* --- what is broken --- */

/* True records of a true beginning, and not the last one. */
static void assert_cut(struct lab *lab)
{
	uint8_t *plain = malloc(SIZE);
	uint64_t records;
	size_t len;

	assert_non_null(plain);
	run_until(lab->loop, is_ended, lab, "the connection ends");
	len = opened_of(lab, plain, &records);
	assert_true(records < (SIZE + 16383) / 16384);
	assert_body(lab, plain, len, len);
	free(plain);
}

static void sealed_body_of_an_answer_that_ends_early_breaks_off(void **state)
{
	struct lab *lab = *state;

	script(lab, PINNED, SIZE - 1, true);
	offer(lab, 7);
	fetch(lab);
	assert_cut(lab);
	assert_result(lab, CONTROL_OUTCOME_FAILED, "it closed the connection early");
}

static void sealed_body_of_an_answer_that_goes_on_breaks_off(void **state)
{
	struct lab *lab = *state;

	script(lab, PINNED, SIZE + 1, true);
	offer(lab, 7);
	fetch(lab);
	assert_cut(lab);
	assert_result(lab, CONTROL_OUTCOME_FAILED, "it sent more than it announced");
}

static void relayed_body_that_ends_early_is_reset(void **state)
{
	struct lab *lab = *state;

	script(lab, OK "Content-Length: 716833\r\n\r\n", SIZE - 1, true);
	client_send(lab, "GET /a HTTP/1.1\r\nHost: site\r\n\r\n");
	run_until(lab->loop, is_ended, lab, "the connection ends");
	assert_true(!lab->len || lab->len - body_at(lab) < SIZE);
	/* Without a length only a reset tells it from the end. */
	client_close(lab);
	script(lab, OK "Transfer-Encoding: chunked\r\n\r\n100000\r\n", SIZE, true);
	client_send(lab, "GET /a HTTP/1.0\r\n\r\n");
	run_until(lab->loop, is_ended, lab, "the connection ends");
	assert_true(lab->was_reset);
}

/* It broke off before anything of it was passed on: there still is a proper way to say so. */
static void answer_that_breaks_off_at_once_is_502(void **state)
{
	struct lab *lab = *state;

	script(lab, OK STRONG "Content-Length: 5000\r\n\r\n", 4999, true);
	offer(lab, 7);
	fetch(lab);
	run_until(lab->loop, has_result, lab, "a result");
	if (lab->result.outcome == CONTROL_OUTCOME_DECLINED) {
		run_until(lab->loop, is_whole, lab, "the whole response");
		assert_memory_equal(lab->response, "HTTP/1.1 502 Bad Gateway\r\n", 26);
	} else {
		assert_int_equal(lab->result.outcome, CONTROL_OUTCOME_FAILED);
		assert_int_equal(lab->result.records, 0);
	}
}

static void origin_that_is_not_there_is_502_and_none(void **state)
{
	struct lab *lab = *state;

	origin_close(&lab->origin);
	offer(lab, 7);
	fetch(lab);
	assert_none(lab, "the response has no body of a file");
	assert_memory_equal(lab->response, "HTTP/1.1 502 Bad Gateway\r\n", 26);
	origin_open(&lab->origin, lab->loop, "127.0.0.1:0"); /* for lab_close() */
}

static void garbage_is_502_and_the_connection_goes_on(void **state)
{
	struct lab *lab = *state;

	script(lab, "garbage\r\n\r\n", 0, true);
	client_send(lab, "GET /a HTTP/1.1\r\nHost: site\r\n\r\n");
	run_until(lab->loop, is_whole, lab, "the whole response");
	assert_memory_equal(lab->response, "HTTP/1.1 502 Bad Gateway\r\n", 26);
	assert_false(has(lab, "Disc-Body"));
	script(lab, OK "Content-Length: 5\r\n\r\n", 5, true);
	client_send(lab, "GET /b HTTP/1.1\r\nHost: site\r\n\r\n");
	run_until(lab->loop, is_whole, lab, "the whole response");
	assert_memory_equal(lab->response, OK, strlen(OK));
}

static void silent_origin_is_504_and_none(void **state)
{
	struct lab *lab = *state;

	lab->settings.timeout = 0.2;
	offer(lab, 7);
	fetch(lab);
	assert_none(lab, "the response has no body of a file");
	assert_memory_equal(lab->response, "HTTP/1.1 504 Gateway Timeout\r\n", 30);
}

/* --- what is sealed, and what is not --- */

static void pinned_body_is_sealed(void **state)
{
	struct lab *lab = *state;

	script(lab, PINNED, SIZE, false);
	offer(lab, 7);
	fetch(lab);
	assert_sealed(lab);
	assert_memory_equal(lab->response, OK, strlen(OK));
	assert_true(has(lab, "\r\nX-Own: 1\r\n") && has(lab, "\r\n" STRONG) && has(lab, "\r\nDate: "));
	assert_false(has(lab, "keep-alive"));
	assert_null(strstr(lab->origin.request, "Disc-"));
}

static void range_of_an_origin_is_announced_with_its_place(void **state)
{
	struct lab *lab = *state;

	script(lab,
	       "HTTP/1.1 206 Partial Content\r\n" STRONG "Content-Range: bytes 16384-733216/733217\r\n"
	       "Content-Length: 716833\r\n\r\n",
	       SIZE, false);
	offer(lab, 7);
	fetch_with(lab, 7, "GET", "Range: bytes=16384-\r\n");
	assert_sealed_as(lab,
			 "splice; ticket=" TICKET "; seq=1; records=44; length=716833; status=206; first=16384; etag=");
}

/* The origin was asked already: its answer goes out as it would without a ticket. */
static void request_that_was_altered_is_relayed(void **state)
{
	struct lab *lab = *state;
	char header[PROVING_HEADER_MAX], request[256];

	script(lab, PINNED, SIZE, false);
	prove_request(header, TICKET, "GET", "/b", "");
	(void)snprintf(request, sizeof(request), "GET /a HTTP/1.1\r\nHost: site\r\nDisc-Ticket: %s\r\n\r\n", header);
	offer(lab, 7);
	client_send(lab, request);
	run_until(lab->loop, is_whole, lab, "the whole response");
	assert_false(has(lab, "Disc-Body"));
	assert_body(lab, lab->response + body_at(lab), lab->len - body_at(lab), SIZE);
	assert_result(lab, CONTROL_OUTCOME_DECLINED, "the proof of the fetch is wrong");
}

/* An origin may give other bytes the same entity tag: its body is never sealed a second time. */
static void continuation_of_an_origins_body_is_refused(void **state)
{
	struct lab *lab = *state;
	struct tx_state tx = opening_state(2);
	const struct ticket_terms terms = {
		.channel = 1,
		.continuation = {.etag = {"\"v1\"", 4}, .target = {"/a", 2}, .offset = 16384, .length = 716833}};
	struct ticket ticket;

	script(lab,
	       "HTTP/1.1 206 Partial Content\r\n" STRONG "Content-Range: bytes 16384-733216/733217\r\n"
	       "Content-Length: 716833\r\n\r\n",
	       SIZE, false);
	assert_true(ticket_parse(&ticket, TICKET, TICKET_TEXT_LEN));
	(void)ticket_table_offer(lab->tickets, &ticket, &tx, &terms, ticket_clock());
	fetch_with(lab, 7, "GET", "Range: bytes=16384-\r\nIf-Match: \"v1\"\r\n");
	assert_none(lab, "a body of an HTTP origin is never sealed a second time");
}

static bool origin_was_asked(void *context)
{
	return ((struct lab *)context)->origin.asked > 0;
}

static void offer_that_comes_after_the_answer_is_joined(void **state)
{
	struct lab *lab = *state;

	script(lab, PINNED, SIZE, false);
	fetch(lab);
	run_until(lab->loop, origin_was_asked, lab, "the origin is asked");
	offer(lab, 7);
	assert_sealed(lab);
}

static void sealed_body_waits_for_a_slow_origin(void **state)
{
	struct lab *lab = *state;
	size_t before;

	script(lab, PINNED, SIZE, false);
	lab->origin.hold = 100000;
	offer(lab, 7);
	fetch(lab);
	run_until(lab->loop, has_head, lab, "the head");
	for (int i = 0; i < 50; i++)
		(void)ev_run(lab->loop, EVRUN_NOWAIT);
	before = lab->len;
	assert_true(before - body_at(lab) <= 100000 + 7 * RECORD_OVERHEAD_MAX);
	assert_int_equal(lab->result_count, 0);
	origin_release(&lab->origin);
	assert_sealed(lab);
}

static void fetch_without_an_offer_is_relayed(void **state)
{
	struct lab *lab = *state;

	script(lab, PINNED, SIZE, false);
	fetch(lab);
	run_until(lab->loop, is_whole, lab, "the whole response");
	assert_false(has(lab, "Disc-Body"));
	assert_body(lab, lab->response + body_at(lab), lab->len - body_at(lab), SIZE);
}

static void body_that_is_not_pinned_is_none(void **state)
{
	static const struct {
		const char *head;
		const char *reason;
	} cases[] = {
		{OK "Content-Length: 5000\r\n\r\n", "the origin gives no strong validator"},
		{OK "ETag: W/\"1\"\r\nContent-Length: 5000\r\n\r\n", "the origin gives no strong validator"},
		{"HTTP/1.1 206 Partial Content\r\n" STRONG "Content-Type: multipart/byteranges; boundary=b\r\n"
		 "Content-Length: 5000\r\n\r\n",
		 "the origin does not tell which bytes of its object the body is"},
		{"HTTP/1.1 404 No\r\n" STRONG "Content-Length: 5000\r\n\r\n",
		 "the origin's status is neither 200 nor 206"},
	};
	struct lab *lab = *state;
	char none[100];

	for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		script(lab, cases[i].head, 5000, false);
		offer(lab, i + 1);
		(void)snprintf(none, sizeof(none), "none; ticket=%032x", i + 1);
		fetch_with(lab, i + 1, "GET", "");
		run_until(lab->loop, is_whole, lab, "the whole response");
		assert_announced(lab, none);
		assert_body(lab, lab->response + body_at(lab), lab->len - body_at(lab), 5000);
		assert_result(lab, CONTROL_OUTCOME_DECLINED, cases[i].reason);
		lab->result_count = 0;
	}
}

static void short_body_is_none(void **state)
{
	struct lab *lab = *state;

	script(lab, OK STRONG "Content-Length: 1999\r\n\r\n", 1999, false);
	offer(lab, 7);
	fetch(lab);
	assert_none(lab, "the body is shorter than the agent's splice-min");
}

/* What comes without a length goes in chunks, which hold exactly the body. */
static void body_of_unknown_length_is_chunked(void **state)
{
	struct lab *lab = *state;
	uint8_t *plain = malloc(SIZE);
	size_t at, len = 0, chunk;

	assert_non_null(plain);
	script(lab, "HTTP/1.0 200 OK\r\n" STRONG "\r\n", SIZE, true);
	offer(lab, 7);
	fetch(lab);
	run_until(lab->loop, has_last_chunk, lab, "the last chunk");
	assert_none(lab, "the origin does not tell the body's length");
	assert_true(has(lab, "\r\nTransfer-Encoding: chunked\r\n"));
	assert_false(has(lab, "Content-Length"));
	at = body_at(lab);
	do {
		char *end;

		chunk = strtoull((const char *)lab->response + at, &end, 16);
		assert_memory_equal(end, "\r\n", 2);
		at = (size_t)((uint8_t *)end + 2 - lab->response);
		assert_true(chunk <= lab->len - at && chunk <= SIZE - len);
		memcpy(plain + len, lab->response + at, chunk);
		len += chunk;
		assert_memory_equal(lab->response + at + chunk, "\r\n", 2);
		at += chunk + 2;
	} while (chunk);
	assert_int_equal(at, lab->len);
	assert_body(lab, plain, len, SIZE);
	free(plain);
}

static void body_of_unknown_length_ends_the_connection_of_http_1_0(void **state)
{
	struct lab *lab = *state;

	script(lab, OK "\r\n", SIZE, true);
	client_send(lab, "GET /a HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
	run_until(lab->loop, is_ended, lab, "the connection ends");
	assert_false(lab->was_reset);
	assert_true(has(lab, "\r\nConnection: close\r\n"));
	assert_false(has(lab, "Transfer-Encoding"));
	assert_body(lab, lab->response + body_at(lab), lab->len - body_at(lab), SIZE);
}

static void head_and_304_have_no_body(void **state)
{
	struct lab *lab = *state;

	script(lab, OK STRONG "Content-Length: 716833\r\n\r\n", 0, false);
	offer(lab, 7);
	fetch_with(lab, 7, "HEAD", "");
	assert_none(lab, "the response has no body of a file");
	assert_true(has(lab, "\r\nContent-Length: 716833\r\n"));
	assert_int_equal(lab->len, body_at(lab));
	script(lab, "HTTP/1.1 304 Not Modified\r\n" STRONG "\r\n", 0, false);
	client_send(lab, "GET /a HTTP/1.1\r\nHost: site\r\nIf-None-Match: \"v1\"\r\n\r\n");
	run_until(lab->loop, has_head, lab, "a response");
	assert_memory_equal(lab->response, "HTTP/1.1 304 Not Modified\r\n", 27);
	assert_int_equal(lab->len, body_at(lab));
	assert_non_null(strstr(lab->origin.request, "\r\nIf-None-Match: \"v1\"\r\n"));
	assert_int_equal(lab->origin.accepted, 1);
}

static void another_method_is_not_passed_on(void **state)
{
	struct lab *lab = *state;

	client_send(lab, "DELETE /a HTTP/1.1\r\nHost: site\r\n\r\n");
	run_until(lab->loop, is_whole, lab, "the whole response");
	assert_memory_equal(lab->response, "HTTP/1.1 405 ", 13);
	assert_int_equal(lab->origin.accepted, 0);
}

static bool origin_saw_the_end(void *context)
{
	return ((struct lab *)context)->origin.ended > 0;
}

static void client_that_goes_away_takes_its_transfer_with_it(void **state)
{
	struct lab *lab = *state;

	/* Before the answer, while sealed and while relayed. */
	script(lab, NULL, 0, false);
	client_send(lab, "GET /a HTTP/1.1\r\nHost: site\r\n\r\n");
	run_until(lab->loop, origin_was_asked, lab, "the origin is asked");
	client_close(lab);
	run_until(lab->loop, origin_saw_the_end, lab, "the origin's connection is closed");
	lab->origin.ended = 0;
	script(lab, PINNED, SIZE, false);
	lab->origin.hold = 200000;
	offer(lab, 7);
	fetch(lab);
	run_until(lab->loop, has_head, lab, "a response");
	client_close(lab);
	run_until(lab->loop, origin_saw_the_end, lab, "the origin's connection is closed");
	assert_result(lab, CONTROL_OUTCOME_ABORTED, "the peer went away");
	lab->origin.ended = 0;
	client_send(lab, "GET /a HTTP/1.1\r\nHost: site\r\n\r\n");
	run_until(lab->loop, has_head, lab, "a response");
	client_close(lab);
	run_until(lab->loop, origin_saw_the_end, lab, "the origin's connection is closed");
}

static void pipelined_requests_are_answered_in_order(void **state)
{
	struct lab *lab = *state;

	script(lab, OK "Content-Length: 3000\r\n\r\n", 3000, false);
	client_send(lab,
		    "GET /a HTTP/1.1\r\nHost: site\r\n\r\nGET /b HTTP/1.1\r\nHost: site\r\nConnection: close\r\n\r\n");
	run_until(lab->loop, is_ended, lab, "the connection ends");
	assert_int_equal(lab->origin.asked, 2);
	assert_body(lab, lab->response + body_at(lab), 3000, 3000);
	assert_memory_equal(lab->response + body_at(lab) + 3000, OK, strlen(OK));
}

/* --- grants --- */

/* The LB's side of a body that comes by grants. */
struct granter {
	struct lab *lab;
	struct ticket ticket;
	struct tx_state state;
	size_t at;      /* in the response's body, of the next message */
	size_t pending; /* its chunk's size with all that frames it, once known */
	struct granting_message message;
	const uint8_t *payload; /* of the message */
	struct grant grant;
	uint8_t *plain; /* what came of the body */
	unsigned reports;
};

/* Whether the next message is whole. */
static bool has_message(void *context)
{
	struct granter *granter = context;
	const uint8_t *chunk = granter->lab->response + body_at(granter->lab) + granter->at, *line;
	size_t have = granter->lab->len - body_at(granter->lab) - granter->at;

	line = memmem(chunk, have, "\r\n", 2);
	if (!line)
		return granter->lab->ended;
	granter->pending = (size_t)(line - chunk) + 2 + strtoul((const char *)chunk, NULL, 16) + 2;
	granter->payload = line + 2 + GRANTING_HEAD_LEN;
	return have >= granter->pending || granter->lab->ended;
}

static void next_message(struct granter *granter)
{
	uint64_t ready = granter->message.ready;

	run_until(granter->lab->loop, has_message, granter, "a message");
	assert_false(granter->lab->ended);
	assert_true(granting_read(&granter->message, granter->payload - GRANTING_HEAD_LEN, &granter->ticket,
				  granter->state.proof_key));
	assert_true(granter->message.ready >= ready);
	granter->at += granter->pending;
	granter->reports += granter->message.type == 2;
}

/* Grants <bytes> bytes from <first> on, in clear or all but one sealed, and reads to the answer. */
static void run_grant(struct granter *granter, uint64_t first, uint32_t bytes, bool in_clear)
{
	struct grant *grant = &granter->grant;
	uint8_t wire[GRANT_WIRE_LEN], opened[2 * GRANT_BYTES_MAX];
	uint64_t records;
	size_t len;

	*grant = (struct grant){
		first + bytes == SIZE, 3, grant->number + 1, in_clear ? 0 : granter->state.seq, first, bytes,
		in_clear ? bytes : 1};
	granting_encode(wire, grant, &granter->ticket, granter->state.proof_key);
	assert_int_equal(send(granter->lab->client, wire, sizeof(wire), MSG_NOSIGNAL), sizeof(wire));
	do
		next_message(granter);
	while (granter->message.type == 2);
	assert_int_equal(granter->message.number, grant->number);
	memcpy(granter->plain + first, granter->payload, grant->clear);
	assert_true(open_records(&granter->state, granter->payload + grant->clear,
				 granter->message.payload - grant->clear, opened, sizeof(opened), &len, &records));
	for (size_t i = 0, from = 0; i < records; i++) {
		size_t payload = (size_t)granting_get(opened + from, 3);

		memcpy(granter->plain + first + grant->clear + i * 16375, opened + from + 9, payload);
		from += 9 + payload;
	}
	granter->state.seq += records + 1;
}

/* As a client's windows might be: pieces of any size, and every third one void. */
static void grant_all(struct granter *granter)
{
	uint64_t at = 0;

	for (unsigned i = 1; at < SIZE; i++) {
		uint64_t left = granter->message.ready - at;
		uint32_t bytes = (uint32_t)(left < 20000 * i ? left : 20000 * i);

		if (!left) {
			next_message(granter);
			continue;
		}
		if (i % 3 == 0 && at + bytes < SIZE)
			run_grant(granter, at, bytes, false);
		run_grant(granter, at, bytes, i % 3 == 0);
		at += bytes;
	}
}

/* A slow origin, and one that would send all at once: it is held back, and what a void grant named is kept. */
static void body_of_an_origin_comes_by_grants(void **state)
{
	struct lab *lab = *state;
	struct granter granter = {.lab = lab, .state = opening_state(0)};
	const char *ready;

	granter.state.use = TX_USE_GRANTS;
	granter.plain = malloc(SIZE);
	assert_non_null(granter.plain);
	assert_true(ticket_parse(&granter.ticket, TICKET, TICKET_TEXT_LEN));
	script(lab, PINNED, SIZE, false);
	lab->origin.hold = 100;
	offer_state(lab, 7, granter.state);
	fetch(lab);
	run_until(lab->loop, has_head, lab, "a response");
	assert_true(has(lab,
			"\r\nDisc-Body: grants; ticket=" TICKET "; length=716833; status=200; first=0; etag=; ready="));
	assert_true(has(lab, "\r\nTransfer-Encoding: chunked\r\n"));
	ready = memmem(lab->response, body_at(lab), "; ready=", 8);
	granter.message.ready = strtoull(ready + 8, NULL, 10);
	assert_true(granter.message.ready <= 100);
	granter.state.seq = 9;
	origin_release(&lab->origin);
	grant_all(&granter);
	assert_body(lab, granter.plain, SIZE, SIZE);
	assert_true(granter.reports > 0);
	run_until(lab->loop, has_last_chunk, lab, "the last chunk");
	assert_result(lab, CONTROL_OUTCOME_SEALED, "");
	assert_true(lab->result.bytes > SIZE / 2);
	free(granter.plain);
}

/* Between two grants. */
static void granted_body_of_an_answer_that_ends_early_breaks_off(void **state)
{
	struct lab *lab = *state;
	struct tx_state grants = opening_state(0);

	grants.use = TX_USE_GRANTS;
	script(lab, PINNED, SIZE - 1, true);
	lab->origin.hold = 100000;
	offer_state(lab, 7, grants);
	fetch(lab);
	run_until(lab->loop, has_head, lab, "a response");
	lab->origin.body_len = 100000;
	origin_release(&lab->origin);
	run_until(lab->loop, is_ended, lab, "the connection ends");
	assert_result(lab, CONTROL_OUTCOME_FAILED, "it closed the connection early");
	assert_int_equal(lab->result.records, 0);
}

#define LAB_TEST(name) cmocka_unit_test_setup_teardown(name, lab_open, lab_close)

int main(void)
{
	const struct CMUnitTest tests[] = {
		LAB_TEST(sealed_body_of_an_answer_that_ends_early_breaks_off),
		LAB_TEST(sealed_body_of_an_answer_that_goes_on_breaks_off),
		LAB_TEST(relayed_body_that_ends_early_is_reset),
		LAB_TEST(answer_that_breaks_off_at_once_is_502),
		LAB_TEST(origin_that_is_not_there_is_502_and_none),
		LAB_TEST(garbage_is_502_and_the_connection_goes_on),
		LAB_TEST(silent_origin_is_504_and_none),
		LAB_TEST(pinned_body_is_sealed),
		LAB_TEST(range_of_an_origin_is_announced_with_its_place),
		LAB_TEST(request_that_was_altered_is_relayed),
		LAB_TEST(continuation_of_an_origins_body_is_refused),
		LAB_TEST(offer_that_comes_after_the_answer_is_joined),
		LAB_TEST(sealed_body_waits_for_a_slow_origin),
		LAB_TEST(fetch_without_an_offer_is_relayed),
		LAB_TEST(body_that_is_not_pinned_is_none),
		LAB_TEST(short_body_is_none),
		LAB_TEST(body_of_unknown_length_is_chunked),
		LAB_TEST(body_of_unknown_length_ends_the_connection_of_http_1_0),
		LAB_TEST(head_and_304_have_no_body),
		LAB_TEST(another_method_is_not_passed_on),
		LAB_TEST(client_that_goes_away_takes_its_transfer_with_it),
		LAB_TEST(pipelined_requests_are_answered_in_order),
		LAB_TEST(body_of_an_origin_comes_by_grants),
		LAB_TEST(granted_body_of_an_answer_that_ends_early_breaks_off),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Guards the reading of requests on the fetch hop: garbage is refused with the right status, no byte beyond the head is
 * taken, and a head arrives whole however it was cut. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "fetch_request.h"

#define MAX 1024
#define TICKET "00112233445566778899aabbccddeeff"
#define PROOF "bf1103062927ab139b1a9a121f2da62e"

static enum fetch_request_status parse(struct fetch_request *request, const char *text)
{
	size_t consumed;

	return fetch_request_parse(request, text, strlen(text), MAX, &consumed);
}

static void malformed_is_refused_with_400(void **state)
{
	static const char *const texts[] = {
		"\x16\x03\x01",
		"garbage\r\n\r\n",
		"GET\r\n\r\n",
		"GET / HTTP/1.1\r\n\r\n",
		"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
		"GET / HTTP/1.1\r\nHost: a\r\n folded\r\n\r\n",
		"GET / HTTP/1.1\r\nHost: a\r\nConnection: \026\r\n\r\n",
		"GET /\f HTTP/1.1\r\nHost: a\r\n\r\n",
		"GET /a\tb HTTP/1.1\r\nHost: a\r\n\r\n",
		"GET / HTTP/1.1\r\nHost: a\r\nBad Name: x\r\n\r\n",
		"GET / HTTP/1.1\r\nHost: a\r\nContent-Length : 5\r\n\r\n",
		"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n",
		"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
		"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999999999999999\r\n\r\n",
		"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
		"GET / HTTP/1.1\r\nHost: a\r\nDisc-Ticket: \r\n\r\n",
		"GET / HTTP/1.1\r\nHost: a\r\nDisc-Ticket: 0011\r\n\r\n",
		"GET / HTTP/1.1\r\nHost: a\r\nDisc-Ticket: 00112233445566778899AABBCCDDEEFF\r\n\r\n",
		"GET / HTTP/1.1\r\nHost: a\r\nDisc-Ticket: 00112233445566778899aabbccddeeff0\r\n\r\n",
		"GET / HTTP/1.1\r\nHost: a\r\nDisc-Ticket: 00112233445566778899aabbccddeeff\r\n\r\n",
		"GET / HTTP/1.1\r\nHost: a\r\nDisc-Ticket: " TICKET ";proof=" PROOF "\r\n\r\n",
		"GET / HTTP/1.1\r\nHost: a\r\nDisc-Ticket: " TICKET ";  proof=" PROOF "\r\n\r\n",
		"GET / HTTP/1.1\r\nHost: a\r\nDisc-Ticket: " TICKET "; proof=\r\n\r\n",
		"GET / HTTP/1.1\r\nHost: a\r\nDisc-Ticket: " TICKET "; proof=" PROOF "0\r\n\r\n",
		"GET / HTTP/1.1\r\nHost: a\r\nDisc-Ticket: " TICKET "; proof=" PROOF "; more\r\n\r\n",
		"GET / HTTP/1.1\r\nHost: a\r\nDisc-Ticket: " TICKET "; proof=BF1103062927AB139B1A9A121F2DA62E\r\n\r\n",
		"GET / HTTP/1.1\r\nHost: a\r\nDisc-Ticket: " TICKET "; proof=" PROOF "\r\n"
		"Disc-Ticket: " TICKET "; proof=" PROOF "\r\n\r\n",
		"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
	};
	struct fetch_request request;

	(void)state;
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		if (parse(&request, texts[i]) != FETCH_REQUEST_MALFORMED)
			fail_msg("was not refused: %s", texts[i]);
		assert_non_null(request.fault);
	}
}

static void unknown_method_and_version_have_their_status(void **state)
{
	struct fetch_request request;

	(void)state;
	assert_int_equal(parse(&request, "FETCHIT / HTTP/1.1\r\nHost: a\r\n\r\n"), FETCH_REQUEST_UNKNOWN_METHOD);
	assert_int_equal(parse(&request, "get / HTTP/1.1\r\nHost: a\r\n\r\n"), FETCH_REQUEST_UNKNOWN_METHOD);
	assert_int_equal(parse(&request, "GET /\r\n\r\n"), FETCH_REQUEST_UNKNOWN_VERSION); /* HTTP/0.9 */
	assert_int_equal(parse(&request, "GET / HTTP/2.0\r\nHost: a\r\n\r\n"), FETCH_REQUEST_UNKNOWN_VERSION);
	assert_int_equal(parse(&request, "GET / HTTP/0.9\r\nHost: a\r\n\r\n"), FETCH_REQUEST_UNKNOWN_VERSION);
}

static void too_long_a_head_is_told_by_its_part(void **state)
{
	struct fetch_request request;
	char text[2 * MAX];
	size_t consumed;

	(void)state;
	memset(text, 'a', sizeof(text));
	memcpy(text, "GET /", 5);
	assert_int_equal(fetch_request_parse(&request, text, MAX - 1, MAX, &consumed), FETCH_REQUEST_INCOMPLETE);
	assert_int_equal(fetch_request_parse(&request, text, MAX, MAX, &consumed), FETCH_REQUEST_TARGET_TOO_LONG);
	assert_int_equal(fetch_request_parse(&request, text, sizeof(text), MAX, &consumed),
			 FETCH_REQUEST_TARGET_TOO_LONG);
	memcpy(text, "GET / HTTP/1.1\r\nX: ", 19);
	assert_int_equal(fetch_request_parse(&request, text, sizeof(text), MAX, &consumed),
			 FETCH_REQUEST_HEADERS_TOO_LONG);
}

static const char full[] = "GET /a?b HTTP/1.1\r\nHost: site\r\nRange:  bytes=1-2 \r\nIf-Range: \"x\"\r\n"
			   "if-none-match: \"y\"\r\nIF-MATCH: *\r\nIf-Modified-Since: m\r\nIf-Unmodified-Since: u\r\n"
			   "Disc-Ticket:\t" TICKET "; proof=" PROOF " \r\nOther: z\r\n\r\n";

static void assert_full(const struct fetch_request *request)
{
	char ticket[TICKET_HEADER_LEN + 1];

	assert_int_equal(request->method, FETCH_GET);
	assert_string_equal(request->method_name, "GET");
	assert_int_equal(request->http_minor, 1);
	assert_true(request->keep_alive);
	assert_true(text_span_equals(request->target, "/a?b"));
	assert_true(text_span_equals(request->range, "bytes=1-2"));
	assert_true(text_span_equals(request->conditions.if_range, "\"x\""));
	assert_true(text_span_equals(request->conditions.if_none_match, "\"y\""));
	assert_true(text_span_equals(request->conditions.if_match, "*"));
	assert_true(text_span_equals(request->conditions.if_modified_since, "m"));
	assert_true(text_span_equals(request->conditions.if_unmodified_since, "u"));
	assert_true(request->has_ticket);
	assert_false(request->ambiguous);
	ticket_header_format(ticket, &request->ticket);
	assert_string_equal(ticket, TICKET "; proof=" PROOF);
	assert_false(request->chunked_body);
	assert_int_equal(request->body_length, 0);
	assert_int_equal(request->field_count, 9);
	assert_false(request->has_more_fields);
	assert_true(text_span_equals(request->fields[0].name, "Host"));
	assert_true(text_span_equals(request->fields[1].value, "bytes=1-2"));
	assert_true(text_span_equals(request->fields[8].name, "Other"));
	assert_true(text_span_equals(request->fields[8].value, "z"));
}

static void more_fields_than_are_kept_are_told(void **state)
{
	struct fetch_request request;
	char text[4096] = "GET / HTTP/1.1\r\nHost: a\r\n";
	size_t consumed;

	(void)state;
	for (unsigned i = 1; i < FETCH_REQUEST_FIELDS_MAX; i++)
		strcat(text, "A: 1\r\n");
	strcat(text, "\r\n");
	assert_int_equal(fetch_request_parse(&request, text, strlen(text), sizeof(text), &consumed), FETCH_REQUEST_OK);
	assert_int_equal(request.field_count, FETCH_REQUEST_FIELDS_MAX);
	assert_false(request.has_more_fields);
	strcpy(text + strlen(text) - 2, "A: 1\r\n\r\n");
	assert_int_equal(fetch_request_parse(&request, text, strlen(text), sizeof(text), &consumed), FETCH_REQUEST_OK);
	assert_int_equal(request.field_count, FETCH_REQUEST_FIELDS_MAX);
	assert_true(request.has_more_fields);
}

/* The parser's library has a limit of its own, 80 KB. */
static void head_may_be_as_long_as_the_caller_says(void **state)
{
	static const char begin[] = "GET /?", end[] = " HTTP/1.1\r\nHost: a\r\n\r\n";
	const size_t target = 500000, len = sizeof(begin) - 1 + target + sizeof(end) - 1;
	struct fetch_request request;
	char *text = malloc(len + 1);
	size_t consumed;

	(void)state;
	assert_non_null(text);
	memcpy(text, begin, sizeof(begin) - 1);
	memset(text + sizeof(begin) - 1, 'x', target);
	memcpy(text + sizeof(begin) - 1 + target, end, sizeof(end));
	assert_int_equal(fetch_request_parse(&request, text, len, len + 1, &consumed), FETCH_REQUEST_OK);
	assert_int_equal(consumed, len);
	assert_int_equal(request.target.len, target + 2);
	assert_int_equal(fetch_request_parse(&request, text, len, len - 1, &consumed), FETCH_REQUEST_HEADERS_TOO_LONG);
	free(text);
}

static void whole_head_is_read_wherever_it_is_cut(void **state)
{
	size_t len = sizeof(full) - 1, consumed;
	struct fetch_request request;

	(void)state;
	for (size_t cut = 0; cut <= len; cut++) {
		/* A copy of exactly this size, so that a sanitizer sees any look beyond it. */
		char *text = malloc(cut + 1);
		enum fetch_request_status status;

		assert_non_null(text);
		memcpy(text, full, cut);
		status = fetch_request_parse(&request, text, cut, MAX, &consumed);
		assert_int_equal(status, cut < len ? FETCH_REQUEST_INCOMPLETE : FETCH_REQUEST_OK);
		if (cut == len) {
			assert_int_equal(consumed, len);
			assert_full(&request);
		}
		free(text);
	}
}

static void nothing_behind_the_head_is_taken(void **state)
{
	char text[2 * sizeof(full)];
	struct fetch_request request;
	size_t consumed;

	(void)state;
	(void)snprintf(text, sizeof(text), "%s%s", full, "\x16garbage, or the next request");
	assert_int_equal(fetch_request_parse(&request, text, strlen(text), MAX, &consumed), FETCH_REQUEST_OK);
	assert_int_equal(consumed, sizeof(full) - 1);
	assert_full(&request);
}

static void bodies_and_persistence_are_told(void **state)
{
	struct fetch_request request;

	(void)state;
	assert_int_equal(parse(&request, "POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 12\r\n\r\nhello"),
			 FETCH_REQUEST_OK);
	assert_int_equal(request.method, FETCH_OTHER);
	assert_int_equal(request.body_length, 12);
	assert_int_equal(parse(&request, "GET /a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"),
			 FETCH_REQUEST_OK);
	assert_true(request.chunked_body);
	assert_int_equal(parse(&request, "HEAD /a HTTP/1.0\r\n\r\n"), FETCH_REQUEST_OK);
	assert_int_equal(request.method, FETCH_HEAD);
	assert_int_equal(request.http_minor, 0);
	assert_false(request.keep_alive);
	assert_int_equal(parse(&request, "GET /a HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"), FETCH_REQUEST_OK);
	assert_true(request.keep_alive);
	assert_int_equal(parse(&request, "GET /a HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"), FETCH_REQUEST_OK);
	assert_false(request.keep_alive);
	assert_int_equal(parse(&request, "CONNECT a:80 HTTP/1.1\r\nHost: a\r\n\r\n"), FETCH_REQUEST_OK);
	assert_int_equal(request.method, FETCH_OTHER);
	assert_int_equal(parse(&request, "GET /a HTTP/1.1\r\nHost: a\r\nUpgrade: h2c\r\nConnection: upgrade\r\n\r\n"),
			 FETCH_REQUEST_OK);
}

static void repeated_conditions_never_make_a_wrong_answer(void **state)
{
	struct fetch_request request;

	(void)state;
	assert_int_equal(parse(&request, "GET /a HTTP/1.1\r\nHost: a\r\nRange: bytes=0-1\r\nRange: bytes=2-3\r\n"
					 "If-None-Match: \"a\"\r\nIf-None-Match: \"b\"\r\n\r\n"),
			 FETCH_REQUEST_OK);
	assert_int_equal(request.range.len, 0);
	assert_int_equal(request.conditions.if_none_match.len, 0);
	assert_int_equal(parse(&request, "GET /a HTTP/1.1\r\nHost: a\r\nIf-Match: \"a\"\r\nIf-Match: \"b\"\r\n\r\n"),
			 FETCH_REQUEST_MALFORMED);
}

static void ticket_fault_is_named(void **state)
{
	struct fetch_request request;

	(void)state;
	assert_int_equal(parse(&request, "GET / HTTP/1.1\r\nHost: a\r\nDisc-Ticket: " TICKET "\r\n\r\n"),
			 FETCH_REQUEST_MALFORMED);
	assert_non_null(strstr(request.fault, "Disc-Ticket is not a ticket and a proof"));
}

/* One line of the proven text stands for each of these fields: it cannot say that there are two, an empty one, or one that
 * Connection keeps from an origin. */
static void fields_that_no_proof_describes_are_told(void **state)
{
	static const struct {
		const char *lines;
		bool ambiguous;
	} cases[] = {
		{"", false},
		{"Range: bytes=0-1\r\nIf-Range: \"a\"\r\nIf-Match: \"a\", \"b\"\r\n", false},
		{"If-None-Match: \"a\"\r\nIf-None-Match:\r\n", false},
		{"Range: bytes=0-1\r\nRange: bytes=2-3\r\n", true},
		{"Range: bytes=0-1\r\nrange: bytes=0-1\r\n", true},
		{"Range: bytes=0-1\r\nRange:\r\nRange: bytes=0-1\r\n", true},
		{"Range:\r\n", true},
		{"If-Range:  \t \r\n", true},
		{"If-Match:\r\n", true},
		{"Connection: keep-alive, x-range\r\nRange: bytes=0-1\r\n", false},
		{"Connection: Range\r\nRange: bytes=0-1\r\n", true},
		{"If-Range: \"a\"\r\nConnection: close, if-range\r\n", true},
		{"Connection: close\r\nConnection: x,If-Match\r\nIf-Match: \"a\"\r\n", true},
	};
	struct fetch_request request;
	char text[512];

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		(void)snprintf(text, sizeof(text),
			       "GET / HTTP/1.1\r\nHost: a\r\nDisc-Ticket: " TICKET "; proof=" PROOF "\r\n%s\r\n",
			       cases[i].lines);
		assert_int_equal(parse(&request, text), FETCH_REQUEST_OK);
		assert_int_equal(request.ambiguous, cases[i].ambiguous);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(malformed_is_refused_with_400),
		cmocka_unit_test(ticket_fault_is_named),
		cmocka_unit_test(fields_that_no_proof_describes_are_told),
		cmocka_unit_test(more_fields_than_are_kept_are_told),
		cmocka_unit_test(unknown_method_and_version_have_their_status),
		cmocka_unit_test(too_long_a_head_is_told_by_its_part),
		cmocka_unit_test(head_may_be_as_long_as_the_caller_says),
		cmocka_unit_test(whole_head_is_read_wherever_it_is_cut),
		cmocka_unit_test(nothing_behind_the_head_is_taken),
		cmocka_unit_test(bodies_and_persistence_are_told),
		cmocka_unit_test(repeated_conditions_never_make_a_wrong_answer),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

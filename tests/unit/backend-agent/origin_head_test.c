/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Guards what is read from the head of an origin's answer: nothing malformed passes, nothing of the connection or of
 * DiSC's own goes on, and only a strong entity tag pins an object. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include <string.h>

#include "origin_head.h"

/* Takes <text> line by line. */
static enum origin_head_status take(struct origin_head *head, const char *text)
{
	enum origin_head_status status = ORIGIN_HEAD_INCOMPLETE;

	*head = (struct origin_head){.status = 0};
	while (status == ORIGIN_HEAD_INCOMPLETE && *text != '\0') {
		const char *end = strchr(text, '\n') + 1;

		status = origin_head_take(head, text, (size_t)(end - text));
		text = end;
	}
	return status;
}

static void assert_refused(const char *text, const char *fault)
{
	struct origin_head head;

	assert_int_equal(take(&head, text), ORIGIN_HEAD_REFUSED);
	assert_string_equal(head.fault, fault);
	origin_head_release(&head);
}

#define OK "HTTP/1.1 200 OK\r\n"

static void malformed_status_lines_are_refused(void **state)
{
	static const char *const lines[] = {
		"HTTP/1.1\r\n",         "HTTP/2 200 OK\r\n",    "HTTP/1.1 20 OK\r\n",
		"HTTP/1.1 2000 OK\r\n", "HTTP/1.1 099 Low\r\n", "HTTP/1.1 600 X\r\n",
		"HTTP/1.1200 OK\r\n",   "HTTP/1.1 -20 OK\r\n",  "HTTP/1.1 200OK here\r\n",
	};

	(void)state;
	for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++)
		assert_refused(lines[i], "its status line is malformed");
	assert_refused("Server: none\r\n", "it has no status line");
	assert_refused("HTTP/1.1 101 Switching Protocols\r\n", "it switched protocols, which nobody asked for");
}

static void malformed_fields_are_refused(void **state)
{
	char long_field[ORIGIN_HEAD_FIELDS_MAX + 100] = OK "X: ";

	(void)state;
	assert_refused(OK "no colon\r\n", "a header line has no colon");
	assert_refused(OK "Two words: 1\r\n", "a header line is malformed");
	assert_refused(OK "Space : 1\r\n", "a header line is malformed");
	assert_refused(OK ": 1\r\n", "a header line is malformed");
	assert_refused(OK "A: 1\r\n folded: 2\r\n", "a header line is malformed");
	assert_refused(OK "A: 1\rB: 2\r\n", "a header line is malformed");
	assert_refused(OK "A: \001\r\n", "a header line is malformed");
	memset(long_field + strlen(long_field), 'x', ORIGIN_HEAD_FIELDS_MAX);
	strcat(long_field, "\r\n");
	assert_refused(long_field, "its headers are too long");
}

static void malformed_lengths_are_refused(void **state)
{
	(void)state;
	assert_refused(OK "Content-Length: \r\n", "its Content-Length is malformed");
	assert_refused(OK "Content-Length: -1\r\n", "its Content-Length is malformed");
	assert_refused(OK "Content-Length: 1x\r\n", "its Content-Length is malformed");
	assert_refused(OK "Content-Length: 1, 1\r\n", "its Content-Length is malformed");
	assert_refused(OK "Content-Length: 1000000000000000000\r\n", "its Content-Length is malformed");
	assert_refused(OK "Content-Length: 5\r\ncontent-length: 5\r\n", "it has Content-Length twice");
}

static void end_to_end_fields_go_on_and_others_do_not(void **state)
{
	struct origin_head head;

	(void)state;
	assert_int_equal(take(&head,
			      "HTTP/1.0 404 Not here\r\nServer: x\r\nX-Private: 1\r\nConnection: close, X-PRIVATE\r\n"
			      "Keep-Alive: timeout=5\r\nTE: trailers\r\nUpgrade: h2c\r\nTrailer: A\r\n"
			      "disc-body: splice; ticket=0\r\nDisc-Ticket: 1\r\nProxy-Authenticate: Basic\r\n"
			      "Content-Length: 12\r\nSet-Cookie: a=1\r\nSet-Cookie:b=2\nEmpty:\r\n\r\n"),
			 ORIGIN_HEAD_COMPLETE);
	assert_int_equal(head.status, 404);
	assert_string_equal(head.reason, "Not here");
	assert_string_equal(head.fields, "Server: x\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\nEmpty: \r\n");
	assert_true(head.has_length && head.length == 12);
	assert_false(head.has_transfer_encoding || head.has_strong_etag || head.has_date);
	origin_head_release(&head);
}

static void interim_responses_are_forgotten(void **state)
{
	struct origin_head head;

	(void)state;
	assert_int_equal(take(&head,
			      "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\nContent-Length: 3\r\n\r\n"
			      "HTTP/1.1 100 Continue\r\n\r\n" OK "Date: now\r\nTransfer-Encoding: chunked\r\n\r\n"),
			 ORIGIN_HEAD_COMPLETE);
	assert_int_equal(head.status, 200);
	assert_string_equal(head.fields, "Date: now\r\n");
	assert_true(head.has_date && head.has_transfer_encoding);
	assert_false(head.has_length);
	origin_head_release(&head);
}

static bool is_pinned_by(const char *text)
{
	struct origin_head head;
	bool pinned;

	assert_int_equal(take(&head, text), ORIGIN_HEAD_COMPLETE);
	pinned = head.has_strong_etag;
	origin_head_release(&head);
	return pinned;
}

static void only_one_strong_entity_tag_pins(void **state)
{
	(void)state;
	assert_true(is_pinned_by(OK "ETag: \"a-1\"\r\n\r\n"));
	assert_true(is_pinned_by(OK "etag:\"\"\r\n\r\n"));
	assert_false(is_pinned_by(OK "ETag: W/\"a\"\r\n\r\n"));
	assert_false(is_pinned_by(OK "ETag: a\r\n\r\n"));
	assert_false(is_pinned_by(OK "ETag: \"\r\n\r\n"));
	assert_false(is_pinned_by(OK "ETag: \"a\", \"b\"\r\n\r\n"));
	assert_false(is_pinned_by(OK "ETag: \"a\"\r\nETag: \"b\"\r\n\r\n"));
	assert_false(is_pinned_by(OK "ETag: \"a\"\r\nETag: \"a\"\r\nETag: \"a\"\r\n\r\n"));
	assert_false(is_pinned_by(OK "Last-Modified: Sun, 06 Nov 1994 08:49:37 GMT\r\n\r\n"));
}

/* As HAProxy compares it with the announcement (RFC 9110 14.4). */
static void place_of_a_part_is_told_exactly(void **state)
{
	static const char *const others[] = {
		"Bytes 1-2/3",
		"bytes=1-2/3",
		"bytes 01-2/3",
		"bytes 1-02/3",
		"bytes 2-1/3",
		"bytes 1-2",
		"bytes -2/3",
		"bytes 1-/3",
		"bytes */3",
		"bytes 1 -2/3",
		"bytes 1234567890123456789-1234567890123456789/*",
		"bytes ",
	};
	struct origin_head head;
	char text[256];

	(void)state;
	assert_int_equal(take(&head, OK "Content-Range: bytes 10-19/30\r\n\r\n"), ORIGIN_HEAD_COMPLETE);
	assert_true(head.has_range && head.range_first == 10 && head.range_length == 10);
	origin_head_release(&head);
	assert_int_equal(take(&head, OK "Content-Range: bytes 0-0/*\r\n\r\n"), ORIGIN_HEAD_COMPLETE);
	assert_true(head.has_range && head.range_first == 0 && head.range_length == 1);
	origin_head_release(&head);
	for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
		(void)snprintf(text, sizeof(text), OK "Content-Range: %s\r\n\r\n", others[i]);
		assert_int_equal(take(&head, text), ORIGIN_HEAD_COMPLETE);
		assert_false(head.has_range);
		origin_head_release(&head);
	}
	assert_int_equal(take(&head, OK "Content-Range: bytes 1-2/3\r\nContent-Range: bytes 1-2/3\r\n\r\n"),
			 ORIGIN_HEAD_COMPLETE);
	assert_false(head.has_range);
	origin_head_release(&head);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(malformed_status_lines_are_refused),
		cmocka_unit_test(malformed_fields_are_refused),
		cmocka_unit_test(malformed_lengths_are_refused),
		cmocka_unit_test(end_to_end_fields_go_on_and_others_do_not),
		cmocka_unit_test(interim_responses_are_forgotten),
		cmocka_unit_test(only_one_strong_entity_tag_pins),
		cmocka_unit_test(place_of_a_part_is_told_exactly),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

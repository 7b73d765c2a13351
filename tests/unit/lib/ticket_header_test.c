/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Guards: the value of Disc-Ticket has one syntax; its proof covers ticket, method, target and the three fields that
 * choose bytes, as another implementation computes it, and nothing can move from one of these lines to another. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "ticket_header.h"

#define TICKET "00112233445566778899aabbccddeeff"
#define PROOF "bf1103062927ab139b1a9a121f2da62e"

static const uint8_t key[PROOF_KEY_LEN] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};

static struct text_span span(const char *text)
{
	return (struct text_span){text, strlen(text)};
}

static struct ticket_header proven(const struct proven_request *request)
{
	struct ticket_header header;

	assert_true(ticket_parse(&header.ticket, TICKET, TICKET_TEXT_LEN));
	assert_true(ticket_header_prove(&header, key, request));
	return header;
}

static void expect_header(const struct proven_request *request, const char *expected)
{
	struct ticket_header header = proven(request), read;
	char text[TICKET_HEADER_LEN + 1];

	memset(text, 'x', sizeof(text));
	ticket_header_format(text, &header);
	assert_string_equal(text, expected);
	assert_true(ticket_header_parse(&read, text, strlen(text)));
	assert_memory_equal(&read, &header, sizeof(read));
}

static void other_values_are_refused(void **unused)
{
	static const char *const values[] = {
		"",
		TICKET,
		TICKET ";",
		TICKET "; proof=",
		TICKET "; proof=" PROOF "0",
		TICKET "; proof=" PROOF ";",
		TICKET "; proof=" PROOF " ",
		TICKET ";proof=" PROOF,
		TICKET ";  proof=" PROOF,
		TICKET ";\tproof=" PROOF,
		TICKET " ; proof=" PROOF,
		TICKET ", proof=" PROOF,
		TICKET "; Proof=" PROOF,
		TICKET "; proof:" PROOF,
		TICKET "; proof=BF1103062927AB139B1A9A121F2DA62E",
		TICKET "; proof=\"bf1103062927ab139b1a9a121f2da6\"",
		"00112233445566778899AABBCCDDEEFF; proof=" PROOF,
		"0011223344556677889 aabbccddeeff; proof=" PROOF,
		"; proof=" PROOF TICKET,
	};
	static const char good[] = TICKET "; proof=" PROOF;
	struct ticket_header header;

	(void)unused;
	for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++)
		if (ticket_header_parse(&header, values[i], strlen(values[i])))
			fail_msg("was read: %s", values[i]);
	for (size_t len = 0; len < strlen(good); len++) {
		char *text = malloc(len + 1); /* so that a sanitizer sees any look beyond it */

		assert_non_null(text);
		memcpy(text, good, len);
		assert_false(ticket_header_parse(&header, text, len));
		free(text);
	}
	assert_true(ticket_header_parse(&header, good, strlen(good)));
}

static void values_are_what_others_compute(void **unused)
{
	struct proven_request request = {.method = span("GET"), .target = span("/a?b")};

	(void)unused;
	expect_header(&request, TICKET "; proof=" PROOF);
	request = (struct proven_request){span("HEAD"), span("/a?b"), span("bytes=1-2"), span("\"x\""),
					  span("\"y\", \"z\"")};
	expect_header(&request, TICKET "; proof=a9edb75a0c71c6d96220f9dcb57fade4");
}

static void text_has_a_line_for_each_field(void **unused)
{
	struct proven_request request = {.method = span("GET"), .target = span("/"), .if_range = span("\"x\"")};
	struct ticket ticket;
	size_t len;
	char *text;

	(void)unused;
	assert_true(ticket_parse(&ticket, TICKET, TICKET_TEXT_LEN));
	text = ticket_header_proven_text(&ticket, &request, &len);
	assert_non_null(text);
	assert_string_equal(text, TICKET "\nGET\n/\n\n\"x\"\n\n");
	assert_int_equal(len, strlen(text));
	free(text);
}

static void each_field_is_proven_in_its_place(void **unused)
{
	const struct proven_request base = {span("GET"), span("/a"), span("bytes=1-2"), span("\"x\""), span("\"y\"")};
	const struct proven_request others[] = {
		{span("HEAD"), base.target, base.range, base.if_range, base.if_match},
		{base.method, span("/b"), base.range, base.if_range, base.if_match},
		{base.method, span("/A"), base.range, base.if_range, base.if_match},
		{base.method, base.target, span("bytes=1-3"), base.if_range, base.if_match},
		{base.method, base.target, span(""), base.if_range, base.if_match},
		{base.method, base.target, base.range, span("\"y\""), base.if_match},
		{base.method, base.target, base.range, base.if_range, span("\"x\"")},
		{base.method, base.target, base.range, base.if_match, base.if_range},
		{base.method, base.target, base.range, base.if_range, span("")},
		{base.method, base.target, base.if_range, base.range, base.if_match},
	};
	struct ticket_header right = proven(&base), other;

	(void)unused;
	for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
		other = proven(&others[i]);
		assert_false(proof_equal(&right.proof, &other.proof));
	}
	other = right;
	other.ticket.bytes[TICKET_LEN - 1] ^= 1;
	assert_true(ticket_header_prove(&other, key, &base));
	assert_false(proof_equal(&right.proof, &other.proof));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(other_values_are_refused),
		cmocka_unit_test(values_are_what_others_compute),
		cmocka_unit_test(text_has_a_line_for_each_field),
		cmocka_unit_test(each_field_is_proven_in_its_place),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

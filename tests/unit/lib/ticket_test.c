/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Guards: only 32 lower-case hexadecimal digits are a ticket; text and bytes agree; tickets do not repeat. */
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "ticket.h"

static const char good[] = "00ff10a5deadbeef0123456789abcdef";

static void other_texts_are_refused(void **unused)
{
	struct ticket ticket;
	char text[TICKET_TEXT_LEN + 2];

	(void)unused;
	for (size_t len = 0; len <= TICKET_TEXT_LEN + 1; len++) {
		memset(text, 'a', sizeof(text));
		assert_int_equal(ticket_parse(&ticket, text, len), len == TICKET_TEXT_LEN);
	}
	for (size_t at = 0; at < TICKET_TEXT_LEN; at++) {
		for (int byte = 0; byte < 256; byte++) {
			bool digit = (byte >= '0' && byte <= '9') || (byte >= 'a' && byte <= 'f');

			memcpy(text, good, TICKET_TEXT_LEN);
			text[at] = (char)byte;
			assert_int_equal(ticket_parse(&ticket, text, TICKET_TEXT_LEN), digit);
		}
	}
}

static void text_and_bytes_agree(void **unused)
{
	static const uint8_t bytes[] = {0x00, 0xff, 0x10, 0xa5, 0xde, 0xad, 0xbe, 0xef,
					0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef};
	struct ticket ticket;
	char text[TICKET_TEXT_LEN + 1];

	(void)unused;
	assert_true(ticket_parse(&ticket, good, TICKET_TEXT_LEN));
	assert_memory_equal(ticket.bytes, bytes, sizeof(bytes));
	ticket_format(text, &ticket);
	assert_string_equal(text, good);
}

static void tickets_differ(void **unused)
{
	struct ticket tickets[64];

	(void)unused;
	for (size_t i = 0; i < 64; i++) {
		assert_int_equal(ticket_generate(&tickets[i]), 0);
		for (size_t j = 0; j < i; j++)
			assert_memory_not_equal(tickets[i].bytes, tickets[j].bytes, TICKET_LEN);
	}
	/* Every byte is drawn, not only the first ones. */
	for (size_t byte = 0; byte < TICKET_LEN; byte++) {
		size_t same = 0;

		for (size_t i = 1; i < 64; i++)
			same += tickets[i].bytes[byte] == tickets[0].bytes[byte];
		assert_true(same < 32);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(other_texts_are_refused),
		cmocka_unit_test(text_and_bytes_agree),
		cmocka_unit_test(tickets_differ),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Guards: the value of Disc-Body is to the byte what doc/protocol.md section 3 says, also at its longest. */
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "announcement.h"

static void expect_text(const struct announcement *announcement, const char *expected)
{
	char text[ANNOUNCEMENT_TEXT_MAX];

	memset(text, 'x', sizeof(text));
	assert_int_equal(announcement_format(text, announcement), strlen(expected));
	assert_string_equal(text, expected);
}

static void values_are_written_exactly(void **unused)
{
	struct announcement announcement = {.kind = ANNOUNCEMENT_NONE};

	(void)unused;
	memset(announcement.ticket.bytes, 0xa5, TICKET_LEN);
	expect_text(&announcement, "none; ticket=a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5");
	announcement.kind = ANNOUNCEMENT_SPLICE;
	announcement.seq = 0;
	announcement.records = 7;
	announcement.length = 100000;
	expect_text(&announcement, "splice; ticket=a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5; seq=0; records=7; length=100000");
	announcement.kind = ANNOUNCEMENT_DIRECT;
	expect_text(&announcement, "direct; ticket=a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5; seq=0; records=7; length=100000");
	announcement.kind = ANNOUNCEMENT_SPLICE;
	announcement.seq = announcement.records = announcement.length = UINT64_MAX;
	expect_text(&announcement, "splice; ticket=a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5; seq=18446744073709551615; "
				   "records=18446744073709551615; length=18446744073709551615");
	announcement.kind = ANNOUNCEMENT_DIRECT;
	expect_text(&announcement, "direct; ticket=a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5; seq=18446744073709551615; "
				   "records=18446744073709551615; length=18446744073709551615");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(values_are_written_exactly),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

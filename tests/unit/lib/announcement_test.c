/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Guards: the value of Disc-Body is to the byte what doc/protocol.md section 4 says, its proof too, also at its longest. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "announcement.h"

static const uint8_t key[PROOF_KEY_LEN] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};

#define TICKET "ticket=a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5; "
#define HUGE "18446744073709551615"

static void expect_text(const struct announcement *announcement, const char *expected)
{
	char text[ANNOUNCEMENT_TEXT_MAX];

	memset(text, 'x', sizeof(text));
	assert_int_equal(announcement_format(text, announcement, key), strlen(expected));
	assert_string_equal(text, expected);
}

static struct announcement announcement_of(enum announcement_kind kind)
{
	struct announcement announcement = {
		.kind = kind, .records = 7, .length = 100000, .status = 206, .first = 16384, .etag = "\"x-1\""};

	memset(announcement.ticket.bytes, 0xa5, TICKET_LEN);
	return announcement;
}

static void tag_that_is_too_long_is_refused(void **unused)
{
	struct announcement announcement = announcement_of(ANNOUNCEMENT_SPLICE);
	char etag[ANNOUNCEMENT_ETAG_MAX + 2], text[ANNOUNCEMENT_TEXT_MAX];

	(void)unused;
	memset(etag, 'e', sizeof(etag));
	etag[ANNOUNCEMENT_ETAG_MAX + 1] = '\0';
	announcement.etag = etag;
	memset(text, 'x', sizeof(text));
	assert_int_equal(announcement_format(text, &announcement, key), 0);
	assert_string_equal(text, "");
	etag[ANNOUNCEMENT_ETAG_MAX] = '\0';
	assert_true(announcement_format(text, &announcement, key) > 0);
}

/* Proofs as Python's hmac computes them. */
static void values_are_written_and_proven_exactly(void **unused)
{
	struct announcement announcement = announcement_of(ANNOUNCEMENT_NONE);

	(void)unused;
	expect_text(&announcement, "none; " TICKET "proof=0e8e5165be8fccd92f5a500638996d7d");
	announcement = announcement_of(ANNOUNCEMENT_SPLICE);
	expect_text(&announcement, "splice; " TICKET "seq=0; records=7; length=100000; status=206; first=16384; "
				   "etag=\"x-1\"; proof=b14362e5054a2fd9b3a27244e6ac0534");
	announcement.kind = ANNOUNCEMENT_DIRECT;
	expect_text(&announcement, "direct; " TICKET "seq=0; records=7; length=100000; status=206; first=16384; "
				   "etag=\"x-1\"; proof=066862464f1f718ccb53e0c2f6667fd1");
}

static void body_that_nobody_may_go_on_with_has_an_empty_tag(void **unused)
{
	static const char expected[] = "splice; " TICKET "seq=1; records=1; length=1; status=200; first=0; "
				       "etag=; proof=bae456dae38e479e245661ef44e21fc9";
	struct announcement announcement = announcement_of(ANNOUNCEMENT_SPLICE);

	(void)unused;
	announcement.seq = announcement.records = announcement.length = 1;
	announcement.status = 200;
	announcement.first = 0;
	announcement.etag = NULL;
	expect_text(&announcement, expected);
	announcement.etag = "";
	expect_text(&announcement, expected);
}

static void grants_have_neither_sequence_number_nor_records(void **unused)
{
	struct announcement announcement = announcement_of(ANNOUNCEMENT_GRANTS);

	(void)unused;
	announcement.ready = 65536;
	expect_text(&announcement,
		    "grants; " TICKET "length=100000; status=206; first=16384; etag=\"x-1\"; ready=65536; "
		    "proof=e5538a3fdf6f2b31c346b18066815c4a");
	announcement = (struct announcement){
		.kind = ANNOUNCEMENT_GRANTS, .ticket = announcement.ticket, .length = 1, .status = 200};
	expect_text(&announcement,
		    "grants; " TICKET
		    "length=1; status=200; first=0; etag=; ready=0; proof=46066f305d4de79c5e5d88cd6e666083");
}

static void longest_value_fits(void **unused)
{
	struct announcement announcement = announcement_of(ANNOUNCEMENT_DIRECT);
	char etag[ANNOUNCEMENT_ETAG_MAX + 1], expected[ANNOUNCEMENT_TEXT_MAX];

	(void)unused;
	memset(etag, 'e', sizeof(etag));
	etag[0] = etag[ANNOUNCEMENT_ETAG_MAX - 1] = '"';
	etag[ANNOUNCEMENT_ETAG_MAX] = '\0';
	announcement.etag = etag;
	announcement.seq = announcement.records = announcement.length = announcement.first = UINT64_MAX;
	(void)snprintf(expected, sizeof(expected),
		       "direct; " TICKET "seq=" HUGE "; records=" HUGE "; length=" HUGE "; status=206; first=" HUGE
		       "; etag=%s; proof=e83c1a76897c57f7d09a4275bf5bd46b",
		       etag);
	expect_text(&announcement, expected);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(tag_that_is_too_long_is_refused),
		cmocka_unit_test(values_are_written_and_proven_exactly),
		cmocka_unit_test(body_that_nobody_may_go_on_with_has_an_empty_tag),
		cmocka_unit_test(grants_have_neither_sequence_number_nor_records),
		cmocka_unit_test(longest_value_fits),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

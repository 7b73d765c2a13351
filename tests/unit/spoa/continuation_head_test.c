/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Guards: only the very answer that was asked for is taken as the continuation. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "announcement.h"
#include "continuation_head.h"

#define ANNOUNCED                                                                                                   \
	"splice; ticket=00112233445566778899aabbccddeeff; seq=3; records=1; length=7232; status=206; first=32768; " \
	"etag=\"e\"; proof=b14362e5054a2fd9b3a27244e6ac0534"

static enum continuation_head_status judge(const char *text, size_t *head_len)
{
	const char *fault = NULL;
	enum continuation_head_status status =
		continuation_head_judge(text, strlen(text), ANNOUNCED, 7254, head_len, &fault);

	assert_true((status == CONTINUATION_HEAD_REFUSED) == (fault != NULL));
	return status;
}

static void the_expected_head_is_taken_in_any_pieces(void **state)
{
	static const char text[] = "HTTP/1.1 206 Partial Content\r\nContent-Type: text/plain\r\ndisc-body: " ANNOUNCED
				   "\r\nContent-Length: 7254\r\n\r\nrecords";
	size_t whole = strlen(text) - strlen("records"), head_len;
	const char *fault;

	(void)state;
	for (size_t len = 0; len < whole; len++)
		assert_int_equal(continuation_head_judge(text, len, ANNOUNCED, 7254, &head_len, &fault),
				 CONTINUATION_HEAD_INCOMPLETE);
	assert_int_equal(judge(text, &head_len), CONTINUATION_HEAD_EXPECTED);
	assert_int_equal(head_len, whole);
}

static void everything_else_is_refused(void **state)
{
	static const char *const heads[] = {
		"HTTP/1.1 200 OK\r\nDisc-Body: " ANNOUNCED "\r\nContent-Length: 7254\r\n\r\n",
		"HTTP/1.1 412 Precondition Failed\r\nDisc-Body: " ANNOUNCED "\r\nContent-Length: 7254\r\n\r\n",
		"HTTP/1.1 206 OK\r\nContent-Length: 7254\r\n\r\n",
		"HTTP/1.1 206 OK\r\nDisc-Body: none; ticket=00112233445566778899aabbccddeeff; "
		"proof=b14362e5054a2fd9b3a27244e6ac0534\r\nContent-Length: 7254\r\n\r\n",
		"HTTP/1.1 206 OK\r\nDisc-Body: splice; ticket=00112233445566778899aabbccddeeff; seq=3; records=1; "
		"length=7232\r\nContent-Length: 7254\r\n\r\n",
		"HTTP/1.1 206 OK\r\nDisc-Body: " ANNOUNCED "0\r\nContent-Length: 7254\r\n\r\n",
		"HTTP/1.1 206 OK\r\nDisc-Body: " ANNOUNCED "\r\nDisc-Body: " ANNOUNCED
		"\r\nContent-Length: 7254\r\n\r\n",
		"HTTP/1.1 206 OK\r\nDisc-Body: " ANNOUNCED "\r\nContent-Length: 7255\r\n\r\n",
		"HTTP/1.1 206 OK\r\nDisc-Body: " ANNOUNCED "\r\n\r\n",
		"HTTP/1.1 206 OK\r\nDisc-Body: " ANNOUNCED "\r\nTransfer-Encoding: chunked\r\n\r\n",
		"HTTP/1.1 206 OK\r\nno colon\r\n\r\n",
		"\x16\x03\x03\r\n\r\n",
	};
	size_t head_len;

	(void)state;
	for (size_t i = 0; i < sizeof(heads) / sizeof(heads[0]); i++)
		assert_int_equal(judge(heads[i], &head_len), CONTINUATION_HEAD_REFUSED);
}

/* Every byte of it is compared, the proof's too. */
static void an_altered_announcement_is_refused(void **state)
{
	char text[1024];
	size_t at, head_len;

	(void)state;
	(void)snprintf(text, sizeof(text),
		       "HTTP/1.1 206 OK\r\nDisc-Body: " ANNOUNCED "\r\nContent-Length: 7254\r\n\r\n");
	at = (size_t)(strstr(text, "splice") - text);
	assert_int_equal(judge(text, &head_len), CONTINUATION_HEAD_EXPECTED);
	for (size_t i = 0; i < strlen(ANNOUNCED); i++) {
		text[at + i] ^= 1;
		assert_int_equal(judge(text, &head_len), CONTINUATION_HEAD_REFUSED);
		text[at + i] ^= 1;
	}
}

/* The longest announcement that a node can make is not cut. */
static void the_longest_announcement_is_taken(void **state)
{
	char announcement[ANNOUNCEMENT_TEXT_MAX], etag[ANNOUNCEMENT_ETAG_MAX + 1], text[1024];
	const uint8_t key[PROOF_KEY_LEN] = {1};
	struct announcement longest = {.kind = ANNOUNCEMENT_SPLICE,
				       .seq = UINT64_MAX,
				       .records = UINT64_MAX,
				       .length = UINT64_MAX,
				       .status = 206,
				       .first = UINT64_MAX,
				       .etag = etag};
	const char *fault;
	size_t head_len;

	(void)state;
	memset(etag, 'e', sizeof(etag) - 1);
	etag[sizeof(etag) - 1] = '\0';
	assert_true(announcement_format(announcement, &longest, key) > 0);
	(void)snprintf(text, sizeof(text), "HTTP/1.1 206 OK\r\nDisc-Body: %s\r\nContent-Length: 7254\r\n\r\n",
		       announcement);
	assert_int_equal(continuation_head_judge(text, strlen(text), announcement, 7254, &head_len, &fault),
			 CONTINUATION_HEAD_EXPECTED);
}

static void an_endless_head_is_refused(void **state)
{
	static char text[CONTINUATION_HEAD_MAX + 1] = "HTTP/1.1 206 OK\r\nX: ";
	size_t head_len;

	(void)state;
	memset(text + strlen(text), 'a', sizeof(text) - strlen(text) - 1);
	assert_int_equal(judge(text, &head_len), CONTINUATION_HEAD_REFUSED);
	text[sizeof(text) - 2] = '\0';
	assert_int_equal(judge(text, &head_len), CONTINUATION_HEAD_INCOMPLETE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_expected_head_is_taken_in_any_pieces),
		cmocka_unit_test(everything_else_is_refused),
		cmocka_unit_test(an_altered_announcement_is_refused),
		cmocka_unit_test(the_longest_announcement_is_taken),
		cmocka_unit_test(an_endless_head_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

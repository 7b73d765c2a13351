/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Guards what a node owes to requests on the fetch hop that do not prove themselves (doc/protocol.md section 4): an
 * ordinary response without a word of the lease, a used ticket, and nothing sealed; and that what it says of a body is
 * proven. */
#include <stdio.h>
#include <stdlib.h>

#include "fetch_proving.h"
#include "node_lab.h"
#include "node_metrics.h"

#define WRONG "the proof of the fetch is wrong"

/* A request was proven as the first three fields say, and comes as the other three. */
struct altered {
	const char *method, *target, *lines;
	const char *as_method, *as_target, *as_lines;
};

static void text_of(unsigned number, char text[static TICKET_TEXT_LEN + 1])
{
	struct ticket ticket = ticket_of(number);

	ticket_format(text, &ticket);
}

static void fetch_altered(struct lab *lab, unsigned number, const struct altered *altered)
{
	char text[TICKET_TEXT_LEN + 1], header_value[PROVING_HEADER_MAX];

	text_of(number, text);
	prove_request(header_value, text, altered->method, altered->target, altered->lines);
	fetch_claiming(lab, header_value, altered->as_method, altered->as_target, altered->as_lines);
}

static void assert_not_served(struct lab *lab, unsigned number)
{
	run_until(lab->loop, response_has_head, lab, "a response");
	assert_header(lab, "Disc-Body", "");
	assert_result(lab, number, CONTROL_OUTCOME_DECLINED, WRONG);
	assert_int_equal(lab->result.records, 0);
	assert_int_equal(ticket_table_offers(lab->tickets), 0);
	client_close(lab);
}

static void altered_requests_are_answered_ordinarily(void **state)
{
	static const struct altered cases[] = {
		{"HEAD", "/big.bin", "", "GET", "/big.bin", ""},
		{"GET", "/big.bin", "", "HEAD", "/big.bin", ""},
		{"GET", "/small.bin", "", "GET", "/big.bin", ""},
		{"GET", "/big.bin", "", "GET", "/none.bin", ""},
		{"GET", "/big.bin", "", "GET", "/big.bin?", ""},
		{"GET", "/big.bin", "", "GET", "//big.bin", ""},
		{"GET", "/big.bin", "", "GET", "http://site/big.bin", ""},
		{"GET", "/big.bin", "", "GET", "/big.bin", "Range: bytes=0-9999\r\n"},
		{"GET", "/big.bin", "Range: bytes=0-9999\r\n", "GET", "/big.bin", ""},
		{"GET", "/big.bin", "Range: bytes=0-9999\r\n", "GET", "/big.bin", "Range: bytes=0-9998\r\n"},
		{"GET", "/big.bin", "Range: bytes=0-9999\r\n", "GET", "/big.bin", "Range: bytes=0-9999,\r\n"},
		{"GET", "/big.bin", "Range: bytes=0-9999\r\n", "GET", "/big.bin", "If-Match: bytes=0-9999\r\n"},
		{"GET", "/big.bin", "", "GET", "/big.bin", "If-Range: \"x\"\r\n"},
		{"GET", "/big.bin", "If-Range: \"x\"\r\n", "GET", "/big.bin", ""},
		{"GET", "/big.bin", "", "GET", "/big.bin", "If-Match: *\r\n"},
		{"GET", "/big.bin", "If-Match: *\r\n", "GET", "/big.bin", ""},
		/* Two lines, or an empty one, are no text of a proof. */
		{"GET", "/big.bin", "", "GET", "/big.bin", "Range: bytes=0-9999\r\nRange: bytes=0-9999\r\n"},
		{"GET", "/big.bin", "Range: bytes=0-9999\r\n", "GET", "/big.bin",
		 "Range: bytes=0-9999\r\nRange: bytes=0-9999\r\n"},
		{"GET", "/big.bin", "", "GET", "/big.bin", "Range: \r\n"},
		{"GET", "/big.bin", "", "GET", "/big.bin", "If-Match: \r\n"},
	};
	struct lab *lab = *state;

	agent_greet(lab);
	for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		offer_and_wait(lab, i + 1, 1);
		fetch_altered(lab, i + 1, &cases[i]);
		assert_not_served(lab, i + 1);
	}
}

/* Every digit counts; and what proves an announcement, or was made for another ticket, proves no request. */
static void forged_proofs_are_answered_ordinarily(void **state)
{
	struct lab *lab = *state;
	char text[TICKET_TEXT_LEN + 1], other[TICKET_TEXT_LEN + 1], header_value[HEADER_MAX];
	unsigned number = 100;

	agent_greet(lab);
	for (unsigned digit = 0; digit < PROVING_DIGITS; digit++) {
		text_of(++number, text);
		prove_request(header_value, text, "GET", "/big.bin", "");
		header_value[40 + digit] = header_value[40 + digit] == '0' ? '1' : '0';
		offer_and_wait(lab, number, 1);
		fetch_claiming(lab, header_value, "GET", "/big.bin", "");
		assert_not_served(lab, number);
	}
	text_of(++number, text);
	text_of(number + 1, other);
	prove_request(header_value, other, "GET", "/big.bin", "");
	memcpy(header_value, text, TICKET_TEXT_LEN);
	offer_and_wait(lab, number, 1);
	fetch_claiming(lab, header_value, "GET", "/big.bin", "");
	assert_not_served(lab, number);
	number++;
	(void)snprintf(header_value, sizeof(header_value), "none; ticket=%s", other);
	prove_announcement(header_value, sizeof(header_value));
	offer_and_wait(lab, number, 1);
	fetch_claiming(lab, header_value + strlen("none; ticket="), "GET", "/big.bin", "");
	assert_not_served(lab, number);
}

static bool a_fetch_was_begun(void *context)
{
	return node_metric_value(NODE_FETCHES) > *(int64_t *)context;
}

/* Who fetches first, without the key, costs a lease and gains nothing: the owner's fetch finds the ticket used. */
static void ticket_of_a_forged_fetch_is_used(void **state)
{
	static const struct altered forged = {"GET", "/small.bin", "", "GET", "/big.bin", ""};
	struct lab *lab = *state;
	int64_t fetches = node_metric_value(NODE_FETCHES);

	agent_greet(lab);
	fetch_altered(lab, 1, &forged);
	run_until(lab->loop, a_fetch_was_begun, &fetches, "the fetch waits");
	assert_int_equal(lab->response_len, 0);
	offer(lab, 1, 1);
	assert_unannounced(lab);
	assert_result(lab, 1, CONTROL_OUTCOME_DECLINED, WRONG);
	fetch(lab, 1, "GET", "/big.bin", "");
	assert_unannounced(lab);
	offer(lab, 1, 1);
	assert_result(lab, 1, CONTROL_OUTCOME_DECLINED, "the ticket was used before");
}

/* Without a right proof there is no "none" either, whatever the response is. */
static void promise_needs_a_right_proof(void **state)
{
	static const char *const targets[] = {"/small.bin", "/none.bin"};
	static const char *const reasons[] = {"the body is shorter than the agent's splice-min",
					      "the response has no body of a file"};
	struct lab *lab = *state;

	agent_greet(lab);
	for (unsigned i = 0; i < 2; i++) {
		const struct altered altered = {"GET", "/big.bin", "", "GET", targets[i], ""};

		offer_and_wait(lab, i + 1, 1);
		fetch_altered(lab, i + 1, &altered);
		assert_not_served(lab, i + 1);
		offer_and_wait(lab, i + 11, 1);
		fetch(lab, i + 11, "GET", targets[i], "");
		assert_declined(lab, i + 11);
		assert_result(lab, i + 11, CONTROL_OUTCOME_DECLINED, reasons[i]);
		client_close(lab);
	}
}

/* What is not proven may change on the way without harm to the lease. */
static void other_fields_are_not_proven(void **state)
{
	struct lab *lab = *state;

	agent_greet(lab);
	offer_and_wait(lab, 1, 1);
	fetch(lab, 1, "GET", "/big.bin", "X-Other: 1\r\nIf-Modified-Since: Thu, 01 Jan 1970 00:00:00 GMT\r\n");
	assert_spliced(lab, 1, 1, 0, BIG_SIZE);
	assert_result(lab, 1, CONTROL_OUTCOME_SEALED, "");
}

static void all_proven_fields_together_are_served(void **state)
{
	struct lab *lab = *state;
	char etag[HEADER_MAX], lines[3 * HEADER_MAX];

	agent_greet(lab);
	client_send(lab, "HEAD /big.bin HTTP/1.1\r\nHost: site\r\n\r\n");
	run_until(lab->loop, response_has_head, lab, "a response");
	header(lab, "ETag", etag);
	client_close(lab);
	(void)snprintf(lines, sizeof(lines), "Range: bytes=16384-99999\r\nIf-Range: %s\r\nIf-Match: \"x\", %s\r\n",
		       etag, etag);
	offer_and_wait(lab, 1, 5);
	fetch(lab, 1, "GET", "/big.bin", lines);
	assert_spliced(lab, 1, 5, 16384, 83616);
	assert_result(lab, 1, CONTROL_OUTCOME_SEALED, "");
}

/* A replica could not tell another file of this size and time from it: no other node may go on with its body. */
static void file_with_a_time_of_whole_seconds_is_announced_without_its_tag(void **state)
{
	struct lab *lab = *state;
	char value[HEADER_MAX], etag[HEADER_MAX];

	agent_greet(lab);
	offer_and_wait(lab, 1, 1);
	fetch(lab, 1, "GET", "/whole.bin", "");
	assert_spliced(lab, 1, 1, 0, BIG_SIZE);
	header(lab, "Disc-Body", value);
	assert_non_null(strstr(value, "; etag=; proof="));
	header(lab, "ETag", etag);
	assert_memory_equal(etag, "W/\"", 3);
	assert_result(lab, 1, CONTROL_OUTCOME_SEALED, "");
	offer_continuation(lab, 2, 3, "/whole.bin", etag, 32768);
	fetch(lab, 2, "GET", "/whole.bin", "Range: bytes=32768-\r\n");
	assert_declined(lab, 2);
	assert_result(lab, 2, CONTROL_OUTCOME_DECLINED,
		      "the file has no strong entity tag: its body is never sealed a second time");
}

int main(void)
{
#define LAB_TEST(name) cmocka_unit_test_setup_teardown(name, lab_open, lab_close)
	const struct CMUnitTest tests[] = {
		LAB_TEST(altered_requests_are_answered_ordinarily),
		LAB_TEST(forged_proofs_are_answered_ordinarily),
		LAB_TEST(ticket_of_a_forged_fetch_is_used),
		LAB_TEST(promise_needs_a_right_proof),
		LAB_TEST(other_fields_are_not_proven),
		LAB_TEST(all_proven_fields_together_are_served),
		LAB_TEST(file_with_a_time_of_whole_seconds_is_announced_without_its_tag),
	};

	return cmocka_run_group_tests(tests, make_files, remove_files);
}

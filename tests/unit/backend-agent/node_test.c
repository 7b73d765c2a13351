/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Guards the node as a whole, from the outside: an agent offers TX states over a control channel, a client fetches with
 * tickets, and what comes back is opened with the offered key (doc/protocol.md, sections 2 and 3). */
#include <stdio.h>
#include <stdlib.h>

#include "node_lab.h"
#include "node_metrics.h"
#include "record.h"
#include "record_opening.h"

/* --- tests: malformed and unwelcome first --- */

static void certificate_of_another_ca_is_refused(void **state)
{
	struct lab *lab = *state;

	agent_connect(lab, "ca", "stranger");
	run_until(lab->loop, end_is_closed, &lab->agent, "the channel is closed");
	assert_int_equal(node_metric_value(NODE_CHANNELS), 0);
	assert_int_equal(lab->agent.frames, 0);
}

static void certificate_with_another_name_is_refused(void **state)
{
	struct lab *lab = *state;

	agent_connect(lab, "ca", "wrong");
	run_until(lab->loop, end_is_closed, &lab->agent, "the channel is closed");
	assert_int_equal(lab->agent.frames, 0);
}

static void offer_before_hello_closes_the_channel(void **state)
{
	struct lab *lab = *state;

	agent_connect(lab, "ca", "agent");
	run_until(lab->loop, agent_has_hello, &lab->agent, "the node's Hello");
	offer(lab, 1, 5);
	run_until(lab->loop, end_is_closed, &lab->agent, "the channel is closed");
	assert_int_equal(ticket_table_offers(lab->tickets), 0);
}

static void unknown_protocol_version_closes_the_channel(void **state)
{
	struct lab *lab = *state;
	struct control_message hello = {.type = CONTROL_HELLO, .u.hello = {.version_min = 7, .version_max = 9}};

	agent_connect(lab, "ca", "agent");
	run_until(lab->loop, agent_has_hello, &lab->agent, "the node's Hello");
	agent_send(lab, &hello);
	run_until(lab->loop, end_is_closed, &lab->agent, "the channel is closed");
}

static void a_lane_that_does_not_exist_closes_the_channel(void **state)
{
	struct lab *lab = *state;
	struct control_message hello = {
		.type = CONTROL_HELLO,
		.u.hello = {.version_min = CONTROL_VERSION_MIN, .version_max = CONTROL_VERSION_MAX, .lane = 1}};

	agent_connect(lab, "ca", "agent");
	run_until(lab->loop, agent_has_hello, &lab->agent, "the node's Hello");
	assert_int_equal(lab->said_lanes, 0);
	agent_send(lab, &hello);
	run_until(lab->loop, end_is_closed, &lab->agent, "the channel is closed");
}

static void garbage_frame_closes_the_channel(void **state)
{
	struct lab *lab = *state;

	agent_greet(lab);
	assert_int_equal(channel_send(lab->agent.channel, (const uint8_t *)"\xff\xff\xff\xff", 4), 0);
	run_until(lab->loop, end_is_closed, &lab->agent, "the channel is closed");
}

static void garbage_on_the_fetch_hop_is_answered_400_and_closed(void **state)
{
	struct lab *lab = *state;

	client_send(lab, "\x16\x03\x01\x02 this is no HTTP\r\n\r\n");
	run_until(lab->loop, response_is_whole, lab, "a response");
	assert_status(lab, "HTTP/1.1 400 ");
	assert_header(lab, "Connection", "close");
}

/* More than the room that input has at first. Nothing of it is lost, and another byte would be too many. */
static void head_of_the_longest_size_is_read(void **state)
{
	static const char begin[] = "GET /small.bin?", end[] = " HTTP/1.1\r\nHost: a\r\n\r\n";
	const size_t max = 65536, filler = max - (sizeof(begin) - 1) - (sizeof(end) - 1);
	struct lab *lab = *state;
	char *text = malloc(max + 2);

	assert_non_null(text);
	for (size_t more = 0; more < 2; more++) {
		memcpy(text, begin, sizeof(begin) - 1);
		memset(text + sizeof(begin) - 1, 'x', filler + more);
		memcpy(text + sizeof(begin) - 1 + filler + more, end, sizeof(end));
		client_send(lab, text);
		run_until(lab->loop, response_is_whole, lab, "a response");
		assert_status(lab, more ? "HTTP/1.1 431 " : "HTTP/1.1 200 ");
	}
	free(text);
}

static void ticket_that_is_no_ticket_is_answered_400(void **state)
{
	struct lab *lab = *state;

	client_send(lab, "GET /big.bin HTTP/1.1\r\nHost: site\r\nDisc-Ticket: 0123\r\n\r\n");
	run_until(lab->loop, response_is_whole, lab, "a response");
	assert_status(lab, "HTTP/1.1 400 ");
}

/* --- tests: offloads --- */

static void offer_then_fetch_is_spliced(void **state)
{
	struct lab *lab = *state;

	agent_greet(lab);
	offer_and_wait(lab, 1, 1);
	fetch(lab, 1, "GET", "/big.bin", "");
	assert_spliced(lab, 1, 1, 0, BIG_SIZE);
	assert_status(lab, "HTTP/1.1 200 ");
	assert_result(lab, 1, CONTROL_OUTCOME_SEALED, "");
	assert_int_equal(lab->result.bytes, BIG_SIZE);
	assert_int_equal(lab->result.records, (BIG_SIZE + 16383) / 16384);
}

static bool a_fetch_was_begun(void *context)
{
	return node_metric_value(NODE_FETCHES) > *(int64_t *)context;
}

static void fetch_then_offer_is_spliced(void **state)
{
	struct lab *lab = *state;
	int64_t fetches = node_metric_value(NODE_FETCHES);

	agent_greet(lab);
	fetch(lab, 2, "GET", "/big.bin", "");
	run_until(lab->loop, a_fetch_was_begun, &fetches, "the fetch waits");
	assert_int_equal(lab->response_len, 0);
	offer(lab, 2, 1000000);
	assert_spliced(lab, 2, 1000000, 0, BIG_SIZE);
	assert_result(lab, 2, CONTROL_OUTCOME_SEALED, "");
}

static void range_is_spliced_as_206(void **state)
{
	struct lab *lab = *state;
	char expected[64];

	agent_greet(lab);
	offer_and_wait(lab, 3, 9);
	fetch(lab, 3, "GET", "/big.bin", "Range: bytes=100-33000\r\n");
	assert_spliced(lab, 3, 9, 100, 32901);
	assert_status(lab, "HTTP/1.1 206 ");
	(void)snprintf(expected, sizeof(expected), "bytes 100-33000/%u", BIG_SIZE);
	assert_header(lab, "Content-Range", expected);
	assert_result(lab, 3, CONTROL_OUTCOME_SEALED, "");
}

/* How an agent has a continuation made by another node, or by this one again: the same bytes, from any record
 * on. */
static void continuation_of_an_object_is_sealed_to_the_same_bytes(void **state)
{
	static const uint64_t firsts[] = {1, 100, (BIG_SIZE - 1) / 16384};
	struct lab *lab = *state;
	size_t whole_len;
	uint8_t *whole;
	char more[HEADER_MAX + 100], etag[HEADER_MAX];

	agent_greet(lab);
	offer_and_wait(lab, 200, 1);
	fetch(lab, 200, "GET", "/big.bin", "");
	assert_spliced(lab, 200, 1, 0, BIG_SIZE);
	assert_result(lab, 200, CONTROL_OUTCOME_SEALED, "");
	header(lab, "ETag", etag);
	whole_len = lab->response_len - body_at(lab);
	whole = malloc(whole_len);
	assert_non_null(whole);
	memcpy(whole, lab->response + body_at(lab), whole_len);
	for (unsigned i = 0; i < 3; i++) {
		uint64_t first = firsts[i];
		size_t at = (size_t)first * (16384 + 22);

		(void)snprintf(more, sizeof(more), "Range: bytes=%llu-%u\r\nIf-Match: %s\r\n",
			       (unsigned long long)first * 16384, BIG_SIZE - 1, etag);
		offer_continuation(lab, 201 + i, 1 + first, "/big.bin", etag, first * 16384);
		run_until(lab->loop, an_offer_waits, lab, "the offer is in the table");
		fetch(lab, 201 + i, "GET", "/big.bin", more);
		assert_spliced(lab, 201 + i, 1 + first, (size_t)first * 16384, BIG_SIZE - (size_t)first * 16384);
		assert_status(lab, "HTTP/1.1 206 ");
		assert_int_equal(lab->response_len - body_at(lab), whole_len - at);
		assert_memory_equal(lab->response + body_at(lab), whole + at, whole_len - at);
		assert_result(lab, 201 + i, CONTROL_OUTCOME_SEALED, "");
	}
	free(whole);
}

static void continuation_of_another_object_is_declined(void **state)
{
	struct lab *lab = *state;

	agent_greet(lab);
	offer_continuation(lab, 210, 3, "/big.bin", "\"other\"", 32768);
	fetch(lab, 210, "GET", "/big.bin", "Range: bytes=32768-\r\nIf-Match: \"other\"\r\n");
	assert_declined(lab, 210);
	assert_status(lab, "HTTP/1.1 412 ");
}

/* Copies the entity tag of <target>. */
static void etag_of(struct lab *lab, const char *target, char etag[static HEADER_MAX])
{
	char request[128];

	(void)snprintf(request, sizeof(request), "HEAD %s HTTP/1.1\r\nHost: site\r\n\r\n", target);
	client_send(lab, request);
	run_until(lab->loop, response_has_head, lab, "a response");
	header(lab, "ETag", etag);
	client_close(lab);
}

static void refused_continuation(struct lab *lab, unsigned number, const char *target, const char *more,
				 const char *reason)
{
	char request[1024];

	(void)snprintf(request, sizeof(request), "%s%s", more, more[0] ? "\r\n" : "");
	fetch(lab, number, "GET", target, request);
	assert_declined(lab, number);
	assert_result(lab, number, CONTROL_OUTCOME_DECLINED, reason);
}

/* Whatever the request on the fetch hop says: keys and nonces of a continuation may have sealed something before. */
static void continuation_is_what_the_offer_says_or_nothing(void **state)
{
	static const char other[] = "this is not the continuation that was offered";
	struct lab *lab = *state;
	char etag[HEADER_MAX];

	agent_greet(lab);
	etag_of(lab, "/big.bin", etag);
	offer_continuation(lab, 231, 3, "/big.bin", "\"other\"", 32768); /* no If-Match asks the source for it */
	refused_continuation(lab, 231, "/big.bin", "Range: bytes=32768-", other);
	offer_continuation(lab, 232, 3, "/big.bin", etag, 32768);
	refused_continuation(lab, 232, "/big.bin", "Range: bytes=16384-", other);
	offer_continuation(lab, 233, 3, "/big.bin", etag, 0);
	refused_continuation(lab, 233, "/big.bin", "", other);
	/* Its last record would be a short one, in a slot that may have sealed a full one. */
	offer_continuation(lab, 234, 3, "/big.bin", etag, 32768);
	refused_continuation(lab, 234, "/big.bin", "Range: bytes=32768-42767", other);
}

/* Entity tags are unique per resource only: a fetch whose path was altered must not get another resource sealed. */
static void continuation_of_another_target_is_refused(void **state)
{
	static const char other[] = "the continuation of another target was offered";
	struct lab *lab = *state;
	char etag[HEADER_MAX];

	agent_greet(lab);
	etag_of(lab, "/big.bin", etag);
	offer_continuation(lab, 250, 3, "/a.bin", etag, 32768);
	refused_continuation(lab, 250, "/big.bin", "Range: bytes=32768-", other);
	offer_continuation(lab, 251, 3, "/big.bin", etag, 32768);
	refused_continuation(lab, 251, "/big.bin?", "Range: bytes=32768-", other);
	offer_continuation(lab, 252, 3, "/big.bin", etag, 32768);
	refused_continuation(lab, 252, "//big.bin", "Range: bytes=32768-", other);
}

static void client_that_asks_like_a_continuation_gets_no_short_body_sealed(void **state)
{
	struct lab *lab = *state;
	char etag[HEADER_MAX], more[HEADER_MAX + 100];

	agent_greet(lab);
	etag_of(lab, "/big.bin", etag);
	(void)snprintf(more, sizeof(more), "Range: bytes=0-0\r\nIf-Match: %s\r\n", etag);
	offer_and_wait(lab, 241, 1);
	fetch(lab, 241, "GET", "/big.bin", more);
	assert_declined(lab, 241);
	assert_result(lab, 241, CONTROL_OUTCOME_DECLINED, "the body is shorter than the agent's splice-min");
}

static void connection_goes_on_after_a_spliced_body(void **state)
{
	struct lab *lab = *state;

	agent_greet(lab);
	for (unsigned number = 10; number < 14; number++) {
		offer_and_wait(lab, number, 1);
		fetch(lab, number, "GET", "/big.bin", "");
		assert_spliced(lab, number, 1, 0, BIG_SIZE);
		assert_result(lab, number, CONTROL_OUTCOME_SEALED, "");
		client_send(lab, "GET /small.bin HTTP/1.1\r\nHost: site\r\n\r\n");
		run_until(lab->loop, response_is_whole, lab, "an ordinary response");
		assert_header(lab, "Disc-Body", "");
		assert_int_equal(lab->response_len - body_at(lab), SMALL_SIZE);
		assert_memory_equal(lab->response + body_at(lab), big, SMALL_SIZE);
	}
	assert_false(lab->client_ended);
}

static void declined(struct lab *lab, unsigned number, const char *method, const char *target, const char *more,
		     const char *status, const char *reason)
{
	agent_greet(lab);
	offer_and_wait(lab, number, 1);
	fetch(lab, number, method, target, more);
	assert_declined(lab, number);
	assert_status(lab, status);
	assert_result(lab, number, CONTROL_OUTCOME_DECLINED, reason);
	assert_int_equal(lab->result.records, 0);
	assert_int_equal(ticket_table_offers(lab->tickets), 0);
}

static void head_is_declined(void **state)
{
	declined(*state, 20, "HEAD", "/big.bin", "", "HTTP/1.1 200 ", "the response has no body of a file");
}

static void missing_file_is_declined(void **state)
{
	declined(*state, 21, "GET", "/none.bin", "", "HTTP/1.1 404 ", "the response has no body of a file");
}

static void unsatisfiable_range_is_declined(void **state)
{
	declined(*state, 22, "GET", "/big.bin", "Range: bytes=99999999-\r\n", "HTTP/1.1 416 ",
		 "the response has no body of a file");
}

static void not_modified_is_declined(void **state)
{
	declined(*state, 23, "GET", "/big.bin", "If-None-Match: *\r\n", "HTTP/1.1 304 ",
		 "the response has no body of a file");
}

static void short_body_is_declined(void **state)
{
	declined(*state, 24, "GET", "/small.bin", "", "HTTP/1.1 200 ",
		 "the body is shorter than the agent's splice-min");
}

/* The size is that of what is sent: a short range of a long file. */
static void range_is_declined_or_sealed_by_its_own_size(void **state)
{
	declined(*state, 26, "GET", "/big.bin", "Range: bytes=1-1999\r\n", "HTTP/1.1 206 ",
		 "the body is shorter than the agent's splice-min");
	offer_and_wait(*state, 27, 1);
	fetch(*state, 27, "GET", "/big.bin", "Range: bytes=1-2000\r\n");
	assert_spliced(*state, 27, 1, 1, 2000);
}

static void offer_that_names_no_size_gets_every_body_sealed(void **state)
{
	struct lab *lab = *state;
	struct control_message message = {.type = CONTROL_OFFER,
					  .u.offer = {.ticket = ticket_of(28), .state = opening_state(1)}};

	agent_greet(lab);
	agent_send(lab, &message);
	run_until(lab->loop, an_offer_waits, lab, "the offer is in the table");
	fetch(lab, 28, "GET", "/small.bin", "");
	assert_spliced(lab, 28, 1, 0, SMALL_SIZE);
}

static void exhausted_sequence_is_declined(void **state)
{
	struct lab *lab = *state;

	agent_greet(lab);
	offer_and_wait(lab, 25, UINT64_MAX - 3);
	fetch(lab, 25, "GET", "/big.bin", "");
	assert_declined(lab, 25);
	assert_result(lab, 25, CONTROL_OUTCOME_DECLINED, record_error_text(RECORD_SEQ_EXHAUSTED));
}

static void draining_node_declines_and_says_so(void **state)
{
	struct lab *lab = *state;
	struct control_message ping = {.type = CONTROL_PING, .u.ping = {.nonce = 77}};

	agent_greet(lab);
	offer_and_wait(lab, 26, 1);
	atomic_store(&lab->draining, true);
	fetch(lab, 26, "GET", "/big.bin", "");
	assert_declined(lab, 26);
	assert_header(lab, "Connection", "close");
	assert_result(lab, 26, CONTROL_OUTCOME_DECLINED, "the node is draining");
	agent_send(lab, &ping);
	while (!lab->pong_count)
		(void)ev_run(lab->loop, EVRUN_ONCE);
	assert_int_equal(lab->pong.nonce, 77);
	assert_int_equal(lab->pong.draining, 1);
}

/* --- tests: tickets --- */

static void fetch_that_nobody_offered_is_answered_ordinarily(void **state)
{
	struct lab *lab = *state;

	agent_greet(lab);
	fetch(lab, 30, "GET", "/big.bin", "");
	assert_unannounced(lab);
	/* And an offer that comes too late finds the ticket used. */
	offer(lab, 30, 1);
	assert_result(lab, 30, CONTROL_OUTCOME_DECLINED, "the ticket was used before");
}

static bool a_reply_came(void *context)
{
	return ((struct lab *)context)->reply_count > 0;
}

static void node_without_the_direct_path_splices_and_refuses_handoffs(void **state)
{
	struct lab *lab = *state;
	struct control_message message = {
		.type = CONTROL_OFFER,
		.u.offer = {.ticket = ticket_of(60), .state = opening_state(1), .direct_min = 1}};

	agent_greet(lab);
	assert_false(lab->said_direct);
	agent_send(lab, &message);
	run_until(lab->loop, an_offer_waits, lab, "the offer is in the table");
	fetch(lab, 60, "GET", "/big.bin", "");
	assert_spliced(lab, 60, 1, 0, BIG_SIZE);
	message = (struct control_message){
		.type = CONTROL_HANDOFF,
		.u.handoff = {.ticket = ticket_of(60),
			      .state = {.family = 4, .mss = 1460, .local = {.port = 1}, .remote = {.port = 1}}}};
	agent_send(lab, &message);
	run_until(lab->loop, a_reply_came, lab, "a HandoffReply");
	assert_string_equal(lab->refusal, "this node has no direct path");
	message = (struct control_message){.type = CONTROL_RECALL, .u.recall = {.ticket = ticket_of(60)}};
	agent_send(lab, &message);
	assert_int_equal(lab->agent.closed, 0);
}

static void offer_that_nobody_fetched_expires(void **state)
{
	struct lab *lab = *state;

	agent_greet(lab);
	offer(lab, 31, 1);
	assert_result(lab, 31, CONTROL_OUTCOME_EXPIRED, "no fetch named the ticket in time");
	fetch(lab, 31, "GET", "/big.bin", "");
	assert_unannounced(lab);
}

static void ticket_is_honoured_once(void **state)
{
	struct lab *lab = *state;

	agent_greet(lab);
	offer_and_wait(lab, 32, 1);
	fetch(lab, 32, "GET", "/big.bin", "");
	assert_spliced(lab, 32, 1, 0, BIG_SIZE);
	assert_result(lab, 32, CONTROL_OUTCOME_SEALED, "");
	offer(lab, 32, 1);
	assert_result(lab, 32, CONTROL_OUTCOME_DECLINED, "the ticket was used before");
	fetch(lab, 32, "GET", "/big.bin", "");
	assert_unannounced(lab);
}

/* Nor does a response that would not be sealed anyway promise anything for an offer that another exchange took. */
static void used_ticket_gets_no_promise_whatever_is_asked(void **state)
{
	struct lab *lab = *state;

	agent_greet(lab);
	offer_and_wait(lab, 35, 1);
	fetch(lab, 35, "GET", "/big.bin", "");
	assert_spliced(lab, 35, 1, 0, BIG_SIZE);
	fetch(lab, 35, "GET", "/small.bin", "");
	run_until(lab->loop, response_is_whole, lab, "a response");
	assert_header(lab, "Disc-Body", "");
	fetch(lab, 35, "GET", "/none.bin", "");
	run_until(lab->loop, response_is_whole, lab, "a response");
	assert_status(lab, "HTTP/1.1 404 ");
	assert_header(lab, "Disc-Body", "");
	atomic_store(&lab->draining, true);
	fetch(lab, 35, "GET", "/big.bin", "");
	assert_unannounced(lab);
}

/* What is not to be sealed waits for its offer too: it is declined, not left to an unknown fate. */
static void fetch_that_will_be_declined_waits_for_its_offer(void **state)
{
	struct lab *lab = *state;
	int64_t fetches = node_metric_value(NODE_FETCHES);

	agent_greet(lab);
	fetch(lab, 36, "GET", "/small.bin", "");
	run_until(lab->loop, a_fetch_was_begun, &fetches, "the fetch waits");
	assert_int_equal(lab->response_len, 0);
	offer(lab, 36, 1);
	assert_declined(lab, 36);
	assert_result(lab, 36, CONTROL_OUTCOME_DECLINED, "the body is shorter than the agent's splice-min");
}

static bool no_offer_waits(void *context)
{
	return !an_offer_waits(context);
}

static void closed_channel_takes_its_offers_with_it(void **state)
{
	struct lab *lab = *state;

	agent_greet(lab);
	offer_and_wait(lab, 34, 1);
	channel_close(lab->agent.channel, "the test closes it");
	run_until(lab->loop, no_offer_waits, lab, "the offer is dropped");
	fetch(lab, 34, "GET", "/big.bin", "");
	assert_unannounced(lab);
}

static bool an_offload_is_active(void *context)
{
	(void)context;
	return node_metric_value(NODE_OFFLOADS_ACTIVE) > 0;
}

static void client_that_goes_away_ends_the_offload(void **state)
{
	struct lab *lab = *state;

	agent_greet(lab);
	offer_and_wait(lab, 35, 1);
	fetch(lab, 35, "GET", "/big.bin", "");
	ev_io_stop(lab->loop, &lab->client_reader); /* reads nothing, so the body cannot end */
	run_until(lab->loop, an_offload_is_active, lab, "the offload begins");
	client_close(lab);
	assert_result(lab, 35, CONTROL_OUTCOME_ABORTED, "the peer went away");
	assert_true(lab->result.bytes < BIG_SIZE);
	assert_int_equal(node_metric_value(NODE_OFFLOADS_ACTIVE), 0);
}

static bool is_idle(void *context)
{
	return ((struct lab *)context)->idle;
}

static void drain_lets_a_transfer_finish(void **state)
{
	struct lab *lab = *state;

	agent_greet(lab);
	offer_and_wait(lab, 36, 1);
	fetch(lab, 36, "GET", "/big.bin", "");
	ev_io_stop(lab->loop, &lab->client_reader);
	run_until(lab->loop, an_offload_is_active, lab, "the offload begins");
	atomic_store(&lab->draining, true);
	fetch_server_drain(lab->fetch_server);
	ev_io_start(lab->loop, &lab->client_reader);
	assert_spliced(lab, 36, 1, 0, BIG_SIZE);
	assert_result(lab, 36, CONTROL_OUTCOME_SEALED, "");
	run_until(lab->loop, is_idle, lab, "the server is idle");
}

int main(void)
{
#define LAB_TEST(name) cmocka_unit_test_setup_teardown(name, lab_open, lab_close)
	const struct CMUnitTest tests[] = {
		LAB_TEST(certificate_of_another_ca_is_refused),
		LAB_TEST(certificate_with_another_name_is_refused),
		LAB_TEST(offer_before_hello_closes_the_channel),
		LAB_TEST(unknown_protocol_version_closes_the_channel),
		LAB_TEST(a_lane_that_does_not_exist_closes_the_channel),
		LAB_TEST(garbage_frame_closes_the_channel),
		LAB_TEST(garbage_on_the_fetch_hop_is_answered_400_and_closed),
		LAB_TEST(head_of_the_longest_size_is_read),
		LAB_TEST(ticket_that_is_no_ticket_is_answered_400),
		LAB_TEST(offer_then_fetch_is_spliced),
		LAB_TEST(fetch_then_offer_is_spliced),
		LAB_TEST(range_is_spliced_as_206),
		LAB_TEST(continuation_of_an_object_is_sealed_to_the_same_bytes),
		LAB_TEST(continuation_of_another_object_is_declined),
		LAB_TEST(continuation_is_what_the_offer_says_or_nothing),
		LAB_TEST(continuation_of_another_target_is_refused),
		LAB_TEST(client_that_asks_like_a_continuation_gets_no_short_body_sealed),
		LAB_TEST(connection_goes_on_after_a_spliced_body),
		LAB_TEST(head_is_declined),
		LAB_TEST(missing_file_is_declined),
		LAB_TEST(unsatisfiable_range_is_declined),
		LAB_TEST(not_modified_is_declined),
		LAB_TEST(short_body_is_declined),
		LAB_TEST(range_is_declined_or_sealed_by_its_own_size),
		LAB_TEST(offer_that_names_no_size_gets_every_body_sealed),
		LAB_TEST(exhausted_sequence_is_declined),
		LAB_TEST(draining_node_declines_and_says_so),
		LAB_TEST(fetch_that_nobody_offered_is_answered_ordinarily),
		LAB_TEST(node_without_the_direct_path_splices_and_refuses_handoffs),
		LAB_TEST(offer_that_nobody_fetched_expires),
		LAB_TEST(ticket_is_honoured_once),
		LAB_TEST(used_ticket_gets_no_promise_whatever_is_asked),
		LAB_TEST(fetch_that_will_be_declined_waits_for_its_offer),
		LAB_TEST(closed_channel_takes_its_offers_with_it),
		LAB_TEST(client_that_goes_away_ends_the_offload),
		LAB_TEST(drain_lets_a_transfer_finish),
	};

	return cmocka_run_group_tests(tests, make_files, remove_files);
}

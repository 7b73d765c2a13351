/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Guards what a node owes to an offer of grants on the fetch hop (doc/protocol.md sections 4 and 6): a proven announcement,
 * answers, a connection that is used again, and for a peer that grants what it must not, or vanishes, an end with a reason
 * and nothing sealed. */
#include <stdio.h>
#include <stdlib.h>

#include "fetch_proving.h"
#include "granting.h"
#include "node_lab.h"
#include "node_metrics.h"

#define STREAM 3u

static void offer_grants(struct lab *lab, unsigned number, const char *etag)
{
	struct control_message message = {.type = CONTROL_OFFER,
					  .u.offer = {.ticket = ticket_of(number),
						      .state = opening_state(0),
						      .method = {"GET", 3},
						      .target = {"/big.bin", 8},
						      .client = {"192.0.2.1", 9},
						      .lease_id = number,
						      .splice_min = SPLICE_MIN,
						      .continuation_etag = {etag, strlen(etag)},
						      .continuation_offset = 16384,
						      .continuation_length = etag[0] ? BIG_SIZE - 16384 : 0}};

	message.u.offer.state.use = TX_USE_GRANTS;
	agent_send(lab, &message);
	run_until(lab->loop, an_offer_waits, lab, "the offer is in the table");
}

/* Behind what was received of this response so far. */
static void send_bytes(struct lab *lab, const uint8_t *bytes, size_t len)
{
	assert_int_equal(send(lab->client, bytes, len, MSG_NOSIGNAL), (ssize_t)len);
}

static void send_grant(struct lab *lab, unsigned number, const struct grant *grant)
{
	struct tx_state state = opening_state(0);
	struct ticket ticket = ticket_of(number);
	uint8_t wire[GRANT_WIRE_LEN];

	granting_encode(wire, grant, &ticket, state.proof_key);
	send_bytes(lab, wire, sizeof(wire));
}

static void assert_granting(struct lab *lab, unsigned number, size_t offset, size_t length)
{
	char expected[2 * HEADER_MAX], etag[HEADER_MAX], text[TICKET_TEXT_LEN + 1];
	struct ticket ticket = ticket_of(number);

	run_until(lab->loop, response_has_head, lab, "a response");
	header(lab, "ETag", etag);
	ticket_format(text, &ticket);
	(void)snprintf(expected, sizeof(expected),
		       "grants; ticket=%s; length=%zu; status=%.3s; first=%zu; etag=%s; ready=%zu", text, length,
		       (const char *)lab->response + 9, offset, etag, length);
	prove_announcement(expected, sizeof(expected));
	assert_header(lab, "Disc-Body", expected);
	assert_header(lab, "Transfer-Encoding", "chunked");
	assert_header(lab, "Content-Length", "");
}

static bool has_wanted(void *context)
{
	struct lab *lab = context;

	return lab->response_len - body_at(lab) >= lab->wanted || lab->client_ended;
}

/* Grants the next piece of a body that begins with byte <offset> of the big file, and looks at the answer, which begins
 * at <*at> of the response's body. */
static void run_grant(struct lab *lab, unsigned number, const struct grant *grant, size_t offset, size_t *at)
{
	struct tx_state state = opening_state(grant->slot);
	unsigned records = (grant->bytes - grant->clear + 16374) / 16375;
	uint32_t payload = grant->bytes + 31 * records;
	struct ticket ticket = ticket_of(number);
	uint8_t *plain = malloc(2 * (size_t)grant->bytes + 1000);
	struct granting_message message;
	const uint8_t *bytes;
	char chunk[16];
	uint64_t opened;
	size_t len;

	assert_non_null(plain);
	send_grant(lab, number, grant);
	(void)snprintf(chunk, sizeof(chunk), "%x\r\n", payload + GRANTING_HEAD_LEN);
	lab->wanted = *at + strlen(chunk) + GRANTING_HEAD_LEN + payload + (grant->last ? 7 : 2);
	run_until(lab->loop, has_wanted, lab, "the answer");
	assert_int_equal(lab->response_len - body_at(lab), lab->wanted);
	bytes = lab->response + body_at(lab) + *at;
	assert_memory_equal(bytes, chunk, strlen(chunk));
	bytes += strlen(chunk);
	assert_true(granting_read(&message, bytes, &ticket, state.proof_key));
	assert_int_equal(message.type, 1);
	assert_int_equal(message.number, grant->number);
	assert_int_equal(message.payload, payload);
	bytes += GRANTING_HEAD_LEN;
	offset += (size_t)grant->first;
	assert_memory_equal(bytes, big + offset, grant->clear);
	offset += grant->clear;
	assert_true(open_records(&state, bytes + grant->clear, payload - grant->clear, plain,
				 2 * (size_t)grant->bytes + 1000, &len, &opened));
	assert_int_equal(opened, records);
	for (unsigned i = 0; i < records; i++) {
		size_t frame = i < records - 1 ? 16375 : grant->bytes - grant->clear - 16375 * i;

		assert_memory_equal(plain + (size_t)i * 16384 + 9, big + offset, frame);
		offset += frame;
	}
	if (grant->last)
		assert_memory_equal(bytes + payload, "\r\n0\r\n\r\n", 7);
	*at = lab->wanted;
	free(plain);
}

/* Grants all of a body of <length> bytes. */
static void run_body(struct lab *lab, unsigned number, size_t offset, size_t length)
{
	struct grant grant = {.stream = STREAM, .slot = 2};
	size_t at = 0;

	while (grant.first < length) {
		size_t left = length - (size_t)grant.first;

		grant.number++;
		grant.bytes = (uint32_t)(left < 262144 ? left : 262144);
		grant.clear = 1;
		grant.last = grant.bytes == left;
		run_grant(lab, number, &grant, offset, &at);
		grant.first += grant.bytes;
		grant.slot += 20;
	}
}

static void body_comes_by_grants_and_the_connection_is_used_again(void **state)
{
	int64_t grants = node_metric_value(NODE_GRANTS), clear = node_metric_value(NODE_BYTES_CLEAR);
	struct lab *lab = *state;

	agent_greet(lab);
	for (unsigned number = 1; number <= 2; number++) {
		offer_grants(lab, number, "");
		fetch(lab, number, "GET", "/big.bin", "");
		assert_granting(lab, number, 0, BIG_SIZE);
		run_body(lab, number, 0, BIG_SIZE);
		assert_result(lab, number, CONTROL_OUTCOME_SEALED, "");
		assert_int_equal(lab->result.bytes, BIG_SIZE - 13);
	}
	assert_int_equal(node_metric_value(NODE_GRANTS) - grants, 26);
	assert_int_equal(node_metric_value(NODE_BYTES_CLEAR) - clear, 26);
	assert_int_equal(node_metric_value(NODE_CONNECTIONS), 1);
	/* And for requests of other kinds. */
	offer_and_wait(lab, 3, 1);
	fetch(lab, 3, "GET", "/big.bin", "");
	assert_spliced(lab, 3, 1, 0, BIG_SIZE);
	assert_int_equal(node_metric_value(NODE_CONNECTIONS), 1);
}

static void range_comes_by_grants(void **state)
{
	struct lab *lab = *state;

	agent_greet(lab);
	offer_grants(lab, 1, "");
	fetch(lab, 1, "GET", "/big.bin", "Range: bytes=100000-399999\r\n");
	assert_granting(lab, 1, 100000, 300000);
	assert_status(lab, "HTTP/1.1 206 ");
	run_body(lab, 1, 100000, 300000);
	assert_result(lab, 1, CONTROL_OUTCOME_SEALED, "");
}

static void what_is_not_for_grants_is_declined(void **state)
{
	static const struct {
		const char *method, *target, *lines, *version, *etag, *reason;
	} cases[] = {
		{"HEAD", "/big.bin", "", "1.1", "", "the response has no body of a file"},
		{"GET", "/none.bin", "", "1.1", "", "the response has no body of a file"},
		{"GET", "/small.bin", "", "1.1", "", "the body is shorter than the agent's splice-min"},
		{"GET", "/big.bin", "Range: bytes=0-1998\r\n", "1.1", "",
		 "the body is shorter than the agent's splice-min"},
		{"GET", "/big.bin", "Transfer-Encoding: chunked\r\n", "1.1", "",
		 "the request's length is not known, grants cannot follow it"},
		{"GET", "/big.bin", "", "1.0", "", "HTTP/1.0 has no chunks for the answers to grants"},
		{"GET", "/big.bin", "Range: bytes=16384-\r\n", "1.1", "\"x\"",
		 "a continuation is not sealed by grants"},
	};
	struct lab *lab = *state;

	agent_greet(lab);
	for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		char request[1024], proof[PROVING_HEADER_MAX], text[TICKET_TEXT_LEN + 1];
		struct ticket ticket = ticket_of(i + 1);

		ticket_format(text, &ticket);
		offer_grants(lab, i + 1, cases[i].etag);
		prove_request(proof, text, cases[i].method, cases[i].target, cases[i].lines);
		(void)snprintf(request, sizeof(request), "%s %s HTTP/%s\r\nHost: site\r\nDisc-Ticket: %s\r\n%s\r\n",
			       cases[i].method, cases[i].target, cases[i].version, proof, cases[i].lines);
		client_send(lab, request);
		assert_declined(lab, i + 1);
		assert_result(lab, i + 1, CONTROL_OUTCOME_DECLINED, cases[i].reason);
		client_close(lab);
	}
}

static bool client_has_ended(void *context)
{
	return ((struct lab *)context)->client_ended;
}

/* After one good grant, a connection whose next 64 bytes are <wire> is closed. */
static void assert_refused(struct lab *lab, unsigned number, const uint8_t wire[static GRANT_WIRE_LEN],
			   const char *reason)
{
	const struct grant good = {false, STREAM, 1, 5, 0, 50000, 1};
	int64_t refused = node_metric_value(NODE_GRANTS_REFUSED);
	size_t at = 0;

	offer_grants(lab, number, "");
	fetch(lab, number, "GET", "/big.bin", "");
	assert_granting(lab, number, 0, BIG_SIZE);
	run_grant(lab, number, &good, 0, &at);
	send_bytes(lab, wire, GRANT_WIRE_LEN);
	run_until(lab->loop, client_has_ended, lab, "the connection is closed");
	assert_int_equal(lab->response_len - body_at(lab), at);
	assert_result(lab, number, CONTROL_OUTCOME_FAILED, reason);
	assert_int_equal(lab->result.records, 4);
	assert_false(lab->result.changed);
	assert_int_equal(node_metric_value(NODE_GRANTS_REFUSED) - refused, 1);
	client_close(lab);
}

static void grants_that_do_not_fit_close_the_connection(void **state)
{
	static const struct {
		struct grant grant;
		const char *reason;
	} cases[] = {
		{{false, STREAM, 1, 5, 0, 50000, 1}, "number: the grant is not the next one"}, /* the same again */
		{{false, STREAM, 3, 9, 50000, 50000, 1}, "number: the grant is not the next one"},
		{{false, STREAM, 2, 8, 50000, 50000, 1}, "slot: it was granted before"},
		{{false, STREAM, 2, 9, 50001, 50000, 1},
		 "first: the grant begins neither within nor behind the one before"},
		{{true, STREAM, 2, 9, 50000, 50000, 1}, "last: the flag is not that of the body's end"},
	};
	struct tx_state state_of_tickets = opening_state(0);
	struct lab *lab = *state;
	uint8_t wire[GRANT_WIRE_LEN];
	struct ticket ticket;

	agent_greet(lab);
	for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		ticket = ticket_of(i + 1);
		granting_encode(wire, &cases[i].grant, &ticket, state_of_tickets.proof_key);
		assert_refused(lab, i + 1, wire, cases[i].reason);
	}
	/* One that was proven for another ticket, or not at all. */
	ticket = ticket_of(77);
	granting_encode(wire, &(struct grant){false, STREAM, 2, 9, 50000, 50000, 1}, &ticket,
			state_of_tickets.proof_key);
	assert_refused(lab, 78, wire, "proof: the grant is not the LB's");
	memset(wire, 'G', sizeof(wire));
	assert_refused(lab, 79, wire, "proof: the grant is not the LB's");
}

static void grants_come_in_any_pieces(void **state)
{
	struct tx_state state_of_tickets = opening_state(0);
	struct ticket ticket = ticket_of(1);
	struct lab *lab = *state;
	uint8_t wires[2 * GRANT_WIRE_LEN];

	agent_greet(lab);
	offer_grants(lab, 1, "");
	/* A request's body of which the node reads over, and a grant that is there before the response is. */
	fetch(lab, 1, "GET", "/big.bin", "Content-Length: 20000\r\n");
	granting_encode(wires, &(struct grant){false, STREAM, 1, 5, 0, 1000, 1}, &ticket, state_of_tickets.proof_key);
	granting_encode(wires + GRANT_WIRE_LEN, &(struct grant){false, STREAM, 2, 6, 1000, 2000, 2000 - 976}, &ticket,
			state_of_tickets.proof_key);
	for (int i = 0; i < 20; i++) {
		uint8_t junk[1000] = {0};

		send_bytes(lab, junk, sizeof(junk));
	}
	assert_granting(lab, 1, 0, BIG_SIZE);
	for (size_t i = 0; i < sizeof(wires); i++)
		send_bytes(lab, wires + i, 1);
	lab->wanted = 5 + 40 + 1000 + 31 + 2 + 5 + 40 + 2000 + 31 + 2;
	run_until(lab->loop, has_wanted, lab, "both answers");
	assert_int_equal(lab->response_len - body_at(lab), lab->wanted);
	client_close(lab);
	assert_result(lab, 1, CONTROL_OUTCOME_ABORTED, "the peer went away");
	assert_int_equal(lab->result.records, 2);
}

static void flood_of_grants_closes_the_connection(void **state)
{
	struct tx_state state_of_tickets = opening_state(0);
	struct ticket ticket = ticket_of(1);
	uint8_t wires[40][GRANT_WIRE_LEN];
	struct lab *lab = *state;

	agent_greet(lab);
	for (unsigned i = 0; i < 40; i++)
		granting_encode(wires[i], &(struct grant){false, STREAM, i + 1, 5 + 20 * i, 1000 * i, 1000, 1}, &ticket,
				state_of_tickets.proof_key);
	offer_grants(lab, 1, "");
	fetch(lab, 1, "GET", "/big.bin", "");
	assert_granting(lab, 1, 0, BIG_SIZE);
	send_bytes(lab, wires[0], sizeof(wires));
	run_until(lab->loop, client_has_ended, lab, "the connection is closed");
	assert_result(lab, 1, CONTROL_OUTCOME_FAILED, "too many grants wait for their answers");
	client_close(lab);
}

static void peer_that_goes_away_aborts(void **state)
{
	struct lab *lab = *state;

	agent_greet(lab);
	offer_grants(lab, 1, "");
	fetch(lab, 1, "GET", "/big.bin", "");
	assert_granting(lab, 1, 0, BIG_SIZE);
	client_close(lab);
	assert_result(lab, 1, CONTROL_OUTCOME_ABORTED, "the peer went away");
	offer_grants(lab, 2, "");
	fetch(lab, 2, "GET", "/big.bin", "");
	assert_granting(lab, 2, 0, BIG_SIZE);
	assert_int_equal(shutdown(lab->client, SHUT_WR), 0);
	run_until(lab->loop, client_has_ended, lab, "the connection is closed");
	assert_result(lab, 2, CONTROL_OUTCOME_ABORTED, "the peer went away");
	client_close(lab);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(grants_that_do_not_fit_close_the_connection, lab_open, lab_close),
		cmocka_unit_test_setup_teardown(flood_of_grants_closes_the_connection, lab_open, lab_close),
		cmocka_unit_test_setup_teardown(what_is_not_for_grants_is_declined, lab_open, lab_close),
		cmocka_unit_test_setup_teardown(body_comes_by_grants_and_the_connection_is_used_again, lab_open,
						lab_close),
		cmocka_unit_test_setup_teardown(range_comes_by_grants, lab_open, lab_close),
		cmocka_unit_test_setup_teardown(grants_come_in_any_pieces, lab_open, lab_close),
		cmocka_unit_test_setup_teardown(peer_that_goes_away_aborts, lab_open, lab_close),
	};

	return cmocka_run_group_tests(tests, make_files, remove_files);
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Guards: an exchange goes through its stages in each order in which request, offer, origin and clone may come; the offer
 * is used once or given back, and its outcome is told once. No connection is needed for that: bytes on a socket are
 * node_test.c's and fetch_proof_test.c's. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "clone_set.h"
#include "clone_table.h"
#include "fetch_exchange.h"
#include "fetch_proving.h"
#include "lib/channel_fixture.h"
#include "scripted_origin.h"

#define BODY_SIZE 40000u
#define CHANNEL 7u
#define TICKET "00112233445566778899aabbccddeeff"

static char root[64];

struct fixture {
	struct fetch_service service;
	struct fetch_content content;
	struct result_queue results;
	_Atomic bool draining;
	struct direct_settings direct_settings;
	struct direct_service direct;
	struct scripted_origin origin;
	struct http_source_settings origin_settings;
	char origin_base[ADDRESS_TEXT_MAX + 16];
	struct fetch_exchange exchange;
	unsigned began, fed, result_count;
	struct offload_result result; /* the last one */
};

static int make_root(void **state)
{
	char path[80];
	int fd;

	(void)state;
	strcpy(root, "/tmp/disc-exchange-XXXXXX");
	if (!mkdtemp(root))
		return -1;
	(void)snprintf(path, sizeof(path), "%s/big.bin", root);
	fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
	if (fd < 0 || pwrite(fd, "x", 1, BODY_SIZE - 1) != 1 ||
	    futimens(fd, (const struct timespec[2]){{1000000000, 5}, {1000000000, 5}}) < 0)
		return -1;
	return close(fd);
}

static int remove_root(void **state)
{
	char path[80];

	(void)state;
	(void)snprintf(path, sizeof(path), "%s/big.bin", root);
	return unlink(path) < 0 ? -1 : rmdir(root);
}

static void on_began(void *context)
{
	((struct fixture *)context)->began++;
}

static void on_fed(void *context)
{
	((struct fixture *)context)->fed++;
}

static void on_result(void *context, const struct offload_result *result)
{
	struct fixture *fixture = context;

	fixture->result_count++;
	fixture->result = *result;
}

static void nothing_follows(void *context)
{
	(void)context;
}

static void open_fixture(struct fixture *fixture)
{
	static const char *const index_names[] = {NULL};
	const struct ticket_limits limits = {.wait_s = 60, .remember_s = 60, .max_waiting = 8, .max_used = 64};
	struct fetch_service *service = &fixture->service;

	memset(fixture, 0, sizeof(*fixture));
	assert_int_equal(result_queue_init(&fixture->results, 0), 0);
	fixture->content = (struct fetch_content){
		.files = file_source_new(root), .types = content_types_new(NULL), .index = index_names};
	service->loop = ev_loop_new(EVFLAG_AUTO);
	service->content = &fixture->content;
	service->tickets = ticket_table_new(&limits);
	service->results = &fixture->results;
	service->draining = &fixture->draining;
	assert_true(service->loop && fixture->content.files && fixture->content.types && service->tickets);
	ticket_mailbox_open(&service->mailbox, service->tickets, service->loop);
	result_queue_attach(&fixture->results, service->loop, on_result, fixture);
	fixture->exchange.service = service;
	fixture->exchange.began = on_began;
	fixture->exchange.fed = on_fed;
	fixture->exchange.context = fixture;
}

static void close_fixture(struct fixture *fixture)
{
	struct fetch_service *service = &fixture->service;

	assert_int_equal(fixture->exchange.stage, FETCH_EXCHANGE_ENDED);
	assert_int_equal(ticket_table_offers(service->tickets), 0);
	clone_set_free(service->clones);
	if (fixture->direct.table) {
		clone_table_free(fixture->direct.table);
		agent_outbox_destroy(&fixture->direct.outbox);
	}
	http_source_free(service->origin);
	if (service->origin)
		origin_close(&fixture->origin);
	result_queue_detach(&fixture->results);
	result_queue_destroy(&fixture->results);
	ticket_mailbox_close(&service->mailbox);
	ticket_table_free(service->tickets);
	file_source_free(fixture->content.files);
	content_types_free(fixture->content.types);
	ev_loop_destroy(service->loop);
}

/* Bodies may be announced as direct. */
static void make_direct(struct fixture *fixture)
{
	fixture->direct_settings.handoff_wait = 60;
	fixture->direct.settings = &fixture->direct_settings;
	fixture->direct.table = clone_table_new();
	assert_non_null(fixture->direct.table);
	assert_int_equal(agent_outbox_init(&fixture->direct.outbox, 0), 0);
	fixture->service.direct = &fixture->direct;
	fixture->service.clones = clone_set_new(fixture->service.loop, &fixture->direct, 8, nothing_follows, NULL);
	assert_non_null(fixture->service.clones);
}

/* The node fronts an origin that answers <head>, and a body behind it. */
static void front(struct fixture *fixture, const char *head)
{
	char text[ADDRESS_TEXT_MAX];

	origin_open(&fixture->origin, fixture->service.loop, "127.0.0.1:0");
	fixture->origin.head = head;
	fixture->origin.body_len = fixture->origin.hold = BODY_SIZE;
	(void)snprintf(fixture->origin_base, sizeof(fixture->origin_base), "http://%s/",
		       address_format(&fixture->origin.address, text));
	fixture->origin_settings = (struct http_source_settings){
		.base = fixture->origin_base, .connect_timeout = 30, .timeout = 30, .max_connections = 4};
	fixture->content.origin = &fixture->origin_settings;
	fixture->service.origin = http_source_new(fixture->service.loop, &fixture->origin_settings);
	assert_non_null(fixture->service.origin);
}

static struct ticket the_ticket(void)
{
	struct ticket ticket;

	assert_true(ticket_parse(&ticket, TICKET, TICKET_TEXT_LEN));
	return ticket;
}

static enum ticket_offer_status offer(struct fixture *fixture, uint64_t direct_min)
{
	const struct ticket ticket = the_ticket();
	const struct tx_state state = opening_state(3);
	const struct ticket_terms terms = {.channel = CHANNEL, .splice_min = 1000, .direct_min = direct_min};

	return ticket_table_offer(fixture->service.tickets, &ticket, &state, &terms, ticket_clock());
}

/* Begins the exchange for a GET; <claim>: the value of Disc-Ticket, "": proven as it should be, NULL: none. */
static void begin(struct fixture *fixture, const char *claim, unsigned http_minor)
{
	char proven[PROVING_HEADER_MAX], field[PROVING_HEADER_MAX + 32] = "", text[512];
	struct fetch_request request;
	size_t consumed;
	int len;

	prove_request(proven, TICKET, "GET", "/big.bin", "");
	if (claim)
		(void)snprintf(field, sizeof(field), "Disc-Ticket: %s\r\n", claim[0] ? claim : proven);
	len = snprintf(text, sizeof(text), "GET /big.bin HTTP/1.%u\r\nHost: site\r\n%s\r\n", http_minor, field);
	assert_int_equal(fetch_request_parse(&request, text, (size_t)len, sizeof(text), &consumed), FETCH_REQUEST_OK);
	fetch_exchange_begin(&fixture->exchange, &request, true);
}

static bool has_begun(void *context)
{
	return ((struct fixture *)context)->began > 0;
}

static bool has_a_result(void *context)
{
	return ((struct fixture *)context)->result_count > 0;
}

static bool is_sending(void *context)
{
	return ((struct fixture *)context)->exchange.stage == FETCH_EXCHANGE_SENDING;
}

static void assert_announced(const struct fixture *fixture, const char *begin)
{
	assert_memory_equal(fixture->exchange.announcement, begin, strlen(begin));
	if (!begin[0])
		assert_string_equal(fixture->exchange.announcement, "");
}

static void assert_sends(const struct fixture *fixture, enum fetch_body kind, const char *announced)
{
	assert_int_equal(fixture->exchange.stage, FETCH_EXCHANGE_SENDING);
	assert_int_equal(fixture->exchange.transfer.kind, kind);
	assert_announced(fixture, announced);
}

/* Ends the exchange; the result, the only one, is <outcome> for <reason>. */
static void end_with(struct fixture *fixture, enum fetch_transfer_status status, enum control_outcome outcome,
		     const char *reason)
{
	fetch_exchange_end(&fixture->exchange, status, "the peer went away");
	run_until(fixture->service.loop, has_a_result, fixture, "a result");
	assert_int_equal(fixture->result_count, 1);
	assert_int_equal(fixture->result.channel, CHANNEL);
	assert_int_equal(fixture->result.outcome, outcome);
	assert_string_equal(fixture->result.reason, reason);
	close_fixture(fixture);
}

/* Nothing was offered that something would be told of. */
static void end_quietly(struct fixture *fixture)
{
	fetch_exchange_end(&fixture->exchange, FETCH_TRANSFER_DONE, "");
	for (int i = 0; i < 5; i++)
		(void)ev_run(fixture->service.loop, EVRUN_NOWAIT);
	assert_int_equal(fixture->result_count, 0);
	close_fixture(fixture);
}

/* --- without a ticket --- */

static void a_request_without_ticket_is_answered_at_once(void **state)
{
	struct fixture fixture;

	(void)state;
	open_fixture(&fixture);
	begin(&fixture, NULL, 1);
	assert_sends(&fixture, FETCH_BODY_PLAIN, "");
	end_quietly(&fixture);
	open_fixture(&fixture);
	fetch_exchange_begin_status(&fixture.exchange, 400);
	assert_sends(&fixture, FETCH_BODY_NONE, "");
	end_quietly(&fixture);
}

static void an_exchange_leaves_nothing_to_the_next(void **state)
{
	struct fixture fixture;

	(void)state;
	open_fixture(&fixture);
	assert_int_equal(offer(&fixture, 0), TICKET_OFFER_KEPT);
	begin(&fixture, "", 1);
	assert_sends(&fixture, FETCH_BODY_SEALED, "splice; ");
	fetch_exchange_end(&fixture.exchange, FETCH_TRANSFER_DONE, "");
	assert_int_equal(fixture.exchange.stage, FETCH_EXCHANGE_ENDED);
	begin(&fixture, NULL, 1);
	assert_sends(&fixture, FETCH_BODY_PLAIN, "");
	end_with(&fixture, FETCH_TRANSFER_DONE, CONTROL_OUTCOME_SEALED, "");
}

/* --- request and offer --- */

static void an_offer_that_came_first_is_joined_at_once(void **state)
{
	struct fixture fixture;

	(void)state;
	open_fixture(&fixture);
	assert_int_equal(offer(&fixture, 0), TICKET_OFFER_KEPT);
	begin(&fixture, "", 1);
	assert_sends(&fixture, FETCH_BODY_SEALED, "splice; ticket=" TICKET "; seq=3; records=3; length=40000; ");
	assert_int_equal(fixture.began, 0);
	end_with(&fixture, FETCH_TRANSFER_PEER_GONE, CONTROL_OUTCOME_ABORTED, "the peer went away");
}

static void a_request_that_came_first_waits_for_its_offer(void **state)
{
	struct fixture fixture;

	(void)state;
	open_fixture(&fixture);
	begin(&fixture, "", 1);
	assert_int_equal(fixture.exchange.stage, FETCH_EXCHANGE_WAITING);
	assert_int_equal(offer(&fixture, 0), TICKET_OFFER_JOINED);
	run_until(fixture.service.loop, has_begun, &fixture, "the exchange begins");
	assert_int_equal(fixture.began, 1);
	assert_sends(&fixture, FETCH_BODY_SEALED, "splice; ");
	end_with(&fixture, FETCH_TRANSFER_DONE, CONTROL_OUTCOME_SEALED, "");
}

static void a_wait_that_is_over_uses_the_ticket_up(void **state)
{
	struct fixture fixture;

	(void)state;
	open_fixture(&fixture);
	begin(&fixture, "", 1);
	fetch_exchange_give_up(&fixture.exchange);
	assert_sends(&fixture, FETCH_BODY_PLAIN, "");
	assert_int_equal(offer(&fixture, 0), TICKET_OFFER_USED);
	end_quietly(&fixture);
}

static void an_offer_that_races_with_the_end_of_the_wait_is_used(void **state)
{
	struct fixture fixture;

	(void)state;
	open_fixture(&fixture);
	begin(&fixture, "", 1);
	assert_int_equal(offer(&fixture, 0), TICKET_OFFER_JOINED);
	fetch_exchange_give_up(&fixture.exchange);
	assert_sends(&fixture, FETCH_BODY_SEALED, "splice; ");
	(void)ev_run(fixture.service.loop, EVRUN_NOWAIT);
	assert_int_equal(fixture.began, 0);
	end_with(&fixture, FETCH_TRANSFER_DONE, CONTROL_OUTCOME_SEALED, "");
}

static void a_fetch_that_goes_away_while_it_waits_gives_its_offer_back(void **state)
{
	struct fixture fixture;

	(void)state;
	open_fixture(&fixture);
	begin(&fixture, "", 1);
	fetch_exchange_end(&fixture.exchange, FETCH_TRANSFER_PEER_GONE, "");
	assert_int_equal(offer(&fixture, 0), TICKET_OFFER_USED);
	close_fixture(&fixture);

	open_fixture(&fixture);
	begin(&fixture, "", 1);
	assert_int_equal(offer(&fixture, 0), TICKET_OFFER_JOINED);
	end_with(&fixture, FETCH_TRANSFER_PEER_GONE, CONTROL_OUTCOME_DECLINED, "the fetch went away");
}

static void a_ticket_is_good_for_one_request(void **state)
{
	struct fixture fixture;

	(void)state;
	open_fixture(&fixture);
	assert_int_equal(offer(&fixture, 0), TICKET_OFFER_KEPT);
	begin(&fixture, "", 1);
	fetch_exchange_end(&fixture.exchange, FETCH_TRANSFER_DONE, "");
	begin(&fixture, "", 1);
	assert_sends(&fixture, FETCH_BODY_PLAIN, "");
	end_with(&fixture, FETCH_TRANSFER_DONE, CONTROL_OUTCOME_SEALED, "");
}

static void a_request_that_is_not_proven_gets_an_ordinary_answer(void **state)
{
	struct fixture fixture;

	(void)state;
	open_fixture(&fixture);
	assert_int_equal(offer(&fixture, 0), TICKET_OFFER_KEPT);
	begin(&fixture, TICKET "; proof=00000000000000000000000000000000", 1);
	assert_sends(&fixture, FETCH_BODY_PLAIN, "");
	end_with(&fixture, FETCH_TRANSFER_DONE, CONTROL_OUTCOME_DECLINED, "the proof of the fetch is wrong");
}

static void a_body_that_is_not_to_be_sealed_is_declined_with_a_promise(void **state)
{
	struct fixture fixture;

	(void)state;
	open_fixture(&fixture);
	atomic_store(&fixture.draining, true);
	begin(&fixture, "", 1);
	assert_int_equal(fixture.exchange.stage, FETCH_EXCHANGE_WAITING);
	assert_int_equal(offer(&fixture, 0), TICKET_OFFER_JOINED);
	run_until(fixture.service.loop, has_begun, &fixture, "the exchange begins");
	assert_sends(&fixture, FETCH_BODY_PLAIN, "none; ticket=" TICKET "; proof=");
	end_with(&fixture, FETCH_TRANSFER_DONE, CONTROL_OUTCOME_DECLINED, "the node is draining");
}

/* --- an origin --- */

static void an_origin_is_asked_before_the_offer_is_awaited(void **state)
{
	static const char head[] = "HTTP/1.1 200 OK\r\nContent-Length: 40000\r\nETag: \"o\"\r\nLast-Modified: Sat, 26 "
				   "Sep 2026 00:00:00 GMT\r\n\r\n";
	struct fixture fixture;

	(void)state;
	open_fixture(&fixture);
	front(&fixture, head);
	begin(&fixture, "", 1);
	assert_int_equal(fixture.exchange.stage, FETCH_EXCHANGE_ASKING);
	run_until(fixture.service.loop, has_begun, &fixture, "the origin answered");
	assert_int_equal(fixture.exchange.stage, FETCH_EXCHANGE_WAITING);
	assert_int_equal(offer(&fixture, 0), TICKET_OFFER_JOINED);
	run_until(fixture.service.loop, is_sending, &fixture, "the offer came");
	assert_int_equal(fixture.began, 2);
	assert_sends(&fixture, FETCH_BODY_SEALED, "splice; ");
	end_with(&fixture, FETCH_TRANSFER_PEER_GONE, CONTROL_OUTCOME_ABORTED, "the peer went away");
}

static void a_fetch_may_go_away_while_the_origin_is_asked(void **state)
{
	struct fixture fixture;

	(void)state;
	open_fixture(&fixture);
	front(&fixture, NULL);
	begin(&fixture, NULL, 1);
	assert_int_equal(fixture.exchange.stage, FETCH_EXCHANGE_ASKING);
	fetch_exchange_end(&fixture.exchange, FETCH_TRANSFER_PEER_GONE, "");
	for (int i = 0; i < 5; i++)
		(void)ev_run(fixture.service.loop, EVRUN_NOWAIT);
	assert_int_equal(fixture.began, 0);
	close_fixture(&fixture);
}

static void an_origin_that_fails_is_answered_for(void **state)
{
	struct fixture fixture;

	(void)state;
	open_fixture(&fixture);
	front(&fixture, "nonsense\r\n\r\n");
	begin(&fixture, NULL, 1);
	run_until(fixture.service.loop, has_begun, &fixture, "the origin failed");
	assert_sends(&fixture, FETCH_BODY_NONE, "");
	assert_int_equal(fixture.exchange.answer.status, 502);
	end_quietly(&fixture);
}

/* --- a clone --- */

static void open_direct(struct fixture *fixture)
{
	open_fixture(fixture);
	make_direct(fixture);
	assert_int_equal(offer(fixture, 1), TICKET_OFFER_KEPT);
	begin(fixture, "", 1);
	assert_int_equal(fixture->exchange.stage, FETCH_EXCHANGE_OPEN);
	assert_int_equal(fixture->exchange.transfer.kind, FETCH_BODY_OPEN);
	assert_announced(fixture, "direct; ticket=" TICKET);
	assert_int_equal(clone_set_count(fixture->service.clones), 1);
}

static void a_clone_that_gets_no_connection_gives_its_body_back(void **state)
{
	const struct ticket ticket = the_ticket();
	struct fixture fixture;

	(void)state;
	open_direct(&fixture);
	assert_int_equal(clone_table_recall(fixture.direct.table, CHANNEL, &ticket, false), CLONE_ORDER_GIVEN);
	run_until(fixture.service.loop, is_sending, &fixture, "the body is the fetch's");
	assert_int_equal(fixture.exchange.transfer.kind, FETCH_BODY_SEALED);
	assert_int_equal(fixture.fed, 1);
	assert_int_equal(clone_set_count(fixture.service.clones), 0);
	end_with(&fixture, FETCH_TRANSFER_DONE, CONTROL_OUTCOME_SEALED, "");
}

static void a_connection_that_is_disposed_of_ends_the_open_body(void **state)
{
	const struct ticket ticket = the_ticket();
	struct fixture fixture;

	(void)state;
	open_direct(&fixture);
	assert_int_equal(clone_table_recall(fixture.direct.table, CHANNEL, &ticket, true), CLONE_ORDER_GIVEN);
	run_until(fixture.service.loop, is_sending, &fixture, "the open body ends");
	assert_int_equal(fixture.exchange.transfer.kind, FETCH_BODY_NONE);
	assert_int_equal(fixture.fed, 1);
	end_quietly(&fixture); /* the clone has told its agent */
}

static void a_fetch_that_goes_away_takes_its_clone_along(void **state)
{
	struct fixture fixture;

	(void)state;
	open_direct(&fixture);
	fetch_exchange_end(&fixture.exchange, FETCH_TRANSFER_PEER_GONE, "");
	assert_int_equal(clone_set_count(fixture.service.clones), 0);
	assert_int_equal(fixture.fed, 0);
	close_fixture(&fixture);
}

static void http_1_0_has_no_chunk_for_an_open_body(void **state)
{
	struct fixture fixture;

	(void)state;
	open_fixture(&fixture);
	make_direct(&fixture);
	assert_int_equal(offer(&fixture, 1), TICKET_OFFER_KEPT);
	begin(&fixture, "", 0);
	assert_sends(&fixture, FETCH_BODY_SEALED, "splice; ");
	end_with(&fixture, FETCH_TRANSFER_DONE, CONTROL_OUTCOME_SEALED, "");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_request_without_ticket_is_answered_at_once),
		cmocka_unit_test(an_exchange_leaves_nothing_to_the_next),
		cmocka_unit_test(an_offer_that_came_first_is_joined_at_once),
		cmocka_unit_test(a_request_that_came_first_waits_for_its_offer),
		cmocka_unit_test(a_wait_that_is_over_uses_the_ticket_up),
		cmocka_unit_test(an_offer_that_races_with_the_end_of_the_wait_is_used),
		cmocka_unit_test(a_fetch_that_goes_away_while_it_waits_gives_its_offer_back),
		cmocka_unit_test(a_ticket_is_good_for_one_request),
		cmocka_unit_test(a_request_that_is_not_proven_gets_an_ordinary_answer),
		cmocka_unit_test(a_body_that_is_not_to_be_sealed_is_declined_with_a_promise),
		cmocka_unit_test(an_origin_is_asked_before_the_offer_is_awaited),
		cmocka_unit_test(a_fetch_may_go_away_while_the_origin_is_asked),
		cmocka_unit_test(an_origin_that_fails_is_answered_for),
		cmocka_unit_test(a_clone_that_gets_no_connection_gives_its_body_back),
		cmocka_unit_test(a_connection_that_is_disposed_of_ends_the_open_body),
		cmocka_unit_test(a_fetch_that_goes_away_takes_its_clone_along),
		cmocka_unit_test(http_1_0_has_no_chunk_for_an_open_body),
	};

	return cmocka_run_group_tests(tests, make_root, remove_root);
}

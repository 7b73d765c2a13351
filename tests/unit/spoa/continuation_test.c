/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Guards: a continuation gives the client every byte once and in order, from the byte asked for to the last, whichever
 * nodes fail meanwhile and however slowly the client reads; what is collected apart is not written; and each end is
 * told once. Nodes are listeners on the same loop that answer as backend-agent does. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <sys/socket.h>
#include <unistd.h>

#include "announcement.h"
#include "continuation.h"

#define NODES 3
#define LENGTH 100000u /* bytes of plaintext */
#define OFFSET 1000u   /* of the body in its object */
#define ETAG "\"x\""
#define TEXT(text) ((struct control_text){text, sizeof(text) - 1})

struct fake_node {
	struct fixture *fixture;
	struct node node;
	int listener, fd;
	ev_io acceptable, readable, writable;
	struct control_offer offer;
	bool refuses;  /* the offer */
	bool lies;     /* about the announcement */
	size_t breaks; /* closes the connection after so many bytes of the body; 0: does not */
	char request[4096];
	size_t request_len;
	uint8_t *answer;
	size_t answer_len, sent;
};

struct fixture {
	struct ev_loop *loop;
	struct lease_store *leases;
	struct handoff_body body;
	struct fake_node nodes[NODES];
	size_t node_count;
	struct continuation *continuation;
	int client, agent; /* ends of the client's connection; the agent writes to the second */
	ev_io client_readable;
	size_t read_max;   /* bytes that the client reads at a time */
	uint64_t expected; /* byte of the records that comes next to the client */
	unsigned offers, collected, ended;
	bool frees, writes; /* in collected() */
	enum continuation_end end;
	char fault[256];
};

/* Byte <position> of all records. */
static uint8_t byte_at(uint64_t position)
{
	return (uint8_t)(position * 7 + position / 251);
}

/* --- nodes --- */

static void hang_up(struct fake_node *node)
{
	struct ev_loop *loop = node->fixture->loop;

	if (node->fd < 0)
		return;
	ev_io_stop(loop, &node->readable);
	ev_io_stop(loop, &node->writable);
	(void)close(node->fd);
	node->fd = -1;
	free(node->answer);
	node->answer = NULL;
}

static void on_node_writable(struct ev_loop *loop, ev_io *watcher, int events)
{
	struct fake_node *node = watcher->data;
	ssize_t sent =
		send(node->fd, node->answer + node->sent, node->answer_len - node->sent, MSG_DONTWAIT | MSG_NOSIGNAL);

	(void)events;
	if (sent > 0)
		node->sent += (size_t)sent;
	if (node->sent == node->answer_len && node->breaks)
		hang_up(node);
	else if (node->sent == node->answer_len)
		ev_io_stop(loop, watcher);
}

/* Answers the request with the records that were offered. */
static void answer(struct fake_node *node)
{
	const struct handoff_body *body = &node->fixture->body;
	const struct control_offer *offer = &node->offer;
	struct record_layout layout;
	char value[ANNOUNCEMENT_TEXT_MAX];
	const struct announcement announcement = {.kind = ANNOUNCEMENT_SPLICE,
						  .ticket = offer->ticket,
						  .seq = offer->state.seq + node->lies,
						  .records = (offer->continuation_length + RECORD_PLAIN_MAX - 1) /
							     RECORD_PLAIN_MAX,
						  .length = offer->continuation_length,
						  .status = 206,
						  .first = offer->continuation_offset,
						  .etag = ETAG};
	uint64_t first;
	size_t len, body_len;

	assert_int_equal(record_layout_init(&layout, &offer->state, offer->continuation_length), RECORD_OK);
	first = body->layout.ciphertext - layout.ciphertext;
	body_len = node->breaks ? node->breaks : (size_t)layout.ciphertext;
	node->answer = malloc(2048 + body_len);
	assert_non_null(node->answer);
	assert_true(announcement_format(value, &announcement, offer->state.proof_key) > 0);
	len = (size_t)snprintf((char *)node->answer, 2048,
			       "HTTP/1.1 206 Partial Content\r\nContent-Length: %llu\r\nDisc-Body: %s\r\n\r\n",
			       (unsigned long long)layout.ciphertext, value);
	for (size_t i = 0; i < body_len; i++)
		node->answer[len + i] = byte_at(first + i);
	node->answer_len = len + body_len;
	node->sent = 0;
	ev_io_start(node->fixture->loop, &node->writable);
}

static void on_node_readable(struct ev_loop *loop, ev_io *watcher, int events)
{
	struct fake_node *node = watcher->data;
	ssize_t got = recv(node->fd, node->request + node->request_len, sizeof(node->request) - 1 - node->request_len,
			   MSG_DONTWAIT);

	(void)events;
	if (got <= 0) {
		hang_up(node);
		return;
	}
	node->request_len += (size_t)got;
	node->request[node->request_len] = '\0';
	if (!strstr(node->request, "\r\n\r\n"))
		return;
	assert_non_null(strstr(node->request, "\r\nIf-Match: " ETAG "\r\n"));
	node->request_len = 0;
	ev_io_stop(loop, watcher);
	answer(node);
}

static void on_acceptable(struct ev_loop *loop, ev_io *watcher, int events)
{
	struct fake_node *node = watcher->data;

	(void)events;
	assert_int_equal(node->fd, -1);
	node->fd = accept4(node->listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	assert_true(node->fd >= 0);
	ev_io_init(&node->readable, on_node_readable, node->fd, EV_READ);
	ev_io_init(&node->writable, on_node_writable, node->fd, EV_WRITE);
	node->readable.data = node->writable.data = node;
	ev_io_start(loop, &node->readable);
}

static void add_node(struct fixture *fixture)
{
	static const char *const names[NODES] = {"n1", "n2", "n3"};
	size_t index = fixture->node_count++;
	struct fake_node *node = &fixture->nodes[index];
	struct address *address = &node->node.fetch;
	const char *why;

	node->fixture = fixture;
	node->fd = -1;
	node_init(&node->node, names[index], index);
	assert_int_equal(address_parse(address, "127.0.0.1:0", &why), 0);
	node->listener = address_listen(address, 16, 0600);
	assert_true(node->listener >= 0);
	address->len = sizeof(address->storage);
	assert_int_equal(getsockname(node->listener, (struct sockaddr *)&address->storage, &address->len), 0);
	ev_io_init(&node->acceptable, on_acceptable, node->listener, EV_READ);
	node->acceptable.data = node;
	ev_io_start(fixture->loop, &node->acceptable);
}

/* --- the continuation's owner --- */

static const struct node *on_choose(void *context, node_set asked)
{
	struct fixture *fixture = context;

	for (size_t i = 0; i < fixture->node_count; i++)
		if (!(asked & node_bit(&fixture->nodes[i].node)))
			return &fixture->nodes[i].node;
	return NULL;
}

static int on_offer(void *context, const struct node *node, const struct control_offer *offer)
{
	struct fixture *fixture = context;
	struct fake_node *fake = &fixture->nodes[node->index];

	fixture->offers++;
	assert_int_equal(offer->direct_min, 0);
	assert_int_equal(offer->continuation_offset + offer->continuation_length, OFFSET + LENGTH);
	assert_memory_equal(offer->continuation_etag.data, ETAG, sizeof(ETAG) - 1);
	if (fake->refuses)
		return -1;
	fake->offer = *offer;
	return 0;
}

static void on_collected(void *context)
{
	struct fixture *fixture = context;
	size_t len;
	const uint8_t *bytes = continuation_collected(fixture->continuation, &len);

	fixture->collected++;
	for (size_t i = 0; i < len; i++)
		assert_int_equal(bytes[i], byte_at(fixture->expected++));
	assert_int_equal(continuation_position(fixture->continuation), fixture->expected);
	if (fixture->frees) {
		continuation_free(fixture->continuation);
		fixture->continuation = NULL;
	} else if (fixture->writes) {
		continuation_write(fixture->continuation, fixture->agent);
	}
}

static void on_ended(void *context, enum continuation_end end, const char *fault)
{
	struct fixture *fixture = context;

	fixture->ended++;
	fixture->end = end;
	(void)snprintf(fixture->fault, sizeof(fixture->fault), "%s", fault ? fault : "");
	continuation_free(fixture->continuation);
	fixture->continuation = NULL;
}

static const struct continuation_handlers handlers = {on_choose, on_offer, on_collected, on_ended};

/* --- scenes --- */

static void open_fixture(struct fixture *fixture, size_t nodes)
{
	struct control_offer offer = {.state = {.tls_minor = 4, .suite = 0x1301, .key_len = 16, .seq = 1}};
	const uint64_t records = (LENGTH + RECORD_PLAIN_MAX - 1) / RECORD_PLAIN_MAX;
	const struct announcement announcement = {.kind = ANNOUNCEMENT_DIRECT,
						  .seq = 1,
						  .records = records,
						  .length = LENGTH,
						  .status = OFFSET ? 206 : 200,
						  .first = OFFSET,
						  .etag = ETAG};
	struct handoff_message parked = {.bytes = LENGTH + 22 * records, .target = "/a", .target_len = 2};
	char text[ANNOUNCEMENT_TEXT_MAX];
	int ends[2];

	*fixture = (struct fixture){
		.loop = ev_loop_new(EVFLAG_AUTO), .leases = lease_store_new(), .writes = true, .read_max = 65536};
	offer.state.aead = TX_AEAD_AES_GCM;
	offer.host = TEXT("www.example");
	offer.target = TEXT("/a");
	assert_int_equal(handoff_body_init(&fixture->body, fixture->leases, &offer), 0);
	parked.announcement = text;
	parked.announcement_len = announcement_format(text, &announcement, offer.state.proof_key);
	assert_null(handoff_body_announce(&fixture->body, &parked));
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends), 0);
	fixture->client = ends[0];
	fixture->agent = ends[1];
	while (fixture->node_count < nodes)
		add_node(fixture);
}

static void close_fixture(struct fixture *fixture)
{
	continuation_free(fixture->continuation);
	for (size_t i = 0; i < fixture->node_count; i++) {
		hang_up(&fixture->nodes[i]);
		ev_io_stop(fixture->loop, &fixture->nodes[i].acceptable);
		(void)close(fixture->nodes[i].listener);
	}
	if (fixture->client >= 0)
		(void)close(fixture->client);
	(void)close(fixture->agent);
	handoff_body_release(&fixture->body);
	lease_store_free(fixture->leases);
	ev_loop_destroy(fixture->loop);
}

static void start(struct fixture *fixture, uint64_t from, size_t apart)
{
	fixture->expected = from;
	fixture->continuation = continuation_start(fixture->loop, &fixture->body, from, apart,
						   apart ? -1 : fixture->agent, &handlers, fixture);
	assert_non_null(fixture->continuation);
}

static bool read_client(struct fixture *fixture)
{
	uint8_t bytes[65536];
	ssize_t got = recv(fixture->client, bytes, fixture->read_max, MSG_DONTWAIT);

	for (ssize_t i = 0; i < got; i++)
		assert_int_equal(bytes[i], byte_at(fixture->expected++));
	return got > 0;
}

static void on_client_readable(struct ev_loop *loop, ev_io *watcher, int events)
{
	(void)loop;
	(void)events;
	(void)read_client(watcher->data);
}

/* Runs until the end, while the client reads; then it reads what is left. */
static void finish(struct fixture *fixture)
{
	ev_io_init(&fixture->client_readable, on_client_readable, fixture->client, EV_READ);
	fixture->client_readable.data = fixture;
	if (fixture->client >= 0)
		ev_io_start(fixture->loop, &fixture->client_readable);
	while (!fixture->ended)
		(void)ev_run(fixture->loop, EVRUN_ONCE);
	ev_io_stop(fixture->loop, &fixture->client_readable);
	while (read_client(fixture))
		;
	assert_int_equal(fixture->ended, 1);
}

static void assert_whole(struct fixture *fixture)
{
	assert_int_equal(fixture->end, CONTINUATION_DONE);
	assert_int_equal(fixture->expected, fixture->body.layout.ciphertext);
	close_fixture(fixture);
}

static void the_client_gets_all_from_the_byte_asked_for(void **state)
{
	static const uint64_t from[] = {0, 1, RECORD_PLAIN_MAX + 21, RECORD_PLAIN_MAX + 22, 70001};
	struct fixture fixture;

	(void)state;
	for (size_t i = 0; i < sizeof(from) / sizeof(from[0]); i++) {
		open_fixture(&fixture, 1);
		start(&fixture, from[i], 0);
		finish(&fixture);
		assert_int_equal(fixture.offers, 1);
		assert_int_equal(fixture.collected, 0);
		assert_whole(&fixture);
	}
	open_fixture(&fixture, 1);
	start(&fixture, fixture.body.layout.ciphertext - 1, 0);
	finish(&fixture);
	assert_whole(&fixture);
}

static void another_node_goes_on_where_one_fails(void **state)
{
	struct fixture fixture;

	(void)state;
	open_fixture(&fixture, 3);
	fixture.nodes[0].breaks = 20000;
	fixture.nodes[1].breaks = 1;
	start(&fixture, 5, 0);
	finish(&fixture);
	assert_int_equal(fixture.offers, 3);
	assert_whole(&fixture);
}

static void a_node_that_takes_no_offer_or_announces_otherwise_gives_nothing(void **state)
{
	struct fixture fixture;

	(void)state;
	open_fixture(&fixture, 3);
	fixture.nodes[0].refuses = true;
	fixture.nodes[1].lies = true;
	start(&fixture, 0, 0);
	finish(&fixture);
	assert_int_equal(fixture.offers, 3);
	assert_whole(&fixture);
}

static void without_a_node_that_can_it_ends_and_says_why(void **state)
{
	struct fixture fixture;

	(void)state;
	open_fixture(&fixture, 0);
	start(&fixture, 0, 0);
	finish(&fixture);
	assert_int_equal(fixture.end, CONTINUATION_NODE);
	assert_string_equal(fixture.fault, "no other node of its pool is ready");
	close_fixture(&fixture);

	open_fixture(&fixture, 2);
	fixture.nodes[0].breaks = 30000;
	fixture.nodes[1].refuses = true;
	start(&fixture, 0, 0);
	finish(&fixture);
	assert_int_equal(fixture.end, CONTINUATION_NODE);
	assert_string_equal(fixture.fault, "node n2 cannot be asked");
	assert_int_equal(fixture.expected, 30000);
	close_fixture(&fixture);
}

static void a_client_that_reads_slowly_gets_all_of_it(void **state)
{
	struct fixture fixture;
	int size = 4096;

	(void)state;
	open_fixture(&fixture, 2);
	assert_int_equal(setsockopt(fixture.agent, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size)), 0);
	fixture.nodes[0].breaks = 50000;
	start(&fixture, 3, 0);
	fixture.read_max = 1500;
	finish(&fixture);
	assert_whole(&fixture);
}

static void a_client_that_is_gone_ends_it(void **state)
{
	struct fixture fixture;

	(void)state;
	open_fixture(&fixture, 2);
	(void)close(fixture.client);
	fixture.client = -1;
	start(&fixture, 0, 0);
	finish(&fixture);
	assert_int_equal(fixture.end, CONTINUATION_CLIENT);
	assert_int_equal(fixture.offers, 1);
	close_fixture(&fixture);
}

static void what_is_collected_apart_is_not_written(void **state)
{
	static const size_t apart[] = {1, 30000, 65536, 100000};
	struct fixture fixture;

	(void)state;
	for (size_t i = 0; i < sizeof(apart) / sizeof(apart[0]); i++) {
		open_fixture(&fixture, 2);
		fixture.nodes[0].breaks = 25000; /* the other collects the rest */
		start(&fixture, 7, apart[i]);
		finish(&fixture);
		assert_int_equal(fixture.collected, 1);
		assert_whole(&fixture);
	}
	/* All that there is. */
	open_fixture(&fixture, 1);
	start(&fixture, 7, (size_t)fixture.body.layout.ciphertext - 7);
	finish(&fixture);
	assert_int_equal(fixture.collected, 1);
	assert_whole(&fixture);
}

static void nothing_is_written_before_its_owner_says_where(void **state)
{
	struct fixture fixture;

	(void)state;
	open_fixture(&fixture, 1);
	fixture.writes = false;
	start(&fixture, 0, 10);
	while (!fixture.collected)
		(void)ev_run(fixture.loop, EVRUN_ONCE);
	for (int i = 0; i < 20; i++)
		(void)ev_run(fixture.loop, EVRUN_NOWAIT);
	assert_int_equal(continuation_position(fixture.continuation), 10);
	assert_int_equal(fixture.collected, 1);
	continuation_write(fixture.continuation, fixture.agent);
	finish(&fixture);
	assert_whole(&fixture);
}

static void its_owner_may_end_it_when_all_is_collected(void **state)
{
	struct fixture fixture;

	(void)state;
	open_fixture(&fixture, 1);
	fixture.frees = true;
	start(&fixture, 0, 1000);
	while (!fixture.collected)
		(void)ev_run(fixture.loop, EVRUN_ONCE);
	assert_null(fixture.continuation);
	assert_int_equal(fixture.ended, 0);
	close_fixture(&fixture);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_client_gets_all_from_the_byte_asked_for),
		cmocka_unit_test(another_node_goes_on_where_one_fails),
		cmocka_unit_test(a_node_that_takes_no_offer_or_announces_otherwise_gives_nothing),
		cmocka_unit_test(without_a_node_that_can_it_ends_and_says_why),
		cmocka_unit_test(a_client_that_reads_slowly_gets_all_of_it),
		cmocka_unit_test(a_client_that_is_gone_ends_it),
		cmocka_unit_test(what_is_collected_apart_is_not_written),
		cmocka_unit_test(nothing_is_written_before_its_owner_says_where),
		cmocka_unit_test(its_owner_may_end_it_when_all_is_collected),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

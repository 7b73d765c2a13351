/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Guards: frames arrive whole, in order and unchanged; bounds hold; whatever a peer does below or above TLS ends in one
 * closed() with a reason; a channel may be closed inside every handler. */
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "channel.h"
#include "channel_fixture.h"
#include "channel_tls.h"

static char folder[64];
static struct channel_tls *agent_tls, *node_tls;
static const char *const agent_names[] = {"nobody.test", "Agent.Test", NULL};
static const char *const node_names[] = {"node.test", NULL};

static int make_credentials(void **state)
{
	(void)state;
	if (certificates_make(folder) < 0)
		return -1;
	agent_tls = credentials(folder, "ca", "agent");
	node_tls = credentials(folder, "ca", "node");
	return 0;
}

static int remove_credentials(void **state)
{
	(void)state;
	channel_tls_free(agent_tls);
	channel_tls_free(node_tls);
	certificates_remove(folder);
	return 0;
}

/* Agent (client) and node (server) on one loop. */
struct pair {
	struct ev_loop *loop;
	struct acceptor acceptor;
	struct end agent, node;
};

static int pair_setup(void **state)
{
	struct pair *pair = calloc(1, sizeof(*pair));

	pair->loop = ev_loop_new(EVFLAG_AUTO);
	assert_non_null(pair->loop);
	acceptor_open(&pair->acceptor, pair->loop, "127.0.0.1:0", node_tls, agent_names, &pair->node);
	*state = pair;
	return 0;
}

static int pair_teardown(void **state)
{
	struct pair *pair = *state;

	if (pair->agent.channel)
		channel_close(pair->agent.channel, "test is over");
	if (pair->node.channel)
		channel_close(pair->node.channel, "test is over");
	acceptor_close(&pair->acceptor);
	ev_loop_destroy(pair->loop);
	free(pair);
	return 0;
}

static bool pair_is_open(void *data)
{
	struct pair *pair = data;

	return pair->agent.opened && pair->node.opened;
}

static bool pair_is_closed(void *data)
{
	struct pair *pair = data;

	return pair->agent.closed && pair->node.closed;
}

static void pair_connect(struct pair *pair)
{
	pair->agent.channel = channel_connect(pair->loop, agent_tls, &pair->acceptor.address, node_names, &end_handlers,
					      &pair->agent);
	assert_non_null(pair->agent.channel);
}

static void pair_open(struct pair *pair)
{
	pair_connect(pair);
	run_until(pair->loop, pair_is_open, pair, "both ends are open");
	assert_string_equal(pair->agent.peer_name, "node.test");
	assert_string_equal(pair->node.peer_name, "Agent.Test");
}

static void echo(struct end *end, const uint8_t *frame, size_t len)
{
	assert_int_equal(channel_send(end->channel, frame, len), 0);
}

/* --- frames --- */

static bool has_frame(void *end)
{
	return ((struct end *)end)->frames > 0;
}

static void keep_frame(struct end *end, const uint8_t *frame, size_t len)
{
	end->data = malloc(len);
	memcpy(end->data, frame, len);
}

static void largest_and_smallest_frame_come_back_unchanged(void **state)
{
	struct pair *pair = *state;
	static uint8_t frame[CHANNEL_FRAME_MAX];

	pair->node.on_frame = echo;
	pair->agent.on_frame = keep_frame;
	pair_open(pair);
	for (size_t i = 0; i < sizeof(frame); i++)
		frame[i] = (uint8_t)(i * 7 + i / 251);
	for (size_t len = sizeof(frame); len; len = len == 1 ? 0 : 1) {
		pair->agent.frames = pair->agent.bytes = 0;
		assert_int_equal(channel_send(pair->agent.channel, frame, len), 0);
		run_until(pair->loop, has_frame, &pair->agent, "the frame comes back");
		assert_int_equal(pair->agent.bytes, len);
		assert_memory_equal(pair->agent.data, frame, len);
		free(pair->agent.data);
	}
}

#define MANY_FRAMES 10000u

/* Length and content of the <number>th frame of a long run. */
static size_t numbered_frame(uint8_t frame[static 700], size_t number)
{
	size_t len = 4 + number * 37 % 600;

	memset(frame, (int)(number % 256), len);
	memcpy(frame, &(uint32_t){(uint32_t)number}, 4);
	return len;
}

static void expect_next_number(struct end *end, const uint8_t *frame, size_t len)
{
	uint8_t expected[700];

	assert_int_equal(numbered_frame(expected, end->frames - 1), len);
	assert_memory_equal(frame, expected, len);
}

static bool has_many(void *end)
{
	return ((struct end *)end)->frames == MANY_FRAMES;
}

static void ten_thousand_frames_come_back_in_order(void **state)
{
	struct pair *pair = *state;
	uint8_t frame[700];

	pair->node.on_frame = echo;
	pair->agent.on_frame = expect_next_number;
	pair_open(pair);
	for (size_t i = 0; i < MANY_FRAMES; i++) {
		size_t len = numbered_frame(frame, i);

		assert_int_equal(channel_send(pair->agent.channel, frame, len), 0);
		if (i % 1000 == 0)
			(void)ev_run(pair->loop, EVRUN_NOWAIT);
	}
	run_until(pair->loop, has_many, &pair->agent, "all frames come back");
}

static void unix_sockets_carry_channels_too(void **state)
{
	struct pair *pair = *state;
	char where[128];

	acceptor_close(&pair->acceptor);
	(void)snprintf(where, sizeof(where), "unix:%s/socket", folder);
	acceptor_open(&pair->acceptor, pair->loop, where, node_tls, agent_names, &pair->node);
	pair->node.on_frame = echo;
	pair_open(pair);
	assert_string_equal(channel_peer(pair->agent.channel), where);
	assert_int_equal(channel_send(pair->agent.channel, (const uint8_t *)"x", 1), 0);
	run_until(pair->loop, has_frame, &pair->agent, "the frame comes back");
}

/* --- bounds --- */

static void frames_out_of_bounds_are_not_sent(void **state)
{
	struct pair *pair = *state;
	static uint8_t frame[CHANNEL_FRAME_MAX + 1];

	pair_connect(pair);
	assert_int_equal(channel_send(pair->agent.channel, frame, 1), -1);
	run_until(pair->loop, pair_is_open, pair, "both ends are open");
	assert_int_equal(channel_send(pair->agent.channel, frame, sizeof(frame)), -1);
	assert_int_equal(channel_send(pair->agent.channel, frame, 0), -1);
	assert_int_equal(channel_send(pair->agent.channel, frame, 1), 0);
	run_until(pair->loop, has_frame, &pair->node, "the good frame arrives");
	assert_int_equal(pair->node.bytes, 1);
}

static bool has_all_queued(void *data)
{
	struct pair *pair = data;

	return pair->node.frames == *(size_t *)pair->agent.data;
}

static void full_queue_refuses_and_then_drains(void **state)
{
	struct pair *pair = *state;
	static uint8_t frame[60000];
	size_t queued = 0;

	pair->agent.data = &queued;
	pair_open(pair);
	while (channel_send(pair->agent.channel, frame, sizeof(frame)) == 0)
		queued++;
	assert_int_equal(queued, CHANNEL_QUEUE_MAX / (sizeof(frame) + 4));
	run_until(pair->loop, has_all_queued, pair, "what was queued arrives");
	assert_int_equal(pair->node.bytes, queued * sizeof(frame));
	assert_int_equal(channel_send(pair->agent.channel, frame, sizeof(frame)), 0);
}

/* --- peers that are no channels --- */

static void garbage_instead_of_tls_closes_with_a_reason(void **state)
{
	struct pair *pair = *state;
	static const char garbage[] = "GET / HTTP/1.1\r\nHost: node.test\r\n\r\n";
	int fd = connect_raw(&pair->acceptor);

	assert_int_equal(write(fd, garbage, sizeof(garbage)), sizeof(garbage));
	run_until(pair->loop, end_is_closed, &pair->node, "the node closes");
	assert_false(pair->node.opened);
	assert_non_null(strstr(pair->node.reason, "TLS with 127.0.0.1:"));
	(void)close(fd);
}

static void peer_that_hangs_up_early_closes_with_a_reason(void **state)
{
	struct pair *pair = *state;
	int fd = connect_raw(&pair->acceptor);

	(void)close(fd);
	run_until(pair->loop, end_is_closed, &pair->node, "the node closes");
	assert_non_null(strstr(pair->node.reason, "closed the connection during the TLS handshake"));
}

static void silent_peer_is_closed_after_the_handshake_time(void **state)
{
	struct pair *pair = *state;
	int fd = connect_raw(&pair->acceptor);
	ev_tstamp begun = ev_time();

	run_until(pair->loop, end_is_closed, &pair->node, "the node closes");
	assert_non_null(strstr(pair->node.reason, "did not finish the TLS handshake in time"));
	assert_true(ev_time() - begun >= CHANNEL_HANDSHAKE_S - 0.1);
	(void)close(fd);
}

static void refused_connection_closes_from_the_loop(void **state)
{
	struct pair *pair = *state;
	struct address nobody = pair->acceptor.address;

	/* The port of a socket that is bound and does not listen is refused, and nobody else can get it meanwhile. */
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	((struct sockaddr_in *)&nobody.storage)->sin_port = 0;
	assert_int_equal(bind(fd, (struct sockaddr *)&nobody.storage, nobody.len), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&nobody.storage, &nobody.len), 0);
	pair->agent.channel = channel_connect(pair->loop, agent_tls, &nobody, node_names, &end_handlers, &pair->agent);
	assert_non_null(pair->agent.channel);
	assert_int_equal(pair->agent.closed, 0);
	run_until(pair->loop, end_is_closed, &pair->agent, "the agent closes");
	assert_non_null(strstr(pair->agent.reason, "Connection refused"));
	(void)close(fd);
}

static void missing_unix_socket_closes_from_the_loop(void **state)
{
	struct pair *pair = *state;
	struct address nobody;
	const char *why;

	assert_int_equal(address_parse(&nobody, "unix:/nonexistent/socket", &why), 0);
	pair->agent.channel = channel_connect(pair->loop, agent_tls, &nobody, node_names, &end_handlers, &pair->agent);
	assert_non_null(pair->agent.channel);
	assert_int_equal(pair->agent.closed, 0);
	run_until(pair->loop, end_is_closed, &pair->agent, "the agent closes");
	assert_non_null(strstr(pair->agent.reason, "No such file"));
}

/* --- peers with good certificates and bad frames --- */

/* An agent that writes what it likes into a good TLS session. */
struct forger {
	struct channel_tls_session *session;
	int fd;
};

static void forger_open(struct forger *forger, struct pair *pair)
{
	enum channel_tls_status status;

	forger->fd = connect_raw(&pair->acceptor);
	assert_int_equal(fcntl(forger->fd, F_SETFL, O_NONBLOCK), 0);
	forger->session = channel_tls_session_new(agent_tls, CHANNEL_TLS_CLIENT, forger->fd);
	assert_non_null(forger->session);
	while ((status = channel_tls_handshake(forger->session)) != CHANNEL_TLS_DONE) {
		assert_int_not_equal(status, CHANNEL_TLS_FAILED);
		(void)ev_run(pair->loop, EVRUN_NOWAIT);
	}
	run_until(pair->loop, end_is_open, &pair->node, "the node is open");
}

static void forger_write(struct forger *forger, struct pair *pair, const void *bytes, size_t len)
{
	enum channel_tls_status status;

	while ((status = channel_tls_write(forger->session, bytes, len)) != CHANNEL_TLS_DONE) {
		assert_int_equal(status, CHANNEL_TLS_WANT_WRITE);
		(void)ev_run(pair->loop, EVRUN_NOWAIT);
	}
}

static void forger_close(struct forger *forger)
{
	channel_tls_session_free(forger->session, false);
	(void)close(forger->fd);
}

static void frame_longer_than_allowed_closes_with_a_reason(void **state)
{
	struct pair *pair = *state;
	struct forger forger;

	forger_open(&forger, pair);
	forger_write(&forger, pair, "\x00\x01\x00\x01x", 5);
	run_until(pair->loop, end_is_closed, &pair->node, "the node closes");
	assert_non_null(strstr(pair->node.reason, "more than 65536 bytes"));
	assert_int_equal(pair->node.frames, 0);
	forger_close(&forger);
}

static void empty_frame_closes_with_a_reason(void **state)
{
	struct pair *pair = *state;
	struct forger forger;

	forger_open(&forger, pair);
	forger_write(&forger, pair, "\x00\x00\x00\x01x\x00\x00\x00\x00", 9);
	run_until(pair->loop, end_is_closed, &pair->node, "the node closes");
	assert_non_null(strstr(pair->node.reason, "empty frame"));
	assert_int_equal(pair->node.frames, 1);
	forger_close(&forger);
}

static bool has_two_frames(void *end)
{
	return ((struct end *)end)->frames == 2;
}

static void frames_may_be_cut_anywhere(void **state)
{
	struct pair *pair = *state;
	static const char bytes[] = "\x00\x00\x00\x03one\x00\x00\x00\x05three";
	struct forger forger;

	forger_open(&forger, pair);
	for (size_t i = 0; i < sizeof(bytes) - 1; i++) {
		forger_write(&forger, pair, bytes + i, 1);
		(void)ev_run(pair->loop, EVRUN_NOWAIT);
	}
	run_until(pair->loop, has_two_frames, &pair->node, "two frames arrive");
	assert_int_equal(pair->node.bytes, 8);
	forger_close(&forger);
}

#define BURST 200u /* records: far more than are taken at a time */

static bool has_burst(void *end)
{
	return ((struct end *)end)->frames == BURST;
}

/* They come out of the socket with one call, so nothing but the channel itself knows of those that wait for their turn. */
static void records_that_arrive_together_are_all_delivered(void **state)
{
	struct pair *pair = *state;
	struct forger forger;

	forger_open(&forger, pair);
	for (unsigned i = 0; i < BURST; i++)
		forger_write(&forger, pair, "\x00\x00\x00\x01x", 5);
	run_until(pair->loop, has_burst, &pair->node, "all frames arrive");
	assert_int_equal(pair->node.bytes, BURST);
	forger_close(&forger);
}

static void peer_that_hangs_up_later_closes_with_a_reason(void **state)
{
	struct pair *pair = *state;
	struct forger forger;

	forger_open(&forger, pair);
	forger_close(&forger);
	run_until(pair->loop, end_is_closed, &pair->node, "the node closes");
	assert_non_null(strstr(pair->node.reason, "closed the connection"));
	assert_int_equal(pair->node.closed, 1);
}

/* --- closing inside handlers --- */

static void close_here(struct end *end)
{
	channel_close(end->channel, "closed in opened()");
}

static void close_on_frame(struct end *end, const uint8_t *frame, size_t len)
{
	(void)frame;
	(void)len;
	channel_close(end->channel, "closed in received()");
}

static void closing_in_opened_is_safe(void **state)
{
	struct pair *pair = *state;

	pair->agent.on_opened = close_here;
	pair->node.on_opened = close_here;
	pair_connect(pair);
	run_until(pair->loop, pair_is_closed, pair, "both ends close");
	assert_int_equal(pair->agent.closed, 1);
	assert_int_equal(pair->node.closed, 1);
	assert_string_equal(pair->agent.reason, "closed in opened()");
}

static void closing_in_received_drops_the_frames_behind(void **state)
{
	struct pair *pair = *state;

	pair->node.on_frame = close_on_frame;
	pair_open(pair);
	for (int i = 0; i < 3; i++)
		assert_int_equal(channel_send(pair->agent.channel, (const uint8_t *)"frame", 5), 0);
	run_until(pair->loop, pair_is_closed, pair, "both ends close");
	assert_int_equal(pair->node.frames, 1);
	assert_string_equal(pair->node.reason, "closed in received()");
	assert_non_null(strstr(pair->agent.reason, "closed the connection"));
}

static void frame_sent_right_before_closing_arrives(void **state)
{
	struct pair *pair = *state;

	pair_open(pair);
	assert_int_equal(channel_send(pair->agent.channel, (const uint8_t *)"last", 4), 0);
	channel_close(pair->agent.channel, "done");
	assert_int_equal(pair->agent.closed, 1);
	run_until(pair->loop, end_is_closed, &pair->node, "the node closes");
	assert_int_equal(pair->node.bytes, 4);
}

static void closing_while_connecting_is_safe(void **state)
{
	struct pair *pair = *state;

	pair_connect(pair);
	channel_close(pair->agent.channel, "changed its mind");
	assert_int_equal(pair->agent.closed, 1);
	assert_string_equal(pair->agent.reason, "changed its mind");
	run_until(pair->loop, end_is_closed, &pair->node, "the node notices");
}

/* --- from one loop to another --- */

static void depart_on_frame(struct end *end, const uint8_t *frame, size_t len)
{
	assert_int_equal(len, 5);
	assert_memory_equal(frame, "leave", 5);
	channel_depart(end->channel);
}

static bool has_departed(void *end)
{
	return ((struct end *)end)->departed;
}

static bool node_has_four(void *data)
{
	struct pair *pair = data;

	(void)ev_run(pair->loop, EVRUN_NOWAIT);
	return pair->node.frames == 4;
}

static bool agent_has_four(void *data)
{
	struct pair *pair = data;

	(void)ev_run(pair->loop, EVRUN_NOWAIT);
	return pair->agent.frames == 4;
}

static void on_turn(struct ev_loop *loop, ev_timer *timer, int events)
{
	(void)loop;
	(void)timer;
	(void)events;
}

/* All in one record, so that those behind are in the channel when it leaves. <close>: it is closed on its way. */
static void travel(struct pair *pair, bool close)
{
	struct ev_loop *to = ev_loop_new(EVFLAG_AUTO);
	ev_timer turns; /* of the second loop, so that the first one has its turns too */
	static const char *const frames[] = {"leave", "one", "two", "three"};

	pair->node.on_frame = depart_on_frame;
	ev_timer_init(&turns, on_turn, 0.001, 0.001);
	ev_timer_start(to, &turns);
	pair_open(pair);
	for (size_t i = 0; i < 4; i++)
		assert_int_equal(channel_send(pair->agent.channel, (const uint8_t *)frames[i], strlen(frames[i])), 0);
	run_until(pair->loop, has_departed, &pair->node, "the channel leaves");
	assert_int_equal(pair->node.frames, 1);
	if (close) {
		channel_close(pair->node.channel, "closed on its way");
		run_until(pair->loop, end_is_closed, &pair->agent, "the peer notices");
		assert_int_equal(pair->node.closed, 1);
	} else {
		pair->node.on_frame = echo;
		channel_arrive(pair->node.channel, to, &end_handlers, &pair->node);
		run_until(to, node_has_four, pair, "the frames behind arrive");
		assert_int_equal(channel_send(pair->node.channel, (const uint8_t *)"here", 4), 0);
		run_until(to, agent_has_four, pair, "what it says leaves");
		channel_close(pair->node.channel, "test is over");
	}
	ev_timer_stop(to, &turns);
	ev_loop_destroy(to);
}

static void a_channel_goes_on_in_another_loop(void **state)
{
	travel(*state, false);
}

static void a_channel_may_be_closed_between_two_loops(void **state)
{
	travel(*state, true);
}

#define channel_case(name) cmocka_unit_test_setup_teardown(name, pair_setup, pair_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		channel_case(a_channel_goes_on_in_another_loop),
		channel_case(a_channel_may_be_closed_between_two_loops),
		channel_case(garbage_instead_of_tls_closes_with_a_reason),
		channel_case(peer_that_hangs_up_early_closes_with_a_reason),
		channel_case(silent_peer_is_closed_after_the_handshake_time),
		channel_case(refused_connection_closes_from_the_loop),
		channel_case(missing_unix_socket_closes_from_the_loop),
		channel_case(frame_longer_than_allowed_closes_with_a_reason),
		channel_case(empty_frame_closes_with_a_reason),
		channel_case(frames_may_be_cut_anywhere),
		channel_case(records_that_arrive_together_are_all_delivered),
		channel_case(peer_that_hangs_up_later_closes_with_a_reason),
		channel_case(frames_out_of_bounds_are_not_sent),
		channel_case(full_queue_refuses_and_then_drains),
		channel_case(largest_and_smallest_frame_come_back_unchanged),
		channel_case(ten_thousand_frames_come_back_in_order),
		channel_case(unix_sockets_carry_channels_too),
		channel_case(closing_in_opened_is_safe),
		channel_case(closing_in_received_drops_the_frames_behind),
		channel_case(frame_sent_right_before_closing_arrives),
		channel_case(closing_while_connecting_is_safe),
	};

	return cmocka_run_group_tests(tests, make_credentials, remove_credentials);
}

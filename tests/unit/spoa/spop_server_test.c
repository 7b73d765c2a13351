/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Guards: what a connection of HAProxy gets as answers, over a real socket: one ACK for each NOTIFY whatever arrives
 * together or in pieces, a status for each fault, and a farewell when the agent ends. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "spop_server.h"

#define PATIENCE_S 90.0 /* a condition that does not come true by then fails the test */

struct fixture {
	char folder[64], path[96];
	struct ev_loop *loop;
	struct spoa_metrics metrics;
	struct listener listener;
	struct spop_shared shared;
	struct spop_service service;
	struct spop_server *server;
	unsigned drained;
};

/* HAProxy's side. */
struct client {
	int fd;
	uint8_t in[1 << 20];
	size_t len, wanted;
	bool ended;
};

static struct client client_memory;

static void look_again(struct ev_loop *loop, ev_timer *timer, int events)
{
	(void)loop;
	(void)timer;
	(void)events;
}

static void patience_ended(struct ev_loop *loop, ev_timer *timer, int events)
{
	(void)events;
	timer->data = NULL;
	ev_break(loop, EVBREAK_ALL);
}

/* Runs <loop> until <condition> holds for <data>. */
static void wait_for(struct ev_loop *loop, bool (*condition)(void *data), void *data, const char *what)
{
	ev_timer patience, poll;

	ev_timer_init(&patience, patience_ended, PATIENCE_S, 0.);
	/* The client's side is no watcher of the loop: look at it often. */
	ev_timer_init(&poll, look_again, 0.001, 0.001);
	patience.data = &patience;
	ev_now_update(loop);
	ev_timer_start(loop, &patience);
	ev_timer_start(loop, &poll);
	while (!condition(data) && patience.data)
		(void)ev_run(loop, EVRUN_ONCE);
	ev_timer_stop(loop, &patience);
	ev_timer_stop(loop, &poll);
	if (!condition(data))
		fail_msg("in %.0f s it did not happen: %s", PATIENCE_S, what);
}

static enum spop_status answer(void *context, const struct spop_frame *frame, struct spop_writer *ack)
{
	(void)context;
	if (frame->payload.len && frame->payload.data[0] == '!')
		return SPOP_STATUS_INVALID;
	spop_ack_set_text(ack, SPOP_SCOPE_TRANSACTION, "action", "pass");
	return SPOP_STATUS_NORMAL;
}

static void drained(void *context)
{
	((struct fixture *)context)->drained++;
}

static int open_server(void **state)
{
	const struct listener_owner owner = {0600, (uid_t)-1, (gid_t)-1};
	struct fixture *fixture = calloc(1, sizeof(*fixture));
	struct address address;
	char where[128];
	const char *why;

	*state = fixture;
	(void)strcpy(fixture->folder, "/tmp/disc-spop-XXXXXX");
	if (!fixture || !mkdtemp(fixture->folder))
		return -1;
	(void)snprintf(fixture->path, sizeof(fixture->path), "%s/s", fixture->folder);
	(void)snprintf(where, sizeof(where), "unix:%s", fixture->path);
	fixture->loop = ev_loop_new(EVFLAG_AUTO);
	if (!fixture->loop || spoa_metrics_init(&fixture->metrics, NULL, 0) < 0 ||
	    address_parse(&address, where, &why) < 0 || listener_open(&fixture->listener, &address, &owner, 1) < 0)
		return -1;
	fixture->shared.listeners = &fixture->listener;
	fixture->shared.listener_count = 1;
	fixture->shared.max_frame_size = SPOP_FRAME_SIZE_MAX;
	fixture->shared.max_connections = 2;
	fixture->shared.metrics = &fixture->metrics;
	fixture->service = (struct spop_service){answer, drained, fixture};
	fixture->server = spop_server_new(fixture->loop, &fixture->shared, &fixture->service);
	return fixture->server ? 0 : -1;
}

static int close_server(void **state)
{
	struct fixture *fixture = *state;

	spop_server_free(fixture->server);
	assert_int_equal(atomic_load(&fixture->shared.connections), 0);
	assert_int_equal(fixture->listener.fd, -1);
	spoa_metrics_release(&fixture->metrics);
	ev_loop_destroy(fixture->loop);
	(void)unlink(fixture->path);
	(void)rmdir(fixture->folder);
	free(fixture);
	return 0;
}

static int64_t metric_of(struct fixture *fixture, enum spoa_metric id)
{
	return atomic_load(&fixture->metrics.all[id].value);
}

static int connect_to(const struct fixture *fixture)
{
	struct address address;
	char where[128];
	const char *why;
	int fd;

	(void)snprintf(where, sizeof(where), "unix:%s", fixture->path);
	assert_int_equal(address_parse(&address, where, &why), 0);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_true(fd >= 0);
	assert_int_equal(connect(fd, (const struct sockaddr *)&address.storage, address.len), 0);
	assert_int_equal(fcntl(fd, F_SETFL, O_NONBLOCK), 0);
	return fd;
}

static struct client *connect_client(const struct fixture *fixture)
{
	client_memory.fd = connect_to(fixture);
	client_memory.len = 0;
	client_memory.ended = false;
	return &client_memory;
}

static void say(const struct client *client, const void *bytes, size_t len)
{
	assert_int_equal(send(client->fd, bytes, len, MSG_NOSIGNAL), len);
}

/* Takes what has come; true when there is as much as wanted, or the end. */
static bool heard(void *data)
{
	struct client *client = data;
	ssize_t got;

	while ((got = recv(client->fd, client->in + client->len, sizeof(client->in) - client->len, 0)) > 0)
		client->len += (size_t)got;
	if (got == 0 || (errno != EAGAIN && errno != EWOULDBLOCK))
		client->ended = true;
	return client->len >= client->wanted || client->ended;
}

static void hear(struct fixture *fixture, struct client *client, size_t bytes)
{
	client->wanted = bytes;
	wait_for(fixture->loop, heard, client, "an answer comes");
	assert_true(client->len >= bytes);
}

static void hear_end(struct fixture *fixture, struct client *client)
{
	client->wanted = sizeof(client->in);
	wait_for(fixture->loop, heard, client, "the connection ends");
	assert_true(client->ended);
}

static bool no_connections(void *data)
{
	return spop_server_connections(((struct fixture *)data)->server) == 0;
}

static void hang_up(struct fixture *fixture, struct client *client)
{
	assert_int_equal(close(client->fd), 0);
	wait_for(fixture->loop, no_connections, fixture, "the connection is gone");
}

/* Builds a frame of <type> in <out>; returns its length with the prefix. */
static size_t build(uint8_t *out, uint8_t type, uint32_t flags, unsigned stream, unsigned frame, const void *payload,
		    size_t len)
{
	const uint8_t head[] = {type, (uint8_t)(flags >> 24), (uint8_t)(flags >> 16), (uint8_t)(flags >> 8),
				(uint8_t)flags};
	struct spop_writer writer = {out, out + SPOP_PREFIX_LEN, out + 65536, false};

	spop_write_bytes(&writer, head, sizeof(head));
	spop_write_varint(&writer, stream);
	spop_write_varint(&writer, frame);
	spop_write_bytes(&writer, payload, len);
	len = (size_t)(writer.p - out) - SPOP_PREFIX_LEN;
	out[0] = out[1] = 0;
	out[2] = (uint8_t)(len >> 8);
	out[3] = (uint8_t)len;
	return len + SPOP_PREFIX_LEN;
}

static size_t build_hello(uint8_t *out, uint32_t max_frame_size, bool healthcheck)
{
	uint8_t payload[256];
	struct spop_writer writer = {payload, payload, payload + sizeof(payload), false};

	spop_write_string(&writer, "supported-versions");
	spop_write_text_value(&writer, "2.0");
	spop_write_string(&writer, "max-frame-size");
	spop_write_uint32_value(&writer, max_frame_size);
	spop_write_string(&writer, "capabilities");
	spop_write_text_value(&writer, healthcheck ? "" : "pipelining,async");
	if (healthcheck) {
		spop_write_string(&writer, "healthcheck");
		spop_write_byte(&writer, SPOP_DATA_BOOL | 0x10);
	}
	return build(out, SPOP_HAPROXY_HELLO, 1, 0, 0, payload, (size_t)(writer.p - payload));
}

static void greet(struct fixture *fixture, struct client *client)
{
	uint8_t hello[512], expected[128];
	size_t len = spop_build_hello(expected, sizeof(expected), SPOP_FRAME_SIZE_MAX, true);

	say(client, hello, build_hello(hello, SPOP_FRAME_SIZE_MAX, false));
	hear(fixture, client, len);
	assert_int_equal(client->len, len);
	assert_memory_equal(client->in, expected, len);
	client->len = 0;
}

/* Expects an AGENT-DISCONNECT with <status> as the next and last frame. */
static void hear_disconnect(struct fixture *fixture, struct client *client, enum spop_status status)
{
	struct spop_disconnect disconnect;
	size_t head = SPOP_PREFIX_LEN + 7;

	hear(fixture, client, head);
	hear_end(fixture, client);
	assert_int_equal(client->in[4], SPOP_AGENT_DISCONNECT);
	assert_int_equal(client->len, SPOP_PREFIX_LEN + ((size_t)client->in[2] << 8 | client->in[3]));
	assert_int_equal(spop_disconnect_read(&disconnect, (struct spop_slice){client->in + head, client->len - head}),
			 SPOP_STATUS_NORMAL);
	assert_int_equal(disconnect.status, status);
	assert_true(disconnect.message.len > 0);
	hang_up(fixture, client);
}

/* After a HELLO, sends <len> bytes and expects to be disconnected with <status>. */
static void assert_refused(struct fixture *fixture, const void *bytes, size_t len, enum spop_status status)
{
	struct client *client = connect_client(fixture);

	greet(fixture, client);
	say(client, bytes, len);
	hear_disconnect(fixture, client, status);
}

static void malformed_frames_are_answered_with_their_status(void **state)
{
	struct fixture *fixture = *state;
	static const uint8_t garbage[] = "GET / HTTP/1.1\r\nHost: www.example\r\n\r\n", empty[] = {0, 0, 0, 0},
			     minus[] = {0xff, 0xff, 0xff, 0xff};
	uint8_t frame[1024];

	assert_refused(fixture, garbage, sizeof(garbage) - 1, SPOP_STATUS_TOO_BIG);
	assert_refused(fixture, minus, sizeof(minus), SPOP_STATUS_TOO_BIG);
	assert_refused(fixture, empty, sizeof(empty), SPOP_STATUS_INVALID);
	assert_refused(fixture, frame, build(frame, SPOP_NOTIFY, 0, 1, 1, "", 0), SPOP_STATUS_FRAGMENTED);
	assert_refused(fixture, frame, build(frame, SPOP_FRAGMENT, 1, 1, 1, "", 0), SPOP_STATUS_FRAGMENTED);
	assert_refused(fixture, frame, build(frame, SPOP_ACK, 1, 1, 1, "", 0), SPOP_STATUS_INVALID);
	assert_refused(fixture, frame, build_hello(frame, SPOP_FRAME_SIZE_MAX, false), SPOP_STATUS_INVALID);
	assert_refused(fixture, frame, build(frame, SPOP_NOTIFY, 1, 1, 1, "!", 1), SPOP_STATUS_INVALID);
	assert_refused(fixture, frame, build(frame, SPOP_HAPROXY_DISCONNECT, 1, 0, 0, "\1", 1), SPOP_STATUS_INVALID);
	assert_int_equal(metric_of(fixture, SPOA_DISCONNECT_FRAGMENTED), 2);
	assert_int_equal(metric_of(fixture, SPOA_ACKS), 0);
}

static void notify_before_hello_is_refused(void **state)
{
	struct fixture *fixture = *state;
	struct client *client = connect_client(fixture);
	uint8_t frame[64];

	say(client, frame, build(frame, SPOP_NOTIFY, 1, 1, 1, "", 0));
	hear_disconnect(fixture, client, SPOP_STATUS_INVALID);
}

static void hello_with_a_fault_is_refused(void **state)
{
	struct fixture *fixture = *state;
	struct client *client = connect_client(fixture);
	uint8_t hello[512];

	say(client, hello, build_hello(hello, 255, false));
	hear_disconnect(fixture, client, SPOP_STATUS_BAD_FRAME_SIZE);
}

static void health_check_is_answered_and_closed(void **state)
{
	struct fixture *fixture = *state;
	struct client *client = connect_client(fixture);
	uint8_t hello[512], expected[128];
	size_t len = spop_build_hello(expected, sizeof(expected), SPOP_FRAME_SIZE_MAX, false);

	say(client, hello, build_hello(hello, SPOP_FRAME_SIZE_MAX, true));
	hear_end(fixture, client);
	assert_int_equal(client->len, len);
	assert_memory_equal(client->in, expected, len);
	assert_int_equal(metric_of(fixture, SPOA_HEALTH_CHECKS), 1);
	hang_up(fixture, client);
}

static void lower_frame_size_of_haproxy_holds(void **state)
{
	struct fixture *fixture = *state;
	struct client *client = connect_client(fixture);
	uint8_t bytes[1024], expected[128];
	static const uint8_t zeros[300];
	size_t len = spop_build_hello(expected, sizeof(expected), 256, true);

	say(client, bytes, build_hello(bytes, 256, false));
	hear(fixture, client, len);
	assert_memory_equal(client->in, expected, len);
	client->len = 0;
	say(client, bytes, build(bytes, SPOP_NOTIFY, 1, 1, 1, zeros, sizeof(zeros)));
	hear_disconnect(fixture, client, SPOP_STATUS_TOO_BIG);
}

static size_t build_ack(uint8_t *out, size_t cap, unsigned stream, unsigned frame)
{
	struct spop_writer ack;

	spop_ack_begin(&ack, out, cap, stream, frame);
	spop_ack_set_text(&ack, SPOP_SCOPE_TRANSACTION, "action", "pass");
	return spop_ack_end(&ack);
}

static void frames_in_pieces_and_together_get_one_ack_each(void **state)
{
	struct fixture *fixture = *state;
	struct client *client = connect_client(fixture);
	uint8_t frames[8192], expected[8192];
	size_t len = 0, expected_len = 0;

	greet(fixture, client);
	for (unsigned i = 1; i <= 20; i++) {
		len += build(frames + len, SPOP_NOTIFY, 1, i * 100, i, "", 0);
		expected_len += build_ack(expected + expected_len, 64, i * 100, i);
	}
	/* The first ten in one piece, the others byte by byte. */
	say(client, frames, len / 2);
	for (size_t i = len / 2; i < len; i++) {
		say(client, frames + i, 1);
		(void)ev_run(fixture->loop, EVRUN_NOWAIT);
	}
	hear(fixture, client, expected_len);
	assert_int_equal(client->len, expected_len);
	assert_memory_equal(client->in, expected, expected_len);
	assert_int_equal(metric_of(fixture, SPOA_NOTIFIES), 20);
	assert_int_equal(metric_of(fixture, SPOA_ACKS), 20);
	hang_up(fixture, client);
}

static void haproxy_that_does_not_read_stops_being_read(void **state)
{
	struct fixture *fixture = *state;
	struct client *client = connect_client(fixture);
	uint8_t frame[64];
	size_t len, sent = 0, expected;
	const unsigned small = 4096;

	greet(fixture, client);
	assert_int_equal(setsockopt(client->fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof(small)), 0);
	len = build(frame, SPOP_NOTIFY, 1, 7, 7, "", 0);
	expected = build_ack((uint8_t[64]){0}, 64, 7, 7);
	/* Until the socket takes no whole frame for a while: the agent has stopped reading. */
	for (unsigned idle = 0; idle < 50 && sent < 30000;) {
		if (send(client->fd, frame, len, MSG_NOSIGNAL) == (ssize_t)len) {
			sent++;
			idle = 0;
		} else {
			(void)ev_run(fixture->loop, EVRUN_NOWAIT);
			idle++;
		}
	}
	assert_true(sent > 100);
	/* And now all of them are answered. */
	hear(fixture, client, sent * expected);
	assert_int_equal(client->len, sent * expected);
	assert_int_equal(metric_of(fixture, SPOA_ACKS), sent);
	hang_up(fixture, client);
}

static void disconnect_of_haproxy_is_answered(void **state)
{
	struct fixture *fixture = *state;
	struct client *client = connect_client(fixture);
	uint8_t frame[128], payload[64];
	struct spop_writer writer = {payload, payload, payload + sizeof(payload), false};

	greet(fixture, client);
	spop_write_string(&writer, "status-code");
	spop_write_uint32_value(&writer, SPOP_STATUS_NORMAL);
	spop_write_string(&writer, "message");
	spop_write_text_value(&writer, "normal");
	say(client, frame, build(frame, SPOP_HAPROXY_DISCONNECT, 1, 0, 0, payload, (size_t)(writer.p - payload)));
	hear_disconnect(fixture, client, SPOP_STATUS_NORMAL);
}

static void connections_over_the_limit_are_told(void **state)
{
	struct fixture *fixture = *state;
	int first = connect_to(fixture), second = connect_to(fixture);
	struct client *client = connect_client(fixture);

	hear_end(fixture, client);
	assert_int_equal(client->in[4], SPOP_AGENT_DISCONNECT);
	assert_int_equal(metric_of(fixture, SPOA_CONNECTIONS_REFUSED), 1);
	assert_int_equal(spop_server_connections(fixture->server), 2);
	assert_int_equal(close(first), 0);
	assert_int_equal(close(second), 0);
	hang_up(fixture, client);
	client = connect_client(fixture);
	greet(fixture, client);
	hang_up(fixture, client);
}

static void drain_answers_what_came_and_says_farewell(void **state)
{
	struct fixture *fixture = *state;
	struct client *client = connect_client(fixture);
	uint8_t frame[64], expected[64];
	size_t ack = build_ack(expected, sizeof(expected), 3, 4);
	struct spop_disconnect disconnect;

	greet(fixture, client);
	/* It lies in the socket unread when the drain begins. */
	say(client, frame, build(frame, SPOP_NOTIFY, 1, 3, 4, "", 0));
	spop_server_drain(fixture->server);
	assert_int_equal(fixture->listener.fd, -1);
	hear_end(fixture, client);
	assert_memory_equal(client->in, expected, ack);
	assert_int_equal(client->in[ack + 4], SPOP_AGENT_DISCONNECT);
	ack += SPOP_PREFIX_LEN + 7;
	assert_int_equal(spop_disconnect_read(&disconnect, (struct spop_slice){client->in + ack, client->len - ack}),
			 SPOP_STATUS_NORMAL);
	assert_int_equal(disconnect.status, SPOP_STATUS_NORMAL);
	assert_int_equal(fixture->drained, 0);
	hang_up(fixture, client);
	assert_int_equal(fixture->drained, 1);
}

#define SERVER_TEST(name) cmocka_unit_test_setup_teardown(name, open_server, close_server)

int main(void)
{
	const struct CMUnitTest tests[] = {
		SERVER_TEST(malformed_frames_are_answered_with_their_status),
		SERVER_TEST(notify_before_hello_is_refused),
		SERVER_TEST(hello_with_a_fault_is_refused),
		SERVER_TEST(health_check_is_answered_and_closed),
		SERVER_TEST(lower_frame_size_of_haproxy_holds),
		SERVER_TEST(frames_in_pieces_and_together_get_one_ack_each),
		SERVER_TEST(haproxy_that_does_not_read_stops_being_read),
		SERVER_TEST(disconnect_of_haproxy_is_answered),
		SERVER_TEST(connections_over_the_limit_are_told),
		SERVER_TEST(drain_answers_what_came_and_says_farewell),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

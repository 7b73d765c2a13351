/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Guards: a connection that leaves its socket and comes back to it, or moves to another host and back, loses, doubles
 * and changes no byte of either direction; whatever was unread, unacknowledged, unsent or half-closed comes along. Real
 * kernels, see handoff_network.h. */
#include <errno.h>
#include <limits.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "handoff_network.h"
#include "tcp_freeze.h"

#define ROUNDS 50

static struct tcp_frozen frozen; /* too large for a stack */
static struct tcp_fault fault;

/* Fails with the call and errno that <fault> names. */
static void succeeds(int result)
{
	if (result < 0)
		fail_msg("%s: %s", fault.call, strerror(fault.error));
}

/* The same socket, as if the connection had been away but had not changed. */
static void away_and_back(int fd)
{
	succeeds(tcp_freeze(fd, &frozen, &fault));
	succeeds(tcp_disconnect(fd, &fault));
	succeeds(tcp_fast_forward(fd, &frozen, &fault));
	succeeds(tcp_go(fd, &frozen, false, &fault));
}

/* HOST_A's descriptor becomes a placeholder, which is returned; line->server is the clone on HOST_B. */
static int move_to_b(struct line *line)
{
	int placeholder = line->server;

	succeeds(tcp_freeze(placeholder, &frozen, &fault));
	succeeds(tcp_disconnect(placeholder, &fault));
	host_enter(HOST_B);
	line->server = tcp_restore(&frozen, "reno", 0, &fault);
	succeeds(line->server);
	vip_route(HOST_B);
	succeeds(tcp_go(line->server, &frozen, false, &fault));
	return placeholder;
}

static void move_back(struct line *line, int placeholder)
{
	succeeds(tcp_freeze(line->server, &frozen, &fault));
	succeeds(tcp_fast_forward(placeholder, &frozen, &fault));
	vip_route(HOST_A);
	succeeds(tcp_go(placeholder, &frozen, false, &fault));
	assert_int_equal(close(line->server), 0);
	line->server = placeholder;
}

/* Both directions work. */
static void line_works(struct line *line)
{
	line_client_write(line, 3000);
	line_server_write(line, 30000);
	line_client_read(line, (size_t)(line->server_wrote - line->client_read));
	line_server_read(line, (size_t)(line->client_wrote - line->server_read));
	server_all_acknowledged(line);
}

/* The placeholder is closed: a late packet of the client must find nobody who resets it. */
static void each_family(void (*test)(struct line *line))
{
	hosts_reset_nobody(true);
	for (enum family family = IPV4; family < FAMILIES; family++) {
		struct line line;

		print_message("# %s\n", family_names[family]);
		line_open(&line, family);
		test(&line);
		line_close(&line);
	}
	hosts_reset_nobody(false);
}

/* --- one host --- */

static void idle_and_back(struct line *line)
{
	line_works(line);
	away_and_back(line->server);
	line_works(line);
}

static void goes_on_after_the_same_socket_took_it_back(void **state)
{
	(void)state;
	each_family(idle_and_back);
}

static void frozen_and_back(struct line *line)
{
	line_works(line);
	succeeds(tcp_freeze(line->server, &frozen, &fault));
	succeeds(tcp_disconnect(line->server, &fault));
	succeeds(tcp_fast_forward(line->server, &frozen, &fault));
	succeeds(tcp_go(line->server, &frozen, false, &fault));
	line_works(line);
}

static void goes_on_after_a_freeze_that_led_nowhere(void **state)
{
	(void)state;
	each_family(frozen_and_back);
}

static void rounds_with_bytes_under_way(struct line *line)
{
	for (int round = 0; round < ROUNDS; round++) {
		line_client_write(line, (size_t)(round * 37 % 5000 + 1));
		line_server_write(line, (size_t)(round * 911 % 40000 + 1));
		away_and_back(line->server);
		line_works(line);
	}
}

static void fifty_rounds_on_one_host(void **state)
{
	(void)state;
	each_family(rounds_with_bytes_under_way);
}

static void frozen_state_tells_the_connection(void **state)
{
	(void)state;
	for (enum family family = IPV4; family < FAMILIES; family++) {
		struct line line;
		uint8_t wire[TCP_STATE_WIRE_LEN];
		struct tcp_state decoded;

		line_open(&line, family);
		line_works(&line);
		succeeds(tcp_freeze(line.server, &frozen, &fault));
		assert_int_equal(frozen.state.family, family == IPV6 ? 6 : 4);
		assert_int_equal(frozen.state.local.address[0], family == IPV6 ? 0x20 : 192);
		assert_int_equal(frozen.state.remote.address[0], family == IPV6 ? 0xfd : 10);
		assert_int_equal(frozen.state.flags, TCP_STATE_TIMESTAMPS | TCP_STATE_SACK | TCP_STATE_SCALING);
		assert_int_equal(frozen.send_len, 0);
		assert_int_equal(frozen.receive_len, 0);
		/* What a node gets is what the codec lets through. */
		tcp_state_encode(wire, &frozen.state);
		assert_int_equal(tcp_state_decode(&decoded, wire, sizeof(wire)), TCP_STATE_OK);
		assert_memory_equal(&decoded.local, &frozen.state.local, sizeof(decoded.local));
		assert_int_equal(decoded.send_next, frozen.state.send_next);
		line_close(&line);
	}
}

/* --- two hosts --- */

static void there_and_back(struct line *line)
{
	int placeholder;

	line_works(line);
	placeholder = move_to_b(line);
	line_works(line);
	move_back(line, placeholder);
	line_works(line);
}

static void moves_to_another_host_and_back(void **state)
{
	(void)state;
	each_family(there_and_back);
}

/* The client never stops sending, each move finds something under way in both directions. */
static void rounds_between_hosts(struct line *line)
{
	for (int round = 0; round < ROUNDS; round++) {
		int placeholder;

		line_client_write(line, (size_t)(round * 37 % 3000 + 1));
		line_server_write(line, (size_t)(round * 911 % 40000 + 1));
		placeholder = move_to_b(line);
		line_client_write(line, 700);
		line_works(line);
		line_client_write(line, (size_t)(round * 53 % 3000 + 1));
		line_server_write(line, (size_t)(round * 769 % 40000 + 1));
		move_back(line, placeholder);
		line_works(line);
	}
}

static void fifty_rounds_between_hosts(void **state)
{
	(void)state;
	each_family(rounds_between_hosts);
}

/* --- what comes along --- */

static void unread_input(struct line *line)
{
	int placeholder;

	line_client_write(line, 5000);
	server_has_unread(line, 5000);
	line_server_read(line, 1000);
	placeholder = move_to_b(line);
	assert_int_equal(frozen.receive_len, 4000);
	line_server_read(line, 1500);
	move_back(line, placeholder);
	assert_int_equal(frozen.receive_len, 2500);
	line_server_read(line, 2500);
	line_works(line);
}

static void unread_input_comes_along(void **state)
{
	(void)state;
	each_family(unread_input);
}

/* Acknowledgements are lost, so that the initial window ends the transmission. */
static void has_unsent_bytes(struct line *line)
{
	vip_route(ROUTER);
	line_server_write(line, 45000);
}

static void unsent_to_another_host(struct line *line)
{
	int placeholder;

	has_unsent_bytes(line);
	placeholder = move_to_b(line);
	assert_int_equal(frozen.send_len, 45000);
	assert_in_range(frozen.state.unsent, 1, 44999);
	line_works(line);
	line_server_write(line, TCP_SEND_TAIL_MAX);
	move_back(line, placeholder);
	line_works(line);
}

static void unsent_on_the_same_socket(struct line *line)
{
	has_unsent_bytes(line);
	away_and_back(line->server);
	assert_in_range(frozen.state.unsent, 1, 44999);
	vip_route(HOST_A);
	line_works(line);
}

static void unsent_bytes_come_along(void **state)
{
	(void)state;
	each_family(unsent_to_another_host);
	each_family(unsent_on_the_same_socket);
}

/* The bytes are lost on their way: the new host must send them again. */
static void lost_bytes(struct line *line)
{
	int placeholder;

	line_works(line);
	client_reachable(false);
	line_server_write(line, 10000);
	placeholder = move_to_b(line);
	assert_int_equal(frozen.send_len - frozen.state.unsent, 10000);
	client_reachable(true);
	line_client_read(line, 10000);
	client_reachable(false);
	line_server_write(line, 20000);
	move_back(line, placeholder);
	client_reachable(true);
	line_client_read(line, 20000);
	line_works(line);
}

static void lost_bytes_are_sent_again(void **state)
{
	(void)state;
	each_family(lost_bytes);
}

static void peer_closed(struct line *line)
{
	int placeholder;

	line_client_write(line, 2000);
	assert_int_equal(shutdown(line->client, SHUT_WR), 0);
	server_has_unread(line, 2000);
	line_server_read(line, 500);
	placeholder = move_to_b(line);
	assert_true(frozen.state.flags & TCP_STATE_PEER_CLOSED);
	assert_int_equal(frozen.receive_len, 1500);
	line_server_read(line, 500);
	line_server_write(line, 40000);
	line_client_read(line, 40000);
	server_all_acknowledged(line);
	move_back(line, placeholder);
	line_server_read(line, 1000);
	line_server_read_end(line);
	line_server_write(line, 40000);
	line_client_read(line, 40000);
	assert_int_equal(shutdown(line->server, SHUT_WR), 0);
	line_client_read_end(line);
}

static void half_closed_connection_comes_along(void **state)
{
	(void)state;
	each_family(peer_closed);
}

static int option(int fd, int level, int name)
{
	int value = -1;
	socklen_t len = sizeof(value);

	assert_int_equal(getsockopt(fd, level, name, &value, &len), 0);
	return value;
}

static void sockets_options_come_back(void **state)
{
	struct line line;

	(void)state;
	for (int keepalive = 0; keepalive <= 1; keepalive++) {
		line_open(&line, IPV4);
		assert_int_equal(setsockopt(line.server, SOL_SOCKET, SO_KEEPALIVE, &keepalive, sizeof(keepalive)), 0);
		line_works(&line);
		move_back(&line, move_to_b(&line));
		assert_int_equal(option(line.server, SOL_SOCKET, SO_KEEPALIVE), keepalive);
		assert_int_equal(option(line.server, IPPROTO_TCP, TCP_NODELAY), 1);
		assert_int_equal(option(line.server, IPPROTO_TCP, TCP_REPAIR), 0);
		assert_int_equal(option(line.server, SOL_SOCKET, SO_ERROR), 0);
		line_works(&line);
		line_close(&line);
	}
}

/* Segments stay as long as they were: a restored socket that forgot the MSS sends 536 bytes at a time. */
static void segments_keep_their_size(struct line *line)
{
	struct tcp_info before = {0}, after = {0};
	socklen_t len = sizeof(before);
	int placeholder;

	line_works(line);
	assert_int_equal(getsockopt(line->server, IPPROTO_TCP, TCP_INFO, &before, &len), 0);
	placeholder = move_to_b(line);
	line_works(line);
	len = sizeof(after);
	assert_int_equal(getsockopt(line->server, IPPROTO_TCP, TCP_INFO, &after, &len), 0);
	assert_int_equal(after.tcpi_snd_mss, before.tcpi_snd_mss);
	assert_int_equal(after.tcpi_options, before.tcpi_options);
	assert_int_equal(after.tcpi_snd_wscale, before.tcpi_snd_wscale);
	assert_int_equal(after.tcpi_rcv_wscale, before.tcpi_rcv_wscale);
	move_back(line, placeholder);
	line_works(line);
	len = sizeof(after);
	assert_int_equal(getsockopt(line->server, IPPROTO_TCP, TCP_INFO, &after, &len), 0);
	assert_int_equal(after.tcpi_snd_mss, before.tcpi_snd_mss);
}

static void the_mss_comes_along(void **state)
{
	(void)state;
	each_family(segments_keep_their_size);
}

static void clone_has_what_was_asked_for(void **state)
{
	struct line line;
	char name[16];
	socklen_t len = sizeof(name);
	int clone;

	(void)state;
	line_open(&line, IPV4);
	line_works(&line);
	succeeds(tcp_freeze(line.server, &frozen, &fault));
	host_enter(HOST_B);
	clone = tcp_restore(&frozen, "cubic", 300000, &fault);
	succeeds(clone);
	assert_int_equal(getsockopt(clone, IPPROTO_TCP, TCP_CONGESTION, name, &len), 0);
	assert_string_equal(name, "cubic");
	assert_int_equal(option(clone, SOL_SOCKET, SO_SNDBUF), 600000); /* the kernel doubles it */
	assert_int_equal(close(clone), 0);
	line_close(&line);
}

/* A send buffer that is smaller than the tail holds the tail nevertheless, and is what it was afterwards. */
static void small_send_buffer_takes_a_full_tail(void **state)
{
	struct line line;
	int small = 4096, placeholder;

	(void)state;
	line_open(&line, IPV4);
	vip_route(ROUTER);
	line_server_write(&line, TCP_SEND_TAIL_MAX);
	placeholder = line.server;
	succeeds(tcp_freeze(placeholder, &frozen, &fault));
	assert_int_equal(setsockopt(placeholder, SOL_SOCKET, SO_SNDBUF, &small, sizeof(small)), 0);
	succeeds(tcp_disconnect(placeholder, &fault));
	succeeds(tcp_fast_forward(placeholder, &frozen, &fault));
	vip_route(HOST_A);
	succeeds(tcp_go(placeholder, &frozen, false, &fault));
	line_works(&line);
	line_close(&line);
}

/* To a client with a tiny window segments are tiny, and take much more memory than they carry. */
static void tiny_windows_take_a_full_tail(void **state)
{
	(void)state;
	for (enum family family = IPV4; family < FAMILIES; family++) {
		struct line line;
		int small = 2304, placeholder; /* the least that the kernel allows */

		line_open_small(&line, family, small);
		line_works(&line);
		line_server_write(&line, TCP_SEND_TAIL_MAX);
		placeholder = line.server;
		succeeds(tcp_freeze(placeholder, &frozen, &fault));
		assert_in_range(frozen.state.unsent, 1, TCP_SEND_TAIL_MAX);
		assert_int_equal(setsockopt(placeholder, SOL_SOCKET, SO_SNDBUF, &small, sizeof(small)), 0);
		succeeds(tcp_disconnect(placeholder, &fault));
		succeeds(tcp_fast_forward(placeholder, &frozen, &fault));
		succeeds(tcp_go(placeholder, &frozen, false, &fault));
		line_works(&line);
		line_close(&line);
	}
}

static uint32_t client_window(const struct line *line)
{
	struct tcp_info info = {0};
	socklen_t len = sizeof(info);

	assert_int_equal(getsockopt(line->server, IPPROTO_TCP, TCP_INFO, &info, &len), 0);
	return info.tcpi_snd_wnd;
}

#define SEGMENT 1448u

static size_t next_write(const struct line *line)
{
	uint32_t window = client_window(line);

	return window < SEGMENT ? window : SEGMENT;
}

/* Writes a segment at a time to a client that reads nothing, at most <most> of them. Returns how many shut its
 * window. */
static unsigned fill(struct line *line, unsigned most)
{
	unsigned writes = 0;

	for (; writes < most && client_window(line) > 0; writes++) {
		line_server_write(line, next_write(line));
		server_all_acknowledged(line);
	}
	return writes;
}

/* The last segment is under way, and the answer to it, which shuts the window, finds the connection elsewhere. */
static void shut_by_the_first_answer(struct line *line)
{
	size_t last = next_write(line), unsent;

	vip_route(ROUTER);
	line_server_write(line, last);
	(void)move_to_b(line);
	assert_int_equal(frozen.send_len - frozen.state.unsent, last);
	assert_int_equal(frozen.state.send_window, last);
	line_server_write(line, 20000);
	server_has_unacknowledged(line, 20000);
	assert_int_equal(tcp_unsent(line->server, &unsent), 0);
	assert_int_equal(unsent, 20000);
	line_client_read(line, (size_t)(line->server_wrote - line->client_read));
}

/* All was acknowledged, and the first segment that leaves shuts the window. */
static void shut_by_the_first_segment(struct line *line)
{
	size_t last = next_write(line), unsent;

	(void)move_to_b(line);
	line_server_write(line, 20000);
	server_has_unacknowledged(line, 20000 - last);
	assert_int_equal(tcp_unsent(line->server, &unsent), 0);
	assert_int_equal(unsent, 20000 - last);
	line_client_read(line, (size_t)(line->server_wrote - line->client_read));
}

/* The kernel of a restored connection takes a first acknowledgement that shuts the window for one that leaves it as it
 * is, unless the timestamp's highest bit is set: here it never is. */
static void a_window_that_shuts_is_obeyed(void **state)
{
	void (*const tests[])(struct line *) = {shut_by_the_first_answer, shut_by_the_first_segment};

	(void)state;
	host_run(CLIENT, "echo 2 >/proc/sys/net/ipv4/tcp_timestamps");
	for (size_t i = 0; i < sizeof(tests) / sizeof(tests[0]); i++) {
		struct line line;
		unsigned writes;

		line_open_small(&line, IPV4, 8192);
		writes = fill(&line, UINT_MAX);
		line_close(&line);
		line_open_small(&line, IPV4, 8192);
		assert_int_equal(fill(&line, writes - 1), writes - 1);
		tests[i](&line);
		line_close(&line);
	}
	host_run(CLIENT, "echo 1 >/proc/sys/net/ipv4/tcp_timestamps");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(goes_on_after_the_same_socket_took_it_back),
		cmocka_unit_test(goes_on_after_a_freeze_that_led_nowhere),
		cmocka_unit_test(fifty_rounds_on_one_host),
		cmocka_unit_test(frozen_state_tells_the_connection),
		cmocka_unit_test(moves_to_another_host_and_back),
		cmocka_unit_test(fifty_rounds_between_hosts),
		cmocka_unit_test(unread_input_comes_along),
		cmocka_unit_test(unsent_bytes_come_along),
		cmocka_unit_test(lost_bytes_are_sent_again),
		cmocka_unit_test(half_closed_connection_comes_along),
		cmocka_unit_test(sockets_options_come_back),
		cmocka_unit_test(the_mss_comes_along),
		cmocka_unit_test(clone_has_what_was_asked_for),
		cmocka_unit_test(small_send_buffer_takes_a_full_tail),
		cmocka_unit_test(tiny_windows_take_a_full_tail),
		cmocka_unit_test(a_window_that_shuts_is_obeyed),
	};
	int failed;

	if (!network_allowed()) {
		printf("ok 1 - tcp_freeze # SKIP needs root, network namespaces and TCP_REPAIR\n");
		return 0;
	}
	if (network_make() < 0)
		return 1;
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	network_remove();
	return failed;
}

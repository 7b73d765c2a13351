/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Guards: a socket that is frozen, a placeholder or staged says nothing, whatever comes and however long it lasts, nor
 * does its close(); time stamps never go back; what a handoff cannot carry leaves the socket live; a reset reaches the
 * peer; faults name the call. */
#include <errno.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "handoff_network.h"
#include "tcp_freeze.h"

#define RETRANSMISSION_MS 700 /* more than the first retransmission timeout, 200 ms and the round trip */
#define KEEPALIVE_MS 1500     /* more than the keepalive time that is set here, 1 s */
#define SOON_MS 2000          /* a packet that must come has come by then */
#define NOBODY 65534          /* a user without capabilities */

static struct tcp_frozen frozen; /* too large for a stack */
static struct tcp_fault fault;
static struct line line = {.client = -1, .server = -1};

/* Fails with the call and errno that <fault> names. */
static void succeeds(int result)
{
	if (result < 0)
		fail_msg("%s: %s", fault.call, strerror(fault.error));
}

static void fails(int result, const char *call, int error)
{
	assert_int_equal(result, -1);
	assert_string_equal(fault.call, call);
	assert_int_equal(fault.error, error);
}

static void set(int fd, int level, int option, int value)
{
	assert_int_equal(setsockopt(fd, level, option, &value, sizeof(value)), 0);
}

/* Whatever a failed test left. */
static int close_line(void **state)
{
	(void)state;
	line_close(&line);
	return 0;
}

/* What HOST_A sent so far is forgotten. */
static void forget(int watch)
{
	struct segment segment;

	while (watch_next(watch, &segment, 0))
		continue;
}

static void silent(int watch, int milliseconds)
{
	struct segment segment;

	if (watch_next(watch, &segment, milliseconds))
		fail_msg("a segment with flags %02x, sequence %u, %zu bytes left", segment.flags, segment.sequence,
			 segment.len);
}

static void speaks(int watch)
{
	struct segment segment;

	assert_true(watch_next(watch, &segment, SOON_MS));
}

/* A connection with 10000 bytes under way that nobody acknowledges: its retransmission timer runs. */
static int open_unacknowledged(enum family family)
{
	int watch = watch_open(HOST_A);

	line_open(&line, family);
	line_client_write(&line, 100);
	line_server_read(&line, 100);
	vip_route(ROUTER);
	line_server_write(&line, 10000);
	speaks(watch);
	return watch;
}

/* Unanswered, this makes a live socket speak: it has a timer, and this comes in. */
static void provoke(void)
{
	vip_route(HOST_A);
	line_client_write(&line, 300);
}

/* --- the control: the same without a freeze is not silent --- */

static void a_live_socket_speaks(void **state)
{
	int watch = open_unacknowledged(IPV4);

	(void)state;
	forget(watch);
	speaks(watch); /* the retransmission */
	forget(watch);
	provoke();
	speaks(watch);
	line_close(&line);
	close(watch);
}

/* --- mute --- */

/* By itself: no timer, no close(). */
static void placeholder_is_mute(void **state)
{
	(void)state;
	for (enum family family = IPV4; family < FAMILIES; family++) {
		int watch = open_unacknowledged(family);

		succeeds(tcp_freeze(line.server, &frozen, &fault));
		succeeds(tcp_disconnect(line.server, &fault));
		forget(watch);
		silent(watch, RETRANSMISSION_MS);
		assert_int_equal(close(line.server), 0);
		line.server = -1;
		silent(watch, 100);
		line_close(&line);
		close(watch);
	}
}

/* Why nothing may come for it: it is closed, so the kernel answers a packet of its connection as one of no connection. That
 * none comes, and that no such answer would leave, is up to the steering program: steering_tcp_test. */
static void nothing_may_come_for_a_placeholder(void **state)
{
	(void)state;
	for (enum family family = IPV4; family < FAMILIES; family++) {
		struct segment segment;
		int watch = watch_open(HOST_A);

		line_open(&line, family);
		succeeds(tcp_freeze(line.server, &frozen, &fault));
		succeeds(tcp_disconnect(line.server, &fault));
		forget(watch);
		provoke();
		assert_true(watch_next(watch, &segment, SOON_MS));
		assert_true(segment.flags & 0x04 /* RST, RFC 9293 3.1 */);
		line_close(&line);
		close(watch);
	}
}

static void placeholder_keeps_nothing_alive(void **state)
{
	int watch = watch_open(HOST_A);

	(void)state;
	line_open(&line, IPV4);
	set(line.server, SOL_SOCKET, SO_KEEPALIVE, 1);
	set(line.server, IPPROTO_TCP, TCP_KEEPIDLE, 1);
	set(line.server, IPPROTO_TCP, TCP_KEEPINTVL, 1);
	line_client_write(&line, 100);
	line_server_read(&line, 100);
	succeeds(tcp_freeze(line.server, &frozen, &fault));
	succeeds(tcp_disconnect(line.server, &fault));
	forget(watch);
	silent(watch, KEEPALIVE_MS);
	succeeds(tcp_fast_forward(line.server, &frozen, &fault));
	succeeds(tcp_go(line.server, &frozen, false, &fault));
	forget(watch);
	speaks(watch); /* keepalive is on again */
	line_close(&line);
	close(watch);
}

static void frozen_socket_hears_nothing(void **state)
{
	(void)state;
	for (enum family family = IPV4; family < FAMILIES; family++) {
		int watch = watch_open(HOST_A);

		line_open(&line, family);
		line_server_write(&line, 5000);
		line_client_read(&line, 5000);
		server_all_acknowledged(&line);
		succeeds(tcp_freeze(line.server, &frozen, &fault));
		forget(watch);
		provoke();
		silent(watch, RETRANSMISSION_MS);
		line_close(&line);
		close(watch);
	}
}

static void close_of_a_frozen_socket_with_unacknowledged_bytes_is_mute(void **state)
{
	(void)state;
	for (enum family family = IPV4; family < FAMILIES; family++) {
		int watch = open_unacknowledged(family);

		succeeds(tcp_freeze(line.server, &frozen, &fault));
		assert_int_equal(close(line.server), 0);
		line.server = -1;
		forget(watch);
		silent(watch, RETRANSMISSION_MS);
		line_close(&line);
		close(watch);
	}
}

/* Unread input would make close() of a live socket say RST. */
static void close_of_a_frozen_socket_with_unread_input_is_mute(void **state)
{
	int watch = watch_open(HOST_A);

	(void)state;
	line_open(&line, IPV4);
	line_client_write(&line, 5000);
	server_has_unread(&line, 5000);
	succeeds(tcp_freeze(line.server, &frozen, &fault));
	forget(watch);
	assert_int_equal(close(line.server), 0);
	line.server = -1;
	silent(watch, RETRANSMISSION_MS);
	line_close(&line);
	close(watch);
}

static void staged_socket_hears_nothing(void **state)
{
	(void)state;
	for (enum family family = IPV4; family < FAMILIES; family++) {
		int watch = watch_open(HOST_A);

		line_open(&line, family);
		line_server_write(&line, 5000);
		line_client_read(&line, 5000);
		server_all_acknowledged(&line);
		succeeds(tcp_freeze(line.server, &frozen, &fault));
		succeeds(tcp_disconnect(line.server, &fault));
		succeeds(tcp_fast_forward(line.server, &frozen, &fault));
		forget(watch);
		provoke();
		silent(watch, RETRANSMISSION_MS);
		vip_route(ROUTER);
		assert_int_equal(close(line.server), 0);
		line.server = -1;
		silent(watch, 100);
		line_close(&line);
		close(watch);
	}
}

/* One that was never let go: whatever it was to send stays unsaid. */
static void close_of_a_staged_clone_is_mute(void **state)
{
	int clone, watch, here = open_unacknowledged(IPV6);

	(void)state;
	watch = watch_open(HOST_B);
	succeeds(tcp_freeze(line.server, &frozen, &fault));
	succeeds(tcp_disconnect(line.server, &fault));
	forget(here);
	host_enter(HOST_B);
	clone = tcp_restore(&frozen, "reno", 0, &fault);
	succeeds(clone);
	assert_int_equal(close(clone), 0);
	silent(watch, RETRANSMISSION_MS);
	silent(here, 0);
	line_close(&line);
	close(watch);
	close(here);
}

/* --- what is said when a socket is live again --- */

/* A clone on HOST_B of line.server, which is frozen; watched from its beginning. */
static int move_to_b(int *watch, bool more)
{
	int clone;

	succeeds(tcp_freeze(line.server, &frozen, &fault));
	*watch = watch_open(HOST_B);
	host_enter(HOST_B);
	clone = tcp_restore(&frozen, "reno", 0, &fault);
	succeeds(clone);
	vip_route(HOST_B);
	succeeds(tcp_go(clone, &frozen, more, &fault));
	return clone;
}

static void with_nothing_under_way_it_asks_for_nothing(void **state)
{
	(void)state;
	for (enum family family = IPV4; family < FAMILIES; family++) {
		int watch, clone;

		line_open(&line, family);
		line_server_write(&line, 5000);
		line_client_read(&line, 5000);
		server_all_acknowledged(&line);
		clone = move_to_b(&watch, false);
		silent(watch, 100);
		close(clone);
		line_close(&line);
		close(watch);
	}
}

static void with_bytes_under_way_it_asks_for_their_acknowledgement(void **state)
{
	(void)state;
	for (enum family family = IPV4; family < FAMILIES; family++) {
		struct segment segment;
		int watch, clone;

		close(open_unacknowledged(family));
		clone = move_to_b(&watch, false);
		/* At once: the retransmission would come in 3 s, and with bytes. */
		assert_true(watch_next(watch, &segment, SOON_MS));
		assert_int_equal(segment.len, 0);
		close(clone);
		line_close(&line);
		close(watch);
	}
}

static uint32_t client_window(void)
{
	struct tcp_info info = {0};
	socklen_t len = sizeof(info);

	assert_int_equal(getsockopt(line.server, IPPROTO_TCP, TCP_INFO, &info, &len), 0);
	return info.tcpi_snd_wnd;
}

/* The window may have opened while nobody listened. */
static void with_a_shut_window_it_asks_for_the_window(void **state)
{
	struct segment segment;
	int watch, clone;

	(void)state;
	line_open_small(&line, IPV4, 2304);
	for (uint32_t window; (window = client_window());) {
		line_server_write(&line, window < 1448 ? window : 1448);
		server_all_acknowledged(&line);
	}
	clone = move_to_b(&watch, false);
	assert_int_equal(frozen.state.send_window, 0);
	assert_true(watch_next(watch, &segment, 100));
	close(clone);
	line_close(&line);
	close(watch);
}

/* As HAProxy leaves a header: written, but it waits for more. */
static void leave_unsent(size_t len)
{
	uint8_t bytes[1000] = {0};

	assert_true(len <= sizeof(bytes));
	assert_int_equal(send(line.server, bytes, len, MSG_MORE | MSG_NOSIGNAL), len);
}

static void what_is_unsent_leaves_with_what_follows(void **state)
{
	(void)state;
	for (enum family family = IPV4; family < FAMILIES; family++) {
		struct segment segment;
		int watch, clone;

		line_open(&line, family);
		leave_unsent(200);
		clone = move_to_b(&watch, true);
		assert_int_equal(frozen.state.unsent, 200);
		silent(watch, 50);
		assert_int_equal(send(clone, (uint8_t[300]){0}, 300, MSG_NOSIGNAL), 300);
		assert_true(watch_next(watch, &segment, SOON_MS));
		assert_int_equal(segment.len, 500);
		close(clone);
		line_close(&line);
		close(watch);
	}
}

static void what_is_unsent_leaves_when_nothing_follows(void **state)
{
	struct segment segment;
	int watch, clone;

	(void)state;
	line_open(&line, IPV4);
	leave_unsent(200);
	clone = move_to_b(&watch, true);
	silent(watch, 50);
	succeeds(tcp_push(clone, &fault));
	assert_true(watch_next(watch, &segment, 100));
	assert_int_equal(segment.len, 200);
	close(clone);
	line_close(&line);
	close(watch);
}

static void close_of_a_live_clone_is_mute(void **state)
{
	(void)state;
	for (enum family family = IPV4; family < FAMILIES; family++) {
		int watch = open_unacknowledged(family);

		forget(watch);
		tcp_close_mute(line.server);
		line.server = -1;
		silent(watch, RETRANSMISSION_MS);
		line_close(&line);
		close(watch);
	}
}

/* Unread input would make close() say RST. */
static void close_of_a_live_clone_with_unread_input_is_mute(void **state)
{
	int watch = watch_open(HOST_A);

	(void)state;
	line_open(&line, IPV4);
	line_client_write(&line, 5000);
	server_has_unread(&line, 5000);
	vip_route(ROUTER);
	forget(watch);
	tcp_close_mute(line.server);
	line.server = -1;
	silent(watch, 100);
	line_close(&line);
	close(watch);
}

static void a_thawed_socket_goes_on(void **state)
{
	(void)state;
	for (enum family family = IPV4; family < FAMILIES; family++) {
		int watch, reuse = 0;
		socklen_t len = sizeof(reuse);

		line_open(&line, family);
		line_server_write(&line, 5000);
		line_client_read(&line, 5000);
		server_all_acknowledged(&line);
		watch = watch_open(HOST_A);
		succeeds(tcp_freeze(line.server, &frozen, &fault));
		succeeds(tcp_thaw(line.server, &fault));
		silent(watch, 50);
		assert_int_equal(getsockopt(line.server, SOL_SOCKET, SO_REUSEADDR, &reuse, &len), 0);
		assert_int_equal(reuse, 1);
		line_client_write(&line, 3000);
		line_server_read(&line, 3000);
		line_server_write(&line, 30000);
		line_client_read(&line, 30000);
		line_close(&line);
		close(watch);
	}
}

/* --- time stamps --- */

static void watch_stamps(int watch, uint32_t *last, bool *any)
{
	struct segment segment;

	while (watch_next(watch, &segment, 0)) {
		assert_true(segment.stamped);
		if (*any)
			assert_true((int32_t)(segment.timestamp - *last) >= 0);
		*last = segment.timestamp;
		*any = true;
	}
}

static void time_stamps_never_go_back(void **state)
{
	(void)state;
	for (enum family family = IPV4; family < FAMILIES; family++) {
		uint32_t last = 0;
		bool any = false;
		int watch_a = watch_open(HOST_A), watch_b = watch_open(HOST_B), clone;

		line_open(&line, family);
		forget(watch_a);
		forget(watch_b);
		for (int round = 0; round < 20; round++) {
			int placeholder = line.server;

			line_server_write(&line, 20000);
			line_client_read(&line, 20000);
			server_all_acknowledged(&line);
			succeeds(tcp_freeze(placeholder, &frozen, &fault));
			succeeds(tcp_disconnect(placeholder, &fault));
			watch_stamps(watch_a, &last, &any);
			host_enter(HOST_B);
			clone = line.server = tcp_restore(&frozen, "reno", 0, &fault);
			succeeds(clone);
			vip_route(HOST_B);
			succeeds(tcp_go(clone, &frozen, false, &fault));
			line_server_write(&line, 20000);
			line_client_read(&line, 20000);
			server_all_acknowledged(&line);
			succeeds(tcp_freeze(clone, &frozen, &fault));
			watch_stamps(watch_b, &last, &any);
			succeeds(tcp_fast_forward(placeholder, &frozen, &fault));
			vip_route(HOST_A);
			succeeds(tcp_go(placeholder, &frozen, false, &fault));
			assert_int_equal(close(clone), 0);
			line.server = placeholder;
		}
		assert_true(any);
		line_close(&line);
		close(watch_a);
		close(watch_b);
	}
}

/* --- what a handoff does not carry --- */

static void too_much_unacknowledged_stays(void **state)
{
	(void)state;
	for (enum family family = IPV4; family < FAMILIES; family++) {

		line_open(&line, family);
		vip_route(ROUTER);
		line_server_write(&line, TCP_SEND_TAIL_MAX + 1);
		fails(tcp_freeze(line.server, &frozen, &fault), "send queue", E2BIG);
		vip_route(HOST_A);
		line_client_read(&line, TCP_SEND_TAIL_MAX + 1);
		server_all_acknowledged(&line);
		line_close(&line);
	}
}

static void too_much_unread_stays(void **state)
{
	(void)state;
	for (enum family family = IPV4; family < FAMILIES; family++) {

		line_open(&line, family);
		line_client_write(&line, TCP_RECEIVE_TAIL_MAX + 1);
		server_has_unread(&line, TCP_RECEIVE_TAIL_MAX + 1);
		fails(tcp_freeze(line.server, &frozen, &fault), "receive queue", E2BIG);
		line_server_read(&line, TCP_RECEIVE_TAIL_MAX + 1);
		line_server_write(&line, 100000);
		line_client_read(&line, 100000);
		line_close(&line);
	}
}

static void a_closing_socket_is_not_frozen(void **state)
{
	int fd;

	(void)state;
	line_open(&line, IPV4);
	line_server_write(&line, 5000);
	assert_int_equal(shutdown(line.server, SHUT_WR), 0);
	fails(tcp_freeze(line.server, &frozen, &fault), "state", ENOTCONN);
	line_client_read(&line, 5000);
	line_client_read_end(&line);
	line_close(&line);
	fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	fails(tcp_freeze(fd, &frozen, &fault), "state", ENOTCONN);
	close(fd);
}

/* --- reset --- */

static void a_reset_reaches_the_peer(void **state)
{
	(void)state;
	for (enum family family = IPV4; family < FAMILIES; family++) {
		struct segment segment;
		uint8_t byte;
		int watch = watch_open(HOST_A);

		line_open(&line, family);
		line_server_write(&line, 5000);
		line_client_read(&line, 5000);
		server_all_acknowledged(&line);
		succeeds(tcp_freeze(line.server, &frozen, &fault));
		assert_int_equal(close(line.server), 0);
		line.server = -1;
		forget(watch);
		host_enter(HOST_A);
		succeeds(tcp_reset(&frozen.state, frozen.state.send_next, &fault));
		assert_true(watch_next(watch, &segment, SOON_MS));
		assert_true(segment.flags & 0x04 /* RST, RFC 9293 3.1 */);
		assert_int_equal(segment.sequence, frozen.state.send_next);
		silent(watch, 100); /* once, and nothing else */
		assert_int_equal(recv(line.client, &byte, 1, MSG_DONTWAIT), -1);
		assert_int_equal(errno, ECONNRESET);
		line_close(&line);
		close(watch);
	}
}

/* --- faults --- */

static void faults_name_the_call(void **state)
{

	(void)state;
	line_open(&line, IPV4);
	succeeds(tcp_freeze(line.server, &frozen, &fault));
	host_enter(CLIENT); /* it has no VIP */
	fails(tcp_restore(&frozen, NULL, 0, &fault), "bind()", EADDRNOTAVAIL);
	fails(tcp_reset(&frozen.state, frozen.state.send_next, &fault), "bind()", EADDRNOTAVAIL);
	host_enter(HOST_A); /* the frozen socket is still there */
	fails(tcp_restore(&frozen, NULL, 0, &fault), "connect()", EADDRNOTAVAIL);
	host_enter(HOST_B);
	fails(tcp_restore(&frozen, "no-such", 0, &fault), "setsockopt(TCP_CONGESTION)", ENOENT);
	line_close(&line);
}

static void without_capabilities_the_check_says_so(void **state)
{
	pid_t child;
	int status;

	(void)state;
	succeeds(tcp_repair_check(&fault));
	child = fork();
	assert_true(child >= 0);
	if (child == 0) {
		if (setuid(NOBODY) < 0)
			_exit(2);
		_exit(tcp_repair_check(&fault) == -1 && fault.error == EPERM ? 0 : 1);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(a_live_socket_speaks, close_line),
		cmocka_unit_test_teardown(placeholder_is_mute, close_line),
		cmocka_unit_test_teardown(nothing_may_come_for_a_placeholder, close_line),
		cmocka_unit_test_teardown(placeholder_keeps_nothing_alive, close_line),
		cmocka_unit_test_teardown(frozen_socket_hears_nothing, close_line),
		cmocka_unit_test_teardown(close_of_a_frozen_socket_with_unacknowledged_bytes_is_mute, close_line),
		cmocka_unit_test_teardown(close_of_a_frozen_socket_with_unread_input_is_mute, close_line),
		cmocka_unit_test_teardown(staged_socket_hears_nothing, close_line),
		cmocka_unit_test_teardown(close_of_a_staged_clone_is_mute, close_line),
		cmocka_unit_test_teardown(with_nothing_under_way_it_asks_for_nothing, close_line),
		cmocka_unit_test_teardown(with_bytes_under_way_it_asks_for_their_acknowledgement, close_line),
		cmocka_unit_test_teardown(with_a_shut_window_it_asks_for_the_window, close_line),
		cmocka_unit_test_teardown(what_is_unsent_leaves_with_what_follows, close_line),
		cmocka_unit_test_teardown(what_is_unsent_leaves_when_nothing_follows, close_line),
		cmocka_unit_test_teardown(close_of_a_live_clone_is_mute, close_line),
		cmocka_unit_test_teardown(close_of_a_live_clone_with_unread_input_is_mute, close_line),
		cmocka_unit_test_teardown(a_thawed_socket_goes_on, close_line),
		cmocka_unit_test_teardown(time_stamps_never_go_back, close_line),
		cmocka_unit_test_teardown(too_much_unacknowledged_stays, close_line),
		cmocka_unit_test_teardown(too_much_unread_stays, close_line),
		cmocka_unit_test_teardown(a_closing_socket_is_not_frozen, close_line),
		cmocka_unit_test_teardown(a_reset_reaches_the_peer, close_line),
		cmocka_unit_test_teardown(faults_name_the_call, close_line),
		cmocka_unit_test_teardown(without_capabilities_the_check_says_so, close_line),
	};
	int failed;

	if (!network_allowed()) {
		printf("ok 1 - tcp_mute # SKIP needs root, network namespaces and TCP_REPAIR\n");
		return 0;
	}
	if (network_make() < 0)
		return 1;
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	network_remove();
	return failed;
}

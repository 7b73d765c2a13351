/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Guards: a TCP connection of the kernel's survives being held and put back: packets as long as they are merged,
 * checksums that were left to the hardware; and that our own stack says nothing on a connection that is away. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <errno.h>
#include <linux/ethtool.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "steering_lab.h"
#include "tcp_freeze.h"

#define BULK 12000 /* fits the initial window, is sent as one */
#define PATIENCE_MS 10000

#define LAB(state)                           \
	struct steering_lab *lab = *(state); \
                                             \
	if (!lab) {                          \
		skip();                      \
		return;                      \
	}

struct connection {
	int client, lb;
	struct tcp_state flow; /* addresses and ports */
};

static int listen_in(struct steering_lab *lab, unsigned family, struct sockaddr_storage *address, socklen_t *len)
{
	struct sockaddr_in *v4 = (struct sockaddr_in *)address;
	struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)address;
	int domain = family == 4 ? AF_INET : AF_INET6, fd;

	memset(address, 0, sizeof(*address));
	address->ss_family = (sa_family_t)domain;
	*len = family == 4 ? sizeof(*v4) : sizeof(*v6);
	if (family == 4)
		(void)inet_pton(AF_INET, "192.0.2.1", &v4->sin_addr);
	else
		(void)inet_pton(AF_INET6, "2001:db8:1::1", &v6->sin6_addr);
	assert_int_equal(netns_enter(&lab->lb), 0);
	fd = socket(domain, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(netns_leave(), 0);
	assert_true(fd >= 0);
	assert_int_equal(bind(fd, (struct sockaddr *)address, *len), 0);
	assert_int_equal(listen(fd, 1), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)address, len), 0);
	return fd;
}

static uint16_t port_of(const struct sockaddr_storage *address)
{
	/* At the same place in both families. */
	return ntohs(((const struct sockaddr_in *)address)->sin_port);
}

static struct connection connect_to_lb(struct steering_lab *lab, unsigned family)
{
	struct sockaddr_storage address, own;
	socklen_t len, own_len = sizeof(own);
	int listener = listen_in(lab, family, &address, &len);
	struct connection connection;

	assert_int_equal(netns_enter(&lab->client), 0);
	connection.client = socket(family == 4 ? AF_INET : AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(netns_leave(), 0);
	assert_int_equal(connect(connection.client, (struct sockaddr *)&address, len), 0);
	assert_int_equal(getsockname(connection.client, (struct sockaddr *)&own, &own_len), 0);
	connection.lb = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
	assert_true(connection.lb >= 0);
	(void)close(listener);
	connection.flow = steering_lab_flow(family, port_of(&own));
	connection.flow.local.port = port_of(&address);
	return connection;
}

static void disconnect(struct connection *connection)
{
	(void)close(connection->client);
	(void)close(connection->lb);
}

static void write_bulk(int fd)
{
	uint8_t bulk[BULK];

	for (size_t i = 0; i < sizeof(bulk); i++)
		bulk[i] = (uint8_t)(i * 7 >> 3);
	assert_int_equal(write(fd, bulk, sizeof(bulk)), sizeof(bulk));
}

static void read_bulk(int fd)
{
	struct pollfd readable = {.fd = fd, .events = POLLIN};
	uint8_t bulk[BULK];
	size_t got = 0;

	while (got < sizeof(bulk)) {
		ssize_t len;

		if (poll(&readable, 1, PATIENCE_MS) != 1)
			fail_msg("only %zu of %d bytes have come", got, BULK);
		len = read(fd, bulk + got, sizeof(bulk) - got);
		assert_true(len > 0);
		got += (size_t)len;
	}
	for (size_t i = 0; i < sizeof(bulk); i++)
		if (bulk[i] != (uint8_t)(i * 7 >> 3))
			fail_msg("byte %zu is wrong", i);
}

static bool is_readable(int fd)
{
	struct pollfd readable = {.fd = fd, .events = POLLIN};

	return poll(&readable, 1, 0) == 1;
}

static unsigned retransmissions(int fd)
{
	struct tcp_info info = {0};
	socklen_t len = sizeof(info);

	assert_int_equal(getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &len), 0);
	return info.tcpi_total_retrans;
}

/* A field of the line "Tcp:" of /proc/net/snmp. */
static int read_tcp_counter(void *context)
{
	const char *name = context;
	char names[1024], values[1024], *names_rest, *values_rest, *field, *value;
	FILE *file = fopen("/proc/thread-self/net/snmp", "re");
	int result = -1;

	while (file && result < 0 && fgets(names, sizeof(names), file) && fgets(values, sizeof(values), file)) {
		field = strtok_r(names, " \n", &names_rest);
		value = strtok_r(values, " \n", &values_rest);
		for (; strcmp(names, "Tcp:") == 0 && field && value; field = strtok_r(NULL, " \n", &names_rest)) {
			if (strcmp(field, name) == 0)
				result = atoi(value);
			value = strtok_r(NULL, " \n", &values_rest);
		}
	}
	if (file)
		(void)fclose(file);
	return result;
}

static int tcp_counter(struct netns *netns, const char *name)
{
	return netns_call(netns, read_tcp_counter, (void *)(uintptr_t)name);
}

/* Without this veth leaves checksums to nobody, and none is ever looked at. */
static int make_checksums_real(void *name)
{
	struct ethtool_value off = {.cmd = ETHTOOL_STXCSUM};
	struct ifreq request = {.ifr_data = (void *)&off};
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), result;

	(void)snprintf(request.ifr_name, sizeof(request.ifr_name), "%s", (const char *)name);
	result = ioctl(fd, SIOCETHTOOL, &request);
	(void)close(fd);
	return result;
}

static void hold_and_release(struct steering_lab *lab, unsigned family)
{
	struct connection connection = connect_to_lb(lab, family);
	struct steering_counters before, after;

	steering_count(lab->steering, &before);
	assert_int_equal(steering_hold(lab->steering, &connection.flow), 0);
	write_bulk(connection.client);
	steering_lab_wait(lab, steering_lab_held, before.held + 1);
	assert_false(is_readable(connection.lb));
	steering_release(lab->steering, &connection.flow);
	read_bulk(connection.lb);
	steering_count(lab->steering, &after);
	/* Merged packets came and were put back as such. */
	assert_true(after.reinjected - before.reinjected < BULK / 1460);
	assert_int_equal(retransmissions(connection.client), 0);
	write_bulk(connection.lb);
	read_bulk(connection.client);
	disconnect(&connection);
}

/* However long the flow is held on a busy machine, the client does not send again: what arrives was put back. */
static void make_client_patient(struct steering_lab *lab)
{
	assert_int_equal(netns_do(&lab->client, "echo 0 >/proc/sys/net/ipv4/tcp_early_retrans && "
						"ip route add 192.0.2.1/32 dev eth0 rto_min 20s && "
						"ip -6 route add 2001:db8:1::1/128 dev eth0 rto_min 20s"),
			 0);
}

static void bytes_that_were_held_reach_our_own_socket(void **state)
{
	LAB(state)
	make_client_patient(lab);
	steering_lab_open(lab, 1024, 0);
	hold_and_release(lab, 4);
	hold_and_release(lab, 6);
	assert_int_equal(tcp_counter(&lab->lb, "InCsumErrors"), 0);
	steering_lab_close(lab);
}

/* Returns when <count> segments, beyond those before, have reached the node's TCP. */
static void wait_for_segments(struct steering_lab *lab, int wanted)
{
	for (int i = 0; tcp_counter(&lab->node, "InSegs") < wanted; i++) {
		if (i == 100000)
			fail_msg("%d of %d segments have reached the node", tcp_counter(&lab->node, "InSegs"), wanted);
		(void)ev_run(lab->loop, EVRUN_NOWAIT);
	}
}

static void hold_and_redirect(struct steering_lab *lab, unsigned family)
{
	struct connection connection = connect_to_lb(lab, family);
	int nodelay = 1, segments = tcp_counter(&lab->node, "InSegs");
	struct steering_counters before, after;

	steering_count(lab->steering, &before);
	assert_int_equal(steering_hold(lab->steering, &connection.flow), 0);
	assert_int_equal(setsockopt(connection.client, IPPROTO_TCP, TCP_NODELAY, &nodelay, sizeof(nodelay)), 0);
	/* A short packet and a merged one. */
	assert_int_equal(write(connection.client, "short", 5), 5);
	steering_lab_wait(lab, steering_lab_held, before.held + 1);
	write_bulk(connection.client);
	steering_lab_wait(lab, steering_lab_held, before.held + 2);
	assert_int_equal(
		steering_redirect(lab->steering, &connection.flow, family == 4 ? &lab->route4 : &lab->route6, NULL), 0);
	wait_for_segments(lab, segments + 2);
	steering_count(lab->steering, &after);
	assert_int_equal(after.hold_overflows, 0);
	steering_drop(lab->steering, &connection.flow);
	disconnect(&connection);
}

static void checksums_are_right_at_the_node(void **state)
{
	LAB(state)
	assert_int_equal(netns_call(&lab->lb, make_checksums_real, (void *)(uintptr_t) "out0"), 0);
	steering_lab_open(lab, 1024, 0);
	hold_and_redirect(lab, 4);
	hold_and_redirect(lab, 6);
	assert_int_equal(tcp_counter(&lab->node, "InCsumErrors"), 0);
	steering_lab_close(lab);
}

static void our_own_stack_is_mute_while_a_flow_is_away(void **state)
{
	struct connection connection;
	struct steering_counters counters;

	LAB(state)
	steering_lab_open(lab, 1024, 0);
	connection = connect_to_lb(lab, 4);
	assert_int_equal(steering_hold(lab->steering, &connection.flow), 0);
	assert_int_equal(write(connection.lb, "held", 4), 4);
	steering_lab_wait(lab, steering_lab_muted, 1);
	assert_int_equal(steering_redirect(lab->steering, &connection.flow, &lab->route4, NULL), 0);
	steering_count(lab->steering, &counters);
	/* The stack tries again after its timeout. */
	steering_lab_wait(lab, steering_lab_muted, counters.muted + 1);
	assert_false(is_readable(connection.client));
	assert_int_equal(steering_hold(lab->steering, &connection.flow), 0);
	steering_release(lab->steering, &connection.flow);
	assert_int_equal(poll(&(struct pollfd){.fd = connection.client, .events = POLLIN}, 1, PATIENCE_MS), 1);
	disconnect(&connection);
	steering_lab_close(lab);
}

/* What our stack says to a packet that finds no socket. */
static void say_reset(struct steering_lab *lab, const struct tcp_state *connection, uint64_t muted)
{
	struct tcp_fault fault;
	int said;

	assert_int_equal(netns_enter(&lab->lb), 0);
	said = tcp_reset(connection, connection->send_next, &fault);
	assert_int_equal(netns_leave(), 0);
	if (said < 0)
		fail_msg("%s: %s", fault.call, strerror(fault.error));
	steering_lab_wait(lab, steering_lab_muted, muted);
}

static void leave_a_placeholder(struct steering_lab *lab, unsigned family)
{
	static struct tcp_frozen frozen; /* too large for a stack */
	struct connection connection = connect_to_lb(lab, family);
	struct steering_counters before;
	struct tcp_fault fault;

	steering_count(lab->steering, &before);
	assert_int_equal(steering_hold(lab->steering, &connection.flow), 0);
	assert_int_equal(tcp_freeze(connection.lb, &frozen, &fault), 0);
	assert_int_equal(tcp_disconnect(connection.lb, &fault), 0);
	assert_int_equal(
		steering_redirect(lab->steering, &connection.flow, family == 4 ? &lab->route4 : &lab->route6, NULL), 0);
	say_reset(lab, &frozen.state, before.muted + 1);
	assert_int_equal(steering_hold(lab->steering, &connection.flow), 0);
	assert_int_equal(write(connection.client, "request", 7), 7);
	steering_lab_wait(lab, steering_lab_held, before.held + 1);
	say_reset(lab, &frozen.state, before.muted + 2);
	(void)close(connection.lb);
	connection.lb = -1;
	say_reset(lab, &frozen.state, before.muted + 3);
	/* A reset would have made it so; it comes when the flow is steered no more. */
	assert_false(is_readable(connection.client));
	steering_drop(lab->steering, &connection.flow);
	assert_int_equal(netns_enter(&lab->lb), 0);
	assert_int_equal(tcp_reset(&frozen.state, frozen.state.send_next, &fault), 0);
	assert_int_equal(netns_leave(), 0);
	assert_int_equal(poll(&(struct pollfd){.fd = connection.client, .events = POLLIN}, 1, PATIENCE_MS), 1);
	(void)close(connection.client);
}

/* A placeholder is a closed socket, for which the kernel would answer with resets. */
static void nobody_answers_for_a_placeholder(void **state)
{
	LAB(state)
	steering_lab_open(lab, 1024, 0);
	leave_a_placeholder(lab, 4);
	leave_a_placeholder(lab, 6);
	steering_lab_close(lab);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(bytes_that_were_held_reach_our_own_socket),
		cmocka_unit_test(checksums_are_right_at_the_node),
		cmocka_unit_test(our_own_stack_is_mute_while_a_flow_is_away),
		cmocka_unit_test(nobody_answers_for_a_placeholder),
	};

	return cmocka_run_group_tests(tests, steering_lab_make, steering_lab_remove);
}

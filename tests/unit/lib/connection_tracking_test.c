/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Guards: what becomes of a connection whose host tracks it, of each kind of socket; that an exempted one is not judged
 * any more; that one which began elsewhere is known until it is forgotten. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "connection_tracking.h"
#include "netns.h"

#define TRACK                                                                                                          \
	"nft add table inet t; nft 'add chain inet t in { type filter hook input priority 0; }'; nft add rule inet t " \
	"in ct state invalid drop"

struct host {
	struct netns netns;
	struct connection_tracking tracking;
	int listener, client, server;
};

static void run_in(const struct host *host, const char *command)
{
	if (netns_do(&host->netns, "%s", command) < 0)
		fail_msg("failed: %s", command);
}

/* A listening socket for both IP versions, as `bind :::443 v4v6` of HAProxy makes it. Returns its port. */
static uint16_t listen_for_both(struct host *host)
{
	struct sockaddr_in6 address = {.sin6_family = AF_INET6};
	socklen_t len = sizeof(address);

	host->listener = socket(AF_INET6, SOCK_STREAM, 0);
	assert_true(host->listener >= 0);
	assert_int_equal(bind(host->listener, (struct sockaddr *)&address, sizeof(address)), 0);
	assert_int_equal(listen(host->listener, 4), 0);
	assert_int_equal(getsockname(host->listener, (struct sockaddr *)&address, &len), 0);
	return ntohs(address.sin6_port);
}

static int host_open(void **state)
{
	static struct host host;

	host = (struct host){.listener = -1, .client = -1, .server = -1};
	assert_int_equal(netns_make(&host.netns), 0);
	run_in(&host, "ip address add 192.0.2.1/32 dev lo; ip address add 2001:db8::1/128 dev lo nodad");
	assert_int_equal(netns_enter(&host.netns), 0);
	connection_tracking_open(&host.tracking);
	*state = &host;
	return 0;
}

static void disconnect(struct host *host)
{
	const struct linger reset = {1, 0};

	if (host->client >= 0) {
		(void)setsockopt(host->client, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
		close(host->client);
		close(host->server);
		close(host->listener);
	}
	host->client = -1;
}

static int host_close(void **state)
{
	struct host *host = *state;

	disconnect(host);
	connection_tracking_close(&host->tracking);
	(void)netns_leave();
	netns_release(&host->netns);
	return 0;
}

/* Connects to the host's address of <family>, to <port> if it is not 0. */
static void connect_by(struct host *host, int family, uint16_t port)
{
	struct sockaddr_in v4 = {.sin_family = AF_INET};
	struct sockaddr_in6 v6 = {.sin6_family = AF_INET6};
	uint16_t own;

	disconnect(host);
	own = listen_for_both(host);
	if (port) { /* where the translation leads to */
		char command[160];

		(void)snprintf(
			command, sizeof(command),
			"nft add table inet n; nft 'add chain inet n out { type nat hook output priority -100; }'; "
			"nft add rule inet n out tcp dport %u dnat ip to 192.0.2.1:%u",
			port, own);
		run_in(host, command);
	}
	v4.sin_port = v6.sin6_port = htons(port ? port : own);
	(void)inet_pton(AF_INET, "192.0.2.1", &v4.sin_addr);
	(void)inet_pton(AF_INET6, "2001:db8::1", &v6.sin6_addr);
	host->client = socket(family, SOCK_STREAM, 0);
	assert_int_equal(family == AF_INET ? connect(host->client, (struct sockaddr *)&v4, sizeof(v4))
					   : connect(host->client, (struct sockaddr *)&v6, sizeof(v6)),
			 0);
	host->server = accept(host->listener, NULL, NULL);
	assert_true(host->server >= 0);
}

static void without_tracking_nothing_is_done(void **state)
{
	struct host *host = *state;
	struct connection_tracking_host facts;

	connect_by(host, AF_INET, 0);
	assert_int_equal(connection_tracking_exempt(&host->tracking, host->server), CONNECTION_UNTRACKED);
	connection_tracking_look(&facts);
	assert_false(facts.active);
	assert_int_equal(connection_tracking_exempt(&host->tracking, host->listener), CONNECTION_UNTRACKED);
}

static void a_look_counts_for_a_second(void **state)
{
	struct host *host = *state;

	assert_false(connection_tracking_was_active(&host->tracking, 10));
	run_in(host, TRACK);
	connect_by(host, AF_INET, 0);
	assert_true(connection_tracking_is_active());
	assert_false(connection_tracking_was_active(&host->tracking, 10.99));
	assert_true(connection_tracking_was_active(&host->tracking, 11.01));
}

static void tracked_connections_are_exempted(void **state)
{
	struct host *host = *state;

	run_in(host, TRACK);
	/* The first is an IPv4-mapped one at the server. */
	connect_by(host, AF_INET, 0);
	assert_int_equal(connection_tracking_exempt(&host->tracking, host->server), CONNECTION_EXEMPT);
	assert_true(connection_tracking_is_active());
	run_in(host, "echo 2 >/proc/sys/net/netfilter/nf_conntrack_tcp_timeout_established");
	connect_by(host, AF_INET6, 0);
	assert_int_equal(connection_tracking_exempt(&host->tracking, host->server), CONNECTION_EXEMPT);
	/* A transfer elsewhere lasts longer than that without a packet here. */
	run_in(host, "grep -Eq 'ipv6 .* tcp +6 (432000|4319[0-9][0-9]) ESTABLISHED' /proc/net/nf_conntrack");
	assert_int_equal(connection_tracking_works(&host->tracking), 0);
}

static void who_cannot_exempt_is_told(void **state)
{
	struct host *host = *state;
	struct connection_tracking none = {.netlink = -1};

	run_in(host, TRACK);
	connect_by(host, AF_INET, 0);
	assert_int_equal(connection_tracking_exempt(&none, host->server), CONNECTION_JUDGED);
	assert_int_equal(errno, EPROTONOSUPPORT);
	assert_int_equal(connection_tracking_works(&none), -1);
	run_in(host, "echo 1 >/proc/sys/net/netfilter/nf_conntrack_tcp_be_liberal");
	assert_int_equal(connection_tracking_exempt(&none, host->server), CONNECTION_EXEMPT);
}

static void translated_connection_is_told(void **state)
{
	struct host *host = *state;

	connect_by(host, AF_INET, 4443);
	assert_int_equal(connection_tracking_exempt(&host->tracking, host->server), CONNECTION_TRANSLATED);
}

static void connection_from_elsewhere_is_known_until_it_is_forgotten(void **state)
{
	struct host *host = *state;
	struct tcp_state connection = {.family = 4, .local.port = 443, .remote.port = 50000};
	struct connection_tracking_flow flow;

	run_in(host, TRACK);
	(void)inet_pton(AF_INET, "192.0.2.1", connection.local.address);
	(void)inet_pton(AF_INET, "198.51.100.7", connection.remote.address);
	assert_int_equal(connection_tracking_add(&host->tracking, &connection), 0);
	run_in(host, "grep -q 'ESTABLISHED src=198.51.100.7 dst=192.0.2.1 sport=50000 dport=443.*ASSURED' "
		     "/proc/net/nf_conntrack");
	/* It may be known from an earlier handoff. */
	assert_int_equal(connection_tracking_add(&host->tracking, &connection), 0);
	/* Its socket may have closed meanwhile. */
	flow = (struct connection_tracking_flow){connection.family, connection.remote, connection.local};
	connection_tracking_remove(&host->tracking, &flow);
	run_in(host, "! grep -q 'src=198.51.100.7 dst=192.0.2.1 sport=50000' /proc/net/nf_conntrack");
	connection_tracking_remove(&host->tracking, &flow);
	connect_by(host, AF_INET, 0);
	assert_int_equal(connection_tracking_exempt(&host->tracking, host->server), CONNECTION_EXEMPT);
}

int main(void)
{
#define HOST_TEST(name) cmocka_unit_test_setup_teardown(name, host_open, host_close)
	const struct CMUnitTest tests[] = {
		HOST_TEST(without_tracking_nothing_is_done),
		HOST_TEST(a_look_counts_for_a_second),
		HOST_TEST(tracked_connections_are_exempted),
		HOST_TEST(who_cannot_exempt_is_told),
		HOST_TEST(translated_connection_is_told),
		HOST_TEST(connection_from_elsewhere_is_known_until_it_is_forgotten),
	};
	char why[200];

	if (!netns_usable(why, sizeof(why))) {
		fprintf(stderr, "skipped: %s\n", why);
		return 0;
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}

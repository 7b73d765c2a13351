/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Guards: of all packets that a node sends, only those with FIN or RST from a VIP are dropped; the guard outlives its
 * process, and the next one takes its place. */
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
#include <net/if.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "egress_guard.h"
#include "netns.h"
#include "raw_packet.h"
#include "traffic_filter.h"

#define PATIENCE_MS 5000

enum flag { FIN = 1, RST = 4, ACK = 16 };

static const char *const interfaces[] = {"eth0", NULL};

struct fixture {
	struct netns node, peer;
	struct raw_sender sender; /* the node's way out */
	struct raw_watcher wire;  /* what arrives of it */
	struct address vips[2];
	struct egress_guard *guard;
};

static int make(void **state)
{
	static struct fixture fixture;
	const char *why;
	char reason[128];

	*state = NULL;
	if (!netns_usable(reason, sizeof(reason))) {
		print_message("skipped: %s\n", reason);
		return 0;
	}
	if (address_parse(&fixture.vips[0], "192.0.2.1:1", &why) < 0 ||
	    address_parse(&fixture.vips[1], "[2001:db8:1::1]:1", &why) < 0)
		return -1;
	if (netns_make(&fixture.node) < 0 || netns_make(&fixture.peer) < 0 ||
	    netns_link(&fixture.node, "eth0", &fixture.peer, "eth0") < 0)
		return -1;
	if (raw_sender_open(&fixture.sender, &fixture.node, "eth0", &fixture.peer, "eth0") < 0 ||
	    raw_watch_wire(&fixture.wire, &fixture.peer, "eth0") < 0)
		return -1;
	*state = &fixture;
	return 0;
}

static int remove_all(void **state)
{
	struct fixture *fixture = *state;

	if (!fixture)
		return 0;
	raw_sender_close(&fixture->sender);
	raw_watcher_close(&fixture->wire);
	netns_release(&fixture->node);
	netns_release(&fixture->peer);
	return 0;
}

#define FIXTURE(state)                      \
	struct fixture *fixture = *(state); \
                                            \
	if (!fixture) {                     \
		skip();                     \
		return;                     \
	}

static int open_guard(void *context)
{
	struct fixture *fixture = context;
	char error[256] = "";

	fixture->guard = egress_guard_open(interfaces, fixture->vips, 2, error, sizeof(error));
	if (fixture->guard)
		return 0;
	print_error("%s\n", error);
	return -1;
}

static int close_guard(void *context)
{
	struct fixture *fixture = context;

	egress_guard_close(fixture->guard);
	fixture->guard = NULL;
	return 0;
}

static int program_attached(void *context)
{
	(void)context;
	return (int)traffic_filter_find(if_nametoindex("eth0"), TRAFFIC_EGRESS, TRAFFIC_FILTER_GUARD);
}

/* A connection between the VIP, or another address, and a client. */
static struct tcp_state flow_of(unsigned family, const char *local)
{
	struct tcp_state flow = {.family = (uint8_t)family, .local.port = 443, .remote.port = 1234};
	int domain = family == 4 ? AF_INET : AF_INET6;

	assert_int_equal(inet_pton(domain, local, flow.local.address), 1);
	assert_int_equal(inet_pton(domain, family == 4 ? "203.0.113.9" : "2001:db8:9::9", flow.remote.address), 1);
	return flow;
}

static void send_from(struct fixture *fixture, const struct tcp_state *flow, uint32_t seq, uint8_t flags,
		      enum raw_extension extension)
{
	struct raw_packet packet = {.flow = flow,
				    .reverse = true,
				    .seq = seq,
				    .ack = 1,
				    .flags = flags,
				    .extension = extension,
				    .payload = 10};

	/* A packet socket hears of it when its packet is dropped. */
	if (raw_send(&fixture->sender, &packet) < 0)
		assert_int_equal(errno, ENOBUFS);
}

static void expect(struct fixture *fixture, uint32_t seq)
{
	struct raw_seen seen;

	if (raw_next(&fixture->wire, &seen, PATIENCE_MS) < 0)
		fail_msg("packet %u has not left", seq);
	assert_int_equal(seen.seq, seq);
}

static void check_family(struct fixture *fixture, unsigned family, const char *vip, const char *other)
{
	struct tcp_state guarded = flow_of(family, vip), free_flow = flow_of(family, other);
	uint64_t dropped = egress_guard_dropped(fixture->guard);

	send_from(fixture, &guarded, 1, FIN | ACK, RAW_NONE);
	send_from(fixture, &guarded, 2, RST, RAW_NONE);
	send_from(fixture, &guarded, 3, RST | ACK, RAW_NONE);
	send_from(fixture, &guarded, 4, ACK, RAW_NONE);
	expect(fixture, 4);
	assert_int_equal(egress_guard_dropped(fixture->guard), dropped + 3);
	send_from(fixture, &free_flow, 5, FIN | ACK, RAW_NONE);
	expect(fixture, 5);
	send_from(fixture, &free_flow, 6, RST, RAW_NONE);
	expect(fixture, 6);
	assert_int_equal(egress_guard_dropped(fixture->guard), dropped + 3);
}

static void only_fin_and_rst_of_a_vip_are_dropped(void **state)
{
	struct tcp_state guarded6;

	FIXTURE(state)
	assert_int_equal(netns_call(&fixture->node, open_guard, fixture), 0);
	check_family(fixture, 4, "192.0.2.1", "192.0.2.2");
	check_family(fixture, 6, "2001:db8:1::1", "2001:db8:1::2");
	guarded6 = flow_of(6, "2001:db8:1::1");
	send_from(fixture, &guarded6, 7, RST, RAW_CHAIN);
	send_from(fixture, &guarded6, 8, ACK, RAW_CHAIN);
	expect(fixture, 8);
	assert_int_equal(egress_guard_dropped(fixture->guard), 7);
	assert_int_equal(netns_call(&fixture->node, close_guard, fixture), 0);
	assert_int_equal(netns_call(&fixture->node, program_attached, NULL), 0);
	send_from(fixture, &guarded6, 9, RST, RAW_NONE);
	expect(fixture, 9);
}

struct victim {
	struct fixture *fixture;
	int ready;
};

static int be_killed(void *context)
{
	struct victim *victim = context;

	if (open_guard(victim->fixture) < 0 || write(victim->ready, "", 1) != 1)
		return 1;
	for (;;)
		(void)pause();
}

static void a_killed_process_leaves_its_guard_to_the_next(void **state)
{
	struct victim victim;
	struct tcp_state guarded;
	int ends[2], status, left;
	char byte;
	pid_t child;

	FIXTURE(state)
	guarded = flow_of(4, "192.0.2.1");
	assert_int_equal(pipe(ends), 0);
	victim = (struct victim){.fixture = fixture, .ready = ends[1]};
	child = netns_spawn(&fixture->node, be_killed, &victim);
	assert_true(child > 0);
	(void)close(ends[1]);
	assert_int_equal(read(ends[0], &byte, 1), 1);
	(void)close(ends[0]);
	assert_int_equal(kill(child, SIGKILL), 0);
	assert_int_equal(waitpid(child, &status, 0), child);
	left = netns_call(&fixture->node, program_attached, NULL);
	assert_true(left > 0);
	send_from(fixture, &guarded, 1, RST, RAW_NONE);
	send_from(fixture, &guarded, 2, ACK, RAW_NONE);
	expect(fixture, 2);

	assert_int_equal(netns_call(&fixture->node, open_guard, fixture), 0);
	assert_int_not_equal(netns_call(&fixture->node, program_attached, NULL), left);
	send_from(fixture, &guarded, 3, RST, RAW_NONE);
	send_from(fixture, &guarded, 4, ACK, RAW_NONE);
	expect(fixture, 4);
	assert_int_equal(egress_guard_dropped(fixture->guard), 1);
	assert_int_equal(netns_call(&fixture->node, close_guard, fixture), 0);
	assert_int_equal(netns_call(&fixture->node, program_attached, NULL), 0);
}

static int open_on_nothing(void *context)
{
	static const char *const missing[] = {"eth0", "nowhere0", NULL};
	struct fixture *fixture = context;
	char error[256] = "";

	fixture->guard = egress_guard_open(missing, fixture->vips, 2, error, sizeof(error));
	assert_null(fixture->guard);
	assert_string_equal(error, "there is no interface nowhere0");
	return 0;
}

static void a_missing_interface_is_named_and_nothing_attached(void **state)
{
	FIXTURE(state)
	assert_int_equal(netns_call(&fixture->node, open_on_nothing, fixture), 0);
	assert_int_equal(netns_call(&fixture->node, program_attached, NULL), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(only_fin_and_rst_of_a_vip_are_dropped),
		cmocka_unit_test(a_killed_process_leaves_its_guard_to_the_next),
		cmocka_unit_test(a_missing_interface_is_named_and_nothing_attached),
	};

	return cmocka_run_group_tests(tests, make, remove_all);
}

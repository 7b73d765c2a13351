/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Guards: what becomes of steering when its process is killed and another comes, which privileges it needs, and what it
 * says when something is missing. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <errno.h>
#include <net/if.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "capabilities.h"
#include "steering_lab.h"
#include "traffic_filter.h"

#define LAB(state)                           \
	struct steering_lab *lab = *(state); \
                                             \
	if (!lab) {                          \
		skip();                      \
		return;                      \
	}

/* --- killed --- */

struct victim {
	struct steering_lab *lab;
	struct tcp_state held, redirected;
	int ready; /* a pipe to the test */
};

static struct steering *open_on(struct ev_loop *loop, const char *const *interfaces, char *error, size_t error_size)
{
	struct steering_settings settings = {.interfaces = interfaces, .max_flows = 64};

	return steering_open(loop, &settings, NULL, NULL, error, error_size);
}

static int be_killed(void *context)
{
	static const char *const interfaces[] = {"in0", "out0", NULL};
	struct victim *victim = context;
	char error[256];
	struct steering *steering = open_on(victim->lab->loop, interfaces, error, sizeof(error));
	struct steering_route route = {.interface = if_nametoindex("out0")};
	const char *why;

	if (!steering || address_parse(&route.node, "198.51.100.2:1", &why) < 0)
		return 1;
	if (steering_hold(steering, &victim->held) < 0 || steering_hold(steering, &victim->redirected) < 0 ||
	    steering_redirect(steering, &victim->redirected, &route, NULL) < 0)
		return 2;
	if (write(victim->ready, "", 1) != 1)
		return 3;
	for (;;)
		(void)pause();
}

struct found {
	unsigned count;
	struct tcp_state flows[2];
	struct steering_seen seen[2];
};

static void on_leftover(void *context, const struct tcp_state *flow, const struct steering_seen *seen)
{
	struct found *found = context;

	assert_true(found->count < 2);
	found->flows[found->count] = *flow;
	found->seen[found->count++] = *seen;
}

static struct steering *open_after(struct steering_lab *lab, struct found *found)
{
	static const char *const interfaces[] = {"in0", NULL};
	struct steering_settings settings = {.interfaces = interfaces, .max_flows = 64};
	char error[256] = "";

	return steering_open(lab->loop, &settings, on_leftover, found, error, sizeof(error));
}

static int is_attached(void *name)
{
	unsigned interface = if_nametoindex(name);

	return traffic_filter_find(interface, TRAFFIC_INGRESS, TRAFFIC_FILTER_STEERING) != 0 ||
	       traffic_filter_find(interface, TRAFFIC_EGRESS, TRAFFIC_FILTER_STEERING) != 0;
}

static void kill_after(struct steering_lab *lab, struct victim *victim)
{
	int ends[2], status;
	char byte;
	pid_t child;

	assert_int_equal(pipe(ends), 0);
	victim->ready = ends[1];
	child = netns_spawn(&lab->lb, be_killed, victim);
	assert_true(child > 0);
	(void)close(ends[1]);
	assert_int_equal(read(ends[0], &byte, 1), 1);
	(void)close(ends[0]);
	steering_lab_send(lab, &victim->redirected, 1);
	steering_lab_expect_node(lab, 1);
	assert_int_equal(kill(child, SIGKILL), 0);
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFSIGNALED(status));
}

static void flows_of_a_killed_process_are_steered_until_the_next_one(void **state)
{
	struct found found = {0};
	struct victim victim;
	unsigned redirected;

	LAB(state)
	victim = (struct victim){
		.lab = lab, .held = steering_lab_flow(6, 5000), .redirected = steering_lab_flow(4, 5001)};
	kill_after(lab, &victim);
	steering_lab_send(lab, &victim.redirected, 2);
	steering_lab_expect_node(lab, 2);
	steering_lab_send(lab, &victim.held, 3);
	steering_lab_expect_nothing(lab, 6);
	assert_int_equal(netns_call(&lab->lb, is_attached, (void *)(uintptr_t) "out0"), 1);

	assert_int_equal(netns_enter(&lab->lb), 0);
	lab->steering = open_after(lab, &found);
	assert_int_equal(netns_leave(), 0);
	assert_non_null(lab->steering);
	assert_int_equal(found.count, 2);
	redirected = found.flows[0].family == 4 ? 0 : 1;
	assert_memory_equal(&found.flows[redirected], &victim.redirected, sizeof(struct tcp_state));
	assert_memory_equal(&found.flows[!redirected], &victim.held, sizeof(struct tcp_state));
	assert_int_equal(found.seen[redirected].packets, 2);
	assert_int_equal(found.seen[!redirected].sequence_end, 3);
	assert_int_equal(netns_call(&lab->lb, is_attached, (void *)(uintptr_t) "out0"), 0);
	assert_int_equal(netns_call(&lab->lb, is_attached, (void *)(uintptr_t) "in0"), 1);

	steering_lab_send(lab, &victim.redirected, 4);
	steering_lab_expect_stack(lab, 4, 4);
	steering_lab_close(lab);
	assert_int_equal(netns_call(&lab->lb, is_attached, (void *)(uintptr_t) "in0"), 0);
}

/* Where a child's standard error goes. */
static int errors_fd = -1;

static int open_unread(void *context)
{
	struct steering_lab *lab = context;
	struct found found = {0};
	char error[256];

	if (dup2(errors_fd, STDERR_FILENO) < 0 ||
	    capabilities_keep("cap_bpf cap_net_admin cap_net_raw", error, sizeof(error)) < 0)
		return 1;
	lab->steering = open_after(lab, &found);
	if (!lab->steering || found.count)
		return 2;
	steering_close(lab->steering);
	return 0;
}

static void without_sys_admin_left_overs_are_cleared_unread_and_that_is_said(void **state)
{
	struct victim victim;
	char said[512] = "";
	int status;

	LAB(state)
	victim = (struct victim){
		.lab = lab, .held = steering_lab_flow(6, 5010), .redirected = steering_lab_flow(4, 5011)};
	kill_after(lab, &victim);
	errors_fd = memfd_create("errors", MFD_CLOEXEC);
	assert_true(errors_fd >= 0);
	status = netns_spawn(&lab->lb, open_unread, lab);
	assert_true(status > 0);
	assert_int_equal(waitpid(status, &status, 0) > 0 ? status : -1, 0);
	assert_true(pread(errors_fd, said, sizeof(said) - 1, 0) >= 0);
	(void)close(errors_fd);
	assert_string_equal(said,
			    "<4>steering: connections that an earlier process steered on in0 are not found, and reset "
			    "only when their clients next send something: to read its table takes "
			    "cap_sys_admin\n");
	assert_int_equal(netns_call(&lab->lb, is_attached, (void *)(uintptr_t) "in0"), 0);
	assert_int_equal(netns_call(&lab->lb, is_attached, (void *)(uintptr_t) "out0"), 0);
	steering_lab_send(lab, &victim.redirected, 2);
	steering_lab_expect_stack(lab, 4, 2);
}

/* --- privileges --- */

static int hold_one_with_little(void *context)
{
	static const char *const interfaces[] = {"in0", NULL};
	struct victim *victim = context;
	struct steering_counters counters = {0};
	struct steering *steering;
	struct steering_route route;
	struct address node;
	char error[256] = "";
	const char *why;

	if (capabilities_keep("cap_bpf cap_net_admin cap_net_raw", error, sizeof(error)) < 0)
		return 1;
	steering = open_on(victim->lab->loop, interfaces, error, sizeof(error));
	if (!steering || capabilities_keep("cap_net_admin", error, sizeof(error)) < 0)
		return 2;
	if (address_parse(&node, "198.51.100.2:1", &why) < 0 ||
	    steering_route_find(steering, &node, &route, error, sizeof(error)) < 0 || !steering_route_usable(&route))
		return 3;
	if (steering_hold(steering, &victim->held) < 0)
		return 4;
	steering_lab_send(victim->lab, &victim->held, 71);
	for (int i = 0; counters.held < 1 && i < 1000000; i++) {
		(void)ev_run(victim->lab->loop, EVRUN_NOWAIT);
		steering_count(steering, &counters);
	}
	if (steering_redirect(steering, &victim->held, &route, NULL) < 0)
		return 5;
	steering_release(steering, &victim->held);
	steering_count(steering, &counters);
	steering_close(steering);
	return counters.reinjected == 1 && !counters.flows ? 0 : 6;
}

static int status_of(struct steering_lab *lab, int (*function)(void *context), void *context)
{
	pid_t child = netns_spawn(&lab->lb, function, context);
	int status = -1;

	assert_true(child > 0);
	assert_int_equal(waitpid(child, &status, 0), child);
	return status;
}

static void net_admin_is_enough_once_it_is_open(void **state)
{
	struct victim victim;

	LAB(state)
	victim = (struct victim){.lab = lab, .held = steering_lab_flow(4, 5100)};
	assert_int_equal(status_of(lab, hold_one_with_little, &victim), 0);
	steering_lab_expect_node(lab, 71);
}

static int open_without_bpf(void *context)
{
	static const char *const interfaces[] = {"in0", NULL};
	struct victim *victim = context;
	char error[256] = "";

	if (capabilities_keep("cap_net_admin", error, sizeof(error)) < 0)
		return 1;
	if (open_on(victim->lab->loop, interfaces, error, sizeof(error)))
		return 2;
	return strcmp(error, "steering needs cap_bpf cap_net_raw") == 0 ? 0 : 3;
}

static void missing_capabilities_are_named(void **state)
{
	struct victim victim;

	LAB(state)
	victim = (struct victim){.lab = lab};
	assert_int_equal(status_of(lab, open_without_bpf, &victim), 0);
}

/* --- what is wrong --- */

static void expect_open_error(struct steering_lab *lab, const char *interface, const char *expected)
{
	const char *const interfaces[] = {interface, NULL};
	char error[256] = "";
	struct steering *steering;

	assert_int_equal(netns_enter(&lab->lb), 0);
	steering = open_on(lab->loop, interfaces, error, sizeof(error));
	assert_int_equal(netns_leave(), 0);
	assert_null(steering);
	assert_string_equal(error, expected);
}

static void unfit_interfaces_are_named(void **state)
{
	LAB(state)
	assert_int_equal(netns_do(&lab->lb, "ip tuntap add dev notether mode tun"), 0);
	expect_open_error(lab, "nowhere0", "there is no interface nowhere0");
	expect_open_error(lab, "notether", "interface notether is not Ethernet");
	assert_int_equal(netns_do(&lab->lb, "ip link delete notether"), 0);
	expect_open_error(lab, NULL, "steering needs an interface on which clients' packets come in");
}

static void expect_route_error(struct steering_lab *lab, const char *node, const char *expected)
{
	struct steering_route route;
	struct address address;
	char error[256] = "";
	const char *why;
	int result;

	assert_int_equal(address_parse(&address, node, &why), 0);
	assert_int_equal(netns_enter(&lab->lb), 0);
	result = steering_route_find(lab->steering, &address, &route, error, sizeof(error));
	assert_int_equal(netns_leave(), 0);
	assert_int_equal(result, -1);
	assert_string_equal(error, expected);
}

/* The kernel notices a lost carrier in its own time. */
static void wait_for_state(struct steering_lab *lab, const char *pattern)
{
	assert_int_equal(
		netns_do(&lab->lb,
			 "for i in $(seq 2000); do ip -o link show out0 | grep -qE 'state %s' && exit 0; done; "
			 "exit 1",
			 pattern),
		0);
}

static void routes_that_do_not_do_are_explained(void **state)
{
	LAB(state)
	steering_lab_open(lab, 64, 0);
	expect_route_error(lab, "203.0.113.1:1", "node 203.0.113.1: no route to it: Network is unreachable");
	expect_route_error(lab, "192.0.2.1:1", "node 192.0.2.1: is an address of this host");
	expect_route_error(lab, "[2001:db8:2::1]:1", "node [2001:db8:2::1]: is an address of this host");
	assert_int_equal(netns_do(&lab->lb, "ip route add 203.0.113.0/24 via 198.51.100.2"), 0);
	expect_route_error(lab, "203.0.113.1:1",
			   "node 203.0.113.1: is reached only through a gateway, on interface out0");
	assert_int_equal(netns_do(&lab->lb, "ip link set out0 mtu 1400"), 0);
	expect_route_error(lab, "198.51.100.2:1",
			   "node 198.51.100.2: interface out0 to it has MTU 1400, smaller than 1500 of the clients' "
			   "interface in0");
	assert_int_equal(netns_do(&lab->node, "ip link set eth0 down"), 0);
	wait_for_state(lab, "(LOWERLAYER)?DOWN");
	expect_route_error(lab, "198.51.100.2:1",
			   "node 198.51.100.2: is reached through an interface that is down: out0");
	assert_int_equal(netns_do(&lab->lb, "ip link set out0 mtu 1500"), 0);
	assert_int_equal(netns_do(&lab->node, "ip link set eth0 up && ip address replace 2001:db8:2::2/64 dev eth0"),
			 0);
	wait_for_state(lab, "UP");
	steering_lab_close(lab);
}

static int is_usable(void *route)
{
	return steering_route_usable(route);
}

static void a_silent_node_is_not_usable(void **state)
{
	const char *why;
	struct steering_route nobody;

	LAB(state)
	steering_lab_open(lab, 64, 0);
	nobody = lab->route4;
	assert_int_equal(address_parse(&nobody.node, "198.51.100.77:1", &why), 0);
	assert_int_equal(
		netns_do(&lab->lb,
			 "cd /proc/sys/net/ipv4/neigh/out0 && echo 1 >mcast_solicit && echo 20 >retrans_time_ms"),
		0);
	assert_int_equal(netns_call(&lab->lb, is_usable, &nobody), 1); /* nobody knows yet */
	for (int i = 0; netns_call(&lab->lb, is_usable, &nobody) == 1; i++)
		assert_true(i < 1000000);
	assert_int_equal(netns_call(&lab->lb, is_usable, &lab->route4), 1);
	assert_int_equal(netns_call(&lab->lb, is_usable, &lab->route6), 1);
	steering_lab_close(lab);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(flows_of_a_killed_process_are_steered_until_the_next_one),
		cmocka_unit_test(without_sys_admin_left_overs_are_cleared_unread_and_that_is_said),
		cmocka_unit_test(net_admin_is_enough_once_it_is_open),
		cmocka_unit_test(missing_capabilities_are_named),
		cmocka_unit_test(unfit_interfaces_are_named),
		cmocka_unit_test(routes_that_do_not_do_are_explained),
		cmocka_unit_test(a_silent_node_is_not_usable),
	};

	return cmocka_run_group_tests(tests, steering_lab_make, steering_lab_remove);
}

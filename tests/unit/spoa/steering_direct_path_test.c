/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Guards: the direct path starts only where it can serve, says in one line what is missing, and keeps no capability
 * that it does not need; it promises no more connections than it has descriptors for, and a node that does not answer
 * on the wire is named. */
#include <fcntl.h>
#include <linux/sockios.h>
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
#include <netinet/in.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "capabilities.h"
#include "direct_path.h"
#include "handoff_message.h"
#include "node_reach.h"
#include "steering_lab.h"
#include "traffic_filter.h"

#define ALL "cap_bpf cap_net_admin cap_net_bind_service cap_net_raw cap_sys_admin"
#define OFF "<4>the direct path is off, bodies take the splice path: "

#define LAB(state)                           \
	struct steering_lab *lab = *(state); \
                                             \
	if (!lab) {                          \
		skip();                      \
		return;                      \
	}

/* --- starting it, in a child that keeps the losses to itself --- */

struct start {
	struct ev_loop *loop;
	const char *capabilities; /* what the process has */
	size_t max_flows;
	rlim_t descriptors; /* hard limit; 0: as it is */
	bool no_folder;     /* for the handoff socket */
	/* What the child does with it, NULL if it did not start. Returns 0, or which assertion failed. */
	int (*check)(struct start *start, struct direct_path *direct);
	char folder[64];
	struct address socket;
	int errors; /* where its standard error goes */
};

static const char *const clients_interfaces[] = {"in0", NULL};

static struct direct_path *open_direct_path(struct start *start, struct spoa_config *config)
{
	static struct node_link *const links[NODE_MAX];
	static struct spoa_metrics metrics;
	struct direct_path_owner owner = {.loop = start->loop, .config = config, .metrics = &metrics, .links = links};

	*config = (struct spoa_config){.workers = 1, .max_connections = 100};
	config->direct = (struct spoa_config_direct){
		.enabled = true,
		.socket = start->socket,
		.owner = {0600, (uid_t)-1, (gid_t)-1},
		.interfaces = (const char **)(uintptr_t)clients_interfaces,
		.max_flows = start->max_flows,
		.breaker = {3, 30.},
		.handoff_timeout = 2.,
	};
	return spoa_metrics_init(&metrics, NULL, 0) == 0 ? direct_path_new(&owner) : NULL;
}

static int start_it(void *context)
{
	struct start *start = context;
	struct rlimit limit = {start->descriptors / 2, start->descriptors};
	static struct spoa_config config;
	struct direct_path *direct;
	char error[256];
	int result;

	if (dup2(start->errors, STDERR_FILENO) < 0 || (limit.rlim_max > 0 && setrlimit(RLIMIT_NOFILE, &limit) < 0) ||
	    capabilities_keep(start->capabilities, error, sizeof(error)) < 0)
		return 100;
	direct = open_direct_path(start, &config);
	result = start->check(start, direct);
	direct_path_free(direct);
	return result;
}

/* Returns what <check> returned, with what was said in <said>. */
static int result_of(struct steering_lab *lab, struct start *start, char *said, size_t said_size)
{
	char text[ADDRESS_TEXT_MAX];
	const char *why;
	ssize_t len;
	int status;
	pid_t child;

	(void)snprintf(start->folder, sizeof(start->folder), "/tmp/disc-direct-XXXXXX");
	assert_non_null(mkdtemp(start->folder));
	(void)snprintf(text, sizeof(text), "unix:%s%s/handoff.sock", start->folder, start->no_folder ? "/nowhere" : "");
	assert_int_equal(address_parse(&start->socket, text, &why), 0);
	start->loop = lab->loop;
	start->errors = memfd_create("errors", MFD_CLOEXEC);
	assert_true(start->errors >= 0);
	child = netns_spawn(&lab->lb, start_it, start);
	assert_true(child > 0);
	assert_int_equal(waitpid(child, &status, 0), child);
	len = pread(start->errors, said, said_size - 1, 0);
	assert_true(len >= 0);
	said[len] = '\0';
	(void)close(start->errors);
	if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
		print_message("%s", said);
	(void)unlink(text + strlen("unix:"));
	(void)rmdir(start->folder);
	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status);
}

static bool has_none(void)
{
	char missing[64];

	return capabilities_have("cap_net_admin", missing, sizeof(missing)) < 0 &&
	       capabilities_have("cap_net_bind_service", missing, sizeof(missing)) < 0 &&
	       capabilities_have("cap_sys_admin", missing, sizeof(missing)) < 0;
}

static int is_attached(void *name)
{
	return traffic_filter_find(if_nametoindex(name), TRAFFIC_INGRESS, TRAFFIC_FILTER_STEERING) != 0 ||
	       traffic_filter_find(if_nametoindex(name), TRAFFIC_EGRESS, TRAFFIC_FILTER_STEERING) != 0;
}

static int expect_off(struct start *start, struct direct_path *direct)
{
	(void)start;
	if (direct)
		return 1;
	if (!has_none())
		return 2;
	return is_attached((void *)(uintptr_t) "in0") ? 3 : 0;
}

static int expect_on(struct start *start, struct direct_path *direct)
{
	char missing[64];

	(void)start;
	if (!direct || !is_attached((void *)(uintptr_t) "in0"))
		return 1;
	if (capabilities_have("cap_net_admin", missing, sizeof(missing)) < 0)
		return 2;
	return capabilities_have("cap_bpf cap_net_raw cap_sys_admin", missing, sizeof(missing)) < 0 &&
			       strcmp(missing, "cap_bpf cap_net_raw cap_sys_admin") == 0
		       ? 0
		       : 3;
}

/* --- capabilities --- */

static void a_missing_capability_is_named_at_the_start(void **state)
{
	static const struct {
		const char *capabilities, *said;
	} cases[] = {
		{"cap_bpf cap_net_admin cap_net_raw", OFF "it needs cap_net_bind_service\n"},
		{"cap_bpf cap_net_bind_service cap_net_raw", OFF "it needs cap_net_admin\n"},
		{"", OFF "it needs cap_net_admin cap_net_bind_service\n"},
		{"cap_net_admin cap_net_bind_service", OFF "steering needs cap_bpf cap_net_raw\n"},
	};
	char said[1024];

	LAB(state)
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct start start = {.capabilities = cases[i].capabilities, .max_flows = 16, .check = expect_off};

		assert_int_equal(result_of(lab, &start, said, sizeof(said)), 0);
		assert_string_equal(said, cases[i].said);
	}
}

static void ports_that_all_may_bind_need_no_capability(void **state)
{
	struct start start = {.capabilities = "cap_bpf cap_net_admin cap_net_raw", .max_flows = 16, .check = expect_on};
	char said[1024];

	LAB(state)
	assert_int_equal(netns_do(&lab->lb, "echo 0 >/proc/sys/net/ipv4/ip_unprivileged_port_start"), 0);
	assert_int_equal(result_of(lab, &start, said, sizeof(said)), 0);
	assert_string_equal(said, "");
	assert_int_equal(netns_do(&lab->lb, "echo 1024 >/proc/sys/net/ipv4/ip_unprivileged_port_start"), 0);
}

static void what_is_not_needed_later_is_given_up(void **state)
{
	struct start start = {.capabilities = ALL, .max_flows = 16, .check = expect_on};
	char said[1024];

	LAB(state)
	assert_int_equal(result_of(lab, &start, said, sizeof(said)), 0);
	assert_string_equal(said, "");
	assert_int_equal(netns_call(&lab->lb, is_attached, (void *)(uintptr_t) "in0"), 0);
}

static void a_direct_path_that_is_off_keeps_no_capability(void **state)
{
	struct start start = {.capabilities = ALL, .max_flows = 16, .no_folder = true, .check = expect_off};
	char said[1024];

	LAB(state)
	assert_int_equal(result_of(lab, &start, said, sizeof(said)), 0);
	assert_non_null(strstr(said, "handoff.sock: No such file or directory"));
}

/* --- descriptors --- */

static void no_more_is_handed_off_than_there_are_descriptors_for(void **state)
{
	struct start start = {.capabilities = ALL, .max_flows = 1000, .descriptors = 1212, .check = expect_on};
	char said[1024];

	LAB(state)
	assert_int_equal(result_of(lab, &start, said, sizeof(said)), 0);
	assert_string_equal(said,
			    "<4>of max-flows = 1000 connections only 200 can be handed off at a time: this process may "
			    "open 1212 files, needs 3 for each connection and 612 for others (LimitNOFILE)\n");
	start.descriptors = 3612;
	assert_int_equal(result_of(lab, &start, said, sizeof(said)), 0);
	assert_string_equal(said, "");
	start.descriptors = 614;
	start.check = expect_off;
	assert_int_equal(result_of(lab, &start, said, sizeof(said)), 0);
	assert_string_equal(said, OFF "this process may open 614 files, needs 3 for each connection and 612 for others "
				      "(LimitNOFILE)\n");
}

static int send_fd(int haproxy, const struct handoff_message *message, int fd)
{
	union {
		struct cmsghdr header;
		char bytes[CMSG_SPACE(sizeof(int))];
	} control = {.header = {.cmsg_len = CMSG_LEN(sizeof(int)), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS}};
	uint8_t bytes[HANDOFF_MESSAGE_MAX];
	struct iovec part = {.iov_base = bytes, .iov_len = handoff_message_encode(bytes, message)};
	struct msghdr whole = {
		.msg_iov = &part, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof(control)};

	memcpy(CMSG_DATA(&control.header), &fd, sizeof(fd));
	return sendmsg(haproxy, &whole, MSG_NOSIGNAL) < 0 ? -1 : 0;
}

/* Connects as HAProxy does, and waits until the agent has mapped the memory. */
static int connect_haproxy(const struct start *start)
{
	const struct handoff_message places = {.type = HANDOFF_MESSAGE_PLACES};
	int haproxy = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	int memory = memfd_create("places", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	int unread = 1;

	if (haproxy < 0 || memory < 0 || ftruncate(memory, 4096) < 0 || fcntl(memory, F_ADD_SEALS, F_SEAL_SHRINK) < 0 ||
	    connect(haproxy, (const struct sockaddr *)&start->socket.storage, start->socket.len) < 0 ||
	    send_fd(haproxy, &places, memory) < 0)
		return -1;
	for (int i = 0; unread && i < 1000000; i++) {
		(void)ev_run(start->loop, EVRUN_NOWAIT);
		if (ioctl(haproxy, SIOCOUTQ, &unread) < 0)
			return -1;
	}
	(void)close(memory);
	return unread ? -1 : haproxy;
}

static int expect_one_refusal(struct start *start, struct direct_path *direct)
{
	struct handoff_message message = {.type = HANDOFF_MESSAGE_PARKED,
					  .handoff = 7,
					  .ticket = {{1}},
					  .bytes = 99,
					  .announcement = "direct",
					  .announcement_len = 6,
					  .target = "/a",
					  .target_len = 2};
	uint8_t bytes[HANDOFF_MESSAGE_MAX];
	struct rlimit limit, none;
	ssize_t len = -1;
	int haproxy, client = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (!direct || getrlimit(RLIMIT_NOFILE, &limit) < 0)
		return 1;
	haproxy = connect_haproxy(start);
	if (haproxy < 0 || client < 0 || send_fd(haproxy, &message, client) < 0)
		return 2;
	/* None is free. */
	none = (struct rlimit){(rlim_t)dup(haproxy), limit.rlim_max};
	(void)close((int)none.rlim_cur);
	if (setrlimit(RLIMIT_NOFILE, &none) < 0)
		return 3;
	for (int i = 0; len < 0 && i < 1000000; i++) {
		(void)ev_run(start->loop, EVRUN_NOWAIT);
		len = recv(haproxy, bytes, sizeof(bytes), MSG_DONTWAIT);
	}
	(void)setrlimit(RLIMIT_NOFILE, &limit);
	if (len <= 0 || handoff_message_decode(&message, bytes, (size_t)len) != HANDOFF_MESSAGE_OK)
		return 4;
	if (message.type != HANDOFF_MESSAGE_REFUSED || message.handoff != 7)
		return 5;
	(void)ev_run(start->loop, EVRUN_NOWAIT);
	return recv(haproxy, bytes, sizeof(bytes), MSG_DONTWAIT) < 0 && errno == EAGAIN ? 0 : 6;
}

static void without_a_descriptor_the_handoff_is_refused(void **state)
{
	struct start start = {.capabilities = ALL, .max_flows = 16, .check = expect_one_refusal};
	char said[1024];

	LAB(state)
	assert_int_equal(result_of(lab, &start, said, sizeof(said)), 0);
	assert_string_equal(said,
			    "<4>ticket 01000000 takes the splice path: no descriptor is left for its connection\n");
}

/* --- nodes --- */

struct look {
	struct node_reach routes;
	struct steering *steering;
	struct node node;
	struct node_route found[NODE_MAX][2];
};

static int look_for_node(void *context)
{
	struct look *look = context;
	struct node *const nodes[] = {&look->node};

	return (int)node_reach_find(&look->routes, look->steering, nodes, 1, look->found);
}

/* Looks until as many nodes are unreachable, and once more. Returns how often that took. */
static void look_until(struct steering_lab *lab, struct look *look, int unreachable)
{
	for (int i = 0; netns_call(&lab->lb, look_for_node, look) != unreachable; i++) {
		if (i == 1000)
			fail_msg("still not %d nodes unreachable", unreachable);
		(void)usleep(10000); /* in place of the timer */
	}
	assert_int_equal(netns_call(&lab->lb, look_for_node, look), unreachable);
}

static void hear(int *saved, int *errors)
{
	*saved = dup(STDERR_FILENO);
	*errors = memfd_create("errors", MFD_CLOEXEC);
	assert_true(*saved >= 0 && *errors >= 0);
	assert_true(dup2(*errors, STDERR_FILENO) >= 0);
}

static void expect_said(int saved, int errors, const char *expected)
{
	char said[1024];
	ssize_t len = pread(errors, said, sizeof(said) - 1, 0);

	(void)dup2(saved, STDERR_FILENO);
	(void)close(saved);
	(void)close(errors);
	assert_true(len >= 0);
	said[len] = '\0';
	assert_string_equal(said, expected);
}

static void expect_silence_to_be_named(struct steering_lab *lab, const char *address, const char *prefix,
				       const char *text, const char *protocol)
{
	struct look look = {.steering = lab->steering, .node = {.name = "n1"}};
	struct address parsed;
	char expected[512];
	const char *why;
	int saved, errors;
	bool is_ipv6 = *prefix == '6';

	assert_int_equal(address_parse(&parsed, address, &why), 0);
	look.node.direct[is_ipv6] = parsed;
	hear(&saved, &errors);
	/* Nobody has asked yet: that is no fault. */
	assert_int_equal(netns_call(&lab->lb, look_for_node, &look), 0);
	assert_true(look.found[0][is_ipv6].known);
	look_until(lab, &look, 1);
	assert_false(look.found[0][is_ipv6].known);
	assert_int_equal(netns_do(&lab->node, "ip address add %s dev eth0", prefix + 1), 0);
	look_until(lab, &look, 0);
	assert_true(look.found[0][is_ipv6].known);
	assert_int_equal(netns_do(&lab->node, "ip address del %s dev eth0", prefix + 1), 0);
	(void)snprintf(expected, sizeof(expected),
		       "<4>node n1 (%s) gets no connections of clients: it does not answer %s on out0\n"
		       "<5>node n1 (%s) is reached directly again\n",
		       text, protocol, text);
	expect_said(saved, errors, expected);
}

static void a_node_that_is_silent_on_the_wire_is_named_once(void **state)
{
	LAB(state)
	steering_lab_open(lab, 16, 0);
	assert_int_equal(netns_do(&lab->lb,
				  "for v in 4 6; do cd /proc/sys/net/ipv$v/neigh/out0 && echo 1 >mcast_solicit && "
				  "echo 20 >retrans_time_ms; done"),
			 0);
	expect_silence_to_be_named(lab, "198.51.100.77:1", "4198.51.100.77/24", "198.51.100.77", "ARP");
	expect_silence_to_be_named(lab, "[2001:db8:2::77]:1", "62001:db8:2::77/64", "2001:db8:2::77",
				   "neighbour discovery");
	steering_lab_close(lab);
}

/* Offers look at the same entry: the one who sees that it failed tells. */
static void what_an_offer_finds_out_is_told_too(void **state)
{
	struct look look;
	const char *why;
	int saved, errors;

	LAB(state)
	steering_lab_open(lab, 16, 0);
	look = (struct look){.steering = lab->steering, .node = {.name = "n1"}};
	assert_int_equal(address_parse(&look.node.direct[0], "198.51.100.78:1", &why), 0);
	hear(&saved, &errors);
	assert_int_equal(netns_call(&lab->lb, look_for_node, &look), 0);
	assert_int_equal(netns_enter(&lab->lb), 0);
	for (int i = 0; node_reach_usable(&look.routes, &look.node, 0, &look.found[0][0], 1. + i) && i < 1000; i++)
		(void)usleep(10000);
	assert_int_equal(netns_leave(), 0);
	assert_false(look.found[0][0].known);
	assert_int_equal(netns_call(&lab->lb, look_for_node, &look), 1);
	expect_said(saved, errors,
		    "<4>node n1 (198.51.100.78) gets no connections of clients: it does not answer ARP on out0\n");
	steering_lab_close(lab);
}

static void a_route_that_does_not_do_is_named_when_the_reason_changes(void **state)
{
	struct look look;
	const char *why;
	int saved, errors;

	LAB(state)
	steering_lab_open(lab, 16, 0);
	look = (struct look){.steering = lab->steering, .node = {.name = "n1"}};
	assert_int_equal(address_parse(&look.node.direct[0], "198.51.100.2:1", &why), 0);
	hear(&saved, &errors);
	look_until(lab, &look, 0);
	assert_int_equal(netns_do(&lab->lb, "ip link set out0 mtu 1400"), 0);
	look_until(lab, &look, 1);
	assert_int_equal(netns_do(&lab->lb, "ip link set out0 mtu 1500"), 0);
	look_until(lab, &look, 0);
	expect_said(saved, errors,
		    "<4>node n1 (198.51.100.2) gets no connections of clients: node 198.51.100.2: interface out0 to it "
		    "has MTU 1400, smaller than 1500 of the clients' interface in0\n"
		    "<5>node n1 (198.51.100.2) is reached directly again\n");
	steering_lab_close(lab);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_missing_capability_is_named_at_the_start),
		cmocka_unit_test(ports_that_all_may_bind_need_no_capability),
		cmocka_unit_test(what_is_not_needed_later_is_given_up),
		cmocka_unit_test(a_direct_path_that_is_off_keeps_no_capability),
		cmocka_unit_test(no_more_is_handed_off_than_there_are_descriptors_for),
		cmocka_unit_test(without_a_descriptor_the_handoff_is_refused),
		cmocka_unit_test(a_node_that_is_silent_on_the_wire_is_named_once),
		cmocka_unit_test(what_an_offer_finds_out_is_told_too),
		cmocka_unit_test(a_route_that_does_not_do_is_named_when_the_reason_changes),
	};

	(void)alarm(280); /* whatever hangs fails */
	traffic_filter_log();
	return cmocka_run_group_tests(tests, steering_lab_make, steering_lab_remove);
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Guards a node with clients' connections as a process, with its threads and as little privilege as it keeps: it
 * drains, and when it is killed the client hears nothing of it. */
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include <cmocka.h>

#include "direct_lab.h"

#define WHOLE lab_ciphertext(LAB_BODY_SIZE)

static void connections_come_and_go(void **state)
{
	struct direct_lab *lab = *state;

	assert_int_equal(lab->hello.direct, 1);
	for (unsigned i = 1; i <= 10; i++) {
		lab_transmit(lab, i % 2 ? 4 : 6);
		lab_client_reads(lab, WHOLE - TCP_SEND_TAIL_MAX);
		lab_await(lab, CONTROL_DRAINED, i);
		lab_recall(lab, false);
		lab_take_back(lab);
		lab_client_reads(lab, WHOLE);
		lab_assert_received(lab, LAB_BODY_SIZE);
		lab_await(lab, CONTROL_RESULT, i);
		assert_int_equal(lab->result.outcome, CONTROL_OUTCOME_SEALED);
	}
}

static void host_that_is_not_set_up_has_no_direct_path(void **state)
{
	struct direct_lab *lab;

	direct_net_run(direct_lab_net(), NET_NODE, "echo 0 >/proc/sys/net/ipv4/conf/eth0/arp_ignore");
	assert_int_equal(direct_lab_open_process(state), 0);
	direct_net_run(direct_lab_net(), NET_NODE, "echo 1 >/proc/sys/net/ipv4/conf/eth0/arp_ignore");
	lab = *state;
	assert_int_equal(lab->hello.direct, 0);
	lab_fetch(lab, "/body", "", 1);
	assert_non_null(strstr(lab_response, "Disc-Body: splice;"));
	assert_int_equal(direct_lab_close_process(state), 0);
}

static bool node_drains(void *data)
{
	struct direct_lab *lab = data;
	struct control_message ping = {.type = CONTROL_PING};

	if (lab->draining)
		return true;
	lab_send(lab, &ping);
	return false;
}

static void draining_node_waits_for_its_connections_and_ends(void **state)
{
	struct direct_lab *lab = *state;
	int status;

	lab_transmit(lab, 4);
	lab_client_reads(lab, 100000);
	ev_io_stop(lab->loop, &lab->client_reader); /* so that the body does not come to its end */
	assert_int_equal(kill(lab->process, SIGTERM), 0);
	run_until(lab->loop, node_drains, lab, "the node says that it drains");
	lab_recall(lab, false);
	ev_io_start(lab->loop, &lab->client_reader);
	lab_await(lab, CONTROL_DRAINED, 1);
	lab_recall(lab, false);
	lab_take_back(lab);
	lab_await(lab, CONTROL_RESULT, 1);
	/* Nobody knows how far its other thread came before the Recall. */
	assert_int_equal(lab->result.outcome,
			 lab->handback_bytes == WHOLE ? CONTROL_OUTCOME_SEALED : CONTROL_OUTCOME_ABORTED);
	lab_client_reads(lab, lab->handback_bytes);
	status = lab_await_process(lab);
	assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

static void killed_node_says_nothing_to_the_client(void **state)
{
	struct direct_lab *lab = *state;
	size_t received;

	lab_transmit(lab, 4);
	lab_client_reads(lab, 100000);
	assert_int_equal(kill(lab->process, SIGKILL), 0);
	(void)lab_await_process(lab);
	run_until(lab->loop, end_is_closed, &lab->agent, "the channel is closed");
	/* Its packets still reach the node, whose kernel knows of no connection any more. */
	assert_int_equal(send(lab->client, "hello?", 6, MSG_NOSIGNAL), 6);
	received = lab->received_len;
	direct_net_run(lab->net, NET_NODE,
		       "for i in $(seq 100); do tc -s filter show dev eth0 egress | grep -q disc_guard || exit 1; "
		       "nstat -az TcpOutRsts | grep -q ' 0 ' || exit 0; sleep 0.05; done; exit 1");
	(void)ev_run(lab->loop, EVRUN_NOWAIT);
	assert_int_equal(lab->client_error, 0);
	assert_true(lab->received_len >= received);
}

int main(void)
{
#define PROCESS_TEST(name) cmocka_unit_test_setup_teardown(name, direct_lab_open_process, direct_lab_close_process)
	const struct CMUnitTest tests[] = {
		PROCESS_TEST(connections_come_and_go),
		cmocka_unit_test(host_that_is_not_set_up_has_no_direct_path),
		PROCESS_TEST(draining_node_waits_for_its_connections_and_ends),
		PROCESS_TEST(killed_node_says_nothing_to_the_client),
	};
	char why[200];

	if (!netns_usable(why, sizeof(why))) {
		fprintf(stderr, "skipped: %s\n", why);
		return 0;
	}
	return cmocka_run_group_tests(tests, direct_lab_prepare, direct_lab_clean_up);
}

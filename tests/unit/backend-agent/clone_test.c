/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Guards what a node does with a client's connection (doc/direct-path.md): it transmits the records, tells what the
 * client says, gives the connection back as it is, and in every other case says not one word to the client. Real
 * kernels' TCP between three network namespaces; the control channel is a real one too. */
#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "direct_lab.h"
#include "egress_guard.h"
#include "fetch_proving.h"
#include "node_metrics.h"

#define WHOLE lab_ciphertext(LAB_BODY_SIZE)

/* --- unwelcome first --- */

static void handoff_of_an_unknown_ticket_is_refused(void **state)
{
	struct direct_lab *lab = *state;

	lab->ticket = 77;
	lab_connect(lab, 4);
	lab_hand_off(lab, false);
	lab_await(lab, CONTROL_HANDOFF_REPLY, 1);
	assert_string_equal(lab->reason, "no body waits for this connection (any more)");
}

/* One more, or one less. */
static void body_of_which_haproxy_was_told_otherwise_is_refused(void **state)
{
	struct direct_lab *lab = *state;

	for (lab->lie = -1; lab->lie <= 1; lab->lie += 2) {
		lab_fetch(lab, "/body", "", 1);
		lab_connect(lab, 4);
		lab_hand_off(lab, false);
		lab_await(lab, CONTROL_RESULT, lab->lie < 0 ? 1 : 2);
		assert_int_equal(lab->counts[CONTROL_HANDOFF_REPLY], lab->lie < 0 ? 1 : 2);
		assert_true(lab->contradicts);
		assert_int_equal(lab->result.outcome, CONTROL_OUTCOME_FAILED);
		assert_int_equal(lab->result.records, 0);
		lab_disconnect(lab);
	}
}

static void second_handoff_of_a_ticket_closes_the_channel(void **state)
{
	struct direct_lab *lab = *state;
	struct control_message again = {.type = CONTROL_HANDOFF};

	lab_transmit(lab, 4);
	again.u.handoff = (struct control_handoff){.ticket = lab_ticket(lab),
						   .state = lab->frozen.state,
						   .send_queue = {lab->frozen.send_queue, lab->frozen.send_len}};
	lab_send(lab, &again);
	run_until(lab->loop, end_is_closed, &lab->agent, "the channel is closed");
}

static void assert_sent_on_the_fetch_hop(struct direct_lab *lab)
{
	lab_fetch_ends_with_records(lab, LAB_BODY_SIZE);
	lab_await(lab, CONTROL_RESULT, 1);
	assert_int_equal(lab->counts[CONTROL_GONE], 1);
	assert_int_equal(lab->result.outcome, CONTROL_OUTCOME_SEALED);
	assert_int_equal(lab->result.bytes, LAB_BODY_SIZE);
}

static void handoff_that_never_comes_leaves_the_body_to_the_fetch_hop(void **state)
{
	struct direct_lab *lab = *state;

	lab->settings.handoff_wait = 0.3;
	lab_fetch(lab, "/body", "", 1);
	lab_await(lab, CONTROL_GONE, 1);
	assert_int_equal(lab->gone.cause, CONTROL_GONE_RECALLED);
	assert_string_equal(lab->reason, "the Handoff did not come in time");
	assert_sent_on_the_fetch_hop(lab);
}

static void recall_before_the_handoff_leaves_the_body_to_the_fetch_hop(void **state)
{
	struct direct_lab *lab = *state;

	lab_fetch(lab, "/body", "", 1);
	lab_recall(lab, false);
	lab_await(lab, CONTROL_GONE, 1);
	assert_int_equal(lab->gone.cause, CONTROL_GONE_RECALLED);
	assert_sent_on_the_fetch_hop(lab);
	/* It is too late for a connection. */
	lab_connect(lab, 4);
	lab_hand_off(lab, false);
	lab_await(lab, CONTROL_HANDOFF_REPLY, 1);
	assert_string_not_equal(lab->reason, "");
}

static void discard_before_the_handoff_leaves_nothing_to_the_fetch_hop(void **state)
{
	struct direct_lab *lab = *state;

	lab_fetch(lab, "/body", "", 1);
	lab_recall(lab, true);
	lab_await(lab, CONTROL_RESULT, 1);
	assert_int_equal(lab->counts[CONTROL_GONE], 1);
	assert_int_equal(lab->result.outcome, CONTROL_OUTCOME_EXPIRED);
	lab_fetch_ends_without_records(lab);
}

static void channel_lost_before_the_handoff_leaves_the_body_to_the_fetch_hop(void **state)
{
	struct direct_lab *lab = *state;

	lab_fetch(lab, "/body", "Range: bytes=0-99999\r\n", 1);
	assert_non_null(strstr(lab_response, "Disc-Body: direct;"));
	channel_close(lab->agent.channel, "the test closes it");
	lab_fetch_ends_with_records(lab, 100000);
	assert_int_equal(node_metric_value(NODE_OFFLOADS_ACTIVE), 0);
}

static void fetch_that_ends_before_the_handoff_ends_the_clone(void **state)
{
	struct direct_lab *lab = *state;

	lab_fetch(lab, "/body", "", 1);
	lab_close_fetch(lab);
	lab_await(lab, CONTROL_RESULT, 1);
	assert_int_equal(lab->gone.cause, CONTROL_GONE_RECALLED);
	assert_string_equal(lab->reason, "the fetch went away");
	assert_int_equal(lab->result.records, 0);
}

static void fetch_that_ends_after_the_handoff_changes_nothing(void **state)
{
	struct direct_lab *lab = *state;

	lab_transmit(lab, 4);
	lab_close_fetch(lab);
	lab_client_reads(lab, WHOLE);
	lab_assert_received(lab, LAB_BODY_SIZE);
}

/* The load balancer goes on with what was frozen: the client notices nothing. */
static void assert_load_balancer_goes_on(struct direct_lab *lab)
{
	struct tcp_fault fault;

	direct_net_route(lab->net, NET_LB);
	assert_int_equal(tcp_fast_forward(lab->lb, &lab->frozen, &fault), 0);
	assert_int_equal(tcp_go(lab->lb, &lab->frozen, false, &fault), 0);
	assert_int_equal(send(lab->lb, "on", 2, MSG_NOSIGNAL), 2);
	lab_client_reads(lab, 2);
	assert_memory_equal(lab->received, LAB_HEAD "on", lab->received_len);
}

static void missing_vip_is_named_and_the_agent_can_go_on(void **state)
{
	struct direct_lab *lab = *state;

	direct_net_run(lab->net, NET_NODE, "ip addr del " NET_VIP4 "/32 dev lo");
	lab_fetch(lab, "/body", "", 1);
	lab_connect(lab, 4);
	lab_hand_off(lab, false);
	lab_await(lab, CONTROL_HANDOFF_REPLY, 1);
	direct_net_run(lab->net, NET_NODE, "ip addr add " NET_VIP4 "/32 dev lo");
	assert_string_equal(lab->reason, "the VIP 192.0.2.1 is not on this node");
	lab_fetch_ends_without_records(lab);
	lab_await(lab, CONTROL_RESULT, 1);
	assert_int_equal(lab->result.outcome, CONTROL_OUTCOME_FAILED);
	assert_int_equal(lab->result.records, 0);
	assert_int_equal(lab->counts[CONTROL_GONE], 0);
	assert_load_balancer_goes_on(lab);
}

static void address_that_is_no_vip_is_refused(void **state)
{
	struct direct_lab *lab = *state;

	lab->settings.vip_count = 0;
	lab_fetch(lab, "/body", "", 1);
	lab_connect(lab, 4);
	lab_hand_off(lab, false);
	lab_await(lab, CONTROL_HANDOFF_REPLY, 1);
	assert_non_null(strstr(lab->reason, "the local address is none of direct.vip"));
	assert_load_balancer_goes_on(lab);
}

static void unknown_congestion_control_is_named(void **state)
{
	struct direct_lab *lab = *state;

	lab->settings.congestion = "nonesuch";
	lab_fetch(lab, "/body", "", 1);
	lab_connect(lab, 4);
	lab_hand_off(lab, false);
	lab_await(lab, CONTROL_HANDOFF_REPLY, 1);
	assert_string_equal(lab->reason, "setsockopt(TCP_CONGESTION): No such file or directory");
	assert_load_balancer_goes_on(lab);
}

/* --- whole transfers --- */

static void transfer_whole_body(struct direct_lab *lab, uint8_t family)
{
	lab_transmit(lab, family);
	lab_client_reads(lab, WHOLE - TCP_SEND_TAIL_MAX);
	lab_await(lab, CONTROL_DRAINED, 1);
	lab_recall(lab, false);
	lab_take_back(lab);
	assert_int_equal(lab->handback_bytes, WHOLE);
	lab_client_reads(lab, WHOLE);
	lab_assert_received(lab, LAB_BODY_SIZE);
	lab_await(lab, CONTROL_RESULT, 1);
	assert_int_equal(lab->result.outcome, CONTROL_OUTCOME_SEALED);
	assert_int_equal(lab->result.bytes, LAB_BODY_SIZE);
	assert_int_equal(lab->result.records, (LAB_BODY_SIZE + 16383) / 16384);
	assert_int_equal(lab->counts[CONTROL_DRAINED], 1);
	assert_int_equal(lab->counts[CONTROL_GONE], 0);
	/* The load balancer's socket goes on with it, in both directions. */
	assert_int_equal(send(lab->lb, "and on", 6, MSG_NOSIGNAL), 6);
	lab_client_reads(lab, WHOLE + 6);
	assert_memory_equal(lab->received + lab->received_len - 6, "and on", 6);
}

static void whole_body_reaches_the_client(void **state)
{
	struct direct_lab *lab = *state;

	assert_int_equal(lab->hello.direct, 1);
	transfer_whole_body(lab, 4);
	assert_non_null(strstr(lab_response, "Transfer-Encoding: chunked\r\n"));
	assert_null(strstr(lab_response, "Content-Length:"));
	lab_fetch_ends_without_records(lab);
	assert_non_null(strstr(lab_response, "; seq=1; records=385; length=6291533; status=200; first=0; etag="));
}

static void whole_body_reaches_the_client_over_ipv6(void **state)
{
	transfer_whole_body(*state, 6);
}

/* The client's last acknowledgement stays with the agent, as the steering program has it. */
static void released_clone_says_nothing_more(void **state)
{
	struct direct_lab *lab = *state;

	lab_transmit(lab, 4);
	lab_client_reads(lab, WHOLE);
	lab_release(lab);
	lab_await(lab, CONTROL_RESULT, 1);
	assert_int_equal(lab->result.outcome, CONTROL_OUTCOME_SEALED);
	assert_int_equal(lab->result.bytes, LAB_BODY_SIZE);
	assert_string_equal(lab->reason, "");
	assert_int_equal(lab->counts[CONTROL_DRAINED] + lab->counts[CONTROL_GONE] + lab->counts[CONTROL_HANDBACK], 0);
	lab_assert_received(lab, LAB_BODY_SIZE);
	assert_int_equal(lab->client_error, 0);
}

/* To a client that acknowledges what it does not have the agent has nothing more to say, nor has the node. */
static void clone_that_is_released_early_says_nothing_more(void **state)
{
	struct direct_lab *lab = *state;

	lab_transmit(lab, 4);
	lab_client_reads(lab, 100000);
	lab_release(lab);
	lab_await(lab, CONTROL_RESULT, 1);
	assert_int_equal(lab->result.outcome, CONTROL_OUTCOME_ABORTED);
	assert_string_equal(lab->reason, "released before its end");
	assert_int_equal(lab->counts[CONTROL_GONE], 0);
	assert_int_equal(lab->client_error, 0);
}

/* Release of one handoff and the next Handoff of the same connection may come on different channels. */
static void next_handoff_waits_until_the_older_clone_is_released(void **state)
{
	struct direct_lab *lab = *state;
	struct control_message next = {.type = CONTROL_HANDOFF}, release = {.type = CONTROL_RELEASE};
	struct tcp_state moved;

	lab_transmit(lab, 4);
	lab_client_reads(lab, WHOLE);
	release.u.release.ticket = lab_ticket(lab);
	moved = lab->frozen.state;
	moved.send_next += (uint32_t)WHOLE;
	moved.unsent = 0;
	moved.timestamp += 10000;
	lab->keeps_fetches = true;
	lab_fetch(lab, "/body", "Range: bytes=0-99999\r\n", 1);
	next.u.handoff = (struct control_handoff){.ticket = lab_ticket(lab), .state = moved, .bytes = lab_announced()};
	lab_send(lab, &next);
	lab_send(lab, &release);
	lab_client_reads(lab, WHOLE + lab_ciphertext(100000));
	assert_int_equal(lab->counts[CONTROL_HANDOFF_REPLY], 0);
	lab_release(lab);
	lab_await(lab, CONTROL_RESULT, 2);
	assert_int_equal(lab->client_error, 0);
}

/* Nobody releases it. */
static void handoff_of_a_connection_that_is_here_is_refused(void **state)
{
	struct direct_lab *lab = *state;
	struct control_message next = {.type = CONTROL_HANDOFF};

	lab_transmit(lab, 4);
	lab_client_reads(lab, 100000);
	lab->keeps_fetches = true;
	lab_fetch(lab, "/body", "Range: bytes=0-99999\r\n", 1);
	next.u.handoff = (struct control_handoff){
		.ticket = lab_ticket(lab), .state = lab->frozen.state, .bytes = lab_announced()};
	next.u.handoff.state.unsent = 0;
	lab_send(lab, &next);
	lab_await(lab, CONTROL_HANDOFF_REPLY, 1);
	assert_string_equal(lab->reason, "an older clone of it is still here");
	lab_client_reads(lab, WHOLE);
}

static void body_below_the_agents_threshold_is_spliced(void **state)
{
	struct direct_lab *lab = *state;

	lab_fetch(lab, "/body", "", LAB_BODY_SIZE + 1);
	assert_non_null(strstr(lab_response, "Disc-Body: splice;"));
	lab_fetch(lab, "/body", "", 0);
	assert_non_null(strstr(lab_response, "Disc-Body: splice;"));
}

/* Of a range what counts is what is sent, not the object's size. */
static void body_that_is_not_worth_a_lease_is_declined(void **state)
{
	struct direct_lab *lab = *state;

	lab->splice_min = LAB_BODY_SIZE + 1;
	lab_fetch(lab, "/body", "", 1);
	assert_non_null(strstr(lab_response, "Disc-Body: none;"));
	lab->splice_min = 1000;
	lab_fetch(lab, "/body", "Range: bytes=5-1003\r\n", 1);
	assert_non_null(strstr(lab_response, "Disc-Body: none;"));
	lab_fetch(lab, "/body", "Range: bytes=5-1004\r\n", 1001);
	assert_non_null(strstr(lab_response, "Disc-Body: splice;"));
	lab_fetch(lab, "/body", "Range: bytes=5-1004\r\n", 1000);
	assert_non_null(strstr(lab_response, "Disc-Body: direct;"));
}

static void range_is_announced_with_its_place_in_the_object(void **state)
{
	struct direct_lab *lab = *state;
	char etag[128], expected[512], line[600];

	lab_fetch(lab, "/body", "Range: bytes=32768-99999\r\n", 1);
	assert_non_null(strstr(lab_response, "206 Partial Content"));
	proving_field(lab_response, "ETag", etag, sizeof(etag));
	(void)snprintf(expected, sizeof(expected),
		       "direct; ticket=%032x; seq=1; records=5; length=67232; status=206; first=32768; etag=%s",
		       lab->ticket, etag);
	prove_announcement(expected, sizeof(expected));
	(void)snprintf(line, sizeof(line), "\r\nDisc-Body: %s\r\n", expected);
	assert_non_null(strstr(lab_response, line));
	lab_recall(lab, false);
	lab_await(lab, CONTROL_RESULT, 1);
	assert_int_equal(lab->gone.cause, CONTROL_GONE_RECALLED);
}

/* --- recall in the middle --- */

static void recall_in_the_middle_tells_exactly_what_is_out(void **state)
{
	struct direct_lab *lab = *state;
	uint64_t opened_bytes;

	lab_transmit(lab, 4);
	lab_client_reads(lab, 1000000);
	lab_recall_before_drained(lab);
	lab_take_back(lab);
	opened_bytes = lab->handback_bytes;
	assert_in_range(opened_bytes, 1000000, WHOLE - 1);
	lab_client_reads(lab, opened_bytes);
	assert_int_equal(lab->received_len, strlen(LAB_HEAD) + opened_bytes);
	lab_await(lab, CONTROL_RESULT, 1);
	assert_int_equal(lab->result.outcome, CONTROL_OUTCOME_ABORTED);
	assert_int_equal(lab->counts[CONTROL_GONE], 0);
}

static void discard_says_nothing_to_the_client(void **state)
{
	struct direct_lab *lab = *state;

	lab_transmit(lab, 4);
	lab_client_reads(lab, 100000);
	lab_recall(lab, true);
	lab_await(lab, CONTROL_RESULT, 1);
	assert_int_equal(lab->gone.cause, CONTROL_GONE_RECALLED);
	assert_string_equal(lab->reason, "discarded by the agent");
	assert_int_equal(lab->client_error, 0);
}

static bool guard_has_dropped(void *data)
{
	return egress_guard_dropped(((struct direct_lab *)data)->service.guard) > 0;
}

static void packet_that_comes_too_late_is_not_answered(void **state)
{
	struct direct_lab *lab = *state;

	lab_transmit(lab, 4);
	lab_client_reads(lab, 100000);
	lab_recall(lab, true);
	lab_await(lab, CONTROL_RESULT, 1);
	assert_int_equal(send(lab->client, "late", 4, MSG_NOSIGNAL), 4);
	run_until(lab->loop, guard_has_dropped, lab, "the guard drops the kernel's answer");
	assert_int_equal(send(lab->client, "later", 5, MSG_NOSIGNAL), 5);
	assert_int_equal(lab->client_error, 0);
}

static bool no_clone_is_left(void *data)
{
	(void)data;
	return node_metric_value(NODE_CLONES) == 0;
}

static void lost_channel_ends_its_clones_at_once(void **state)
{
	struct direct_lab *lab = *state;

	lab_transmit(lab, 4);
	lab_client_reads(lab, 100000);
	channel_close(lab->agent.channel, "the test closes it");
	run_until(lab->loop, no_clone_is_left, lab, "the clone is gone");
	assert_int_equal(node_metric_value(NODE_OFFLOADS_ACTIVE), 0);
	assert_int_equal(lab->client_error, 0);
}

/* --- what the client does --- */

static void client_data_is_passed_on_while_records_go_out(void **state)
{
	static const char first[] = "GET /next HTTP/1.1\r\n", second[] = "Host: site\r\n\r\n";
	struct direct_lab *lab = *state;

	lab_transmit(lab, 4);
	assert_int_equal(send(lab->client, first, strlen(first), MSG_NOSIGNAL), (ssize_t)strlen(first));
	lab_client_reads(lab, 500000);
	lab_await(lab, CONTROL_CLIENT_DATA, 1);
	assert_int_equal(send(lab->client, second, strlen(second), MSG_NOSIGNAL), (ssize_t)strlen(second));
	lab_client_reads(lab, WHOLE - TCP_SEND_TAIL_MAX);
	lab_await(lab, CONTROL_DRAINED, 1);
	lab_recall(lab, false);
	lab_take_back(lab);
	/* Whatever was not forwarded came in the receive queue. */
	assert_int_equal(lab->client_data_len + lab->frozen.receive_len, strlen(first) + strlen(second));
	assert_memory_equal(lab->client_data, "GET /next HTTP/1.1\r\nHost: site\r\n\r\n", lab->client_data_len);
	lab_client_reads(lab, WHOLE);
	lab_assert_received(lab, LAB_BODY_SIZE);
}

static void much_client_data_is_passed_on_whole(void **state)
{
	struct direct_lab *lab = *state;

	lab_transmit(lab, 4);
	assert_int_equal(send(lab->client, lab_body, 60000, MSG_NOSIGNAL), 60000);
	lab_client_reads(lab, WHOLE - TCP_SEND_TAIL_MAX);
	lab_await(lab, CONTROL_DRAINED, 1);
	lab_recall(lab, false);
	lab_take_back(lab);
	assert_int_equal(lab->client_data_len + lab->frozen.receive_len, 60000);
	assert_memory_equal(lab->client_data, lab_body, lab->client_data_len);
}

static void half_closed_client_gets_all_and_the_end_travels_back(void **state)
{
	struct direct_lab *lab = *state;
	char sent;

	lab_transmit(lab, 4);
	assert_int_equal(send(lab->client, "bye", 3, MSG_NOSIGNAL), 3);
	assert_int_equal(shutdown(lab->client, SHUT_WR), 0);
	lab_client_reads(lab, WHOLE - TCP_SEND_TAIL_MAX);
	lab_await(lab, CONTROL_DRAINED, 1);
	assert_int_equal(lab->client_data_len, 3);
	lab_recall(lab, false);
	lab_take_back(lab);
	assert_true(lab->frozen.state.flags & TCP_STATE_PEER_CLOSED);
	assert_int_equal(recv(lab->lb, &sent, 1, MSG_DONTWAIT), 0);
	lab_client_reads(lab, WHOLE);
	lab_assert_received(lab, LAB_BODY_SIZE);
}

static bool lb_heard_the_end(void *data)
{
	struct pollfd lb = {.fd = ((struct direct_lab *)data)->lb, .events = POLLRDHUP};

	return poll(&lb, 1, 0) == 1 && (lb.revents & POLLRDHUP);
}

static void client_that_closed_before_the_handoff_gets_all(void **state)
{
	struct direct_lab *lab = *state;
	char sent;

	lab_fetch(lab, "/body", "", 1);
	lab_connect(lab, 4);
	assert_int_equal(shutdown(lab->client, SHUT_WR), 0);
	run_until(lab->loop, lb_heard_the_end, lab, "the load balancer hears the client's end");
	lab_hand_off(lab, true);
	lab_client_reads(lab, WHOLE - TCP_SEND_TAIL_MAX);
	lab_await(lab, CONTROL_DRAINED, 1);
	lab_recall(lab, false);
	lab_take_back(lab);
	assert_true(lab->frozen.state.flags & TCP_STATE_PEER_CLOSED);
	assert_int_equal(recv(lab->lb, &sent, 1, MSG_DONTWAIT), 0);
	lab_client_reads(lab, WHOLE);
	lab_assert_received(lab, LAB_BODY_SIZE);
}

static void client_that_resets_is_gone(void **state)
{
	struct linger at_once = {.l_onoff = 1};
	struct direct_lab *lab = *state;

	lab_transmit(lab, 4);
	lab_client_reads(lab, 100000);
	ev_io_stop(lab->loop, &lab->client_reader);
	assert_int_equal(setsockopt(lab->client, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once)), 0);
	assert_int_equal(close(lab->client), 0);
	lab->client = -1;
	lab_await(lab, CONTROL_RESULT, 1);
	assert_int_equal(lab->gone.cause, CONTROL_GONE_CLIENT);
	assert_string_equal(lab->reason, "Connection reset by peer");
	assert_in_range(lab->gone.bytes, 1, WHOLE);
	assert_int_equal(lab->result.outcome, CONTROL_OUTCOME_ABORTED);
}

static void client_that_resets_after_its_end_is_gone(void **state)
{
	struct linger at_once = {.l_onoff = 1};
	struct direct_lab *lab = *state;

	lab_transmit(lab, 4);
	assert_int_equal(shutdown(lab->client, SHUT_WR), 0);
	lab_client_reads(lab, WHOLE - TCP_SEND_TAIL_MAX);
	lab_await(lab, CONTROL_DRAINED, 1);
	ev_io_stop(lab->loop, &lab->client_reader);
	assert_int_equal(setsockopt(lab->client, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once)), 0);
	assert_int_equal(close(lab->client), 0);
	lab->client = -1;
	lab_await(lab, CONTROL_RESULT, 1);
	assert_int_equal(lab->gone.cause, CONTROL_GONE_CLIENT);
}

static void client_that_vanishes_is_given_up(void **state)
{
	struct direct_lab *lab = *state;

	lab->settings.client_timeout = 0.6;
	lab_transmit(lab, 4);
	lab_client_reads(lab, 100000);
	ev_io_stop(lab->loop, &lab->client_reader);
	direct_net_route(lab->net, NET_CLIENT);
	lab_await(lab, CONTROL_RESULT, 1);
	assert_int_equal(lab->gone.cause, CONTROL_GONE_CLIENT);
	assert_string_equal(lab->reason, "the client acknowledged nothing for direct.client-timeout");
	assert_int_equal(lab->client_error, 0);
}

static void progress_tells_what_the_client_has(void **state)
{
	struct direct_lab *lab = *state;

	lab_transmit(lab, 4);
	lab_client_reads(lab, 1000000);
	ev_io_stop(lab->loop, &lab->client_reader); /* its window closes, all before it is acknowledged */
	lab_await(lab, CONTROL_PROGRESS, 1);
	assert_true(lab->progress.bytes <= WHOLE);
	lab_client_reads(lab, WHOLE - TCP_SEND_TAIL_MAX);
	lab_await(lab, CONTROL_DRAINED, 1);
	lab_recall(lab, true);
	lab_await(lab, CONTROL_RESULT, 1);
}

/* The load balancer's socket would wait 3 s before it sent again what was lost of it. */
static void what_is_not_acknowledged_is_not_handed_back(void **state)
{
	struct direct_lab *lab = *state;

	lab_write_file("small", 8000);
	lab_fetch(lab, "/small", "", 1);
	lab_connect(lab, 4);
	direct_net_route(lab->net, NET_CLIENT);
	lab_hand_off(lab, false);
	lab_client_reads(lab, lab_ciphertext(8000));
	assert_int_equal(lab->counts[CONTROL_DRAINED], 0);
	direct_net_route(lab->net, NET_NODE);
	lab_await(lab, CONTROL_DRAINED, 1);
	lab_recall(lab, false);
	lab_take_back(lab);
	assert_int_equal(lab->handback_bytes, lab_ciphertext(8000));
	assert_int_equal(lab->frozen.send_len, 0);
}

/* --- the object, and the node's own end --- */

static void drain_waits_for_the_clones(void **state)
{
	struct control_message ping = {.type = CONTROL_PING, .u.ping = {.nonce = 1}};
	struct direct_lab *lab = *state;

	lab_transmit(lab, 4);
	lab_client_reads(lab, 100000);
	atomic_store(&lab->draining, true);
	fetch_server_drain(lab->fetch_server);
	lab_send(lab, &ping);
	lab_await(lab, CONTROL_PONG, 1);
	assert_false(lab->idle);
	lab_recall_before_drained(lab);
	lab_take_back(lab);
	lab_await(lab, CONTROL_RESULT, 1);
	while (!lab->idle)
		(void)ev_run(lab->loop, EVRUN_ONCE);
	lab_client_reads(lab, lab->handback_bytes);
}

static unsigned open_descriptors(void)
{
	DIR *folder = opendir("/proc/self/fd");
	unsigned count = 0;

	assert_non_null(folder);
	while (readdir(folder))
		count++;
	assert_int_equal(closedir(folder), 0);
	return count;
}

static void many_cycles_leak_nothing(void **state)
{
	struct direct_lab *lab = *state;
	unsigned before = 0;

	for (unsigned i = 0; i < 200; i++) {
		lab_fetch(lab, "/body", "Range: bytes=0-99999\r\n", 1);
		lab_connect(lab, i % 2 ? 4 : 6);
		ev_io_start(lab->loop, &lab->client_reader);
		lab_hand_off(lab, true);
		lab_client_reads(lab, lab_ciphertext(100000));
		lab_assert_received(lab, 100000);
		if (i % 3 == 0) {
			lab_recall(lab, true);
		} else if (i % 3 == 1) {
			lab_release(lab);
		} else {
			lab->counts[CONTROL_DRAINED] = 0;
			lab_recall_before_drained(lab);
			lab_take_back(lab);
		}
		lab_await(lab, CONTROL_RESULT, i + 1);
		if (i == 10)
			before = open_descriptors();
	}
	assert_int_equal(open_descriptors(), before);
}

int main(void)
{
#define LAB_TEST(name) cmocka_unit_test_setup_teardown(name, direct_lab_open, direct_lab_close)
	const struct CMUnitTest tests[] = {
		LAB_TEST(handoff_of_an_unknown_ticket_is_refused),
		LAB_TEST(body_of_which_haproxy_was_told_otherwise_is_refused),
		LAB_TEST(second_handoff_of_a_ticket_closes_the_channel),
		LAB_TEST(handoff_that_never_comes_leaves_the_body_to_the_fetch_hop),
		LAB_TEST(recall_before_the_handoff_leaves_the_body_to_the_fetch_hop),
		LAB_TEST(discard_before_the_handoff_leaves_nothing_to_the_fetch_hop),
		LAB_TEST(channel_lost_before_the_handoff_leaves_the_body_to_the_fetch_hop),
		LAB_TEST(fetch_that_ends_before_the_handoff_ends_the_clone),
		LAB_TEST(fetch_that_ends_after_the_handoff_changes_nothing),
		LAB_TEST(missing_vip_is_named_and_the_agent_can_go_on),
		LAB_TEST(address_that_is_no_vip_is_refused),
		LAB_TEST(unknown_congestion_control_is_named),
		LAB_TEST(whole_body_reaches_the_client),
		LAB_TEST(whole_body_reaches_the_client_over_ipv6),
		LAB_TEST(released_clone_says_nothing_more),
		LAB_TEST(clone_that_is_released_early_says_nothing_more),
		LAB_TEST(next_handoff_waits_until_the_older_clone_is_released),
		LAB_TEST(handoff_of_a_connection_that_is_here_is_refused),
		LAB_TEST(body_below_the_agents_threshold_is_spliced),
		LAB_TEST(body_that_is_not_worth_a_lease_is_declined),
		LAB_TEST(range_is_announced_with_its_place_in_the_object),
		LAB_TEST(recall_in_the_middle_tells_exactly_what_is_out),
		LAB_TEST(discard_says_nothing_to_the_client),
		LAB_TEST(packet_that_comes_too_late_is_not_answered),
		LAB_TEST(lost_channel_ends_its_clones_at_once),
		LAB_TEST(client_data_is_passed_on_while_records_go_out),
		LAB_TEST(much_client_data_is_passed_on_whole),
		LAB_TEST(half_closed_client_gets_all_and_the_end_travels_back),
		LAB_TEST(client_that_closed_before_the_handoff_gets_all),
		LAB_TEST(client_that_resets_is_gone),
		LAB_TEST(client_that_resets_after_its_end_is_gone),
		LAB_TEST(client_that_vanishes_is_given_up),
		LAB_TEST(progress_tells_what_the_client_has),
		LAB_TEST(what_is_not_acknowledged_is_not_handed_back),
		LAB_TEST(drain_waits_for_the_clones),
		LAB_TEST(many_cycles_leak_nothing),
	};

	char why[200];

	if (!netns_usable(why, sizeof(why))) {
		fprintf(stderr, "skipped: %s\n", why);
		return 0;
	}
	return cmocka_run_group_tests(tests, direct_lab_prepare, direct_lab_clean_up);
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <arpa/inet.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "direct_lab.h"
#include "fetch_proving.h"

#define VIP_PORT 443

char lab_response[4096];

/* --- HAProxy --- */

static struct ticket ticket_of(unsigned number)
{
	char text[TICKET_TEXT_LEN + 1];
	struct ticket ticket;

	(void)snprintf(text, sizeof(text), "%032x", number);
	assert_true(ticket_parse(&ticket, text, TICKET_TEXT_LEN));
	return ticket;
}

/* Where the answer's body begins, or NULL if the head is not there yet. */
static const uint8_t *body_of_answer(const struct direct_lab *lab)
{
	const uint8_t *end = lab->fetched ? memmem(lab->fetched, lab->fetched_len, "\r\n\r\n", 4) : NULL;

	return end ? end + 4 : NULL;
}

static bool head_is_there(void *data)
{
	const struct direct_lab *lab = data;

	return lab->fetch_ended || body_of_answer(lab);
}

static bool end_is_there(void *data)
{
	const struct direct_lab *lab = data;
	static const char end[] = "\r\n0\r\n\r\n";
	size_t len = strlen(end);

	return lab->fetch_ended ||
	       (lab->fetched_len > len && memcmp(lab->fetched + lab->fetched_len - len, end, len) == 0);
}

static void on_fetch_readable(struct ev_loop *loop, ev_io *watcher, int events)
{
	struct direct_lab *lab = watcher->data;
	ssize_t n;

	(void)events;
	if (lab->fetched_cap - lab->fetched_len < 262144) {
		lab->fetched_cap = 2 * lab->fetched_cap + 262144;
		lab->fetched = realloc(lab->fetched, lab->fetched_cap);
		assert_non_null(lab->fetched);
	}
	n = recv(lab->fetch, lab->fetched + lab->fetched_len, 262144, MSG_DONTWAIT);
	if (n > 0) {
		lab->fetched_len += (size_t)n;
	} else if (n == 0 || (errno != EAGAIN && errno != EINTR)) {
		lab->fetch_ended = true;
		ev_io_stop(loop, watcher);
	}
}

void lab_close_fetch(struct direct_lab *lab)
{
	if (lab->fetch >= 0) {
		ev_io_stop(lab->loop, &lab->fetch_reader);
		assert_int_equal(close(lab->fetch), 0);
	}
	lab->fetch = -1;
	while (!lab->keeps_fetches && lab->fetch_count)
		assert_int_equal(close(lab->fetches[--lab->fetch_count]), 0);
}

static void open_fetch(struct direct_lab *lab)
{
	if (lab->keeps_fetches && lab->fetch >= 0) {
		ev_io_stop(lab->loop, &lab->fetch_reader);
		lab->fetches[lab->fetch_count++] = lab->fetch;
		lab->fetch = -1;
	}
	lab_close_fetch(lab);
	lab->fetch = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_true(lab->fetch >= 0);
	assert_int_equal(
		connect(lab->fetch, (const struct sockaddr *)&lab->fetch_address.storage, lab->fetch_address.len), 0);
	lab->fetched_len = 0;
	lab->fetch_ended = false;
	ev_io_init(&lab->fetch_reader, on_fetch_readable, lab->fetch, EV_READ);
	lab->fetch_reader.data = lab;
	ev_io_start(lab->loop, &lab->fetch_reader);
}

void lab_fetch(struct direct_lab *lab, const char *target, const char *headers, uint64_t direct_min)
{
	struct control_message offer = {.type = CONTROL_OFFER,
					.u.offer = {.ticket = ticket_of(++lab->ticket),
						    .state = opening_state(1),
						    .method = {"GET", 3},
						    .host = {"site", 4},
						    .target = {"/", 1},
						    .client = {NET_CLIENT4, sizeof(NET_CLIENT4) - 1},
						    .lease_id = lab->ticket,
						    .splice_min = lab->splice_min,
						    .direct_min = direct_min}};
	char request[1024], ticket[TICKET_TEXT_LEN + 1], header[PROVING_HEADER_MAX];
	size_t head_len;

	lab->progress.bytes = 0;
	lab_send(lab, &offer);
	open_fetch(lab);
	ticket_format(ticket, &offer.u.offer.ticket);
	prove_request(header, ticket, "GET", target, headers);
	(void)snprintf(request, sizeof(request), "GET %s HTTP/1.1\r\nHost: site\r\nDisc-Ticket: %s\r\n%s\r\n", target,
		       header, headers);
	assert_int_equal(send(lab->fetch, request, strlen(request), MSG_NOSIGNAL), (ssize_t)strlen(request));
	run_until(lab->loop, head_is_there, lab, "the answer of the fetch hop");
	assert_false(lab->fetch_ended);
	head_len = (size_t)(body_of_answer(lab) - lab->fetched);
	assert_true(head_len < sizeof(lab_response));
	memcpy(lab_response, lab->fetched, head_len);
	lab_response[head_len] = '\0';
}

void lab_fetch_ends_without_records(struct direct_lab *lab)
{
	static const char none[] = "1\r\n.\r\n0\r\n\r\n";

	run_until(lab->loop, end_is_there, lab, "the end of the fetch hop's answer");
	assert_int_equal(lab->fetched_len - strlen(lab_response), strlen(none));
	assert_memory_equal(body_of_answer(lab), none, strlen(none));
}

void lab_fetch_ends_with_records(struct direct_lab *lab, size_t length)
{
	struct tx_state state = opening_state(1);
	uint8_t *plain = malloc(length + 1);
	size_t head_len, plain_len;
	uint64_t opened;
	char head[32];

	run_until(lab->loop, end_is_there, lab, "the end of the fetch hop's answer");
	head_len = (size_t)snprintf(head, sizeof(head), "%llx\r\n", (unsigned long long)lab_ciphertext(length));
	assert_int_equal(lab->fetched_len, strlen(lab_response) + head_len + lab_ciphertext(length) + 7);
	assert_memory_equal(body_of_answer(lab), head, head_len);
	assert_non_null(plain);
	assert_true(open_records(&state, body_of_answer(lab) + head_len, lab_ciphertext(length), plain, length,
				 &plain_len, &opened));
	assert_int_equal(plain_len, length);
	assert_memory_equal(plain, lab_body, length);
	free(plain);
}

void lab_fetch_is_cut(struct direct_lab *lab)
{
	run_until(lab->loop, end_is_there, lab, "the end of the fetch hop's answer");
	assert_true(lab->fetch_ended);
}

/* --- client and load balancer --- */

void lab_disconnect(struct direct_lab *lab)
{
	if (lab->client >= 0) {
		ev_io_stop(lab->loop, &lab->client_reader);
		assert_int_equal(close(lab->client), 0);
	}
	if (lab->lb >= 0)
		tcp_close_mute(lab->lb);
	lab->client = lab->lb = -1;
}

static void on_client_readable(struct ev_loop *loop, ev_io *watcher, int events)
{
	struct direct_lab *lab = watcher->data;
	ssize_t n;

	(void)events;
	if (lab->received_cap - lab->received_len < 262144) {
		lab->received_cap = 2 * lab->received_cap + 262144;
		lab->received = realloc(lab->received, lab->received_cap);
		assert_non_null(lab->received);
	}
	n = recv(lab->client, lab->received + lab->received_len, 262144, MSG_DONTWAIT);
	if (n > 0) {
		lab->received_len += (size_t)n;
	} else if (n == 0 || (errno != EAGAIN && errno != EINTR)) {
		lab->client_error = n == 0 ? -1 : errno;
		ev_io_stop(loop, watcher);
	}
}

void lab_connect(struct direct_lab *lab, uint8_t family)
{
	int domain = family == 4 ? AF_INET : AF_INET6, one = 1, listener;
	struct sockaddr_storage address;
	socklen_t len;

	lab_disconnect(lab);
	lab->received_len = 0;
	lab->client_error = 0;
	direct_net_route(lab->net, NET_LB);
	direct_net_enter(lab->net, NET_LB);
	listener = socket(domain, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_true(listener >= 0);
	assert_int_equal(setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)), 0);
	len = direct_net_endpoint(&address, family, NET_VIP4, NET_VIP6, VIP_PORT);
	assert_int_equal(bind(listener, (struct sockaddr *)&address, len), 0);
	assert_int_equal(listen(listener, 1), 0);
	direct_net_enter(lab->net, NET_CLIENT);
	lab->client = socket(domain, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_true(lab->client >= 0);
	len = direct_net_endpoint(&address, family, NET_CLIENT4, NET_CLIENT6, 0);
	assert_int_equal(bind(lab->client, (struct sockaddr *)&address, len), 0);
	len = direct_net_endpoint(&address, family, NET_VIP4, NET_VIP6, VIP_PORT);
	assert_int_equal(connect(lab->client, (struct sockaddr *)&address, len), 0);
	lab->lb = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	assert_true(lab->lb >= 0);
	assert_int_equal(close(listener), 0);
	direct_net_enter(lab->net, NET_NODE);
	ev_io_init(&lab->client_reader, on_client_readable, lab->client, EV_READ);
	lab->client_reader.data = lab;
	assert_int_equal(send(lab->lb, LAB_HEAD, strlen(LAB_HEAD), MSG_NOSIGNAL), (ssize_t)strlen(LAB_HEAD));
}

uint64_t lab_announced(void)
{
	static const char field[] = "; length=";
	const char *length = strstr(lab_response, field);

	return length ? lab_ciphertext(strtoull(length + strlen(field), NULL, 10)) : 0;
}

void lab_hand_off(struct direct_lab *lab, bool redirect)
{
	struct control_message message = {.type = CONTROL_HANDOFF};
	struct tcp_fault fault;

	if (redirect)
		direct_net_route(lab->net, NET_NODE);
	assert_int_equal(tcp_freeze(lab->lb, &lab->frozen, &fault), 0);
	assert_int_equal(tcp_disconnect(lab->lb, &fault), 0);
	message.u.handoff = (struct control_handoff){
		.ticket = ticket_of(lab->ticket),
		.state = lab->frozen.state,
		.send_queue = {lab->frozen.send_queue, lab->frozen.send_len},
		.receive_queue = {lab->frozen.receive_queue, lab->frozen.receive_len},
		.bytes = lab_announced() + (uint64_t)lab->lie,
	};
	lab_send(lab, &message);
}

void lab_transmit(struct direct_lab *lab, uint8_t family)
{
	lab_fetch(lab, "/body", "", 1);
	lab_connect(lab, family);
	lab_hand_off(lab, true);
	lab_client_reads(lab, 1);
}

struct ticket lab_ticket(const struct direct_lab *lab)
{
	return ticket_of(lab->ticket);
}

void lab_release(struct direct_lab *lab)
{
	struct control_message message = {.type = CONTROL_RELEASE, .u.release = {.ticket = ticket_of(lab->ticket)}};

	lab_send(lab, &message);
}

void lab_recall(struct direct_lab *lab, bool discard)
{
	struct control_message message = {.type = CONTROL_RECALL,
					  .u.recall = {.ticket = ticket_of(lab->ticket), .discard = discard}};

	lab_send(lab, &message);
}

void lab_recall_before_drained(struct direct_lab *lab)
{
	unsigned drained = lab->counts[CONTROL_DRAINED];

	lab_recall(lab, false);
	lab_await(lab, CONTROL_DRAINED, drained + 1);
	assert_int_equal(lab->counts[CONTROL_HANDBACK], 0); /* the client's packets are held only now */
	lab_recall(lab, false);
}

void lab_take_back(struct direct_lab *lab)
{
	struct tcp_fault fault = {.call = ""};

	lab_await(lab, CONTROL_HANDBACK, 1);
	lab->counts[CONTROL_HANDBACK] = 0;
	if (tcp_fast_forward(lab->lb, &lab->frozen, &fault) < 0)
		fail_msg("tcp_fast_forward(): %s: %s", fault.call, strerror(fault.error));
	direct_net_route(lab->net, NET_LB);
	assert_int_equal(tcp_go(lab->lb, &lab->frozen, false, &fault), 0);
}

static bool client_has_all(void *data)
{
	const struct direct_lab *lab = data;

	return lab->received_len >= lab->wanted || lab->client_error != 0;
}

void lab_client_reads(struct direct_lab *lab, uint64_t bytes)
{
	lab->wanted = (size_t)bytes + strlen(LAB_HEAD);
	ev_io_start(lab->loop, &lab->client_reader);
	run_until(lab->loop, client_has_all, lab, "the client has the records");
	if (lab->client_error > 0)
		fail_msg("the client's connection: %s", strerror(lab->client_error));
	assert_true(lab->received_len >= lab->wanted);
}

uint64_t lab_ciphertext(uint64_t length)
{
	return length + 22 * ((length + 16383) / 16384);
}

void lab_assert_received(struct direct_lab *lab, size_t length)
{
	struct tx_state state = opening_state(1);
	size_t head = strlen(LAB_HEAD), plain_len;
	uint8_t *plain = malloc(length + 1);
	uint64_t opened;

	assert_non_null(plain);
	assert_int_equal(lab->received_len, head + lab_ciphertext(length));
	assert_memory_equal(lab->received, LAB_HEAD, head);
	assert_true(open_records(&state, lab->received + head, lab->received_len - head, plain, length, &plain_len,
				 &opened));
	assert_int_equal(plain_len, length);
	assert_memory_equal(plain, lab_body, length);
	free(plain);
}

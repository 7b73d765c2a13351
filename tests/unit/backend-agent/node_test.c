/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Guards the node as a whole, from the outside: an agent offers TX states over a control channel, a client fetches with
 * tickets, and what comes back is opened with the offered key (doc/protocol.md, sections 2 and 3). Control server and
 * fetch server run on one loop here; node and test share a thread, so nothing depends on timing. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "../lib/channel_fixture.h"
#include "backend_metrics.h"
#include "control.h"
#include "control_server.h"
#include "fetch_server.h"
#include "record.h"
#include "record_opening.h"

#define BIG_SIZE (3u * 1024 * 1024 + 77)
#define SMALL_SIZE 1000u
#define MIN_SIZE 2000u
#define TICKET_WAIT 0.4

static char certificates[64], root[64];
static uint8_t *big;

/* The node, its agent and one HAProxy. */
struct lab {
	struct ev_loop *loop;
	struct fetch_content content;
	struct ticket_table *tickets;
	struct result_queue results;
	struct control_settings control;
	struct control_server *control_server;
	struct fetch_server *fetch_server;
	struct address control_address, fetch_address;
	int control_listener, fetch_listener;
	_Atomic bool draining;
	bool idle;
	struct channel_tls *node_tls, *agent_tls;
	struct end agent;
	struct control_message hello;
	unsigned result_count, pong_count, reply_count;
	bool said_direct;             /* in its Hello */
	struct control_result result; /* the last one; its reason in <reason> */
	char reason[128];
	struct control_pong pong;
	int client;
	ev_io client_reader;
	uint8_t *response;
	size_t response_len, response_cap, wanted;
	bool client_ended;
};

static const char *const agents[] = {"agent.test", NULL};
static const char *const nodes[] = {"node.test", NULL};
static const char *const index_names[] = {"index.html", NULL};

/* --- the lab ---------------------------------------------------------------------------------------------------- */

static int make_files(void **state)
{
	const struct timespec past[2] = {{.tv_sec = 1000000000}, {.tv_sec = 1000000000}};
	char path[128];
	FILE *file;

	(void)state;
	assert_int_equal(certificates_make(certificates), 0);
	strcpy(root, "/tmp/disc-node-XXXXXX");
	assert_non_null(mkdtemp(root));
	big = malloc(BIG_SIZE);
	assert_non_null(big);
	for (size_t i = 0; i < BIG_SIZE; i++)
		big[i] = (uint8_t)(i * 2654435761u >> 11);
	(void)snprintf(path, sizeof(path), "%s/big.bin", root);
	file = fopen(path, "w");
	assert_non_null(file);
	assert_int_equal(fwrite(big, 1, BIG_SIZE, file), BIG_SIZE);
	assert_int_equal(fflush(file), 0);
	assert_int_equal(futimens(fileno(file), past), 0); /* a file written only now is not offloaded */
	assert_int_equal(fclose(file), 0);
	(void)snprintf(path, sizeof(path), "%s/small.bin", root);
	file = fopen(path, "w");
	assert_non_null(file);
	assert_int_equal(fwrite(big, 1, SMALL_SIZE, file), SMALL_SIZE);
	assert_int_equal(fclose(file), 0);
	return 0;
}

static int remove_files(void **state)
{
	char path[128];

	(void)state;
	(void)snprintf(path, sizeof(path), "%s/big.bin", root);
	(void)unlink(path);
	(void)snprintf(path, sizeof(path), "%s/small.bin", root);
	(void)unlink(path);
	(void)rmdir(root);
	free(big);
	certificates_remove(certificates);
	return 0;
}

static int listen_somewhere(struct address *address)
{
	const char *why;
	int fd;

	assert_int_equal(address_parse(address, "127.0.0.1:0", &why), 0);
	fd = address_listen(address, 16, 0600);
	assert_true(fd >= 0);
	address->len = sizeof(address->storage);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&address->storage, &address->len), 0);
	return fd;
}

static void on_idle(void *context)
{
	((struct lab *)context)->idle = true;
}

static void on_agent_frame(struct end *end, const uint8_t *frame, size_t len)
{
	struct lab *lab = end->data;
	struct control_message message;

	assert_int_equal(control_decode(&message, frame, len), CONTROL_OK);
	if (message.type == CONTROL_RESULT) {
		lab->result = message.u.result;
		(void)snprintf(lab->reason, sizeof(lab->reason), "%.*s", (int)message.u.result.reason.len,
			       message.u.result.reason.data);
		lab->result_count++;
	} else if (message.type == CONTROL_PONG) {
		lab->pong = message.u.pong;
		lab->pong_count++;
	} else if (message.type == CONTROL_HANDOFF_REPLY) {
		lab->reply_count++;
		(void)snprintf(lab->reason, sizeof(lab->reason), "%.*s", (int)message.u.handoff_reply.reason.len,
			       message.u.handoff_reply.reason.data);
	} else {
		assert_int_equal(message.type, CONTROL_HELLO);
		lab->said_direct = message.u.hello.direct != 0;
	}
	control_release(&message);
}

static void agent_send(struct lab *lab, const struct control_message *message)
{
	uint8_t bytes[CONTROL_MESSAGE_MAX];
	size_t len;

	assert_int_equal(control_encode(message, bytes, sizeof(bytes), &len), CONTROL_OK);
	assert_int_equal(channel_send(lab->agent.channel, bytes, len), 0);
}

static void agent_connect(struct lab *lab, const char *ca, const char *name)
{
	lab->agent_tls = credentials(certificates, ca, name);
	lab->agent = (struct end){.on_frame = on_agent_frame, .data = lab};
	assert_non_null(
		channel_connect(lab->loop, lab->agent_tls, &lab->control_address, nodes, &end_handlers, &lab->agent));
}

static bool agent_has_hello(void *end)
{
	return ((struct end *)end)->frames > 0;
}

static void agent_greet(struct lab *lab)
{
	struct control_message hello = {
		.type = CONTROL_HELLO,
		.u.hello = {.version_min = 1, .version_max = 1, .name = {"test", 4}, .software = {"test 1", 6}}};

	agent_connect(lab, "ca", "agent");
	run_until(lab->loop, agent_has_hello, &lab->agent, "the node's Hello");
	agent_send(lab, &hello);
}

static int lab_open(void **state)
{
	struct lab *lab = calloc(1, sizeof(*lab));
	struct ticket_limits limits = {.wait_s = TICKET_WAIT, .remember_s = 60, .max_waiting = 64, .max_used = 640};
	struct fetch_service service;

	assert_non_null(lab);
	lab->loop = ev_loop_new(EVFLAG_AUTO);
	lab->content = (struct fetch_content){NULL, file_source_new(root), content_types_new(NULL), index_names};
	assert_non_null(lab->content.files);
	assert_non_null(lab->content.types);
	lab->tickets = ticket_table_new(&limits);
	assert_non_null(lab->tickets);
	assert_int_equal(result_queue_init(&lab->results), 0);
	lab->node_tls = credentials(certificates, "ca", "node");
	lab->control_listener = listen_somewhere(&lab->control_address);
	lab->fetch_listener = listen_somewhere(&lab->fetch_address);
	lab->control = (struct control_settings){lab->node_tls, agents,         "node", lab->tickets,
						 &lab->results, &lab->draining, NULL};
	lab->control_server = control_server_start(lab->loop, lab->control_listener, &lab->control);
	assert_non_null(lab->control_server);
	service = (struct fetch_service){
		.loop = lab->loop,
		.limits = {.keep_alive_timeout = 20,
			   .header_timeout = 20,
			   .send_timeout = 20,
			   .ticket_wait = TICKET_WAIT,
			   .max_header_size = 4096,
			   .max_connections = 8,
			   .offload_min_size = MIN_SIZE},
		.content = &lab->content,
		.tickets = lab->tickets,
		.results = &lab->results,
		.draining = &lab->draining,
	};
	lab->fetch_server = fetch_server_start(&service, &lab->fetch_listener, 1, on_idle, lab);
	assert_non_null(lab->fetch_server);
	lab->client = -1;
	*state = lab;
	return 0;
}

static void client_close(struct lab *lab)
{
	if (lab->client < 0)
		return;
	ev_io_stop(lab->loop, &lab->client_reader);
	assert_int_equal(close(lab->client), 0);
	lab->client = -1;
}

static int lab_close(void **state)
{
	struct lab *lab = *state;

	client_close(lab);
	if (lab->agent.channel != NULL)
		channel_close(lab->agent.channel, "the test ends");
	fetch_server_stop(lab->fetch_server);
	control_server_stop(lab->control_server);
	assert_int_equal(backend_metric_value(BACKEND_OFFLOADS_ACTIVE), 0);
	assert_int_equal(backend_metric_value(BACKEND_CONNECTIONS), 0);
	close(lab->control_listener);
	close(lab->fetch_listener);
	if (lab->agent_tls != NULL)
		channel_tls_free(lab->agent_tls);
	channel_tls_free(lab->node_tls);
	ticket_table_free(lab->tickets);
	result_queue_destroy(&lab->results);
	file_source_free(lab->content.files);
	content_types_free(lab->content.types);
	ev_loop_destroy(lab->loop);
	free(lab->response);
	free(lab);
	return 0;
}

/* --- the client of the fetch hop -------------------------------------------------------------------------------- */

static void on_client_readable(struct ev_loop *loop, ev_io *watcher, int events)
{
	struct lab *lab = watcher->data;
	ssize_t n;

	(void)events;
	if (lab->response_cap - lab->response_len < 65536) {
		lab->response_cap = 2 * lab->response_cap + 65536;
		lab->response = realloc(lab->response, lab->response_cap);
		assert_non_null(lab->response);
	}
	n = recv(lab->client, lab->response + lab->response_len, 65536, MSG_DONTWAIT);
	if (n > 0) {
		lab->response_len += (size_t)n;
	} else if (n == 0 || (errno != EAGAIN && errno != EINTR)) {
		lab->client_ended = true;
		ev_io_stop(loop, watcher);
	}
}

static void client_send(struct lab *lab, const char *request)
{
	if (lab->client < 0) {
		lab->client = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
		assert_true(lab->client >= 0);
		assert_int_equal(connect(lab->client, (const struct sockaddr *)&lab->fetch_address.storage,
					 lab->fetch_address.len),
				 0);
		ev_io_init(&lab->client_reader, on_client_readable, lab->client, EV_READ);
		lab->client_reader.data = lab;
		ev_io_start(lab->loop, &lab->client_reader);
		lab->client_ended = false;
	}
	lab->response_len = 0;
	assert_int_equal(send(lab->client, request, strlen(request), MSG_NOSIGNAL), (ssize_t)strlen(request));
}

/* Where the body of the response begins; 0 until the head is there. */
static size_t body_at(const struct lab *lab)
{
	const uint8_t *end = lab->response_len > 0 ? memmem(lab->response, lab->response_len, "\r\n\r\n", 4) : NULL;

	return end == NULL ? 0 : (size_t)(end + 4 - lab->response);
}

/* Copies the value of header <name> to <value>, empty if there is none. */
static void header(const struct lab *lab, const char *name, char value[static 200])
{
	char line[64];
	const uint8_t *at, *end;

	(void)snprintf(line, sizeof(line), "\r\n%s: ", name);
	value[0] = '\0';
	at = memmem(lab->response, body_at(lab), line, strlen(line));
	if (at == NULL)
		return;
	at += strlen(line);
	end = memchr(at, '\r', body_at(lab));
	(void)snprintf(value, 200, "%.*s", (int)(end - at), (const char *)at);
}

static bool response_is_whole(void *context)
{
	struct lab *lab = context;
	char length[200];

	if (body_at(lab) == 0)
		return false;
	header(lab, "Content-Length", length);
	return lab->response_len - body_at(lab) >= strtoull(length, NULL, 10);
}

static bool response_has_head(void *context)
{
	return body_at(context) > 0;
}

static void assert_status(const struct lab *lab, const char *line)
{
	assert_true(lab->response_len >= strlen(line));
	assert_memory_equal(lab->response, line, strlen(line));
}

static void assert_header(const struct lab *lab, const char *name, const char *expected)
{
	char value[200];

	header(lab, name, value);
	assert_string_equal(value, expected);
}

/* --- tickets ---------------------------------------------------------------------------------------------------- */

static const char *ticket_text(unsigned number)
{
	static char text[TICKET_TEXT_LEN + 1];

	(void)snprintf(text, sizeof(text), "%032x", number);
	return text;
}

static struct ticket ticket_of(unsigned number)
{
	struct ticket ticket;

	assert_true(ticket_parse(&ticket, ticket_text(number), TICKET_TEXT_LEN));
	return ticket;
}

/* For the rest of the object <etag> from byte <offset> on; <etag> "": for a whole response. */
static void offer_rest(struct lab *lab, unsigned number, uint64_t seq, const char *etag, uint64_t offset)
{
	struct control_message message = {.type = CONTROL_OFFER,
					  .u.offer = {.ticket = ticket_of(number),
						      .state = opening_state(seq),
						      .method = {"GET", 3},
						      .host = {"site", 4},
						      .target = {"/seen-by-haproxy", 16},
						      .client = {"192.0.2.1", 9},
						      .lease_id = number,
						      .rest_etag = {etag, strlen(etag)},
						      .rest_offset = offset}};

	agent_send(lab, &message);
}

static void offer(struct lab *lab, unsigned number, uint64_t seq)
{
	offer_rest(lab, number, seq, "", 0);
}

static bool an_offer_waits(void *context)
{
	return ticket_table_offers(((struct lab *)context)->tickets) > 0;
}

static void offer_and_wait(struct lab *lab, unsigned number, uint64_t seq)
{
	offer(lab, number, seq);
	run_until(lab->loop, an_offer_waits, lab, "the offer is in the table");
}

static void fetch(struct lab *lab, unsigned number, const char *method, const char *target, const char *more)
{
	char request[512];

	(void)snprintf(request, sizeof(request), "%s %s HTTP/1.1\r\nHost: site\r\nDisc-Ticket: %s\r\n%s\r\n", method,
		       target, ticket_text(number), more);
	client_send(lab, request);
}

static bool a_result_came(void *context)
{
	return ((struct lab *)context)->result_count > 0;
}

static void assert_result(struct lab *lab, unsigned number, enum control_outcome outcome, const char *reason)
{
	struct ticket ticket = ticket_of(number);

	run_until(lab->loop, a_result_came, lab, "a Result");
	assert_int_equal(lab->result_count, 1);
	assert_memory_equal(&lab->result.ticket, &ticket, sizeof(ticket));
	assert_int_equal(lab->result.outcome, outcome);
	assert_string_equal(lab->reason, reason);
	lab->result_count = 0;
}

static void assert_declined(struct lab *lab, unsigned number)
{
	char expected[128];

	run_until(lab->loop, response_has_head, lab, "a response");
	(void)snprintf(expected, sizeof(expected), "none; ticket=%s", ticket_text(number));
	assert_header(lab, "Disc-Body", expected);
}

/* The response is spliced, and its records open to <length> bytes from <offset> of the big file. */
static void assert_spliced(struct lab *lab, unsigned number, uint64_t seq, size_t offset, size_t length)
{
	uint64_t records = (length + 16383) / 16384, opened;
	struct tx_state state = opening_state(seq);
	uint8_t *plain = malloc(length + 1);
	char expected[200];
	size_t plain_len;

	assert_non_null(plain);
	run_until(lab->loop, response_is_whole, lab, "the whole response");
	(void)snprintf(expected, sizeof(expected), "splice; ticket=%s; seq=%llu; records=%llu; length=%zu",
		       ticket_text(number), (unsigned long long)seq, (unsigned long long)records, length);
	assert_header(lab, "Disc-Body", expected);
	(void)snprintf(expected, sizeof(expected), "%llu", (unsigned long long)(length + 22 * records));
	assert_header(lab, "Content-Length", expected);
	assert_true(open_records(&state, lab->response + body_at(lab), lab->response_len - body_at(lab), plain, length,
				 &plain_len, &opened));
	assert_int_equal(opened, records);
	assert_int_equal(plain_len, length);
	assert_memory_equal(plain, big + offset, length);
	free(plain);
}

/* --- tests: malformed and unwelcome first ------------------------------------------------------------------------ */

static void certificate_of_another_ca_is_refused(void **state)
{
	struct lab *lab = *state;

	agent_connect(lab, "ca", "stranger");
	run_until(lab->loop, end_is_closed, &lab->agent, "the channel is closed");
	assert_int_equal(backend_metric_value(BACKEND_CHANNELS), 0);
	assert_int_equal(lab->agent.frames, 0);
}

static void certificate_with_another_name_is_refused(void **state)
{
	struct lab *lab = *state;

	agent_connect(lab, "ca", "wrong");
	run_until(lab->loop, end_is_closed, &lab->agent, "the channel is closed");
	assert_int_equal(lab->agent.frames, 0);
}

static void offer_before_hello_closes_the_channel(void **state)
{
	struct lab *lab = *state;

	agent_connect(lab, "ca", "agent");
	run_until(lab->loop, agent_has_hello, &lab->agent, "the node's Hello");
	offer(lab, 1, 5);
	run_until(lab->loop, end_is_closed, &lab->agent, "the channel is closed");
	assert_int_equal(ticket_table_offers(lab->tickets), 0);
}

static void unknown_protocol_version_closes_the_channel(void **state)
{
	struct lab *lab = *state;
	struct control_message hello = {.type = CONTROL_HELLO, .u.hello = {.version_min = 7, .version_max = 9}};

	agent_connect(lab, "ca", "agent");
	run_until(lab->loop, agent_has_hello, &lab->agent, "the node's Hello");
	agent_send(lab, &hello);
	run_until(lab->loop, end_is_closed, &lab->agent, "the channel is closed");
}

static void garbage_frame_closes_the_channel(void **state)
{
	struct lab *lab = *state;

	agent_greet(lab);
	assert_int_equal(channel_send(lab->agent.channel, (const uint8_t *)"\xff\xff\xff\xff", 4), 0);
	run_until(lab->loop, end_is_closed, &lab->agent, "the channel is closed");
}

static void garbage_on_the_fetch_hop_is_answered_400_and_closed(void **state)
{
	struct lab *lab = *state;

	client_send(lab, "\x16\x03\x01\x02 this is no HTTP\r\n\r\n");
	run_until(lab->loop, response_is_whole, lab, "a response");
	assert_status(lab, "HTTP/1.1 400 ");
	assert_header(lab, "Connection", "close");
}

static void ticket_that_is_no_ticket_is_answered_400(void **state)
{
	struct lab *lab = *state;

	client_send(lab, "GET /big.bin HTTP/1.1\r\nHost: site\r\nDisc-Ticket: 0123\r\n\r\n");
	run_until(lab->loop, response_is_whole, lab, "a response");
	assert_status(lab, "HTTP/1.1 400 ");
}

/* --- tests: offloads --------------------------------------------------------------------------------------------- */

static void offer_then_fetch_is_spliced(void **state)
{
	struct lab *lab = *state;

	agent_greet(lab);
	offer_and_wait(lab, 1, 1);
	fetch(lab, 1, "GET", "/big.bin", "");
	assert_spliced(lab, 1, 1, 0, BIG_SIZE);
	assert_status(lab, "HTTP/1.1 200 ");
	assert_result(lab, 1, CONTROL_OUTCOME_SEALED, "");
	assert_int_equal(lab->result.bytes, BIG_SIZE);
	assert_int_equal(lab->result.records, (BIG_SIZE + 16383) / 16384);
}

static bool a_fetch_was_begun(void *context)
{
	return backend_metric_value(BACKEND_FETCHES) > *(int64_t *)context;
}

static void fetch_then_offer_is_spliced(void **state)
{
	struct lab *lab = *state;
	int64_t fetches = backend_metric_value(BACKEND_FETCHES);

	agent_greet(lab);
	fetch(lab, 2, "GET", "/big.bin", "");
	run_until(lab->loop, a_fetch_was_begun, &fetches, "the fetch waits");
	assert_int_equal(lab->response_len, 0);
	offer(lab, 2, 1000000);
	assert_spliced(lab, 2, 1000000, 0, BIG_SIZE);
	assert_result(lab, 2, CONTROL_OUTCOME_SEALED, "");
}

static void range_is_spliced_as_206(void **state)
{
	struct lab *lab = *state;
	char expected[64];

	agent_greet(lab);
	offer_and_wait(lab, 3, 9);
	fetch(lab, 3, "GET", "/big.bin", "Range: bytes=100-33000\r\n");
	assert_spliced(lab, 3, 9, 100, 32901);
	assert_status(lab, "HTTP/1.1 206 ");
	(void)snprintf(expected, sizeof(expected), "bytes 100-33000/%u", BIG_SIZE);
	assert_header(lab, "Content-Range", expected);
	assert_result(lab, 3, CONTROL_OUTCOME_SEALED, "");
}

/* How an agent has the rest of a body made by another node, or by this one again: the same bytes, from any record on.
 */
static void rest_of_an_object_is_sealed_to_the_same_bytes(void **state)
{
	static const uint64_t firsts[] = {1, 100, (BIG_SIZE - 1) / 16384};
	struct lab *lab = *state;
	size_t whole_len;
	uint8_t *whole;
	char more[300], etag[200];

	agent_greet(lab);
	offer_and_wait(lab, 200, 1);
	fetch(lab, 200, "GET", "/big.bin", "");
	assert_spliced(lab, 200, 1, 0, BIG_SIZE);
	assert_result(lab, 200, CONTROL_OUTCOME_SEALED, "");
	header(lab, "ETag", etag);
	whole_len = lab->response_len - body_at(lab);
	whole = malloc(whole_len);
	assert_non_null(whole);
	memcpy(whole, lab->response + body_at(lab), whole_len);
	for (unsigned i = 0; i < 3; i++) {
		uint64_t first = firsts[i];
		size_t at = (size_t)first * (16384 + 22);

		(void)snprintf(more, sizeof(more), "Range: bytes=%llu-%u\r\nIf-Match: %s\r\n",
			       (unsigned long long)first * 16384, BIG_SIZE - 1, etag);
		offer_rest(lab, 201 + i, 1 + first, etag, first * 16384);
		run_until(lab->loop, an_offer_waits, lab, "the offer is in the table");
		fetch(lab, 201 + i, "GET", "/big.bin", more);
		assert_spliced(lab, 201 + i, 1 + first, (size_t)first * 16384, BIG_SIZE - (size_t)first * 16384);
		assert_status(lab, "HTTP/1.1 206 ");
		assert_int_equal(lab->response_len - body_at(lab), whole_len - at);
		assert_memory_equal(lab->response + body_at(lab), whole + at, whole_len - at);
		assert_result(lab, 201 + i, CONTROL_OUTCOME_SEALED, "");
	}
	free(whole);
}

static void rest_of_another_object_is_declined(void **state)
{
	struct lab *lab = *state;

	agent_greet(lab);
	offer_rest(lab, 210, 3, "\"other\"", 32768);
	fetch(lab, 210, "GET", "/big.bin", "Range: bytes=32768-\r\nIf-Match: \"other\"\r\n");
	assert_declined(lab, 210);
	assert_status(lab, "HTTP/1.1 412 ");
}

/* Whatever the request on the fetch hop says: keys and nonces of a rest may have sealed something before. */
static void rest_is_what_the_offer_says_or_nothing(void **state)
{
	struct lab *lab = *state;
	char etag[200];

	agent_greet(lab);
	fetch(lab, 230, "HEAD", "/big.bin", "");
	assert_declined(lab, 230);
	header(lab, "ETag", etag);
	offer_rest(lab, 231, 3, "\"other\"", 32768); /* no If-Match asks the source for it */
	fetch(lab, 231, "GET", "/big.bin", "Range: bytes=32768-\r\n");
	assert_declined(lab, 231);
	assert_result(lab, 231, CONTROL_OUTCOME_DECLINED, "this is not the rest of the object that was offered");
	offer_rest(lab, 232, 3, etag, 32768);
	fetch(lab, 232, "GET", "/big.bin", "Range: bytes=16384-\r\n");
	assert_declined(lab, 232);
	assert_result(lab, 232, CONTROL_OUTCOME_DECLINED, "this is not the rest of the object that was offered");
	offer_rest(lab, 233, 3, etag, 0);
	fetch(lab, 233, "GET", "/big.bin", "");
	assert_declined(lab, 233);
	assert_result(lab, 233, CONTROL_OUTCOME_DECLINED, "this is not the rest of the object that was offered");
}

static void client_that_asks_like_a_rest_gets_no_short_body_sealed(void **state)
{
	struct lab *lab = *state;
	char etag[200], more[300];

	agent_greet(lab);
	fetch(lab, 240, "HEAD", "/big.bin", "");
	assert_declined(lab, 240);
	header(lab, "ETag", etag);
	(void)snprintf(more, sizeof(more), "Range: bytes=0-0\r\nIf-Match: %s\r\n", etag);
	offer_and_wait(lab, 241, 1);
	fetch(lab, 241, "GET", "/big.bin", more);
	assert_declined(lab, 241);
	assert_result(lab, 241, CONTROL_OUTCOME_DECLINED, "the body is shorter than offload.min-size");
}

static void connection_goes_on_after_a_spliced_body(void **state)
{
	struct lab *lab = *state;

	agent_greet(lab);
	for (unsigned number = 10; number < 14; number++) {
		offer_and_wait(lab, number, 1);
		fetch(lab, number, "GET", "/big.bin", "");
		assert_spliced(lab, number, 1, 0, BIG_SIZE);
		assert_result(lab, number, CONTROL_OUTCOME_SEALED, "");
		client_send(lab, "GET /small.bin HTTP/1.1\r\nHost: site\r\n\r\n");
		run_until(lab->loop, response_is_whole, lab, "an ordinary response");
		assert_header(lab, "Disc-Body", "");
		assert_int_equal(lab->response_len - body_at(lab), SMALL_SIZE);
		assert_memory_equal(lab->response + body_at(lab), big, SMALL_SIZE);
	}
	assert_false(lab->client_ended);
}

static void declined(struct lab *lab, unsigned number, const char *method, const char *target, const char *more,
		     const char *status, const char *reason)
{
	agent_greet(lab);
	offer_and_wait(lab, number, 1);
	fetch(lab, number, method, target, more);
	assert_declined(lab, number);
	assert_status(lab, status);
	assert_result(lab, number, CONTROL_OUTCOME_DECLINED, reason);
	assert_int_equal(lab->result.records, 0);
	assert_int_equal(ticket_table_offers(lab->tickets), 0);
}

static void head_is_declined(void **state)
{
	declined(*state, 20, "HEAD", "/big.bin", "", "HTTP/1.1 200 ", "the response has no body of a file");
}

static void missing_file_is_declined(void **state)
{
	declined(*state, 21, "GET", "/none.bin", "", "HTTP/1.1 404 ", "the response has no body of a file");
}

static void unsatisfiable_range_is_declined(void **state)
{
	declined(*state, 22, "GET", "/big.bin", "Range: bytes=99999999-\r\n", "HTTP/1.1 416 ",
		 "the response has no body of a file");
}

static void not_modified_is_declined(void **state)
{
	declined(*state, 23, "GET", "/big.bin", "If-None-Match: *\r\n", "HTTP/1.1 304 ",
		 "the response has no body of a file");
}

static void short_body_is_declined(void **state)
{
	declined(*state, 24, "GET", "/small.bin", "", "HTTP/1.1 200 ", "the body is shorter than offload.min-size");
}

static void exhausted_sequence_is_declined(void **state)
{
	struct lab *lab = *state;

	agent_greet(lab);
	offer_and_wait(lab, 25, UINT64_MAX - 3);
	fetch(lab, 25, "GET", "/big.bin", "");
	assert_declined(lab, 25);
	assert_result(lab, 25, CONTROL_OUTCOME_DECLINED, record_error_text(RECORD_SEQ_EXHAUSTED));
}

static void draining_node_declines_and_says_so(void **state)
{
	struct lab *lab = *state;
	struct control_message ping = {.type = CONTROL_PING, .u.ping = {.nonce = 77}};

	agent_greet(lab);
	offer_and_wait(lab, 26, 1);
	atomic_store(&lab->draining, true);
	fetch(lab, 26, "GET", "/big.bin", "");
	assert_declined(lab, 26);
	assert_header(lab, "Connection", "close");
	assert_result(lab, 26, CONTROL_OUTCOME_DECLINED, "the node is draining");
	agent_send(lab, &ping);
	while (lab->pong_count == 0)
		(void)ev_run(lab->loop, EVRUN_ONCE);
	assert_int_equal(lab->pong.nonce, 77);
	assert_int_equal(lab->pong.draining, 1);
}

/* --- tests: tickets ---------------------------------------------------------------------------------------------- */

static void fetch_that_nobody_offered_is_answered_ordinarily(void **state)
{
	struct lab *lab = *state;

	agent_greet(lab);
	fetch(lab, 30, "GET", "/big.bin", "");
	run_until(lab->loop, response_is_whole, lab, "a response");
	assert_declined(lab, 30);
	assert_int_equal(lab->response_len - body_at(lab), BIG_SIZE);
	assert_memory_equal(lab->response + body_at(lab), big, BIG_SIZE);
	/* And an offer that comes too late finds the ticket used. */
	offer(lab, 30, 1);
	assert_result(lab, 30, CONTROL_OUTCOME_DECLINED, "the ticket was used before");
}

static bool a_reply_came(void *context)
{
	return ((struct lab *)context)->reply_count > 0;
}

static void node_without_the_direct_path_splices_and_refuses_handoffs(void **state)
{
	struct lab *lab = *state;
	struct control_message message = {
		.type = CONTROL_OFFER,
		.u.offer = {.ticket = ticket_of(60), .state = opening_state(1), .direct_min = 1}};

	agent_greet(lab);
	assert_false(lab->said_direct);
	agent_send(lab, &message);
	run_until(lab->loop, an_offer_waits, lab, "the offer is in the table");
	fetch(lab, 60, "GET", "/big.bin", "");
	assert_spliced(lab, 60, 1, 0, BIG_SIZE);
	message = (struct control_message){
		.type = CONTROL_HANDOFF,
		.u.handoff = {.ticket = ticket_of(60),
			      .state = {.family = 4, .mss = 1460, .local = {.port = 1}, .remote = {.port = 1}}}};
	agent_send(lab, &message);
	run_until(lab->loop, a_reply_came, lab, "a HandoffReply");
	assert_string_equal(lab->reason, "this node has no direct path");
	message = (struct control_message){.type = CONTROL_RECALL, .u.recall = {.ticket = ticket_of(60)}};
	agent_send(lab, &message);
	assert_int_equal(lab->agent.closed, 0);
}

static void offer_that_nobody_fetched_expires(void **state)
{
	struct lab *lab = *state;

	agent_greet(lab);
	offer(lab, 31, 1);
	assert_result(lab, 31, CONTROL_OUTCOME_EXPIRED, "no fetch named the ticket in time");
	fetch(lab, 31, "GET", "/big.bin", "");
	assert_declined(lab, 31);
}

static void ticket_is_honoured_once(void **state)
{
	struct lab *lab = *state;

	agent_greet(lab);
	offer_and_wait(lab, 32, 1);
	fetch(lab, 32, "GET", "/big.bin", "");
	assert_spliced(lab, 32, 1, 0, BIG_SIZE);
	assert_result(lab, 32, CONTROL_OUTCOME_SEALED, "");
	offer(lab, 32, 1);
	assert_result(lab, 32, CONTROL_OUTCOME_DECLINED, "the ticket was used before");
	fetch(lab, 32, "GET", "/big.bin", "");
	assert_declined(lab, 32);
}

static void cancelled_ticket_is_declined(void **state)
{
	struct lab *lab = *state;
	struct control_message cancel = {.type = CONTROL_CANCEL, .u.cancel = {.ticket = ticket_of(33)}};

	agent_greet(lab);
	offer_and_wait(lab, 33, 1);
	agent_send(lab, &cancel);
	assert_result(lab, 33, CONTROL_OUTCOME_DECLINED, "cancelled by the agent");
	fetch(lab, 33, "GET", "/big.bin", "");
	assert_declined(lab, 33);
}

static bool no_offer_waits(void *context)
{
	return !an_offer_waits(context);
}

static void closed_channel_takes_its_offers_with_it(void **state)
{
	struct lab *lab = *state;

	agent_greet(lab);
	offer_and_wait(lab, 34, 1);
	channel_close(lab->agent.channel, "the test closes it");
	run_until(lab->loop, no_offer_waits, lab, "the offer is dropped");
	fetch(lab, 34, "GET", "/big.bin", "");
	assert_declined(lab, 34);
}

static bool an_offload_is_active(void *context)
{
	(void)context;
	return backend_metric_value(BACKEND_OFFLOADS_ACTIVE) > 0;
}

static void client_that_goes_away_ends_the_offload(void **state)
{
	struct lab *lab = *state;

	agent_greet(lab);
	offer_and_wait(lab, 35, 1);
	fetch(lab, 35, "GET", "/big.bin", "");
	ev_io_stop(lab->loop, &lab->client_reader); /* reads nothing, so the body cannot end */
	run_until(lab->loop, an_offload_is_active, lab, "the offload begins");
	client_close(lab);
	assert_result(lab, 35, CONTROL_OUTCOME_ABORTED, "the peer went away");
	assert_true(lab->result.bytes < BIG_SIZE);
	assert_int_equal(backend_metric_value(BACKEND_OFFLOADS_ACTIVE), 0);
}

static bool is_idle(void *context)
{
	return ((struct lab *)context)->idle;
}

static void drain_lets_a_transfer_finish(void **state)
{
	struct lab *lab = *state;

	agent_greet(lab);
	offer_and_wait(lab, 36, 1);
	fetch(lab, 36, "GET", "/big.bin", "");
	ev_io_stop(lab->loop, &lab->client_reader);
	run_until(lab->loop, an_offload_is_active, lab, "the offload begins");
	atomic_store(&lab->draining, true);
	fetch_server_drain(lab->fetch_server);
	ev_io_start(lab->loop, &lab->client_reader);
	assert_spliced(lab, 36, 1, 0, BIG_SIZE);
	assert_result(lab, 36, CONTROL_OUTCOME_SEALED, "");
	run_until(lab->loop, is_idle, lab, "the server is idle");
}

int main(void)
{
#define LAB_TEST(name) cmocka_unit_test_setup_teardown(name, lab_open, lab_close)
	const struct CMUnitTest tests[] = {
		LAB_TEST(certificate_of_another_ca_is_refused),
		LAB_TEST(certificate_with_another_name_is_refused),
		LAB_TEST(offer_before_hello_closes_the_channel),
		LAB_TEST(unknown_protocol_version_closes_the_channel),
		LAB_TEST(garbage_frame_closes_the_channel),
		LAB_TEST(garbage_on_the_fetch_hop_is_answered_400_and_closed),
		LAB_TEST(ticket_that_is_no_ticket_is_answered_400),
		LAB_TEST(offer_then_fetch_is_spliced),
		LAB_TEST(fetch_then_offer_is_spliced),
		LAB_TEST(range_is_spliced_as_206),
		LAB_TEST(rest_of_an_object_is_sealed_to_the_same_bytes),
		LAB_TEST(rest_of_another_object_is_declined),
		LAB_TEST(rest_is_what_the_offer_says_or_nothing),
		LAB_TEST(client_that_asks_like_a_rest_gets_no_short_body_sealed),
		LAB_TEST(connection_goes_on_after_a_spliced_body),
		LAB_TEST(head_is_declined),
		LAB_TEST(missing_file_is_declined),
		LAB_TEST(unsatisfiable_range_is_declined),
		LAB_TEST(not_modified_is_declined),
		LAB_TEST(short_body_is_declined),
		LAB_TEST(exhausted_sequence_is_declined),
		LAB_TEST(draining_node_declines_and_says_so),
		LAB_TEST(fetch_that_nobody_offered_is_answered_ordinarily),
		LAB_TEST(node_without_the_direct_path_splices_and_refuses_handoffs),
		LAB_TEST(offer_that_nobody_fetched_expires),
		LAB_TEST(ticket_is_honoured_once),
		LAB_TEST(cancelled_ticket_is_declined),
		LAB_TEST(closed_channel_takes_its_offers_with_it),
		LAB_TEST(client_that_goes_away_ends_the_offload),
		LAB_TEST(drain_lets_a_transfer_finish),
	};

	return cmocka_run_group_tests(tests, make_files, remove_files);
}

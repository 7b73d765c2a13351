/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "node_lab.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fetch_proving.h"
#include "node_metrics.h"
#include "record.h"

uint8_t *big;

static char certificates[64], root[64];
static const char *const agents[] = {"agent.test", NULL};
static const char *const nodes[] = {"node.test", NULL};
static const char *const index_names[] = {"index.html", NULL};

/* --- the lab --- */

/* A file written only now is not offloaded: its time is a past one, with <fraction> nanoseconds. */
static void write_big(const char *name, long fraction)
{
	const struct timespec past = {.tv_sec = 1000000000, .tv_nsec = fraction};
	char path[128];
	FILE *file;

	(void)snprintf(path, sizeof(path), "%s/%s", root, name);
	file = fopen(path, "w");
	assert_non_null(file);
	assert_int_equal(fwrite(big, 1, BIG_SIZE, file), BIG_SIZE);
	assert_int_equal(fflush(file), 0);
	assert_int_equal(futimens(fileno(file), (const struct timespec[2]){past, past}), 0);
	assert_int_equal(fclose(file), 0);
}

int make_files(void **state)
{
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
	write_big("big.bin", 250000000);
	write_big("whole.bin", 0);
	(void)snprintf(path, sizeof(path), "%s/small.bin", root);
	file = fopen(path, "w");
	assert_non_null(file);
	assert_int_equal(fwrite(big, 1, SMALL_SIZE, file), SMALL_SIZE);
	assert_int_equal(fclose(file), 0);
	return 0;
}

int remove_files(void **state)
{
	char path[128];

	(void)state;
	(void)snprintf(path, sizeof(path), "%s/big.bin", root);
	(void)unlink(path);
	(void)snprintf(path, sizeof(path), "%s/whole.bin", root);
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
		(void)snprintf(lab->refusal, sizeof(lab->refusal), "%.*s", (int)message.u.handoff_reply.reason.len,
			       message.u.handoff_reply.reason.data);
	} else {
		assert_int_equal(message.type, CONTROL_HELLO);
		lab->said_direct = message.u.hello.direct != 0;
		lab->said_lanes = message.u.hello.lanes;
	}
	control_release(&message);
}

void agent_send(struct lab *lab, const struct control_message *message)
{
	uint8_t bytes[CONTROL_MESSAGE_MAX];
	size_t len;

	assert_int_equal(control_encode(message, bytes, sizeof(bytes), &len), CONTROL_OK);
	assert_int_equal(channel_send(lab->agent.channel, bytes, len), 0);
}

void agent_connect(struct lab *lab, const char *ca, const char *name)
{
	lab->agent_tls = credentials(certificates, ca, name);
	lab->agent = (struct end){.on_frame = on_agent_frame, .data = lab};
	assert_non_null(
		channel_connect(lab->loop, lab->agent_tls, &lab->control_address, nodes, &end_handlers, &lab->agent));
}

bool agent_has_hello(void *end)
{
	return ((struct end *)end)->frames > 0;
}

void agent_greet(struct lab *lab)
{
	struct control_message hello = {.type = CONTROL_HELLO,
					.u.hello = {.version_min = CONTROL_VERSION_MIN,
						    .version_max = CONTROL_VERSION_MAX,
						    .name = {"test", 4},
						    .software = {"test 1", 6}}};

	agent_connect(lab, "ca", "agent");
	run_until(lab->loop, agent_has_hello, &lab->agent, "the node's Hello");
	agent_send(lab, &hello);
}

int lab_open(void **state)
{
	struct lab *lab = calloc(1, sizeof(*lab));
	struct ticket_limits limits = {.wait_s = TICKET_WAIT, .remember_s = 60, .max_waiting = 64, .max_used = 640};
	struct fetch_service service;

	assert_non_null(lab);
	lab->loop = ev_loop_new(EVFLAG_AUTO);
	lab->content = (struct fetch_content){
		.files = file_source_new(root), .types = content_types_new(NULL), .index = index_names};
	assert_non_null(lab->content.files);
	assert_non_null(lab->content.types);
	lab->tickets = ticket_table_new(&limits);
	assert_non_null(lab->tickets);
	assert_int_equal(result_queue_init(&lab->results, 0), 0);
	lab->node_tls = credentials(certificates, "ca", "node");
	lab->control_listener = listen_somewhere(&lab->control_address);
	lab->fetch_listener = listen_somewhere(&lab->fetch_address);
	lab->control = (struct control_settings){
		.credentials = {.tls = lab->node_tls, .agents = agents},
		.node_name = "node",
		.tickets = lab->tickets,
		.results = &lab->results,
		.draining = &lab->draining,
	};
	lab->control_server = control_server_start(lab->loop, lab->control_listener, &lab->control);
	assert_non_null(lab->control_server);
	service = (struct fetch_service){
		.loop = lab->loop,
		.limits = {.keep_alive_timeout = 20,
			   .header_timeout = 20,
			   .send_timeout = 20,
			   .ticket_wait = TICKET_WAIT,
			   .max_header_size = 65536,
			   .max_connections = 8},
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

void client_close(struct lab *lab)
{
	if (lab->client < 0)
		return;
	ev_io_stop(lab->loop, &lab->client_reader);
	assert_int_equal(close(lab->client), 0);
	lab->client = -1;
}

int lab_close(void **state)
{
	struct lab *lab = *state;

	client_close(lab);
	if (lab->agent.channel)
		channel_close(lab->agent.channel, "the test ends");
	fetch_server_stop(lab->fetch_server);
	control_server_stop(lab->control_server);
	assert_int_equal(node_metric_value(NODE_OFFLOADS_ACTIVE), 0);
	assert_int_equal(node_metric_value(NODE_CONNECTIONS), 0);
	close(lab->control_listener);
	close(lab->fetch_listener);
	if (lab->agent_tls)
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

/* --- the client of the fetch hop --- */

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

void client_send(struct lab *lab, const char *request)
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

size_t body_at(const struct lab *lab)
{
	const uint8_t *end = lab->response_len ? memmem(lab->response, lab->response_len, "\r\n\r\n", 4) : NULL;

	return !end ? 0 : (size_t)(end + 4 - lab->response);
}

void header(const struct lab *lab, const char *name, char value[static HEADER_MAX])
{
	char line[64];
	const uint8_t *at, *end;

	(void)snprintf(line, sizeof(line), "\r\n%s: ", name);
	value[0] = '\0';
	at = memmem(lab->response, body_at(lab), line, strlen(line));
	if (!at)
		return;
	at += strlen(line);
	end = memchr(at, '\r', body_at(lab));
	(void)snprintf(value, HEADER_MAX, "%.*s", (int)(end - at), (const char *)at);
}

bool response_is_whole(void *context)
{
	struct lab *lab = context;
	char length[HEADER_MAX];

	if (body_at(lab) == 0)
		return false;
	header(lab, "Content-Length", length);
	return lab->response_len - body_at(lab) >= strtoull(length, NULL, 10);
}

bool response_has_head(void *context)
{
	return body_at(context) > 0;
}

void assert_status(const struct lab *lab, const char *line)
{
	assert_true(lab->response_len >= strlen(line));
	assert_memory_equal(lab->response, line, strlen(line));
}

void assert_header(const struct lab *lab, const char *name, const char *expected)
{
	char value[HEADER_MAX];

	header(lab, name, value);
	assert_string_equal(value, expected);
}

/* --- tickets --- */

static const char *ticket_text(unsigned number)
{
	static char text[TICKET_TEXT_LEN + 1];

	(void)snprintf(text, sizeof(text), "%032x", number);
	return text;
}

struct ticket ticket_of(unsigned number)
{
	struct ticket ticket;

	assert_true(ticket_parse(&ticket, ticket_text(number), TICKET_TEXT_LEN));
	return ticket;
}

void offer_continuation(struct lab *lab, unsigned number, uint64_t seq, const char *target, const char *etag,
			uint64_t offset)
{
	struct control_message message = {.type = CONTROL_OFFER,
					  .u.offer = {.ticket = ticket_of(number),
						      .state = opening_state(seq),
						      .method = {"GET", 3},
						      .host = {"site", 4},
						      .target = {target, strlen(target)},
						      .client = {"192.0.2.1", 9},
						      .lease_id = number,
						      .splice_min = SPLICE_MIN,
						      .continuation_etag = {etag, strlen(etag)},
						      .continuation_offset = offset,
						      .continuation_length = etag[0] ? BIG_SIZE - offset : 0}};

	agent_send(lab, &message);
}

void offer(struct lab *lab, unsigned number, uint64_t seq)
{
	offer_continuation(lab, number, seq, "/seen-by-haproxy", "", 0);
}

bool an_offer_waits(void *context)
{
	return ticket_table_offers(((struct lab *)context)->tickets) > 0;
}

void offer_and_wait(struct lab *lab, unsigned number, uint64_t seq)
{
	offer(lab, number, seq);
	run_until(lab->loop, an_offer_waits, lab, "the offer is in the table");
}

void fetch_claiming(struct lab *lab, const char *ticket, const char *method, const char *target, const char *more)
{
	char request[1024];

	(void)snprintf(request, sizeof(request), "%s %s HTTP/1.1\r\nHost: site\r\nDisc-Ticket: %s\r\n%s\r\n", method,
		       target, ticket, more);
	client_send(lab, request);
}

void fetch(struct lab *lab, unsigned number, const char *method, const char *target, const char *more)
{
	char header[PROVING_HEADER_MAX];

	prove_request(header, ticket_text(number), method, target, more);
	fetch_claiming(lab, header, method, target, more);
}

static bool a_result_came(void *context)
{
	return ((struct lab *)context)->result_count > 0;
}

void assert_result(struct lab *lab, unsigned number, enum control_outcome outcome, const char *reason)
{
	struct ticket ticket = ticket_of(number);

	run_until(lab->loop, a_result_came, lab, "a Result");
	assert_int_equal(lab->result_count, 1);
	assert_memory_equal(&lab->result.ticket, &ticket, sizeof(ticket));
	assert_int_equal(lab->result.outcome, outcome);
	assert_string_equal(lab->reason, reason);
	lab->result_count = 0;
}

void assert_declined(struct lab *lab, unsigned number)
{
	char expected[HEADER_MAX];

	run_until(lab->loop, response_has_head, lab, "a response");
	(void)snprintf(expected, sizeof(expected), "none; ticket=%s", ticket_text(number));
	prove_announcement(expected, sizeof(expected));
	assert_header(lab, "Disc-Body", expected);
}

void assert_unannounced(struct lab *lab)
{
	run_until(lab->loop, response_is_whole, lab, "the whole response");
	assert_header(lab, "Disc-Body", "");
	assert_int_equal(lab->response_len - body_at(lab), BIG_SIZE);
	assert_memory_equal(lab->response + body_at(lab), big, BIG_SIZE);
}

void assert_spliced(struct lab *lab, unsigned number, uint64_t seq, size_t offset, size_t length)
{
	uint64_t records = (length + 16383) / 16384, opened;
	struct tx_state state = opening_state(seq);
	uint8_t *plain = malloc(length + 1);
	char expected[2 * HEADER_MAX], etag[HEADER_MAX];
	size_t plain_len;

	assert_non_null(plain);
	run_until(lab->loop, response_is_whole, lab, "the whole response");
	header(lab, "ETag", etag);
	(void)snprintf(expected, sizeof(expected),
		       "splice; ticket=%s; seq=%llu; records=%llu; length=%zu; status=%.3s; first=%zu; etag=%s",
		       ticket_text(number), (unsigned long long)seq, (unsigned long long)records, length,
		       (const char *)lab->response + 9, offset, etag[0] == '"' ? etag : "");
	prove_announcement(expected, sizeof(expected));
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

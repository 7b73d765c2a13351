/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "direct_lab.h"

#include <arpa/inet.h>
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "egress_guard.h"
#include "node.h"
#include "node_config.h"
#include "node_metrics.h"
#include "record_opening.h"

uint8_t *lab_body;

char lab_root[64];

static char certificates[64];
static struct direct_net net;
static const char *const agents[] = {"agent.test", NULL};
static const char *const nodes[] = {"node.test", NULL};
static const char *const index_names[] = {"index.html", NULL};
static const char *interfaces[] = {"eth0", NULL};

/* --- before and after --- */

void lab_write_file(const char *name, size_t size)
{
	const struct timespec past[2] = {{1000000000, 123456789}, {1000000000, 123456789}};
	char path[128];
	FILE *file;

	(void)snprintf(path, sizeof(path), "%s/%s", lab_root, name);
	file = fopen(path, "w");
	assert_non_null(file);
	assert_int_equal(fwrite(lab_body, 1, size, file), size);
	assert_int_equal(fflush(file), 0);
	assert_int_equal(futimens(fileno(file), past), 0); /* a file written only now is not offloaded */
	assert_int_equal(fclose(file), 0);
}

int direct_lab_prepare(void **state)
{
	(void)state;
	assert_int_equal(certificates_make(certificates), 0);
	strcpy(lab_root, "/tmp/disc-direct-XXXXXX");
	assert_non_null(mkdtemp(lab_root));
	lab_body = malloc(LAB_BODY_SIZE);
	assert_non_null(lab_body);
	for (size_t i = 0; i < LAB_BODY_SIZE; i++)
		lab_body[i] = (uint8_t)(i * 2654435761u >> 13);
	lab_write_file("body", LAB_BODY_SIZE);
	direct_net_open(&net);
	return 0;
}

int direct_lab_clean_up(void **state)
{
	char path[128];

	(void)state;
	direct_net_close(&net);
	(void)snprintf(path, sizeof(path), "%s/body", lab_root);
	(void)unlink(path);
	(void)rmdir(lab_root);
	free(lab_body);
	certificates_remove(certificates);
	return 0;
}

const struct direct_net *direct_lab_net(void)
{
	return &net;
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

static void on_nothing(struct ev_loop *loop, ev_timer *timer, int events)
{
	(void)loop;
	(void)timer;
	(void)events;
}

static void on_idle(void *context)
{
	((struct direct_lab *)context)->idle = true;
}

/* --- the agent's ears --- */

static void keep_reason(struct direct_lab *lab, struct control_text reason)
{
	(void)snprintf(lab->reason, sizeof(lab->reason), "%.*s", (int)reason.len, reason.data);
}

static void keep_handback(struct direct_lab *lab, const struct control_handback *handback)
{
	lab->frozen.state = handback->state;
	lab->frozen.send_len = handback->send_queue.len;
	memcpy(lab->frozen.send_queue, handback->send_queue.data, handback->send_queue.len);
	lab->frozen.receive_len = handback->receive_queue.len;
	memcpy(lab->frozen.receive_queue, handback->receive_queue.data, handback->receive_queue.len);
	lab->handback_bytes = handback->bytes;
}

static void keep_client_data(struct direct_lab *lab, const struct control_client_data *data)
{
	assert_int_equal(data->offset, lab->client_data_len);
	assert_true(data->data.len <= sizeof(lab->client_data) - lab->client_data_len);
	memcpy(lab->client_data + lab->client_data_len, data->data.data, data->data.len);
	lab->client_data_len += data->data.len;
}

static void keep(struct direct_lab *lab, const struct control_message *message)
{
	switch (message->type) {
	case CONTROL_HELLO:
		lab->hello = message->u.hello;
		break;
	case CONTROL_HANDOFF_REPLY:
		lab->contradicts = message->u.handoff_reply.contradicts;
		keep_reason(lab, message->u.handoff_reply.reason);
		break;
	case CONTROL_PROGRESS:
		assert_true(message->u.progress.bytes > lab->progress.bytes);
		lab->progress = message->u.progress;
		break;
	case CONTROL_CLIENT_DATA:
		keep_client_data(lab, &message->u.client_data);
		break;
	case CONTROL_HANDBACK:
		keep_handback(lab, &message->u.handback);
		break;
	case CONTROL_GONE:
		lab->gone = message->u.gone;
		keep_reason(lab, message->u.gone.reason);
		break;
	case CONTROL_RESULT:
		lab->result = message->u.result;
		if (!lab->counts[CONTROL_GONE] && !lab->counts[CONTROL_HANDOFF_REPLY])
			keep_reason(lab, message->u.result.reason);
		break;
	case CONTROL_PONG:
		lab->draining = message->u.pong.draining != 0;
		break;
	default:
		assert_int_equal(message->type, CONTROL_DRAINED);
	}
}

static void on_agent_frame(struct end *end, const uint8_t *frame, size_t len)
{
	struct direct_lab *lab = end->data;
	struct control_message message;

	assert_int_equal(control_decode(&message, frame, len), CONTROL_OK);
	keep(lab, &message);
	lab->counts[message.type]++;
	control_release(&message);
}

struct expectation {
	const struct direct_lab *lab;
	enum control_type type;
	unsigned count;
};

static bool is_met(void *data)
{
	const struct expectation *expected = data;

	return expected->lab->counts[expected->type] >= expected->count || expected->lab->agent.closed > 0;
}

void lab_await(struct direct_lab *lab, enum control_type type, unsigned count)
{
	struct expectation expected = {lab, type, count};

	run_until(lab->loop, is_met, &expected, control_type_text(type));
	if (lab->counts[type] < count)
		fail_msg("the channel closed before a %s: %s", control_type_text(type), lab->agent.reason);
}

void lab_send(struct direct_lab *lab, const struct control_message *message)
{
	uint8_t bytes[CONTROL_MESSAGE_MAX];
	size_t len;

	assert_int_equal(control_encode(message, bytes, sizeof(bytes), &len), CONTROL_OK);
	assert_int_equal(channel_send(lab->agent.channel, bytes, len), 0);
}

#define PING_S 0.25

static void on_ping_due(struct ev_loop *loop, ev_timer *timer, int events)
{
	struct direct_lab *lab = timer->data;
	const struct control_message ping = {.type = CONTROL_PING};

	(void)loop;
	(void)events;
	if (lab->agent.channel && lab->agent.opened)
		lab_send(lab, &ping);
}

static void agent_greet(struct direct_lab *lab)
{
	struct control_message hello = {.type = CONTROL_HELLO,
					.u.hello = {.version_min = CONTROL_VERSION_MIN,
						    .version_max = CONTROL_VERSION_MAX,
						    .name = {"test", 4},
						    .software = {"test 1", 6}}};

	lab->agent_tls = credentials(certificates, "ca", "agent");
	lab->agent = (struct end){.on_frame = on_agent_frame, .data = lab};
	assert_non_null(
		channel_connect(lab->loop, lab->agent_tls, &lab->control_address, nodes, &end_handlers, &lab->agent));
	lab_await(lab, CONTROL_HELLO, 1);
	lab_send(lab, &hello);
	ev_timer_init(&lab->ping, on_ping_due, PING_S, PING_S);
	lab->ping.data = lab;
	ev_timer_start(lab->loop, &lab->ping);
}

/* --- the node --- */

/* Without it the kernel's answer to a packet that comes for a clone that is gone would reset the client now and
 * then. */
static void open_guard(struct direct_lab *lab)
{
	struct address vips[2] = {{.len = 0}};
	char error[512];

	(void)direct_net_endpoint(&vips[0].storage, 4, NET_VIP4, NET_VIP6, 0);
	(void)direct_net_endpoint(&vips[1].storage, 6, NET_VIP4, NET_VIP6, 0);
	lab->service.guard = egress_guard_open(interfaces, vips, 2, error, sizeof(error));
	if (!lab->service.guard)
		fail_msg("%s", error);
}

static void set_direct(struct direct_lab *lab)
{
	static struct ip_address vips[2];

	vips[0].family = 4;
	vips[1].family = 6;
	assert_int_equal(inet_pton(AF_INET, NET_VIP4, vips[0].address), 1);
	assert_int_equal(inet_pton(AF_INET6, NET_VIP6, vips[1].address), 1);
	lab->settings = (struct direct_settings){
		.vips = vips,
		.vip_count = 2,
		.interfaces = interfaces,
		.congestion = "reno",
		.send_buffer = 1 << 20,
		.handoff_wait = 15,
		.client_timeout = 15,
	};
	lab->service.settings = &lab->settings;
	lab->service.table = clone_table_new();
	assert_non_null(lab->service.table);
	assert_int_equal(agent_outbox_init(&lab->service.outbox, 0), 0);
}

static void start_fetching(struct direct_lab *lab)
{
	const struct fetch_service service = {
		.loop = lab->loop,
		.limits = {.keep_alive_timeout = 20,
			   .header_timeout = 20,
			   .send_timeout = 20,
			   .ticket_wait = 1,
			   .max_header_size = 4096,
			   .max_connections = LAB_CLONES_MAX},
		.content = &lab->content,
		.tickets = lab->tickets,
		.results = &lab->results,
		.draining = &lab->draining,
		.direct = &lab->service,
	};

	lab->fetch_server = fetch_server_start(&service, &lab->fetch_listener, 1, on_idle, lab);
	assert_non_null(lab->fetch_server);
}

static void start_node(struct direct_lab *lab)
{
	struct ticket_limits limits = {.wait_s = 1, .remember_s = 60, .max_waiting = 64, .max_used = 6400};

	lab->tickets = ticket_table_new(&limits);
	assert_non_null(lab->tickets);
	assert_int_equal(result_queue_init(&lab->results, 0), 0);
	lab->node_tls = credentials(certificates, "ca", "node");
	lab->control_listener = listen_somewhere(&lab->control_address);
	lab->fetch_listener = listen_somewhere(&lab->fetch_address);
	set_direct(lab);
	open_guard(lab);
	lab->control = (struct control_settings){.credentials.tls = lab->node_tls,
						 .credentials.agents = agents,
						 .node_name = "node",
						 .tickets = lab->tickets,
						 .results = &lab->results,
						 .draining = &lab->draining,
						 .direct = &lab->service};
	lab->control_server = control_server_start(lab->loop, lab->control_listener, &lab->control);
	assert_non_null(lab->control_server);
	start_fetching(lab);
}

void lab_front(struct direct_lab *lab, const struct http_source_settings *origin)
{
	fetch_server_stop(lab->fetch_server);
	lab->content.origin = origin;
	start_fetching(lab);
}

static struct direct_lab *make_lab(void)
{
	struct direct_lab *lab = calloc(1, sizeof(*lab));

	assert_non_null(lab);
	lab->net = &net;
	lab->client = lab->lb = lab->fetch = -1;
	lab->loop = ev_loop_new(EVFLAG_AUTO);
	lab->content = (struct fetch_content){
		.files = file_source_new(lab_root), .types = content_types_new(NULL), .index = index_names};
	assert_non_null(lab->content.files);
	assert_non_null(lab->content.types);
	direct_net_enter(&net, NET_NODE);
	return lab;
}

int direct_lab_open(void **state)
{
	struct direct_lab *lab = make_lab();

	start_node(lab);
	agent_greet(lab);
	*state = lab;
	return 0;
}

/* What is left when the node is gone. */
static void free_lab(struct direct_lab *lab)
{
	ev_timer_stop(lab->loop, &lab->ping);
	channel_tls_free(lab->agent_tls);
	channel_tls_free(lab->node_tls);
	agent_outbox_destroy(&lab->service.outbox);
	clone_table_free(lab->service.table);
	file_source_free(lab->content.files);
	content_types_free(lab->content.types);
	ev_loop_destroy(lab->loop);
	free(lab->received);
	free(lab->fetched);
	free(lab);
}

int direct_lab_close(void **state)
{
	struct direct_lab *lab = *state;

	lab_disconnect(lab);
	lab->keeps_fetches = false;
	lab_close_fetch(lab);
	if (lab->agent.channel)
		channel_close(lab->agent.channel, "the test ends");
	fetch_server_stop(lab->fetch_server);
	control_server_stop(lab->control_server);
	assert_int_equal(node_metric_value(NODE_OFFLOADS_ACTIVE), 0);
	assert_int_equal(node_metric_value(NODE_CLONES), 0);
	egress_guard_close(lab->service.guard);
	close(lab->control_listener);
	close(lab->fetch_listener);
	ticket_table_free(lab->tickets);
	result_queue_destroy(&lab->results);
	free_lab(lab);
	return 0;
}

/* --- the node as a process --- */

static void take_port(struct address *address)
{
	int fd = listen_somewhere(address);

	/* Nobody else is in this namespace to take it. */
	assert_int_equal(close(fd), 0);
}

static void run_process(struct direct_lab *lab)
{
	struct node_config config = {
		.workers = 2,
		.grace = 15,
		.fetch_listen = &lab->fetch_address,
		.fetch_listen_count = 1,
		.limits = {.keep_alive_timeout = 20,
			   .header_timeout = 20,
			   .send_timeout = 20,
			   .ticket_wait = 1,
			   .max_header_size = 4096,
			   .max_connections = LAB_CLONES_MAX},
		.max_connections = 2 * LAB_CLONES_MAX,
		.tickets = {.wait_s = 1, .remember_s = 60, .max_waiting = 64, .max_used = 6400},
		.control_listen = lab->control_address,
		.agents = (const char **)agents,
		.tls = lab->node_tls,
		.files = lab->content.files,
		.types = lab->content.types,
		.index = (const char **)index_names,
		.has_direct = true,
		.direct = lab->settings,
	};

	node_config_hold(&config); /* it is nobody's to free */
	_exit(node_run(NULL, &config) < 0 ? 1 : 0);
}

static bool is_listening(void *data)
{
	const struct direct_lab *lab = data;
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), connected;

	assert_true(fd >= 0);
	connected = connect(fd, (const struct sockaddr *)&lab->control_address.storage, lab->control_address.len);
	assert_int_equal(close(fd), 0);
	return connected == 0;
}

/* Its loop has nothing else to do. */
static void await_listening(struct direct_lab *lab)
{
	ev_timer look_again;

	ev_timer_init(&look_again, on_nothing, 0.01, 0.01);
	ev_timer_start(lab->loop, &look_again);
	run_until(lab->loop, is_listening, lab, "the node's process listens");
	ev_timer_stop(lab->loop, &look_again);
}

int direct_lab_open_process(void **state)
{
	struct direct_lab *lab = make_lab();

	lab->node_tls = credentials(certificates, "ca", "node");
	take_port(&lab->control_address);
	take_port(&lab->fetch_address);
	set_direct(lab);
	lab->process = fork();
	assert_true(lab->process >= 0);
	if (lab->process == 0)
		run_process(lab);
	await_listening(lab);
	agent_greet(lab);
	*state = lab;
	return 0;
}

int lab_await_process(struct direct_lab *lab)
{
	int status;

	assert_true(lab->process > 0);
	assert_int_equal(waitpid(lab->process, &status, 0), lab->process);
	lab->process = -1;
	return status;
}

int direct_lab_close_process(void **state)
{
	struct direct_lab *lab = *state;

	if (lab->process > 0) {
		assert_int_equal(kill(lab->process, SIGKILL), 0);
		(void)lab_await_process(lab);
	}
	lab_disconnect(lab);
	lab->keeps_fetches = false;
	lab_close_fetch(lab);
	if (lab->agent.channel)
		channel_close(lab->agent.channel, "the test ends");
	direct_net_run(lab->net, NET_NODE, "tc qdisc del dev eth0 clsact 2>/dev/null; true");
	free_lab(lab);
	return 0;
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Guards: an offer reaches a node that is alive and ready, whole and once; in every other case HAProxy hears at once,
 * with the reason, that it should pass. The nodes here are real channels on the same loop, so death, silence, drain and
 * wrong certificates are what they would be on a wire. */
#include <arpa/inet.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <unistd.h>

#include "dispatch.h"
#include "lib/channel_fixture.h"
#include "secret.h"

#define NODES 2

static const char *const agent_names[] = {"agent.test", NULL};

/* The node's side of one control channel, as far as the agent can see it. */
struct fake_node {
	struct end end;
	struct acceptor acceptor;
	bool mute, no_hello; /* answers no pings; says nothing at all */
	unsigned unanswered; /* pings while <mute> */
	uint32_t version, draining, offloads;
	unsigned offers;
	struct control_offer offer; /* the last one; texts are copied to the arrays below */
	char method[16], host[64], target[64], client[64];
	bool without_grants;
};

struct fixture {
	char folder[64];
	struct channel_tls *agent_tls, *node_tls;
	struct ev_loop *loop;
	struct fake_node nodes[NODES];
	struct node config_nodes[NODES];
	struct node *all_nodes[NODES];
	struct changed_paths changed_paths;
	struct node_pool pool;
	struct policy_route route;
	struct spoa_config config;
	struct spoa_metrics metrics;
	struct dispatch *dispatch;
	unsigned settled;
};

static int make_certificates(void **state)
{
	static struct fixture fixture;

	*state = &fixture;
	return certificates_make(fixture.folder);
}

static int remove_certificates(void **state)
{
	struct fixture *fixture = *state;

	certificates_remove(fixture->folder);
	return 0;
}

static void node_send(struct fake_node *node, const struct control_message *message)
{
	uint8_t frame[1024];
	size_t len;

	assert_int_equal(control_encode(message, frame, sizeof(frame), &len), CONTROL_OK);
	assert_int_equal(channel_send(node->end.channel, frame, len), 0);
}

static void keep_text(char *out, size_t size, struct control_text text)
{
	assert_true(text.len < size);
	memcpy(out, text.data, text.len);
	out[text.len] = '\0';
}

static void node_took_offer(struct fake_node *node, const struct control_offer *offer)
{
	node->offers++;
	node->offer = *offer;
	keep_text(node->method, sizeof(node->method), offer->method);
	keep_text(node->host, sizeof(node->host), offer->host);
	keep_text(node->target, sizeof(node->target), offer->target);
	keep_text(node->client, sizeof(node->client), offer->client);
}

static void node_received(struct end *end, const uint8_t *frame, size_t len)
{
	struct fake_node *node = end->data;
	struct control_message message, answer = {.type = CONTROL_PONG};

	assert_int_equal(control_decode(&message, frame, len), CONTROL_OK);
	if (message.type == CONTROL_HELLO && !node->no_hello) {
		assert_true(message.u.hello.name.len && message.u.hello.software.len);
		answer.type = CONTROL_HELLO;
		answer.u.hello.version_min = answer.u.hello.version_max = node->version;
		answer.u.hello.grants = !node->without_grants;
		node_send(node, &answer);
	} else if (message.type == CONTROL_PING && !node->mute) {
		answer.u.pong = (struct control_pong){message.u.ping.nonce, node->offloads, node->draining};
		node_send(node, &answer);
	} else if (message.type == CONTROL_PING) {
		node->unanswered++;
	} else if (message.type == CONTROL_OFFER) {
		node_took_offer(node, &message.u.offer);
	}
	control_release(&message);
}

static void offer_settled(void *context)
{
	struct fixture *fixture = context;

	fixture->settled++;
}

static void node_listen(struct fixture *fixture, struct fake_node *node, const char *where)
{
	memset(&node->end, 0, sizeof(node->end));
	node->end.on_frame = node_received;
	node->end.data = node;
	acceptor_open(&node->acceptor, fixture->loop, where, fixture->node_tls, agent_names, &node->end);
}

static void open_fixture(struct fixture *fixture, const char *node_certificate, size_t count)
{
	static const char *const names[NODES] = {"n1", "n2"};

	fixture->settled = 0;
	fixture->loop = ev_loop_new(EVFLAG_AUTO);
	assert_non_null(fixture->loop);
	fixture->agent_tls = credentials(fixture->folder, "ca", "agent");
	fixture->node_tls = credentials(fixture->folder, "ca", node_certificate);
	memset(fixture->nodes, 0, sizeof(fixture->nodes));
	memset(fixture->config_nodes, 0, sizeof(fixture->config_nodes));
	fixture->pool = (struct node_pool){.name = "p", .trust_group = "inner"};
	assert_int_equal(spoa_metrics_init(&fixture->metrics, names, count), 0);
	for (size_t i = 0; i < count; i++) {
		struct node *node = &fixture->config_nodes[i];

		fixture->nodes[i].version = CONTROL_VERSION_MAX;
		node_listen(fixture, &fixture->nodes[i], "127.0.0.1:0");
		node_init(node, names[i], i);
		node->certificate_name = "node.test";
		node->server = i == 0 ? "server1" : "server2";
		node->control = fixture->nodes[i].acceptor.address;
		node->up = spoa_metrics_node_up(&fixture->metrics, i);
		node->active = spoa_metrics_node_active(&fixture->metrics, i);
		fixture->pool.members[fixture->pool.count++] = fixture->all_nodes[i] = node;
	}
	memset(&fixture->changed_paths, 0, sizeof(fixture->changed_paths));
	assert_int_equal(node_pool_prepare(&fixture->pool), 0);
	fixture->route =
		(struct policy_route){.name = "r",
				      .offload = true,
				      .percent = 100,
				      .sizes = {.splice_min = 1ull << 33, .direct_min = 1, .h2_min = 1ull << 34}};
	fixture->config = (struct spoa_config){
		.tls = fixture->agent_tls,
		.nodes = fixture->all_nodes,
		.changed_paths = &fixture->changed_paths,
		.node_count = count,
		.pools = &fixture->pool,
		.pool_count = 1,
		.policy = {&fixture->route, 1},
	};
	fixture->dispatch = dispatch_new(fixture->loop, 0, &fixture->config, &fixture->metrics, offer_settled, fixture);
	assert_non_null(fixture->dispatch);
}

static void close_fixture(struct fixture *fixture)
{
	dispatch_free(fixture->dispatch);
	for (size_t i = 0; i < fixture->config.node_count; i++) {
		if (fixture->nodes[i].acceptor.fd >= 0)
			acceptor_close(&fixture->nodes[i].acceptor);
		if (fixture->nodes[i].end.channel)
			channel_close(fixture->nodes[i].end.channel, "test ends");
	}
	node_pool_release(&fixture->pool);
	spoa_metrics_release(&fixture->metrics);
	channel_tls_free(fixture->agent_tls);
	channel_tls_free(fixture->node_tls);
	ev_loop_destroy(fixture->loop);
}

static int64_t metric_of(struct fixture *fixture, enum spoa_metric id)
{
	return atomic_load(&fixture->metrics.all[id].value);
}

static bool all_up(void *data)
{
	struct fixture *fixture = data;

	for (size_t i = 0; i < fixture->config.node_count; i++)
		if (!atomic_load(&fixture->config_nodes[i].links))
			return false;
	return true;
}

static bool first_down(void *data)
{
	return atomic_load(&((struct fixture *)data)->config_nodes[0].links) == 0;
}

static bool first_up(void *data)
{
	return !first_down(data);
}

static bool first_has_offer(void *data)
{
	return ((struct fixture *)data)->nodes[0].offers > 0;
}

static bool nothing_outstanding(void *data)
{
	return dispatch_outstanding(((struct fixture *)data)->dispatch) == 0;
}

static bool first_closed_by_agent(void *data)
{
	return ((struct fixture *)data)->nodes[0].end.closed > 0;
}

/* A TLS 1.3 AES-128-GCM lease unless changed. */
static struct tx_state lease_state(void)
{
	struct tx_state state = {.tls_minor = 4, .suite = 0x1301, .aead = TX_AEAD_AES_GCM, .key_len = 16, .seq = 1};

	memset(state.key, 0x41, 16);
	memset(state.iv, 0x42, sizeof(state.iv));
	memset(state.proof_key, 0x43, sizeof(state.proof_key));
	return state;
}

static struct request request_with(uint8_t wire[static TX_STATE_WIRE_LEN], const struct tx_state *state)
{
	struct request request;

	tx_state_encode(wire, state);
	memset(&request, 0, sizeof(request));
	request.method = (struct control_text){"GET", 3};
	request.host = (struct control_text){"www.example", 11};
	request_set_target(&request, (struct control_text){"/a?b", 4});
	client_address_set(&request.client, (const uint8_t[]){192, 0, 2, 7}, 4);
	request.lease = wire;
	request.lease_len = TX_STATE_WIRE_LEN;
	request.lease_id = 77;
	return request;
}

static struct dispatch_answer ask(struct fixture *fixture)
{
	uint8_t wire[TX_STATE_WIRE_LEN];
	struct tx_state state = lease_state();
	struct request request = request_with(wire, &state);

	return dispatch_request(fixture->dispatch, &request);
}

static void assert_passes(struct dispatch_answer answer, enum pass_reason reason)
{
	assert_null(answer.node);
	assert_string_equal(pass_reason_word(answer.reason), pass_reason_word(reason));
}

static void leases_that_may_not_be_are_refused(void **state)
{
	struct fixture *fixture = *state;
	uint8_t wire[TX_STATE_WIRE_LEN];
	struct tx_state good = lease_state(), chacha = good;
	struct request request;

	open_fixture(fixture, "node", 1);
	run_until(fixture->loop, all_up, fixture, "the node is up");
	request = request_with(wire, &good);
	request.lease = NULL;
	assert_passes(dispatch_request(fixture->dispatch, &request), PASS_NO_LEASE);
	request = request_with(wire, &good);
	request.lease_len--;
	assert_passes(dispatch_request(fixture->dispatch, &request), PASS_BAD_LEASE);
	request.lease_len = 0;
	assert_passes(dispatch_request(fixture->dispatch, &request), PASS_BAD_LEASE);
	request = request_with(wire, &good);
	wire[0] = 9;
	assert_passes(dispatch_request(fixture->dispatch, &request), PASS_BAD_LEASE);
	/* TLS 1.2 ChaCha20-Poly1305 is never leased; TLS 1.3's is. */
	chacha.aead = TX_AEAD_CHACHA20_POLY1305;
	chacha.key_len = 32;
	chacha.tls_minor = 3;
	chacha.suite = 0xcca8;
	request = request_with(wire, &chacha);
	assert_passes(dispatch_request(fixture->dispatch, &request), PASS_BAD_LEASE);
	chacha.tls_minor = 4;
	chacha.suite = 0x1303;
	request = request_with(wire, &chacha);
	assert_non_null(dispatch_request(fixture->dispatch, &request).node);
	assert_int_equal(metric_of(fixture, SPOA_OFFERS), 1);
	close_fixture(fixture);
}

static void requests_without_method_or_target_pass(void **state)
{
	struct fixture *fixture = *state;
	uint8_t wire[TX_STATE_WIRE_LEN];
	struct tx_state good = lease_state();
	struct request request;

	open_fixture(fixture, "node", 1);
	run_until(fixture->loop, all_up, fixture, "the node is up");
	request = request_with(wire, &good);
	request.method.len = 0;
	assert_passes(dispatch_request(fixture->dispatch, &request), PASS_BAD_REQUEST);
	request = request_with(wire, &good);
	request.target.len = 0;
	assert_passes(dispatch_request(fixture->dispatch, &request), PASS_BAD_REQUEST);
	request = request_with(wire, &good);
	request.mistyped = true;
	assert_passes(dispatch_request(fixture->dispatch, &request), PASS_BAD_REQUEST);
	close_fixture(fixture);
}

static void offer_arrives_whole_and_its_result_ends_it(void **state)
{
	struct fixture *fixture = *state;
	struct fake_node *node = &fixture->nodes[0];
	struct tx_state expected = lease_state();
	struct control_message result = {.type = CONTROL_RESULT};
	struct dispatch_answer answer;

	open_fixture(fixture, "node", 1);
	assert_passes(ask(fixture), PASS_NO_NODE);
	run_until(fixture->loop, all_up, fixture, "the node is up");
	answer = ask(fixture);
	assert_string_equal(answer.node->server, "server1");
	assert_int_equal(dispatch_outstanding(fixture->dispatch), 1);
	assert_int_equal(node_load(&fixture->config_nodes[0]), 1);
	run_until(fixture->loop, first_has_offer, fixture, "the offer arrives");
	assert_memory_equal(&node->offer.ticket, &answer.ticket, sizeof(answer.ticket));
	assert_memory_equal(node->offer.state.key, expected.key, sizeof(expected.key));
	assert_memory_equal(node->offer.state.iv, expected.iv, sizeof(expected.iv));
	assert_memory_equal(node->offer.state.proof_key, expected.proof_key, sizeof(expected.proof_key));
	assert_int_equal(node->offer.state.seq, 1);
	assert_int_equal(node->offer.lease_id, 77);
	assert_true(node->offer.splice_min == 1ull << 33 && node->offer.direct_min == 0);
	assert_string_equal(node->method, "GET");
	assert_string_equal(node->host, "www.example");
	assert_string_equal(node->target, "/a?b");
	assert_string_equal(node->client, "192.0.2.7");
	result.u.result = (struct control_result){
		.ticket = answer.ticket, .outcome = CONTROL_OUTCOME_SEALED, .records = 3, .bytes = 40000};
	node_send(node, &result);
	/* A second result for the same ticket counts nothing. */
	node_send(node, &result);
	run_until(fixture->loop, nothing_outstanding, fixture, "the result arrives");
	assert_int_equal(node_load(&fixture->config_nodes[0]), 0);
	assert_int_equal(fixture->settled, 1);
	assert_int_equal(metric_of(fixture, SPOA_RESULTS_SEALED), 1);
	assert_int_equal(metric_of(fixture, SPOA_SEALED_BYTES), 40000);
	close_fixture(fixture);
}

/* The client's next attempt must not break off too: its file may still be being written. */
static void path_whose_file_changed_passes_for_a_while(void **state)
{
	struct fixture *fixture = *state;
	struct control_message result = {.type = CONTROL_RESULT};
	uint8_t wire[TX_STATE_WIRE_LEN];
	struct tx_state lease = lease_state();
	struct request other = request_with(wire, &lease);

	open_fixture(fixture, "node", 1);
	fixture->config.changed_hold = 60;
	dispatch_free(fixture->dispatch);
	fixture->dispatch = dispatch_new(fixture->loop, 0, &fixture->config, &fixture->metrics, offer_settled, fixture);
	run_until(fixture->loop, all_up, fixture, "the node is up");
	result.u.result = (struct control_result){.ticket = ask(fixture).ticket, .outcome = CONTROL_OUTCOME_FAILED};
	run_until(fixture->loop, first_has_offer, fixture, "the offer arrives");
	node_send(&fixture->nodes[0], &result);
	run_until(fixture->loop, nothing_outstanding, fixture, "the result arrives");
	/* A node that failed otherwise says nothing of the file. */
	fixture->nodes[0].offers = 0;
	result.u.result.ticket = ask(fixture).ticket;
	result.u.result.changed = 1;
	run_until(fixture->loop, first_has_offer, fixture, "the second offer arrives");
	node_send(&fixture->nodes[0], &result);
	run_until(fixture->loop, nothing_outstanding, fixture, "the second result arrives");
	assert_int_equal(metric_of(fixture, SPOA_CHANGED), 1);
	assert_passes(ask(fixture), PASS_CHANGING);
	request_set_target(&other, (struct control_text){"/other", 6});
	assert_non_null(dispatch_request(fixture->dispatch, &other).node);
	close_fixture(fixture);
}

static void silent_node_is_dead_after_a_few_pings(void **state)
{
	struct fixture *fixture = *state;

	open_fixture(fixture, "node", 1);
	run_until(fixture->loop, all_up, fixture, "the node is up");
	assert_non_null(ask(fixture).node);
	fixture->nodes[0].mute = true;
	run_until(fixture->loop, first_down, fixture, "the silent node is dead");
	/* One every 250 ms for 750 ms, and one that may be due at the same moment. */
	assert_true(fixture->nodes[0].unanswered <= 4);
	assert_passes(ask(fixture), PASS_NO_NODE);
	assert_int_equal(dispatch_outstanding(fixture->dispatch), 0);
	assert_int_equal(node_load(&fixture->config_nodes[0]), 0);
	assert_int_equal(metric_of(fixture, SPOA_OFFERS_LOST), 1);
	close_fixture(fixture);
}

static bool a_ping_is_unanswered(void *context)
{
	return ((struct fixture *)context)->nodes[0].unanswered > 0;
}

/* A process that gets no processor asks nobody anything, so that nobody's silence tells anything. */
static void own_stall_is_no_silence_of_the_node(void **state)
{
	struct fixture *fixture = *state;

	open_fixture(fixture, "node", 1);
	run_until(fixture->loop, all_up, fixture, "the node is up");
	(void)usleep(1200000); /* in place of the scheduler */
	fixture->nodes[0].mute = true;
	run_until(fixture->loop, a_ping_is_unanswered, fixture, "the first ping afterwards");
	fixture->nodes[0].mute = false;
	assert_non_null(ask(fixture).node);
	close_fixture(fixture);
}

static void node_that_returns_is_used_again(void **state)
{
	struct fixture *fixture = *state;
	struct fake_node *node = &fixture->nodes[0];
	char where[ADDRESS_TEXT_MAX];

	open_fixture(fixture, "node", 1);
	run_until(fixture->loop, all_up, fixture, "the node is up");
	(void)address_format(&node->acceptor.address, where);
	acceptor_close(&node->acceptor);
	channel_close(node->end.channel, "killed");
	run_until(fixture->loop, first_down, fixture, "the killed node is down");
	node_listen(fixture, node, where);
	run_until(fixture->loop, first_up, fixture, "the node is up again");
	assert_non_null(ask(fixture).node);
	close_fixture(fixture);
}

static bool is_draining(void *data)
{
	struct dispatch_answer answer = ask(data);

	return !answer.node && answer.reason == PASS_DRAINING;
}

static void draining_node_gets_no_new_offers(void **state)
{
	struct fixture *fixture = *state;

	open_fixture(fixture, "node", 1);
	run_until(fixture->loop, all_up, fixture, "the node is up");
	fixture->nodes[0].draining = 1;
	run_until(fixture->loop, is_draining, fixture, "the node is known to drain");
	close_fixture(fixture);
}

static void other_node_of_the_pool_takes_over(void **state)
{
	struct fixture *fixture = *state;
	const struct node *first;
	struct fake_node *dead;
	size_t index;

	open_fixture(fixture, "node", 2);
	run_until(fixture->loop, all_up, fixture, "both nodes are up");
	first = ask(fixture).node;
	assert_non_null(first);
	assert_ptr_equal(ask(fixture).node, first);
	index = first->index;
	dead = &fixture->nodes[index];
	channel_close(dead->end.channel, "killed");
	while (atomic_load(&fixture->config_nodes[index].links))
		(void)ev_run(fixture->loop, EVRUN_ONCE);
	assert_non_null(ask(fixture).node);
	assert_ptr_not_equal(ask(fixture).node, first);
	close_fixture(fixture);
}

static int64_t spills_of(const struct node *node)
{
	return atomic_load(&node->spills->value);
}

static void full_node_spills_over_to_the_next(void **state)
{
	struct fixture *fixture = *state;
	struct node *first, *second;

	open_fixture(fixture, "node", 2);
	run_until(fixture->loop, all_up, fixture, "both nodes are up");
	for (size_t i = 0; i < 2; i++) {
		fixture->config_nodes[i].max_offloads = 2;
		fixture->config_nodes[i].spills = spoa_metrics_node_spills(&fixture->metrics, i);
	}
	first = &fixture->config_nodes[ask(fixture).node->index];
	second = &fixture->config_nodes[1 - first->index];
	assert_ptr_equal(ask(fixture).node, first);
	assert_int_equal(spills_of(first), 0);
	assert_ptr_equal(ask(fixture).node, second);
	assert_ptr_equal(ask(fixture).node, second);
	assert_int_equal(spills_of(first), 2);
	assert_passes(ask(fixture), PASS_FULL);
	assert_int_equal(spills_of(first), 3);
	assert_int_equal(spills_of(second), 0);
	/* One of the first's ends: its path is its own again. */
	node_add_own(first, -1);
	assert_ptr_equal(ask(fixture).node, first);
	node_add_own(first, 1);
	close_fixture(fixture);
}

static void node_of_weight_0_gets_no_offers(void **state)
{
	struct fixture *fixture = *state;

	open_fixture(fixture, "node", 2);
	run_until(fixture->loop, all_up, fixture, "both nodes are up");
	fixture->config_nodes[1].weight = 0;
	for (unsigned i = 0; i < 4; i++)
		assert_ptr_equal(ask(fixture).node, &fixture->config_nodes[0]);
	fixture->config_nodes[0].weight = 0;
	assert_passes(ask(fixture), PASS_DRAINING);
	close_fixture(fixture);
}

static void node_with_another_name_is_refused(void **state)
{
	struct fixture *fixture = *state;

	open_fixture(fixture, "wrong", 1);
	run_until(fixture->loop, first_closed_by_agent, fixture, "the agent refuses the certificate");
	assert_true(first_down(fixture));
	assert_passes(ask(fixture), PASS_NO_NODE);
	close_fixture(fixture);
}

static void node_of_another_version_is_refused(void **state)
{
	struct fixture *fixture = *state;

	open_fixture(fixture, "node", 1);
	fixture->nodes[0].version = CONTROL_VERSION_MAX + 1;
	run_until(fixture->loop, first_closed_by_agent, fixture, "the agent refuses the version");
	assert_true(first_down(fixture));
	close_fixture(fixture);
}

static void node_that_says_nothing_is_given_up(void **state)
{
	struct fixture *fixture = *state;

	open_fixture(fixture, "node", 1);
	fixture->nodes[0].no_hello = true;
	run_until(fixture->loop, first_closed_by_agent, fixture, "the agent gives the silent node up");
	assert_true(first_down(fixture));
	close_fixture(fixture);
}

static void send_garbage(struct end *end)
{
	static const uint8_t garbage[] = {0xff, 0xff, 0xff, 0xff, 0x0f};

	assert_int_equal(channel_send(end->channel, garbage, sizeof(garbage)), 0);
}

static void garbage_from_a_node_closes_its_channel(void **state)
{
	struct fixture *fixture = *state;

	open_fixture(fixture, "node", 1);
	fixture->nodes[0].end.on_opened = send_garbage;
	run_until(fixture->loop, first_closed_by_agent, fixture, "the agent closes the channel");
	assert_true(first_down(fixture));
	close_fixture(fixture);
}

/* What a NOTIFY says. */
struct said {
	const char *method;
	const uint8_t *lease; /* NULL: no argument */
	size_t lease_len;
	enum spop_data_type lease_type;
	bool has_id;
	uint64_t id;
};

/* Builds a NOTIFY's payload. */
static size_t build_notify(uint8_t *out, size_t cap, const struct said *said)
{
	struct spop_writer writer = {out, out, out + cap, false};

	spop_write_string(&writer, "offload");
	spop_write_byte(&writer, (uint8_t)(2 + (said->lease != NULL) + said->has_id));
	spop_write_string(&writer, "method");
	spop_write_text_value(&writer, said->method);
	spop_write_string(&writer, "target");
	spop_write_text_value(&writer, "/a");
	if (said->lease) {
		spop_write_string(&writer, "lease");
		spop_write_byte(&writer, (uint8_t)said->lease_type);
		if (said->lease_type != SPOP_DATA_NULL) {
			spop_write_varint(&writer, said->lease_len);
			spop_write_bytes(&writer, said->lease, said->lease_len);
		}
	}
	if (said->has_id) {
		spop_write_string(&writer, "lease_id");
		spop_write_uint64_value(&writer, said->id);
	}
	assert_false(writer.full);
	return (size_t)(writer.p - out);
}

/* Answers a NOTIFY; the variables come as "name=value " in <text>. */
static void notify(struct fixture *fixture, const struct said *said, char *text, size_t size)
{
	uint8_t payload[512], out[1024];
	struct spop_frame frame = {.type = SPOP_NOTIFY, .stream_id = 1, .frame_id = 1};
	struct spop_writer ack;
	struct spop_reader reader;
	size_t len;

	frame.payload = (struct spop_slice){payload, build_notify(payload, sizeof(payload), said)};
	spop_ack_begin(&ack, out, sizeof(out), 1, 1);
	assert_int_equal(dispatch_notify(fixture->dispatch, &frame, &ack), SPOP_STATUS_NORMAL);
	len = spop_ack_end(&ack);
	reader = (struct spop_reader){out + SPOP_PREFIX_LEN + 7, out + len};
	text[0] = '\0';
	while (reader.p != reader.end) {
		struct spop_slice name;
		struct spop_value value;

		assert_true(reader.end - reader.p > 3);
		assert_memory_equal(reader.p, "\1\3\2", 3);
		reader.p += 3;
		assert_true(spop_read_string(&reader, &name) && spop_read_value(&reader, &value));
		len = strlen(text);
		if (value.type == SPOP_DATA_UINT64) {
			(void)snprintf(text + len, size - len, "%.*s=%llu ", (int)name.len, name.data,
				       (unsigned long long)value.number);
			continue;
		}
		if (value.type == SPOP_DATA_IPV4 || value.type == SPOP_DATA_IPV6) {
			char address[INET6_ADDRSTRLEN];

			assert_non_null(inet_ntop(value.type == SPOP_DATA_IPV4 ? AF_INET : AF_INET6, value.bytes.data,
						  address, sizeof(address)));
			(void)snprintf(text + len, size - len, "%.*s=%s ", (int)name.len, name.data, address);
			continue;
		}
		assert_int_equal(value.type, SPOP_DATA_STRING);
		(void)snprintf(text + len, size - len, "%.*s=%.*s ", (int)name.len, name.data, (int)value.bytes.len,
			       value.bytes.data);
	}
}

static void expect_variables(struct fixture *fixture, const struct said *said, const char *expected)
{
	char text[512];

	notify(fixture, said, text, sizeof(text));
	assert_string_equal(text, expected);
}

static void haproxy_gets_the_variables_of_the_protocol(void **state)
{
	struct fixture *fixture = *state;
	char text[512], expected[512], ticket[TICKET_TEXT_LEN + 1];
	uint8_t wire[TX_STATE_WIRE_LEN];
	struct tx_state good = lease_state();
	struct said said = {.method = "GET"};

	open_fixture(fixture, "node", 1);
	run_until(fixture->loop, all_up, fixture, "the node is up");
	expect_variables(fixture, &said, "action=pass reason=no-lease ");
	tx_state_encode(wire, &good);
	said = (struct said){"GET", wire, sizeof(wire), SPOP_DATA_BINARY, true, 77};
	notify(fixture, &said, text, sizeof(text));
	run_until(fixture->loop, first_has_offer, fixture, "the offer arrives");
	ticket_format(ticket, &fixture->nodes[0].offer.ticket);
	(void)snprintf(expected, sizeof(expected), "action=offload server=server1 ticket=%s node=n1 ", ticket);
	assert_string_equal(text, expected);
	assert_int_equal(metric_of(fixture, SPOA_PASS_NO_LEASE), 1);
	fixture->route.percent = 0;
	expect_variables(fixture, &said, "action=pass reason=rollout unused_lease=77 ");
	close_fixture(fixture);
}

static struct tx_state grants_state(void)
{
	struct tx_state state = lease_state();

	state.seq = 0;
	state.use = TX_USE_GRANTS;
	return state;
}

static void offer_for_grants_has_its_own_size_and_names_the_group(void **state)
{
	struct fixture *fixture = *state;
	char text[512], expected[512], ticket[TICKET_TEXT_LEN + 1];
	struct tx_state grants = grants_state();
	uint8_t wire[TX_STATE_WIRE_LEN];
	struct said said = {"GET", wire, sizeof(wire), SPOP_DATA_BINARY, true, 77};

	open_fixture(fixture, "node", 1);
	run_until(fixture->loop, all_up, fixture, "the node is up");
	tx_state_encode(wire, &grants);
	notify(fixture, &said, text, sizeof(text));
	run_until(fixture->loop, first_has_offer, fixture, "the offer arrives");
	ticket_format(ticket, &fixture->nodes[0].offer.ticket);
	(void)snprintf(expected, sizeof(expected), "action=offload server=server1 ticket=%s node=n1 group=inner ",
		       ticket);
	assert_string_equal(text, expected);
	assert_int_equal(fixture->nodes[0].offer.state.use, TX_USE_GRANTS);
	assert_true(fixture->nodes[0].offer.splice_min == 1ull << 34 && fixture->nodes[0].offer.direct_min == 0);
	close_fixture(fixture);
}

/* Whose connection is another group's gets nothing under its key. */
static void pool_of_another_trust_group_gets_no_offer(void **state)
{
	static const char *const foreign[] = {"outer", "inne", "inner2", "INNER"};
	struct fixture *fixture = *state;
	struct tx_state grants = grants_state();
	uint8_t wire[TX_STATE_WIRE_LEN];
	struct request request;

	open_fixture(fixture, "node", 1);
	run_until(fixture->loop, all_up, fixture, "the node is up");
	for (size_t i = 0; i < sizeof(foreign) / sizeof(foreign[0]); i++) {
		request = request_with(wire, &grants);
		request.group = (struct control_text){foreign[i], strlen(foreign[i])};
		assert_passes(dispatch_request(fixture->dispatch, &request), PASS_GROUP);
	}
	assert_int_equal(dispatch_outstanding(fixture->dispatch), 0);
	request = request_with(wire, &grants);
	request.group = (struct control_text){"inner", 5};
	assert_non_null(dispatch_request(fixture->dispatch, &request).node);
	close_fixture(fixture);
}

/* A node from before there were grants would close its channel over one. */
static void node_that_knows_no_grants_gets_none(void **state)
{
	struct fixture *fixture = *state;
	struct tx_state grants = grants_state();
	uint8_t wire[TX_STATE_WIRE_LEN];
	struct request request;

	open_fixture(fixture, "node", 1);
	fixture->nodes[0].without_grants = true;
	run_until(fixture->loop, all_up, fixture, "the node is up");
	request = request_with(wire, &grants);
	assert_passes(dispatch_request(fixture->dispatch, &request), PASS_NO_NODE);
	assert_non_null(ask(fixture).node);
	close_fixture(fixture);
}

/* Not a server's name: it has no address, and would be HAProxy's choice without the rules that set one. */
static void haproxy_gets_the_address_of_a_node_that_dns_has(void **state)
{
	static const struct {
		const char *fetch, *variables;
	} cases[] = {{"10.1.2.3:8080", "address=10.1.2.3 port=8080"}, {"[fd00::7]:81", "address=fd00::7 port=81"}};
	struct fixture *fixture = *state;
	struct node *node = &fixture->config_nodes[0];
	struct tx_state good = lease_state();
	uint8_t wire[TX_STATE_WIRE_LEN];
	struct said said = {"GET", wire, sizeof(wire), SPOP_DATA_BINARY, true, 77};
	const char *why;

	tx_state_encode(wire, &good);
	open_fixture(fixture, "node", 1);
	run_until(fixture->loop, all_up, fixture, "the node is up");
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		char text[512], expected[512], *ticket;

		node->by_address = true;
		assert_int_equal(address_parse(&node->fetch, cases[i].fetch, &why), 0);
		notify(fixture, &said, text, sizeof(text));
		ticket = strstr(text, "ticket=");
		assert_non_null(ticket);
		(void)snprintf(expected, sizeof(expected), "action=offload %s %.*s node=n1 ", cases[i].variables,
			       (int)strcspn(ticket, " "), ticket);
		assert_string_equal(text, expected);
	}
	close_fixture(fixture);
	node->by_address = false;
}

/* HAProxy goes on using the slots of a lease that is named so. */
static void lease_of_a_request_that_passes_is_returned(void **state)
{
	struct fixture *fixture = *state;
	struct tx_state good = lease_state();
	uint8_t wire[TX_STATE_WIRE_LEN];
	struct said said = {"GET", wire, sizeof(wire), SPOP_DATA_BINARY, true, UINT64_MAX};

	open_fixture(fixture, "node", 1);
	tx_state_encode(wire, &good);
	expect_variables(fixture, &said, "action=pass reason=no-node unused_lease=18446744073709551615 ");
	run_until(fixture->loop, all_up, fixture, "the node is up");
	said.id = 0;
	said.method = "";
	expect_variables(fixture, &said, "action=pass reason=bad-request unused_lease=0 ");
	said.method = "GET";
	said.lease_type = SPOP_DATA_STRING;
	expect_variables(fixture, &said, "action=pass reason=bad-request unused_lease=0 ");
	said.lease_type = SPOP_DATA_BINARY;
	said.id = 5;
	said.lease_len--;
	expect_variables(fixture, &said, "action=pass reason=bad-lease unused_lease=5 ");
	said.lease_len = 0;
	expect_variables(fixture, &said, "action=pass reason=bad-lease unused_lease=5 ");
	said.lease_len = sizeof(wire);
	wire[0] = 1;
	expect_variables(fixture, &said, "action=pass reason=bad-lease unused_lease=5 ");
	assert_int_equal(metric_of(fixture, SPOA_OFFERS), 0);
	close_fixture(fixture);
}

static void nothing_is_returned_without_a_lease_and_its_number(void **state)
{
	struct fixture *fixture = *state;
	struct tx_state good = lease_state();
	uint8_t wire[TX_STATE_WIRE_LEN];
	struct said said = {"GET", NULL, 0, SPOP_DATA_BINARY, true, 5};

	open_fixture(fixture, "node", 1);
	tx_state_encode(wire, &good);
	expect_variables(fixture, &said, "action=pass reason=no-lease ");
	said = (struct said){"GET", wire, sizeof(wire), SPOP_DATA_NULL, true, 5};
	expect_variables(fixture, &said, "action=pass reason=no-lease ");
	said = (struct said){"GET", wire, sizeof(wire), SPOP_DATA_BINARY, false, 0};
	expect_variables(fixture, &said, "action=pass reason=no-node ");
	close_fixture(fixture);
}

/* The queue of its control channel is full: of what is passed then nothing was queued, of all before it everything. */
static void lease_that_no_channel_took_is_returned(void **state)
{
	struct fixture *fixture = *state;
	struct tx_state good = lease_state();
	uint8_t wire[TX_STATE_WIRE_LEN];
	struct said said = {"GET", wire, sizeof(wire), SPOP_DATA_BINARY, true, 5};
	char text[512];
	int64_t offers = 0;

	open_fixture(fixture, "node", 1);
	run_until(fixture->loop, all_up, fixture, "the node is up");
	tx_state_encode(wire, &good);
	for (;;) {
		notify(fixture, &said, text, sizeof(text));
		if (strncmp(text, "action=offload ", 15) != 0)
			break;
		assert_null(strstr(text, "unused_lease"));
		assert_int_equal(metric_of(fixture, SPOA_OFFERS), ++offers);
	}
	assert_string_equal(text, "action=pass reason=busy unused_lease=5 ");
	assert_true(offers > 1000);
	assert_int_equal(metric_of(fixture, SPOA_OFFERS), offers);
	assert_int_equal(dispatch_outstanding(fixture->dispatch), offers);
	close_fixture(fixture);
}

/* A configuration with the second node of the fixture alone. */
struct swapped {
	struct spoa_config config;
	struct node_pool pool;
	struct policy_route route;
};

static void make_swapped(struct fixture *fixture, struct swapped *swapped)
{
	*swapped = (struct swapped){.config = fixture->config, .route = fixture->route, .pool = {.name = "p"}};
	swapped->pool.members[swapped->pool.count++] = &fixture->config_nodes[1];
	assert_int_equal(node_pool_prepare(&swapped->pool), 0);
	swapped->config.nodes = &fixture->all_nodes[1];
	swapped->config.node_count = 1;
	swapped->config.pools = &swapped->pool;
	swapped->config.policy.routes = &swapped->route;
	swapped->config.changed_hold = 9;
}

static bool second_up(void *data)
{
	return atomic_load(&((struct fixture *)data)->config_nodes[1].links) != 0;
}

static bool passes_for_no_node(void *data)
{
	struct dispatch_answer answer = ask(data);

	return !answer.node && answer.reason == PASS_NO_NODE;
}

static bool second_is_used(void *data)
{
	struct dispatch_answer answer = ask(data);

	assert_non_null(answer.node);
	return answer.node == &((struct fixture *)data)->config_nodes[1];
}

static bool first_is_left(void *data)
{
	return ((struct fixture *)data)->config_nodes[0].others == 0;
}

/* No request passes meanwhile: the old node serves until the new one is there, and its channel stays until its offers have ended. */
static void changed_nodes_are_used_once_they_are_there(void **state)
{
	struct fixture *fixture = *state;
	struct swapped swapped;

	open_fixture(fixture, "node", 2);
	/* The first alone at first. */
	dispatch_free(fixture->dispatch);
	fixture->config.node_count = 1;
	fixture->pool.count = 1;
	node_pool_release(&fixture->pool);
	assert_int_equal(node_pool_prepare(&fixture->pool), 0);
	fixture->dispatch = dispatch_new(fixture->loop, 0, &fixture->config, &fixture->metrics, offer_settled, fixture);
	run_until(fixture->loop, first_up, fixture, "the first node is up");

	make_swapped(fixture, &swapped);
	dispatch_change(fixture->dispatch, &swapped.config);
	assert_ptr_equal(ask(fixture).node, &fixture->config_nodes[0]);
	assert_false(second_up(fixture));
	run_until(fixture->loop, second_is_used, fixture, "the second node is used");
	assert_true(second_up(fixture));
	run_until(fixture->loop, first_has_offer, fixture, "the first node has its offers");
	/* Some time later the first still has its channel, for it owes results. */
	ev_run(fixture->loop, EVRUN_ONCE);
	assert_int_equal(fixture->config_nodes[0].others, 1);
	acceptor_close(&fixture->nodes[0].acceptor);
	fixture->nodes[0].acceptor.fd = -1;
	channel_close(fixture->nodes[0].end.channel, "the test's node has nothing more to say");
	run_until(fixture->loop, first_is_left, fixture, "the link to the first node is closed");
	assert_ptr_equal(ask(fixture).node, &fixture->config_nodes[1]);
	/* One that never comes is not waited for without an end. */
	dispatch_change(fixture->dispatch, &fixture->config);
	assert_ptr_equal(ask(fixture).node, &fixture->config_nodes[1]);
	run_until(fixture->loop, passes_for_no_node, fixture, "the first node's turn, though it is down");
	fixture->config.node_count = 2;
	close_fixture(fixture);
	node_pool_release(&swapped.pool);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(leases_that_may_not_be_are_refused),
		cmocka_unit_test(requests_without_method_or_target_pass),
		cmocka_unit_test(node_with_another_name_is_refused),
		cmocka_unit_test(node_of_another_version_is_refused),
		cmocka_unit_test(node_that_says_nothing_is_given_up),
		cmocka_unit_test(garbage_from_a_node_closes_its_channel),
		cmocka_unit_test(offer_arrives_whole_and_its_result_ends_it),
		cmocka_unit_test(path_whose_file_changed_passes_for_a_while),
		cmocka_unit_test(silent_node_is_dead_after_a_few_pings),
		cmocka_unit_test(own_stall_is_no_silence_of_the_node),
		cmocka_unit_test(node_that_returns_is_used_again),
		cmocka_unit_test(draining_node_gets_no_new_offers),
		cmocka_unit_test(full_node_spills_over_to_the_next),
		cmocka_unit_test(node_of_weight_0_gets_no_offers),
		cmocka_unit_test(other_node_of_the_pool_takes_over),
		cmocka_unit_test(nothing_is_returned_without_a_lease_and_its_number),
		cmocka_unit_test(lease_of_a_request_that_passes_is_returned),
		cmocka_unit_test(lease_that_no_channel_took_is_returned),
		cmocka_unit_test(haproxy_gets_the_variables_of_the_protocol),
		cmocka_unit_test(haproxy_gets_the_address_of_a_node_that_dns_has),
		cmocka_unit_test(changed_nodes_are_used_once_they_are_there),
		cmocka_unit_test(offer_for_grants_has_its_own_size_and_names_the_group),
		cmocka_unit_test(pool_of_another_trust_group_gets_no_offer),
		cmocka_unit_test(node_that_knows_no_grants_gets_none),
	};

	return cmocka_run_group_tests(tests, make_certificates, remove_certificates);
}

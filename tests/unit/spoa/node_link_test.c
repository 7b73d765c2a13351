/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Guards: a control channel to a node is up after HELLO and not before, closes at messages that a node must not send, and
 * hands on what concerns handed-off connections; what is lost with it is said once. Reconnecting takes longer each
 * time. The node is a real channel on the same loop. What offers need of a link: dispatch_test.c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "lib/channel_fixture.h"
#include "node_link.h"

#define FAULT "the listener does not like it"
#define OFFER "an offer is opaque here"
#define LANES 3

static const char *const agent_names[] = {"agent.test", NULL};
struct fixture {
	struct ev_loop *loop;
	struct channel_tls *agent_tls, *node_tls;
	struct spoa_metrics metrics;
	struct node node;
	struct node_link_owner owner;
	struct node_link_listener listener;
	struct node_link *link;
	/* The node's end. */
	struct end end;
	struct acceptor acceptor;
	bool silent; /* it says no HELLO by itself */
	/* Its lanes, in the order in which they connected. */
	uint32_t lanes;
	struct lane {
		struct end end;
		uint32_t number;
		unsigned offers, pings;
	} lane[LANES];
	uint32_t draining;
	unsigned pongs;
	/* What the owner and the listener heard. */
	unsigned settled, received, lost, drains;
	enum control_type last;
	const char *fault;                  /* received() returns it */
	enum node_link_readiness readiness; /* when drains() was called */
	size_t outstanding;                 /* when received() was called */
	bool late;                          /* it answers the same ping again and again, */
	uint64_t nonce;                     /*   this one */
};

static void say(struct fixture *fixture, const struct control_message *message)
{
	uint8_t frame[1024];
	size_t len;

	assert_int_equal(control_encode(message, frame, sizeof(frame), &len), CONTROL_OK);
	assert_int_equal(channel_send(fixture->end.channel, frame, len), 0);
}

static void say_hello(struct fixture *fixture)
{
	struct control_message hello = {.type = CONTROL_HELLO};

	hello.u.hello.version_min = hello.u.hello.version_max = CONTROL_VERSION_MAX;
	hello.u.hello.direct = 1;
	hello.u.hello.lanes = fixture->lanes;
	if (fixture->lanes)
		fixture->acceptor.end = &fixture->lane[0].end;
	say(fixture, &hello);
}

static void on_frame(struct end *end, const uint8_t *frame, size_t len)
{
	struct fixture *fixture = end->data;
	struct control_message message, pong = {.type = CONTROL_PONG};

	if (len == strlen(OFFER) && memcmp(frame, OFFER, len) == 0)
		return;
	assert_int_equal(control_decode(&message, frame, len), CONTROL_OK);
	if (message.type == CONTROL_HELLO && !fixture->silent) {
		say_hello(fixture);
	} else if (message.type == CONTROL_PING) {
		if (!fixture->late || !fixture->nonce)
			fixture->nonce = message.u.ping.nonce;
		pong.u.pong = (struct control_pong){fixture->nonce, 0, fixture->draining};
		say(fixture, &pong);
		fixture->pongs++;
	}
	control_release(&message);
}

static void on_lane_frame(struct end *end, const uint8_t *frame, size_t len)
{
	struct lane *lane = end->data;
	struct control_message message;

	if (len == strlen(OFFER) && memcmp(frame, OFFER, len) == 0) {
		lane->offers++;
		return;
	}
	assert_int_equal(control_decode(&message, frame, len), CONTROL_OK);
	if (message.type == CONTROL_HELLO)
		lane->number = message.u.hello.lane;
	lane->pings += message.type == CONTROL_PING;
	control_release(&message);
}

static const char *on_received(void *context, struct node *node, const struct control_message *message)
{
	struct fixture *fixture = context;

	assert_ptr_equal(node, &fixture->node);
	fixture->received++;
	fixture->last = message->type;
	fixture->outstanding = node_link_outstanding(fixture->link);
	return fixture->fault;
}

static void on_lost(void *context, struct node *node)
{
	struct fixture *fixture = context;

	assert_ptr_equal(node, &fixture->node);
	assert_int_equal(node_link_readiness(fixture->link), NODE_LINK_DOWN);
	fixture->lost++;
}

static void on_drains(void *context, struct node *node)
{
	struct fixture *fixture = context;

	assert_ptr_equal(node, &fixture->node);
	fixture->drains++;
	fixture->readiness = node_link_readiness(fixture->link);
}

static void on_settled(void *context)
{
	((struct fixture *)context)->settled++;
}

static void listen_again(struct fixture *fixture)
{
	memset(&fixture->end, 0, sizeof(fixture->end));
	fixture->end.on_frame = on_frame;
	fixture->end.data = fixture;
	fixture->acceptor.end = &fixture->end;
	for (unsigned i = 0; i < LANES; i++)
		fixture->lane[i] = (struct lane){.end = {.on_frame = on_lane_frame, .data = &fixture->lane[i]}};
}

static void open_fixture(struct fixture *fixture, bool silent)
{
	static const char *const names[] = {"n1"};

	*fixture = (struct fixture){.loop = ev_loop_new(EVFLAG_AUTO), .silent = silent};
	fixture->agent_tls = credentials(certificate_folder, "ca", "agent");
	fixture->node_tls = credentials(certificate_folder, "ca", "node");
	assert_int_equal(spoa_metrics_init(&fixture->metrics, names, 1), 0);
	acceptor_open(&fixture->acceptor, fixture->loop, "127.0.0.1:0", fixture->node_tls, agent_names, &fixture->end);
	listen_again(fixture);
	node_init(&fixture->node, names[0], 0);
	fixture->node.certificate_name = "node.test";
	fixture->node.control = fixture->acceptor.address;
	fixture->listener = (struct node_link_listener){on_received, on_lost, on_drains, fixture};
	fixture->owner = (struct node_link_owner){.loop = fixture->loop,
						  .tls = fixture->agent_tls,
						  .metrics = &fixture->metrics,
						  .settled = on_settled,
						  .context = fixture,
						  .listener = &fixture->listener};
	fixture->link = node_link_new(&fixture->owner, &fixture->node);
	assert_non_null(fixture->link);
}

static void close_fixture(struct fixture *fixture)
{
	node_link_free(fixture->link);
	acceptor_close(&fixture->acceptor);
	if (fixture->end.channel)
		channel_close(fixture->end.channel, "test ends");
	for (unsigned i = 0; i < LANES; i++) {
		if (fixture->lane[i].end.channel)
			channel_close(fixture->lane[i].end.channel, "test ends");
	}
	spoa_metrics_release(&fixture->metrics);
	channel_tls_free(fixture->agent_tls);
	channel_tls_free(fixture->node_tls);
	ev_loop_destroy(fixture->loop);
}

static bool is_ready(void *data)
{
	return node_link_readiness(((struct fixture *)data)->link) == NODE_LINK_READY;
}

static bool is_down(void *data)
{
	return node_link_readiness(((struct fixture *)data)->link) == NODE_LINK_DOWN;
}

static bool has_drained(void *data)
{
	return ((struct fixture *)data)->drains > 0;
}

static bool has_ponged_thrice(void *data)
{
	return ((struct fixture *)data)->pongs >= 3;
}

static bool has_received(void *data)
{
	return ((struct fixture *)data)->received > 0;
}

static bool nothing_outstanding(void *data)
{
	return node_link_outstanding(((struct fixture *)data)->link) == 0;
}

static void come_up(struct fixture *fixture)
{
	open_fixture(fixture, false);
	assert_false(node_link_direct(fixture->link));
	run_until(fixture->loop, is_ready, fixture, "the link is ready");
	assert_true(node_link_direct(fixture->link));
	assert_true(node_link_is_fresh(fixture->link));
}

static void send_offer(struct fixture *fixture, uint8_t number)
{
	const struct control_offer offer = {.ticket = {.bytes = {number}}, .lease_id = number, .target = {"/body", 5}};

	assert_int_equal(node_link_offer(fixture->link, &offer, (const uint8_t *)OFFER, strlen(OFFER)), 0);
}

/* The channel closes at <message>, which the node says first after the agent's HELLO, or second. */
static void closes_at(const struct control_message *message, bool greeted)
{
	struct fixture fixture;

	open_fixture(&fixture, true);
	run_until(fixture.loop, end_is_open, &fixture.end, "the channel opens");
	if (greeted)
		say_hello(&fixture);
	say(&fixture, message);
	run_until(fixture.loop, end_is_closed, &fixture.end, "the agent closes it");
	assert_int_equal(node_link_readiness(fixture.link), NODE_LINK_DOWN);
	assert_int_equal(fixture.received, 0);
	assert_int_equal(fixture.lost, greeted);
	assert_int_equal(atomic_load(&fixture.node.links), 0);
	close_fixture(&fixture);
}

static void messages_that_a_node_must_not_send_close_the_channel(void **state)
{
	struct control_message hello = {
		.type = CONTROL_HELLO,
		.u.hello = {
			.version_min = 1, .version_max = CONTROL_VERSION_MAX, .name = {"n", 1}, .software = {"s", 1}}};
	const struct control_message pong = {.type = CONTROL_PONG}, drained = {.type = CONTROL_DRAINED},
				     result = {.type = CONTROL_RESULT, .u.result.outcome = CONTROL_OUTCOME_SEALED},
				     ping = {.type = CONTROL_PING}, recall = {.type = CONTROL_RECALL};

	(void)state;
	closes_at(&pong, false);
	closes_at(&drained, false);
	closes_at(&result, false);
	closes_at(&hello, true);
	closes_at(&ping, true);
	closes_at(&recall, true);
	hello.u.hello.version_min = hello.u.hello.version_max = CONTROL_VERSION_MAX + 1;
	closes_at(&hello, false);
}

static void what_concerns_connections_is_handed_on_and_may_close_the_channel(void **state)
{
	const struct control_message drained = {.type = CONTROL_DRAINED};
	struct fixture fixture;

	(void)state;
	come_up(&fixture);
	say(&fixture, &drained);
	run_until(fixture.loop, has_received, &fixture, "the listener hears");
	assert_int_equal(fixture.last, CONTROL_DRAINED);
	assert_int_equal(node_link_readiness(fixture.link), NODE_LINK_READY);
	fixture.fault = FAULT;
	say(&fixture, &drained);
	run_until(fixture.loop, end_is_closed, &fixture.end, "the agent closes it");
	assert_int_equal(fixture.received, 2);
	assert_int_equal(fixture.lost, 1);
	close_fixture(&fixture);
}

static void a_result_reaches_the_listener_before_its_offer_ends(void **state)
{
	struct control_message result = {.type = CONTROL_RESULT, .u.result = {.ticket = {.bytes = {1}}}};
	struct fixture fixture;

	(void)state;
	come_up(&fixture);
	send_offer(&fixture, 1);
	result.u.result.outcome = CONTROL_OUTCOME_SEALED;
	say(&fixture, &result);
	run_until(fixture.loop, nothing_outstanding, &fixture, "the offer ended");
	assert_int_equal(fixture.received, 1);
	assert_int_equal(fixture.outstanding, 1);
	assert_int_equal(fixture.settled, 1);
	close_fixture(&fixture);
}

static bool is_stale(void *data)
{
	return !node_link_is_fresh(((struct fixture *)data)->link);
}

/* As after a sleep: messages come, but they were sent long ago. */
static void answers_to_old_questions_do_not_make_it_fresh(void **state)
{
	struct fixture fixture;

	(void)state;
	come_up(&fixture);
	fixture.late = true;
	run_until(fixture.loop, is_stale, &fixture, "its answers are old ones");
	assert_int_equal(node_link_readiness(fixture.link), NODE_LINK_READY);
	assert_true(fixture.pongs >= 2);
	fixture.late = false;
	fixture.pongs = 0;
	run_until(fixture.loop, has_ponged_thrice, &fixture, "it answers what it is asked");
	assert_true(node_link_is_fresh(fixture.link));
	close_fixture(&fixture);
}

static void a_drain_is_told_once_and_can_end(void **state)
{
	struct fixture fixture;
	const struct control_offer offer = {.ticket = {.bytes = {1}}, .lease_id = 1, .target = {"/body", 5}};

	(void)state;
	come_up(&fixture);
	fixture.draining = 1;
	run_until(fixture.loop, has_drained, &fixture, "the node drains");
	assert_int_equal(fixture.readiness, NODE_LINK_DRAINING);
	fixture.pongs = 0;
	run_until(fixture.loop, has_ponged_thrice, &fixture, "it says so again");
	assert_int_equal(fixture.drains, 1);
	assert_false(node_link_direct(fixture.link));
	assert_int_equal(node_link_offer(fixture.link, &offer, (const uint8_t *)OFFER, strlen(OFFER)), -1);
	assert_int_equal(node_link_outstanding(fixture.link), 0);
	fixture.draining = 0;
	run_until(fixture.loop, is_ready, &fixture, "it takes offloads again");
	assert_int_equal(fixture.drains, 1);
	close_fixture(&fixture);
}

static void what_is_lost_with_a_channel_is_told_once(void **state)
{
	struct fixture fixture;

	(void)state;
	come_up(&fixture);
	send_offer(&fixture, 1);
	send_offer(&fixture, 2);
	channel_close(fixture.end.channel, "the node dies");
	run_until(fixture.loop, is_down, &fixture, "the link is down");
	assert_int_equal(fixture.lost, 1);
	assert_int_equal(fixture.settled, 1);
	assert_int_equal(node_link_outstanding(fixture.link), 0);
	assert_int_equal(atomic_load(&fixture.metrics.all[SPOA_OFFERS_LOST].value), 2);
	assert_int_equal(node_link_send(fixture.link, &(struct ticket){{0}}, (const uint8_t *)"message", 7), -1);
	listen_again(&fixture);
	run_until(fixture.loop, is_ready, &fixture, "the link comes up again");
	assert_int_equal(fixture.lost, 1);
	close_fixture(&fixture);
}

static void an_agent_that_ends_tells_nobody_but_the_node(void **state)
{
	struct fixture fixture;

	(void)state;
	come_up(&fixture);
	send_offer(&fixture, 1);
	node_link_free(fixture.link);
	fixture.link = NULL;
	run_until(fixture.loop, end_is_closed, &fixture.end, "the node hears of it");
	assert_int_equal(fixture.lost, 0);
	assert_int_equal(fixture.settled, 0);
	close_fixture(&fixture);
}

/* --- lanes --- */

/* Each connection has an end of its own. */
static bool lanes_have_said_hello(void *data)
{
	struct fixture *fixture = data;
	unsigned said = 0;

	for (unsigned i = 0; i < fixture->lanes; i++) {
		if (fixture->lane[i].end.channel && i + 1 < LANES && fixture->acceptor.end == &fixture->lane[i].end)
			fixture->acceptor.end = &fixture->lane[i + 1].end;
		said += fixture->lane[i].number != 0;
	}
	return said == fixture->lanes;
}

static void greet_lane(struct lane *lane)
{
	struct control_message hello = {.type = CONTROL_HELLO};
	uint8_t frame[1024];
	size_t len;

	hello.u.hello.version_min = hello.u.hello.version_max = CONTROL_VERSION_MAX;
	assert_int_equal(control_encode(&hello, frame, sizeof(frame), &len), CONTROL_OK);
	assert_int_equal(channel_send(lane->end.channel, frame, len), 0);
}

/* The node's lanes are connected, and said Hello; it answers all but the last <mute>. */
static void open_lanes(struct fixture *fixture, unsigned mute)
{
	open_fixture(fixture, false);
	fixture->lanes = LANES;
	run_until(fixture->loop, lanes_have_said_hello, fixture, "the lanes say Hello");
	for (unsigned i = 0; i + mute < LANES; i++)
		greet_lane(&fixture->lane[i]);
}

static bool all_have_pings(void *data)
{
	struct fixture *fixture = data;

	return fixture->lane[0].pings && fixture->lane[1].pings && fixture->lane[2].pings;
}

static bool offers_have_come(void *data)
{
	struct fixture *fixture = data;

	return fixture->lane[0].offers + fixture->lane[1].offers + fixture->lane[2].offers == 30;
}

static void a_ticket_belongs_to_one_lane(void **state)
{
	struct fixture fixture;

	(void)state;
	open_lanes(&fixture, 0);
	run_until(fixture.loop, is_ready, &fixture, "the link is ready");
	assert_int_equal(fixture.lane[0].number + fixture.lane[1].number + fixture.lane[2].number, 1 + 2 + 3);
	for (uint8_t i = 0; i < 15; i++) {
		const struct control_offer offer = {.ticket = {.bytes = {[0] = i, [TICKET_LEN - 1] = i}},
						    .target = {"/body", 5}};

		assert_int_equal(node_link_offer(fixture.link, &offer, (const uint8_t *)OFFER, strlen(OFFER)), 0);
		assert_int_equal(node_link_send(fixture.link, &offer.ticket, (const uint8_t *)OFFER, strlen(OFFER)), 0);
	}
	run_until(fixture.loop, offers_have_come, &fixture, "all have come");
	for (unsigned i = 0; i < LANES; i++)
		assert_int_equal(fixture.lane[i].offers, 10);
	run_until(fixture.loop, all_have_pings, &fixture, "the lanes are kept alive");
	close_fixture(&fixture);
}

static bool two_are_greeted(void *data)
{
	struct fixture *fixture = data;

	return fixture->lane[0].end.frames && fixture->lane[1].end.frames;
}

static void a_link_is_not_up_before_its_last_lane(void **state)
{
	struct fixture fixture;

	(void)state;
	open_lanes(&fixture, 1);
	run_until(fixture.loop, two_are_greeted, &fixture, "two lanes are there");
	(void)ev_run(fixture.loop, EVRUN_NOWAIT);
	assert_int_equal(node_link_readiness(fixture.link), NODE_LINK_DOWN);
	greet_lane(&fixture.lane[2]);
	run_until(fixture.loop, is_ready, &fixture, "the link is ready");
	close_fixture(&fixture);
}

static void lanes_that_do_not_open_close_the_link(void **state)
{
	struct fixture fixture;

	(void)state;
	open_lanes(&fixture, 1);
	run_until(fixture.loop, end_is_closed, &fixture.end, "the agent gives up");
	assert_int_equal(fixture.lost, 0);
	run_until(fixture.loop, end_is_closed, &fixture.lane[0].end, "and closes the lanes");
	run_until(fixture.loop, end_is_closed, &fixture.lane[2].end, "all of them");
	close_fixture(&fixture);
}

static void a_lane_that_closes_takes_the_link_along(void **state)
{
	struct fixture fixture;

	(void)state;
	open_lanes(&fixture, 0);
	run_until(fixture.loop, is_ready, &fixture, "the link is ready");
	send_offer(&fixture, 1);
	channel_close(fixture.lane[1].end.channel, "a worker dies");
	run_until(fixture.loop, is_down, &fixture, "the link is down");
	assert_int_equal(fixture.lost, 1);
	assert_int_equal(node_link_outstanding(fixture.link), 0);
	run_until(fixture.loop, end_is_closed, &fixture.end, "the first channel is closed");
	run_until(fixture.loop, end_is_closed, &fixture.lane[0].end, "the lanes are closed");
	close_fixture(&fixture);
}

static void an_agent_that_ends_closes_the_lanes(void **state)
{
	struct fixture fixture;

	(void)state;
	open_lanes(&fixture, 0);
	run_until(fixture.loop, is_ready, &fixture, "the link is ready");
	node_link_free(fixture.link);
	fixture.link = NULL;
	run_until(fixture.loop, end_is_closed, &fixture.lane[2].end, "the node hears of it");
	assert_int_equal(fixture.lost, 0);
	close_fixture(&fixture);
}

static void each_failure_to_connect_makes_the_next_try_later(void **state)
{
	const double least[] = {0.08, 0.16, 0.32}; /* seconds: 20 % less than 100 ms, twice, four times */
	struct fixture fixture;
	double since;

	(void)state;
	open_fixture(&fixture, true);
	run_until(fixture.loop, end_is_open, &fixture.end, "the channel opens");
	for (size_t i = 0; i < sizeof(least) / sizeof(least[0]); i++) {
		channel_close(fixture.end.channel, "no HELLO");
		since = ev_time();
		listen_again(&fixture);
		run_until(fixture.loop, end_is_open, &fixture.end, "the next try");
		assert_true(ev_time() - since >= least[i]);
	}
	close_fixture(&fixture);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(messages_that_a_node_must_not_send_close_the_channel),
		cmocka_unit_test(a_ticket_belongs_to_one_lane),
		cmocka_unit_test(a_link_is_not_up_before_its_last_lane),
		cmocka_unit_test(lanes_that_do_not_open_close_the_link),
		cmocka_unit_test(a_lane_that_closes_takes_the_link_along),
		cmocka_unit_test(an_agent_that_ends_closes_the_lanes),
		cmocka_unit_test(what_concerns_connections_is_handed_on_and_may_close_the_channel),
		cmocka_unit_test(a_result_reaches_the_listener_before_its_offer_ends),
		cmocka_unit_test(answers_to_old_questions_do_not_make_it_fresh),
		cmocka_unit_test(a_drain_is_told_once_and_can_end),
		cmocka_unit_test(what_is_lost_with_a_channel_is_told_once),
		cmocka_unit_test(an_agent_that_ends_tells_nobody_but_the_node),
		cmocka_unit_test(each_failure_to_connect_makes_the_next_try_later),
	};

	return cmocka_run_group_tests(tests, certificates_set_up, certificates_tear_down);
}

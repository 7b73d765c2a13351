/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Guards: a handoff with an honest node and an honest HAProxy ends exactly once in every order of events - messages that
 * cross, either side dying at any point, timers. HAProxy is answered once, no connection is left without an owner, the
 * node drops its clone, and no message of the node is taken for a fault.
 *
 * Random walks from a seed that is printed. DISC_SEED=n walks from that one, DISC_WALKS=n walks so many. The checks of
 * each step are machine_world.c's. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "machine_world.h"

#define WALKS 20000
#define CHAOS 80  /* steps until nothing more goes wrong */
#define CALM 2000 /* steps that are enough for an end then */
#define QUEUE_MAX 256

/* As backend-agent/direct/clone.h has it. */
enum clone { CLONE_WAITING, CLONE_HAS, CLONE_RECALLED, CLONE_DRAINED, CLONE_ENDED };

enum order { ORDER_HANDOFF, ORDER_RECALL, ORDER_DISCARD, ORDER_RELEASE };

struct walk {
	struct world world; /* first: see on_action() */
	enum clone clone;
	bool announced, channel_up, continuable;
	uint64_t written; /* by the clone, and acknowledged */
	struct machine_event events[QUEUE_MAX];
	enum order orders[QUEUE_MAX];
	unsigned event_count, order_count, steps;
};

/* What was seen: walks in which nothing happens prove nothing. */
static unsigned states[HANDOFF_STATE_COUNT], abandoned, answers[ACTION_COUNT];
static uint32_t random_state, walking; /* <walking>: the seed of the walk under way */

/* A number below <limit>. */
static unsigned below(unsigned limit)
{
	random_state ^= random_state << 13;
	random_state ^= random_state >> 17;
	random_state ^= random_state << 5;
	return random_state % limit;
}

/* --- the channel --- */

static void send_order(struct walk *walk, enum order order)
{
	assert_true(walk->order_count < QUEUE_MAX);
	if (walk->channel_up)
		walk->orders[walk->order_count++] = order;
}

static void say(struct walk *walk, enum handoff_event event, uint64_t bytes)
{
	assert_true(walk->event_count < QUEUE_MAX);
	if (walk->channel_up)
		walk->events[walk->event_count++] = (struct machine_event){
			.event = event, .why = "why", .bytes = bytes, .continuable = walk->continuable};
}

/* --- the agent --- */

static void on_action(struct world *world, enum handoff_action action)
{
	struct walk *walk = (struct walk *)world;

	answers[action]++;
	if (action == ACTION_HAND)
		send_order(walk, ORDER_HANDOFF);
	else if (action == ACTION_SEND_RECALL || action == ACTION_RECALL || action == ACTION_HOLD_AND_RECALL ||
		 action == ACTION_LET_AND_RECALL)
		send_order(walk, ORDER_RECALL);
	else if (action == ACTION_SEND_DISCARD || action == ACTION_HOLD_AND_DISCARD)
		send_order(walk, ORDER_DISCARD);
	else if (action == ACTION_SEND_RELEASE)
		send_order(walk, ORDER_RELEASE);
}

/* What <question> is answered with on a closed channel instead of OK. */
static enum handoff_outcome without_channel(enum handoff_action question)
{
	switch (question) {
	case ACTION_LOOK:
		return OUTCOME_LEAVING;
	case ACTION_HAND:
	case ACTION_RECALL:
	case ACTION_HOLD_AND_RECALL:
	case ACTION_LET_AND_RECALL:
		return OUTCOME_NOT_SENT;
	case ACTION_HOLD_AND_DISCARD:
		return OUTCOME_FAILED;
	default:
		return OUTCOME_OK;
	}
}

static enum handoff_outcome choose(const struct walk *walk, enum handoff_action question)
{
	bool calm = walk->steps > CHAOS;
	enum handoff_outcome outcome;

	do
		outcome = below(calm ? 8 : 3) ? OUTCOME_OK : below(OUTCOME_COUNT);
	while (!world_may_answer(question, outcome));
	/* Client data are often on their way. */
	if (question == ACTION_RETURN && outcome == OUTCOME_OK && below(3) == 0)
		outcome = OUTCOME_NOT_YET;
	return outcome == OUTCOME_OK && !walk->channel_up ? without_channel(question) : outcome;
}

static void feed(struct walk *walk, const struct machine_event *event)
{
	struct world *world = &walk->world;

	if (!world_allows(world, event->event))
		return;
	assert_true(world_feed(world, event) <= MACHINE_IGNORES);
	while (world->machine.asked != ACTION_NONE)
		world_answer(world, choose(walk, world->machine.asked), below(2) ? WORLD_PART : WORLD_ALL);
	states[world->machine.state]++;
}

static void feed_named(struct walk *walk, enum handoff_event name)
{
	const struct machine_event event = {.event = name, .why = "why", .bytes = WORLD_ALL};

	feed(walk, &event);
}

static void park(struct walk *walk)
{
	const struct machine_event event = {
		.event = EVENT_PARKED, .bytes = WORLD_ALL, .continuable = walk->continuable};

	feed(walk, &event);
}

/* The client has acknowledged what the node wrote. */
static void acknowledge(struct walk *walk)
{
	if (walk->written == WORLD_ALL)
		feed_named(walk, EVENT_ACKNOWLEDGED);
}

static void hear(struct walk *walk)
{
	const struct machine_event event = walk->events[0];

	if (!walk->event_count)
		return;
	memmove(walk->events, walk->events + 1, --walk->event_count * sizeof(event));
	feed(walk, &event);
}

/* --- the node --- */

static void end_clone(struct walk *walk)
{
	walk->clone = CLONE_ENDED;
	say(walk, EVENT_RESULT, 0);
}

static void drop(struct walk *walk, enum handoff_event gone)
{
	say(walk, gone, walk->written);
	end_clone(walk);
}

static void obey(struct walk *walk)
{
	enum order order = walk->orders[0];

	if (!walk->order_count)
		return;
	memmove(walk->orders, walk->orders + 1, --walk->order_count * sizeof(order));
	if (order == ORDER_HANDOFF && walk->clone == CLONE_WAITING && below(6)) {
		walk->clone = CLONE_HAS;
	} else if (order == ORDER_HANDOFF) {
		say(walk, below(4) ? EVENT_REJECTED : EVENT_CONTRADICTED, 0);
		if (walk->clone == CLONE_WAITING)
			end_clone(walk);
	} else if (walk->clone == CLONE_ENDED) {
		return;
	} else if (order == ORDER_RELEASE && walk->clone != CLONE_WAITING) {
		end_clone(walk);
	} else if (order == ORDER_DISCARD || walk->clone == CLONE_WAITING) {
		drop(walk, EVENT_GONE_NODE);
	} else if (walk->clone == CLONE_HAS) {
		walk->clone = CLONE_RECALLED;
	} else if (walk->clone == CLONE_DRAINED) {
		say(walk, EVENT_HANDBACK, walk->written);
		end_clone(walk);
	}
}

static void work(struct walk *walk)
{
	bool calm = walk->steps > CHAOS;

	if (walk->clone == CLONE_ENDED)
		return;
	if (walk->clone == CLONE_WAITING) {
		if (!walk->announced && walk->channel_up)
			walk->announced = true;
		else if (below(8) == 0)
			drop(walk, EVENT_GONE_NODE); /* the Handoff did not come in time */
		return;
	}
	switch (below(calm ? 4 : 6)) {
	case 0:
		if (walk->clone == CLONE_HAS && walk->written < WORLD_ALL)
			walk->written++;
		say(walk, EVENT_PROGRESS, walk->written);
		break;
	case 1:
		if (walk->event_count < QUEUE_MAX / 2)
			say(walk, EVENT_CLIENT_DATA, 0);
		break;
	case 2:
	case 3:
		if (walk->clone == CLONE_HAS && walk->written == WORLD_ALL && below(3)) {
			acknowledge(walk);
		} else if (walk->clone == CLONE_RECALLED || (walk->clone == CLONE_HAS && walk->written == WORLD_ALL)) {
			walk->clone = CLONE_DRAINED;
			say(walk, EVENT_DRAINED, 0);
		} else if (walk->clone == CLONE_DRAINED && below(40) == 0) {
			drop(walk, EVENT_GONE_NODE); /* the agent did not recall it */
		}
		break;
	default:
		if (below(8) == 0)
			drop(walk, below(2) ? EVENT_GONE_CLIENT : EVENT_GONE_NODE);
	}
}

/* The channel closes: what was under way is lost from somewhere on. */
static void cut(struct walk *walk)
{
	unsigned kept = below(walk->event_count + 1);

	if (!walk->channel_up)
		return;
	walk->channel_up = false;
	walk->order_count = 0;
	walk->clone = CLONE_ENDED;
	walk->event_count = kept;
	walk->events[walk->event_count++] = (struct machine_event){.event = EVENT_NODE_LOST};
}

/* --- the walk --- */

static void fire(struct walk *walk)
{
	if (walk->world.timer)
		feed_named(walk, EVENT_TIMER);
}

static void step(struct walk *walk)
{
	struct world *world = &walk->world;

	if (below(2)) {
		if (below(2))
			hear(walk);
		else
			obey(walk);
		return;
	}
	switch (below(walk->steps > CHAOS ? 6 : 24)) {
	case 0:
	case 1:
	case 2:
		work(walk);
		return;
	case 3:
		if (below(2))
			acknowledge(walk);
		else
			fire(walk);
		return;
	case 4:
		/* A node that has announced a direct body has answered HAProxy. */
		if (walk->announced)
			park(walk);
		return;
	case 5:
		if (world->collecting)
			feed_named(walk, below(6) ? EVENT_COLLECTED : EVENT_NODES_FAILED);
		else if (world->writing)
			feed_named(walk, below(4) ? EVENT_CONTINUED : below(2) ? EVENT_UNWRITABLE : EVENT_NODES_FAILED);
		return;
	case 6:
		if (below(6) == 0)
			feed_named(walk, EVENT_ABANDON);
		return;
	case 7:
		if (below(6) == 0)
			feed_named(walk, EVENT_RECALL);
		return;
	case 8:
		if (below(6) == 0)
			cut(walk);
		return;
	case 9:
		if (below(6) == 0)
			feed_named(walk, EVENT_AGENT_DRAINS);
		return;
	case 10:
		if (below(6) == 0)
			feed_named(walk, EVENT_NODE_DRAINS);
		return;
	case 11:
		if (below(20) == 0)
			feed_named(walk, below(2) ? EVENT_AGENT_ENDS : EVENT_DECLINE);
		return;
	default:
		work(walk);
	}
}

static void walk_once(void)
{
	struct walk walk = {.world.watch = on_action, .channel_up = true, .continuable = below(4) != 0};

	while (!walk.world.ended) {
		if (walk.steps++ > CHAOS + CALM)
			fail_msg("no end while %s", handoff_state_text(walk.world.machine.state));
		step(&walk);
	}
	abandoned += walk.world.abandoned;
	/* What is still under way finds the node, and its own timers end the rest. */
	for (unsigned i = 0; walk.clone != CLONE_ENDED && i < CALM; i++) {
		walk.event_count = 0;
		obey(&walk);
		if (walk.clone == CLONE_WAITING || walk.clone == CLONE_DRAINED || !walk.order_count)
			work(&walk);
	}
	assert_int_equal(walk.clone, CLONE_ENDED);
}

static void every_order_of_events_ends_once_and_leaves_nothing(void **state)
{
	const char *seed = getenv("DISC_SEED"), *count = getenv("DISC_WALKS");
	unsigned walks = count ? (unsigned)strtoul(count, NULL, 10) : WALKS;
	uint32_t first = seed ? (uint32_t)strtoul(seed, NULL, 10) : (uint32_t)time(NULL);

	(void)state;
	random_state = first ? first : 1;
	print_message("seed %u, %u walks\n", random_state, walks);
	for (unsigned i = 0; i < walks; i++) {
		walking = random_state;
		walk_once();
	}
	walking = 0;
	for (enum handoff_state at = HANDOFF_WAITING; at < HANDOFF_STATE_COUNT && !count; at++)
		assert_true(states[at] > walks / 200);
	assert_true(count || abandoned > walks / 50);
	print_message("returned %u, refused %u, lost %u, abandoned %u; taken over %u, completed %u, recalled %u\n",
		      answers[ACTION_TELL_RETURNED], answers[ACTION_TELL_REFUSED], answers[ACTION_TELL_LOST], abandoned,
		      answers[ACTION_NOTE_TAKEOVER], answers[ACTION_COUNT_COMPLETION], answers[ACTION_COUNT_RECALL]);
}

static int name_the_walk(void **state)
{
	(void)state;
	if (walking)
		print_error("the walk of DISC_SEED=%u DISC_WALKS=1\n", walking);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(every_order_of_events_ends_once_and_leaves_nothing, name_the_walk),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

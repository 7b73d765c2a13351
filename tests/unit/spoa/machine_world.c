/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "machine_world.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#define TEXT(name) #name,

const char *event_name(enum handoff_event event)
{
	static const char *const names[] = {HANDOFF_EVENT_TABLE(TEXT)};

	return names[event];
}

const char *action_name(enum handoff_action action)
{
	static const char *const names[] = {"NONE", HANDOFF_QUESTION_TABLE(TEXT) HANDOFF_ORDER_TABLE(TEXT)};

	return names[action];
}

const char *outcome_name(enum handoff_outcome outcome)
{
	static const char *const names[] = {HANDOFF_OUTCOME_TABLE(TEXT)};

	return names[outcome];
}

bool world_allows(const struct world *world, enum handoff_event event)
{
	if (world->ended)
		return false;
	switch (event) {
	case EVENT_PARKED:
	case EVENT_DECLINE:
		return world->place == PLACE_NONE;
	case EVENT_ABANDON:
		return world->place != PLACE_NONE && !world->abandoned;
	case EVENT_ACKNOWLEDGED:
		return world->place == PLACE_FROZEN;
	case EVENT_COLLECTED:
		return world->collecting;
	case EVENT_CONTINUED:
	case EVENT_UNWRITABLE:
		return world->writing;
	case EVENT_NODES_FAILED:
		return world->collecting || world->writing;
	default:
		return true;
	}
}

bool world_may_answer(enum handoff_action question, enum handoff_outcome outcome)
{
#define ANSWER(name) (1u << OUTCOME_##name)
	static const unsigned answers[ACTION_COUNT] = {
		[ACTION_LOOK] = ANSWER(OK) | ANSWER(NOT_YET) | ANSWER(TOO_LATE) | ANSWER(UNFIT) | ANSWER(LEAVING) |
				ANSWER(NO_ROUTE) | ANSWER(NO_CLIENT) | ANSWER(PARKED_TWICE),
		[ACTION_FIND] = ANSWER(OK) | ANSWER(NOBODY),
		[ACTION_HAND] = ANSWER(OK) | ANSWER(NOT_HELD) | ANSWER(NOT_YET) | ANSWER(TOO_LATE) | ANSWER(UNFIT) |
				ANSWER(NO_CLIENT) | ANSWER(NO_MEMORY) | ANSWER(FAILED) | ANSWER(NO_ROUTE) |
				ANSWER(NOT_SENT),
		[ACTION_UNDO] = ANSWER(OK) | ANSWER(FAILED),
		[ACTION_RETURN] = ANSWER(OK) | ANSWER(NOT_YET) | ANSWER(NO_CLIENT) | ANSWER(FAILED),
		[ACTION_KEEP] = ANSWER(OK) | ANSWER(LONG) | ANSWER(TOO_LONG),
		[ACTION_RECALL] = ANSWER(OK) | ANSWER(NOT_SENT),
		[ACTION_HOLD_AND_RECALL] = ANSWER(OK) | ANSWER(NOT_HELD) | ANSWER(NOT_SENT),
		[ACTION_LET_AND_RECALL] = ANSWER(OK) | ANSWER(FAILED) | ANSWER(NOT_SENT),
		[ACTION_RESTORE] = ANSWER(OK) | ANSWER(NO_MEMORY) | ANSWER(FAILED),
		[ACTION_HOLD_AND_RESTORE] = ANSWER(OK) | ANSWER(NOT_HELD) | ANSWER(NO_MEMORY) | ANSWER(FAILED),
		[ACTION_HOLD_AND_DISCARD] = ANSWER(OK) | ANSWER(FAILED),
		[ACTION_JUDGE_LATE] = ANSWER(REACHED) | ANSWER(SLOW) | ANSWER(UNREACHED),
		[ACTION_JUDGE_GONE] = ANSWER(REACHED) | ANSWER(UNREACHED),
		[ACTION_PLAN] = ANSWER(OK) | ANSWER(NOT_HELD) | ANSWER(FAILED),
		[ACTION_COLLECT] = ANSWER(OK) | ANSWER(NOTHING) | ANSWER(NO_ROOM) | ANSWER(NO_MEMORY),
		[ACTION_SEAT] = ANSWER(OK) | ANSWER(FAILED),
		[ACTION_CONTINUE] = ANSWER(OK) | ANSWER(NO_MEMORY),
	};

	return answers[question] >> outcome & 1;
}

/* --- what actions do --- */

static void tell(struct world *world)
{
	assert_true(world->place != PLACE_NONE && !world->abandoned);
	assert_false(world->answered);
	world->answered = true;
}

static void end(struct world *world)
{
	world->ended = true;
	world->collecting = world->writing = world->timer = false;
	assert_int_equal(world->machine.state, HANDOFF_ENDED);
	assert_true(world->place == PLACE_NONE || world->abandoned != world->answered);
	assert_true(world->place != PLACE_FROZEN);
	/* What HAProxy has abandoned is reset, unless it may go on with it. */
	assert_true(!world->abandoned || world->place == PLACE_RESET || !world->taken);
	assert_true(!world->node_has || world->node_told);
}

static void ask(struct world *world, enum handoff_action question)
{
	switch (question) {
	case ACTION_FIND:
		assert_true(world->place == PLACE_HAPROXY && !world->taken);
		break;
	case ACTION_HAND:
		assert_true(world->place == PLACE_HAPROXY && world->taken);
		break;
	case ACTION_UNDO:
	case ACTION_RETURN:
	case ACTION_LET_AND_RECALL:
	case ACTION_HOLD_AND_RESTORE:
	case ACTION_RESTORE:
	case ACTION_PLAN:
	case ACTION_SEAT:
		assert_int_equal(world->place, PLACE_FROZEN);
		break;
	case ACTION_COLLECT:
		assert_int_equal(world->place, PLACE_FROZEN);
		assert_true(world->machine.continuable || world->planned == WORLD_ALL);
		break;
	case ACTION_CONTINUE:
		assert_true(world->machine.continuable);
		assert_true(world->place == PLACE_HERE || (world->place == PLACE_HAPROXY && world->taken));
		break;
	default:
		break;
	}
}

static void carry_out(struct world *world, enum handoff_action action)
{
	switch (action) {
	case ACTION_SET_TIMER:
		world->timer = true;
		break;
	case ACTION_STOP_TIMER:
		world->timer = false;
		break;
	case ACTION_SEND_RECALL:
	case ACTION_SEND_DISCARD:
	case ACTION_SEND_RELEASE:
		world->node_told = true;
		break;
	case ACTION_TAKE:
		assert_true(world->place == PLACE_HAPROXY && !world->taken);
		world->taken = true;
		break;
	case ACTION_RESET:
		assert_true(world->place != PLACE_NONE && world->place != PLACE_RESET);
		world->place = PLACE_RESET;
		break;
	case ACTION_TELL_REFUSED:
		tell(world);
		assert_true(world->place == PLACE_HAPROXY && !world->taken);
		break;
	case ACTION_TELL_RETURNED:
		tell(world);
		assert_true(world->place == PLACE_HERE || world->place == PLACE_HAPROXY);
		assert_true(world->written);
		break;
	case ACTION_TELL_LOST:
		tell(world);
		assert_int_equal(world->place, PLACE_RESET);
		break;
	case ACTION_END:
		end(world);
		break;
	default:
		break;
	}
}

static void apply(struct world *world, const struct machine *before, const struct machine_step *step)
{
	bool asks = world->machine.asked != ACTION_NONE;

	assert_int_equal(step->before, before->state);
	if (step->verdict != MACHINE_ACTS) {
		assert_int_equal(step->count, 0);
		assert_false(asks);
		assert_int_equal(world->machine.state, before->state);
		assert_int_equal(step->verdict == MACHINE_FAULT, step->fault != NULL);
		return;
	}
	for (unsigned i = 0; i < step->count - asks; i++) {
		assert_false(world->ended);
		carry_out(world, step->actions[i]);
		if (world->watch)
			world->watch(world, step->actions[i]);
	}
	assert_int_equal(world->machine.state == HANDOFF_ENDED, world->ended);
	if (!asks)
		return;
	assert_int_equal(step->actions[step->count - 1], world->machine.asked);
	ask(world, world->machine.asked);
}

/* --- what events and outcomes mean --- */

static void note_event(struct world *world, enum handoff_event event)
{
	switch (event) {
	case EVENT_PARKED:
		world->place = PLACE_HAPROXY;
		break;
	case EVENT_ABANDON:
		world->abandoned = true;
		break;
	case EVENT_REJECTED:
	case EVENT_CONTRADICTED:
	case EVENT_HANDBACK:
	case EVENT_GONE_CLIENT:
	case EVENT_GONE_NODE:
	case EVENT_NODE_LOST:
		world->node_has = false;
		break;
	case EVENT_TIMER:
		world->timer = world->machine.state == HANDOFF_COMPLETING;
		break;
	case EVENT_CONTINUED:
		world->written = true;
		/* fall through */
	case EVENT_UNWRITABLE:
		world->writing = false;
		break;
	case EVENT_NODES_FAILED:
	case EVENT_COLLECTED:
		world->writing = world->collecting = false;
		break;
	default:
		break;
	}
}

enum machine_verdict world_feed(struct world *world, const struct machine_event *event)
{
	const struct machine before = world->machine;
	struct world noted = *world;
	struct machine_step step;

	note_event(&noted, event->event);
	step = machine_step(&world->machine, event);
	if (step.verdict == MACHINE_ACTS) {
		noted.machine = world->machine;
		*world = noted;
	}
	apply(world, &before, &step);
	return step.verdict;
}

static void note_outcome(struct world *world, enum handoff_action question, enum handoff_outcome outcome,
			 uint64_t bytes)
{
	bool ok = outcome == OUTCOME_OK;

	switch (question) {
	case ACTION_HAND:
		world->node_has = ok;
		if (ok || outcome == OUTCOME_NOT_SENT || outcome == OUTCOME_NO_ROUTE || outcome == OUTCOME_FAILED ||
		    outcome == OUTCOME_NO_MEMORY)
			world->place = PLACE_FROZEN;
		break;
	case ACTION_RESTORE:
	case ACTION_HOLD_AND_RESTORE:
	case ACTION_UNDO:
	case ACTION_SEAT:
	case ACTION_RETURN:
		if (ok)
			world->place = PLACE_HERE;
		world->written = question == ACTION_RETURN ? ok : question != ACTION_UNDO && bytes == WORLD_ALL;
		break;
	case ACTION_RECALL:
	case ACTION_HOLD_AND_RECALL:
	case ACTION_LET_AND_RECALL:
		/* It cannot be told. */
		world->node_told |= outcome == OUTCOME_NOT_SENT;
		break;
	case ACTION_HOLD_AND_DISCARD:
		world->node_told = true;
		break;
	case ACTION_PLAN:
		world->planned = bytes;
		break;
	case ACTION_COLLECT:
		world->collecting = ok;
		break;
	case ACTION_CONTINUE:
		world->writing = ok;
		break;
	default:
		break;
	}
}

void world_answer(struct world *world, enum handoff_outcome outcome, uint64_t bytes)
{
	const struct machine before = world->machine;
	struct machine_outcome answer = {.outcome = outcome, .why = "why", .bytes = bytes};
	enum handoff_action question = before.asked;
	struct machine_step step;

	if (question == ACTION_SEAT && bytes < world->planned)
		answer.bytes = bytes = world->planned;
	step = machine_answer(&world->machine, &answer);

	assert_int_equal(step.verdict, MACHINE_ACTS);
	if (question == ACTION_RESTORE || question == ACTION_HOLD_AND_RESTORE)
		bytes = before.from;
	note_outcome(world, question, outcome, bytes);
	if (world->watch && outcome == OUTCOME_OK)
		world->watch(world, question);
	apply(world, &before, &step);
}

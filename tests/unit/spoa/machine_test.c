/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Guards: the machine of a handoff answers every event in every state as written down here, and every outcome of each of
 * its questions; in all states that it can come to, with any node, a handoff ends once, HAProxy is answered once and
 * truly, and no connection is left without an owner. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "machine_world.h"

#define WORLDS_MAX 20000

/* A machine in <state> as it usually is there. */
static struct machine machine_in(enum handoff_state state)
{
	struct machine machine = {.state = state};

	if (state == HANDOFF_OFFERED)
		return machine;
	machine.continuable = true;
	machine.ciphertext = WORLD_ALL;
	machine.taken = state != HANDOFF_WAITING;
	return machine;
}

static char letter_of(const struct machine_step *step)
{
	static const char letters[] = {
		[MACHINE_ACTS] = '+', [MACHINE_IGNORES] = '.', [MACHINE_FAULT] = 'F', [MACHINE_IMPOSSIBLE] = '-'};

	return letters[step->verdict];
}

/* + acts, . ignores, F closes the node's channel, - a defect of this program. */
static void every_event_has_an_answer_in_every_state(void **state)
{
	static const struct {
		enum handoff_event event;
		const char *answers;
	} expected[] = {
		/* OFFERED WAITING AWAY GATHERING RECALLING RETURNING TAKING_OVER COMPLETING DISCARDING ENDED */
		{EVENT_PARKED, "+---------"},       {EVENT_DECLINE, "+---------"},
		{EVENT_RECALL, "+++......-"},       {EVENT_ABANDON, "-+++++++--"},
		{EVENT_REJECTED, "FF+F+F..+-"},     {EVENT_CONTRADICTED, "FF+F+F..+-"},
		{EVENT_PROGRESS, "FF++++...-"},     {EVENT_CLIENT_DATA, "FF++++...-"},
		{EVENT_DRAINED, "FF+++F...-"},      {EVENT_HANDBACK, "FFF+++..+-"},
		{EVENT_GONE_CLIENT, "++++++..+-"},  {EVENT_GONE_NODE, "++++++..+-"},
		{EVENT_RESULT, "+........-"},       {EVENT_NODE_LOST, "++++++..+-"},
		{EVENT_NODE_DRAINS, ".++......-"},  {EVENT_ACKNOWLEDGED, "--+.+....-"},
		{EVENT_AGENT_DRAINS, ".++......-"}, {EVENT_AGENT_ENDS, "+++++++++-"},
		{EVENT_TIMER, "++++.++++-"},        {EVENT_COLLECTED, "------+---"},
		{EVENT_CONTINUED, "-------+--"},    {EVENT_UNWRITABLE, "-------+--"},
		{EVENT_NODES_FAILED, "------++--"},
	};
	unsigned seen = 0;

	(void)state;
	for (size_t i = 0; i < sizeof(expected) / sizeof(expected[0]); i++) {
		char answers[HANDOFF_STATE_COUNT + 1] = "";

		for (enum handoff_state at = 0; at < HANDOFF_STATE_COUNT; at++) {
			const struct machine_event event = {.event = expected[i].event, .why = "why"};
			struct machine machine = machine_in(at), before = machine;
			struct machine_step step = machine_step(&machine, &event);

			answers[at] = letter_of(&step);
			before.draining = machine.draining;
			before.recalled = machine.recalled;
			if (step.verdict != MACHINE_ACTS)
				assert_memory_equal(&machine, &before, sizeof(machine));
		}
		if (strcmp(answers, expected[i].answers) != 0)
			fail_msg("%s: %s, not %s", event_name(expected[i].event), answers, expected[i].answers);
		seen |= 1u << expected[i].event;
	}
	assert_int_equal(seen, (1u << EVENT_COUNT) - 1);
}

static void messages_that_contradict_close_the_channel(void **state)
{
	static const struct {
		enum handoff_event event;
		enum handoff_state state;
	} wrong[] = {
		{EVENT_PROGRESS, HANDOFF_AWAY},         {EVENT_PROGRESS, HANDOFF_RETURNING},
		{EVENT_CLIENT_DATA, HANDOFF_GATHERING}, {EVENT_HANDBACK, HANDOFF_RECALLING},
		{EVENT_HANDBACK, HANDOFF_RETURNING},    {EVENT_GONE_CLIENT, HANDOFF_AWAY},
		{EVENT_GONE_CLIENT, HANDOFF_RETURNING}, {EVENT_GONE_NODE, HANDOFF_AWAY},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		const struct machine_event event = {.event = wrong[i].event, .wrong = "wrong", .why = "why"};
		struct machine machine = machine_in(wrong[i].state);
		struct machine_step step = machine_step(&machine, &event);

		assert_int_equal(step.verdict, MACHINE_FAULT);
		assert_string_equal(step.fault, "wrong");
		assert_int_equal(machine.state, wrong[i].state);
	}
}

static void no_event_comes_between_a_question_and_its_outcome(void **state)
{
	(void)state;
	for (enum handoff_event at = 0; at < EVENT_COUNT; at++) {
		const struct machine_event event = {.event = at, .why = "why"};
		struct machine machine = machine_in(HANDOFF_AWAY);

		machine.asked = ACTION_RECALL;
		assert_int_equal(machine_step(&machine, &event).verdict, MACHINE_IMPOSSIBLE);
		assert_int_equal(machine.asked, ACTION_RECALL);
	}
}

/* --- all states that can be reached --- */

static struct world worlds[WORLDS_MAX];
static size_t world_count;
static bool answered[ACTION_COUNT][OUTCOME_COUNT];

static void add(const struct world *world)
{
	for (size_t i = 0; i < world_count; i++)
		if (memcmp(&worlds[i], world, sizeof(*world)) == 0)
			return;
	assert_true(world_count < WORLDS_MAX);
	memcpy(&worlds[world_count++], world, sizeof(*world));
}

/* A copy whose padding is that of the original, so that worlds can be compared as bytes. */
static struct world *copy_of(const struct world *world)
{
	static struct world copy;

	memcpy(&copy, world, sizeof(copy));
	return &copy;
}

static void try_event(size_t at, enum handoff_event name, uint64_t bytes, bool continuable)
{
	const struct machine_event event = {.event = name, .why = "why", .bytes = bytes, .continuable = continuable};
	struct world *world = copy_of(&worlds[at]);

	if (!world_allows(world, name))
		return;
	assert_int_not_equal(world_feed(world, &event), MACHINE_IMPOSSIBLE);
	add(world);
}

static void try_outcomes(size_t at)
{
	enum handoff_action question = worlds[at].machine.asked;

	for (enum handoff_outcome outcome = 0; outcome < OUTCOME_COUNT; outcome++) {
		struct world *world = copy_of(&worlds[at]);

		if (world_may_answer(question, outcome)) {
			answered[question][outcome] = true;
			world_answer(world, outcome, WORLD_PART);
			add(world);
			world = copy_of(&worlds[at]);
			world_answer(world, outcome, WORLD_ALL);
			add(world);
		} else {
			const struct machine_outcome never = {.outcome = outcome};
			struct machine before = world->machine;

			assert_int_equal(machine_answer(&world->machine, &never).verdict, MACHINE_IMPOSSIBLE);
			assert_memory_equal(&world->machine, &before, sizeof(before));
		}
	}
}

static void all_that_can_happen_keeps_connections_and_answers(void **state)
{
	bool seen[HANDOFF_STATE_COUNT] = {false};

	(void)state;
	world_count = 1; /* OFFERED */
	for (size_t at = 0; at < world_count; at++) {
		seen[worlds[at].machine.state] = true;
		if (worlds[at].machine.asked != ACTION_NONE) {
			try_outcomes(at);
			continue;
		}
		for (enum handoff_event event = 0; event < EVENT_COUNT; event++) {
			try_event(at, event, WORLD_ALL, true);
			if (event == EVENT_PARKED)
				try_event(at, event, WORLD_ALL, false);
			else
				try_event(at, event, WORLD_PART, true);
		}
	}
	print_message("%zu states of a handoff and its world\n", world_count);
	for (size_t i = 0; i < HANDOFF_STATE_COUNT; i++)
		assert_true(seen[i]);
	for (enum handoff_action question = 0; question < ACTION_COUNT; question++)
		for (enum handoff_outcome outcome = 0; outcome < OUTCOME_COUNT; outcome++)
			if (answered[question][outcome] != world_may_answer(question, outcome))
				fail_msg("%s is never answered by %s", action_name(question), outcome_name(outcome));
}

/* --- the order of actions on the main ways --- */

/* Feeds <event>, answers the first question with <first> and others with OK. Returns the actions' names, in order. */
static const char *ways_after(struct machine *machine, enum handoff_event name, uint64_t bytes,
			      enum handoff_outcome first)
{
	static char text[512];
	const struct machine_event event = {.event = name, .why = "why", .bytes = bytes, .continuable = true};
	struct machine_outcome outcome = {.outcome = first, .why = "why", .bytes = bytes};
	struct machine_step step = machine_step(machine, &event);

	text[0] = '\0';
	for (;;) {
		assert_int_equal(step.verdict, MACHINE_ACTS);
		for (unsigned i = 0; i < step.count; i++) {
			(void)strcat(text, text[0] ? " " : "");
			(void)strcat(text, action_name(step.actions[i]));
		}
		if (machine->asked == ACTION_NONE)
			return text;
		step = machine_answer(machine, &outcome);
		outcome.outcome = OUTCOME_OK;
	}
}

static const char *ways(struct machine *machine, enum handoff_event name, uint64_t bytes)
{
	return ways_after(machine, name, bytes, OUTCOME_OK);
}

static void a_body_goes_away_and_comes_back(void **state)
{
	struct machine machine = {.state = HANDOFF_OFFERED};

	(void)state;
	assert_string_equal(ways(&machine, EVENT_PARKED, WORLD_ALL), "LOOK TAKE HAND SET_TIMER");
	assert_int_equal(machine.state, HANDOFF_AWAY);
	assert_string_equal(ways(&machine, EVENT_PROGRESS, WORLD_PART), "NOTE_PROGRESS");
	assert_string_equal(ways(&machine, EVENT_ACKNOWLEDGED, 0),
			    "RETURN COUNT_SUCCESS SEND_RELEASE TELL_RETURNED END");
}

/* The node has passed on what the client sent before its last acknowledgement, or does so a moment later. */
static void client_data_are_waited_for(void **state)
{
	struct machine machine = machine_in(HANDOFF_AWAY);

	(void)state;
	assert_string_equal(ways_after(&machine, EVENT_ACKNOWLEDGED, 0, OUTCOME_NOT_YET), "RETURN SET_TIMER");
	assert_int_equal(machine.state, HANDOFF_GATHERING);
	machine.asked = ACTION_NONE;
	assert_string_equal(ways(&machine, EVENT_CLIENT_DATA, 0),
			    "KEEP RETURN COUNT_SUCCESS SEND_RELEASE TELL_RETURNED END");
}

/* They were lost on their way to the node. */
static void client_data_that_do_not_come_are_fetched(void **state)
{
	struct machine machine = machine_in(HANDOFF_GATHERING);

	(void)state;
	assert_string_equal(ways(&machine, EVENT_TIMER, 0), "LET_AND_RECALL COUNT_RECALL STOP_TIMER");
	assert_int_equal(machine.state, HANDOFF_RECALLING);
	assert_string_equal(ways(&machine, EVENT_DRAINED, 0), "HOLD_AND_RECALL SET_TIMER");
	assert_string_equal(ways(&machine, EVENT_HANDBACK, WORLD_ALL), "RESTORE COUNT_SUCCESS TELL_RETURNED END");
}

static void a_node_refuses_only_what_it_has_not_shown_to_have(void **state)
{
	const struct machine_event refusal = {.event = EVENT_REJECTED, .why = "why"};
	struct machine machine = machine_in(HANDOFF_AWAY);

	(void)state;
	assert_string_equal(ways(&machine, EVENT_REJECTED, 0),
			    "COUNT_FAILURE UNDO COUNT_COMPLETION SET_TIMER CONTINUE");
	machine = machine_in(HANDOFF_AWAY);
	assert_string_equal(ways(&machine, EVENT_PROGRESS, WORLD_PART), "NOTE_PROGRESS");
	assert_int_equal(machine_step(&machine, &refusal).verdict, MACHINE_FAULT);
	assert_int_equal(machine.state, HANDOFF_AWAY);
}

static void a_body_that_nobody_announced_reaches_no_client(void **state)
{
	struct machine machine = machine_in(HANDOFF_AWAY);

	(void)state;
	assert_string_equal(ways(&machine, EVENT_CONTRADICTED, 0), "COUNT_FAILURE NOTE_LOSS RESET TELL_LOST END");
	assert_int_equal(machine.state, HANDOFF_ENDED);
}

static void a_node_that_dies_is_taken_over_from(void **state)
{
	struct machine machine = machine_in(HANDOFF_AWAY);

	(void)state;
	assert_string_equal(ways(&machine, EVENT_NODE_LOST, WORLD_PART), "PLAN NOTE_TAKEOVER COLLECT STOP_TIMER");
	assert_int_equal(machine.state, HANDOFF_TAKING_OVER);
	assert_string_equal(ways(&machine, EVENT_COLLECTED, WORLD_PART), "SEAT SET_TIMER CONTINUE");
	assert_string_equal(ways(&machine, EVENT_CONTINUED, 0), "TELL_RETURNED END");
}

static void what_comes_back_early_is_completed_here(void **state)
{
	struct machine machine = machine_in(HANDOFF_AWAY);

	(void)state;
	assert_string_equal(ways(&machine, EVENT_AGENT_DRAINS, 0), "RECALL COUNT_RECALL STOP_TIMER");
	assert_string_equal(ways(&machine, EVENT_DRAINED, 0), "HOLD_AND_RECALL SET_TIMER");
	assert_string_equal(ways(&machine, EVENT_HANDBACK, WORLD_PART), "RESTORE COUNT_COMPLETION SET_TIMER CONTINUE");
	assert_int_equal(machine.from, WORLD_PART);
	assert_string_equal(ways(&machine, EVENT_UNWRITABLE, 0), "NOTE_LOSS TELL_PROGRESS RESET TELL_LOST END");
}

static void what_fails_on_the_way_leads_elsewhere(void **state)
{
	static const char taken_over[] = "PLAN NOTE_TAKEOVER COLLECT STOP_TIMER",
			  lost[] = "NOTE_LOSS RESET TELL_LOST END";
	static const struct {
		enum handoff_state state;
		enum handoff_event event;
		enum handoff_outcome outcome;
		const char *first, *then;
	} ways_out[] = {
		{HANDOFF_AWAY, EVENT_AGENT_DRAINS, OUTCOME_NOT_SENT, "RECALL", taken_over},
		{HANDOFF_AWAY, EVENT_DRAINED, OUTCOME_NOT_SENT, "HOLD_AND_RECALL", taken_over},
		{HANDOFF_AWAY, EVENT_DRAINED, OUTCOME_NOT_HELD, "HOLD_AND_RECALL SEND_DISCARD", taken_over},
		{HANDOFF_GATHERING, EVENT_TIMER, OUTCOME_FAILED, "LET_AND_RECALL SEND_DISCARD", taken_over},
		{HANDOFF_GATHERING, EVENT_TIMER, OUTCOME_NOT_SENT, "LET_AND_RECALL", taken_over},
		{HANDOFF_AWAY, EVENT_ACKNOWLEDGED, OUTCOME_FAILED, "RETURN SEND_DISCARD", lost},
		{HANDOFF_AWAY, EVENT_ACKNOWLEDGED, OUTCOME_NO_CLIENT, "RETURN SEND_DISCARD", lost},
		{HANDOFF_AWAY, EVENT_TIMER, OUTCOME_UNREACHED, "JUDGE_LATE COUNT_FAILURE SEND_DISCARD", taken_over},
		{HANDOFF_AWAY, EVENT_GONE_CLIENT, OUTCOME_UNREACHED, "NOTE_PROGRESS JUDGE_GONE COUNT_FAILURE",
		 taken_over},
		{HANDOFF_AWAY, EVENT_GONE_CLIENT, OUTCOME_REACHED, "NOTE_PROGRESS JUDGE_GONE", lost},
		{HANDOFF_AWAY, EVENT_NODE_LOST, OUTCOME_FAILED, "PLAN", lost},
		{HANDOFF_AWAY, EVENT_NODE_LOST, OUTCOME_NOT_HELD, "PLAN", lost},
		{HANDOFF_AWAY, EVENT_REJECTED, OUTCOME_FAILED, "COUNT_FAILURE UNDO COUNT_FAILURE", lost},
		{HANDOFF_RETURNING, EVENT_HANDBACK, OUTCOME_FAILED, "RESTORE COUNT_FAILURE", lost},
		{HANDOFF_TAKING_OVER, EVENT_COLLECTED, OUTCOME_FAILED, "SEAT", lost},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(ways_out) / sizeof(ways_out[0]); i++) {
		struct machine machine = machine_in(ways_out[i].state);
		char expected[256];

		(void)snprintf(expected, sizeof(expected), "%s %s", ways_out[i].first, ways_out[i].then);
		assert_string_equal(ways_after(&machine, ways_out[i].event, WORLD_PART, ways_out[i].outcome), expected);
	}
}

static void an_abandoned_connection_is_reset_when_the_node_has_dropped_it(void **state)
{
	struct machine machine = machine_in(HANDOFF_AWAY);

	(void)state;
	assert_string_equal(ways(&machine, EVENT_ABANDON, 0), "HOLD_AND_DISCARD SET_TIMER");
	assert_int_equal(machine.state, HANDOFF_DISCARDING);
	assert_string_equal(ways(&machine, EVENT_GONE_NODE, 0), "RESET END");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_event_has_an_answer_in_every_state),
		cmocka_unit_test(messages_that_contradict_close_the_channel),
		cmocka_unit_test(no_event_comes_between_a_question_and_its_outcome),
		cmocka_unit_test(all_that_can_happen_keeps_connections_and_answers),
		cmocka_unit_test(a_body_goes_away_and_comes_back),
		cmocka_unit_test(client_data_are_waited_for),
		cmocka_unit_test(client_data_that_do_not_come_are_fetched),
		cmocka_unit_test(a_node_refuses_only_what_it_has_not_shown_to_have),
		cmocka_unit_test(a_body_that_nobody_announced_reaches_no_client),
		cmocka_unit_test(a_node_that_dies_is_taken_over_from),
		cmocka_unit_test(what_comes_back_early_is_completed_here),
		cmocka_unit_test(what_fails_on_the_way_leads_elsewhere),
		cmocka_unit_test(an_abandoned_connection_is_reset_when_the_node_has_dropped_it),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

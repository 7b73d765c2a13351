/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "machine.h"

#include <assert.h>
#include <stddef.h>

#define ONLY_ONCE "its body is an HTTP origin's, which is never sealed a second time"
#define NOT_ACKNOWLEDGED "nothing that it sends is acknowledged by the client"
#define CHANNEL_FULL "its control channel takes no more"
#define LATE "it is late"
#define NO_CLIENT "the connection is gone"
#define NO_CONTINUATION "out of memory or descriptors"
#define NO_MEMORY "out of memory"
#define TOO_MUCH "it acknowledges what was never sent"
#define OTHER_BODY "the node told HAProxy of another length than this agent"
#define NOT_HELD "its packets cannot be held"
#define NOT_SEATED "the connection could not be restored"

/* One event or one outcome, and what is done about it. */
struct turn {
	struct machine *machine;
	const struct machine_event *event;
	const struct machine_outcome *outcome;
	const struct rule *rule; /* for <outcome> */
	struct machine_step step;
};

typedef void transition(struct turn *turn);

/* What one outcome of one question leads to, and parameters of that. */
struct rule {
	transition *then;
	enum handoff_state state;
	enum handoff_timer timer;
	enum handoff_loss loss;
	enum completion_cause cause;
	const char *why;
};

const char *handoff_state_text(enum handoff_state state)
{
	static const char *const texts[] = {
#define HANDOFF_STATE_TEXT(name, text) [HANDOFF_##name] = text,
		HANDOFF_STATE_TABLE(HANDOFF_STATE_TEXT)
#undef HANDOFF_STATE_TEXT
	};

	return texts[state];
}

/* --- actions --- */

static void act(struct turn *turn, enum handoff_action action)
{
	assert(turn->step.count < MACHINE_ACTIONS_MAX);
	turn->step.actions[turn->step.count++] = action;
}

static void ask(struct turn *turn, enum handoff_action question)
{
	act(turn, question);
	turn->machine->asked = question;
}

static void set_timer(struct turn *turn, enum handoff_timer timer)
{
	act(turn, ACTION_SET_TIMER);
	turn->step.timer = timer;
}

/* A node that is gone, or whose channel is closed, has dropped its clone by itself. */
static void tell_node(struct turn *turn, enum handoff_action action)
{
	if (!turn->machine->node_gone)
		act(turn, action);
}

static void count_failure(struct turn *turn, const char *why)
{
	act(turn, ACTION_COUNT_FAILURE);
	turn->step.why = why;
}

/* --- the ends --- */

static void end(struct turn *turn, const char *how)
{
	act(turn, ACTION_END);
	turn->step.how = how;
	turn->machine->state = HANDOFF_ENDED;
}

static void lose(struct turn *turn, enum handoff_loss loss, const char *why, const char *more)
{
	turn->step.loss = loss;
	turn->step.why = why;
	turn->step.more = more;
	act(turn, ACTION_NOTE_LOSS);
	if (turn->machine->state == HANDOFF_COMPLETING)
		act(turn, ACTION_TELL_PROGRESS);
	act(turn, ACTION_RESET);
	if (turn->machine->state != HANDOFF_DISCARDING)
		act(turn, ACTION_TELL_LOST);
	end(turn, "lost");
}

static void refuse(struct turn *turn)
{
	assert(!turn->machine->taken);
	tell_node(turn, ACTION_SEND_RECALL);
	act(turn, ACTION_TELL_REFUSED);
	end(turn, "refused");
}

static void give_back(struct turn *turn)
{
	act(turn, ACTION_TELL_RETURNED);
	end(turn, "returned");
}

static void dispose(struct turn *turn)
{
	act(turn, ACTION_RESET);
	end(turn, "abandoned");
}

/* --- answers without a transition --- */

/* Nothing changes: the event came too late, or says what does not matter. */
static void none(struct turn *turn)
{
	turn->step.verdict = MACHINE_IGNORES;
}

/* The node must not have sent it. */
static void fault(struct turn *turn)
{
	static const char *const texts[EVENT_COUNT] = {
		[EVENT_REJECTED] = "it sent HANDOFF_REPLY that nobody waits for",
		[EVENT_CONTRADICTED] = "it sent HANDOFF_REPLY that nobody waits for",
		[EVENT_PROGRESS] = "it sent PROGRESS of a connection that it does not have",
		[EVENT_CLIENT_DATA] = "it sent CLIENT_DATA of a connection that it does not have",
		[EVENT_DRAINED] = "it sent DRAINED of a connection that it does not have",
		[EVENT_HANDBACK] = "it sent HANDBACK that nobody asked for",
	};

	turn->step.verdict = MACHINE_FAULT;
	turn->step.fault = texts[turn->event->event];
}

/* --- ways that several states take --- */

/* The connection is live here, or parked and taken. */
static void continue_here(struct turn *turn)
{
	static const char *const words[] = {
#define COMPLETION_CAUSE_WORD(name, word) [COMPLETION_CAUSE_##name] = word,
		COMPLETION_CAUSE_TABLE(COMPLETION_CAUSE_WORD)
#undef COMPLETION_CAUSE_WORD
	};
	enum completion_cause cause = turn->machine->cause;
	bool by_node = cause == COMPLETION_CAUSE_CHANNEL || cause == COMPLETION_CAUSE_REFUSED ||
		       cause == COMPLETION_CAUSE_RECALLED;

	if (turn->machine->state == HANDOFF_WAITING)
		tell_node(turn, ACTION_SEND_DISCARD);
	if (!turn->machine->continuable) {
		lose(turn, by_node ? HANDOFF_LOSS_NODE : HANDOFF_LOSS_AGENT, words[cause], ONLY_ONCE);
		return;
	}
	act(turn, ACTION_COUNT_COMPLETION);
	turn->step.cause = cause;
	turn->machine->state = HANDOFF_COMPLETING;
	set_timer(turn, TIMER_PROGRESS);
	ask(turn, ACTION_CONTINUE);
}

/* This agent writes the continuation from byte <from> of the records on; or HAProxy goes on by the splice path, if it
 * still can and no node could make the continuation. */
static void complete(struct turn *turn, enum completion_cause cause, uint64_t from)
{
	turn->machine->cause = cause;
	turn->machine->from = from;
	if (turn->machine->state != HANDOFF_WAITING || turn->machine->taken)
		continue_here(turn);
	else if (turn->machine->continuable)
		ask(turn, ACTION_FIND);
	else
		refuse(turn);
}

static void take_over(struct turn *turn, const char *why)
{
	turn->machine->why = why;
	ask(turn, ACTION_PLAN);
}

/* The node has the connection, and may not be asked for it, or not be able to keep it. */
static void discard_and_take_over(struct turn *turn, const char *why)
{
	act(turn, ACTION_SEND_DISCARD);
	take_over(turn, why);
}

/* In WAITING: hands the connection off if it is fit by now. */
static void consider(struct turn *turn)
{
	if (turn->machine->draining)
		complete(turn, COMPLETION_CAUSE_DRAIN, 0);
	else if (turn->machine->recalled)
		complete(turn, COMPLETION_CAUSE_RECALLED, 0);
	else if (turn->machine->node_gone)
		complete(turn, COMPLETION_CAUSE_CHANNEL, 0);
	else
		ask(turn, ACTION_LOOK);
}

/* In AWAY: asks for the connection. If only this node can make the body, it must finish it. Packets are not held yet:
 * the node waits for acknowledgements until its tail is short, and sends Drained then. */
static void recall(struct turn *turn)
{
	if (turn->machine->continuable)
		ask(turn, ACTION_RECALL);
}

/* --- OFFERED --- */

static void park(struct turn *turn)
{
	turn->machine->ciphertext = turn->event->bytes;
	turn->machine->continuable = turn->event->continuable;
	turn->machine->state = HANDOFF_WAITING;
	consider(turn);
}

static void decline(struct turn *turn)
{
	tell_node(turn, ACTION_SEND_RECALL);
	end(turn, "declined");
}

static void expire(struct turn *turn)
{
	end(turn, "not handed off");
}

/* PARKED may still be under way, if the body is a direct one: headers wait for the client. */
static void linger(struct turn *turn)
{
	turn->machine->node_gone = true;
	set_timer(turn, TIMER_LINGER);
}

/* Without Gone before it was no direct body. */
static void conclude(struct turn *turn)
{
	if (!turn->machine->node_gone)
		expire(turn);
}

/* --- WAITING --- */

static void miss(struct turn *turn)
{
	turn->machine->node_gone = true;
	consider(turn);
}

static void abandon(struct turn *turn)
{
	if (turn->machine->taken) {
		tell_node(turn, ACTION_SEND_DISCARD);
		dispose(turn);
		return;
	}
	/* HAProxy may go on with the connection: it is untouched. */
	tell_node(turn, ACTION_SEND_RECALL);
	end(turn, "abandoned untouched");
}

/* --- while the node has it, or is about to --- */

static void undo(struct turn *turn)
{
	if (turn->machine->met) {
		fault(turn);
		return;
	}
	count_failure(turn, turn->event->why);
	turn->machine->cause = COMPLETION_CAUSE_REFUSED;
	ask(turn, ACTION_UNDO);
}

/* HAProxy, and by now the client, was told of another body than the node has: nobody can say which of them it is. */
static void contradict(struct turn *turn)
{
	if (turn->machine->met) {
		fault(turn);
		return;
	}
	count_failure(turn, OTHER_BODY);
	lose(turn, HANDOFF_LOSS_NODE, OTHER_BODY, NULL);
}

static void come_back(struct turn *turn)
{
	turn->machine->met = true;
	ask(turn, ACTION_RETURN);
}

static void progress(struct turn *turn)
{
	act(turn, ACTION_NOTE_PROGRESS);
}

/* The node's answer to the first Recall, which found its tail short: packets are not held yet. */
static void receive(struct turn *turn)
{
	turn->machine->from = turn->event->bytes;
	ask(turn, ACTION_HOLD_AND_RESTORE);
}

static void restore(struct turn *turn)
{
	turn->machine->from = turn->event->bytes;
	ask(turn, ACTION_RESTORE);
}

static void judge(struct turn *turn)
{
	act(turn, ACTION_NOTE_PROGRESS);
	turn->machine->why = turn->event->why;
	ask(turn, ACTION_JUDGE_GONE);
}

static void give_up(struct turn *turn)
{
	act(turn, ACTION_NOTE_PROGRESS);
	lose(turn, HANDOFF_LOSS_CLIENT, turn->event->why, NULL);
}

static void replace(struct turn *turn)
{
	act(turn, ACTION_NOTE_PROGRESS);
	take_over(turn, turn->event->why);
}

static void orphan(struct turn *turn)
{
	take_over(turn, "its control channel is closed");
}

/* The node may have sent something, so the frozen state is no longer that of the connection. */
static void late(struct turn *turn)
{
	discard_and_take_over(turn, LATE);
}

static void tell(struct turn *turn)
{
	act(turn, ACTION_TELL_PROGRESS);
}

static void no_client(struct turn *turn)
{
	lose(turn, HANDOFF_LOSS_CLIENT, turn->event->why, NULL);
}

static void no_node(struct turn *turn)
{
	lose(turn, HANDOFF_LOSS_NODE, turn->event->why, NULL);
}

static void quit(struct turn *turn)
{
	lose(turn, HANDOFF_LOSS_AGENT, "this agent ends", NULL);
}

static void leave(struct turn *turn)
{
	act(turn, ACTION_SEND_DISCARD);
	quit(turn);
}

#define ASKS(name, question)                  \
	static void name(struct turn *turn)   \
	{                                     \
		ask(turn, ACTION_##question); \
	}
ASKS(keep, KEEP)
ASKS(hold, HOLD_AND_RECALL)
ASKS(let, LET_AND_RECALL)
ASKS(discard, HOLD_AND_DISCARD)
ASKS(silence, JUDGE_LATE)
ASKS(collect, COLLECT)
ASKS(seat, SEAT)
#undef ASKS

/* A defect of this program. */
static void never(struct turn *turn)
{
	turn->step.verdict = MACHINE_IMPOSSIBLE;
}

/* The diagram: what every event does in every state. */
/* clang-format off */
static transition *const transitions[EVENT_COUNT][HANDOFF_STATE_COUNT] = {
#define ON(event, offered, waiting, away, gathering, recalling, returning, taking_over, completing, discarding) \
	[EVENT_##event] = {[HANDOFF_OFFERED] = offered,         [HANDOFF_WAITING] = waiting,                    \
			   [HANDOFF_AWAY] = away,               [HANDOFF_GATHERING] = gathering,                \
			   [HANDOFF_RECALLING] = recalling,     [HANDOFF_RETURNING] = returning,                \
			   [HANDOFF_TAKING_OVER] = taking_over, [HANDOFF_COMPLETING] = completing,              \
			   [HANDOFF_DISCARDING] = discarding,   [HANDOFF_ENDED] = never},
	/*               OFFERED   WAITING   AWAY       GATHERING RECALLING  RETURNING TAKING_OVER COMPLETING DISCARDING */
	ON(PARKED,       park,     never,    never,     never,    never,     never,    never,      never,     never)
	ON(DECLINE,      decline,  never,    never,     never,    never,     never,    never,      never,     never)
	ON(RECALL,       decline,  consider, recall,    none,     none,      none,     none,       none,      none)
	ON(ABANDON,      never,    abandon,  discard,   discard,  discard,   discard,  dispose,    dispose,   never)
	ON(REJECTED,     fault,    fault,    undo,      fault,    undo,      fault,    none,       none,      dispose)
	ON(CONTRADICTED, fault,    fault,    contradict, fault,   contradict, fault,   none,       none,      dispose)
	ON(PROGRESS,     fault,    fault,    progress,  progress, progress,  progress, none,       none,      none)
	ON(CLIENT_DATA,  fault,    fault,    keep,      keep,     keep,      keep,     none,       none,      none)
	ON(DRAINED,      fault,    fault,    hold,      hold,     hold,      fault,    none,       none,      none)
	ON(HANDBACK,     fault,    fault,    fault,     receive,  receive,   restore,  none,       none,      dispose)
	ON(GONE_CLIENT,  linger,   miss,     judge,     judge,    judge,     give_up,  none,       none,      dispose)
	ON(GONE_NODE,    linger,   miss,     replace,   replace,  replace,   replace,  none,       none,      dispose)
	ON(RESULT,       conclude, none,     none,      none,     none,      none,     none,       none,      none)
	ON(NODE_LOST,    linger,   miss,     orphan,    orphan,   orphan,    orphan,   none,       none,      dispose)
	ON(NODE_DRAINS,  none,     consider, recall,    none,     none,      none,     none,       none,      none)
	ON(ACKNOWLEDGED, never,    never,    come_back, none,     come_back, none,     none,       none,      none)
	ON(AGENT_DRAINS, none,     consider, recall,    none,     none,      none,     none,       none,      none)
	ON(AGENT_ENDS,   expire,   quit,     leave,     leave,    leave,     leave,    quit,       quit,      quit)
	ON(TIMER,        expire,   consider, silence,   let,      none,      late,     collect,    tell,      dispose)
	ON(COLLECTED,    never,    never,    never,     never,    never,     never,    seat,       never,     never)
	ON(CONTINUED,    never,    never,    never,     never,    never,     never,    never,      give_back, never)
	ON(UNWRITABLE,   never,    never,    never,     never,    never,     never,    never,      no_client, never)
	ON(NODES_FAILED, never,    never,    never,     never,    never,     never,    no_node,    no_node,   never)
#undef ON
};
/* clang-format on */

/* Whether only a node that has the connection says so. */
static bool speaks_of_it(enum handoff_event event)
{
	return event == EVENT_PROGRESS || event == EVENT_CLIENT_DATA || event == EVENT_DRAINED ||
	       event == EVENT_HANDBACK;
}

struct machine_step machine_step(struct machine *machine, const struct machine_event *event)
{
	struct turn turn = {.machine = machine, .event = event, .step.before = machine->state};
	transition *follow = transitions[event->event][machine->state];
	bool node_has = machine->state == HANDOFF_AWAY || machine->state == HANDOFF_GATHERING ||
			machine->state == HANDOFF_RECALLING || machine->state == HANDOFF_RETURNING;

	if (machine->asked != ACTION_NONE)
		follow = never;
	/* Of a connection that the node does not have any more nothing is looked at. */
	if (event->wrong && follow != none && follow != fault && node_has) {
		turn.step.verdict = MACHINE_FAULT;
		turn.step.fault = event->wrong;
		return turn.step;
	}
	/* Both hold from now on, in whichever state. */
	machine->draining |= event->event == EVENT_AGENT_DRAINS;
	machine->recalled |= event->event == EVENT_RECALL;
	follow(&turn);
	machine->met |= node_has && speaks_of_it(event->event) && turn.step.verdict == MACHINE_ACTS;
	return turn.step;
}

/* --- outcomes --- */

static void nothing(struct turn *turn)
{
	turn->step.count = 0;
}

static void not_handed(struct turn *turn)
{
	turn->machine->cause = turn->rule->cause;
	ask(turn, ACTION_UNDO);
}

static void wait(struct turn *turn)
{
	set_timer(turn, turn->rule->timer);
}

static void enter(struct turn *turn)
{
	turn->machine->state = turn->rule->state;
	set_timer(turn, turn->rule->timer);
}

static void complete_all(struct turn *turn)
{
	complete(turn, turn->rule->cause, 0);
}

static void lost(struct turn *turn)
{
	lose(turn, turn->rule->loss, turn->rule->why, NULL);
}

/* The socket is in no known state any more. */
static void broken(struct turn *turn)
{
	act(turn, ACTION_COUNT_FAILURE);
	lose(turn, HANDOFF_LOSS_AGENT, turn->outcome->why, NULL);
}

static void take_it_over(struct turn *turn)
{
	take_over(turn, turn->rule->why);
}

static void discard_it(struct turn *turn)
{
	discard_and_take_over(turn, turn->rule->why);
}

static void take(struct turn *turn)
{
	if (!turn->machine->taken)
		act(turn, ACTION_TAKE);
	turn->machine->taken = true;
}

static void take_and_hand(struct turn *turn)
{
	take(turn);
	ask(turn, ACTION_HAND);
}

static void take_and_continue(struct turn *turn)
{
	take(turn);
	continue_here(turn);
}

static void undone(struct turn *turn)
{
	complete(turn, turn->machine->cause, 0);
}

static void kept(struct turn *turn)
{
	if (turn->machine->state == HANDOFF_GATHERING)
		ask(turn, ACTION_RETURN);
}

/* Once it is back nobody reads before the body's end, and so the client's window closes. */
static void kept_much(struct turn *turn)
{
	if (turn->machine->state == HANDOFF_AWAY)
		recall(turn);
	else
		kept(turn);
}

static void kept_too_much(struct turn *turn)
{
	act(turn, ACTION_SEND_DISCARD);
	lose(turn, HANDOFF_LOSS_AGENT, "the client sends too much", NULL);
}

static void recalled(struct turn *turn)
{
	act(turn, ACTION_COUNT_RECALL);
	act(turn, ACTION_STOP_TIMER);
	turn->machine->state = HANDOFF_RECALLING;
}

static void returned(struct turn *turn)
{
	act(turn, ACTION_COUNT_SUCCESS);
	act(turn, ACTION_SEND_RELEASE);
	give_back(turn);
}

/* The node has bytes of the client that are on their way here, or got lost on their way to it. */
static void gather(struct turn *turn)
{
	if (turn->machine->state == HANDOFF_GATHERING)
		return;
	turn->machine->state = HANDOFF_GATHERING;
	set_timer(turn, TIMER_GATHER);
}

static void lost_at_the_node(struct turn *turn)
{
	act(turn, ACTION_SEND_DISCARD);
	lose(turn, turn->rule->loss, turn->rule->why ? turn->rule->why : turn->outcome->why, NULL);
}

static void restored(struct turn *turn)
{
	if (turn->machine->from != turn->machine->ciphertext) {
		complete(turn, COMPLETION_CAUSE_RECALLED, turn->machine->from);
		return;
	}
	act(turn, ACTION_COUNT_SUCCESS);
	give_back(turn);
}

static void not_reached_in_time(struct turn *turn)
{
	count_failure(turn, NOT_ACKNOWLEDGED);
	discard_and_take_over(turn, LATE);
}

static void client_is_gone(struct turn *turn)
{
	lose(turn, HANDOFF_LOSS_CLIENT, turn->machine->why, turn->rule->why);
}

static void not_reached_at_all(struct turn *turn)
{
	count_failure(turn, NOT_ACKNOWLEDGED);
	take_over(turn, turn->machine->why);
}

static void planned(struct turn *turn)
{
	const char *why = turn->machine->why;

	if (turn->outcome->bytes < turn->machine->ciphertext && !turn->machine->continuable) {
		lose(turn, HANDOFF_LOSS_NODE, why, ONLY_ONCE);
		return;
	}
	act(turn, ACTION_NOTE_TAKEOVER);
	turn->step.why = why;
	turn->machine->why = NULL;
	turn->machine->state = HANDOFF_TAKING_OVER;
	ask(turn, ACTION_COLLECT);
}

static void stop_timer(struct turn *turn)
{
	act(turn, ACTION_STOP_TIMER);
}

static void seated(struct turn *turn)
{
	turn->machine->state = HANDOFF_COMPLETING;
	turn->machine->from = turn->outcome->bytes;
	if (turn->machine->from == turn->machine->ciphertext) {
		give_back(turn);
		return;
	}
	set_timer(turn, TIMER_PROGRESS);
	ask(turn, ACTION_CONTINUE);
}

/* What every outcome of every question leads to; those that are missing cannot be. */
/* clang-format off */
static const struct rule rules[ACTION_COUNT][OUTCOME_COUNT] = {
#define IF(question, outcome) [ACTION_##question][OUTCOME_##outcome]
	IF(LOOK, OK)                      = {take_and_hand},
	IF(LOOK, NOT_YET)                 = {wait, .timer = TIMER_POLL},
	IF(LOOK, TOO_LATE)                = {complete_all, .cause = COMPLETION_CAUSE_UNFIT},
	IF(LOOK, UNFIT)                   = {complete_all, .cause = COMPLETION_CAUSE_UNFIT},
	IF(LOOK, LEAVING)                 = {complete_all, .cause = COMPLETION_CAUSE_CHANNEL},
	IF(LOOK, NO_ROUTE)                = {complete_all, .cause = COMPLETION_CAUSE_STEERING},
	IF(LOOK, NO_CLIENT)               = {lost, .loss = HANDOFF_LOSS_CLIENT, .why = NO_CLIENT},
	IF(LOOK, PARKED_TWICE)            = {lost, .loss = HANDOFF_LOSS_AGENT, .why = "HAProxy has parked it twice"},
	IF(FIND, OK)                      = {take_and_continue},
	IF(FIND, NOBODY)                  = {refuse},

	IF(HAND, OK)                      = {enter, .state = HANDOFF_AWAY, .timer = TIMER_LATE},
	IF(HAND, NOT_YET)                 = {wait, .timer = TIMER_POLL},
	IF(HAND, TOO_LATE)                = {complete_all, .cause = COMPLETION_CAUSE_UNFIT},
	IF(HAND, UNFIT)                   = {complete_all, .cause = COMPLETION_CAUSE_UNFIT},
	IF(HAND, NOT_HELD)                = {complete_all, .cause = COMPLETION_CAUSE_STEERING},
	IF(HAND, NO_CLIENT)               = {lost, .loss = HANDOFF_LOSS_CLIENT, .why = NO_CLIENT},
	IF(HAND, NO_MEMORY)               = {lost, .loss = HANDOFF_LOSS_AGENT, .why = NO_MEMORY},
	IF(HAND, FAILED)                  = {broken},
	IF(HAND, NO_ROUTE)                = {not_handed, .cause = COMPLETION_CAUSE_STEERING},
	IF(HAND, NOT_SENT)                = {not_handed, .cause = COMPLETION_CAUSE_CHANNEL},
	IF(UNDO, OK)                      = {undone},
	IF(UNDO, FAILED)                  = {broken},
	IF(RETURN, OK)                    = {returned},
	IF(RETURN, NOT_YET)               = {gather},
	IF(RETURN, NO_CLIENT)             = {lost_at_the_node, .loss = HANDOFF_LOSS_CLIENT, .why = TOO_MUCH},
	IF(RETURN, FAILED)                = {lost_at_the_node, .loss = HANDOFF_LOSS_AGENT},

	IF(KEEP, OK)                      = {kept},
	IF(KEEP, LONG)                    = {kept_much},
	IF(KEEP, TOO_LONG)                = {kept_too_much},
	IF(JUDGE_LATE, REACHED)           = {nothing},
	IF(JUDGE_LATE, SLOW)              = {wait, .timer = TIMER_LATE},
	IF(JUDGE_LATE, UNREACHED)         = {not_reached_in_time},
	IF(JUDGE_GONE, REACHED)           = {client_is_gone},
	IF(JUDGE_GONE, UNREACHED)         = {not_reached_at_all},

	IF(RECALL, OK)                    = {recalled},
	IF(RECALL, NOT_SENT)              = {take_it_over, .why = CHANNEL_FULL},
	IF(HOLD_AND_RECALL, OK)           = {enter, .state = HANDOFF_RETURNING, .timer = TIMER_REPLY},
	IF(HOLD_AND_RECALL, NOT_HELD)     = {discard_it, .why = NOT_HELD},
	IF(HOLD_AND_RECALL, NOT_SENT)     = {take_it_over, .why = CHANNEL_FULL},
	IF(LET_AND_RECALL, OK)            = {recalled},
	IF(LET_AND_RECALL, FAILED)        = {discard_it, .why = "its packets cannot be sent on any more"},
	IF(LET_AND_RECALL, NOT_SENT)      = {take_it_over, .why = CHANNEL_FULL},
	IF(RESTORE, OK)                   = {restored},
	IF(RESTORE, NO_MEMORY)            = {lost, .loss = HANDOFF_LOSS_AGENT, .why = NO_MEMORY},
	IF(RESTORE, FAILED)               = {broken},
	IF(HOLD_AND_RESTORE, OK)          = {restored},
	IF(HOLD_AND_RESTORE, NOT_HELD)    = {discard_it, .why = NOT_HELD},
	IF(HOLD_AND_RESTORE, NO_MEMORY)   = {lost, .loss = HANDOFF_LOSS_AGENT, .why = NO_MEMORY},
	IF(HOLD_AND_RESTORE, FAILED)      = {broken},
	IF(HOLD_AND_DISCARD, OK)          = {enter, .state = HANDOFF_DISCARDING, .timer = TIMER_REPLY},
	IF(HOLD_AND_DISCARD, FAILED)      = {dispose},

	IF(PLAN, OK)                      = {planned},
	IF(PLAN, NOT_HELD)                = {lost, .loss = HANDOFF_LOSS_AGENT, .why = NOT_HELD},
	IF(PLAN, FAILED)                  = {client_is_gone, .why = TOO_MUCH},
	IF(COLLECT, OK)                   = {stop_timer},
	IF(COLLECT, NOTHING)              = {seat},
	IF(COLLECT, NO_ROOM)              = {wait, .timer = TIMER_TURN},
	IF(COLLECT, NO_MEMORY)            = {lost, .loss = HANDOFF_LOSS_AGENT, .why = NO_CONTINUATION},
	IF(SEAT, OK)                      = {seated},
	IF(SEAT, FAILED)                  = {lost, .loss = HANDOFF_LOSS_AGENT, .why = NOT_SEATED},
	IF(CONTINUE, OK)                  = {nothing},
	IF(CONTINUE, NO_MEMORY)           = {lost, .loss = HANDOFF_LOSS_AGENT, .why = NO_CONTINUATION},
#undef IF
};
/* clang-format on */

struct machine_step machine_answer(struct machine *machine, const struct machine_outcome *outcome)
{
	struct turn turn = {.machine = machine,
			    .outcome = outcome,
			    .rule = &rules[machine->asked][outcome->outcome],
			    .step.before = machine->state};

	if (!turn.rule->then) {
		never(&turn);
		return turn.step;
	}
	machine->asked = ACTION_NONE;
	turn.rule->then(&turn);
	return turn.step;
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "handoff.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "log.h"
#include "mover.h"
#include "secret.h"

#define MAGIC 0x4a4d0ff0u
#define COLLECTED_MAX (256u << 20) /* bytes that all takeovers together may collect at a time */
/* Seconds. */
#define LINGER_S 60. /* for PARKED after the node has given up */
#define POLL_MIN_S 0.001
#define POLL_MAX_S 0.02
#define GATHER_S 0.05 /* twice what a channel between LB and node takes at its worst */
#define TURN_S 0.05
#define PROGRESS_S 0.25
#define LATE_FACTOR 2. /* times handoff-timeout: a client that acknowledged nothing by then is not reached */

/* An event that is being handled. */
struct turn {
	const struct machine_event *event;
	const struct control_message *message; /* NULL: it is none of the node's */
	struct machine_step step;
	struct machine_outcome outcome;
	char why[MOVER_WHY_MAX]; /* of <outcome> */
};

static const char *run(struct handoff *handoff, const struct machine_event *event,
		       const struct control_message *message);

static struct handoff *handoff_of(void *data)
{
	struct handoff *handoff = data;

	assert(handoff && handoff->magic == MAGIC);
	return handoff;
}

void handoff_feed(struct handoff *handoff, enum handoff_event event)
{
	const struct machine_event parameterless = {.event = event};

	if (event == EVENT_NODE_DRAINS && !mover_ready_nodes(handoff, false))
		return;
	if (event == EVENT_ABANDON) {
		handoff_table_unnumber(handoff->table, handoff);
		handoff->haproxy = NULL;
		spoa_metrics_add(handoff->table->metrics, SPOA_HANDOFFS_ABANDONED, 1);
	}
	(void)run(handoff, &parameterless, NULL);
}

static void on_timer(struct ev_loop *loop, ev_timer *timer, int events)
{
	(void)loop;
	(void)events;
	handoff_feed(handoff_of(timer->data), EVENT_TIMER);
}

/* --- the route --- */

static struct breaker *breaker_of(const struct handoff *handoff)
{
	return &handoff->table->breakers[handoff->route->breaker];
}

static void count_failure(struct handoff *handoff, const char *why)
{
	struct handoff_table *table = handoff->table;
	const struct breaker_settings *settings = &table->config->direct.breaker;
	struct breaker *breaker = breaker_of(handoff);
	char note[LOG_LIMIT_NOTE_MAX];
	bool was_tripped = breaker->tripped;

	spoa_metrics_add(table->metrics, SPOA_CLONES_FAILED, 1);
	if (log_limit_allow(&table->failures, ev_now(table->loop), note))
		log_warning("node %s: a handoff failed: %s%s", handoff->node->name, why, note);
	if (!breaker_failed(breaker, settings, ev_now(table->loop)))
		return;
	if (!was_tripped)
		spoa_metrics_add(table->metrics, SPOA_BREAKERS_OPEN, 1);
	log_warning("route %s: %u handoffs failed in a row, its bodies take the splice path for %g s; the last: node "
		    "%s: %s",
		    handoff->route->name, breaker->failures, settings->retry_after, handoff->node->name, why);
}

static void count_success(struct handoff *handoff)
{
	if (!breaker_succeeded(breaker_of(handoff), ev_now(handoff->table->loop)))
		return;
	spoa_metrics_add(handoff->table->metrics, SPOA_BREAKERS_OPEN, -1);
	log_notice("route %s: the direct path works again", handoff->route->name);
}

/* --- HAProxy --- */

static struct handoff_message message_to_haproxy(const struct handoff *handoff, enum handoff_message_type type)
{
	return (struct handoff_message){.type = type, .handoff = handoff->number, .bytes = handoff->acknowledged};
}

static void tell_haproxy(struct handoff *handoff, enum handoff_message_type type, enum spoa_metric metric)
{
	const struct handoff_message message = message_to_haproxy(handoff, type);

	handoff_connection_send(handoff->haproxy, &message);
	spoa_metrics_add(handoff->table->metrics, metric, 1);
}

/* The client has <bytes> of the records: tells HAProxy if these are more than before. */
static void note_progress(struct handoff *handoff, uint64_t bytes)
{
	struct handoff_message message;

	if (bytes <= handoff->acknowledged)
		return;
	handoff->acknowledged = bytes;
	/* The client has acknowledged records, so it has all bytes before them. */
	free(handoff->tail);
	handoff->tail = NULL;
	handoff->tail_len = 0;
	message = message_to_haproxy(handoff, HANDOFF_MESSAGE_PROGRESS);
	if (handoff->haproxy)
		handoff_connection_send(handoff->haproxy, &message);
}

static void note_loss(struct handoff *handoff, const struct machine_step *step)
{
	static const enum spoa_metric metrics[] = {
		[HANDOFF_LOSS_CLIENT] = SPOA_HANDOFFS_LOST_CLIENT,
		[HANDOFF_LOSS_NODE] = SPOA_HANDOFFS_LOST_NODE,
		[HANDOFF_LOSS_AGENT] = SPOA_HANDOFFS_LOST_AGENT,
	};
	struct handoff_table *table = handoff->table;
	char text[TCP_STATE_TEXT_MAX] = "a client's", note[LOG_LIMIT_NOTE_MAX] = "";
	enum log_level level = step->loss == HANDOFF_LOSS_CLIENT ? LOG_LEVEL_DEBUG : LOG_LEVEL_WARNING;

	spoa_metrics_add(table->metrics, metrics[step->loss], 1);
	if (handoff->frozen.family != 0)
		(void)tcp_state_format(&handoff->frozen, text);
	if (level == LOG_LEVEL_DEBUG || log_limit_allow(&table->losses, ev_now(table->loop), note))
		log_write(level, "connection %s is lost by %s while %s: %s%s%s%s", text, handoff_loss_text(step->loss),
			  handoff_state_text(step->before), step->why, step->more ? "; " : "",
			  step->more ? step->more : "", note);
}

static void tell_lost(struct handoff *handoff, enum handoff_loss loss)
{
	struct handoff_message message = message_to_haproxy(handoff, HANDOFF_MESSAGE_LOST);

	message.cause = loss;
	handoff_connection_send(handoff->haproxy, &message);
}

/* --- the continuation --- */

static const struct node *on_choose(void *context, node_set asked)
{
	struct handoff *handoff = handoff_of(context);
	const char *target = handoff->body.target, *query = strchr(target, '?');
	const struct control_text path = {target, query ? (size_t)(query - target) : strlen(target)};
	node_set ready = mover_ready_nodes(handoff, false) & ~asked;

	/* The node that had the body is asked last. */
	if (ready & ~node_bit(handoff->node))
		ready &= ~node_bit(handoff->node);
	return node_pool_choose(&handoff->config->pools[handoff->route->pool], path, ready);
}

static int on_offer(void *context, const struct node *node, const struct control_offer *offer)
{
	struct handoff_table *table = handoff_of(context)->table;
	struct control_message message = {.type = CONTROL_OFFER, .u.offer = *offer};
	size_t len = 0;
	int result = -1;

	if (control_encode(&message, table->frame, CONTROL_MESSAGE_MAX, &len) == CONTROL_OK)
		result = node_link_offer(table->links[node->index], offer, table->frame, len);
	secret_wipe(&message, sizeof(message));
	secret_wipe(table->frame, len);
	return result;
}

static void on_collected(void *context)
{
	handoff_feed(handoff_of(context), EVENT_COLLECTED);
}

static void on_ended(void *context, enum continuation_end end, const char *fault)
{
	static const enum handoff_event events[] = {
		[CONTINUATION_DONE] = EVENT_CONTINUED,
		[CONTINUATION_CLIENT] = EVENT_UNWRITABLE,
		[CONTINUATION_NODE] = EVENT_NODES_FAILED,
	};
	const struct machine_event event = {.event = events[end], .why = fault};

	(void)run(handoff_of(context), &event, NULL);
}

static const struct continuation_handlers continuation_handlers = {on_choose, on_offer, on_collected, on_ended};

static enum handoff_outcome start_continuation(struct handoff *handoff, uint64_t from, size_t apart)
{
	handoff->continuation = continuation_start(handoff->table->loop, &handoff->body, from, apart, handoff->fd,
						   &continuation_handlers, handoff);
	return handoff->continuation ? OUTCOME_OK : OUTCOME_NO_MEMORY;
}

static enum handoff_outcome begin_collecting(struct handoff *handoff)
{
	struct handoff_table *table = handoff->table;
	size_t flight = handoff->plan.flight;

	if (!flight)
		return OUTCOME_NOTHING;
	if (table->collected && table->collected + flight > COLLECTED_MAX)
		return OUTCOME_NO_ROOM;
	if (start_continuation(handoff, handoff->plan.from, flight) != OUTCOME_OK)
		return OUTCOME_NO_MEMORY;
	table->collected += flight;
	handoff->collecting = flight;
	return OUTCOME_OK;
}

static void stop_collecting(struct handoff *handoff)
{
	handoff->table->collected -= handoff->collecting;
	handoff->collecting = 0;
}

static enum handoff_outcome seat(struct handoff *handoff)
{
	const uint8_t *bytes = NULL;
	size_t len = 0;

	if (handoff->continuation)
		bytes = continuation_collected(handoff->continuation, &len);
	stop_collecting(handoff);
	return mover_seat(handoff, bytes, len);
}

static enum handoff_outcome go_on(struct handoff *handoff)
{
	if (!handoff->continuation)
		return start_continuation(handoff, handoff->machine.from, 0);
	continuation_write(handoff->continuation, handoff->fd);
	return OUTCOME_OK;
}

/* --- actions --- */

static enum handoff_outcome keep(struct handoff *handoff, const struct control_client_data *message)
{
	size_t length = byte_queue_length(&handoff->input) + message->data.len;

	if (length > HANDOFF_INPUT_LIMIT || !byte_queue_reserve(&handoff->input, message->data.len))
		return OUTCOME_TOO_LONG;
	byte_queue_append(&handoff->input, message->data.data, message->data.len);
	handoff->received += message->data.len;
	return length > HANDOFF_INPUT_MAX ? OUTCOME_LONG : OUTCOME_OK;
}

static void set_timer(struct handoff *handoff, enum handoff_timer timer)
{
	double now = ev_now(handoff->table->loop), timeout = handoff->table->config->direct.handoff_timeout;
	double poll = (now - handoff->parked_at) / 4;
	const double seconds[] = {
		[TIMER_LINGER] = LINGER_S,
		[TIMER_POLL] = poll < POLL_MIN_S ? POLL_MIN_S : poll < POLL_MAX_S ? poll : POLL_MAX_S,
		[TIMER_REPLY] = timeout,
		[TIMER_LATE] = LATE_FACTOR * timeout,
		[TIMER_GATHER] = GATHER_S,
		[TIMER_TURN] = TURN_S,
		[TIMER_PROGRESS] = PROGRESS_S,
	};

	ev_timer_stop(handoff->table->loop, &handoff->timer);
	ev_timer_set(&handoff->timer, seconds[timer], timer == TIMER_PROGRESS ? PROGRESS_S : 0.);
	ev_timer_start(handoff->table->loop, &handoff->timer);
}

/* Gives back all that <handoff> has, but the descriptor, and frees it. */
static void destroy(struct handoff *handoff)
{
	ev_timer_stop(handoff->table->loop, &handoff->timer);
	stop_collecting(handoff);
	continuation_free(handoff->continuation);
	handoff_body_release(&handoff->body);
	byte_queue_clear(&handoff->input);
	free(handoff->tail);
	spoa_config_drop(handoff->config);
	handoff->magic = 0;
	free(handoff);
}

/* <how> is for the log. */
static void end(struct handoff *handoff, const char *how)
{
	struct handoff_table *table = handoff->table;
	char digits[TICKET_TEXT_LEN + 1];

	ticket_format(digits, &handoff->ticket);
	if (handoff->fd >= 0) {
		log_debug("handoff %.8s, route %s, node %s: %s with %" PRIu64 " of %" PRIu64 " bytes after %.3f s",
			  digits, handoff->route->name, handoff->node->name, how, handoff->acknowledged,
			  handoff->body.layout.ciphertext, ev_now(table->loop) - handoff->parked_at);
		(void)close(handoff->fd);
		spoa_metrics_add(table->metrics, SPOA_HANDOFFS, -1);
	}
	handoff_table_remove(table, handoff);
	destroy(handoff);
	if (table->settled)
		table->settled(table->context);
}

/* Does what <question> asks for and returns what became of it. */
static enum handoff_outcome answer(struct handoff *handoff, enum handoff_action question, struct turn *turn)
{
	switch (question) {
	case ACTION_LOOK:
		return mover_look(handoff);
	case ACTION_FIND:
		return mover_ready_nodes(handoff, true) ? OUTCOME_OK : OUTCOME_NOBODY;
	case ACTION_HAND:
		return mover_hand(handoff, turn->why);
	case ACTION_UNDO:
		return mover_undo(handoff, turn->why);
	case ACTION_RETURN:
		return mover_return(handoff, turn->why);
	case ACTION_KEEP:
		return keep(handoff, &turn->message->u.client_data);
	case ACTION_RECALL:
		return mover_send_recall(handoff, false) < 0 ? OUTCOME_NOT_SENT : OUTCOME_OK;
	case ACTION_HOLD_AND_RECALL:
		if (mover_hold(handoff) != OUTCOME_OK)
			return OUTCOME_NOT_HELD;
		return mover_send_recall(handoff, false) < 0 ? OUTCOME_NOT_SENT : OUTCOME_OK;
	case ACTION_LET_AND_RECALL:
		if (mover_redirect(handoff) != OUTCOME_OK)
			return OUTCOME_FAILED;
		return mover_send_recall(handoff, false) < 0 ? OUTCOME_NOT_SENT : OUTCOME_OK;
	case ACTION_HOLD_AND_RESTORE:
		if (mover_hold(handoff) != OUTCOME_OK)
			return OUTCOME_NOT_HELD;
		return mover_restore(handoff, &turn->message->u.handback, turn->why);
	case ACTION_RESTORE:
		return mover_restore(handoff, &turn->message->u.handback, turn->why);
	case ACTION_HOLD_AND_DISCARD:
		if (mover_hold(handoff) != OUTCOME_OK || mover_send_recall(handoff, true) < 0)
			return OUTCOME_FAILED;
		return OUTCOME_OK;
	case ACTION_JUDGE_LATE:
		return mover_judge_late(handoff);
	case ACTION_JUDGE_GONE:
		return mover_judge_gone(handoff);
	case ACTION_PLAN:
		return mover_plan(handoff, &turn->outcome.bytes);
	case ACTION_COLLECT:
		return begin_collecting(handoff);
	case ACTION_SEAT:
		turn->outcome.bytes = handoff->plan.from + handoff->plan.flight;
		return seat(handoff);
	case ACTION_CONTINUE:
		return go_on(handoff);
	default:
		assert(!"an action that does not ask");
		return OUTCOME_FAILED;
	}
}

/* Does <action>, which does not ask. */
static void act(struct handoff *handoff, enum handoff_action action, const struct turn *turn)
{
	struct handoff_table *table = handoff->table;
	const struct machine_step *step = &turn->step;
	char note[LOG_LIMIT_NOTE_MAX];

	switch (action) {
	case ACTION_SET_TIMER:
		set_timer(handoff, step->timer);
		break;
	case ACTION_STOP_TIMER:
		ev_timer_stop(table->loop, &handoff->timer);
		break;
	case ACTION_SEND_RECALL:
		(void)mover_send_recall(handoff, false);
		break;
	case ACTION_SEND_DISCARD:
		(void)mover_send_recall(handoff, true);
		break;
	case ACTION_SEND_RELEASE:
		late_release_add(&table->releases, handoff->node->index, &handoff->ticket);
		break;
	case ACTION_TAKE:
		handoff_connection_take(handoff->haproxy, handoff->place, handoff->number);
		break;
	case ACTION_NOTE_PROGRESS:
		note_progress(handoff, turn->event->bytes);
		mover_arm(handoff);
		break;
	case ACTION_TELL_PROGRESS:
		note_progress(handoff, mover_acknowledged(handoff));
		break;
	case ACTION_COUNT_FAILURE:
		count_failure(handoff, step->why);
		break;
	case ACTION_COUNT_SUCCESS:
		count_success(handoff);
		break;
	case ACTION_COUNT_RECALL:
		spoa_metrics_add(table->metrics, SPOA_HANDOFFS_RECALLED, 1);
		break;
	case ACTION_COUNT_COMPLETION:
		spoa_metrics_count_completion(table->metrics, step->cause);
		break;
	case ACTION_NOTE_TAKEOVER:
		spoa_metrics_count_completion(table->metrics, COMPLETION_CAUSE_TAKEOVER);
		if (log_limit_allow(&table->takeovers, ev_now(table->loop), note))
			log_warning("node %s: a client's connection is taken over: %s%s", handoff->node->name,
				    step->why, note);
		break;
	case ACTION_NOTE_LOSS:
		note_loss(handoff, step);
		break;
	case ACTION_RESET:
		mover_reset(handoff);
		break;
	case ACTION_TELL_REFUSED:
		tell_haproxy(handoff, HANDOFF_MESSAGE_REFUSED, SPOA_HANDOFFS_REFUSED);
		break;
	case ACTION_TELL_RETURNED:
		handoff->acknowledged = handoff->body.layout.ciphertext;
		tell_haproxy(handoff, HANDOFF_MESSAGE_RETURNED, SPOA_HANDOFFS_RETURNED);
		break;
	case ACTION_TELL_LOST:
		tell_lost(handoff, step->loss);
		break;
	case ACTION_END:
		end(handoff, step->how);
		break;
	default:
		assert(!"an action that asks");
	}
}

/* Feeds <event>, with the node's <message> if it is one, and carries out what follows from it. Returns NULL, or a
 * reason to close the node's channel with. <handoff> may be gone afterwards. */
static const char *run(struct handoff *handoff, const struct machine_event *event,
		       const struct control_message *message)
{
	struct turn turn = {.event = event, .message = message, .step = machine_step(&handoff->machine, event)};
	enum handoff_action question;

	for (;;) {
		assert(turn.step.verdict != MACHINE_IMPOSSIBLE);
		question = handoff->machine.asked;
		for (unsigned i = 0; i < turn.step.count - (question != ACTION_NONE); i++)
			act(handoff, turn.step.actions[i], &turn);
		if (question == ACTION_NONE)
			return turn.step.fault;
		turn.outcome = (struct machine_outcome){.why = turn.why};
		turn.outcome.outcome = answer(handoff, question, &turn);
		turn.step = machine_answer(&handoff->machine, &turn.outcome);
	}
}

/* --- messages of the node --- */

/* Copies what a node wrote for a log line: printable ASCII as it is, other bytes as dots. */
static void copy_reason(char out[static MOVER_WHY_MAX], struct control_text text)
{
	size_t len = text.len < MOVER_WHY_MAX - 1 ? text.len : MOVER_WHY_MAX - 1;

	for (size_t i = 0; i < len; i++)
		out[i] = text.data[i] >= ' ' && text.data[i] <= '~' ? text.data[i] : '.';
	out[len] = '\0';
}

const char *handoff_received(struct handoff *handoff, const struct control_message *message)
{
	uint64_t ciphertext = handoff->body.layout.ciphertext;
	char reason[MOVER_WHY_MAX];
	struct machine_event event = {.why = reason};

	switch (message->type) {
	case CONTROL_HANDOFF_REPLY:
		event.event = message->u.handoff_reply.contradicts ? EVENT_CONTRADICTED : EVENT_REJECTED;
		copy_reason(reason, message->u.handoff_reply.reason);
		break;
	case CONTROL_PROGRESS:
		event.event = EVENT_PROGRESS;
		event.bytes = message->u.progress.bytes;
		event.wrong = event.bytes > ciphertext ? "PROGRESS has more bytes than the body" : NULL;
		break;
	case CONTROL_CLIENT_DATA:
		event.event = EVENT_CLIENT_DATA;
		if (message->u.client_data.offset != handoff->received)
			event.wrong = "CLIENT_DATA does not continue what came before";
		break;
	case CONTROL_DRAINED:
		event.event = EVENT_DRAINED;
		break;
	case CONTROL_HANDBACK:
		event.event = EVENT_HANDBACK;
		event.bytes = message->u.handback.bytes;
		event.wrong = mover_check_handback(handoff, &message->u.handback);
		break;
	case CONTROL_GONE:
		event.event = message->u.gone.cause == CONTROL_GONE_CLIENT ? EVENT_GONE_CLIENT : EVENT_GONE_NODE;
		event.bytes = message->u.gone.bytes;
		event.wrong = event.bytes > ciphertext ? "GONE has more bytes than the body" : NULL;
		copy_reason(reason, message->u.gone.reason);
		break;
	default:
		event.event = EVENT_RESULT;
	}
	return run(handoff, &event, message);
}

/* --- life --- */

struct handoff *handoff_new(struct handoff_table *table, const struct control_offer *offer,
			    const struct policy_route *route, struct node *node)
{
	struct handoff *handoff = calloc(1, sizeof(*handoff));

	if (!handoff)
		return NULL;
	if (handoff_body_init(&handoff->body, table->leases, offer) < 0) {
		free(handoff);
		return NULL;
	}
	handoff->magic = MAGIC;
	handoff->table = table;
	handoff->ticket = offer->ticket;
	spoa_config_hold(table->config);
	handoff->config = table->config;
	handoff->route = route;
	handoff->node = node;
	handoff->fd = -1;
	ev_init(&handoff->timer, on_timer);
	handoff->timer.data = handoff;
	return handoff;
}

void handoff_free(struct handoff *handoff)
{
	assert(handoff->magic == MAGIC && handoff->machine.state == HANDOFF_OFFERED);
	destroy(handoff);
}

void handoff_parked(struct handoff *handoff, struct handoff_connection *haproxy, const struct handoff_message *parked,
		    int fd)
{
	struct handoff_table *table = handoff->table;
	const struct machine_event event = {.event = EVENT_PARKED,
					    .bytes = handoff->body.layout.ciphertext,
					    .continuable = handoff_body_can_continue(&handoff->body)};

	assert(handoff->body.announced);
	handoff->haproxy = haproxy;
	handoff->number = parked->handoff;
	handoff->place = parked->place;
	handoff->fd = fd;
	handoff->live = true;
	handoff->parked_at = ev_now(table->loop);
	handoff->parked_clock = mover_clock();
	handoff->deadline = handoff->parked_at + table->config->direct.handoff_timeout;
	spoa_metrics_add(table->metrics, SPOA_HANDOFFS, 1);
	spoa_metrics_add(table->metrics, SPOA_HANDOFFS_TOTAL, 1);
	(void)run(handoff, &event, NULL);
}

void handoff_acknowledged(void *owner)
{
	handoff_feed(handoff_of(owner), EVENT_ACKNOWLEDGED);
}

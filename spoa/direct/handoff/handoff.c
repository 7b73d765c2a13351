/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "handoff.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "handoff_internal.h"
#include "log.h"

#define TAKE_AGAIN_S 0.02

static struct handoff *handoff_of(void *data)
{
	struct handoff *handoff = data;

	assert(handoff && handoff->magic == HANDOFF_MAGIC && handoff->state != HANDOFF_ENDED);
	return handoff;
}

const char *handoff_state_text(enum handoff_state state)
{
	static const char *const texts[] = {
		[HANDOFF_OFFERED] = "offered",         [HANDOFF_WAITING] = "waiting",
		[HANDOFF_HANDING] = "handing",         [HANDOFF_AWAY] = "away",
		[HANDOFF_RECALLING] = "recalling",     [HANDOFF_RETURNING] = "returning",
		[HANDOFF_TAKING_OVER] = "taking over", [HANDOFF_COMPLETING] = "completing",
		[HANDOFF_DISCARDING] = "discarding",   [HANDOFF_ENDED] = "ended",
	};

	return texts[state];
}

/* --- the end --- */

/* Closes our descriptor of the connection and ends the handoff; <how> is for the log. */
static void end(struct handoff *handoff, const char *how)
{
	struct handoff_environment *environment = handoff->environment;
	char digits[TICKET_TEXT_LEN + 1];

	ticket_format(digits, &handoff->ticket);
	if (handoff->fd >= 0) {
		log_debug("handoff %.8s, route %s, node %s: %s with %" PRIu64 " of %" PRIu64 " bytes after %.3f s",
			  digits, handoff->route->name, handoff->node->name, how, handoff->acknowledged,
			  handoff->body.layout.ciphertext, ev_now(environment->loop) - handoff->parked_at);
		(void)close(handoff->fd);
		handoff->fd = -1;
		spoa_metrics_add(environment->metrics, SPOA_HANDOFFS, -1);
	}
	ev_timer_stop(environment->loop, &handoff->timer);
	completion_free(handoff->completion);
	handoff->completion = NULL;
	handoff->state = HANDOFF_ENDED;
	environment->ended(environment->context, handoff);
}

static void tell_haproxy(struct handoff *handoff, enum handoff_message_type type, enum handoff_loss cause)
{
	struct handoff_message message = {
		.type = type, .handoff = handoff->number, .bytes = handoff->acknowledged, .cause = cause};

	if (handoff->haproxy)
		handoff_connection_send(handoff->haproxy, &message);
}

bool handoff_take(struct handoff *handoff)
{
	const struct handoff_message message = {.type = HANDOFF_MESSAGE_TAKEN, .handoff = handoff->number};

	if (!handoff->taken)
		handoff->taken = handoff_connection_send_now(handoff->haproxy, &message);
	if (!handoff->taken)
		handoff_set_timer(handoff, TAKE_AGAIN_S, 0.);
	return handoff->taken;
}

void handoff_refuse(struct handoff *handoff)
{
	assert(handoff->state == HANDOFF_WAITING && !handoff->taken);
	/* A node whose channel is closed has dropped its clone by itself. */
	if (!handoff->node_gone)
		(void)handoff_send_recall(handoff, false);
	tell_haproxy(handoff, HANDOFF_MESSAGE_REFUSED, 0);
	spoa_metrics_add(handoff->environment->metrics, SPOA_HANDOFFS_REFUSED, 1);
	end(handoff, "refused");
}

void handoff_return(struct handoff *handoff)
{
	double now = ev_now(handoff->environment->loop);

	if (handoff->answered && handoff->state != HANDOFF_COMPLETING && handoff->state != HANDOFF_TAKING_OVER &&
	    breaker_succeeded(
		    &handoff->environment->breakers[handoff->route - handoff->environment->config->policy.routes],
		    now)) {
		spoa_metrics_add(handoff->environment->metrics, SPOA_BREAKERS_OPEN, -1);
		log_notice("route %s: the direct path works again", handoff->route->name);
	}
	handoff->acknowledged = handoff->body.layout.ciphertext;
	tell_haproxy(handoff, HANDOFF_MESSAGE_RETURNED, 0);
	spoa_metrics_add(handoff->environment->metrics, SPOA_HANDOFFS_RETURNED, 1);
	end(handoff, "returned");
}

/* Resets the client, wherever its connection is. HAProxy's descriptor is unconnected afterwards. */
static void reset_client(struct handoff *handoff)
{
	struct tcp_fault fault = {.call = NULL};
	struct steering_seen seen;
	struct takeover_facts facts;
	int result = tcp_disconnect(handoff->fd, &fault);

	if (!handoff->live) {
		facts = handoff_facts(handoff, &seen);
		steering_drop(handoff->environment->steering, &handoff->frozen);
		result |= tcp_reset(&handoff->frozen, takeover_sequence(&facts), &fault);
	}
	if (result < 0)
		log_debug("a client could not be reset: %s: %s", fault.call, strerror(fault.error));
}

static enum spoa_metric lost_metric(enum handoff_loss cause)
{
	switch (cause) {
	case HANDOFF_LOSS_CLIENT:
		return SPOA_HANDOFFS_LOST_CLIENT;
	case HANDOFF_LOSS_NODE:
		return SPOA_HANDOFFS_LOST_NODE;
	case HANDOFF_LOSS_AGENT:
		break;
	}
	return SPOA_HANDOFFS_LOST_AGENT;
}

void handoff_lose(struct handoff *handoff, enum handoff_loss cause, const char *why)
{
	struct handoff_environment *environment = handoff->environment;
	char text[TCP_STATE_TEXT_MAX] = "a client's", note[LOG_LIMIT_NOTE_MAX] = "";
	enum log_level level = cause == HANDOFF_LOSS_CLIENT ? LOG_LEVEL_DEBUG : LOG_LEVEL_WARNING;

	if (handoff->frozen.family != 0)
		(void)tcp_state_format(&handoff->frozen, text);
	if (level == LOG_LEVEL_DEBUG || log_limit_allow(&environment->losses, ev_now(environment->loop), note))
		log_write(level, "connection %s is lost by %s while %s: %s%s", text, handoff_loss_text(cause),
			  handoff_state_text(handoff->state), why, note);
	if (handoff->state == HANDOFF_COMPLETING)
		handoff_tell_progress(handoff, handoff_completion_acknowledged(handoff));
	reset_client(handoff);
	tell_haproxy(handoff, HANDOFF_MESSAGE_LOST, cause);
	spoa_metrics_add(environment->metrics, lost_metric(cause), 1);
	end(handoff, "lost");
}

void handoff_give_up(struct handoff *handoff)
{
	if (handoff->state == HANDOFF_OFFERED) {
		end(handoff, "not handed off");
		return;
	}
	if (handoff->state >= HANDOFF_HANDING && handoff->state <= HANDOFF_RETURNING)
		(void)handoff_send_recall(handoff, true);
	handoff_lose(handoff, HANDOFF_LOSS_AGENT, "this agent ends");
}

void handoff_discarded(struct handoff *handoff)
{
	reset_client(handoff);
	end(handoff, "abandoned");
}

/* --- what all states share --- */

double handoff_clock(void)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

void handoff_count_time(struct handoff *handoff, enum spoa_metric metric, double since)
{
	spoa_metrics_add(handoff->environment->metrics, metric, (int64_t)((handoff_clock() - since) * 1e6));
}

void handoff_set_timer(struct handoff *handoff, double after, double repeat)
{
	ev_timer_stop(handoff->environment->loop, &handoff->timer);
	ev_timer_set(&handoff->timer, after, repeat);
	ev_timer_start(handoff->environment->loop, &handoff->timer);
}

void handoff_count_failure(struct handoff *handoff, const char *why)
{
	struct handoff_environment *environment = handoff->environment;
	const struct breaker_settings *settings = &environment->config->direct.breaker;
	struct breaker *breaker = &environment->breakers[handoff->route - environment->config->policy.routes];
	char note[LOG_LIMIT_NOTE_MAX];
	bool was_tripped = breaker->tripped;

	spoa_metrics_add(environment->metrics, SPOA_CLONES_FAILED, 1);
	if (log_limit_allow(&environment->failures, ev_now(environment->loop), note))
		log_warning("node %s: a handoff failed: %s%s", handoff->node->name, why, note);
	if (!breaker_failed(breaker, settings, ev_now(environment->loop)))
		return;
	if (!was_tripped)
		spoa_metrics_add(environment->metrics, SPOA_BREAKERS_OPEN, 1);
	log_warning("route %s: %u handoffs failed in a row, its bodies take the splice path for %g s; the last: node "
		    "%s: %s",
		    handoff->route->name, breaker->failures, settings->retry_after, handoff->node->name, why);
}

void handoff_tell_progress(struct handoff *handoff, uint64_t bytes)
{
	if (bytes <= handoff->acknowledged)
		return;
	handoff->acknowledged = bytes;
	/* The client has acknowledged records, so it has all bytes before them. */
	free(handoff->tail);
	handoff->tail = NULL;
	handoff->tail_len = 0;
	tell_haproxy(handoff, HANDOFF_MESSAGE_PROGRESS, 0);
}

static void on_timer(struct ev_loop *loop, ev_timer *timer, int events)
{
	struct handoff *handoff = handoff_of(timer->data);

	(void)loop;
	(void)events;
	switch (handoff->state) {
	case HANDOFF_OFFERED:
		end(handoff, "not handed off");
		return;
	case HANDOFF_WAITING:
		handoff_try(handoff);
		return;
	case HANDOFF_HANDING:
	case HANDOFF_AWAY:
	case HANDOFF_RETURNING:
		handoff_node_is_late(handoff);
		return;
	case HANDOFF_TAKING_OVER:
	case HANDOFF_COMPLETING:
		handoff_completion_due(handoff);
		return;
	case HANDOFF_DISCARDING:
		handoff_discarded(handoff);
		return;
	case HANDOFF_RECALLING:
	case HANDOFF_ENDED:
		return;
	}
}

/* --- life --- */

struct handoff *handoff_new(struct handoff_environment *environment, const struct control_offer *offer,
			    const struct policy_route *route, struct node *node)
{
	struct handoff *handoff = calloc(1, sizeof(*handoff));

	if (!handoff)
		return NULL;
	if (handoff_body_init(&handoff->body, environment->leases, offer) < 0) {
		free(handoff);
		return NULL;
	}
	handoff->magic = HANDOFF_MAGIC;
	handoff->environment = environment;
	handoff->ticket = offer->ticket;
	handoff->route = route;
	handoff->node = node;
	handoff->fd = -1;
	ev_init(&handoff->timer, on_timer);
	handoff->timer.data = handoff;
	return handoff;
}

void handoff_free(struct handoff *handoff)
{
	assert(handoff->magic == HANDOFF_MAGIC && handoff->fd < 0);
	ev_timer_stop(handoff->environment->loop, &handoff->timer);
	handoff_body_release(&handoff->body);
	byte_queue_clear(&handoff->input);
	free(handoff->tail);
	free(handoff->plan);
	handoff->magic = 0;
	free(handoff);
}

void handoff_parked(struct handoff *handoff, struct handoff_connection *haproxy, uint64_t number, uint64_t bytes,
		    int fd)
{
	struct handoff_environment *environment = handoff->environment;
	double now = ev_now(environment->loop);

	assert(handoff->state == HANDOFF_OFFERED);
	handoff->haproxy = haproxy;
	handoff->number = number;
	handoff->announced = bytes;
	handoff->fd = fd;
	handoff->live = true;
	handoff->state = HANDOFF_WAITING;
	handoff->parked_at = now;
	handoff->parked_clock = handoff_clock();
	handoff->deadline = now + environment->config->direct.handoff_timeout;
	spoa_metrics_add(environment->metrics, SPOA_HANDOFFS, 1);
	spoa_metrics_add(environment->metrics, SPOA_HANDOFFS_TOTAL, 1);
	handoff_try(handoff);
}

void handoff_decline(struct handoff *handoff)
{
	assert(handoff->state == HANDOFF_OFFERED);
	if (!handoff->node_gone)
		(void)handoff_send_recall(handoff, false);
	end(handoff, "declined");
}

void handoff_abandon(struct handoff *handoff)
{
	assert(handoff->state != HANDOFF_OFFERED && handoff->state != HANDOFF_ENDED);
	handoff->haproxy = NULL;
	spoa_metrics_add(handoff->environment->metrics, SPOA_HANDOFFS_ABANDONED, 1);
	switch (handoff->state) {
	case HANDOFF_HANDING:
	case HANDOFF_AWAY:
	case HANDOFF_RECALLING:
	case HANDOFF_RETURNING:
		if (steering_hold(handoff->environment->steering, &handoff->frozen) == 0 &&
		    handoff_send_recall(handoff, true) == 0) {
			handoff->state = HANDOFF_DISCARDING;
			handoff_set_timer(handoff, handoff->environment->config->direct.handoff_timeout, 0.);
			return;
		}
		break;
	case HANDOFF_WAITING:
		if (handoff->taken) {
			if (!handoff->node_gone)
				(void)handoff_send_recall(handoff, true);
			break;
		}
		/* HAProxy may go on with the connection: it is untouched. */
		if (!handoff->node_gone)
			(void)handoff_send_recall(handoff, false);
		end(handoff, "abandoned untouched");
		return;
	case HANDOFF_DISCARDING:
		return;
	default:
		break;
	}
	handoff_discarded(handoff);
}

/* --- messages that say that the node is done, or gone --- */

/* Copies what a node wrote for a log line. */
void handoff_copy_reason(char out[static HANDOFF_REASON_MAX], struct control_text text)
{
	size_t len = text.len < HANDOFF_REASON_MAX - 1 ? text.len : HANDOFF_REASON_MAX - 1;

	for (size_t i = 0; i < len; i++)
		out[i] = text.data[i] >= ' ' && text.data[i] <= '~' ? text.data[i] : '.';
	out[len] = '\0';
}

const char *handoff_gone(struct handoff *handoff, const struct control_gone *message)
{
	char reason[HANDOFF_REASON_MAX];

	handoff_copy_reason(reason, message->reason);
	switch (handoff->state) {
	case HANDOFF_OFFERED:
	case HANDOFF_WAITING:
		handoff_node_lost(handoff);
		return NULL;
	case HANDOFF_HANDING:
		/* The node stopped waiting while our Handoff was on its way: its refusal follows, or the timer ends
		 * this. */
		return NULL;
	case HANDOFF_AWAY:
	case HANDOFF_RECALLING:
	case HANDOFF_RETURNING:
		if (message->bytes > handoff->body.layout.ciphertext)
			return "GONE has more bytes than the body";
		handoff_tell_progress(handoff, message->bytes);
		if (message->cause == CONTROL_GONE_CLIENT)
			handoff_node_gave_client_up(handoff, reason);
		else
			handoff_take_over(handoff, reason);
		return NULL;
	case HANDOFF_DISCARDING:
		handoff_discarded(handoff);
		return NULL;
	default:
		return NULL;
	}
}

void handoff_resulted(struct handoff *handoff)
{
	/* Without Prepared it was no direct body. With it, PARKED may still be under way: headers wait for the
	 * client. */
	if (handoff->state == HANDOFF_OFFERED)
		handoff_node_lost(handoff);
}

void handoff_node_lost(struct handoff *handoff)
{
	switch (handoff->state) {
	case HANDOFF_OFFERED:
		handoff->node_gone = true;
		if (!handoff->body.prepared)
			end(handoff, "not handed off");
		else
			handoff_set_timer(handoff, HANDOFF_LINGER_S, 0.);
		return;
	case HANDOFF_WAITING:
		handoff->node_gone = true;
		handoff_try(handoff);
		return;
	case HANDOFF_HANDING:
	case HANDOFF_AWAY:
	case HANDOFF_RECALLING:
	case HANDOFF_RETURNING:
		handoff_take_over(handoff, "its control channel is closed");
		return;
	case HANDOFF_DISCARDING:
		handoff_discarded(handoff);
		return;
	case HANDOFF_TAKING_OVER:
	case HANDOFF_COMPLETING:
	case HANDOFF_ENDED:
		return;
	}
}

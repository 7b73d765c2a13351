/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "loan.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "loan_internal.h"
#include "log.h"

#define TAKE_AGAIN_S 0.02

static struct loan *loan_of(void *data)
{
	struct loan *loan = data;

	assert(loan && loan->magic == LOAN_MAGIC && loan->state != LOAN_ENDED);
	return loan;
}

const char *loan_state_text(enum loan_state state)
{
	static const char *const texts[] = {
		[LOAN_OFFERED] = "offered",         [LOAN_WAITING] = "waiting",
		[LOAN_HANDING] = "handing",         [LOAN_AWAY] = "away",
		[LOAN_RECALLING] = "recalling",     [LOAN_RETURNING] = "returning",
		[LOAN_TAKING_OVER] = "taking over", [LOAN_COMPLETING] = "completing",
		[LOAN_DISCARDING] = "discarding",   [LOAN_ENDED] = "ended",
	};

	return texts[state];
}

/* --- the end --- */

/* Forgets the connection, whatever became of it, and the loan. */
static void end(struct loan *loan, const char *how)
{
	struct loan_environment *environment = loan->environment;
	char digits[TICKET_TEXT_LEN + 1];

	ticket_format(digits, &loan->ticket);
	if (loan->fd >= 0) {
		log_debug("loan %.8s, route %s, node %s: %s with %" PRIu64 " of %" PRIu64 " bytes after %.3f s", digits,
			  loan->route->name, loan->node->name, how, loan->acknowledged, loan->body.layout.ciphertext,
			  ev_now(environment->loop) - loan->lent_at);
		(void)close(loan->fd);
		loan->fd = -1;
		spoa_metrics_add(environment->metrics, SPOA_LOANS, -1);
	}
	ev_timer_stop(environment->loop, &loan->timer);
	completion_free(loan->completion);
	loan->completion = NULL;
	loan->state = LOAN_ENDED;
	environment->ended(environment->context, loan);
}

static void tell_lender(struct loan *loan, enum lending_type type, enum lending_cause cause)
{
	struct lending_message message = {
		.type = type, .loan = loan->number, .bytes = loan->acknowledged, .cause = cause};

	if (loan->lender)
		lending_send(loan->lender, &message);
}

bool loan_take(struct loan *loan)
{
	const struct lending_message message = {.type = LENDING_TAKEN, .loan = loan->number};

	if (!loan->taken)
		loan->taken = lending_send_now(loan->lender, &message);
	if (!loan->taken)
		loan_set_timer(loan, TAKE_AGAIN_S, 0.);
	return loan->taken;
}

void loan_refuse(struct loan *loan)
{
	assert(loan->state == LOAN_WAITING && !loan->taken);
	/* If its channel is closed, it has done so by itself. */
	if (!loan->node_gone)
		(void)loan_send_recall(loan, false);
	tell_lender(loan, LENDING_REFUSED, 0);
	spoa_metrics_add(loan->environment->metrics, SPOA_LOANS_REFUSED, 1);
	end(loan, "refused");
}

void loan_return(struct loan *loan)
{
	double now = ev_now(loan->environment->loop);

	if (loan->answered && loan->state != LOAN_COMPLETING && loan->state != LOAN_TAKING_OVER &&
	    breaker_succeeded(&loan->environment->breakers[loan->route - loan->environment->config->policy.routes],
			      now)) {
		spoa_metrics_add(loan->environment->metrics, SPOA_BREAKERS_OPEN, -1);
		log_notice("route %s: the direct path works again", loan->route->name);
	}
	loan->acknowledged = loan->body.layout.ciphertext;
	tell_lender(loan, LENDING_RETURNED, 0);
	spoa_metrics_add(loan->environment->metrics, SPOA_LOANS_RETURNED, 1);
	end(loan, "returned");
}

/* Tells the client that its connection is gone, wherever that is. HAProxy's descriptor is unconnected afterwards. */
static void reset_client(struct loan *loan)
{
	struct tcp_fault fault = {.call = NULL};
	struct steering_seen seen;
	struct takeover_facts facts;
	int result = tcp_disconnect(loan->fd, &fault);

	if (!loan->live) {
		facts = loan_facts(loan, &seen);
		steering_drop(loan->environment->steering, &loan->frozen);
		result |= tcp_reset(&loan->frozen, takeover_sequence(&facts), &fault);
	}
	if (result < 0)
		log_debug("a client could not be reset: %s: %s", fault.call, strerror(fault.error));
}

static enum spoa_metric lost_metric(enum lending_cause cause)
{
	switch (cause) {
	case LENDING_CAUSE_CLIENT:
		return SPOA_LOANS_LOST_CLIENT;
	case LENDING_CAUSE_NODE:
		return SPOA_LOANS_LOST_NODE;
	case LENDING_CAUSE_AGENT:
		break;
	}
	return SPOA_LOANS_LOST_AGENT;
}

void loan_lose(struct loan *loan, enum lending_cause cause, const char *why)
{
	struct loan_environment *environment = loan->environment;
	char text[TCP_STATE_TEXT_MAX] = "a client's", note[LOG_LIMIT_NOTE_MAX] = "";
	enum log_level level = cause == LENDING_CAUSE_CLIENT ? LOG_LEVEL_DEBUG : LOG_LEVEL_WARNING;

	if (loan->frozen.family != 0)
		(void)tcp_state_format(&loan->frozen, text);
	if (level == LOG_LEVEL_DEBUG || log_limit_allow(&environment->losses, ev_now(environment->loop), note))
		log_write(level, "connection %s is lost by %s while %s: %s%s", text, lending_cause_text(cause),
			  loan_state_text(loan->state), why, note);
	if (loan->state == LOAN_COMPLETING)
		loan_tell_progress(loan, loan_rest_acknowledged(loan));
	reset_client(loan);
	tell_lender(loan, LENDING_LOST, cause);
	spoa_metrics_add(environment->metrics, lost_metric(cause), 1);
	end(loan, "lost");
}

void loan_give_up(struct loan *loan)
{
	if (loan->state == LOAN_OFFERED) {
		end(loan, "not lent");
		return;
	}
	if (loan->state >= LOAN_HANDING && loan->state <= LOAN_RETURNING)
		(void)loan_send_recall(loan, true);
	loan_lose(loan, LENDING_CAUSE_AGENT, "this agent ends");
}

void loan_discarded(struct loan *loan)
{
	reset_client(loan);
	end(loan, "abandoned");
}

/* --- what all states share --- */

double loan_clock(void)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

void loan_count_time(struct loan *loan, enum spoa_metric metric, double since)
{
	spoa_metrics_add(loan->environment->metrics, metric, (int64_t)((loan_clock() - since) * 1e6));
}

void loan_set_timer(struct loan *loan, double after, double repeat)
{
	ev_timer_stop(loan->environment->loop, &loan->timer);
	ev_timer_set(&loan->timer, after, repeat);
	ev_timer_start(loan->environment->loop, &loan->timer);
}

void loan_count_failure(struct loan *loan, const char *why)
{
	struct loan_environment *environment = loan->environment;
	const struct breaker_settings *settings = &environment->config->direct.breaker;
	struct breaker *breaker = &environment->breakers[loan->route - environment->config->policy.routes];
	char note[LOG_LIMIT_NOTE_MAX];
	bool was_tripped = breaker->tripped;

	spoa_metrics_add(environment->metrics, SPOA_HANDOFFS_FAILED, 1);
	if (log_limit_allow(&environment->failures, ev_now(environment->loop), note))
		log_warning("node %s: a handoff failed: %s%s", loan->node->name, why, note);
	if (!breaker_failed(breaker, settings, ev_now(environment->loop)))
		return;
	if (!was_tripped)
		spoa_metrics_add(environment->metrics, SPOA_BREAKERS_OPEN, 1);
	log_warning("route %s: %u handoffs failed in a row, its bodies take the splice path for %g s; the last: node "
		    "%s: %s",
		    loan->route->name, breaker->failures, settings->retry_after, loan->node->name, why);
}

void loan_tell_progress(struct loan *loan, uint64_t bytes)
{
	if (bytes <= loan->acknowledged)
		return;
	loan->acknowledged = bytes;
	/* Acknowledged records mean that all before them are. */
	free(loan->tail);
	loan->tail = NULL;
	loan->tail_len = 0;
	tell_lender(loan, LENDING_PROGRESS, 0);
}

static void on_timer(struct ev_loop *loop, ev_timer *timer, int events)
{
	struct loan *loan = loan_of(timer->data);

	(void)loop;
	(void)events;
	switch (loan->state) {
	case LOAN_OFFERED:
		end(loan, "not lent");
		return;
	case LOAN_WAITING:
		loan_try_handoff(loan);
		return;
	case LOAN_HANDING:
	case LOAN_AWAY:
	case LOAN_RETURNING:
		loan_node_is_late(loan);
		return;
	case LOAN_TAKING_OVER:
	case LOAN_COMPLETING:
		loan_rest_due(loan);
		return;
	case LOAN_DISCARDING:
		loan_discarded(loan);
		return;
	case LOAN_RECALLING:
	case LOAN_ENDED:
		return;
	}
}

/* --- life --- */

struct loan *loan_new(struct loan_environment *environment, const struct control_offer *offer,
		      const struct policy_route *route, struct node *node)
{
	struct loan *loan = calloc(1, sizeof(*loan));

	if (!loan)
		return NULL;
	if (lent_body_init(&loan->body, environment->leases, offer) < 0) {
		free(loan);
		return NULL;
	}
	loan->magic = LOAN_MAGIC;
	loan->environment = environment;
	loan->ticket = offer->ticket;
	loan->route = route;
	loan->node = node;
	loan->fd = -1;
	ev_init(&loan->timer, on_timer);
	loan->timer.data = loan;
	return loan;
}

void loan_free(struct loan *loan)
{
	assert(loan->magic == LOAN_MAGIC && loan->fd < 0);
	ev_timer_stop(loan->environment->loop, &loan->timer);
	lent_body_release(&loan->body);
	byte_queue_clear(&loan->input);
	free(loan->tail);
	free(loan->plan);
	loan->magic = 0;
	free(loan);
}

void loan_lend(struct loan *loan, struct lending_connection *lender, uint64_t number, uint64_t bytes, int fd)
{
	struct loan_environment *environment = loan->environment;
	double now = ev_now(environment->loop);

	assert(loan->state == LOAN_OFFERED);
	loan->lender = lender;
	loan->number = number;
	loan->announced = bytes;
	loan->fd = fd;
	loan->live = true;
	loan->state = LOAN_WAITING;
	loan->lent_at = now;
	loan->lent_clock = loan_clock();
	loan->deadline = now + environment->config->direct.handoff_timeout;
	spoa_metrics_add(environment->metrics, SPOA_LOANS, 1);
	spoa_metrics_add(environment->metrics, SPOA_LOANS_TOTAL, 1);
	loan_try_handoff(loan);
}

void loan_decline(struct loan *loan)
{
	assert(loan->state == LOAN_OFFERED);
	if (!loan->node_gone)
		(void)loan_send_recall(loan, false);
	end(loan, "declined");
}

void loan_abandon(struct loan *loan)
{
	assert(loan->state != LOAN_OFFERED && loan->state != LOAN_ENDED);
	loan->lender = NULL;
	spoa_metrics_add(loan->environment->metrics, SPOA_LOANS_ABANDONED, 1);
	switch (loan->state) {
	case LOAN_HANDING:
	case LOAN_AWAY:
	case LOAN_RECALLING:
	case LOAN_RETURNING:
		if (steering_hold(loan->environment->steering, &loan->frozen) == 0 &&
		    loan_send_recall(loan, true) == 0) {
			loan->state = LOAN_DISCARDING;
			loan_set_timer(loan, loan->environment->config->direct.handoff_timeout, 0.);
			return;
		}
		break;
	case LOAN_WAITING:
		if (loan->taken) {
			if (!loan->node_gone)
				(void)loan_send_recall(loan, true);
			break;
		}
		/* HAProxy may go on with it: the socket is as it was. */
		if (!loan->node_gone)
			(void)loan_send_recall(loan, false);
		end(loan, "abandoned untouched");
		return;
	case LOAN_DISCARDING:
		return;
	default:
		break;
	}
	loan_discarded(loan);
}

/* --- messages that say that the node is done, or gone --- */

/* Copies what a node wrote for a log line. */
void loan_copy_reason(char out[static LOAN_REASON_MAX], struct control_text text)
{
	size_t len = text.len < LOAN_REASON_MAX - 1 ? text.len : LOAN_REASON_MAX - 1;

	for (size_t i = 0; i < len; i++)
		out[i] = text.data[i] >= ' ' && text.data[i] <= '~' ? text.data[i] : '.';
	out[len] = '\0';
}

const char *loan_gone(struct loan *loan, const struct control_gone *message)
{
	char reason[LOAN_REASON_MAX];

	loan_copy_reason(reason, message->reason);
	switch (loan->state) {
	case LOAN_OFFERED:
	case LOAN_WAITING:
		loan_node_lost(loan);
		return NULL;
	case LOAN_HANDING:
		/* It gave up waiting while our HANDOFF was on its way: the refusal follows, or the timer ends this. */
		return NULL;
	case LOAN_AWAY:
	case LOAN_RECALLING:
	case LOAN_RETURNING:
		if (message->bytes > loan->body.layout.ciphertext)
			return "GONE has more bytes than the body";
		loan_tell_progress(loan, message->bytes);
		if (message->cause == CONTROL_GONE_CLIENT)
			loan_node_gave_client_up(loan, reason);
		else
			loan_take_over(loan, reason);
		return NULL;
	case LOAN_DISCARDING:
		loan_discarded(loan);
		return NULL;
	default:
		return NULL;
	}
}

void loan_resulted(struct loan *loan)
{
	/* Without Prepared it was no direct body. With it, LEND may still be under way: headers wait for the client. */
	if (loan->state == LOAN_OFFERED)
		loan_node_lost(loan);
}

void loan_node_lost(struct loan *loan)
{
	switch (loan->state) {
	case LOAN_OFFERED:
		loan->node_gone = true;
		if (!loan->body.prepared)
			end(loan, "not lent");
		else
			loan_set_timer(loan, LOAN_LINGER_S, 0.);
		return;
	case LOAN_WAITING:
		loan->node_gone = true;
		loan_try_handoff(loan);
		return;
	case LOAN_HANDING:
	case LOAN_AWAY:
	case LOAN_RECALLING:
	case LOAN_RETURNING:
		loan_take_over(loan, "its control channel is closed");
		return;
	case LOAN_DISCARDING:
		loan_discarded(loan);
		return;
	case LOAN_TAKING_OVER:
	case LOAN_COMPLETING:
	case LOAN_ENDED:
		return;
	}
}

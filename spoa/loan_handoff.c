/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A loan's connection goes to the node and comes back. The order of steps is what keeps every packet: the flow is held
 * before the socket is frozen, and the socket hears again before held packets are let through. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "direct_routes.h"
#include "loan_internal.h"
#include "log.h"

#define FLAG_RST 4 /* RFC 9293 3.1 */
#define POLL_MIN_S 0.001
#define POLL_MAX_S 0.02
#define LATE_FACTOR 2. /* times handoff-timeout: a client that acknowledged nothing by then is not reached */
#define NOT_ACKNOWLEDGED "nothing that it sends is acknowledged by the client"

/* --- messages to the node --- */

int loan_tell_node(struct loan *loan, const struct control_message *message)
{
	struct loan_environment *environment = loan->environment;
	size_t len;
	enum control_error error = control_encode(message, environment->frame, CONTROL_MESSAGE_MAX, &len);

	if (error == CONTROL_OK)
		return node_link_send(environment->links[loan->node->index], environment->frame, len);
	log_error("cannot encode %s: %s", control_type_text(message->type), control_error_text(error));
	return -1;
}

int loan_send_recall(struct loan *loan, bool discard)
{
	struct control_message message = {.type = CONTROL_RECALL};

	message.u.recall.ticket = loan->ticket;
	message.u.recall.discard = discard;
	return loan_tell_node(loan, &message);
}

static int send_handoff(struct loan *loan)
{
	struct control_message message = {.type = CONTROL_HANDOFF};

	message.u.handoff.ticket = loan->ticket;
	message.u.handoff.state = loan->frozen;
	message.u.handoff.send_queue = (struct control_bytes){loan->tail, loan->tail_len};
	/* Unread input stays here: it goes back to HAProxy before what the node reads. */
	return loan_tell_node(loan, &message);
}

/* --- putting it back --- */

int loan_put_back(struct loan *loan, const struct tcp_state *state, const struct tcp_queues *queues)
{
	struct tcp_fault fault = {.call = NULL};
	char why[LOAN_REASON_MAX];
	double begin = loan_clock();

	if (tcp_fast_forward_queues(loan->fd, state, queues, &fault) == 0 && tcp_resume(loan->fd, state, &fault) == 0) {
		loan->live = true;
		/* Held packets find a socket that hears, and what is unsent leaves when nothing keeps it back any more.
		 */
		steering_release(loan->environment->steering, &loan->frozen);
		byte_queue_clear(&loan->input);
		if ((queues->send_len == state->unsent || tcp_probe(loan->fd, &fault) == 0) &&
		    tcp_write_unsent(loan->fd, state, queues, &fault) == 0) {
			loan_count_time(loan, SPOA_FAST_FORWARD_US, begin);
			return 0;
		}
	}
	(void)snprintf(why, sizeof(why), "%s: %s", fault.call, strerror(fault.error));
	loan_count_failure(loan, why);
	loan_lose(loan, LENDING_CAUSE_AGENT, why);
	return -1;
}

/* Undoes the freeze: nothing has happened meanwhile. Returns 0; or -1, the loan being lost. */
static int put_back_frozen(struct loan *loan)
{
	struct tcp_queues queues = {.send = loan->tail,
				    .send_len = loan->tail_len,
				    .receive = byte_queue_head(&loan->input),
				    .receive_len = byte_queue_length(&loan->input)};

	return loan_put_back(loan, &loan->frozen, &queues);
}

/* --- handing off --- */

static void try_again(struct loan *loan)
{
	double now = ev_now(loan->environment->loop), delay = (now - loan->lent_at) / 4;

	if (now >= loan->deadline) {
		loan_complete(loan, LOAN_CAUSE_UNFIT, 0);
		return;
	}
	if (delay < POLL_MIN_S)
		delay = POLL_MIN_S;
	loan_set_timer(loan, delay < POLL_MAX_S ? delay : POLL_MAX_S, 0.);
}

/* The connection is frozen in environment->frozen. Returns 0, or -1 if memory is exhausted. */
static int keep_frozen(struct loan *loan)
{
	const struct tcp_frozen *frozen = loan->environment->frozen;

	loan->frozen = frozen->state;
	loan->frozen_at = loan_clock();
	loan->tail = malloc(frozen->send_len + 1);
	if (!loan->tail || !byte_queue_reserve(&loan->input, frozen->receive_len + 1))
		return -1;
	memcpy(loan->tail, frozen->send_queue, frozen->send_len);
	loan->tail_len = frozen->send_len;
	loan->late_at = loan->frozen.send_next - (uint32_t)frozen->send_len;
	byte_queue_append(&loan->input, frozen->receive_queue, frozen->receive_len);
	return 0;
}

/* Frozen and kept: sends the connection to the node. */
static void send_away(struct loan *loan)
{
	struct tcp_fault fault;
	char why[LOAN_REASON_MAX];

	if (tcp_dry(loan->fd, &loan->frozen, &fault) < 0) {
		(void)snprintf(why, sizeof(why), "%s: %s", fault.call, strerror(fault.error));
		loan_count_failure(loan, why);
		loan_lose(loan, LENDING_CAUSE_AGENT, why);
		return;
	}
	loan_count_time(loan, SPOA_FREEZE_US, loan->held_clock);
	if (send_handoff(loan) < 0) {
		if (put_back_frozen(loan) == 0)
			loan_complete(loan, LOAN_CAUSE_CHANNEL, 0);
		return;
	}
	spoa_metrics_add(loan->environment->metrics, SPOA_HANDOFFS, 1);
	loan->state = LOAN_HANDING;
	loan_set_timer(loan, loan->environment->config->direct.handoff_timeout, 0.);
}

/* The flow is held. */
static void freeze(struct loan *loan, const struct tcp_state *flow)
{
	struct tcp_fault fault;
	char why[LOAN_REASON_MAX];

	if (tcp_freeze(loan->fd, loan->environment->frozen, &fault) < 0) {
		steering_release(loan->environment->steering, flow);
		if (fault.error == E2BIG) {
			try_again(loan);
		} else if (fault.error == ENOTCONN) {
			loan_lose(loan, LENDING_CAUSE_CLIENT, "the connection is gone");
		} else {
			log_warning("a connection cannot be frozen: %s: %s", fault.call, strerror(fault.error));
			loan_complete(loan, LOAN_CAUSE_UNFIT, 0);
		}
		return;
	}
	loan->live = false;
	if (keep_frozen(loan) == 0) {
		send_away(loan);
		return;
	}
	(void)snprintf(why, sizeof(why), "out of memory");
	loan_lose(loan, LENDING_CAUSE_AGENT, why);
}

/* Where packets of <flow> are sent to the node; NULL if they cannot be. */
static const struct steering_route *route_of(const struct loan *loan, const struct tcp_state *flow)
{
	struct loan_environment *environment = loan->environment;
	struct node_route *route = &environment->routes[loan->node->index][flow->family == 6];

	return direct_route_usable(route, ev_now(environment->loop)) ? &route->route : NULL;
}

/* The node is there and HAProxy expects what was prepared: looks whether the connection is fit. */
static void hand_off_if_fit(struct loan *loan)
{
	struct tcp_state flow;
	struct tcp_fault fault;
	size_t tail;

	fault.error = 0;
	if (tcp_read_flow(loan->fd, &flow, &fault) < 0 || tcp_unacknowledged(loan->fd, &tail) < 0) {
		if (fault.error == EBUSY)
			loan_lose(loan, LENDING_CAUSE_AGENT, "HAProxy has lent it twice");
		else if (fault.error == EINVAL)
			loan_complete(loan, LOAN_CAUSE_UNFIT, 0);
		else
			loan_lose(loan, LENDING_CAUSE_CLIENT, "the connection is gone");
		return;
	}
	if (flow.flags & TCP_STATE_PEER_CLOSED) {
		loan_complete(loan, LOAN_CAUSE_UNFIT, 0);
		return;
	}
	if (tail > TCP_SEND_TAIL_MAX) {
		try_again(loan);
		return;
	}
	if (!route_of(loan, &flow)) {
		loan_complete(loan, LOAN_CAUSE_STEERING, 0);
		return;
	}
	if (!loan_take(loan))
		return;
	loan->held_clock = loan_clock();
	if (steering_hold(loan->environment->steering, &flow) < 0)
		loan_complete(loan, LOAN_CAUSE_STEERING, 0);
	else
		freeze(loan, &flow);
}

/* Whether some other node of the pool could make the rest of the body. */
static bool has_replica(const struct loan *loan)
{
	const struct node_pool *pool = &loan->environment->config->pools[loan->route->pool];

	for (size_t i = 0; i < pool->count; i++) {
		const struct node *node = pool->members[i];

		if (node != loan->node && node->fetch.len > 0 &&
		    node_link_readiness(loan->environment->links[node->index]) == NODE_LINK_READY)
			return true;
	}
	return false;
}

/* Whether the node is down, or drains and somebody else is there. One that drains still takes what it has prepared for.
 */
static bool is_leaving(const struct loan *loan)
{
	switch (node_link_readiness(loan->environment->links[loan->node->index])) {
	case NODE_LINK_READY:
		return false;
	case NODE_LINK_DRAINING:
		return has_replica(loan);
	case NODE_LINK_DOWN:
		break;
	}
	return true;
}

void loan_try_handoff(struct loan *loan)
{
	struct loan_environment *environment = loan->environment;
	double now = ev_now(environment->loop);

	if (!loan->body.prepared) {
		if (loan->node_gone || now >= loan->deadline)
			loan_refuse(loan);
		else
			loan_set_timer(loan, loan->deadline - now, 0.);
		return;
	}
	if (loan->body.layout.ciphertext != loan->announced)
		loan_lose(loan, LENDING_CAUSE_NODE, "the node told HAProxy of another length than this agent");
	else if (environment->draining)
		loan_complete(loan, LOAN_CAUSE_DRAIN, 0);
	else if (loan->recalled)
		loan_complete(loan, LOAN_CAUSE_RECALLED, 0);
	else if (loan->node_gone || is_leaving(loan))
		loan_complete(loan, LOAN_CAUSE_CHANNEL, 0);
	else
		hand_off_if_fit(loan);
}

const char *loan_prepared(struct loan *loan, const struct control_prepared *message)
{
	const char *fault;

	if (loan->state != LOAN_OFFERED && loan->state != LOAN_WAITING)
		return NULL;
	fault = lent_body_prepare(&loan->body, message);
	if (!fault && loan->state == LOAN_WAITING)
		loan_try_handoff(loan);
	return fault;
}

const char *loan_handoff_replied(struct loan *loan, const struct control_handoff_reply *message)
{
	struct loan_environment *environment = loan->environment;
	const struct steering_route *route;
	char reason[LOAN_REASON_MAX];

	if (loan->state == LOAN_OFFERED || loan->state == LOAN_WAITING || loan->state == LOAN_AWAY ||
	    loan->state == LOAN_RECALLING || loan->state == LOAN_RETURNING)
		return "it sent HANDOFF_REPLY that nobody waits for";
	if (loan->state != LOAN_HANDING)
		return NULL;
	if (message->reason.len > 0) {
		loan_copy_reason(reason, message->reason);
		loan_count_failure(loan, reason);
		if (put_back_frozen(loan) == 0)
			loan_complete(loan, LOAN_CAUSE_REFUSED, 0);
		return NULL;
	}
	loan->answered = true;
	loan->state = LOAN_AWAY;
	loan_count_time(loan, SPOA_HANDOFF_US, loan->lent_clock);
	loan_set_timer(loan, LATE_FACTOR * environment->config->direct.handoff_timeout, 0.);
	route = route_of(loan, &loan->frozen);
	if (!route || steering_redirect(environment->steering, &loan->frozen, route) < 0) {
		(void)loan_send_recall(loan, true);
		loan_take_over(loan, "its packets cannot be sent on any more");
	} else if (environment->draining || loan->recalled) {
		loan_recall(loan);
	}
	return NULL;
}

/* --- while it is away --- */

const char *loan_progressed(struct loan *loan, const struct control_progress *message)
{
	if (loan->state < LOAN_AWAY)
		return "it sent PROGRESS of a connection that it does not have";
	if (loan->state > LOAN_RETURNING)
		return NULL;
	if (message->bytes > loan->body.layout.ciphertext)
		return "PROGRESS has more bytes than the body";
	loan_tell_progress(loan, message->bytes);
	return NULL;
}

const char *loan_client_sent(struct loan *loan, const struct control_client_data *message)
{
	size_t kept = byte_queue_length(&loan->input);

	if (loan->state < LOAN_AWAY)
		return "it sent CLIENT_DATA of a connection that it does not have";
	if (loan->state > LOAN_RETURNING)
		return NULL;
	if (message->offset != loan->received)
		return "CLIENT_DATA does not continue what came before";
	if (kept + message->data.len > LOAN_INPUT_LIMIT || !byte_queue_reserve(&loan->input, message->data.len)) {
		(void)loan_send_recall(loan, true);
		loan_lose(loan, LENDING_CAUSE_AGENT, "the client sends too much");
		return NULL;
	}
	byte_queue_append(&loan->input, message->data.data, message->data.len);
	loan->received += message->data.len;
	/* Here HAProxy does not read either, and so the client's window closes. */
	if (kept + message->data.len > LOAN_INPUT_MAX)
		loan_recall(loan);
	return NULL;
}

/* Whether the client is alive, but has no reason yet to acknowledge what the node sends: its window is shut, or it
 * still gets what was sent before the handoff. */
static bool is_slow(struct loan *loan)
{
	struct steering_seen seen;
	bool advances;

	if (steering_seen(loan->environment->steering, &loan->frozen, &seen) < 0 || !seen.any)
		return false;
	advances = seen.acknowledged != loan->late_at && seen.age < loan->environment->config->direct.handoff_timeout;
	loan->late_at = seen.acknowledged;
	return seen.window == 0 || (advances && (int32_t)(seen.acknowledged - loan->frozen.send_next) < 0);
}

/* Whether the client was not reached by anything of the body, and has not reset the connection: the node's way to it
 * may be blocked. A client whose window is shut answers probes. */
static bool is_unreached(struct loan *loan)
{
	struct steering_seen seen;

	if (loan->acknowledged > 0 || steering_seen(loan->environment->steering, &loan->frozen, &seen) < 0 ||
	    (seen.tcp_flags & FLAG_RST))
		return false;
	return !seen.any || (seen.window > 0 && (int32_t)(seen.acknowledged - loan->frozen.send_next) <= 0);
}

void loan_node_gave_client_up(struct loan *loan, const char *why)
{
	if (loan->state == LOAN_RETURNING || !is_unreached(loan)) {
		loan_lose(loan, LENDING_CAUSE_CLIENT, why);
		return;
	}
	loan_count_failure(loan, NOT_ACKNOWLEDGED);
	loan_take_over(loan, why);
}

void loan_node_is_late(struct loan *loan)
{
	if (loan->state == LOAN_AWAY) {
		if (loan->acknowledged > 0)
			return;
		if (is_slow(loan)) {
			loan_set_timer(loan, LATE_FACTOR * loan->environment->config->direct.handoff_timeout, 0.);
			return;
		}
		loan_count_failure(loan, NOT_ACKNOWLEDGED);
	} else if (loan->state == LOAN_HANDING) {
		loan_count_failure(loan, "it did not answer in time");
	}
	/* It may have sent something, so this is no return to what was frozen. */
	(void)loan_send_recall(loan, true);
	loan_take_over(loan, "it is late");
}

/* --- coming back --- */

/* Holds the flow, so that nothing is lost while the connection is nowhere. Returns 0; or -1, the loan having been dealt
 * with. */
static int hold(struct loan *loan)
{
	if (steering_hold(loan->environment->steering, &loan->frozen) == 0)
		return 0;
	(void)loan_send_recall(loan, true);
	loan_take_over(loan, "its packets cannot be held");
	return -1;
}

const char *loan_drained(struct loan *loan)
{
	if (loan->state == LOAN_RETURNING || loan->state < LOAN_AWAY)
		return "it sent DRAINED of a connection that it does not have";
	if (loan->state > LOAN_RETURNING || hold(loan) < 0)
		return NULL;
	/* It freezes the connection now that nothing of the client's can be lost. */
	if (loan_send_recall(loan, false) < 0) {
		loan_take_over(loan, "its control channel takes no more");
		return NULL;
	}
	loan->state = LOAN_RETURNING;
	loan_set_timer(loan, loan->environment->config->direct.handoff_timeout, 0.);
	return NULL;
}

void loan_recall(struct loan *loan)
{
	if (loan->state == LOAN_WAITING) {
		loan_try_handoff(loan);
		return;
	}
	/* The rest of a body that only this node can make is not ours to write. */
	if (loan->state != LOAN_AWAY || !lent_body_can_continue(&loan->body))
		return;
	/* Not held yet: the node waits for acknowledgements until its tail is short, and says Drained then. */
	if (loan_send_recall(loan, false) < 0) {
		loan_take_over(loan, "its control channel takes no more");
		return;
	}
	spoa_metrics_add(loan->environment->metrics, SPOA_LOANS_RECALLED, 1);
	loan->state = LOAN_RECALLING;
	ev_timer_stop(loan->environment->loop, &loan->timer);
}

void loan_recall_for_lender(struct loan *loan)
{
	if (loan->state == LOAN_OFFERED) {
		loan_decline(loan);
		return;
	}
	loan->recalled = true;
	loan_recall(loan);
}

void loan_node_drains(struct loan *loan)
{
	if (has_replica(loan))
		loan_recall(loan);
}

static bool same_connection(const struct tcp_state *a, const struct tcp_state *b)
{
	/* A connection that is restored goes on without ECN: there is no way to give it back. */
	const unsigned changing = TCP_STATE_PEER_CLOSED | TCP_STATE_ECN;

	return a->family == b->family && memcmp(&a->local, &b->local, sizeof(a->local)) == 0 &&
	       memcmp(&a->remote, &b->remote, sizeof(a->remote)) == 0 && a->send_scale == b->send_scale &&
	       a->receive_scale == b->receive_scale && ((a->flags ^ b->flags) & ~changing) == 0;
}

/* Returns NULL, or what is wrong with a connection that the node gives back. */
static const char *check_handback(const struct loan *loan, const struct control_handback *message)
{
	const struct tcp_state *state = &message->state, *frozen = &loan->frozen;
	uint32_t begin = state->receive_next - (uint32_t)message->receive_queue.len;
	uint32_t expected = frozen->receive_next + (uint32_t)loan->received;
	bool closed = (state->flags & TCP_STATE_PEER_CLOSED) != 0;

	if (!same_connection(state, frozen))
		return "HANDBACK has another connection";
	if (message->bytes < loan->acknowledged || message->bytes > loan->body.layout.ciphertext ||
	    state->send_next != frozen->send_next + (uint32_t)message->bytes)
		return "HANDBACK does not end where its records do";
	/* A FIN takes a sequence number. */
	if (begin != expected && !(closed && begin == expected + 1))
		return "HANDBACK does not continue what the client sent";
	return NULL;
}

const char *loan_handed_back(struct loan *loan, const struct control_handback *message)
{
	struct tcp_state state = message->state;
	struct tcp_queues queues = {.send = message->send_queue.data, .send_len = message->send_queue.len};
	const char *fault;

	if (loan->state < LOAN_RECALLING)
		return "it sent HANDBACK that nobody asked for";
	if (loan->state == LOAN_DISCARDING) {
		loan_discarded(loan);
		return NULL;
	}
	if (loan->state != LOAN_RECALLING && loan->state != LOAN_RETURNING)
		return NULL;
	fault = check_handback(loan, message);
	if (fault || (loan->state == LOAN_RECALLING && hold(loan) < 0))
		return fault;
	if (!byte_queue_reserve(&loan->input, message->receive_queue.len + 1)) {
		loan_lose(loan, LENDING_CAUSE_AGENT, "out of memory");
		return NULL;
	}
	byte_queue_append(&loan->input, message->receive_queue.data, message->receive_queue.len);
	queues.receive = byte_queue_head(&loan->input);
	queues.receive_len = byte_queue_length(&loan->input);
	state.mss = loan->frozen.mss;
	if (loan_put_back(loan, &state, &queues) < 0)
		return NULL;
	if (message->bytes == loan->body.layout.ciphertext)
		loan_return(loan);
	else
		loan_complete(loan, LOAN_CAUSE_RECALLED, message->bytes);
	return NULL;
}

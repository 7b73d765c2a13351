/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Moves a handoff's connection to the node and back. The order of steps is what keeps every packet: the flow is
 * held before the socket is frozen, and the socket hears again before held packets are let through. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "handoff_internal.h"
#include "log.h"
#include "node_reach.h"

#define FLAG_RST 4 /* RFC 9293 3.1 */
#define POLL_MIN_S 0.001
#define POLL_MAX_S 0.02
#define LATE_FACTOR 2. /* times handoff-timeout: a client that acknowledged nothing by then is not reached */
#define NOT_ACKNOWLEDGED "nothing that it sends is acknowledged by the client"

/* --- messages to the node --- */

int handoff_tell_node(struct handoff *handoff, const struct control_message *message)
{
	struct handoff_environment *environment = handoff->environment;
	size_t len;
	enum control_error error = control_encode(message, environment->frame, CONTROL_MESSAGE_MAX, &len);

	if (error == CONTROL_OK)
		return node_link_send(environment->links[handoff->node->index], environment->frame, len);
	log_error("cannot encode %s: %s", control_type_text(message->type), control_error_text(error));
	return -1;
}

int handoff_send_recall(struct handoff *handoff, bool discard)
{
	struct control_message message = {.type = CONTROL_RECALL};

	message.u.recall.ticket = handoff->ticket;
	message.u.recall.discard = discard;
	return handoff_tell_node(handoff, &message);
}

static int send_handoff(struct handoff *handoff)
{
	struct control_message message = {.type = CONTROL_HANDOFF};

	message.u.handoff.ticket = handoff->ticket;
	message.u.handoff.state = handoff->frozen;
	message.u.handoff.send_queue = (struct control_bytes){handoff->tail, handoff->tail_len};
	/* Unread input stays here: it goes back to HAProxy before what the node reads. */
	return handoff_tell_node(handoff, &message);
}

/* --- putting it back --- */

int handoff_put_back(struct handoff *handoff, const struct tcp_state *state, const struct tcp_queues *queues)
{
	struct tcp_fault fault = {.call = NULL};
	char why[HANDOFF_REASON_MAX];
	double begin = handoff_clock();

	if (tcp_fast_forward_queues(handoff->fd, state, queues, &fault) == 0 &&
	    tcp_resume(handoff->fd, state, &fault) == 0) {
		handoff->live = true;
		/* Held packets find a socket that hears, and what is unsent leaves when nothing keeps it back any
		 * more. */
		steering_release(handoff->environment->steering, &handoff->frozen);
		byte_queue_clear(&handoff->input);
		if ((queues->send_len == state->unsent || tcp_probe(handoff->fd, &fault) == 0) &&
		    tcp_write_unsent(handoff->fd, state, queues, &fault) == 0) {
			handoff_count_time(handoff, SPOA_FAST_FORWARD_US, begin);
			return 0;
		}
	}
	(void)snprintf(why, sizeof(why), "%s: %s", fault.call, strerror(fault.error));
	handoff_count_failure(handoff, why);
	handoff_lose(handoff, HANDOFF_LOSS_AGENT, why);
	return -1;
}

/* Undoes the freeze: nothing has happened meanwhile. Returns 0; or -1, the handoff being lost. */
static int put_back_frozen(struct handoff *handoff)
{
	struct tcp_queues queues = {.send = handoff->tail,
				    .send_len = handoff->tail_len,
				    .receive = byte_queue_head(&handoff->input),
				    .receive_len = byte_queue_length(&handoff->input)};

	return handoff_put_back(handoff, &handoff->frozen, &queues);
}

/* --- handing off --- */

static void try_again(struct handoff *handoff)
{
	double now = ev_now(handoff->environment->loop), delay = (now - handoff->parked_at) / 4;

	if (now >= handoff->deadline) {
		handoff_complete(handoff, COMPLETION_CAUSE_UNFIT, 0);
		return;
	}
	if (delay < POLL_MIN_S)
		delay = POLL_MIN_S;
	handoff_set_timer(handoff, delay < POLL_MAX_S ? delay : POLL_MAX_S, 0.);
}

/* The connection is frozen in environment->frozen. Returns 0, or -1 if memory is exhausted. */
static int keep_frozen(struct handoff *handoff)
{
	const struct tcp_frozen *frozen = handoff->environment->frozen;

	handoff->frozen = frozen->state;
	handoff->frozen_at = handoff_clock();
	handoff->tail = malloc(frozen->send_len + 1);
	if (!handoff->tail || !byte_queue_reserve(&handoff->input, frozen->receive_len + 1))
		return -1;
	memcpy(handoff->tail, frozen->send_queue, frozen->send_len);
	handoff->tail_len = frozen->send_len;
	handoff->late_at = handoff->frozen.send_next - (uint32_t)frozen->send_len;
	byte_queue_append(&handoff->input, frozen->receive_queue, frozen->receive_len);
	return 0;
}

/* Frozen and kept: sends the connection to the node. */
static void send_away(struct handoff *handoff)
{
	struct tcp_fault fault;
	char why[HANDOFF_REASON_MAX];

	if (tcp_dry(handoff->fd, &handoff->frozen, &fault) < 0) {
		(void)snprintf(why, sizeof(why), "%s: %s", fault.call, strerror(fault.error));
		handoff_count_failure(handoff, why);
		handoff_lose(handoff, HANDOFF_LOSS_AGENT, why);
		return;
	}
	handoff_count_time(handoff, SPOA_FREEZE_US, handoff->held_clock);
	if (send_handoff(handoff) < 0) {
		if (put_back_frozen(handoff) == 0)
			handoff_complete(handoff, COMPLETION_CAUSE_CHANNEL, 0);
		return;
	}
	spoa_metrics_add(handoff->environment->metrics, SPOA_CLONES, 1);
	handoff->state = HANDOFF_HANDING;
	handoff_set_timer(handoff, handoff->environment->config->direct.handoff_timeout, 0.);
}

/* The flow is held. */
static void freeze(struct handoff *handoff, const struct tcp_state *flow)
{
	struct tcp_fault fault;
	char why[HANDOFF_REASON_MAX];

	if (tcp_freeze(handoff->fd, handoff->environment->frozen, &fault) < 0) {
		steering_release(handoff->environment->steering, flow);
		if (fault.error == E2BIG) {
			try_again(handoff);
		} else if (fault.error == ENOTCONN) {
			handoff_lose(handoff, HANDOFF_LOSS_CLIENT, "the connection is gone");
		} else {
			log_warning("a connection cannot be frozen: %s: %s", fault.call, strerror(fault.error));
			handoff_complete(handoff, COMPLETION_CAUSE_UNFIT, 0);
		}
		return;
	}
	handoff->live = false;
	if (keep_frozen(handoff) == 0) {
		send_away(handoff);
		return;
	}
	(void)snprintf(why, sizeof(why), "out of memory");
	handoff_lose(handoff, HANDOFF_LOSS_AGENT, why);
}

/* The route by which packets of <flow> are sent to the node, or NULL if there is none. */
static const struct steering_route *route_of(const struct handoff *handoff, const struct tcp_state *flow)
{
	struct handoff_environment *environment = handoff->environment;
	struct node_route *route = &environment->routes[handoff->node->index][flow->family == 6];

	return node_route_usable(route, ev_now(environment->loop)) ? &route->route : NULL;
}

/* The node is up, and HAProxy expects what it has prepared: hands the connection off if that is fit. */
static void hand_off_if_fit(struct handoff *handoff)
{
	struct tcp_state flow;
	struct tcp_fault fault;
	size_t tail;

	fault.error = 0;
	if (tcp_read_flow(handoff->fd, &flow, &fault) < 0 || tcp_unacknowledged(handoff->fd, &tail) < 0) {
		if (fault.error == EBUSY)
			handoff_lose(handoff, HANDOFF_LOSS_AGENT, "HAProxy has parked it twice");
		else if (fault.error == EINVAL)
			handoff_complete(handoff, COMPLETION_CAUSE_UNFIT, 0);
		else
			handoff_lose(handoff, HANDOFF_LOSS_CLIENT, "the connection is gone");
		return;
	}
	if (flow.flags & TCP_STATE_PEER_CLOSED) {
		handoff_complete(handoff, COMPLETION_CAUSE_UNFIT, 0);
		return;
	}
	if (tail > TCP_SEND_TAIL_MAX) {
		try_again(handoff);
		return;
	}
	if (!route_of(handoff, &flow)) {
		handoff_complete(handoff, COMPLETION_CAUSE_STEERING, 0);
		return;
	}
	if (!handoff_take(handoff))
		return;
	handoff->held_clock = handoff_clock();
	if (steering_hold(handoff->environment->steering, &flow) < 0)
		handoff_complete(handoff, COMPLETION_CAUSE_STEERING, 0);
	else
		freeze(handoff, &flow);
}

/* Whether some other node of the pool could make the continuation. */
static bool has_replica(const struct handoff *handoff)
{
	const struct node_pool *pool = &handoff->environment->config->pools[handoff->route->pool];

	for (size_t i = 0; i < pool->count; i++) {
		const struct node *node = pool->members[i];

		if (node != handoff->node && node->fetch.len &&
		    node_link_readiness(handoff->environment->links[node->index]) == NODE_LINK_READY)
			return true;
	}
	return false;
}

/* Whether the node is down, or drains while a replica is there. A node that drains still takes connections for which it
 * has prepared. */
static bool is_leaving(const struct handoff *handoff)
{
	switch (node_link_readiness(handoff->environment->links[handoff->node->index])) {
	case NODE_LINK_READY:
		return false;
	case NODE_LINK_DRAINING:
		return has_replica(handoff);
	case NODE_LINK_DOWN:
		break;
	}
	return true;
}

void handoff_try(struct handoff *handoff)
{
	struct handoff_environment *environment = handoff->environment;
	double now = ev_now(environment->loop);

	if (!handoff->body.prepared) {
		if (handoff->node_gone || now >= handoff->deadline)
			handoff_refuse(handoff);
		else
			handoff_set_timer(handoff, handoff->deadline - now, 0.);
		return;
	}
	if (handoff->body.layout.ciphertext != handoff->announced)
		handoff_lose(handoff, HANDOFF_LOSS_NODE, "the node told HAProxy of another length than this agent");
	else if (environment->draining)
		handoff_complete(handoff, COMPLETION_CAUSE_DRAIN, 0);
	else if (handoff->recalled)
		handoff_complete(handoff, COMPLETION_CAUSE_RECALLED, 0);
	else if (handoff->node_gone || is_leaving(handoff))
		handoff_complete(handoff, COMPLETION_CAUSE_CHANNEL, 0);
	else if (!node_link_is_fresh(environment->links[handoff->node->index]))
		try_again(handoff); /* what it has sent meanwhile may say that it waits no more */
	else
		hand_off_if_fit(handoff);
}

const char *handoff_prepared(struct handoff *handoff, const struct control_prepared *message)
{
	const char *fault;

	if (handoff->state != HANDOFF_OFFERED && handoff->state != HANDOFF_WAITING)
		return NULL;
	fault = handoff_body_prepare(&handoff->body, message);
	if (!fault && handoff->state == HANDOFF_WAITING)
		handoff_try(handoff);
	return fault;
}

const char *handoff_replied(struct handoff *handoff, const struct control_handoff_reply *message)
{
	struct handoff_environment *environment = handoff->environment;
	const struct steering_route *route;
	char reason[HANDOFF_REASON_MAX];

	if (handoff->state == HANDOFF_OFFERED || handoff->state == HANDOFF_WAITING || handoff->state == HANDOFF_AWAY ||
	    handoff->state == HANDOFF_RECALLING || handoff->state == HANDOFF_RETURNING)
		return "it sent HANDOFF_REPLY that nobody waits for";
	if (handoff->state != HANDOFF_HANDING)
		return NULL;
	if (message->reason.len) {
		handoff_copy_reason(reason, message->reason);
		handoff_count_failure(handoff, reason);
		if (put_back_frozen(handoff) == 0)
			handoff_complete(handoff, COMPLETION_CAUSE_REFUSED, 0);
		return NULL;
	}
	handoff->answered = true;
	handoff->state = HANDOFF_AWAY;
	handoff_count_time(handoff, SPOA_CLONE_US, handoff->parked_clock);
	handoff_set_timer(handoff, LATE_FACTOR * environment->config->direct.handoff_timeout, 0.);
	route = route_of(handoff, &handoff->frozen);
	if (!route || steering_redirect(environment->steering, &handoff->frozen, route) < 0) {
		(void)handoff_send_recall(handoff, true);
		handoff_take_over(handoff, "its packets cannot be sent on any more");
	} else if (environment->draining || handoff->recalled) {
		handoff_recall(handoff);
	}
	return NULL;
}

/* --- while it is away --- */

const char *handoff_progressed(struct handoff *handoff, const struct control_progress *message)
{
	if (handoff->state < HANDOFF_AWAY)
		return "it sent PROGRESS of a connection that it does not have";
	if (handoff->state > HANDOFF_RETURNING)
		return NULL;
	if (message->bytes > handoff->body.layout.ciphertext)
		return "PROGRESS has more bytes than the body";
	handoff_tell_progress(handoff, message->bytes);
	return NULL;
}

const char *handoff_client_sent(struct handoff *handoff, const struct control_client_data *message)
{
	size_t kept = byte_queue_length(&handoff->input);

	if (handoff->state < HANDOFF_AWAY)
		return "it sent CLIENT_DATA of a connection that it does not have";
	if (handoff->state > HANDOFF_RETURNING)
		return NULL;
	if (message->offset != handoff->received)
		return "CLIENT_DATA does not continue what came before";
	if (kept + message->data.len > HANDOFF_INPUT_LIMIT || !byte_queue_reserve(&handoff->input, message->data.len)) {
		(void)handoff_send_recall(handoff, true);
		handoff_lose(handoff, HANDOFF_LOSS_AGENT, "the client sends too much");
		return NULL;
	}
	byte_queue_append(&handoff->input, message->data.data, message->data.len);
	handoff->received += message->data.len;
	/* Once it is back nobody reads before the body's end, and so the client's window closes. */
	if (kept + message->data.len > HANDOFF_INPUT_MAX)
		handoff_recall(handoff);
	return NULL;
}

/* Whether the client is alive, but has no reason yet to acknowledge what the node sends: its window is shut, or it
 * still gets what was sent before the handoff. */
static bool is_slow(struct handoff *handoff)
{
	struct steering_seen seen;
	bool advances;

	if (steering_seen(handoff->environment->steering, &handoff->frozen, &seen) < 0 || !seen.any)
		return false;
	advances = seen.acknowledged != handoff->late_at &&
		   seen.age < handoff->environment->config->direct.handoff_timeout;
	handoff->late_at = seen.acknowledged;
	return seen.window == 0 || (advances && (int32_t)(seen.acknowledged - handoff->frozen.send_next) < 0);
}

/* Whether the client was not reached by anything of the body, and has not reset the connection: the node's way to it
 * may be blocked. A client whose window is shut answers probes. */
static bool is_unreached(struct handoff *handoff)
{
	struct steering_seen seen;

	if (handoff->acknowledged || steering_seen(handoff->environment->steering, &handoff->frozen, &seen) < 0 ||
	    (seen.tcp_flags & FLAG_RST))
		return false;
	return !seen.any || (seen.window > 0 && (int32_t)(seen.acknowledged - handoff->frozen.send_next) <= 0);
}

void handoff_node_gave_client_up(struct handoff *handoff, const char *why)
{
	if (handoff->state == HANDOFF_RETURNING || !is_unreached(handoff)) {
		handoff_lose(handoff, HANDOFF_LOSS_CLIENT, why);
		return;
	}
	handoff_count_failure(handoff, NOT_ACKNOWLEDGED);
	handoff_take_over(handoff, why);
}

void handoff_node_is_late(struct handoff *handoff)
{
	if (handoff->state == HANDOFF_AWAY) {
		if (handoff->acknowledged)
			return;
		if (is_slow(handoff)) {
			handoff_set_timer(handoff, LATE_FACTOR * handoff->environment->config->direct.handoff_timeout,
					  0.);
			return;
		}
		handoff_count_failure(handoff, NOT_ACKNOWLEDGED);
	} else if (handoff->state == HANDOFF_HANDING) {
		handoff_count_failure(handoff, "it did not answer in time");
	}
	/* The node may have sent something, so the frozen state is no longer that of the connection. */
	(void)handoff_send_recall(handoff, true);
	handoff_take_over(handoff, "it is late");
}

/* --- coming back --- */

/* Holds the flow, so that nothing is lost while the connection is nowhere. Returns 0; or -1, the handoff having been
 * dealt with. */
static int hold(struct handoff *handoff)
{
	if (steering_hold(handoff->environment->steering, &handoff->frozen) == 0)
		return 0;
	(void)handoff_send_recall(handoff, true);
	handoff_take_over(handoff, "its packets cannot be held");
	return -1;
}

const char *handoff_drained(struct handoff *handoff)
{
	if (handoff->state == HANDOFF_RETURNING || handoff->state < HANDOFF_AWAY)
		return "it sent DRAINED of a connection that it does not have";
	if (handoff->state > HANDOFF_RETURNING || hold(handoff) < 0)
		return NULL;
	/* The flow is held, so the node can freeze the connection without losing a packet of the client. */
	if (handoff_send_recall(handoff, false) < 0) {
		handoff_take_over(handoff, "its control channel takes no more");
		return NULL;
	}
	handoff->state = HANDOFF_RETURNING;
	handoff_set_timer(handoff, handoff->environment->config->direct.handoff_timeout, 0.);
	return NULL;
}

void handoff_recall(struct handoff *handoff)
{
	if (handoff->state == HANDOFF_WAITING) {
		handoff_try(handoff);
		return;
	}
	/* If only this node can make the body, it must finish it. */
	if (handoff->state != HANDOFF_AWAY || !handoff_body_can_continue(&handoff->body))
		return;
	/* Packets are not held yet: the node waits for acknowledgements until its tail is short, and sends Drained
	 * then. */
	if (handoff_send_recall(handoff, false) < 0) {
		handoff_take_over(handoff, "its control channel takes no more");
		return;
	}
	spoa_metrics_add(handoff->environment->metrics, SPOA_HANDOFFS_RECALLED, 1);
	handoff->state = HANDOFF_RECALLING;
	ev_timer_stop(handoff->environment->loop, &handoff->timer);
}

void handoff_recall_for_haproxy(struct handoff *handoff)
{
	if (handoff->state == HANDOFF_OFFERED) {
		handoff_decline(handoff);
		return;
	}
	handoff->recalled = true;
	handoff_recall(handoff);
}

void handoff_node_drains(struct handoff *handoff)
{
	if (has_replica(handoff))
		handoff_recall(handoff);
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
static const char *check_handback(const struct handoff *handoff, const struct control_handback *message)
{
	const struct tcp_state *state = &message->state, *frozen = &handoff->frozen;
	uint32_t begin = state->receive_next - (uint32_t)message->receive_queue.len;
	uint32_t expected = frozen->receive_next + (uint32_t)handoff->received;
	bool closed = (state->flags & TCP_STATE_PEER_CLOSED) != 0;

	if (!same_connection(state, frozen))
		return "HANDBACK has another connection";
	if (message->bytes < handoff->acknowledged || message->bytes > handoff->body.layout.ciphertext ||
	    state->send_next != frozen->send_next + (uint32_t)message->bytes)
		return "HANDBACK does not end where its records do";
	/* A FIN takes a sequence number. */
	if (begin != expected && !(closed && begin == expected + 1))
		return "HANDBACK does not continue what the client sent";
	return NULL;
}

const char *handoff_handed_back(struct handoff *handoff, const struct control_handback *message)
{
	struct tcp_state state = message->state;
	struct tcp_queues queues = {.send = message->send_queue.data, .send_len = message->send_queue.len};
	const char *fault;

	if (handoff->state < HANDOFF_RECALLING)
		return "it sent HANDBACK that nobody asked for";
	if (handoff->state == HANDOFF_DISCARDING) {
		handoff_discarded(handoff);
		return NULL;
	}
	if (handoff->state != HANDOFF_RECALLING && handoff->state != HANDOFF_RETURNING)
		return NULL;
	fault = check_handback(handoff, message);
	if (fault || (handoff->state == HANDOFF_RECALLING && hold(handoff) < 0))
		return fault;
	if (!byte_queue_reserve(&handoff->input, message->receive_queue.len + 1)) {
		handoff_lose(handoff, HANDOFF_LOSS_AGENT, "out of memory");
		return NULL;
	}
	byte_queue_append(&handoff->input, message->receive_queue.data, message->receive_queue.len);
	queues.receive = byte_queue_head(&handoff->input);
	queues.receive_len = byte_queue_length(&handoff->input);
	state.mss = handoff->frozen.mss;
	if (handoff_put_back(handoff, &state, &queues) < 0)
		return NULL;
	if (message->bytes == handoff->body.layout.ciphertext)
		handoff_return(handoff);
	else
		handoff_complete(handoff, COMPLETION_CAUSE_RECALLED, message->bytes);
	return NULL;
}

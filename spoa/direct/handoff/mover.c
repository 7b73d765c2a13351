/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "mover.h"

#include <assert.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#include "log.h"

#define FLAG_RST 4         /* RFC 9293 3.1 */
#define ARM_MAX (1u << 30) /* bytes that the client has not acknowledged yet */

double mover_clock(void)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static enum handoff_outcome failed(char why[static MOVER_WHY_MAX], const struct tcp_fault *fault)
{
	(void)snprintf(why, MOVER_WHY_MAX, "%s: %s", fault->call, strerror(fault->error));
	return OUTCOME_FAILED;
}

/* --- nodes --- */

node_set mover_ready_nodes(const struct handoff *handoff, bool fresh)
{
	const struct node_pool *pool = &handoff->config->pools[handoff->route->pool];
	node_set ready = 0;

	for (size_t i = 0; i < pool->count; i++) {
		const struct node_link *link = handoff->table->links[pool->members[i]->index];

		/* One without weight is chosen for nothing. */
		if (pool->members[i]->weight && pool->members[i]->fetch.len &&
		    node_link_readiness(link) == NODE_LINK_READY && (!fresh || node_link_is_fresh(link)))
			ready |= node_bit(pool->members[i]);
	}
	return ready;
}

static int tell_node(struct handoff_table *table, size_t node, const struct ticket *ticket,
		     const struct control_message *message)
{
	size_t len;
	enum control_error error = control_encode(message, table->frame, CONTROL_MESSAGE_MAX, &len);

	if (error == CONTROL_OK)
		return node_link_send(table->links[node], ticket, table->frame, len);
	log_error("cannot encode %s: %s", control_type_text(message->type), control_error_text(error));
	return -1;
}

int mover_tell_node(struct handoff *handoff, const struct control_message *message)
{
	late_release_flush(&handoff->table->releases, handoff->node->index);
	return tell_node(handoff->table, handoff->node->index, &handoff->ticket, message);
}

int mover_send_recall(struct handoff *handoff, bool discard)
{
	const struct control_message message = {.type = CONTROL_RECALL,
						.u.recall = {.ticket = handoff->ticket, .discard = discard}};

	return mover_tell_node(handoff, &message);
}

void mover_send_release(void *context, size_t node, const struct ticket *ticket)
{
	const struct control_message message = {.type = CONTROL_RELEASE, .u.release = {.ticket = *ticket}};

	(void)tell_node(context, node, ticket, &message);
}

static int send_handoff(struct handoff *handoff)
{
	/* Unread input stays here: it goes back to HAProxy before what the node reads. */
	const struct control_message message = {.type = CONTROL_HANDOFF,
						.u.handoff = {.ticket = handoff->ticket,
							      .state = handoff->frozen,
							      .send_queue = {handoff->tail, handoff->tail_len},
							      .bytes = handoff->body.layout.ciphertext}};

	return mover_tell_node(handoff, &message);
}

/* Whether the node is down, or drains while a replica is there. A node that drains still takes connections for which it
 * has prepared. */
static bool is_leaving(const struct handoff *handoff)
{
	switch (node_link_readiness(handoff->table->links[handoff->node->index])) {
	case NODE_LINK_READY:
		return false;
	case NODE_LINK_DRAINING:
		return mover_ready_nodes(handoff, false) != 0;
	case NODE_LINK_DOWN:
		break;
	}
	return true;
}

/* The route by which packets of <flow> are sent to the node, or NULL if there is none. */
static const struct steering_route *route_of(const struct handoff *handoff, const struct tcp_state *flow)
{
	struct node_route *route = &handoff->table->routes[handoff->node->index][flow->family == 6];

	return node_route_usable(route, ev_now(handoff->table->loop)) ? &route->route : NULL;
}

/* --- handing off --- */

static enum handoff_outcome not_now(const struct handoff *handoff)
{
	return ev_now(handoff->table->loop) < handoff->deadline ? OUTCOME_NOT_YET : OUTCOME_TOO_LATE;
}

enum handoff_outcome mover_look(struct handoff *handoff)
{
	struct tcp_fault fault = {.error = 0};
	struct tcp_state flow;
	size_t tail;

	if (is_leaving(handoff))
		return OUTCOME_LEAVING;
	/* What the node has sent meanwhile may say that it waits no more. */
	if (!node_link_is_fresh(handoff->table->links[handoff->node->index]))
		return not_now(handoff);
	if (tcp_read_flow(handoff->fd, &flow, &fault) < 0 || tcp_unacknowledged(handoff->fd, &tail) < 0) {
		if (fault.error == EBUSY)
			return OUTCOME_PARKED_TWICE;
		return fault.error == EINVAL ? OUTCOME_UNFIT : OUTCOME_NO_CLIENT;
	}
	if (flow.flags & TCP_STATE_PEER_CLOSED)
		return OUTCOME_UNFIT;
	if (tail > TCP_SEND_TAIL_MAX)
		return not_now(handoff);
	if (!route_of(handoff, &flow))
		return OUTCOME_NO_ROUTE;
	handoff->frozen = flow;
	return OUTCOME_OK;
}

/* The connection is frozen in table->frozen. Returns 0, or -1 if memory is exhausted. */
static int keep_frozen(struct handoff *handoff)
{
	const struct tcp_frozen *frozen = handoff->table->frozen;

	handoff->live = false;
	handoff->frozen = frozen->state;
	handoff->frozen_at = mover_clock();
	handoff->tail = malloc(frozen->send_len + 1);
	if (!handoff->tail || !byte_queue_reserve(&handoff->input, frozen->receive_len + 1))
		return -1;
	memcpy(handoff->tail, frozen->send_queue, frozen->send_len);
	handoff->tail_len = frozen->send_len;
	handoff->late_at = handoff->frozen.send_next - (uint32_t)frozen->send_len;
	byte_queue_append(&handoff->input, frozen->receive_queue, frozen->receive_len);
	return 0;
}

/* Whether the last record is so near that sequence numbers, which wrap, tell before it from behind it. */
static bool is_end_near(const struct handoff *handoff)
{
	return handoff->body.layout.ciphertext - handoff->acknowledged < ARM_MAX;
}

/* The node gets the client's packets before it knows of the connection. */
static int send_on(struct handoff *handoff)
{
	const struct steering_goal goal = {.begin = handoff->frozen.send_next,
					   .end = handoff->frozen.send_next + (uint32_t)handoff->body.layout.ciphertext,
					   .armed = is_end_near(handoff),
					   .owner = handoff};
	const struct steering_route *route = route_of(handoff, &handoff->frozen);

	return route ? steering_redirect(handoff->table->steering, &handoff->frozen, route, &goal) : -1;
}

void mover_arm(struct handoff *handoff)
{
	if (is_end_near(handoff))
		steering_arm(handoff->table->steering, &handoff->frozen);
}

enum handoff_outcome mover_hand(struct handoff *handoff, char why[static MOVER_WHY_MAX])
{
	struct handoff_table *table = handoff->table;
	struct tcp_fault fault;

	handoff->held_clock = mover_clock();
	if (steering_hold(table->steering, &handoff->frozen) < 0)
		return OUTCOME_NOT_HELD;
	if (tcp_freeze_flow(handoff->fd, &handoff->frozen, table->frozen, &fault) < 0) {
		steering_release(table->steering, &handoff->frozen);
		if (fault.error == E2BIG)
			return not_now(handoff);
		if (fault.error == ENOTCONN)
			return OUTCOME_NO_CLIENT;
		log_warning("a connection cannot be frozen: %s: %s", fault.call, strerror(fault.error));
		return OUTCOME_UNFIT;
	}
	if (keep_frozen(handoff) < 0)
		return OUTCOME_NO_MEMORY;
	if (tcp_disconnect(handoff->fd, &fault) < 0)
		return failed(why, &fault);
	spoa_metrics_observe_since(table->metrics, SPOA_FREEZE_TIME, handoff->held_clock);
	if (send_on(handoff) < 0)
		return OUTCOME_NO_ROUTE;
	if (send_handoff(handoff) < 0)
		return OUTCOME_NOT_SENT;
	spoa_metrics_observe_since(table->metrics, SPOA_HANDOFF_TIME, handoff->parked_clock);
	spoa_metrics_add(table->metrics, SPOA_CLONES, 1);
	return OUTCOME_OK;
}

enum handoff_outcome mover_redirect(struct handoff *handoff)
{
	const struct steering_route *route = route_of(handoff, &handoff->frozen);

	if (!route || steering_redirect(handoff->table->steering, &handoff->frozen, route, NULL) < 0)
		return OUTCOME_FAILED;
	return OUTCOME_OK;
}

/* --- putting it back --- */

/* Seats <state> and <queues> on the mute socket, lets packets through to it and unmutes it. */
static enum handoff_outcome put_back(struct handoff *handoff, const struct tcp_state *state,
				     const struct tcp_queues *queues, char why[static MOVER_WHY_MAX])
{
	struct tcp_fault fault = {.call = NULL};
	double begin = mover_clock();

	if (tcp_fast_forward_queues(handoff->fd, state, queues, &fault) < 0 ||
	    tcp_resume(handoff->fd, state, &fault) < 0)
		return failed(why, &fault);
	handoff->live = true;
	/* Held packets find a socket that hears, and what is unsent leaves when nothing keeps it back any more. */
	steering_release(handoff->table->steering, &handoff->frozen);
	byte_queue_clear(&handoff->input);
	if ((queues->send_len != state->unsent && tcp_probe(handoff->fd, &fault) < 0) ||
	    tcp_write_unsent(handoff->fd, state, queues, &fault) < 0)
		return failed(why, &fault);
	spoa_metrics_observe_since(handoff->table->metrics, SPOA_HANDBACK_TIME, begin);
	return OUTCOME_OK;
}

enum handoff_outcome mover_undo(struct handoff *handoff, char why[static MOVER_WHY_MAX])
{
	const struct tcp_queues queues = {.send = handoff->tail,
					  .send_len = handoff->tail_len,
					  .receive = byte_queue_head(&handoff->input),
					  .receive_len = byte_queue_length(&handoff->input)};

	if (mover_hold(handoff) != OUTCOME_OK)
		return failed(why, &(const struct tcp_fault){"its packets", errno});
	return put_back(handoff, &handoff->frozen, &queues, why);
}

enum handoff_outcome mover_hold(struct handoff *handoff)
{
	return steering_hold(handoff->table->steering, &handoff->frozen) < 0 ? OUTCOME_NOT_HELD : OUTCOME_OK;
}

static bool same_connection(const struct tcp_state *a, const struct tcp_state *b)
{
	/* A connection that is restored goes on without ECN: there is no way to give it back. */
	const unsigned changing = TCP_STATE_PEER_CLOSED | TCP_STATE_ECN;

	return a->family == b->family && memcmp(&a->local, &b->local, sizeof(a->local)) == 0 &&
	       memcmp(&a->remote, &b->remote, sizeof(a->remote)) == 0 && a->send_scale == b->send_scale &&
	       a->receive_scale == b->receive_scale && ((a->flags ^ b->flags) & ~changing) == 0;
}

const char *mover_check_handback(const struct handoff *handoff, const struct control_handback *handback)
{
	const struct tcp_state *state = &handback->state, *frozen = &handoff->frozen;
	uint32_t begin = state->receive_next - (uint32_t)handback->receive_queue.len;
	uint32_t expected = frozen->receive_next + (uint32_t)handoff->received;
	bool closed = (state->flags & TCP_STATE_PEER_CLOSED) != 0;

	if (!same_connection(state, frozen))
		return "HANDBACK has another connection";
	if (handback->bytes < handoff->acknowledged || handback->bytes > handoff->body.layout.ciphertext ||
	    state->send_next != frozen->send_next + (uint32_t)handback->bytes)
		return "HANDBACK does not end where its records do";
	/* A FIN takes a sequence number. */
	if (begin != expected && !(closed && begin == expected + 1))
		return "HANDBACK does not continue what the client sent";
	return NULL;
}

enum handoff_outcome mover_restore(struct handoff *handoff, const struct control_handback *handback,
				   char why[static MOVER_WHY_MAX])
{
	struct tcp_state state = handback->state;
	struct tcp_queues queues = {.send = handback->send_queue.data, .send_len = handback->send_queue.len};

	if (!byte_queue_reserve(&handoff->input, handback->receive_queue.len + 1))
		return OUTCOME_NO_MEMORY;
	byte_queue_append(&handoff->input, handback->receive_queue.data, handback->receive_queue.len);
	queues.receive = byte_queue_head(&handoff->input);
	queues.receive_len = byte_queue_length(&handoff->input);
	state.mss = handoff->frozen.mss;
	return put_back(handoff, &state, &queues, why);
}

/* --- what the client was seen to say --- */

static struct steering_seen see(const struct handoff *handoff)
{
	struct steering_seen seen;

	if (steering_seen(handoff->table->steering, &handoff->frozen, &seen) < 0)
		seen = (struct steering_seen){.any = false};
	return seen;
}

/* Slow: the client has no reason yet to acknowledge what the node sends. Its window is shut, or it still gets what was
 * sent before the handoff. */
enum handoff_outcome mover_judge_late(struct handoff *handoff)
{
	struct steering_seen seen;
	bool advances;

	if (handoff->acknowledged)
		return OUTCOME_REACHED;
	seen = see(handoff);
	if (!seen.any)
		return OUTCOME_UNREACHED;
	advances = seen.acknowledged != handoff->late_at && seen.age < handoff->table->config->direct.handoff_timeout;
	handoff->late_at = seen.acknowledged;
	if (seen.window == 0 || (advances && (int32_t)(seen.acknowledged - handoff->frozen.send_next) < 0))
		return OUTCOME_SLOW;
	return OUTCOME_UNREACHED;
}

/* A client that nothing of the body has reached, and that has not reset the connection: the node's way to it may be
 * blocked. A client whose window is shut answers probes. */
enum handoff_outcome mover_judge_gone(struct handoff *handoff)
{
	struct steering_seen seen;

	if (handoff->acknowledged || steering_seen(handoff->table->steering, &handoff->frozen, &seen) < 0 ||
	    (seen.tcp_flags & FLAG_RST))
		return OUTCOME_REACHED;
	if (seen.any && (seen.window == 0 || (int32_t)(seen.acknowledged - handoff->frozen.send_next) > 0))
		return OUTCOME_REACHED;
	return OUTCOME_UNREACHED;
}

/* --- what is made of it --- */

static struct takeover_facts facts_of(const struct handoff *handoff, const struct steering_seen *seen)
{
	return (struct takeover_facts){
		.frozen = &handoff->frozen,
		.tail_len = handoff->tail_len,
		.ciphertext = handoff->body.layout.ciphertext,
		.acknowledged = handoff->acknowledged,
		.received = handoff->received,
		.seen = seen,
		.elapsed = mover_clock() - handoff->frozen_at,
	};
}

/* Whether all that the client sent is in handoff->input, or held, so that the node has nothing of it alone. */
static bool is_all_here(const struct handoff *handoff, const struct steering_seen *seen)
{
	if (seen->forwarded_hidden)
		return false;
	return !seen->forwarded || seen->forwarded_end == handoff->plan.state.receive_next;
}

/* Moves what is held of the client's next bytes to handoff->input: the socket has it at once then, which costs less than a
 * packet that comes in. Returns whether the client should hear that it was received: of whole records an answer says so,
 * the rest of one may be waited for. */
static bool collect_held(struct handoff *handoff)
{
	uint32_t begin = handoff->frozen.receive_next + (uint32_t)handoff->received, next = begin;
	size_t before = byte_queue_length(&handoff->input), length, record;
	const uint8_t *bytes;

	if ((handoff->plan.state.flags & TCP_STATE_PEER_CLOSED) || before >= TCP_RECEIVE_TAIL_MAX)
		return false;
	steering_collect(handoff->table->steering, &handoff->frozen, &next, &handoff->input,
			 TCP_RECEIVE_TAIL_MAX - before);
	handoff->received += next - begin;
	if (next == begin)
		return false;
	length = byte_queue_length(&handoff->input);
	bytes = byte_queue_head(&handoff->input);
	/* RFC 8446 5.1: 5 bytes, of which the last two tell how many follow. */
	for (record = 0; record + 5 <= length; record += 5u + (size_t)(bytes[record + 3] << 8 | bytes[record + 4]))
		continue;
	return record != length;
}

enum handoff_outcome mover_return(struct handoff *handoff, char why[static MOVER_WHY_MAX])
{
	struct steering_seen seen = see(handoff);
	struct takeover_facts facts = facts_of(handoff, &seen);
	struct tcp_queues queues = {.send_len = 0};
	enum handoff_outcome outcome;
	struct tcp_fault fault;
	bool waits;

	if (!takeover_plan(&handoff->plan, &facts))
		return OUTCOME_NO_CLIENT;
	/* The flow was forgotten meanwhile, or what was seen of it: as if nothing had been seen. */
	if (handoff->plan.from != handoff->body.layout.ciphertext || !is_all_here(handoff, &seen))
		return OUTCOME_NOT_YET;
	waits = collect_held(handoff);
	facts = facts_of(handoff, &seen);
	(void)takeover_plan(&handoff->plan, &facts);
	queues.receive = byte_queue_head(&handoff->input);
	queues.receive_len = byte_queue_length(&handoff->input);
	outcome = put_back(handoff, &handoff->plan.state, &queues, why);
	if (outcome == OUTCOME_OK && waits && tcp_probe(handoff->fd, &fault) < 0)
		log_debug("a client could not be told what was received: %s: %s", fault.call, strerror(fault.error));
	return outcome;
}

enum handoff_outcome mover_plan(struct handoff *handoff, uint64_t *from)
{
	struct steering_seen seen;
	struct takeover_facts facts;

	if (mover_hold(handoff) != OUTCOME_OK)
		return OUTCOME_NOT_HELD;
	seen = see(handoff);
	facts = facts_of(handoff, &seen);
	if (!takeover_plan(&handoff->plan, &facts))
		return OUTCOME_FAILED;
	*from = handoff->plan.from;
	return OUTCOME_OK;
}

/* What is restored as under way need never have left the node, so that its absence says nothing of the network; BBR is
 * the algorithm that does not slow down for what is lost (RFC 5681's halve, from 10 segments on). Where the kernel has
 * none the connection keeps its own. */
static void expect_losses(int fd)
{
	static const char algorithm[] = "bbr";

	if (setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, algorithm, sizeof(algorithm) - 1) < 0)
		log_debug("a connection that is taken over cannot have %s: %s", algorithm, strerror(errno));
}

enum handoff_outcome mover_seat(struct handoff *handoff, const uint8_t *bytes, size_t len)
{
	struct takeover_plan *plan = &handoff->plan, now;
	struct tcp_queues queues = {.send_len = plan->tail + len,
				    .receive = byte_queue_head(&handoff->input),
				    .receive_len = byte_queue_length(&handoff->input)};
	struct tcp_fault fault = {.call = "malloc()", .error = ENOMEM};
	struct steering_seen seen = see(handoff);
	struct takeover_facts facts = facts_of(handoff, &seen);
	uint8_t *queue = malloc(queues.send_len + 1);
	bool is_seated = false;

	assert(len == plan->flight);
	/* Time has passed, and the client may have said something since; what is in the queue stays as planned. */
	if (queue && takeover_plan(&now, &facts)) {
		plan->state.timestamp = now.state.timestamp;
		if (plan->tail)
			memcpy(queue, handoff->tail + handoff->tail_len - plan->tail, plan->tail);
		if (len)
			memcpy(queue + plan->tail, bytes, len);
		queues.send = queue;
		if (queues.send_len)
			expect_losses(handoff->fd);
		is_seated = tcp_fast_forward_queues(handoff->fd, &plan->state, &queues, &fault) == 0 &&
			    tcp_resume(handoff->fd, &plan->state, &fault) == 0;
	}
	free(queue);
	if (!is_seated) {
		log_warning("a connection cannot be taken over: %s: %s", fault.call, strerror(fault.error));
		return OUTCOME_FAILED;
	}
	handoff->live = true;
	steering_release(handoff->table->steering, &handoff->frozen);
	byte_queue_clear(&handoff->input);
	if (queues.send_len && tcp_probe(handoff->fd, &fault) < 0)
		log_debug("a client could not be asked for an acknowledgement: %s: %s", fault.call,
			  strerror(fault.error));
	return OUTCOME_OK;
}

uint64_t mover_acknowledged(const struct handoff *handoff)
{
	uint64_t position = handoff->continuation ? continuation_position(handoff->continuation) : 0;
	size_t outstanding;

	if (tcp_unacknowledged(handoff->fd, &outstanding) < 0 || outstanding > position)
		return 0;
	return position - outstanding;
}

/* HAProxy's descriptor is unconnected afterwards. */
void mover_reset(struct handoff *handoff)
{
	struct tcp_fault fault = {.call = NULL};
	int result = tcp_disconnect(handoff->fd, &fault);

	if (!handoff->live) {
		struct steering_seen seen = see(handoff);
		struct takeover_facts facts = facts_of(handoff, &seen);

		steering_drop(handoff->table->steering, &handoff->frozen);
		result |= tcp_reset(&handoff->frozen, takeover_sequence(&facts), &fault);
	}
	if (result < 0)
		log_debug("a client could not be reset: %s: %s", fault.call, strerror(fault.error));
}

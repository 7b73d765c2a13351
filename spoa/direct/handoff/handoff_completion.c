/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Handoffs whose continuation this agent writes: the connection did not leave, came back early, or has to be taken from
 * a node that is gone. */
#include <assert.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "handoff_internal.h"
#include "log.h"
#include "tcp_freeze.h"

#define PROGRESS_S 0.25
#define ONLY_ONCE "its body is an HTTP origin's, which is never sealed a second time"
#define COLLECTED_MAX (256u << 20) /* bytes that all takeovers together may collect at a time */
#define TURN_S 0.05                /* until a takeover that found no room asks again */

struct takeover_facts handoff_facts(const struct handoff *handoff, struct steering_seen *seen)
{
	if (steering_seen(handoff->environment->steering, &handoff->frozen, seen) < 0)
		*seen = (struct steering_seen){.any = false};
	return (struct takeover_facts){
		.frozen = &handoff->frozen,
		.tail_len = handoff->tail_len,
		.ciphertext = handoff->body.layout.ciphertext,
		.acknowledged = handoff->acknowledged,
		.received = handoff->received,
		.seen = seen,
		.elapsed = handoff_clock() - handoff->frozen_at,
	};
}

uint64_t handoff_completion_acknowledged(const struct handoff *handoff)
{
	uint64_t position = handoff->completion ? completion_position(handoff->completion) : 0;
	size_t outstanding;

	if (tcp_unacknowledged(handoff->fd, &outstanding) < 0 || outstanding > position)
		return 0;
	return position - outstanding;
}

/* --- writing the continuation --- */

/* What is restored as under way need never have left the node, so that its absence says nothing of the network; BBR is
 * the algorithm that does not slow down for what is lost (RFC 5681's halve, from 10 segments on). Where the kernel has
 * none the connection keeps its own. */
static void expect_losses(int fd)
{
	static const char algorithm[] = "bbr";

	if (setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, algorithm, sizeof(algorithm) - 1) < 0)
		log_debug("a connection that is taken over cannot have %s: %s", algorithm, strerror(errno));
}

/* All bytes that may be on their way were made anew: the connection goes on here. Returns its descriptor, or -1. */
static int seat(struct handoff *handoff, const uint8_t *bytes, size_t len)
{
	struct takeover_plan *plan = handoff->plan;
	struct tcp_queues queues = {.send_len = plan->tail + len,
				    .receive = byte_queue_head(&handoff->input),
				    .receive_len = byte_queue_length(&handoff->input)};
	struct tcp_fault fault = {.call = "malloc()", .error = ENOMEM};
	struct steering_seen seen;
	struct takeover_facts facts = handoff_facts(handoff, &seen);
	struct takeover_plan now;
	uint8_t *queue = malloc(queues.send_len + 1);
	int result = -1;

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
		if (tcp_fast_forward_queues(handoff->fd, &plan->state, &queues, &fault) == 0 &&
		    tcp_resume(handoff->fd, &plan->state, &fault) == 0)
			result = handoff->fd;
	}
	free(queue);
	if (result < 0) {
		log_warning("a connection cannot be taken over: %s: %s", fault.call, strerror(fault.error));
		return -1;
	}
	handoff->live = true;
	steering_release(handoff->environment->steering, &handoff->frozen);
	byte_queue_clear(&handoff->input);
	if (queues.send_len && tcp_probe(handoff->fd, &fault) < 0)
		log_debug("a client could not be asked for an acknowledgement: %s: %s", fault.call,
			  strerror(fault.error));
	handoff->state = HANDOFF_COMPLETING;
	handoff_set_timer(handoff, PROGRESS_S, PROGRESS_S);
	return result;
}

static int on_collected(void *context, const uint8_t *bytes, size_t len)
{
	return seat(context, bytes, len);
}

static void on_ended(void *context, enum completion_end end, const char *fault)
{
	struct handoff *handoff = context;

	switch (end) {
	case COMPLETION_DONE:
		handoff_return(handoff);
		return;
	case COMPLETION_CLIENT:
		handoff_lose(handoff, handoff->live ? HANDOFF_LOSS_CLIENT : HANDOFF_LOSS_AGENT, fault);
		return;
	case COMPLETION_NODE:
		handoff_lose(handoff, HANDOFF_LOSS_NODE, fault);
		return;
	}
}

static const struct completion_handlers completion_handlers = {on_collected, on_ended};

static void start(struct handoff *handoff, uint64_t from, size_t apart)
{
	struct handoff_environment *environment = handoff->environment;
	const struct completion_job job = {.body = &handoff->body,
					   .pool = &environment->config->pools[handoff->route->pool],
					   .last = handoff->node,
					   .from = from,
					   .apart = apart,
					   .fd = handoff->fd};

	handoff->completion = completion_start(environment, &job, &completion_handlers, handoff);
	if (!handoff->completion)
		handoff_lose(handoff, HANDOFF_LOSS_AGENT, "out of memory or descriptors");
}

/* Whether a node of the pool, the handoff's own among them, could make the continuation. */
static bool anyone_is_ready(const struct handoff *handoff)
{
	const struct node_pool *pool = &handoff->environment->config->pools[handoff->route->pool];

	for (size_t i = 0; i < pool->count; i++) {
		const struct node_link *link = handoff->environment->links[pool->members[i]->index];

		if (node_link_readiness(link) == NODE_LINK_READY && node_link_is_fresh(link))
			return true;
	}
	return false;
}

/* <cause> asks for a continuation of a body that must not be sealed again: loses the connection. */
static void lose_only_once(struct handoff *handoff, enum completion_cause cause)
{
	static const char *const words[] = {
#define COMPLETION_CAUSE_WORD(name, word) [COMPLETION_CAUSE_##name] = word,
		COMPLETION_CAUSE_TABLE(COMPLETION_CAUSE_WORD)
#undef COMPLETION_CAUSE_WORD
	};
	bool by_node = cause == COMPLETION_CAUSE_CHANNEL || cause == COMPLETION_CAUSE_REFUSED ||
		       cause == COMPLETION_CAUSE_RECALLED;
	char why[HANDOFF_REASON_MAX];

	(void)snprintf(why, sizeof(why), "%s; %s", words[cause], ONLY_ONCE);
	handoff_lose(handoff, by_node ? HANDOFF_LOSS_NODE : HANDOFF_LOSS_AGENT, why);
}

void handoff_complete(struct handoff *handoff, enum completion_cause cause, uint64_t from)
{
	bool can_continue = handoff_body_can_continue(&handoff->body);

	assert(handoff->live && !handoff->completion);
	if (handoff->state == HANDOFF_WAITING && !handoff->taken && (!can_continue || !anyone_is_ready(handoff))) {
		handoff_refuse(handoff);
		return;
	}
	if (handoff->state == HANDOFF_WAITING && !handoff_take(handoff))
		return;
	if (handoff->state == HANDOFF_WAITING && !handoff->node_gone)
		(void)handoff_send_recall(handoff, true);
	if (!can_continue) {
		lose_only_once(handoff, cause);
		return;
	}
	spoa_metrics_count_completion(handoff->environment->metrics, cause);
	handoff->state = HANDOFF_COMPLETING;
	handoff_set_timer(handoff, PROGRESS_S, PROGRESS_S);
	start(handoff, from, 0);
}

/* --- takeover --- */

/* Begins when there is room for what has to be collected. */
static void begin_takeover(struct handoff *handoff)
{
	struct handoff_environment *environment = handoff->environment;
	const struct takeover_plan *plan = handoff->plan;

	if (plan->flight && environment->collected && environment->collected + plan->flight > COLLECTED_MAX) {
		handoff_set_timer(handoff, TURN_S, 0.);
		return;
	}
	ev_timer_stop(environment->loop, &handoff->timer);
	if (plan->flight) {
		start(handoff, plan->from, plan->flight);
		return;
	}
	/* Nothing can be on its way: the client's window is shut, or all of the records have arrived. */
	if (seat(handoff, NULL, 0) < 0)
		handoff_lose(handoff, HANDOFF_LOSS_AGENT, "the connection could not be restored");
	else if (plan->from == handoff->body.layout.ciphertext)
		handoff_return(handoff);
	else
		start(handoff, plan->from, 0);
}

/* Plans how the connection goes on after what is known of it. Returns NULL, or why it cannot go on and, in <*cause>,
 * whose fault that is. */
static const char *plan_takeover(struct handoff *handoff, enum handoff_loss *cause)
{
	struct steering_seen seen;
	struct takeover_facts facts = handoff_facts(handoff, &seen);

	*cause = HANDOFF_LOSS_AGENT;
	handoff->plan = malloc(sizeof(*handoff->plan));
	if (!handoff->plan)
		return "out of memory";
	*cause = HANDOFF_LOSS_CLIENT;
	if (!takeover_plan(handoff->plan, &facts))
		return "it acknowledges what was never sent";
	*cause = HANDOFF_LOSS_NODE;
	if (handoff->plan->from < handoff->body.layout.ciphertext && !handoff_body_can_continue(&handoff->body))
		return ONLY_ONCE;
	return NULL;
}

void handoff_take_over(struct handoff *handoff, const char *why)
{
	struct handoff_environment *environment = handoff->environment;
	char note[LOG_LIMIT_NOTE_MAX], fault[HANDOFF_REASON_MAX * 2];
	enum handoff_loss cause;
	const char *impossible;

	if (steering_hold(environment->steering, &handoff->frozen) < 0) {
		handoff_lose(handoff, HANDOFF_LOSS_AGENT, "its packets cannot be held");
		return;
	}
	impossible = plan_takeover(handoff, &cause);
	if (impossible) {
		(void)snprintf(fault, sizeof(fault), "%s; %s", why, impossible);
		handoff_lose(handoff, cause, fault);
		return;
	}
	if (log_limit_allow(&environment->takeovers, ev_now(environment->loop), note))
		log_warning("node %s: a client's connection is taken over: %s%s", handoff->node->name, why, note);
	spoa_metrics_count_completion(environment->metrics, COMPLETION_CAUSE_TAKEOVER);
	handoff->state = HANDOFF_TAKING_OVER;
	begin_takeover(handoff);
}

void handoff_completion_due(struct handoff *handoff)
{
	if (handoff->state == HANDOFF_TAKING_OVER)
		begin_takeover(handoff);
	else
		handoff_tell_progress(handoff, handoff_completion_acknowledged(handoff));
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A loan whose rest is written here: because the connection did not leave, came back early, or has to be taken from a
 * node that is gone. */
#include <assert.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "loan_internal.h"
#include "log.h"
#include "tcp_handoff.h"

#define PROGRESS_S 0.25
#define ONLY_ONCE "its body is an HTTP origin's, which is never sealed a second time"
#define COLLECTED_MAX (256u << 20) /* bytes that all takeovers together may collect at a time */
#define TURN_S 0.05                /* until a takeover that found no room asks again */

struct takeover_facts loan_facts(const struct loan *loan, struct steering_seen *seen)
{
	if (steering_seen(loan->environment->steering, &loan->frozen, seen) < 0)
		*seen = (struct steering_seen){.any = false};
	return (struct takeover_facts){
		.frozen = &loan->frozen,
		.tail_len = loan->tail_len,
		.ciphertext = loan->body.layout.ciphertext,
		.acknowledged = loan->acknowledged,
		.received = loan->received,
		.seen = seen,
		.elapsed = loan_clock() - loan->frozen_at,
	};
}

uint64_t loan_rest_acknowledged(const struct loan *loan)
{
	uint64_t position = loan->completion ? completion_position(loan->completion) : 0;
	size_t outstanding;

	if (tcp_unacknowledged(loan->fd, &outstanding) < 0 || outstanding > position)
		return 0;
	return position - outstanding;
}

/* --- how the rest is written --- */

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
static int seat(struct loan *loan, const uint8_t *bytes, size_t len)
{
	struct takeover_plan *plan = loan->plan;
	struct tcp_queues queues = {.send_len = plan->tail + len,
				    .receive = byte_queue_head(&loan->input),
				    .receive_len = byte_queue_length(&loan->input)};
	struct tcp_fault fault = {.call = "malloc()", .error = ENOMEM};
	struct steering_seen seen;
	struct takeover_facts facts = loan_facts(loan, &seen);
	struct takeover_plan now;
	uint8_t *queue = malloc(queues.send_len + 1);
	int result = -1;

	assert(len == plan->flight);
	/* Time has passed, and the client may have said something since; what is in the queue stays as planned. */
	if (queue && takeover_plan(&now, &facts)) {
		plan->state.timestamp = now.state.timestamp;
		if (plan->tail > 0)
			memcpy(queue, loan->tail + loan->tail_len - plan->tail, plan->tail);
		if (len > 0)
			memcpy(queue + plan->tail, bytes, len);
		queues.send = queue;
		if (queues.send_len > 0)
			expect_losses(loan->fd);
		if (tcp_fast_forward_queues(loan->fd, &plan->state, &queues, &fault) == 0 &&
		    tcp_resume(loan->fd, &plan->state, &fault) == 0)
			result = loan->fd;
	}
	free(queue);
	if (result < 0) {
		log_warning("a connection cannot be taken over: %s: %s", fault.call, strerror(fault.error));
		return -1;
	}
	loan->live = true;
	steering_release(loan->environment->steering, &loan->frozen);
	byte_queue_clear(&loan->input);
	if (queues.send_len > 0 && tcp_probe(loan->fd, &fault) < 0)
		log_debug("a client could not be asked for an acknowledgement: %s: %s", fault.call,
			  strerror(fault.error));
	loan->state = LOAN_COMPLETING;
	loan_set_timer(loan, PROGRESS_S, PROGRESS_S);
	return result;
}

static int on_collected(void *context, const uint8_t *bytes, size_t len)
{
	return seat(context, bytes, len);
}

static void on_ended(void *context, enum completion_end end, const char *fault)
{
	struct loan *loan = context;

	switch (end) {
	case COMPLETION_DONE:
		loan_return(loan);
		return;
	case COMPLETION_CLIENT:
		loan_lose(loan, loan->live ? LENDING_CAUSE_CLIENT : LENDING_CAUSE_AGENT, fault);
		return;
	case COMPLETION_NODE:
		loan_lose(loan, LENDING_CAUSE_NODE, fault);
		return;
	}
}

static const struct completion_handlers completion_handlers = {on_collected, on_ended};

static void start(struct loan *loan, uint64_t from, size_t apart)
{
	struct loan_environment *environment = loan->environment;
	const struct completion_job job = {.body = &loan->body,
					   .pool = &environment->config->pools[loan->route->pool],
					   .last = loan->node,
					   .from = from,
					   .apart = apart,
					   .fd = loan->fd};

	loan->completion = completion_start(environment, &job, &completion_handlers, loan);
	if (!loan->completion)
		loan_lose(loan, LENDING_CAUSE_AGENT, "out of memory or descriptors");
}

/* Whether a node of the pool could make the body, the loan's own among them. */
static bool anyone_is_ready(const struct loan *loan)
{
	const struct node_pool *pool = &loan->environment->config->pools[loan->route->pool];

	for (size_t i = 0; i < pool->count; i++) {
		if (node_link_readiness(loan->environment->links[pool->members[i]->index]) == NODE_LINK_READY)
			return true;
	}
	return false;
}

/* This agent would have to complete the body because of <cause>, and must not: loses the connection. */
static void lose_only_once(struct loan *loan, enum loan_cause cause)
{
	static const char *const words[] = {
#define LOAN_CAUSE_WORD(name, word) [LOAN_CAUSE_##name] = word,
		LOAN_CAUSE_TABLE(LOAN_CAUSE_WORD)
#undef LOAN_CAUSE_WORD
	};
	bool by_node = cause == LOAN_CAUSE_CHANNEL || cause == LOAN_CAUSE_REFUSED || cause == LOAN_CAUSE_RECALLED;
	char why[LOAN_REASON_MAX];

	(void)snprintf(why, sizeof(why), "%s; %s", words[cause], ONLY_ONCE);
	loan_lose(loan, by_node ? LENDING_CAUSE_NODE : LENDING_CAUSE_AGENT, why);
}

void loan_complete(struct loan *loan, enum loan_cause cause, uint64_t from)
{
	bool can_continue = lent_body_can_continue(&loan->body);

	assert(loan->live && !loan->completion);
	if (loan->state == LOAN_WAITING && !loan->taken && (!can_continue || !anyone_is_ready(loan))) {
		loan_refuse(loan);
		return;
	}
	if (loan->state == LOAN_WAITING && !loan_take(loan))
		return;
	if (loan->state == LOAN_WAITING && !loan->node_gone)
		(void)loan_send_recall(loan, true);
	if (!can_continue) {
		lose_only_once(loan, cause);
		return;
	}
	spoa_metrics_count_completion(loan->environment->metrics, cause);
	loan->state = LOAN_COMPLETING;
	loan_set_timer(loan, PROGRESS_S, PROGRESS_S);
	start(loan, from, 0);
}

/* --- takeover --- */

/* Begins when there is room for what has to be collected. */
static void begin_takeover(struct loan *loan)
{
	struct loan_environment *environment = loan->environment;
	const struct takeover_plan *plan = loan->plan;

	if (plan->flight > 0 && environment->collected > 0 && environment->collected + plan->flight > COLLECTED_MAX) {
		loan_set_timer(loan, TURN_S, 0.);
		return;
	}
	ev_timer_stop(environment->loop, &loan->timer);
	if (plan->flight > 0) {
		start(loan, plan->from, plan->flight);
		return;
	}
	/* Nothing can be on its way: the client's window is shut, or all of the records have arrived. */
	if (seat(loan, NULL, 0) < 0)
		loan_lose(loan, LENDING_CAUSE_AGENT, "the connection could not be restored");
	else if (plan->from == loan->body.layout.ciphertext)
		loan_return(loan);
	else
		start(loan, plan->from, 0);
}

/* What became of the connection is known: plans how it goes on. Returns NULL, or why it cannot and, in <*cause>, whose
 * fault that is. */
static const char *plan_takeover(struct loan *loan, enum lending_cause *cause)
{
	struct steering_seen seen;
	struct takeover_facts facts = loan_facts(loan, &seen);

	*cause = LENDING_CAUSE_AGENT;
	loan->plan = malloc(sizeof(*loan->plan));
	if (!loan->plan)
		return "out of memory";
	*cause = LENDING_CAUSE_CLIENT;
	if (!takeover_plan(loan->plan, &facts))
		return "it acknowledges what was never sent";
	*cause = LENDING_CAUSE_NODE;
	if (loan->plan->from < loan->body.layout.ciphertext && !lent_body_can_continue(&loan->body))
		return ONLY_ONCE;
	return NULL;
}

void loan_take_over(struct loan *loan, const char *why)
{
	struct loan_environment *environment = loan->environment;
	char note[LOG_LIMIT_NOTE_MAX], fault[LOAN_REASON_MAX * 2];
	enum lending_cause cause;
	const char *impossible;

	if (steering_hold(environment->steering, &loan->frozen) < 0) {
		loan_lose(loan, LENDING_CAUSE_AGENT, "its packets cannot be held");
		return;
	}
	impossible = plan_takeover(loan, &cause);
	if (impossible) {
		(void)snprintf(fault, sizeof(fault), "%s; %s", why, impossible);
		loan_lose(loan, cause, fault);
		return;
	}
	if (log_limit_allow(&environment->takeovers, ev_now(environment->loop), note))
		log_warning("node %s: a client's connection is taken over: %s%s", loan->node->name, why, note);
	spoa_metrics_count_completion(environment->metrics, LOAN_CAUSE_TAKEOVER);
	loan->state = LOAN_TAKING_OVER;
	begin_takeover(loan);
}

void loan_rest_due(struct loan *loan)
{
	if (loan->state == LOAN_TAKING_OVER)
		begin_takeover(loan);
	else
		loan_tell_progress(loan, loan_rest_acknowledged(loan));
}

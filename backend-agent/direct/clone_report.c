/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "clone_report.h"

#include <string.h>

#include "node_metrics.h"

static int post(const struct clone *clone, const struct control_message *message)
{
	return agent_outbox_post(clone->shared->outbox, clone->channel, message);
}

static struct control_text text_of(const char *text)
{
	return (struct control_text){text, strlen(text)};
}

void clone_report_reply(const struct clone *clone, const char *reason, bool contradicts)
{
	const struct control_message message = {
		.type = CONTROL_HANDOFF_REPLY,
		.u.handoff_reply = {.ticket = clone->ticket, .reason = text_of(reason), .contradicts = contradicts},
	};

	(void)post(clone, &message);
}

void clone_report_progress(const struct clone *clone, uint64_t bytes)
{
	const struct control_message message = {
		.type = CONTROL_PROGRESS,
		.u.progress = {.ticket = clone->ticket, .bytes = bytes},
	};

	(void)post(clone, &message);
}

int clone_report_client_data(const struct clone *clone, const uint8_t *data, size_t len)
{
	const struct control_message message = {
		.type = CONTROL_CLIENT_DATA,
		.u.client_data = {.ticket = clone->ticket, .offset = clone->received, .data = {data, len}},
	};

	return post(clone, &message);
}

void clone_report_drained(const struct clone *clone)
{
	const struct control_message message = {.type = CONTROL_DRAINED, .u.drained = {.ticket = clone->ticket}};

	(void)post(clone, &message);
}

int clone_report_handback(const struct clone *clone, const struct tcp_frozen *frozen)
{
	const struct control_message message = {
		.type = CONTROL_HANDBACK,
		.u.handback = {.ticket = clone->ticket,
			       .state = frozen->state,
			       .send_queue = {frozen->send_queue, frozen->send_len},
			       .receive_queue = {frozen->receive_queue, frozen->receive_len},
			       .bytes = clone->written},
	};

	return post(clone, &message);
}

void clone_report_gone(const struct clone *clone, enum control_gone_cause cause, uint64_t bytes, const char *reason)
{
	const struct control_message message = {
		.type = CONTROL_GONE,
		.u.gone = {.ticket = clone->ticket, .cause = cause, .bytes = bytes, .reason = text_of(reason)},
	};

	(void)post(clone, &message);
}

/* Nobody waits for the news that all went well: it goes with what is sent next. */
static void push_sealed(const struct clone *clone)
{
	const struct offload_result result = {.ticket = clone->ticket,
					      .channel = clone->channel,
					      .outcome = CONTROL_OUTCOME_SEALED,
					      .records = clone->records,
					      .bytes = clone->sealed,
					      .reason = "",
					      .changed = clone->changed,
					      .direct = true};

	result_queue_push(clone->shared->results, &result);
}

void clone_report_result(const struct clone *clone, enum control_outcome outcome, const char *reason)
{
	const struct control_message message = {
		.type = CONTROL_RESULT,
		.u.result = {.ticket = clone->ticket,
			     .outcome = outcome,
			     .records = clone->records,
			     .bytes = clone->sealed,
			     .reason = text_of(reason),
			     .changed = clone->changed},
	};

	node_metrics_add_outcome(outcome);
	if (outcome == CONTROL_OUTCOME_SEALED && !reason[0] && clone->shared->results)
		push_sealed(clone);
	else
		(void)post(clone, &message);
}

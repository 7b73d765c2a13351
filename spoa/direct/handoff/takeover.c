/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "takeover.h"

#define FLAG_FIN 1 /* RFC 9293 3.1 */
/* Timestamps must not go back (RFC 7323 5.2). The node's clock began as ours will: tcp_freeze adds the same on both ways. It
 * may run faster, as NTP lets it, and both are read in whole ticks. More than that would add up, handoff by handoff. */
#define CLOCK_DRIFT 0.001
#define CLOCK_MARGIN_S 0.002

/* Bytes of records that the client acknowledged; negative: it lacks that many bytes of what was sent before them.
 * Sequence numbers wrap, so the node's last report tells which 4 GB are meant. */
static int64_t acknowledged(const struct takeover_facts *facts)
{
	uint32_t known = facts->frozen->send_next + (uint32_t)facts->acknowledged;
	int64_t position = (int64_t)facts->acknowledged, least = -(int64_t)facts->tail_len;

	if (!facts->acknowledged)
		position = least;
	if (facts->seen->any) {
		int64_t seen = (int64_t)facts->acknowledged + (int32_t)(facts->seen->acknowledged - known);

		if (seen > position)
			position = seen;
	}
	return position;
}

uint32_t takeover_sequence(const struct takeover_facts *facts)
{
	return facts->frozen->send_next + (uint32_t)acknowledged(facts);
}

static uint32_t client_window(const struct takeover_facts *facts)
{
	uint64_t window = facts->frozen->send_window;

	if (facts->seen->any)
		window = (uint64_t)facts->seen->window << facts->frozen->send_scale;
	return (uint32_t)window;
}

/* Our clock now: later than anything that the node can have said, and than what the client has echoed. */
static uint32_t timestamp(const struct takeover_facts *facts)
{
	double ticks = facts->frozen->flags & TCP_STATE_MICROSECONDS ? 1e6 : 1e3;
	double elapsed = facts->elapsed > 0 ? facts->elapsed * (1 + CLOCK_DRIFT) : 0;
	uint32_t now = facts->frozen->timestamp + (uint32_t)(uint64_t)((elapsed + CLOCK_MARGIN_S) * ticks);
	uint32_t echoed = facts->seen->timestamp_echo + (uint32_t)(CLOCK_MARGIN_S * ticks);

	if (facts->seen->any && facts->seen->timestamp_echo != 0 && (int32_t)(echoed - now) > 0)
		return echoed;
	return now;
}

/* The side on which the client sends: what the node had is read. */
static void plan_receiving(struct tcp_state *state, const struct takeover_facts *facts)
{
	state->receive_next += (uint32_t)facts->received;
	/* A FIN that reached the node is not sent again. */
	if (facts->seen->any && (facts->seen->tcp_flags & FLAG_FIN) &&
	    facts->seen->sequence_end == state->receive_next + 1 && !(state->flags & TCP_STATE_PEER_CLOSED)) {
		state->receive_next++;
		state->flags |= TCP_STATE_PEER_CLOSED;
	}
	state->receive_window_seq = state->receive_next;
	state->window_update_seq = state->receive_next;
}

bool takeover_plan(struct takeover_plan *plan, const struct takeover_facts *facts)
{
	int64_t position = acknowledged(facts);
	uint32_t window = client_window(facts);
	uint64_t flight = window < TAKEOVER_FLIGHT_MAX ? window : TAKEOVER_FLIGHT_MAX;

	if (position > (int64_t)facts->ciphertext)
		return false;
	plan->tail = position < 0 ? (size_t)-position : 0;
	plan->from = position < 0 ? 0 : (uint64_t)position;
	flight = flight > plan->tail ? flight - plan->tail : 0;
	if (flight > facts->ciphertext - plan->from)
		flight = facts->ciphertext - plan->from;
	plan->flight = (size_t)flight;
	plan->state = *facts->frozen;
	plan->state.unsent = 0;
	plan->state.send_next = takeover_sequence(facts) + (uint32_t)(plan->tail + plan->flight);
	plan->state.timestamp = timestamp(facts);
	plan->state.send_window = window;
	if (plan->state.max_window < window)
		plan->state.max_window = window;
	plan_receiving(&plan->state, facts);
	return true;
}

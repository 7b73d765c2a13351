/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the files of a handoff share: handoff.c (life and end), handoff_mover.c (there and back), handoff_completion.c
 * (completed here, taken over). */
#ifndef DISC_HANDOFF_INTERNAL_H
#define DISC_HANDOFF_INTERNAL_H

#include "handoff.h"
#include "takeover.h"

#define HANDOFF_MAGIC 0x4a4d0ff0u
#define HANDOFF_REASON_MAX 128u

/* --- handoff.c --- */

/* Tells HAProxy that the connection is back and ends the handoff. */
void handoff_return(struct handoff *handoff);

/* Resets the client, tells HAProxy and ends the handoff. <why> is for the log. */
void handoff_lose(struct handoff *handoff, enum handoff_loss cause, const char *why);

/* HAProxy has closed the connection, and no node uses it any more: resets the client and ends the handoff. */
void handoff_discarded(struct handoff *handoff);

/* In WAITING, before the first change to the connection: tells HAProxy not to go on with the connection by itself
 * should this process end. Returns true if HAProxy will read that; otherwise the next try, in a moment, tells it
 * again. */
bool handoff_take(struct handoff *handoff);

/* In WAITING, before handoff_take() has succeeded: HAProxy goes on by the splice path, with what the node sends on the
 * fetch hop then. Ends the handoff. */
void handoff_refuse(struct handoff *handoff);

/* Seconds on a clock that never jumps. */
double handoff_clock(void);

/* Adds the time since <since>, of handoff_clock(), to a counter of microseconds. */
void handoff_count_time(struct handoff *handoff, enum spoa_metric metric, double since);

void handoff_set_timer(struct handoff *handoff, double after, double repeat);

/* A handoff failed: the node could not take the connection or was silent, or this host could not move it. */
void handoff_count_failure(struct handoff *handoff, const char *why);

/* The client has <bytes> of the records: tells HAProxy if these are more than before. */
void handoff_tell_progress(struct handoff *handoff, uint64_t bytes);

/* Copies what a node wrote, for a log line: printable ASCII as it is, other bytes as dots. */
void handoff_copy_reason(char out[static HANDOFF_REASON_MAX], struct control_text text);

/* --- handoff_mover.c --- */

/* In WAITING: hands the connection off if it is fit by now. */
void handoff_try(struct handoff *handoff);

/* The timer of HANDING, AWAY and RETURNING. */
void handoff_node_is_late(struct handoff *handoff);

/* The node has given the client up, for <why>: takes the connection over if the node may not have reached the client,
 * else loses it. */
void handoff_node_gave_client_up(struct handoff *handoff, const char *why);

/* Encodes and sends <message>, which names the handoff's ticket, to its node. Returns 0 or -1. */
int handoff_tell_node(struct handoff *handoff, const struct control_message *message);

/* Sends Recall. Returns 0 or -1. */
int handoff_send_recall(struct handoff *handoff, bool discard);

/* Seats <state> and <queues> on the mute socket, lets packets through to it and unmutes it. Returns 0; or -1, the
 * handoff being lost. */
int handoff_put_back(struct handoff *handoff, const struct tcp_state *state, const struct tcp_queues *queues);

/* --- handoff_completion.c --- */

/* This agent writes the continuation from byte <from> of the records on, because of <cause>. In WAITING it refuses
 * instead, as handoff_refuse() does, if no node can make the body. */
void handoff_complete(struct handoff *handoff, enum completion_cause cause, uint64_t from);

/* The node that had the connection is gone: <why>. */
void handoff_take_over(struct handoff *handoff, const char *why);

/* The timer of COMPLETING and TAKING_OVER. */
void handoff_completion_due(struct handoff *handoff);

/* Byte of the records up to which the client has them, in COMPLETING. */
uint64_t handoff_completion_acknowledged(const struct handoff *handoff);

/* What is known for a takeover. <seen> is filled in. */
struct takeover_facts handoff_facts(const struct handoff *handoff, struct steering_seen *seen);

#endif

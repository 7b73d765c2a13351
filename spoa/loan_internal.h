/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the files of a loan share: loan.c (life and end), loan_handoff.c (there and back), loan_rest.c (completed here,
 * taken over). */
#ifndef DISC_LOAN_INTERNAL_H
#define DISC_LOAN_INTERNAL_H

#include "loan.h"
#include "takeover.h"

#define LOAN_MAGIC 0x10a710a7u
#define LOAN_REASON_MAX 128u

/* loan.c */

/* Tells HAProxy that the connection is back and ends the loan. */
void loan_return(struct loan *loan);

/* Resets the client, tells HAProxy and ends the loan. <why> is for the log. */
void loan_lose(struct loan *loan, enum lending_cause cause, const char *why);

/* Nobody wants the connection any more, and nobody uses it: resets the client and ends the loan. */
void loan_discarded(struct loan *loan);

/* In WAITING, before the first change to the connection: tells HAProxy that it must not go on with it by itself should
 * this process end. Returns true if it knows; else it will be told at the next try, in a moment. */
bool loan_take(struct loan *loan);

/* In WAITING, as long as HAProxy was not told that the connection is taken: it goes on by the splice path, with what
 * the node sends on the fetch hop then. Ends the loan. */
void loan_refuse(struct loan *loan);

/* Seconds on a clock that never jumps. */
double loan_clock(void);

/* Adds the time since <since>, of loan_clock(), to a counter of microseconds. */
void loan_count_time(struct loan *loan, enum spoa_metric metric, double since);

void loan_set_timer(struct loan *loan, double after, double repeat);

/* A handoff failed: the node could not take the connection or was silent, or this host could not move it. */
void loan_count_failure(struct loan *loan, const char *why);

/* The client has <bytes> of the records: HAProxy is told if these are more than before. */
void loan_tell_progress(struct loan *loan, uint64_t bytes);

/* Copies what a node wrote, for a log line: printable ASCII as it is, the rest as dots. */
void loan_copy_reason(char out[static LOAN_REASON_MAX], struct control_text text);

/* loan_handoff.c */

/* In WAITING: hands the connection off if it is fit by now. */
void loan_try_handoff(struct loan *loan);

/* The timer of HANDING, AWAY and RETURNING. */
void loan_node_is_late(struct loan *loan);

/* The node waits for the client no longer: the loan is lost, or taken over where it is the node that does not reach it.
 */
void loan_node_gave_client_up(struct loan *loan, const char *why);

/* Encodes and sends <message>, which names the loan's ticket, to its node. Returns 0 or -1. */
int loan_tell_node(struct loan *loan, const struct control_message *message);

/* Sends Recall. Returns 0 or -1. */
int loan_send_recall(struct loan *loan, bool discard);

/* Seats <state> and <queues> on the mute socket, lets packets through to it and unmutes it. Returns 0; or -1, the loan
 * being lost. */
int loan_put_back(struct loan *loan, const struct tcp_state *state, const struct tcp_queues *queues);

/* loan_rest.c */

/* The live connection goes on here, from byte <from> of the records. */
void loan_complete(struct loan *loan, enum loan_cause cause, uint64_t from);

/* The node that had the connection is gone: <why>. */
void loan_take_over(struct loan *loan, const char *why);

/* The timer of COMPLETING and TAKING_OVER. */
void loan_rest_due(struct loan *loan);

/* Byte of the records up to which the client has them, in COMPLETING. */
uint64_t loan_rest_acknowledged(const struct loan *loan);

/* What is known for a takeover. <seen> is filled in. */
struct takeover_facts loan_facts(const struct loan *loan, struct steering_seen *seen);

#endif

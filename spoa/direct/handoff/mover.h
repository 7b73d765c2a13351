/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Mover: what a handoff's actions (machine.h) do to the client's connection. The order of system calls within each is
 * what keeps every packet: the flow is held before the socket is frozen, and the socket hears again before held packets
 * are let through. Nothing is decided here: what did not work is the outcome. */
#ifndef DISC_MOVER_H
#define DISC_MOVER_H

#include "handoff.h"

#define MOVER_WHY_MAX 128u

/* Seconds on a clock that never jumps. */
double mover_clock(void);

/* Nodes of the pool that could make a continuation now, of which only those heard of lately if <fresh>. */
node_set mover_ready_nodes(const struct handoff *handoff, bool fresh);

/* Sends <message>, which names the handoff's ticket, to its node. Returns 0 or -1. */
int mover_tell_node(struct handoff *handoff, const struct control_message *message);

/* Sends Recall. Returns 0 or -1. */
int mover_send_recall(struct handoff *handoff, bool discard);

/* For struct late_release, whose context is the handoff table. */
void mover_send_release(void *context, size_t node, const struct ticket *ticket);

/* Has the flow held when the client has acknowledged all, if that is near enough by now. */
void mover_arm(struct handoff *handoff);

/* The actions. With FAILED <why> is filled in. */
enum handoff_outcome mover_look(struct handoff *handoff);
enum handoff_outcome mover_hand(struct handoff *handoff, char why[static MOVER_WHY_MAX]);
enum handoff_outcome mover_undo(struct handoff *handoff, char why[static MOVER_WHY_MAX]);
enum handoff_outcome mover_redirect(struct handoff *handoff);
enum handoff_outcome mover_hold(struct handoff *handoff);
enum handoff_outcome mover_return(struct handoff *handoff, char why[static MOVER_WHY_MAX]);
enum handoff_outcome mover_restore(struct handoff *handoff, const struct control_handback *handback,
				   char why[static MOVER_WHY_MAX]);
enum handoff_outcome mover_judge_late(struct handoff *handoff);
enum handoff_outcome mover_judge_gone(struct handoff *handoff);
enum handoff_outcome mover_plan(struct handoff *handoff, uint64_t *from);
enum handoff_outcome mover_seat(struct handoff *handoff, const uint8_t *bytes, size_t len);
void mover_reset(struct handoff *handoff);

/* Bytes of the records that the client has, while this agent writes them. */
uint64_t mover_acknowledged(const struct handoff *handoff);

/* Returns NULL, or what is wrong with a connection that the node gives back. */
const char *mover_check_handback(const struct handoff *handoff, const struct control_handback *handback);

#endif

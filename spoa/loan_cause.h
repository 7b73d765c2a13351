/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Why the rest of a lent body is written here instead of by the node: the one list of causes, with the word that labels
 * the counter and stands in the log. */
#ifndef DISC_LOAN_CAUSE_H
#define DISC_LOAN_CAUSE_H

#define LOAN_CAUSE_TABLE(X)                                                                                \
	X(UNFIT, "unfit")       /* half-closed, or too much stayed unacknowledged */                       \
	X(STEERING, "steering") /* no room for its flow, or the node is not on a shared network */         \
	X(CHANNEL, "channel")   /* the node went away, or gave up waiting, before it had the connection */ \
	X(REFUSED, "refused")   /* the node could not restore the connection */                            \
	X(RECALLED, "recalled") /* taken back before the end: the node drains, the client sends much */    \
	X(TAKEOVER, "takeover") /* the node went away, or was silent, while it had the connection */       \
	X(DRAIN, "drain")       /* this agent ends */

enum loan_cause {
#define LOAN_CAUSE_ENUM(name, word) LOAN_CAUSE_##name,
	LOAN_CAUSE_TABLE(LOAN_CAUSE_ENUM)
#undef LOAN_CAUSE_ENUM
		LOAN_CAUSE_COUNT
};

#endif

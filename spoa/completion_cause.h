/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Why this agent writes the continuation of a body on the client's connection, instead of the node: the one list of
 * causes, with the word that labels the counter and appears in the log. */
#ifndef DISC_COMPLETION_CAUSE_H
#define DISC_COMPLETION_CAUSE_H

#define COMPLETION_CAUSE_TABLE(X)                                                                          \
	X(UNFIT, "unfit")       /* half-closed, or too much stayed unacknowledged */                       \
	X(STEERING, "steering") /* no room for its flow, or the node is not on a shared network */         \
	X(CHANNEL, "channel")   /* the node went away, or gave up waiting, before it had the connection */ \
	X(REFUSED, "refused")   /* the node could not restore the connection */                            \
	X(RECALLED, "recalled") /* taken back before the end: the node drains, the client sends much */    \
	X(TAKEOVER, "takeover") /* the node went away, or was silent, while it had the connection */       \
	X(DRAIN, "drain")       /* this agent ends */

enum completion_cause {
#define COMPLETION_CAUSE_ENUM(name, word) COMPLETION_CAUSE_##name,
	COMPLETION_CAUSE_TABLE(COMPLETION_CAUSE_ENUM)
#undef COMPLETION_CAUSE_ENUM
		COMPLETION_CAUSE_COUNT
};

#endif

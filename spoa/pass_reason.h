/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Why a request is passed on as ordinary proxying: the one list of reasons, with the word that HAProxy gets in the
 * variable `reason` and that labels the counter of passes. */
#ifndef DISC_PASS_REASON_H
#define DISC_PASS_REASON_H

#define PASS_REASON_TABLE(X)                                                                            \
	X(NO_LEASE, "no-lease")       /* HAProxy has no lease for this connection */                    \
	X(BAD_LEASE, "bad-lease")     /* its TX state is malformed or of a kind that is never leased */ \
	X(BAD_REQUEST, "bad-request") /* method or target are missing or not of their type */           \
	X(NO_ROUTE, "no-route")       /* no route matches */                                            \
	X(POLICY, "policy")           /* the route that matches says pass */                            \
	X(ROLLOUT, "rollout")         /* outside of the percentage that the route offloads */           \
	X(NO_NODE, "no-node")         /* no node of the pool is alive */                                \
	X(DRAINING, "draining")       /* those that are alive take no new offloads */                   \
	X(FULL, "full")               /* those that take any have as many as max-offloads allows */     \
	X(BUSY, "busy")               /* their control channels are full */                             \
	X(CHANGING, "changing")       /* its object was written while it was sent, a short time ago */  \
	X(GROUP, "group")             /* the connection is bound to another trust group */              \
	X(INTERNAL, "internal")       /* this agent is out of memory or randomness */

enum pass_reason {
#define PASS_REASON_ENUM(name, word) PASS_##name,
	PASS_REASON_TABLE(PASS_REASON_ENUM)
#undef PASS_REASON_ENUM
		PASS_REASON_COUNT
};

/* The word of <reason>; never NULL. */
const char *pass_reason_word(enum pass_reason reason);

#endif

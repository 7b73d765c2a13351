/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Explain: why a request would take the way that it takes, in words. Pure: a question in text, the policy and what is known
 * of the nodes in, a text out. Every answer is that of the functions which decide about requests (policy.h, node_pool.h).
 */
#ifndef DISC_EXPLAIN_H
#define DISC_EXPLAIN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "node_pool.h"
#include "policy.h"

#define EXPLAIN_MESSAGE_MAX 16384u
#define EXPLAIN_ERROR_MAX 256u

/* A request as HAProxy would tell it. It refers to itself, and is not to be copied. */
struct explain_question {
	struct request request;
	const char *refusal; /* HAProxy's reason not to take a lease, and so not to ask, in one word; NULL: it asks */
	const char *refusal_why; /* the same in words */
	const char *protocol;    /* what the client speaks */
	bool grants;             /* HTTP/2: its TX state is for grants */
	const char *tls;
	uint8_t message[EXPLAIN_MESSAGE_MAX]; /* what <request> was read from */
};

/* What is known of nodes and paths at this time. */
struct explain_state {
	bool running;        /* false: only the configuration is known; all nodes are taken to be alive and idle */
	node_set up, taking; /* as node_pool_judge() has them; only with <running> */
	node_set no_grants;  /* nodes that know no grants; only with <running> */
	bool changing;       /* the path's object was written while it was sent, a short time ago */
	/* Returns why a body of <route> cannot take the direct path from <node> to <peer> now, or NULL if it can; NULL: not
	 * known. */
	const char *(*no_direct)(void *context, const struct policy_route *route, const struct node *node,
				 const struct client_address *peer);
	void *context;
};

/* Reads a question: <request> is "METHOD URL" (or a URL alone, which is a GET), <settings> are <count> texts "NAME=VALUE":
 * "client" and "peer" are addresses, "tls" and "proto" what the client speaks (1.2, 1.3; http/1.1, h2, h3), "direct" is
 * "true" or "false", every other one an argument of HAProxy's message; "host" and "sni" are the URL's unless
 * given. Returns 0, or -1 with a sentence in <error>. */
int explain_read(struct explain_question *question, const char *request, const char *const *settings, size_t count,
		 char error[static EXPLAIN_ERROR_MAX]);

/* Returns the explanation, lines of text to be freed by the caller, or NULL when memory is exhausted. <pools> are those that
 * routes refer to by index. */
char *explain(const struct policy *policy, const struct node_pool *pools, const struct explain_question *question,
	      const struct explain_state *state);

#endif

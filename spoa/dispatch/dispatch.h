/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Dispatch: one worker's way from a request with its lease over the policy to a node, and back to the variables that
 * HAProxy gets. Nothing here waits: the OFFER is queued, the answer is given at once. */
#ifndef DISC_DISPATCH_H
#define DISC_DISPATCH_H

#include "explain.h"
#include "node_link.h"
#include "pass_reason.h"
#include "request.h"
#include "spoa_config.h"
#include "spoa_metrics.h"
#include "spop_frame.h"
#include "ticket.h"

#define DISPATCH_CHANGE_S 2.0

struct dispatch;

struct dispatch_answer {
	const struct node *node; /* with an offload, else NULL: then nothing was queued under the lease */
	struct ticket ticket;    /* with an offload */
	const char *group;       /* with an offload by grants: the pool's trust group, else NULL */
	enum pass_reason reason; /* without */
};

/* The direct path's part in an offer. */
struct dispatch_direct {
	/* Decides about the direct path for <offer>, which is about to be made to <node>, whose TCP connection
	 * ends at <peer>: sets offer->direct_min if it can be taken, else leaves it 0. */
	void (*expect)(void *context, struct control_offer *offer, const struct policy_route *route, struct node *node,
		       const struct client_address *peer);
	/* The offer for <ticket>, whose direct_min was set, was not made. */
	void (*forget)(void *context, const struct ticket *ticket);
	/* Returns why a body of <route> cannot take the direct path from <node> to <peer> now, or NULL if it can. */
	const char *(*why_not)(void *context, const struct policy_route *route, const struct node *node,
			       const struct client_address *peer);
	/* Offers are by <config>, which outlives that, from now on. Returns false when memory is exhausted: nothing has changed. */
	bool (*change)(void *context, struct spoa_config *config);
	/* The nodes that a connection is handed off to, or will be. */
	node_set (*used)(void *context);
	/* The link to <node> is closed for good. */
	void (*forget_node)(void *context, const struct node *node);
	void *context;
	const struct node_link_listener *listener; /* of what nodes say about handed-off connections */
};

/* Makes a worker's dispatch on <loop> with links to all nodes of <config>, which is held; the first worker's (<index> 0) log what is
 * about a node. <settled>(<context>) is called whenever an offer ended. Returns it, or NULL when memory is
 * exhausted. */
struct dispatch *dispatch_new(struct ev_loop *loop, unsigned index, struct spoa_config *config,
			      struct spoa_metrics *metrics, void (*settled)(void *context), void *context);
void dispatch_free(struct dispatch *dispatch);

/* Has <config>, which was adopted (spoa_config_adopt()) and is held, take the place of the one in use: once all its nodes that are
 * new are there, or DISPATCH_CHANGE_S seconds later. Nodes that it does not have any more get no new offloads; the links to
 * them are closed when those under way have ended. */
void dispatch_change(struct dispatch *dispatch, struct spoa_config *config);

/* The links to all nodes, by the nodes' index, NODE_MAX of them, NULL where there is none; the dispatch's. */
struct node_link *const *dispatch_links(const struct dispatch *dispatch);

/* Has <direct>, which stays the caller's, take part in each offer from now on; NULL: no direct path. */
void dispatch_set_direct(struct dispatch *dispatch, const struct dispatch_direct *direct);

/* Decides about <request> and, for an offload, queues the OFFER. */
struct dispatch_answer dispatch_request(struct dispatch *dispatch, const struct request *request);

/* Answers the NOTIFY <frame> with variables in <ack>. Returns SPOP_STATUS_NORMAL, or SPOP_STATUS_INVALID if its payload
 * is malformed. */
enum spop_status dispatch_notify(struct dispatch *dispatch, const struct spop_frame *frame, struct spop_writer *ack);

/* Says in words what dispatch_request() would do now with the request of <question>. Returns a text to be freed, or NULL when
 * memory is exhausted. */
char *dispatch_explain(struct dispatch *dispatch, const struct explain_question *question);

/* Offers of this worker that have not ended. */
size_t dispatch_outstanding(const struct dispatch *dispatch);

#endif

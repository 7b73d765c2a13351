/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Dispatch: one worker's way from a request with its lease over the policy to a node, and back to the variables that
 * HAProxy gets. Nothing here waits: the OFFER is queued, the answer is given at once. */
#ifndef DISC_DISPATCH_H
#define DISC_DISPATCH_H

#include "node_link.h"
#include "pass_reason.h"
#include "request.h"
#include "spoa_config.h"
#include "spoa_metrics.h"
#include "spop_frame.h"
#include "ticket.h"

struct dispatch;

struct dispatch_answer {
	const struct node *node; /* with an offload, else NULL */
	struct ticket ticket;    /* with an offload */
	enum pass_reason reason; /* without */
};

/* Makes a worker's dispatch on <loop> with links to all nodes of <config>; the first worker's (<index> 0) log what is
 * about a node. <settled>(<context>) is called whenever an offer ended. Returns it, or NULL when memory is exhausted.
 */
struct dispatch *dispatch_new(struct ev_loop *loop, unsigned index, struct spoa_config *config,
			      struct spoa_metrics *metrics, void (*settled)(void *context), void *context);
void dispatch_free(struct dispatch *dispatch);

/* Decides about <request> and, for an offload, queues the OFFER. */
struct dispatch_answer dispatch_request(struct dispatch *dispatch, const struct request *request);

/* Answers the NOTIFY <frame> with variables in <ack>. Returns SPOP_STATUS_NORMAL, or SPOP_STATUS_INVALID if its payload
 * is malformed. */
enum spop_status dispatch_notify(struct dispatch *dispatch, const struct spop_frame *frame, struct spop_writer *ack);

/* Takes back what nodes have of connections that are lent. */
void dispatch_drain(struct dispatch *dispatch);

/* Offers of this worker that have not ended, and connections that are lent. */
size_t dispatch_outstanding(const struct dispatch *dispatch);

/* Connections that are lent. */
size_t dispatch_lent(const struct dispatch *dispatch);

#endif

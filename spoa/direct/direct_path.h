/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Direct path: hands off clients' connections to nodes (doc/direct-path.md). Owns steering, the handoff socket, the
 * handoffs and the routes to nodes, and takes part in dispatch's offers. */
#ifndef DISC_DIRECT_PATH_H
#define DISC_DIRECT_PATH_H

#include "dispatch.h"

struct direct_path;

struct direct_path_owner {
	struct ev_loop *loop;
	struct spoa_config *config;
	struct spoa_metrics *metrics;
	struct node_link *const *links; /* by the nodes' index */
	void (*settled)(void *context); /* a handoff ended; may be NULL */
	void *context;
};

/* Opens steering and the handoff socket, resets the clients of an earlier process, and keeps of this thread's
 * capabilities what is needed from then on. Returns the direct path; or NULL, after a log line that says what is
 * missing, and without any capability: bodies take the splice path then. <owner> is copied. */
struct direct_path *direct_path_new(const struct direct_path_owner *owner);

/* Resets the clients of all handoffs, tells HAProxy, and frees <direct>, which may be NULL. */
void direct_path_free(struct direct_path *direct);

/* What dispatch needs of it, valid as long as <direct>. */
const struct dispatch_direct *direct_path_offers(const struct direct_path *direct);

/* Recalls what nodes have, completes it here and hands nothing off any more. */
void direct_path_drain(struct direct_path *direct);

/* Connections that HAProxy has parked. */
size_t direct_path_outstanding(const struct direct_path *direct);

#endif

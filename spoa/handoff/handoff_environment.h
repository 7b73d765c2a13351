/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What all handoffs of a disc-spoa share; direct_path fills it in. */
#ifndef DISC_HANDOFF_ENVIRONMENT_H
#define DISC_HANDOFF_ENVIRONMENT_H

#include <ev.h>

#include "breaker.h"
#include "lease_store.h"
#include "log_limit.h"
#include "node_link.h"
#include "spoa_config.h"
#include "spoa_metrics.h"
#include "steering.h"
#include "tcp_freeze.h"

struct handoff;

/* How one node is reached by one address family. */
struct node_route {
	bool known;       /* <route> holds */
	double usable_at; /* loop time when its neighbour was last known to be no silent one; 0: never */
	struct steering_route route;
};

struct handoff_environment {
	struct ev_loop *loop;
	const struct spoa_config *config;
	struct spoa_metrics *metrics;
	struct node_link *const *links; /* by the nodes' index */
	struct steering *steering;
	struct lease_store *leases;
	struct breaker *breakers;                              /* one for each route of the policy */
	struct node_route routes[NODE_MAX][2];                 /* by the nodes' index; IPv4 and IPv6 */
	struct tcp_frozen *frozen;                             /* for the connection that is being frozen */
	uint8_t *frame;                                        /* room for one encoded message, secret_alloc()ed */
	size_t collected;                                      /* bytes that takeovers collect at this time */
	bool draining;                                         /* nothing is handed off any more */
	void (*ended)(void *context, struct handoff *handoff); /* forget <handoff>, then handoff_free() it */
	void *context;
	struct log_limit takeovers, losses, failures; /* lines of each kind */
};

#endif

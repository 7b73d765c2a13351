/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Agent: what disc-spoa runs in each worker - a SPOP server, whose requests go to a dispatch - and how it ends. */
#ifndef DISC_AGENT_H
#define DISC_AGENT_H

#include <pthread.h>
#include <stdatomic.h>

#include "admin.h"
#include "spoa_config.h"
#include "spoa_metrics.h"
#include "spop_server.h"

/* Seconds after the first signal for results of offloads under way. Handed-off connections have direct.grace. */
#define AGENT_GRACE_S 5.0

struct agent_worker;
struct agent_query;

struct agent {
	struct spoa_config *config;
	struct spoa_metrics metrics;
	struct spop_shared spop;
	_Atomic int draining;
	struct admin *admin;
	pthread_mutex_t lock;       /* of what follows */
	pthread_cond_t answered;    /* <query> was */
	struct agent_worker *first; /* the worker that answers; NULL: it has not started, or has ended */
	struct agent_query *query;  /* that waits for it; NULL: none */
};

/* Opens listeners and the admin endpoint, runs the workers until a signal ends them, and closes everything. Returns 0,
 * or -1 after a log line. */
int agent_run(struct spoa_config *config);

#endif

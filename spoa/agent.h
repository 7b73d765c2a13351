/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Agent: what disc-spoa runs in each worker - a SPOP server, whose requests go to a dispatch -, how its configuration changes and
 * how it ends. */
#ifndef DISC_AGENT_H
#define DISC_AGENT_H

#include <ev.h>
#include <pthread.h>
#include <stdatomic.h>

#include "admin.h"
#include "config_fixed.h"
#include "resolver.h"
#include "spoa_config.h"
#include "spoa_metrics.h"
#include "spop_server.h"

/* Seconds after the first signal for results of offloads under way. Handed-off connections have direct.grace. */
#define AGENT_GRACE_S 5.0

struct agent_worker;
struct agent_query;

struct agent {
	const char *file;           /* of the configuration */
	struct spoa_config *config; /* in use; the main thread changes it, under <lock> */
	struct spoa_config *loaded; /* as the file has it: <config>, or its origin; held */
	struct resolver *resolver;  /* of the names in <loaded>, on the main thread's loop; NULL before that runs */
	bool behind;                /* <config> has not the nodes that DNS has: the roster was full */
	struct node_roster roster;
	ev_timer sweep; /* on the main thread's loop, while nodes that left have users */
	struct config_fixed fixed;
	struct spoa_metrics metrics;
	struct spop_shared spop;
	_Atomic int draining;
	struct admin *admin;
	pthread_mutex_t lock;                           /* of <config> and of what follows */
	struct agent_worker *workers[SPOA_WORKERS_MAX]; /* those that run; NULL: has not started, or has ended */
	uint64_t generation;                            /* of <config>: how often it was another one */
	pthread_cond_t answered;                        /* <query> was */
	struct agent_query *query;                      /* that waits for the first worker; NULL: none */
};

/* Opens listeners and the admin endpoint, runs the workers until a signal ends them, and closes everything; <config>, which was
 * loaded from <file> by spoa_config_new(), is dropped. Returns 0, or -1 after a log line. */
int agent_run(const char *file, struct spoa_config *config);

#endif

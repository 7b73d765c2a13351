/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Workers: one thread and one libev loop each. Nothing that runs on a loop may block. */
#ifndef DISC_WORKER_H
#define DISC_WORKER_H

#include <ev.h>

struct worker {
	struct ev_loop *loop;
	unsigned index; /* from 0 */
	void *context;  /* what start() left for itself */
};

struct worker_program {
	/* Runs in the worker's thread before its loop: opens what the worker owns. Returns 0, or -1 (logged by itself),
	 * which ends the whole program. */
	int (*start)(struct worker *worker, void *shared);
	/* SIGTERM, SIGINT or SIGUSR1 came: stop taking new work, end the loop (ev_break) when the work under way is
	 * done. May be called again when <force> turns true (second signal, or the grace period passed): end now. */
	void (*drain)(struct worker *worker, void *shared, int force);
	/* Runs in the worker's thread after its loop: closes what start() opened. */
	void (*stop)(struct worker *worker, void *shared);
	/* Runs in the main thread once the workers' threads exist, so that it may give up what they still need. Returns
	 * 0, or -1 (logged by itself), which ends the whole program. May be NULL. */
	int (*started)(void *shared);
	/* SIGHUP came: runs in the main thread once all workers have started, and not any more once a drain has begun. May be
	 * NULL: SIGHUP is ignored. */
	void (*reload)(void *shared);
};

/* Runs <count> workers and returns when all have ended: 0 after a signal, -1 if one could not start. SIGPIPE is
 * ignored; <grace_s> seconds after the first signal the drain is forced. The service manager, if there is one,
 * hears when all workers have started, when the drain begins, and as often as it wants that every worker's loop turns. */
int worker_run(const struct worker_program *program, unsigned count, double grace_s, void *shared);

#endif

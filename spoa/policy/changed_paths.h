/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Changed paths: objects that were written while a node sent them under a lease. Such a body breaks off, and would again
 * as long as its file is being written: for a while these paths are not offloaded, and HAProxy serves them.
 *
 * One table for all workers, without a lock, of fixed size: each place holds one path, and the last one to change keeps
 * it. A path that lost its place, or that is spelled otherwise, is only offloaded too early.
 */
#ifndef DISC_CHANGED_PATHS_H
#define DISC_CHANGED_PATHS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "control.h"

#define CHANGED_PATHS_MAX 1024u

struct changed_paths {
	/* 32 bits of the path's hash, then the second of the monotonic clock at which it may be offloaded again; 0:
	 * free */
	_Atomic uint64_t places[CHANGED_PATHS_MAX];
};

/* Seconds of the monotonic clock, for <now> below. */
uint32_t changed_paths_clock(void);

/* Keeps the path of <target> (a query does not count) from being offloaded for <seconds> from <now> on; 0: does
 * nothing. Safe from any thread. */
void changed_paths_add(struct changed_paths *paths, struct control_text target, uint32_t now, uint32_t seconds);

/* Whether the path of <target> must not be offloaded at <now>. Safe from any thread. */
bool changed_paths_hold(struct changed_paths *paths, struct control_text target, uint32_t now);

#endif

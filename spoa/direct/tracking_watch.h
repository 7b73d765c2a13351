/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Tracking watch: keeps this host's connection tracking from cutting connections that were handed off. Each is exempted
 * before it leaves (lib/net/connection_tracking.h). Where that is impossible, nothing is handed off until tracking ends
 * or judges no more: bodies take the splice path, since a client that hangs is worse.
 */
#ifndef DISC_TRACKING_WATCH_H
#define DISC_TRACKING_WATCH_H

#include <stdbool.h>
#include <stddef.h>

#include "connection_tracking.h"
#include "spoa_metrics.h"

struct tracking_watch {
	struct connection_tracking tracking;
	struct spoa_metrics *metrics;
	bool ignores; /* the operator sees to it */
	bool judges;  /* connections are tracked and cannot be exempted */
};

/* Opens <watch>, which ignores connection tracking with <ignores>. To be closed. */
void tracking_watch_open(struct tracking_watch *watch, struct spoa_metrics *metrics, bool ignores);
void tracking_watch_close(struct tracking_watch *watch);

/* Looks at this host, every few seconds; logs when <judges> changes. */
void tracking_watch_look(struct tracking_watch *watch);

/* Exempts the client's connection <fd>, which is about to be handed off. Returns NULL, or why it must stay here. */
const char *tracking_watch_exempt(struct tracking_watch *watch, int fd);

/* Whether the direct path is possible as far as connection tracking goes. Returns 0, or -1 with a sentence in
 * <why>. */
int tracking_watch_check(struct connection_tracking *tracking, char *why, size_t why_size);

#endif

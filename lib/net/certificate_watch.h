/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Certificate watch: says in time that the certificates of the control channels end. A metric has the date; the log a line when they
 * are loaded, and one each day, from 14 days before on. */
#ifndef DISC_CERTIFICATE_WATCH_H
#define DISC_CERTIFICATE_WATCH_H

#include <ev.h>
#include <stdint.h>

#include "log.h"
#include "metrics.h"

#define CERTIFICATE_WATCH_TEXT_MAX 160u
#define CERTIFICATE_WATCH_DAYS 14

/* All zero at first. */
struct certificate_watch {
	ev_timer look;
	int64_t not_after;     /* seconds since the epoch; 0: there is nothing to watch */
	struct metric *metric; /* shows it */
};

/* Watches from <loop>. <metric> stays the caller's. */
void certificate_watch_start(struct certificate_watch *watch, struct ev_loop *loop, struct metric *metric);
void certificate_watch_stop(struct certificate_watch *watch, struct ev_loop *loop);

/* What is used from now on ends at <not_after>, see channel_tls_not_after(); logs it if that is soon. */
void certificate_watch_set(struct certificate_watch *watch, int64_t not_after);

/* Says in <text> what an end at <not_after> means at <now>, both in seconds since the epoch. Returns the level to log it with:
 * LOG_LEVEL_DEBUG if there is nothing to do yet. */
enum log_level certificate_watch_describe(int64_t not_after, int64_t now, char text[static CERTIFICATE_WATCH_TEXT_MAX]);

#endif

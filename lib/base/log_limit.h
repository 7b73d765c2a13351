/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Limit on log lines that a peer could cause with every request or connection: at most one of a kind each second, and
 * the next one says how many were left out. One per kind and worker, so it needs no lock. */
#ifndef DISC_LOG_LIMIT_H
#define DISC_LOG_LIMIT_H

#include <stdbool.h>
#include <stdio.h>

#define LOG_LIMIT_INTERVAL_S 1.0
#define LOG_LIMIT_NOTE_MAX 32 /* bytes of log_limit_allow()'s note */

struct log_limit {
	double next; /* not before this time, seconds */
	unsigned suppressed;
};

/* True if a line may be written at <now> (seconds). <note> then is the end of that line: empty, or how many were left
 * out since the last one. */
static inline bool log_limit_allow(struct log_limit *limit, double now, char note[static LOG_LIMIT_NOTE_MAX])
{
	note[0] = '\0';
	if (now < limit->next) {
		limit->suppressed++;
		return false;
	}
	if (limit->suppressed)
		(void)snprintf(note, LOG_LIMIT_NOTE_MAX, " (%u more left out)", limit->suppressed);
	limit->suppressed = 0;
	limit->next = now + LOG_LIMIT_INTERVAL_S;
	return true;
}

#endif

/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Breaker: keeps a route from the direct path for a time after it has failed several times in a row. Pure: times are
 * seconds on the caller's clock.
 *
 *   CLOSED --(max-failures in a row)--> OPEN --(retry-after seconds)--> TRYING --(one failure)--> OPEN
 *     ^                                                                    |
 *     +----------------------------(one success)---------------------------+
 */
#ifndef DISC_BREAKER_H
#define DISC_BREAKER_H

#include <stdbool.h>

struct breaker {
	unsigned failures; /* in a row */
	bool tripped;      /* OPEN or TRYING */
	double open_until; /* with <tripped>: no direct path before this time */
};

struct breaker_settings {
	unsigned max_failures; /* at least 1 */
	double retry_after;    /* seconds */
};

/* Whether the direct path may be used at <now>. */
static inline bool breaker_allows(const struct breaker *breaker, double now)
{
	return !breaker->tripped || now >= breaker->open_until;
}

/* Counts a failure. Returns true if this one opened the breaker: say so in the log. */
static inline bool breaker_failed(struct breaker *breaker, const struct breaker_settings *settings, double now)
{
	/* What began before it opened says nothing new. */
	if (!breaker_allows(breaker, now))
		return false;
	breaker->failures++;
	if (!breaker->tripped && breaker->failures < settings->max_failures)
		return false;
	breaker->tripped = true;
	breaker->open_until = now + settings->retry_after;
	return true;
}

/* Counts a success. Returns true if this one closed the breaker. */
static inline bool breaker_succeeded(struct breaker *breaker, double now)
{
	bool closes = breaker->tripped && breaker_allows(breaker, now);

	if (breaker->tripped && !closes)
		return false;
	*breaker = (struct breaker){.failures = 0};
	return closes;
}

#endif

/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Counters, gauges and histograms of a program, rendered in the Prometheus text format 0.0.4. Each program lists its own in
 * one X-macro table and keeps them in an array; updating one is a relaxed atomic addition, or two. */
#ifndef DISC_METRICS_H
#define DISC_METRICS_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

enum metric_kind { METRIC_COUNTER, METRIC_GAUGE, METRIC_HISTOGRAM };

/* Histograms are of durations, from half a millisecond to ten seconds; the last bucket has what took longer. */
#define METRIC_BUCKETS 14u

struct metric {
	/* "disc_spoa_offers_total", or with labels "disc_spoa_node_up{node=\"n1\"}"; one family's follow each other;
	 * NULL: it is not rendered */
	const char *name;
	const char *help;
	enum metric_kind kind;
	_Atomic int64_t value;                   /* of a histogram: the sum, in microseconds */
	_Atomic int64_t buckets[METRIC_BUCKETS]; /* of a histogram: durations in each, not accumulated */
};

static inline void metric_add(struct metric *metric, int64_t delta)
{
	atomic_fetch_add_explicit(&metric->value, delta, memory_order_relaxed);
}

/* Seconds of a clock that only goes forward, for metric_observe_since(). */
double metric_clock(void);

/* Counts the duration from <since>, as metric_clock() gave it, to now in the histogram <metric>. */
void metric_observe_since(struct metric *metric, double since);

/* Renders <count> metrics. Returns a terminated text to be freed by the caller, or NULL when memory is exhausted. */
char *metrics_render(struct metric *metrics, size_t count);

#endif

/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Counters and gauges of a program, rendered in the Prometheus text format 0.0.4. Each program lists its own in one
 * X-macro table and keeps them in an array; updating one is a relaxed atomic addition. */
#ifndef DISC_METRICS_H
#define DISC_METRICS_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

enum metric_kind { METRIC_COUNTER, METRIC_GAUGE };

struct metric {
	/* "disc_spoa_offers_total", or with labels "disc_spoa_node_up{node=\"n1\"}"; one family's follow each other */
	const char *name;
	const char *help;
	enum metric_kind kind;
	_Atomic int64_t value;
};

static inline void metric_add(struct metric *metric, int64_t delta)
{
	atomic_fetch_add_explicit(&metric->value, delta, memory_order_relaxed);
}

/* Renders <count> metrics. Returns a terminated text to be freed by the caller, or NULL when memory is exhausted. */
char *metrics_render(struct metric *metrics, size_t count);

#endif

/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "backend_metrics.h"

struct metric backend_metrics[BACKEND_METRIC_COUNT] = {
#define BACKEND_METRIC_ROW(id, kind_, name_, help_) {.name = name_, .help = help_, .kind = METRIC_##kind_},
	BACKEND_METRIC_TABLE(BACKEND_METRIC_ROW)
#undef BACKEND_METRIC_ROW
};

int64_t backend_metric_value(enum backend_metric id)
{
	return atomic_load_explicit(&backend_metrics[id].value, memory_order_relaxed);
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "backend_metrics.h"

struct metric backend_metrics[BACKEND_METRIC_COUNT] = {
#define BACKEND_METRIC_ROW(id, kind_, name_, help_) {.name = name_, .help = help_, .kind = METRIC_##kind_},
	BACKEND_METRIC_TABLE(BACKEND_METRIC_ROW)
#undef BACKEND_METRIC_ROW
};

static enum backend_metric metric_of(enum control_outcome outcome)
{
	switch (outcome) {
	case CONTROL_OUTCOME_SEALED:
		return BACKEND_SEALED;
	case CONTROL_OUTCOME_DECLINED:
		return BACKEND_DECLINED;
	case CONTROL_OUTCOME_ABORTED:
		return BACKEND_ABORTED;
	case CONTROL_OUTCOME_EXPIRED:
		return BACKEND_EXPIRED;
	case CONTROL_OUTCOME_FAILED:
		break;
	}
	return BACKEND_FAILED;
}

void backend_count_outcome(enum control_outcome outcome)
{
	backend_count(metric_of(outcome), 1);
}

int64_t backend_metric_value(enum backend_metric id)
{
	return atomic_load_explicit(&backend_metrics[id].value, memory_order_relaxed);
}

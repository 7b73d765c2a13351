/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "node_metrics.h"

struct metric node_metrics[NODE_METRIC_COUNT] = {
#define NODE_METRIC_ROW(id, kind_, name_, help_) {.name = name_, .help = help_, .kind = METRIC_##kind_},
	NODE_METRIC_TABLE(NODE_METRIC_ROW)
#undef NODE_METRIC_ROW
};

static enum node_metric metric_of(enum control_outcome outcome)
{
	switch (outcome) {
	case CONTROL_OUTCOME_SEALED:
		return NODE_SEALED;
	case CONTROL_OUTCOME_DECLINED:
		return NODE_DECLINED;
	case CONTROL_OUTCOME_ABORTED:
		return NODE_ABORTED;
	case CONTROL_OUTCOME_EXPIRED:
		return NODE_EXPIRED;
	case CONTROL_OUTCOME_FAILED:
		break;
	}
	return NODE_FAILED;
}

void node_metrics_add_outcome(enum control_outcome outcome)
{
	node_metrics_add(metric_of(outcome), 1);
}

int64_t node_metric_value(enum node_metric id)
{
	return atomic_load_explicit(&node_metrics[id].value, memory_order_relaxed);
}

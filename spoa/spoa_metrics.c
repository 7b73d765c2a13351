/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "spoa_metrics.h"

#include <stdio.h>
#include <stdlib.h>

static const struct {
	const char *name, *help;
	enum metric_kind kind;
} fixed[SPOA_METRIC_COUNT] = {
#define FIXED_METRIC(id, kind, name, help) [SPOA_##id] = {name, help, METRIC_##kind},
	SPOA_METRIC_TABLE(FIXED_METRIC)
#undef FIXED_METRIC
#define PASS_METRIC(id, word) \
	[SPOA_PASS_##         \
		id] = {"disc_spoa_passes_total{reason=\"" word "\"}", "requests answered with pass", METRIC_COUNTER},
		PASS_REASON_TABLE(PASS_METRIC)
#undef PASS_METRIC
#define CAUSE_METRIC(id, word)                                                    \
	[SPOA_COMPLETED_##id] = {"disc_spoa_completed_total{cause=\"" word "\"}", \
				 "handoffs whose continuation was written by this agent", METRIC_COUNTER},
			COMPLETION_CAUSE_TABLE(CAUSE_METRIC)
#undef CAUSE_METRIC
#define DISCONNECT_METRIC(id, code, text)                                              \
	[SPOA_DISCONNECT_##id] = {"disc_spoa_disconnects_total{status=\"" #code "\"}", \
				  "AGENT-DISCONNECT frames sent, by SPOP status code", METRIC_COUNTER},
				SPOP_STATUS_TABLE(DISCONNECT_METRIC)
#undef DISCONNECT_METRIC
};

#define NODE_FAMILIES 5

/* All of family <number>, one for each node, which follow each other, as the text format wants. */
static int name_family(struct spoa_metrics *metrics, const char *const *names, size_t number, enum metric_kind kind,
		       const char *family, const char *help)
{
	size_t count = (metrics->count - SPOA_METRIC_COUNT) / NODE_FAMILIES;
	size_t first = SPOA_METRIC_COUNT + number * count;

	for (size_t i = 0; i < count; i++) {
		char *name;

		if (asprintf(&name, "%s{node=\"%s\"}", family, names[i]) < 0)
			return -1;
		metrics->all[first + i].name = name;
		metrics->all[first + i].help = help;
		metrics->all[first + i].kind = kind;
	}
	return 0;
}

int spoa_metrics_init(struct spoa_metrics *metrics, const char *const *node_names, size_t node_count)
{
	metrics->count = SPOA_METRIC_COUNT + NODE_FAMILIES * node_count;
	metrics->all = calloc(metrics->count, sizeof(*metrics->all));
	if (!metrics->all)
		return -1;
	for (size_t i = 0; i < SPOA_METRIC_COUNT; i++) {
		metrics->all[i].name = fixed[i].name;
		metrics->all[i].help = fixed[i].help;
		metrics->all[i].kind = fixed[i].kind;
	}
	if (name_family(metrics, node_names, 0, METRIC_GAUGE, "disc_spoa_node_up",
			"workers whose control channel to the node is up") < 0 ||
	    name_family(metrics, node_names, 1, METRIC_GAUGE, "disc_spoa_node_active_offloads",
			"offloads offered to the node and not ended") < 0 ||
	    name_family(metrics, node_names, 2, METRIC_COUNTER, "disc_spoa_node_spills_total",
			"requests that went to another node, or were passed, because the node had max-offloads") < 0 ||
	    name_family(metrics, node_names, 3, METRIC_GAUGE, "disc_spoa_node_draining",
			"workers that the node told that it takes no new offloads") < 0 ||
	    name_family(metrics, node_names, 4, METRIC_COUNTER, "disc_spoa_node_failures_total",
			"control channels to the node that were lost, and offloads that failed on it") < 0) {
		spoa_metrics_release(metrics);
		return -1;
	}
	return 0;
}

void spoa_metrics_release(struct spoa_metrics *metrics)
{
	for (size_t i = SPOA_METRIC_COUNT; metrics->all && i < metrics->count; i++)
		free((char *)metrics->all[i].name);
	free(metrics->all);
	metrics->all = NULL;
	metrics->count = 0;
}

void spoa_metrics_count_disconnect(struct spoa_metrics *metrics, enum spop_status status)
{
	enum spoa_metric id = SPOA_DISCONNECT_UNKNOWN;

	switch (status) {
#define DISCONNECT_CASE(name, code, text)    \
	case SPOP_STATUS_##name:             \
		id = SPOA_DISCONNECT_##name; \
		break;
		SPOP_STATUS_TABLE(DISCONNECT_CASE)
#undef DISCONNECT_CASE
	}
	spoa_metrics_add(metrics, id, 1);
}

static struct metric *of_node(struct spoa_metrics *metrics, size_t number, size_t index)
{
	size_t count = (metrics->count - SPOA_METRIC_COUNT) / NODE_FAMILIES;

	return &metrics->all[SPOA_METRIC_COUNT + number * count + index];
}

struct metric *spoa_metrics_node_up(struct spoa_metrics *metrics, size_t index)
{
	return of_node(metrics, 0, index);
}

struct metric *spoa_metrics_node_active(struct spoa_metrics *metrics, size_t index)
{
	return of_node(metrics, 1, index);
}

struct metric *spoa_metrics_node_spills(struct spoa_metrics *metrics, size_t index)
{
	return of_node(metrics, 2, index);
}

struct metric *spoa_metrics_node_draining(struct spoa_metrics *metrics, size_t index)
{
	return of_node(metrics, 3, index);
}

struct metric *spoa_metrics_node_failures(struct spoa_metrics *metrics, size_t index)
{
	return of_node(metrics, 4, index);
}

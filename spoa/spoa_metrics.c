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

static const struct {
	const char *name, *help;
	enum metric_kind kind;
} families[] = {
	{"disc_spoa_node_up", "workers whose control channel to the node is up", METRIC_GAUGE},
	{"disc_spoa_node_active_offloads", "offloads offered to the node and not ended", METRIC_GAUGE},
	{"disc_spoa_node_spills_total",
	 "requests that went to another node, or were passed, because the node had max-offloads", METRIC_COUNTER},
	{"disc_spoa_node_draining", "workers that the node told that it takes no new offloads", METRIC_GAUGE},
	{"disc_spoa_node_failures_total", "control channels to the node that were lost, and offloads that failed on it",
	 METRIC_COUNTER},
};

#define NODE_FAMILIES (sizeof(families) / sizeof(families[0]))

/* Of family <number>; all of one follow each other, as the text format wants. */
static struct metric *of_node(struct spoa_metrics *metrics, size_t number, size_t index)
{
	return &metrics->all[SPOA_METRIC_COUNT + number * SPOA_METRICS_NODES + index];
}

int spoa_metrics_name_node(struct spoa_metrics *metrics, size_t index, const char *name)
{
	char *names[NODE_FAMILIES];
	size_t made = 0;

	while (name && made < NODE_FAMILIES) {
		if (asprintf(&names[made], "%s{node=\"%s\"}", families[made].name, name) < 0)
			break;
		made++;
	}
	if (name && made < NODE_FAMILIES) {
		while (made)
			free(names[--made]);
		return -1;
	}
	(void)pthread_mutex_lock(&metrics->names);
	for (size_t i = 0; i < NODE_FAMILIES; i++) {
		struct metric *metric = of_node(metrics, i, index);

		free((char *)metric->name);
		metric->name = name ? names[i] : NULL;
		atomic_store_explicit(&metric->value, 0, memory_order_relaxed);
	}
	(void)pthread_mutex_unlock(&metrics->names);
	return 0;
}

char *spoa_metrics_render(struct spoa_metrics *metrics)
{
	char *text;

	(void)pthread_mutex_lock(&metrics->names);
	text = metrics_render(metrics->all, metrics->count);
	(void)pthread_mutex_unlock(&metrics->names);
	return text;
}

int spoa_metrics_init(struct spoa_metrics *metrics, const char *const *node_names, size_t node_count)
{
	metrics->count = SPOA_METRIC_COUNT + NODE_FAMILIES * SPOA_METRICS_NODES;
	metrics->all = calloc(metrics->count, sizeof(*metrics->all));
	if (!metrics->all || pthread_mutex_init(&metrics->names, NULL) != 0) {
		free(metrics->all);
		metrics->all = NULL;
		return -1;
	}
	for (size_t i = 0; i < SPOA_METRIC_COUNT; i++) {
		metrics->all[i].name = fixed[i].name;
		metrics->all[i].help = fixed[i].help;
		metrics->all[i].kind = fixed[i].kind;
	}
	for (size_t i = 0; i < NODE_FAMILIES; i++) {
		for (size_t node = 0; node < SPOA_METRICS_NODES; node++) {
			of_node(metrics, i, node)->help = families[i].help;
			of_node(metrics, i, node)->kind = families[i].kind;
		}
	}
	for (size_t i = 0; i < node_count; i++) {
		if (spoa_metrics_name_node(metrics, i, node_names[i]) < 0) {
			spoa_metrics_release(metrics);
			return -1;
		}
	}
	return 0;
}

void spoa_metrics_release(struct spoa_metrics *metrics)
{
	if (!metrics->all)
		return;
	for (size_t i = SPOA_METRIC_COUNT; i < metrics->count; i++)
		free((char *)metrics->all[i].name);
	free(metrics->all);
	(void)pthread_mutex_destroy(&metrics->names);
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

/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "metrics.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Help texts escape backslash and line feed (Prometheus text format 0.0.4). */
static void put_help(FILE *out, const char *help)
{
	for (; *help != '\0'; help++) {
		if (*help == '\\')
			(void)fputs("\\\\", out);
		else if (*help == '\n')
			(void)fputs("\\n", out);
		else
			(void)fputc(*help, out);
	}
}

/* Bytes of the name without its labels: metrics that differ in labels alone are one family. */
static int family_length(const struct metric *metric)
{
	return (int)strcspn(metric->name, "{");
}

static bool same_family(const struct metric *a, const struct metric *b)
{
	int len = family_length(a);

	return len == family_length(b) && memcmp(a->name, b->name, (size_t)len) == 0;
}

/* The lines that each family has once, before its first metric. */
static void put_family(FILE *out, const struct metric *metric)
{
	(void)fprintf(out, "# HELP %.*s ", family_length(metric), metric->name);
	put_help(out, metric->help);
	(void)fprintf(out, "\n# TYPE %.*s %s\n", family_length(metric), metric->name,
		      metric->kind == METRIC_COUNTER ? "counter" : "gauge");
}

char *metrics_render(struct metric *metrics, size_t count)
{
	char *text = NULL;
	size_t len = 0;
	FILE *out = open_memstream(&text, &len);
	int failed;

	if (!out)
		return NULL;
	/* Faults of the stream stick to it and are asked for once, at the end. */
	for (size_t i = 0; i < count; i++) {
		struct metric *metric = &metrics[i];

		if (i == 0 || !same_family(metric - 1, metric))
			put_family(out, metric);
		(void)fprintf(out, "%s %" PRId64 "\n", metric->name,
			      atomic_load_explicit(&metric->value, memory_order_relaxed));
	}
	failed = ferror(out);
	if (fclose(out) != 0 || failed) {
		free(text);
		return NULL;
	}
	return text;
}

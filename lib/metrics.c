/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "metrics.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

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

		(void)fprintf(out, "# HELP %s ", metric->name);
		put_help(out, metric->help);
		(void)fprintf(out, "\n# TYPE %s %s\n%s %" PRId64 "\n", metric->name,
			      metric->kind == METRIC_COUNTER ? "counter" : "gauge", metric->name,
			      atomic_load_explicit(&metric->value, memory_order_relaxed));
	}
	failed = ferror(out);
	if (fclose(out) != 0 || failed) {
		free(text);
		return NULL;
	}
	return text;
}

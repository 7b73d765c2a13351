/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "metrics.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "text_stream.h"

/* Upper bounds of a histogram's buckets, in seconds; as text, so that they are written as they are named. */
static const struct {
	double seconds;
	const char *text;
} bounds[METRIC_BUCKETS - 1] = {
	{0.0005, "0.0005"}, {0.001, "0.001"}, {0.0025, "0.0025"}, {0.005, "0.005"}, {0.01, "0.01"},
	{0.025, "0.025"},   {0.05, "0.05"},   {0.1, "0.1"},       {0.25, "0.25"},   {0.5, "0.5"},
	{1., "1"},          {2.5, "2.5"},     {10., "10"},
};

double metric_clock(void)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

void metric_observe_since(struct metric *metric, double since)
{
	double seconds = metric_clock() - since;
	size_t i = 0;

	while (i < METRIC_BUCKETS - 1 && seconds > bounds[i].seconds)
		i++;
	atomic_fetch_add_explicit(&metric->buckets[i], 1, memory_order_relaxed);
	metric_add(metric, (int64_t)(seconds * 1e6));
}

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
	static const char *const kinds[] = {
		[METRIC_COUNTER] = "counter", [METRIC_GAUGE] = "gauge", [METRIC_HISTOGRAM] = "histogram"};

	(void)fprintf(out, "# HELP %.*s ", family_length(metric), metric->name);
	put_help(out, metric->help);
	(void)fprintf(out, "\n# TYPE %.*s %s\n", family_length(metric), metric->name, kinds[metric->kind]);
}

/* The name with <suffix> behind the family's and <more> behind the labels, which may be none. */
static void put_name(FILE *out, const struct metric *metric, const char *suffix, const char *more)
{
	const char *labels = metric->name + family_length(metric);
	int len = *labels == '{' ? (int)strlen(labels) - 2 : 0; /* without the braces */

	(void)fprintf(out, "%.*s%s", family_length(metric), metric->name, suffix);
	if (len > 0 || *more != '\0')
		(void)fprintf(out, "{%.*s%s%s}", len, labels + (len > 0), len > 0 && *more != '\0' ? "," : "", more);
}

/* The count is that of the buckets that were read, so that it never disagrees with the last of them. */
static void put_histogram(FILE *out, struct metric *metric)
{
	int64_t count = 0;

	for (size_t i = 0; i < METRIC_BUCKETS; i++) {
		char bound[24];

		count += atomic_load_explicit(&metric->buckets[i], memory_order_relaxed);
		(void)snprintf(bound, sizeof(bound), "le=\"%s\"", i < METRIC_BUCKETS - 1 ? bounds[i].text : "+Inf");
		put_name(out, metric, "_bucket", bound);
		(void)fprintf(out, " %" PRId64 "\n", count);
	}
	put_name(out, metric, "_sum", "");
	(void)fprintf(out, " %.6f\n", (double)atomic_load_explicit(&metric->value, memory_order_relaxed) / 1e6);
	put_name(out, metric, "_count", "");
	(void)fprintf(out, " %" PRId64 "\n", count);
}

char *metrics_render(struct metric *metrics, size_t count)
{
	const struct metric *previous = NULL;
	struct text_stream stream;

	if (text_stream_open(&stream) < 0)
		return NULL;
	for (size_t i = 0; i < count; i++) {
		struct metric *metric = &metrics[i];

		if (!metric->name)
			continue;
		if (!previous || !same_family(previous, metric))
			put_family(stream.out, metric);
		previous = metric;
		if (metric->kind == METRIC_HISTOGRAM)
			put_histogram(stream.out, metric);
		else
			(void)fprintf(stream.out, "%s %" PRId64 "\n", metric->name,
				      atomic_load_explicit(&metric->value, memory_order_relaxed));
	}
	return text_stream_close(&stream);
}

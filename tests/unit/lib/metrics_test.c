/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Guards: the text that Prometheus reads (format 0.0.4), and that no update is lost between threads. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "metrics.h"

static void text_is_what_prometheus_reads(void **unused)
{
	struct metric metrics[] = {
		{.name = "disc_a_total", .help = "Back\\slash and\nline.", .kind = METRIC_COUNTER},
		{.name = "disc_b{node=\"n1\"}", .help = "Labelled.", .kind = METRIC_GAUGE},
		{.name = "disc_b{node=\"n2\"}", .help = "Labelled.", .kind = METRIC_GAUGE},
		{.name = "disc_bc", .help = "Another.", .kind = METRIC_GAUGE},
	};
	char *text;

	(void)unused;
	metric_add(&metrics[0], INT64_MAX);
	metric_add(&metrics[1], -5);
	text = metrics_render(metrics, 4);
	assert_non_null(text);
	assert_string_equal(text, "# HELP disc_a_total Back\\\\slash and\\nline.\n"
				  "# TYPE disc_a_total counter\n"
				  "disc_a_total 9223372036854775807\n"
				  "# HELP disc_b Labelled.\n"
				  "# TYPE disc_b gauge\n"
				  "disc_b{node=\"n1\"} -5\n"
				  "disc_b{node=\"n2\"} 0\n"
				  "# HELP disc_bc Another.\n"
				  "# TYPE disc_bc gauge\n"
				  "disc_bc 0\n");
	free(text);
	text = metrics_render(metrics, 0);
	assert_string_equal(text, "");
	free(text);
}

/* Times are in the past by as much: what the test itself takes is far below the distance to the next bound. */
static void histograms_count_durations_by_their_bounds(void **unused)
{
	static struct metric metrics[] = {
		{.name = "disc_t_seconds{path=\"a\"}", .help = "Timed.", .kind = METRIC_HISTOGRAM},
		{.name = "disc_t_seconds{path=\"b\"}", .help = "Timed.", .kind = METRIC_HISTOGRAM},
		{.name = "disc_u_seconds", .help = "Bare.", .kind = METRIC_HISTOGRAM},
	};
	static const double seconds[] = {-1., 0.3, 0.3, 1.5, 60., 1e6};
	char *text;

	(void)unused;
	for (size_t i = 0; i < sizeof(seconds) / sizeof(seconds[0]); i++)
		metric_observe_since(&metrics[0], metric_clock() - seconds[i]);
	text = metrics_render(metrics, 3);
	assert_non_null(text);
	assert_ptr_equal(strstr(text, "# HELP disc_t_seconds Timed.\n# TYPE disc_t_seconds histogram\n"
				      "disc_t_seconds_bucket{path=\"a\",le=\"0.0005\"} 1\n"),
			 text);
	assert_non_null(strstr(text, "{path=\"a\",le=\"0.25\"} 1\ndisc_t_seconds_bucket{path=\"a\",le=\"0.5\"} 3\n"));
	assert_non_null(strstr(text, "{path=\"a\",le=\"2.5\"} 4\ndisc_t_seconds_bucket{path=\"a\",le=\"10\"} 4\n"
				     "disc_t_seconds_bucket{path=\"a\",le=\"+Inf\"} 6\n"
				     "disc_t_seconds_sum{path=\"a\"} 10000"));
	assert_non_null(strstr(
		text, "disc_t_seconds_count{path=\"a\"} 6\ndisc_t_seconds_bucket{path=\"b\",le=\"0.0005\"} 0\n"));
	assert_non_null(strstr(text, "# TYPE disc_u_seconds histogram\ndisc_u_seconds_bucket{le=\"0.0005\"} 0\n"));
	assert_non_null(strstr(text, "disc_u_seconds_sum 0.000000\ndisc_u_seconds_count 0\n"));
	free(text);
}

#define THREADS 4
#define UPDATES 100000

static void *update(void *metric)
{
	for (int i = 0; i < UPDATES; i++) {
		metric_add(metric, 3);
		metric_add(metric, -1);
	}
	return NULL;
}

static void no_update_is_lost(void **unused)
{
	static struct metric metric = {.name = "m", .help = "h"};
	pthread_t threads[THREADS];

	(void)unused;
	for (int i = 0; i < THREADS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, update, &metric), 0);
	for (int i = 0; i < THREADS; i++)
		assert_int_equal(pthread_join(threads[i], NULL), 0);
	assert_int_equal(atomic_load(&metric.value), 2 * THREADS * UPDATES);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(text_is_what_prometheus_reads),
		cmocka_unit_test(histograms_count_durations_by_their_bounds),
		cmocka_unit_test(no_update_is_lost),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

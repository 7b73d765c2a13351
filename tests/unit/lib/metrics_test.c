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
		cmocka_unit_test(no_update_is_lost),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Guards: places of nodes that come and go: a place without a node is not rendered, a new node's values begin with 0, and each
 * family has its head once. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "node_pool.h"
#include "spoa_metrics.h"

_Static_assert(SPOA_METRICS_NODES == NODE_MAX, "each node has a place");

static size_t count_of(const char *text, const char *part)
{
	size_t count = 0;

	for (const char *at = text; (at = strstr(at, part)); at++)
		count++;
	return count;
}

static void nodes_come_and_go(void **state)
{
	static const char *const names[] = {"a", "b"};
	struct spoa_metrics metrics;
	char *text;

	(void)state;
	assert_int_equal(spoa_metrics_init(&metrics, names, 2), 0);
	metric_add(spoa_metrics_node_up(&metrics, 1), 7);
	text = spoa_metrics_render(&metrics);
	assert_int_equal(count_of(text, "# TYPE disc_spoa_node_up gauge\n"), 1);
	assert_int_equal(count_of(text, "disc_spoa_node_up{node=\"a\"} 0\ndisc_spoa_node_up{node=\"b\"} 7\n"), 1);
	assert_int_equal(count_of(text, "{node="), 10);
	free(text);
	assert_int_equal(spoa_metrics_name_node(&metrics, 1, NULL), 0);
	assert_int_equal(spoa_metrics_name_node(&metrics, 0, NULL), 0);
	assert_int_equal(spoa_metrics_name_node(&metrics, SPOA_METRICS_NODES - 1, "c"), 0);
	text = spoa_metrics_render(&metrics);
	assert_int_equal(count_of(text, "{node="), 5);
	assert_int_equal(count_of(text, "# TYPE disc_spoa_node_up gauge\ndisc_spoa_node_up{node=\"c\"} 0\n"), 1);
	free(text);
	assert_int_equal(spoa_metrics_name_node(&metrics, 1, "d"), 0);
	text = spoa_metrics_render(&metrics);
	assert_int_equal(count_of(text, "disc_spoa_node_up{node=\"d\"} 0\ndisc_spoa_node_up{node=\"c\"} 0\n"), 1);
	free(text);
	spoa_metrics_release(&metrics);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(nodes_come_and_go)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

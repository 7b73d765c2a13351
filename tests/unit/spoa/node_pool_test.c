/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Guards: a path keeps its node, a node that dies moves only its own paths and spreads them, least-active is just
 * that. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "node_pool.h"

#define NODES 5
#define PATHS 5000

struct fixture {
	struct node nodes[NODES];
	struct node_pool pool;
};

static const char *const names[NODES] = {"n1", "n2", "n3", "n4", "n5"};

static void set_up(struct fixture *fixture, enum node_balance balance)
{
	memset(fixture, 0, sizeof(*fixture));
	fixture->pool.balance = balance;
	for (size_t i = 0; i < NODES; i++) {
		node_init(&fixture->nodes[i], names[i], i);
		fixture->nodes[i].weight = 100;
		fixture->pool.members[fixture->pool.count++] = &fixture->nodes[i];
	}
	assert_int_equal(node_pool_prepare(&fixture->pool), 0);
}

static void tear_down(struct fixture *fixture)
{
	node_pool_release(&fixture->pool);
}

static struct node *choose(const struct fixture *fixture, unsigned number, node_set usable)
{
	char path[32];
	int len = snprintf(path, sizeof(path), "/videos/%u.mp4", number);

	return node_pool_choose(&fixture->pool, (struct control_text){path, (size_t)len}, usable);
}

static void no_usable_member_is_no_choice(void **state)
{
	struct fixture fixture;

	(void)state;
	set_up(&fixture, BALANCE_PATH_HASH);
	assert_null(choose(&fixture, 1, 0));
	assert_null(choose(&fixture, 1, (node_set)1 << NODES));
	tear_down(&fixture);
	fixture.pool.count = 0;
	assert_int_equal(node_pool_prepare(&fixture.pool), 0);
	assert_null(choose(&fixture, 1, ~(node_set)0));
	tear_down(&fixture);
}

static void paths_are_spread_evenly(void **state)
{
	unsigned count[NODES] = {0};
	struct fixture fixture;

	(void)state;
	set_up(&fixture, BALANCE_PATH_HASH);
	for (unsigned i = 0; i < PATHS; i++)
		count[choose(&fixture, i, ~(node_set)0)->index]++;
	for (size_t i = 0; i < NODES; i++)
		assert_in_range(count[i], PATHS / NODES * 85 / 100, PATHS / NODES * 115 / 100);
	tear_down(&fixture);
}

static void death_moves_only_the_dead_nodes_paths(void **state)
{
	const node_set all = ((node_set)1 << NODES) - 1;
	unsigned inherited[NODES] = {0}, orphans = 0;
	struct fixture fixture;

	(void)state;
	set_up(&fixture, BALANCE_PATH_HASH);
	for (unsigned i = 0; i < PATHS; i++) {
		struct node *before = choose(&fixture, i, all), *after = choose(&fixture, i, all & ~(node_set)4);

		if (before->index != 2) {
			assert_ptr_equal(after, before);
			continue;
		}
		orphans++;
		inherited[after->index]++;
	}
	assert_int_equal(inherited[2], 0);
	for (size_t i = 0; i < NODES; i++)
		if (i != 2)
			assert_in_range(inherited[i], orphans / (NODES - 1) * 7 / 10, orphans / (NODES - 1) * 13 / 10);
	tear_down(&fixture);
}

static void choice_does_not_depend_on_the_order_of_nodes(void **state)
{
	struct fixture forward, backward;

	(void)state;
	set_up(&forward, BALANCE_PATH_HASH);
	set_up(&backward, BALANCE_PATH_HASH);
	tear_down(&backward);
	for (size_t i = 0; i < NODES; i++) {
		node_init(&backward.nodes[i], names[NODES - 1 - i], i);
		backward.nodes[i].server_id = (uint32_t)(NODES - i);
		backward.nodes[i].weight = 100;
	}
	assert_int_equal(node_pool_prepare(&backward.pool), 0);
	for (unsigned i = 0; i < 500; i++)
		assert_string_equal(choose(&forward, i, ~(node_set)0)->name, choose(&backward, i, ~(node_set)0)->name);
	tear_down(&forward);
	tear_down(&backward);
}

static void least_active_takes_the_node_with_the_fewest(void **state)
{
	struct fixture fixture;

	(void)state;
	set_up(&fixture, BALANCE_LEAST_ACTIVE);
	for (size_t i = 0; i < NODES; i++)
		node_add_own(&fixture.nodes[i], 10 + (int64_t)i);
	for (unsigned i = 0; i < 100; i++) {
		assert_string_equal(choose(&fixture, i, ~(node_set)0)->name, "n1");
		assert_string_equal(choose(&fixture, i, ~(node_set)1)->name, "n2");
	}
	node_add_own(&fixture.nodes[3], -12);
	assert_string_equal(choose(&fixture, 1, ~(node_set)0)->name, "n4");
	tear_down(&fixture);
}

static void least_active_spreads_over_equals(void **state)
{
	unsigned count[NODES] = {0};
	struct fixture fixture;

	(void)state;
	set_up(&fixture, BALANCE_LEAST_ACTIVE);
	for (unsigned i = 0; i < 10 * NODES; i++) {
		struct node *node = choose(&fixture, i, ~(node_set)0);

		count[node->index]++;
		node_add_own(node, 1);
	}
	for (size_t i = 0; i < NODES; i++)
		assert_int_equal(count[i], 10);
	tear_down(&fixture);
}

static void least_active_goes_by_weight(void **state)
{
	static const unsigned weights[NODES] = {1, 2, 4, 8, 0};
	unsigned count[NODES] = {0};
	struct fixture fixture;

	(void)state;
	set_up(&fixture, BALANCE_LEAST_ACTIVE);
	node_pool_release(&fixture.pool);
	for (size_t i = 0; i < NODES; i++)
		fixture.nodes[i].weight = weights[i];
	assert_int_equal(node_pool_prepare(&fixture.pool), 0);
	for (unsigned i = 0; i < 150; i++) {
		struct node *node = choose(&fixture, i, ~(node_set)0);

		count[node->index]++;
		node_add_own(node, 1);
	}
	for (size_t i = 0; i < NODES; i++)
		assert_in_range(count[i], weights[i] * 10 - (i < 4 ? 1 : 0), weights[i] * 10 + 1);
	assert_int_equal(count[4], 0);
	assert_null(choose(&fixture, 1, (node_set)1 << 4));
	tear_down(&fixture);
}

static void node_is_full_when_all_agents_together_have_given_it_as_many(void **state)
{
	struct fixture fixture;
	struct node *node = &fixture.nodes[0];

	(void)state;
	set_up(&fixture, BALANCE_PATH_HASH);
	node_add_own(node, 1000);
	assert_false(node_is_full(node));
	node_add_own(node, -998);
	node->max_offloads = 5;
	assert_false(node_is_full(node));
	node_set_total(node, 5);
	assert_true(node_is_full(node));
	node_set_total(node, 4);
	assert_false(node_is_full(node));
	tear_down(&fixture);
}

static void offloads_of_other_agents_count_too(void **state)
{
	struct fixture fixture;

	(void)state;
	set_up(&fixture, BALANCE_LEAST_ACTIVE);
	node_add_own(&fixture.nodes[0], 3);
	node_set_total(&fixture.nodes[0], 8);
	assert_int_equal(node_load(&fixture.nodes[0]), 8);
	node_add_own(&fixture.nodes[0], 1);
	assert_int_equal(node_load(&fixture.nodes[0]), 9);
	/* The PONG was written before the node saw our last two offers. */
	node_add_own(&fixture.nodes[0], 2);
	node_set_total(&fixture.nodes[0], 4);
	assert_int_equal(node_load(&fixture.nodes[0]), 6);
	tear_down(&fixture);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(no_usable_member_is_no_choice),
		cmocka_unit_test(paths_are_spread_evenly),
		cmocka_unit_test(death_moves_only_the_dead_nodes_paths),
		cmocka_unit_test(choice_does_not_depend_on_the_order_of_nodes),
		cmocka_unit_test(least_active_takes_the_node_with_the_fewest),
		cmocka_unit_test(least_active_spreads_over_equals),
		cmocka_unit_test(least_active_goes_by_weight),
		cmocka_unit_test(node_is_full_when_all_agents_together_have_given_it_as_many),
		cmocka_unit_test(offloads_of_other_agents_count_too),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

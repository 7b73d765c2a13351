/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Guards: a node that stays in the configuration stays the same node, with its number and its load; one that left keeps its number
 * until its last user is gone; what does not fit changes nothing. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "node_roster.h"

static unsigned joined, gone;

static void on_joins(void *context, struct node *node)
{
	assert_ptr_equal(context, &joined);
	assert_non_null(node->name);
	joined++;
}

static void on_left(void *context, struct node *node)
{
	assert_ptr_equal(context, &joined);
	assert_non_null(node->name);
	gone++;
}

static struct node_roster empty_roster(void)
{
	joined = gone = 0;
	return (struct node_roster){.events = {on_joins, on_left, &joined}};
}

static struct node *make_node(const char *name, uint16_t port)
{
	struct node *node = node_new(name, "certificate", "server", 0);
	char text[32];
	const char *why;

	assert_non_null(node);
	(void)snprintf(text, sizeof(text), "127.0.0.1:%u", port);
	assert_int_equal(address_parse(&node->control, text, &why), 0);
	return node;
}

static void drop_all(struct node **nodes, size_t count)
{
	for (size_t i = 0; i < count; i++)
		node_drop(nodes[i]);
}

static void what_stays_is_the_same_node(void **state)
{
	struct node_roster roster = empty_roster();
	struct node *first[] = {make_node("a", 1), make_node("b", 2)};
	struct node *second[] = {make_node("c", 3), make_node("b", 2)};
	struct node *b = first[1];

	(void)state;
	assert_int_equal(node_roster_adopt(&roster, first, 2), 0);
	assert_int_equal(joined, 2);
	assert_int_equal(b->index, 1);
	node_add_own(b, 5);
	second[1]->weight = 9;
	second[1]->max_offloads = 7;
	second[1]->server_id = 77;
	assert_int_equal(node_roster_adopt(&roster, second, 2), 0);
	assert_ptr_equal(second[1], b);
	assert_int_equal(node_load(b), 5);
	assert_int_equal(b->weight, 9);
	assert_int_equal(b->max_offloads, 7);
	assert_int_equal(b->server_id, 77);
	/* "a" has a user still, so its number is taken. */
	assert_int_equal(second[0]->index, 2);
	assert_int_equal(joined, 3);
	drop_all(first, 2);
	assert_int_equal(gone, 0);
	assert_int_equal(node_roster_sweep(&roster), 2);
	assert_int_equal(gone, 1);
	assert_null(roster.nodes[0]);
	drop_all(second, 2);
	node_roster_clear(&roster);
	assert_int_equal(gone, 3);
}

static void any_other_field_makes_another_node(void **state)
{
	struct node_roster roster = empty_roster();
	struct node *before[] = {make_node("a", 1)};
	struct node *others[5] = {node_new("a", "other", "server", 0), node_new("a", "certificate", "other", 0),
				  make_node("a", 2), make_node("a", 1), make_node("a", 1)};
	const char *why;

	(void)state;
	for (size_t i = 0; i < 2; i++)
		others[i]->control = before[0]->control;
	assert_int_equal(address_parse(&others[3]->fetch, "127.0.0.1:80", &why), 0);
	assert_int_equal(address_parse(&others[4]->direct[0], "127.0.0.1:80", &why), 0);
	assert_int_equal(node_roster_adopt(&roster, before, 1), 0);
	assert_int_equal(node_roster_adopt(&roster, others, 5), 0);
	for (size_t i = 0; i < 5; i++) {
		assert_ptr_not_equal(others[i], before[0]);
		assert_int_equal(others[i]->index, i + 1);
	}
	drop_all(before, 1);
	drop_all(others, 5);
	assert_int_equal(node_roster_sweep(&roster), 0);
}

static void too_many_change_nothing(void **state)
{
	struct node_roster roster = empty_roster();
	struct node *first[NODE_MAX], *more[2] = {make_node("x", 1), make_node("n0", 100)}, *known;
	char name[16];

	(void)state;
	for (unsigned i = 0; i < NODE_MAX; i++) {
		(void)snprintf(name, sizeof(name), "n%u", i);
		first[i] = make_node(name, (uint16_t)(100 + i));
	}
	assert_int_equal(node_roster_adopt(&roster, first, NODE_MAX), 0);
	more[1]->weight = 9;
	known = more[1];
	assert_int_equal(node_roster_adopt(&roster, more, 2), -1);
	assert_ptr_equal(more[1], known);
	assert_int_equal(first[0]->weight, 1);
	assert_int_equal(joined, NODE_MAX);
	/* One that nobody uses makes room. */
	node_drop(first[7]);
	assert_int_equal(node_roster_adopt(&roster, more, 2), 0);
	assert_int_equal(more[0]->index, 7);
	assert_ptr_equal(more[1], first[0]);
	first[7] = more[0];
	drop_all(first, NODE_MAX);
	node_drop(more[1]);
	assert_int_equal(node_roster_sweep(&roster), 0);
	assert_int_equal(gone, NODE_MAX + 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_stays_is_the_same_node),
		cmocka_unit_test(any_other_field_makes_another_node),
		cmocka_unit_test(too_many_change_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

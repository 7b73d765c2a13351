/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Guards: which nodes join and leave by answers and by time; that an answer which cannot be used, or has nothing, takes no node away at
 * once; that members stay when there are too many; and how long an answer holds. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "record_set.h"

static const struct record_set_limits limits = {
	.ttl_min = 1, .ttl_max = 30, .hold_gone = 5, .hold_empty = 60, .members = 3};

static struct record_set set;

/* The node 10.0.0.<last>. */
static struct node_record v4(uint8_t last)
{
	const uint8_t bytes[] = {10, 0, 0, last};
	struct node_record record = {.port = 0};

	node_record_set(&record, bytes, sizeof(bytes));
	return record;
}

static bool answer(const char *lasts, uint32_t ttl, double now)
{
	struct node_record records[RECORD_SET_ANSWER_MAX + 2];
	size_t count = strlen(lasts);

	for (size_t i = 0; i < count; i++)
		records[i] = v4((uint8_t)lasts[i]);
	return record_set_answer(&set, records, count, ttl, now);
}

static void assert_members(const char *lasts)
{
	const struct node_record *members[NODE_MAX];
	size_t count = record_set_members(&set, members);

	assert_int_equal(count, strlen(lasts));
	for (size_t i = 0; i < count; i++) {
		struct node_record wanted = v4((uint8_t)lasts[i]);

		assert_int_equal(node_record_compare(members[i], &wanted), 0);
	}
}

static int begin(void **state)
{
	(void)state;
	record_set_init(&set, &limits, 100);
	return 0;
}

static void new_records_join_at_once_in_any_order_and_once(void **state)
{
	(void)state;
	assert_members("");
	assert_true(answer("ba", 10, 100));
	assert_members("ab");
	assert_false(answer("abba", 10, 110));
	assert_members("ab");
	assert_true(answer("abc", 10, 120));
	assert_members("abc");
}

static void what_is_gone_leaves_after_its_time_unless_it_comes_back(void **state)
{
	(void)state;
	(void)answer("ab", 10, 100);
	assert_true(isinf(record_set_due(&set)));
	assert_false(answer("a", 10, 110));
	assert_members("ab");
	assert_true(record_set_due(&set) == 115);
	/* It is gone since 110, whatever answers say so again. */
	assert_false(answer("a", 10, 112));
	assert_true(record_set_due(&set) == 115);
	assert_false(record_set_pass(&set, 114.9));
	assert_true(record_set_pass(&set, 115));
	assert_members("a");
	(void)answer("b", 10, 120);
	assert_members("ab");
	assert_false(answer("ab", 10, 124));
	assert_false(record_set_pass(&set, 200));
	assert_members("ab");
}

static void without_a_hold_nodes_leave_with_the_answer(void **state)
{
	(void)state;
	set.limits.hold_gone = 0;
	(void)answer("ab", 10, 100);
	assert_true(answer("b", 10, 110));
	assert_members("b");
}

static void an_empty_answer_takes_nodes_away_only_after_a_while(void **state)
{
	(void)state;
	(void)answer("ab", 10, 100);
	assert_false(answer("", 0, 110));
	assert_false(answer("", 0, 120));
	assert_members("ab");
	/* An answer with records says more: what it does not have leaves as otherwise. */
	assert_false(answer("a", 10, 130));
	assert_true(record_set_pass(&set, 135));
	assert_members("a");
	assert_false(answer("", 0, 140));
	assert_false(record_set_pass(&set, 199));
	assert_true(record_set_pass(&set, 200));
	assert_members("");
}

static void failures_change_nothing_and_ask_ever_more_rarely(void **state)
{
	static const double patience[] = {1, 2, 4, 8, 16, 30, 30};
	double now = 100;

	(void)state;
	(void)answer("ab", 10, now);
	for (size_t i = 0; i < sizeof(patience) / sizeof(patience[0]); i++) {
		record_set_failure(&set, now);
		assert_true(set.ask == now + patience[i]);
		now = set.ask;
		assert_false(record_set_pass(&set, now));
	}
	assert_members("ab");
	(void)answer("ab", 10, now);
	record_set_failure(&set, now);
	assert_true(set.ask == now + 1);
}

static void an_answer_holds_as_long_as_its_ttl_within_limits(void **state)
{
	static const struct {
		uint32_t ttl;
		double holds;
	} cases[] = {{0, 1},         {1, 1}, {7, 7}, {30, 30}, {31, 30}, {INT32_MAX, 30}, {(uint32_t)INT32_MAX + 1, 1},
		     {UINT32_MAX, 1}};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		(void)answer("a", cases[i].ttl, 200);
		assert_true(set.ask == 200 + cases[i].holds);
	}
}

static void over_the_maximum_members_stay_and_others_wait(void **state)
{
	(void)state;
	set.limits.hold_gone = 0;
	assert_true(answer("fedcb", 10, 100));
	assert_members("bcd");
	assert_int_equal(set.ignored, 2);
	/* "a" comes before them, and waits. */
	assert_false(answer("abcdef", 10, 110));
	assert_members("bcd");
	assert_int_equal(set.ignored, 3);
	assert_true(answer("abcef", 10, 120));
	assert_members("abc");
	assert_int_equal(set.ignored, 2);
	assert_false(answer("abc", 10, 130));
	assert_int_equal(set.ignored, 0);
}

static void a_node_that_is_about_to_leave_has_its_place_until_then(void **state)
{
	(void)state;
	(void)answer("abc", 10, 100);
	assert_false(answer("bcd", 10, 110));
	assert_members("abc");
	assert_true(record_set_pass(&set, 115));
	assert_members("bcd");
}

static void an_answer_of_any_size_fits(void **state)
{
	struct node_record records[RECORD_SET_ANSWER_MAX + 100];

	(void)state;
	set.limits.members = NODE_MAX;
	for (unsigned round = 0; round < 3; round++) {
		for (size_t i = 0; i < sizeof(records) / sizeof(records[0]); i++) {
			records[i] = v4((uint8_t)i);
			records[i].port = (uint16_t)(i + 1 + 1000 * round);
		}
		(void)record_set_answer(&set, records, sizeof(records) / sizeof(records[0]), 10, 100 + round);
		assert_int_equal(set.count, RECORD_SET_ANSWER_MAX + (round ? NODE_MAX : 0));
		assert_in_range(set.count, 1, RECORD_SET_MAX);
	}
}

static void addresses_of_both_families_and_ports_tell_nodes_apart(void **state)
{
	static const uint8_t bytes[16] = {0xfd, [15] = 1};
	struct node_record records[3] = {v4('a'), v4('a'), v4('a')};
	const struct node_record *members[NODE_MAX];

	(void)state;
	records[1].port = 81;
	node_record_set(&records[2], bytes, sizeof(bytes));
	assert_true(record_set_answer(&set, records, 3, 10, 100));
	assert_int_equal(record_set_members(&set, members), 3);
}

static void a_set_that_inherits_has_the_members_that_its_own_maximum_allows(void **state)
{
	const struct record_set_limits fewer = {.ttl_min = 1, .ttl_max = 30, .members = 2};
	static struct record_set known;

	(void)state;
	(void)answer("abc", 10, 100);
	known = set;
	record_set_init(&set, &fewer, 100);
	record_set_inherit(&set, &known);
	assert_members("ab");
	assert_int_equal(set.ignored, 1);
	assert_true(set.ask == 100);
}

static void nodes_are_what_records_and_template_say(void **state)
{
	static const uint8_t bytes[16] = {0xfd, [15] = 1};
	struct node_template template = {.certificate_name = "node.test",
					 .control_port = 7443,
					 .fetch_port = 8080,
					 .weight = 7,
					 .max_offloads = 9};
	struct node_record record = v4(1);
	char text[ADDRESS_TEXT_MAX];
	struct node *node;

	(void)state;
	node_record_set(&record, bytes, sizeof(bytes));
	node = node_template_make(&template, &record, 3);
	assert_non_null(node);
	assert_string_equal(node->name, "10.0.0.1:8080");
	assert_string_equal(node->certificate_name, "node.test");
	assert_string_equal(address_format(&node->control, text), "10.0.0.1:7443");
	assert_true(node->by_address);
	assert_int_equal(node->direct[0].len, 0);
	assert_int_equal(node->weight, 7);
	assert_int_equal(node->max_offloads, 9);
	node_drop(node);
	template.prefer_ipv6 = template.direct = true;
	record.port = 81;
	node = node_template_make(&template, &record, 3);
	assert_non_null(node);
	assert_string_equal(node->name, "[fd00::1]:81");
	assert_string_equal(address_format(&node->control, text), "[fd00::1]:7443");
	assert_string_equal(address_format(&node->direct[0], text), "10.0.0.1:0");
	assert_string_equal(address_format(&node->direct[1], text), "[fd00::1]:0");
	node_drop(node);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(new_records_join_at_once_in_any_order_and_once, begin),
		cmocka_unit_test_setup(what_is_gone_leaves_after_its_time_unless_it_comes_back, begin),
		cmocka_unit_test_setup(without_a_hold_nodes_leave_with_the_answer, begin),
		cmocka_unit_test_setup(an_empty_answer_takes_nodes_away_only_after_a_while, begin),
		cmocka_unit_test_setup(failures_change_nothing_and_ask_ever_more_rarely, begin),
		cmocka_unit_test_setup(an_answer_holds_as_long_as_its_ttl_within_limits, begin),
		cmocka_unit_test_setup(over_the_maximum_members_stay_and_others_wait, begin),
		cmocka_unit_test_setup(a_node_that_is_about_to_leave_has_its_place_until_then, begin),
		cmocka_unit_test_setup(an_answer_of_any_size_fits, begin),
		cmocka_unit_test_setup(addresses_of_both_families_and_ports_tell_nodes_apart, begin),
		cmocka_unit_test_setup(a_set_that_inherits_has_the_members_that_its_own_maximum_allows, begin),
		cmocka_unit_test_setup(nodes_are_what_records_and_template_say, begin),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

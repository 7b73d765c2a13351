/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Guards: places on the ring are HAProxy's (hash_ring_haproxy_test compares all of it with a real one), the nearest point
 * wins, across the ring's end too, and servers that are down or have no weight own nothing. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "hash_ring.h"

#define ALL UINT64_MAX

static void ring_without_points_has_no_choice(void **state)
{
	const struct hash_ring_server light = {hash_ring_key_of_id(1), 0};
	struct hash_ring ring = {NULL, 0};

	(void)state;
	assert_int_equal(hash_ring_choose(&ring, 1, ALL), -1);
	assert_int_equal(hash_ring_init(&ring, NULL, 0), 0);
	assert_int_equal(hash_ring_choose(&ring, 1, ALL), -1);
	hash_ring_release(&ring);
	assert_int_equal(hash_ring_init(&ring, &light, 1), 0);
	assert_int_equal(hash_ring_choose(&ring, 1, ALL), -1);
	hash_ring_release(&ring);
	hash_ring_release(&ring);
}

/* From the definition: sdbm("/") is 47, sdbm("/a") is 47 * 65599 + 97. */
static void places_follow_from_the_bytes(void **state)
{
	(void)state;
	assert_int_equal(hash_ring_place("", 0), 0xab4ed927u);
	assert_int_equal(hash_ring_place("/", 1), 0x7e3f41d0u);
	assert_int_equal(hash_ring_place("/a", 2), 0x67e70dc2u);
	assert_int_equal(hash_ring_place("/\xc3\xa9", 3), 0xca457119u);
}

static void points_follow_from_id_and_weight(void **state)
{
	const struct hash_ring_server servers[] = {
		{hash_ring_key_of_id(1), 1}, {hash_ring_key_of_id(2), 2}, {hash_ring_key_of_id(3), 0}};
	unsigned counts[3] = {0};
	struct hash_ring ring;

	(void)state;
	assert_int_equal(hash_ring_init(&ring, servers, 3), 0);
	assert_int_equal(ring.count, 48);
	for (size_t i = 0; i < ring.count; i++) {
		counts[ring.points[i].server]++;
		assert_true(i == 0 || ring.points[i].place >= ring.points[i - 1].place);
	}
	assert_int_equal(counts[0], 16);
	assert_int_equal(counts[1], 32);
	assert_int_equal(ring.points[0].place, 0x014e97e6u);
	assert_int_equal(ring.points[0].server, 1);
	hash_ring_release(&ring);
}

/* 1000 and 3000 are the server's 0, 2000 and 4000000000 the server's 1. 1500 is as far from both: the one before has it.
 * 4100000000 is 100 million behind the last point and 195 million before the first one, across the end. */
static void nearest_point_that_is_up_wins(void **state)
{
	static struct hash_ring_point points[] = {{1000, 0}, {2000, 1}, {3000, 0}, {4000000000, 1}};
	static const struct hash_ring ring = {points, 4};
	static const struct {
		uint64_t up;
		uint32_t place;
		int chosen;
	} cases[] = {
		{ALL, 1000, 0},        {ALL, 1499, 0},
		{ALL, 1500, 0},        {ALL, 1501, 1},
		{ALL, 2501, 0},        {ALL, 3000000000u, 1},
		{ALL, 2000000, 0},     {ALL, 4100000000u, 1},
		{ALL, 4290000000u, 0}, {ALL, 0, 0},
		{ALL, UINT32_MAX, 0},  {1, 1501, 0},
		{2, 1000, 1},          {2, 0, 1},
		{1, 4200000000u, 0},   {4, 1000, -1},
		{0, 1000, -1},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		assert_int_equal(hash_ring_choose(&ring, cases[i].place, cases[i].up), cases[i].chosen);
}

static void only_point_owns_all(void **state)
{
	static struct hash_ring_point point = {77, 5};
	static const struct hash_ring ring = {&point, 1};

	(void)state;
	assert_int_equal(hash_ring_choose(&ring, 77, ALL), 5);
	assert_int_equal(hash_ring_choose(&ring, 78, 1 << 5), 5);
	assert_int_equal(hash_ring_choose(&ring, 0, 1 << 4), -1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(ring_without_points_has_no_choice),
		cmocka_unit_test(places_follow_from_the_bytes),
		cmocka_unit_test(points_follow_from_id_and_weight),
		cmocka_unit_test(nearest_point_that_is_up_wins),
		cmocka_unit_test(only_point_owns_all),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

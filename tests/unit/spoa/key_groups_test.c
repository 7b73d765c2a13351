/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Guards: the key of a connection goes to nodes of one trust group, whichever thread asks, and the table does not grow for ever. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "key_groups.h"

#define THREADS 4
#define KEYS 2000

static struct tx_state state_of(uint32_t number)
{
	struct tx_state state = {.tls_minor = 4, .key_len = 16, .use = TX_USE_GRANTS};

	memcpy(state.key, &number, sizeof(number));
	return state;
}

static void first_group_has_the_key(void **unused)
{
	struct key_groups *groups = key_groups_new();
	struct tx_state one = state_of(1), two = state_of(2), other_iv = state_of(1);

	(void)unused;
	assert_non_null(groups);
	assert_true(key_groups_claim(groups, &one, "inner"));
	assert_false(key_groups_claim(groups, &one, "outer"));
	assert_false(key_groups_claim(groups, &one, "inner2"));
	assert_true(key_groups_claim(groups, &one, "inner"));
	assert_true(key_groups_claim(groups, &two, "outer"));
	assert_false(key_groups_claim(groups, &two, "inner"));
	other_iv.iv[11] = 1;
	assert_true(key_groups_claim(groups, &other_iv, "outer"));
	/* The same keys, for another body. */
	one.seq = 7;
	memset(one.proof_key, 9, sizeof(one.proof_key));
	assert_false(key_groups_claim(groups, &one, "outer"));
	key_groups_free(groups);
	key_groups_free(NULL);
}

static void least_lately_used_key_makes_room(void **unused)
{
	struct key_groups *groups = key_groups_new();
	struct tx_state state;

	(void)unused;
	assert_non_null(groups);
	for (uint32_t i = 0; i < KEY_GROUPS_MAX; i++) {
		state = state_of(i);
		assert_true(key_groups_claim(groups, &state, "inner"));
	}
	state = state_of(0);
	assert_true(key_groups_claim(groups, &state, "inner"));
	state = state_of(KEY_GROUPS_MAX);
	assert_true(key_groups_claim(groups, &state, "outer"));
	state = state_of(0);
	assert_false(key_groups_claim(groups, &state, "outer"));
	state = state_of(1);
	assert_true(key_groups_claim(groups, &state, "outer"));
	key_groups_free(groups);
}

static struct key_groups *shared;
static _Atomic unsigned winners[KEYS];

static void *claim_all(void *group)
{
	for (uint32_t i = 0; i < KEYS; i++) {
		const struct tx_state state = state_of(i);

		if (key_groups_claim(shared, &state, group))
			atomic_fetch_add(&winners[i], 1);
	}
	return NULL;
}

static void one_thread_of_many_wins(void **unused)
{
	static char *const names[THREADS] = {"a", "b", "c", "d"};
	pthread_t threads[THREADS];

	(void)unused;
	shared = key_groups_new();
	assert_non_null(shared);
	for (unsigned i = 0; i < THREADS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, claim_all, names[i]), 0);
	for (unsigned i = 0; i < THREADS; i++)
		assert_int_equal(pthread_join(threads[i], NULL), 0);
	for (unsigned i = 0; i < KEYS; i++)
		assert_int_equal(winners[i], 1);
	key_groups_free(shared);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(first_group_has_the_key),
		cmocka_unit_test(least_lately_used_key_makes_room),
		cmocka_unit_test(one_thread_of_many_wins),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Guards: secret memory is zeroed, on pages of its own that no core dump and no child process sees; wiping wipes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "secret.h"

static void wiping_zeroes_exactly_its_range(void **unused)
{
	uint8_t bytes[16];

	(void)unused;
	memset(bytes, 0xaa, sizeof(bytes));
	secret_wipe(bytes + 4, 8);
	for (size_t i = 0; i < sizeof(bytes); i++)
		assert_int_equal(bytes[i], i >= 4 && i < 12 ? 0 : 0xaa);
	secret_wipe(NULL, 0);
}

static void equality_looks_at_every_byte(void **unused)
{
	uint8_t a[33], b[33];

	(void)unused;
	memset(a, 7, sizeof(a));
	memcpy(b, a, sizeof(a));
	assert_true(secret_equal(a, b, sizeof(a)));
	assert_true(secret_equal(a, b, 0));
	for (size_t i = 0; i < sizeof(a); i++) {
		for (int bit = 0; bit < 8; bit++) {
			b[i] ^= (uint8_t)(1 << bit);
			assert_false(secret_equal(a, b, sizeof(a)));
			b[i] ^= (uint8_t)(1 << bit);
		}
	}
}

/* True if the mapping that holds <memory> carries <flag> in /proc/self/smaps. */
static int mapping_has_flag(const void *memory, const char *flag)
{
	FILE *maps = fopen("/proc/self/smaps", "re");
	char line[512];
	int inside = 0, found = -1;

	assert_non_null(maps);
	while (fgets(line, sizeof(line), maps)) {
		unsigned long begin, end;

		if (sscanf(line, "%lx-%lx ", &begin, &end) == 2)
			inside = (uintptr_t)memory >= begin && (uintptr_t)memory < end;
		if (inside && strncmp(line, "VmFlags:", 8) == 0)
			found = strstr(line, flag) != NULL;
	}
	assert_int_equal(fclose(maps), 0);
	return found;
}

static void memory_is_zeroed_and_not_dumped(void **unused)
{
	static const size_t sizes[] = {1, 4095, 4096, 4097, 100000};

	(void)unused;
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		uint8_t *memory = secret_alloc(sizes[i]);

		assert_non_null(memory);
		for (size_t at = 0; at < sizes[i]; at++)
			assert_int_equal(memory[at], 0);
		assert_int_equal(mapping_has_flag(memory, " dd"), 1);
		memset(memory, 1, sizes[i]);
		secret_free(memory, sizes[i]);
	}
	assert_null(secret_alloc(0));
	assert_null(secret_alloc(SIZE_MAX));
	assert_null(secret_alloc(SIZE_MAX - 4096));
	secret_free(NULL, 10);
}

/* More than are kept for the next calls, of all sizes that share a page. */
static void memory_that_was_given_back_is_zeroed(void **unused)
{
	enum { COUNT = 100 };
	uint8_t *memory[COUNT];

	(void)unused;
	for (int round = 0; round < 3; round++) {
		for (size_t i = 0; i < COUNT; i++) {
			memory[i] = secret_alloc(1 + i * 40);
			assert_non_null(memory[i]);
			assert_int_equal((uintptr_t)memory[i] % 4096, 0);
			for (size_t at = 0; at < 4096; at++)
				assert_int_equal(memory[i][at], 0);
			memset(memory[i], 0xaa, 1 + i * 40);
			for (size_t other = 0; other < i; other++)
				assert_ptr_not_equal(memory[i], memory[other]);
		}
		for (size_t i = 0; i < COUNT; i++)
			secret_free(memory[i], 1 + i * 40);
	}
}

static void children_see_zeroes(void **unused)
{
	uint8_t *memory = secret_alloc(100);
	int status;
	pid_t child;

	(void)unused;
	assert_non_null(memory);
	memset(memory, 0xaa, 100);
	child = fork();
	assert_true(child >= 0);
	if (child == 0)
		_exit(memory[0] == 0 && memory[99] == 0 ? 0 : 1);
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(status, 0);
	assert_int_equal(memory[99], 0xaa);
	secret_free(memory, 100);
}

static void hardened_process_does_not_dump(void **unused)
{
	struct rlimit limit;

	(void)unused;
	assert_int_equal(secret_harden_process(), 0);
	assert_int_equal(prctl(PR_GET_DUMPABLE, 0, 0, 0, 0), 0);
	assert_int_equal(getrlimit(RLIMIT_CORE, &limit), 0);
	assert_int_equal(limit.rlim_cur, 0);
	assert_int_equal(limit.rlim_max, 0);
	/* The sanitizer's leak checker has to trace this process when it ends. */
	assert_int_equal(prctl(PR_SET_DUMPABLE, 1, 0, 0, 0), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(wiping_zeroes_exactly_its_range),
		cmocka_unit_test(equality_looks_at_every_byte),
		cmocka_unit_test(memory_is_zeroed_and_not_dumped),
		cmocka_unit_test(memory_that_was_given_back_is_zeroed),
		cmocka_unit_test(children_see_zeroes),
		cmocka_unit_test(hardened_process_does_not_dump),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

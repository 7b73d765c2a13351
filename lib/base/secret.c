/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "secret.h"

#include <pthread.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

void secret_wipe(void *memory, size_t len)
{
	if (len)
		explicit_bzero(memory, len);
}

/* Not inlined: its frame must lie where those of the functions before it did. */
__attribute__((noinline)) void secret_wipe_stack(void)
{
	unsigned char below[SECRET_STACK_LEN];

	explicit_bzero(below, sizeof(below));
}

bool secret_equal(const void *a, const void *b, size_t len)
{
	/* volatile keeps the compiler from leaving the loop at the first difference. */
	const volatile uint8_t *left = a, *right = b;
	uint8_t difference = 0;

	for (size_t i = 0; i < len; i++)
		difference = (uint8_t)(difference | (left[i] ^ right[i]));
	return difference == 0;
}

/* Whole pages that hold <len> bytes; 0 if there is no such size. */
static size_t mapping_size(size_t len)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);

	if (!len || len > SIZE_MAX - page)
		return 0;
	return (len + page - 1) / page * page;
}

/* Single pages that were given back, wiped: each sealer takes one, and making and unmaking it costs five system calls. */
#define SPARE_MAX 64u

static pthread_mutex_t spare_lock = PTHREAD_MUTEX_INITIALIZER;
static void *spares[SPARE_MAX];
static size_t spare_count;

/* Returns one, or NULL. */
static void *take_spare(void)
{
	void *page = NULL;

	(void)pthread_mutex_lock(&spare_lock);
	if (spare_count)
		page = spares[--spare_count];
	(void)pthread_mutex_unlock(&spare_lock);
	return page;
}

/* Returns false if there are enough. */
static bool keep_spare(void *page)
{
	bool kept = false;

	(void)pthread_mutex_lock(&spare_lock);
	if (spare_count < SPARE_MAX) {
		spares[spare_count++] = page;
		kept = true;
	}
	(void)pthread_mutex_unlock(&spare_lock);
	return kept;
}

void *secret_alloc(size_t len)
{
	size_t size = mapping_size(len);
	void *memory;

	if (!size)
		return NULL;
	memory = size == (size_t)sysconf(_SC_PAGESIZE) ? take_spare() : NULL;
	if (memory)
		return memory;
	memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (memory == MAP_FAILED)
		return NULL;
	if (madvise(memory, size, MADV_DONTDUMP) < 0) {
		(void)munmap(memory, size);
		return NULL;
	}
	/* Two favours that the kernel may refuse (RLIMIT_MEMLOCK, kernels before 4.14) without a secret coming into the
	 * open: dumps are excluded already. */
	(void)madvise(memory, size, MADV_WIPEONFORK);
	(void)mlock(memory, size);
	return memory;
}

void secret_free(void *memory, size_t len)
{
	if (!memory)
		return;
	secret_wipe(memory, len);
	if (mapping_size(len) == (size_t)sysconf(_SC_PAGESIZE) && keep_spare(memory))
		return;
	/* Fails only for an address that is no mapping of ours; the bytes are wiped in any case. */
	(void)munmap(memory, mapping_size(len));
}

int secret_harden_process(void)
{
	static const struct rlimit no_core = {.rlim_cur = 0, .rlim_max = 0};

	if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0)
		return -1;
	return setrlimit(RLIMIT_CORE, &no_core);
}

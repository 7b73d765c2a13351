/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Memory that holds key material: never in a core dump, wiped when it is given back. */
#ifndef DISC_SECRET_H
#define DISC_SECRET_H

#include <stdbool.h>
#include <stddef.h>

/* Overwrites <len> bytes at <memory>; the compiler never removes it. */
void secret_wipe(void *memory, size_t len);

/* Overwrites SECRET_STACK_LEN bytes of stack below the caller's frame: what functions that have returned, other
 * libraries' too, left there of what they worked on. */
#define SECRET_STACK_LEN 8192
void secret_wipe_stack(void);

/* Compares <len> bytes in time independent of their contents. Returns true if they are equal. */
bool secret_equal(const void *a, const void *b, size_t len);

/* Returns <len> zeroed bytes on pages of their own, kept out of core dumps (MADV_DONTDUMP) and, as far as
 * RLIMIT_MEMLOCK allows, out of swap; NULL when memory is exhausted. Give it back with secret_free() and the same
 * <len>. */
void *secret_alloc(size_t len);

/* Wipes what secret_alloc(<len>) returned, and unmaps it or keeps it for the next call. <memory> may be NULL. */
void secret_free(void *memory, size_t len);

/* Forbids core dumps and tracing of this process by other users (PR_SET_DUMPABLE, RLIMIT_CORE).
 * Returns 0, or -1 with errno set. */
int secret_harden_process(void);

#endif

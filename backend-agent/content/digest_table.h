/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Digest table: SHA-256 of files, in memory, each for a file as it was at one moment. Of fixed size: a new entry takes
 * the place of an old one. Lock-free, since the thread that computes digests has the lowest priority and must never keep
 * a worker waiting.
 */
#ifndef DISC_DIGEST_TABLE_H
#define DISC_DIGEST_TABLE_H

#include <stdbool.h>
#include <stdint.h>

#include "file_source.h"

#define DIGEST_TABLE_MAX 65536u /* entries; 104 bytes each */

struct digest_table;

enum digest_state {
	DIGEST_UNKNOWN, /* nothing is known of the file as it is now */
	DIGEST_AWAITED, /* digest_table_await() was called for it */
	DIGEST_KNOWN,
};

/* Returns an empty table, or NULL when memory is exhausted. */
struct digest_table *digest_table_new(void);
void digest_table_free(struct digest_table *table);

/* Looks <object> up: device, inode, size, modification and change time must be those of the entry. Fills <digest> with
 * DIGEST_KNOWN. Never waits. Safe from any thread, as are the following. */
enum digest_state digest_table_find(struct digest_table *table, const struct file_object *object,
				    uint8_t digest[static FILE_DIGEST_LEN]);

/* Notes that the digest of <object> is being computed: digest_table_find() says DIGEST_AWAITED. */
void digest_table_await(struct digest_table *table, const struct file_object *object);

/* Sets the digest of <object>. */
void digest_table_set(struct digest_table *table, const struct file_object *object,
		      const uint8_t digest[static FILE_DIGEST_LEN]);

/* Forgets <object>'s file, as whatever it was. */
void digest_table_forget(struct digest_table *table, const struct file_object *object);

#endif

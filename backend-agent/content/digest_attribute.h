/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Digest attribute: a file's SHA-256 in its extended attribute user.disc.sha256, so that it outlives the process.
 *
 *   1 SIZE MTIME INODE WRITTEN DIGEST
 *
 * decimal, times in nanoseconds, the digest as 64 hexadecimal digits. Whatever is done to a file moves its change time,
 * which nobody can set, and writing the attribute moves it too. So the attribute says when it was written: it holds as
 * long as the change time is that moment. Copies of a file that bring the attribute along have another inode.
 */
#ifndef DISC_DIGEST_ATTRIBUTE_H
#define DISC_DIGEST_ATTRIBUTE_H

#include <stdbool.h>
#include <stdint.h>

#include "file_source.h"

#define DIGEST_ATTRIBUTE_NAME "user.disc.sha256"

/* A change time up to so much behind the moment in the attribute is that of writing the attribute itself: two ticks of
 * the coarsest clock. */
#define DIGEST_ATTRIBUTE_WINDOW_NS 20000000

/* Only one so old is believed: its writer has looked for changes within the window by then, and taken it back. */
#define DIGEST_ATTRIBUTE_AGE_NS 1000000000

enum digest_attribute_status {
	DIGEST_ATTRIBUTE_GOOD,
	DIGEST_ATTRIBUTE_FRESH, /* as good, but not old enough to be believed */
	DIGEST_ATTRIBUTE_NONE,  /* there is none, or it is of another file or another time */
};

/* Reads the attribute of <object> at the time <now>. Fills <digest> with DIGEST_ATTRIBUTE_GOOD and _FRESH. */
enum digest_attribute_status digest_attribute_read(const struct file_object *object, const struct timespec *now,
						   uint8_t digest[static FILE_DIGEST_LEN]);

/* Writes <digest> to the attribute of <object>, and updates object->ctime. Returns 0; the caller looks whether the file
 * changed within the window. Or -1 with errno set (EROFS, EPERM, ENOTSUP ...), EAGAIN if the file's clock is not this
 * host's or this host is too busy, EBUSY if the file changed meanwhile, ENOTSUP also on an overlay, where the attribute
 * would copy the whole file: then there is no attribute that digest_attribute_read() believes. */
int digest_attribute_write(struct file_object *object, const uint8_t digest[static FILE_DIGEST_LEN]);

/* Removes the attribute, if there is one. */
void digest_attribute_remove(const struct file_object *object);

#endif

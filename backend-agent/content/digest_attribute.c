/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "digest_attribute.h"

#include <errno.h>
#include <inttypes.h>
#include <linux/magic.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <sys/xattr.h>

#define VALUE_MAX 192
#define WRITE_TRIES 4

static int64_t nanoseconds(const struct timespec *time)
{
	return (int64_t)time->tv_sec * 1000000000 + time->tv_nsec;
}

static void format_hex(char hex[static 2 * FILE_DIGEST_LEN + 1], const uint8_t digest[static FILE_DIGEST_LEN])
{
	for (size_t i = 0; i < FILE_DIGEST_LEN; i++)
		(void)snprintf(hex + 2 * i, 3, "%02x", digest[i]);
}

static bool parse_hex(uint8_t digest[static FILE_DIGEST_LEN], const char *hex)
{
	if (strlen(hex) != 2 * FILE_DIGEST_LEN || strspn(hex, "0123456789abcdef") != 2 * FILE_DIGEST_LEN)
		return false;
	for (size_t i = 0; i < FILE_DIGEST_LEN; i++) {
		unsigned byte;

		if (sscanf(hex + 2 * i, "%2x", &byte) != 1)
			return false;
		digest[i] = (uint8_t)byte;
	}
	return true;
}

/* Whether a change time <ctime> is that of an attribute written at <written>. */
static bool is_of_writing(int64_t ctime, int64_t written)
{
	return ctime >= written && ctime - written <= DIGEST_ATTRIBUTE_WINDOW_NS;
}

enum digest_attribute_status digest_attribute_read(const struct file_object *object, const struct timespec *now,
						   uint8_t digest[static FILE_DIGEST_LEN])
{
	char value[VALUE_MAX + 1], hex[2 * FILE_DIGEST_LEN + 1], more;
	ssize_t len = fgetxattr(object->fd, DIGEST_ATTRIBUTE_NAME, value, VALUE_MAX);
	uint64_t size, inode;
	int64_t mtime, written, ctime = nanoseconds(&object->ctime);

	if (len <= 0)
		return DIGEST_ATTRIBUTE_NONE;
	value[len] = '\0';
	if (sscanf(value, "1 %" SCNu64 " %" SCNd64 " %" SCNu64 " %" SCNd64 " %64s%c", &size, &mtime, &inode, &written,
		   hex, &more) != 5)
		return DIGEST_ATTRIBUTE_NONE;
	if (size != object->size || mtime != nanoseconds(&object->mtime) || inode != object->inode ||
	    !is_of_writing(ctime, written) || !parse_hex(digest, hex))
		return DIGEST_ATTRIBUTE_NONE;
	return nanoseconds(now) - ctime >= DIGEST_ATTRIBUTE_AGE_NS ? DIGEST_ATTRIBUTE_GOOD : DIGEST_ATTRIBUTE_FRESH;
}

static bool is_on_overlay(int fd)
{
	struct statfs fs;

	return fstatfs(fd, &fs) == 0 && fs.f_type == OVERLAYFS_SUPER_MAGIC;
}

int digest_attribute_write(struct file_object *object, const uint8_t digest[static FILE_DIGEST_LEN])
{
	char value[VALUE_MAX], hex[2 * FILE_DIGEST_LEN + 1];

	if (is_on_overlay(object->fd)) {
		errno = ENOTSUP;
		return -1;
	}
	format_hex(hex, digest);
	for (int i = 0; i < WRITE_TRIES; i++) {
		struct timespec written;
		struct stat st;
		int len;

		/* The clock that the kernel stamps files with, or one that it is never behind. */
		if (clock_gettime(CLOCK_REALTIME_COARSE, &written) < 0)
			return -1;
		len = snprintf(value, sizeof(value), "1 %" PRIu64 " %" PRId64 " %" PRIu64 " %" PRId64 " %s",
			       object->size, nanoseconds(&object->mtime), (uint64_t)object->inode,
			       nanoseconds(&written), hex);
		if (fsetxattr(object->fd, DIGEST_ATTRIBUTE_NAME, value, (size_t)len, 0) < 0 ||
		    fstat(object->fd, &st) < 0)
			return -1;
		object->ctime = st.st_ctim;
		if (!file_object_unchanged(object)) {
			digest_attribute_remove(object);
			errno = EBUSY;
			return -1;
		}
		if (is_of_writing(nanoseconds(&object->ctime), nanoseconds(&written)))
			return 0;
	}
	errno = EAGAIN;
	return -1;
}

void digest_attribute_remove(const struct file_object *object)
{
	/* It may be gone already; and one that stays is not believed, since the file has changed. */
	(void)fremovexattr(object->fd, DIGEST_ATTRIBUTE_NAME);
}

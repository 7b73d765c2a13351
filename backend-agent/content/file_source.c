/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "file_source.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

/* A rename in the tree at the moment of a lookup makes openat2() give up with EAGAIN: worth another try, not many. */
#define LOOKUP_TRIES 8

/* Somewhat longer than the coarsest clock tick, the 10 ms of HZ=100. */
#define TICK_NS 12000000

struct file_source {
	int root;
	void (*find)(void *context, const char *path, struct file_object *object); /* a digest; NULL: there are none */
	void *context;
};

/* O_NONBLOCK: a FIFO would else wait for its writer. O_NOCTTY: a terminal must not become ours. */
static int open_beneath(int root, const char *path, uint64_t flags)
{
	struct open_how how = {
		.flags = flags | O_CLOEXEC | O_NONBLOCK | O_NOCTTY,
		.resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS,
	};
	long fd = -1;

	for (int try = 0; try < LOOKUP_TRIES; try++) {
		fd = syscall(SYS_openat2, root, path[0] ? path : ".", &how, sizeof(how));
		if (fd >= 0 || (errno != EAGAIN && errno != EINTR))
			break;
	}
	return (int)fd;
}

struct file_source *file_source_new(const char *root)
{
	struct file_source *source = calloc(1, sizeof(*source));
	int probe;

	if (!source)
		return NULL;
	source->root = open(root, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (source->root < 0) {
		free(source);
		return NULL;
	}
	probe = open_beneath(source->root, "", O_RDONLY | O_DIRECTORY);
	if (probe < 0) {
		int saved = errno;

		file_source_free(source);
		errno = saved;
		return NULL;
	}
	close(probe);
	return source;
}

void file_source_free(struct file_source *source)
{
	if (!source)
		return;
	close(source->root);
	free(source);
}

static enum file_status status_of_errno(int error)
{
	switch (error) {
	case ENOENT:
	case ENOTDIR:
	case ENAMETOOLONG:
	case EINVAL:
		return FILE_NOT_FOUND;
	case EACCES:
	case EPERM:
	case EXDEV: /* would have left the root */
	case ELOOP:
	case ENXIO: /* a socket, or a device that is not there */
	case ENODEV:
		return FILE_FORBIDDEN;
	case EAGAIN:
	case EINTR:
	case EMFILE:
	case ENFILE:
	case ENOMEM:
		return FILE_UNAVAILABLE;
	default:
		return FILE_BROKEN;
	}
}

/* FNV-1a: tells the files of one root apart, where size and time are alike. */
static uint64_t hash_name(const char *path)
{
	uint64_t hash = 0xcbf29ce484222325u;

	for (; *path != '\0'; path++)
		hash = (hash ^ (unsigned char)*path) * 0x100000001b3u;
	return hash;
}

int file_source_open_root(const struct file_source *source)
{
	return open_beneath(source->root, "", O_RDONLY | O_DIRECTORY);
}

void file_source_set_digests(struct file_source *source,
			     void (*find)(void *context, const char *path, struct file_object *object), void *context)
{
	source->find = find;
	source->context = context;
}

enum file_status file_source_open(const struct file_source *source, const char *path, struct file_object *object)
{
	enum file_status status = file_source_open_plainly(source, path, object);

	if (status == FILE_OK && source->find)
		source->find(source->context, path, object);
	return status;
}

enum file_status file_source_open_plainly(const struct file_source *source, const char *path,
					  struct file_object *object)
{
	struct timespec now;
	struct stat st;

	*object = (struct file_object){.fd = open_beneath(source->root, path, O_RDONLY)};
	if (object->fd < 0) {
		object->fd = -1;
		return status_of_errno(errno);
	}
	if (fstat(object->fd, &st) < 0 || st.st_size < 0) {
		file_object_close(object);
		return FILE_BROKEN;
	}
	if (!S_ISREG(st.st_mode)) {
		file_object_close(object);
		return S_ISDIR(st.st_mode) ? FILE_IS_DIRECTORY : FILE_FORBIDDEN;
	}
	object->size = (uint64_t)st.st_size;
	object->device = st.st_dev;
	object->inode = st.st_ino;
	object->mtime = st.st_mtim;
	object->ctime = st.st_ctim;
	object->settled = clock_gettime(CLOCK_REALTIME, &now) == 0 && file_object_is_settled(object, &now);
	object->name = hash_name(path);
	return FILE_OK;
}

void file_object_close(struct file_object *object)
{
	if (object->fd >= 0)
		close(object->fd);
	object->fd = -1;
}

static bool same_time(const struct timespec *a, const struct timespec *b)
{
	return a->tv_sec == b->tv_sec && a->tv_nsec == b->tv_nsec;
}

static bool is_same(const struct file_object *object, bool with_ctime)
{
	struct stat st;

	return fstat(object->fd, &st) == 0 && st.st_dev == object->device && st.st_ino == object->inode &&
	       (uint64_t)st.st_size == object->size && same_time(&st.st_mtim, &object->mtime) &&
	       (!with_ctime || same_time(&st.st_ctim, &object->ctime));
}

bool file_object_unchanged(const struct file_object *object)
{
	/* As a rule not the change time: replacing a file by rename() moves it, and the file at hand is still good
	 * then. */
	return is_same(object, object->pins_ctime);
}

bool file_object_untouched(const struct file_object *object)
{
	return is_same(object, true);
}

bool file_object_is_settled(const struct file_object *object, const struct timespec *now)
{
	int64_t age_s = (int64_t)now->tv_sec - object->mtime.tv_sec;
	int64_t age_ns;

	/* A time in the future was set by hand: a write would move it. */
	if (age_s > 1 || age_s < -1)
		return true;
	age_ns = age_s * 1000000000 + now->tv_nsec - object->mtime.tv_nsec;
	return age_ns > TICK_NS || age_ns < -TICK_NS;
}

static uint64_t nanoseconds(const struct timespec *time)
{
	return (uint64_t)time->tv_sec * 1000000000u + (uint64_t)time->tv_nsec;
}

void file_object_etag(const struct file_object *object, char etag[static FILE_ETAG_MAX])
{
	static const char digits[] = "0123456789abcdef", prefix[] = "\"sha256-";
	char *at = etag + sizeof(prefix) - 1;

	if (!object->has_digest) {
		file_object_time_etag(object, etag);
		return;
	}
	memcpy(etag, prefix, sizeof(prefix) - 1);
	for (size_t i = 0; i < FILE_DIGEST_LEN; i++) {
		*at++ = digits[object->digest[i] >> 4];
		*at++ = digits[object->digest[i] & 15];
	}
	strcpy(at, "\"");
}

bool file_object_time_tells(const struct file_object *object)
{
	return object->mtime.tv_nsec && object->settled;
}

void file_object_time_etag(const struct file_object *object, char etag[static FILE_ETAG_MAX])
{
	uint64_t mtime = nanoseconds(&object->mtime);

	if (file_object_time_tells(object))
		snprintf(etag, FILE_ETAG_MAX, "\"%" PRIx64 "-%" PRIx64 "-%" PRIx64 "\"", object->size, mtime,
			 object->name);
	else
		snprintf(etag, FILE_ETAG_MAX, "W/\"%" PRIx64 "-%" PRIx64 "-%" PRIx64 "-%" PRIx64 "\"", object->size,
			 mtime, object->name, nanoseconds(&object->ctime));
}

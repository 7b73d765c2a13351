/* SPDX-License-Identifier: GPL-2.0-or-later */
/* File source: regular files below one root folder. Every name is resolved by the kernel beneath the root
 * (openat2(2), RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS): symbolic links inside the root are followed, nothing leaves
 * it. */
#ifndef DISC_FILE_SOURCE_H
#define DISC_FILE_SOURCE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <time.h>

struct file_source;

/* Opens the folder <root>. Returns the source, or NULL with errno set (ENOSYS: a kernel before 5.6, without
 * openat2). */
struct file_source *file_source_new(const char *root);
void file_source_free(struct file_source *source);

#define FILE_DIGEST_LEN 32u

/* An open file and what it was when it was opened: while a body is produced, it is pinned by this. A file that is
 * replaced by rename() stays as it was; one that is written in place has changed. */
struct file_object {
	int fd;        /* -1: none */
	uint64_t size; /* bytes */
	dev_t device;
	ino_t inode;
	struct timespec mtime, ctime;
	bool settled;  /* file_object_is_settled() when it was opened */
	uint64_t name; /* a hash of the path below the root */
	bool has_digest;
	uint8_t digest[FILE_DIGEST_LEN]; /* with <has_digest>: SHA-256 of its bytes */
	bool pins_ctime;                 /* file_object_unchanged() looks at the change time, too */
};

enum file_status {
	FILE_OK = 0,
	FILE_IS_DIRECTORY, /* the name is that of a folder */
	FILE_NOT_FOUND,
	FILE_FORBIDDEN,   /* no permission, leads out of the root, or is neither file nor folder */
	FILE_UNAVAILABLE, /* out of descriptors or memory: may work later */
	FILE_BROKEN,      /* I/O error */
};

/* Opens the file <path>, relative to the root ("" is the root itself). With FILE_OK the caller owns <object> and closes
 * it with file_object_close(); otherwise object->fd is -1. Never waits for a FIFO or device. Safe from any thread. */
enum file_status file_source_open(const struct file_source *source, const char *path, struct file_object *object);

/* The same without asking for a digest. */
enum file_status file_source_open_plainly(const struct file_source *source, const char *path,
					  struct file_object *object);

/* Opens the root folder for reading. Returns its descriptor, or -1 with errno set. */
int file_source_open_root(const struct file_source *source);

/* From now on file_source_open() calls <find>, which sets has_digest and digest of the file <path> that was opened, if
 * its digest is known. NULL: no more. Before threads use <source>, and after. */
void file_source_set_digests(struct file_source *source,
			     void (*find)(void *context, const char *path, struct file_object *object), void *context);

/* Closes <object>; one without a descriptor is left alone. */
void file_object_close(struct file_object *object);

/* True if the open file is still what it was: inode, size and modification time to the nanosecond. */
bool file_object_unchanged(const struct file_object *object);

/* The same, and nothing else was done to it: its change time is what it was. Replacing the file by rename() moves it. */
bool file_object_untouched(const struct file_object *object);

/* True if a change to the file from <now> on must show in its modification time. A kernel without fine-grained times
 * stamps all writes of one clock tick alike, so a file written in this very tick could change once more unseen. */
bool file_object_is_settled(const struct file_object *object, const struct timespec *now);

/* True if another state of the file would have another time: it has a fraction of a second, and was not of the very
 * clock tick in which the file was opened. A time in whole seconds is often made up (archives, images, reproducible
 * builds). */
bool file_object_time_tells(const struct file_object *object);

#define FILE_ETAG_MAX 96 /* bytes of an entity tag with quotes and a terminating zero */

/* Writes the entity tag of <object> (RFC 9110 8.8.3). With a digest this is its tag, a strong one, and otherwise the one
 * of its time. */
void file_object_etag(const struct file_object *object, char etag[static FILE_ETAG_MAX]);

/* Writes the entity tag that <object> has by its time.
 *
 * A strong one has size, modification time to the nanosecond, and name, so that copies on other nodes have the same one
 * if they were made with their times (rsync -a, cp -p). Who replaces a file must not give the new one the size and the
 * time of the old.
 *
 * If the time tells too little, the tag is weak, and has the change time as well, which nobody can make up: a cache
 * learns that the file was replaced. Copies on other nodes have others. */
void file_object_time_etag(const struct file_object *object, char etag[static FILE_ETAG_MAX]);

#endif

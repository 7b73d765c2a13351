/* SPDX-License-Identifier: GPL-2.0-or-later */
/* File window: a part of a file mapped into memory, so that its bytes are sealed from the page cache without a copy.
 *
 * A file that shrinks, or cannot be read, makes the kernel signal SIGBUS where its bytes are looked at. A window's owner is
 * not hit by that: zeros take the place of the missing bytes, and file_window_is_whole() tells afterwards. */
#ifndef DISC_FILE_WINDOW_H
#define DISC_FILE_WINDOW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define FILE_WINDOW_LEN (4u << 20) /* bytes; a new window costs two system calls and its pages' entries */

struct file_window {
	uint8_t *at; /* NULL: none */
	size_t len;
	uint64_t offset; /* in the file, of its first byte */
};

/* Returns where <len> bytes, at most half a window, from <offset> of the file <fd> lie; the window moves there if need be. To be
 * looked at by this thread, and until file_window_is_whole() alone. NULL, with errno set, if they cannot be mapped. */
const uint8_t *file_window_look(struct file_window *window, int fd, uint64_t offset, size_t len);

/* Ends what file_window_look() began. Returns true if all bytes of the file were there. */
bool file_window_is_whole(struct file_window *window);

void file_window_close(struct file_window *window);

#endif

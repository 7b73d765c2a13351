/* SPDX-License-Identifier: GPL-2.0-or-later */
/* URL path: from the target of a request (RFC 9112 3.2) to a relative path that names a file. Text in, text out. */
#ifndef DISC_URL_PATH_H
#define DISC_URL_PATH_H

#include "text_span.h"

#define URL_PATH_MAX 4096 /* bytes of a decoded path, with its terminating zero: as the kernel's PATH_MAX */

enum url_path_status {
	URL_PATH_OK = 0,
	URL_PATH_MALFORMED, /* no path, %zz, %00, '#': answer 400 */
	/* longer than any path, or with an encoded slash, which no file name holds: answer 404 */
	URL_PATH_NO_SUCH_FILE,
};

struct url_path {
	/* Decoded and without dot segments (RFC 3986 5.2.4): "" is the root, "a/b" a file, "a/b/" a directory. Never
	 * begins with '/', has no empty, "." or ".." segment. */
	char text[URL_PATH_MAX];
	size_t len;
	struct text_span query; /* behind '?', in the target's memory */
};

/* Reads origin-form ("/a%20b?q") and absolute-form ("http://host/a"). ".." above the root stays at the root. */
enum url_path_status url_path_parse(struct url_path *path, struct text_span target);

/* Writes <path> with a leading '/', percent-encoded (RFC 3986 2.1), and terminated to <out> (<cap> bytes). Returns its
 * length, or 0 if it does not fit. */
size_t url_path_encode(const struct url_path *path, char *out, size_t cap);

#endif

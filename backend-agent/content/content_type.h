/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Content type of a file by the extension of its name (RFC 9110 8.3). */
#ifndef DISC_CONTENT_TYPE_H
#define DISC_CONTENT_TYPE_H

struct content_types;

/* Creates the table: the built-in one and over it, unless <mime_types_file> is NULL, a file in the format of
 * /etc/mime.types ("text/html html htm", '#' begins a comment). Returns it, or NULL with errno set. */
struct content_types *content_types_new(const char *mime_types_file);
void content_types_free(struct content_types *types);

/* Returns the type of the file named <path>, "application/octet-stream" if its extension is unknown or it has none; it
 * belongs to <types>. Safe from any thread. */
const char *content_type_of(const struct content_types *types, const char *path);

#endif

/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "content_type.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <uthash.h>

#define EXTENSION_MAX 32 /* bytes, with a terminating zero; longer ones are no extensions */
#define TYPE_MAX 128

/* What a site is made of, for when there is no mime.types. Texts say their charset, as mime.types cannot. */
static const struct {
	const char *extension, *type;
} builtin[] = {
	{"html", "text/html; charset=utf-8"},
	{"htm", "text/html; charset=utf-8"},
	{"txt", "text/plain; charset=utf-8"},
	{"md", "text/markdown; charset=utf-8"},
	{"css", "text/css; charset=utf-8"},
	{"csv", "text/csv; charset=utf-8"},
	{"js", "text/javascript; charset=utf-8"},
	{"mjs", "text/javascript; charset=utf-8"},
	{"json", "application/json"},
	{"xml", "application/xml"},
	{"pdf", "application/pdf"},
	{"zip", "application/zip"},
	{"gz", "application/gzip"},
	{"tar", "application/x-tar"},
	{"wasm", "application/wasm"},
	{"iso", "application/x-iso9660-image"},
	{"png", "image/png"},
	{"jpg", "image/jpeg"},
	{"jpeg", "image/jpeg"},
	{"gif", "image/gif"},
	{"webp", "image/webp"},
	{"avif", "image/avif"},
	{"svg", "image/svg+xml"},
	{"ico", "image/vnd.microsoft.icon"},
	{"mp3", "audio/mpeg"},
	{"ogg", "audio/ogg"},
	{"flac", "audio/flac"},
	{"m4a", "audio/mp4"},
	{"mp4", "video/mp4"},
	{"m4s", "video/mp4"},
	{"webm", "video/webm"},
	{"mkv", "video/x-matroska"},
	{"ts", "video/mp2t"},
	{"m3u8", "application/vnd.apple.mpegurl"},
	{"mpd", "application/dash+xml"},
	{"woff", "font/woff"},
	{"woff2", "font/woff2"},
	{"ttf", "font/ttf"},
};

struct entry {
	char extension[EXTENSION_MAX]; /* lower case */
	char type[TYPE_MAX];
	UT_hash_handle hh;
};

struct content_types {
	struct entry *entries;
};

/* Copies <from> in lower case. Returns 0 if it is empty or too long. */
static size_t lower(char to[static EXTENSION_MAX], const char *from)
{
	size_t len = strlen(from);

	if (!len || len >= EXTENSION_MAX)
		return 0;
	for (size_t i = 0; i <= len; i++)
		to[i] = from[i] >= 'A' && from[i] <= 'Z' ? (char)(from[i] - 'A' + 'a') : from[i];
	return len;
}

static int set_type(struct content_types *types, const char *extension, const char *type)
{
	char key[EXTENSION_MAX];
	struct entry *entry;
	size_t len = lower(key, extension);

	if (!len || strlen(type) >= TYPE_MAX)
		return 0;
	HASH_FIND(hh, types->entries, key, len, entry);
	if (!entry) {
		entry = calloc(1, sizeof(*entry));
		if (!entry)
			return -1;
		memcpy(entry->extension, key, len + 1);
		HASH_ADD(hh, types->entries, extension, len, entry);
	}
	strcpy(entry->type, type);
	return 0;
}

/* A type that would break the response's head is none. */
static int is_type(const char *text)
{
	for (const char *c = text; *c != '\0'; c++)
		if (*c < '!' || *c > '~')
			return 0;
	return strchr(text, '/') != NULL;
}

/* Sets what one line of mime.types says, but keeps a built-in type that differs only in naming the charset. */
static int read_line(struct content_types *types, char *line)
{
	char *rest = NULL, *type, *extension;

	line[strcspn(line, "#\r\n")] = '\0';
	type = strtok_r(line, " \t", &rest);
	if (!type || !is_type(type))
		return 0;
	while ((extension = strtok_r(NULL, " \t", &rest))) {
		char path[EXTENSION_MAX + 2];
		size_t len = strlen(type);
		const char *known;

		if (strlen(extension) >= EXTENSION_MAX)
			continue;
		snprintf(path, sizeof(path), "x.%s", extension);
		known = content_type_of(types, path);
		if (strncasecmp(known, type, len) == 0 && known[len] == ';')
			continue;
		if (set_type(types, extension, type) < 0)
			return -1;
	}
	return 0;
}

static int read_file(struct content_types *types, const char *name)
{
	FILE *file = fopen(name, "re");
	char *line = NULL;
	size_t cap = 0;
	int result = 0, saved;

	if (!file)
		return -1;
	errno = 0;
	while (result == 0 && getline(&line, &cap, file) >= 0)
		result = read_line(types, line);
	if (ferror(file))
		result = -1;
	saved = errno;
	free(line);
	if (fclose(file) != 0)
		result = -1;
	errno = saved;
	return result;
}

struct content_types *content_types_new(const char *mime_types_file)
{
	struct content_types *types = calloc(1, sizeof(*types));
	int saved;

	if (!types)
		return NULL;
	for (size_t i = 0; i < sizeof(builtin) / sizeof(builtin[0]); i++)
		if (set_type(types, builtin[i].extension, builtin[i].type) < 0)
			goto fail;
	if (mime_types_file && read_file(types, mime_types_file) < 0)
		goto fail;
	return types;
fail:
	saved = errno;
	content_types_free(types);
	errno = saved;
	return NULL;
}

void content_types_free(struct content_types *types)
{
	struct entry *entry, *next;

	if (!types)
		return;
	HASH_ITER (hh, types->entries, entry, next) {
		HASH_DEL(types->entries, entry);
		free(entry);
	}
	free(types);
}

const char *content_type_of(const struct content_types *types, const char *path)
{
	const char *name = strrchr(path, '/'), *dot;
	struct entry *entry = NULL;
	char key[EXTENSION_MAX];
	size_t len;

	name = name ? name + 1 : path;
	dot = strrchr(name, '.');
	len = dot ? lower(key, dot + 1) : 0;
	if (len)
		HASH_FIND(hh, types->entries, key, len, entry);
	return entry ? entry->type : "application/octet-stream";
}

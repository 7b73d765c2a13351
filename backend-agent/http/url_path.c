/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "url_path.h"

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

/* Cuts scheme and authority off an absolute-form target. Returns false if <target> has neither form. */
static bool strip_authority(struct text_span *target)
{
	static const char *const schemes[] = {"http://", "https://"};

	if (target->len && target->data[0] == '/')
		return true;
	for (size_t i = 0; i < sizeof(schemes) / sizeof(schemes[0]); i++) {
		size_t len = strlen(schemes[i]);

		if (target->len <= len || strncasecmp(target->data, schemes[i], len) != 0)
			continue;
		target->data += len;
		target->len -= len;
		while (target->len && target->data[0] != '/' && target->data[0] != '?') {
			target->data++;
			target->len--;
		}
		return true;
	}
	return false;
}

/* Drops the last segment of <path>, which ends with '/' or is empty, and leaves what is above it. */
static void drop_last_segment(struct url_path *path)
{
	if (path->len)
		path->len--;
	while (path->len && path->text[path->len - 1] != '/')
		path->len--;
}

/* Ends the segment that begins at <start>: dot segments vanish, and so do empty ones. <more>: a '/' follows. */
static bool end_segment(struct url_path *path, size_t start, bool more)
{
	size_t len = path->len - start;
	const char *segment = path->text + start;

	if (!len)
		return true;
	if (len == 1 && segment[0] == '.') {
		path->len = start;
		return true;
	}
	if (len == 2 && segment[0] == '.' && segment[1] == '.') {
		path->len = start;
		drop_last_segment(path);
		return true;
	}
	if (more) {
		if (path->len + 1 >= URL_PATH_MAX)
			return false;
		path->text[path->len++] = '/';
	}
	return true;
}

/* Decodes the character at <*at> of <raw> and moves behind it. */
static enum url_path_status take_char(struct text_span raw, size_t *at, char *c)
{
	int high, low;

	*c = raw.data[(*at)++];
	if (*c == '#' || *c == '\0')
		return URL_PATH_MALFORMED;
	if (*c != '%')
		return URL_PATH_OK;
	if (raw.len - *at < 2)
		return URL_PATH_MALFORMED;
	high = hex_digit(raw.data[*at]);
	low = hex_digit(raw.data[*at + 1]);
	if (high < 0 || low < 0 || (high == 0 && low == 0))
		return URL_PATH_MALFORMED;
	*at += 2;
	*c = (char)(high << 4 | low);
	return *c == '/' ? URL_PATH_NO_SUCH_FILE : URL_PATH_OK;
}

static enum url_path_status decode(struct url_path *path, struct text_span raw)
{
	enum url_path_status verdict = URL_PATH_OK;
	size_t start = 0, at = 0;

	while (at < raw.len) {
		bool slash = raw.data[at] == '/';
		enum url_path_status status;
		char c;

		status = take_char(raw, &at, &c);
		if (status == URL_PATH_MALFORMED)
			return status;
		if (status != URL_PATH_OK)
			verdict = status; /* the rest may still be malformed */
		if (verdict != URL_PATH_OK)
			continue;
		if (slash) {
			if (!end_segment(path, start, true))
				verdict = URL_PATH_NO_SUCH_FILE;
			start = path->len;
		} else if (path->len + 1 >= URL_PATH_MAX) {
			verdict = URL_PATH_NO_SUCH_FILE;
		} else {
			path->text[path->len++] = c;
		}
	}
	if (verdict == URL_PATH_OK)
		(void)end_segment(path, start, false); /* fails only when it has a '/' to add */
	path->text[path->len] = '\0';
	return verdict;
}

enum url_path_status url_path_parse(struct url_path *path, struct text_span target)
{
	const char *mark;

	path->len = 0;
	path->text[0] = '\0';
	path->query = (struct text_span){NULL, 0};
	if (!strip_authority(&target))
		return URL_PATH_MALFORMED;
	mark = memchr(target.data, '?', target.len);
	if (mark) {
		path->query = (struct text_span){mark + 1, (size_t)(target.data + target.len - (mark + 1))};
		target.len = (size_t)(mark - target.data);
	}
	return decode(path, target);
}

static bool is_plain(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
	       (c != '\0' && strchr("-._~/!$&'()*+,;=:@", c));
}

size_t url_path_encode(const struct url_path *path, char *out, size_t cap)
{
	static const char digits[] = "0123456789ABCDEF";
	size_t len = 0;

	if (cap < 2)
		return 0;
	out[len++] = '/';
	for (size_t i = 0; i < path->len; i++) {
		unsigned char c = (unsigned char)path->text[i];

		if (len + 4 > cap)
			return 0;
		if (is_plain((char)c)) {
			out[len++] = (char)c;
		} else {
			out[len++] = '%';
			out[len++] = digits[c >> 4];
			out[len++] = digits[c & 15];
		}
	}
	out[len] = '\0';
	return len;
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Text span: some bytes of a buffer that another owns; not terminated. A span that was never set has no data. */
#ifndef DISC_TEXT_SPAN_H
#define DISC_TEXT_SPAN_H

#include <stdbool.h>
#include <stddef.h>
#include <string.h>
#include <strings.h>

struct text_span {
	const char *data;
	size_t len;
};

static inline bool text_span_is_set(struct text_span span)
{
	return span.data != NULL;
}

/* True if <span> is <text>, letter case included. */
static inline bool text_span_equals(struct text_span span, const char *text)
{
	return span.len == strlen(text) && memcmp(span.data, text, span.len) == 0;
}

/* True if <span> is <text> in any mixture of ASCII letter cases. */
static inline bool text_span_is_word(struct text_span span, const char *text)
{
	return span.len == strlen(text) && strncasecmp(span.data, text, span.len) == 0;
}

/* Returns <span> without the spaces and tabs around it (RFC 9110 5.6.3). */
static inline struct text_span text_span_trim(struct text_span span)
{
	while (span.len && (span.data[0] == ' ' || span.data[0] == '\t')) {
		span.data++;
		span.len--;
	}
	while (span.len && (span.data[span.len - 1] == ' ' || span.data[span.len - 1] == '\t'))
		span.len--;
	return span;
}

/* True if the comma-separated <list> (RFC 9110 5.6.1) has <word>, in any mixture of ASCII letter cases. */
static inline bool text_span_lists(struct text_span list, struct text_span word)
{
	while (list.len) {
		const char *comma = (const char *)memchr(list.data, ',', list.len);
		size_t len = comma ? (size_t)(comma - list.data) : list.len;
		struct text_span member = text_span_trim((struct text_span){list.data, len});

		if (member.len == word.len && strncasecmp(member.data, word.data, word.len) == 0)
			return true;
		if (!comma)
			return false;
		list = (struct text_span){comma + 1, list.len - len - 1};
	}
	return false;
}

#endif

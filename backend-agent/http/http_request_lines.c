/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "http_request_lines.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Fields of the connection, or of a body, which no request has that is passed on. */
static const char *const dropped[] = {
	"Connection",        "Keep-Alive", "Proxy-Connection", "Proxy-Authorization", "TE",     "Trailer",
	"Transfer-Encoding", "Upgrade",    "HTTP2-Settings",   "Content-Length",      "Expect",
};

char *http_request_target(const struct fetch_request *request)
{
	struct text_span target = request->target;
	const char *authority, *path;
	char *text;

	if (target.len && target.data[0] != '/') {
		authority = memmem(target.data, target.len, "://", 3);
		path = NULL;
		if (authority) {
			size_t at = (size_t)(authority + 3 - target.data);

			path = memchr(target.data + at, '/', target.len - at);
		}
		if (!path)
			return strdup("/");
		target = (struct text_span){path, target.len - (size_t)(path - target.data)};
	}
	text = malloc(target.len + 1);
	if (!text)
		return NULL;
	memcpy(text, target.data, target.len);
	text[target.len] = '\0';
	return text;
}

static bool is_passed_on(const struct fetch_request *request, struct text_span name)
{
	for (size_t i = 0; i < sizeof(dropped) / sizeof(dropped[0]); i++)
		if (text_span_is_word(name, dropped[i]))
			return false;
	if (name.len >= 5 && strncasecmp(name.data, "Disc-", 5) == 0)
		return false;
	for (unsigned i = 0; i < request->field_count; i++)
		if (text_span_is_word(request->fields[i].name, "Connection") &&
		    text_span_lists(request->fields[i].value, name))
			return false;
	return true;
}

/* Appends one line; on failure frees all and leaves NULL. */
static bool append(struct curl_slist **list, const char *line)
{
	struct curl_slist *longer = curl_slist_append(*list, line);

	if (!longer)
		curl_slist_free_all(*list);
	*list = longer;
	return longer != NULL;
}

static bool append_field(struct curl_slist **list, const struct fetch_field *field)
{
	char *line = malloc(field->name.len + field->value.len + 3);
	bool ok;

	if (!line) {
		curl_slist_free_all(*list);
		*list = NULL;
		return false;
	}
	memcpy(line, field->name.data, field->name.len);
	if (!field->value.len) {
		/* libcurl's way to write a field without a value. */
		memcpy(line + field->name.len, ";", 2);
	} else {
		memcpy(line + field->name.len, ": ", 2);
		memcpy(line + field->name.len + 2, field->value.data, field->value.len);
		line[field->name.len + 2 + field->value.len] = '\0';
	}
	ok = append(list, line);
	free(line);
	return ok;
}

struct curl_slist *http_request_lines(const struct fetch_request *request)
{
	struct curl_slist *list = NULL;
	bool has_accept = false, has_agent = false;

	for (unsigned i = 0; i < request->field_count; i++) {
		const struct fetch_field *field = &request->fields[i];

		if (!is_passed_on(request, field->name))
			continue;
		has_accept = has_accept || text_span_is_word(field->name, "Accept");
		has_agent = has_agent || text_span_is_word(field->name, "User-Agent");
		if (!append_field(&list, field))
			return NULL;
	}
	/* "Name:" takes libcurl's own line away. */
	if ((!has_accept && !append(&list, "Accept:")) || (!has_agent && !append(&list, "User-Agent:")))
		return NULL;
	/* Never an empty list. */
	return list || append(&list, "Expect:") ? list : NULL;
}

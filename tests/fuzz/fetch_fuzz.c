/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Any bytes on the fetch hop: what is read as a request stays inside the bytes, its path is safe to open beneath a
 * root, its range lies inside the file, and a second look at the same head finds the same. */
#include <stdlib.h>
#include <string.h>

#include "byte_range.h"
#include "conditional.h"
#include "fetch_request.h"
#include "url_path.h"

#define HEAD_MAX 4096

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(int holds)
{
	if (!holds)
		abort();
}

/* <span> is not set, or lies in the <size> bytes at <data>. */
static void require_inside(struct text_span span, const uint8_t *data, size_t size)
{
	const uint8_t *at = (const uint8_t *)span.data;

	require(!at || (at >= data && at <= data + size && span.len <= (size_t)(data + size - at)));
}

/* No segment is empty, "." or "..": what is left cannot climb. */
static void require_safe(const struct url_path *path)
{
	size_t start = 0;

	require(path->len < URL_PATH_MAX && path->text[path->len] == '\0' && strlen(path->text) == path->len);
	for (size_t i = 0; i <= path->len; i++) {
		size_t len = i - start;

		if (path->text[i] != '/' && path->text[i] != '\0')
			continue;
		require(len || i == path->len);
		require(len != 1 || path->text[start] != '.');
		require(len != 2 || path->text[start] != '.' || path->text[start + 1] != '.');
		start = i + 1;
	}
}

/* A path that was encoded reads back as the same. */
static void check_path(struct text_span target)
{
	static char encoded[3 * URL_PATH_MAX + 2];
	struct url_path path, again;
	size_t len;

	if (url_path_parse(&path, target) != URL_PATH_OK)
		return;
	require_safe(&path);
	len = url_path_encode(&path, encoded, sizeof(encoded));
	require(len > 0);
	require(url_path_parse(&again, (struct text_span){encoded, len}) == URL_PATH_OK);
	require(strcmp(path.text, again.text) == 0);
}

static void check_range(struct text_span value, uint64_t size)
{
	struct byte_range range;

	if (byte_range_parse(&range, value, size) == BYTE_RANGE_SATISFIABLE)
		require(range.length && range.offset < size && range.length <= size - range.offset);
}

/* What an origin would be sent as it is holds nothing that ends a line, and a target nothing that ends it. */
static void require_one_line(struct text_span span, unsigned char least)
{
	for (size_t i = 0; i < span.len; i++)
		require((unsigned char)span.data[i] >= least || span.data[i] == '\t');
}

static void check_fields(const struct fetch_request *request, const uint8_t *data, size_t size)
{
	require(request->field_count <= FETCH_REQUEST_FIELDS_MAX);
	for (unsigned i = 0; i < request->field_count; i++) {
		require_inside(request->fields[i].name, data, size);
		require_inside(request->fields[i].value, data, size);
		require(request->fields[i].name.len > 0);
		require_one_line(request->fields[i].name, '!');
		require_one_line(request->fields[i].value, ' ');
	}
	require_one_line(request->target, '!');
	require(memchr(request->target.data, '\t', request->target.len) == NULL);
}

/* No field of the request can begin or end a line of what is proven. */
static void check_proven_text(const struct fetch_request *request)
{
	const struct proven_request proven = {
		.method = {request->method_name, strlen(request->method_name)},
		.target = request->target,
		.range = request->range,
		.if_range = request->conditions.if_range,
		.if_match = request->conditions.if_match,
	};
	size_t len, lines = 0;
	char *text = ticket_header_proven_text(&request->ticket.ticket, &proven, &len);

	require(text && strlen(text) == len);
	for (const char *at = text; (at = strchr(at, '\n')); at++)
		lines++;
	require(lines == 6);
	free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const uint64_t sizes[] = {0, 1, 16384, UINT64_MAX};
	const struct conditional_validators validators = {"\"abc\"", 784111777, 784112777};
	struct fetch_request request, again;
	size_t consumed, consumed_again;

	if (fetch_request_parse(&request, (const char *)data, size, HEAD_MAX, &consumed) != FETCH_REQUEST_OK)
		return 0;
	require(consumed && consumed <= size && consumed <= HEAD_MAX);
	require_inside(request.target, data, consumed);
	require_inside(request.range, data, consumed);
	require_inside(request.conditions.if_match, data, consumed);
	require_inside(request.conditions.if_none_match, data, consumed);
	require_inside(request.conditions.if_modified_since, data, consumed);
	require_inside(request.conditions.if_unmodified_since, data, consumed);
	require_inside(request.conditions.if_range, data, consumed);
	require(fetch_request_parse(&again, (const char *)data, consumed, HEAD_MAX, &consumed_again) ==
		FETCH_REQUEST_OK);
	require(consumed_again == consumed && again.method == request.method);
	check_proven_text(&request);
	check_fields(&request, data, consumed);
	check_path(request.target);
	if (text_span_is_set(request.range))
		for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++)
			check_range(request.range, sizes[i]);
	(void)conditional_evaluate(&request.conditions, &validators);
	(void)conditional_range_holds(&request.conditions, &validators);
	return 0;
}

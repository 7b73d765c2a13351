/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "fetch_answer.h"

#include <stdio.h>
#include <stdlib.h>

#include "byte_range.h"
#include "url_path.h"

void fetch_answer_init_status(struct fetch_answer *answer, int status)
{
	*answer = (struct fetch_answer){.status = status, .object = {.fd = -1}, .has_text = true, .has_length = true};
}

void fetch_answer_init_origin(struct fetch_answer *answer, struct http_stream *stream, bool head_only)
{
	const struct origin_head *head = http_stream_head(stream);
	bool bodiless = head->status == 204 || head->status == 304;

	*answer = (struct fetch_answer){
		.status = head->status,
		.object = {.fd = -1},
		.source = http_stream_body(stream),
		.origin = head,
		.has_length = !bodiless && head->has_length && !head->has_transfer_encoding,
	};
	if (answer->has_length)
		answer->length = head->length;
	if (head->status == 206 && head->has_range)
		answer->offset = head->range_first;
	answer->has_body = !head_only && !bodiless && !(answer->has_length && !answer->length);
	/* The bytes are those of this one answer; a strong validator promises that a later answer, with another range
	 * of it, has the same. */
	answer->is_pinned = head->has_strong_etag;
}

static int status_of_file(enum file_status status)
{
	switch (status) {
	case FILE_NOT_FOUND:
		return 404;
	case FILE_IS_DIRECTORY:
	case FILE_FORBIDDEN:
		return 403;
	case FILE_UNAVAILABLE:
		return 503;
	case FILE_OK:
	case FILE_BROKEN:
		break;
	}
	return 500;
}

/* A folder that was asked for without a '/' behind it: relative links in its index would else lead astray. */
static void redirect_to_folder(struct fetch_answer *answer, const struct url_path *path)
{
	size_t cap = 3 * path->len + path->query.len + 4, len;
	char *location = malloc(cap);

	if (!location) {
		answer->status = 503;
		return;
	}
	/* Built from the normalised path, so that "//elsewhere" cannot become another host. */
	len = url_path_encode(path, location, cap);
	location[len++] = '/';
	if (text_span_is_set(path->query)) {
		location[len++] = '?';
		memcpy(location + len, path->query.data, path->query.len);
		len += path->query.len;
	}
	location[len] = '\0';
	answer->status = 301;
	answer->location = location;
}

/* Opens the first index file of the folder <path>, which ends with '/' or is the root; appends its name to <path>. */
static enum file_status open_index(struct fetch_answer *answer, const struct fetch_content *content,
				   struct url_path *path)
{
	enum file_status status = FILE_FORBIDDEN;

	for (const char *const *name = content->index; *name; name++) {
		size_t len = strlen(*name);

		if (path->len + len >= URL_PATH_MAX)
			continue;
		memcpy(path->text + path->len, *name, len + 1);
		status = file_source_open(content->files, path->text, &answer->object);
		if (status != FILE_NOT_FOUND && status != FILE_IS_DIRECTORY)
			return status;
		path->text[path->len] = '\0';
		status = FILE_FORBIDDEN; /* a folder without an index: we list nothing */
	}
	return status;
}

/* Opens what <path> names. Returns false if there is nothing to serve: the status is set then. */
static bool open_object(struct fetch_answer *answer, const struct fetch_content *content, struct url_path *path)
{
	enum file_status status = file_source_open(content->files, path->text, &answer->object);

	if (status == FILE_IS_DIRECTORY) {
		if (path->len && path->text[path->len - 1] != '/') {
			redirect_to_folder(answer, path);
			return false;
		}
		status = open_index(answer, content, path);
	}
	if (status != FILE_OK) {
		answer->status = status_of_file(status);
		return false;
	}
	return true;
}

static bool names(struct text_span list, const char *etag)
{
	return text_span_is_set(list) && memmem(list.data, list.len, etag, strlen(etag));
}

/* A file whose digest became known has two strong tags: the answer has the one that the request already names, so that
 * a download, or another node's body, goes on. */
static void choose_tag(struct fetch_answer *answer, const struct conditional_headers *conditions)
{
	char by_time[FILE_ETAG_MAX];

	file_object_etag(&answer->object, answer->etag);
	if (!answer->object.has_digest)
		return;
	file_object_time_etag(&answer->object, by_time);
	if (by_time[0] == '"' && (names(conditions->if_match, by_time) || names(conditions->if_range, by_time) ||
				  names(conditions->if_none_match, by_time)))
		memcpy(answer->etag, by_time, sizeof(by_time));
}

/* Preconditions, then the range (RFC 9110 13.2.2). */
static void choose_bytes(struct fetch_answer *answer, const struct fetch_request *request, time_t now)
{
	struct conditional_validators validators = {answer->etag, answer->last_modified,
						    /* Else its date is no strong validator, however old. */
						    file_object_time_tells(&answer->object) ? now
											    : answer->last_modified};
	struct byte_range range;

	switch (conditional_evaluate(&request->conditions, &validators)) {
	case CONDITIONAL_NOT_MODIFIED:
		answer->status = 304;
		answer->has_text = false;
		return;
	case CONDITIONAL_PRECONDITION_FAILED:
		answer->status = 412;
		answer->etag[0] = '\0';
		return;
	case CONDITIONAL_PROCEED:
		break;
	}
	answer->status = 200;
	answer->has_text = false;
	answer->length = answer->object.size;
	answer->range_size = answer->object.size;
	if (request->method == FETCH_GET && text_span_is_set(request->range) &&
	    conditional_range_holds(&request->conditions, &validators)) {
		enum byte_range_status status = byte_range_parse(&range, request->range, answer->object.size);

		if (status == BYTE_RANGE_UNSATISFIABLE) {
			answer->status = 416;
			answer->has_range = true;
			answer->has_text = true;
			return;
		}
		if (status == BYTE_RANGE_SATISFIABLE) {
			answer->status = 206;
			answer->has_range = true;
			answer->offset = range.offset;
			answer->length = range.length;
		}
	}
	answer->has_body = request->method == FETCH_GET && answer->length;
	answer->is_pinned = true;
}

void fetch_answer_init(struct fetch_answer *answer, const struct fetch_content *content,
		       const struct fetch_request *request, time_t now)
{
	struct url_path path;

	if (request->method == FETCH_OTHER) {
		fetch_answer_init_status(answer, 405);
		return;
	}
	fetch_answer_init_status(answer, 400);
	switch (url_path_parse(&path, request->target)) {
	case URL_PATH_OK:
		break;
	case URL_PATH_MALFORMED:
		return;
	case URL_PATH_NO_SUCH_FILE:
		answer->status = 404;
		return;
	}
	if (!open_object(answer, content, &path))
		return;
	answer->content_type = content_type_of(content->types, path.text);
	choose_tag(answer, &request->conditions);
	/* A date in the future would be no validator (RFC 9110 8.8.2.1). */
	answer->last_modified = answer->object.mtime.tv_sec < now ? answer->object.mtime.tv_sec : now;
	choose_bytes(answer, request, now);
	if (!answer->has_body)
		file_object_close(&answer->object);
}

void fetch_answer_release(struct fetch_answer *answer)
{
	file_object_close(&answer->object);
	body_source_free(answer->source);
	answer->source = NULL;
	answer->origin = NULL;
	free(answer->location);
	answer->location = NULL;
}

void fetch_answer_describe(const struct fetch_answer *answer, struct response_head *head)
{
	char text[FETCH_ANSWER_TEXT_MAX];

	if (answer->origin) {
		*head = (struct response_head){
			.status = answer->status,
			.reason = answer->origin->reason,
			.fields = answer->origin->fields,
			.has_date = answer->origin->has_date,
			.has_content_length = answer->has_length,
			.content_length = answer->length,
		};
		return;
	}
	*head = (struct response_head){.status = answer->status, .location = answer->location};
	if (answer->has_text) {
		head->content_type = "text/plain; charset=utf-8";
		head->content_length = fetch_answer_text(answer, text);
		head->has_content_length = true;
	} else if (answer->status != 304) {
		head->content_type = answer->content_type;
		head->content_length = answer->length;
		head->has_content_length = true;
	}
	if (!answer->has_text && answer->etag[0] != '\0') {
		head->etag = answer->etag;
		head->last_modified = answer->last_modified;
	}
	if (answer->has_range) {
		head->has_range = true;
		head->range_size = answer->range_size;
		head->range_first = answer->offset;
		head->range_last = answer->offset + (answer->length ? answer->length - 1 : 0);
	}
	if (answer->status == 405)
		head->allow = "GET, HEAD";
}

size_t fetch_answer_text(const struct fetch_answer *answer, char text[static FETCH_ANSWER_TEXT_MAX])
{
	int len = snprintf(text, FETCH_ANSWER_TEXT_MAX, "%d %s\n", answer->status, response_reason(answer->status));

	return len > 0 ? (size_t)len : 0;
}

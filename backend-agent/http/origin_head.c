/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "origin_head.h"

#include <stdlib.h>
#include <string.h>

#include "text_span.h"

#define FIELDS_FIRST 4096u /* bytes of room for fields at first */

/* Fields that concern one connection only (RFC 9110 7.6.1), that we write ourselves, or that only nodes may say. */
static const char *const dropped[] = {
	"Connection", "Keep-Alive",        "Proxy-Connection", "Proxy-Authenticate", "TE",
	"Trailer",    "Transfer-Encoding", "Upgrade",          "Content-Length",
};

static enum origin_head_status refuse(struct origin_head *head, const char *fault)
{
	head->fault = fault;
	return ORIGIN_HEAD_REFUSED;
}

static bool is_token(struct text_span span)
{
	if (!span.len)
		return false;
	for (size_t i = 0; i < span.len; i++) {
		unsigned char c = (unsigned char)span.data[i];

		if (c <= ' ' || c >= 127 || strchr("()<>@,;:\\\"/[]?={}", c))
			return false;
	}
	return true;
}

static bool has_control_character(struct text_span span)
{
	for (size_t i = 0; i < span.len; i++) {
		unsigned char c = (unsigned char)span.data[i];

		if ((c < ' ' && c != '\t') || c == 127)
			return true;
	}
	return false;
}

static void begin(struct origin_head *head)
{
	origin_head_release(head);
	*head = (struct origin_head){.status = 0};
}

/* "HTTP/1.1 200 OK"; the reason may be missing. */
static enum origin_head_status take_status(struct origin_head *head, struct text_span line)
{
	struct text_span reason;

	begin(head);
	if (line.len < 12 || memcmp(line.data, "HTTP/1.", 7) != 0 || line.data[8] != ' ')
		return refuse(head, "its status line is malformed");
	for (size_t i = 9; i < 12; i++) {
		if (line.data[i] < '0' || line.data[i] > '9')
			return refuse(head, "its status line is malformed");
		head->status = 10 * head->status + (line.data[i] - '0');
	}
	if (head->status < 100 || head->status > 599 || (line.len > 12 && line.data[12] != ' '))
		return refuse(head, "its status line is malformed");
	if (head->status == 101)
		return refuse(head, "it switched protocols, which nobody asked for");
	reason = text_span_trim((struct text_span){line.data + 12, line.len - 12});
	if (reason.len < sizeof(head->reason) && !has_control_character(reason))
		memcpy(head->reason, reason.data, reason.len);
	return ORIGIN_HEAD_INCOMPLETE;
}

static enum origin_head_status take_length(struct origin_head *head, struct text_span value)
{
	uint64_t length = 0;

	/* Two lines of it are how answers are smuggled: even equal ones are refused. */
	if (head->has_length)
		return refuse(head, "it has Content-Length twice");
	if (!value.len || value.len > 18)
		return refuse(head, "its Content-Length is malformed");
	for (size_t i = 0; i < value.len; i++) {
		if (value.data[i] < '0' || value.data[i] > '9')
			return refuse(head, "its Content-Length is malformed");
		length = 10 * length + (uint64_t)(value.data[i] - '0');
	}
	head->has_length = true;
	head->length = length;
	return ORIGIN_HEAD_INCOMPLETE;
}

static enum origin_head_status take_connection(struct origin_head *head, struct text_span value)
{
	if (value.len + 1 >= sizeof(head->listed) - head->listed_len)
		return refuse(head, "its Connection header is too long");
	memcpy(head->listed + head->listed_len, value.data, value.len);
	head->listed_len += value.len;
	head->listed[head->listed_len++] = ',';
	return ORIGIN_HEAD_INCOMPLETE;
}

static bool is_strong_etag(struct text_span value)
{
	return value.len >= 2 && value.data[0] == '"' &&
	       memchr(value.data + 1, '"', value.len - 1) == value.data + value.len - 1;
}

static void take_etag(struct origin_head *head, struct text_span value)
{
	head->has_strong_etag = head->etags++ == 0 && is_strong_etag(value);
	head->etag[0] = '\0';
	if (head->has_strong_etag && value.len <= ORIGIN_HEAD_ETAG_MAX) {
		memcpy(head->etag, value.data, value.len);
		head->etag[value.len] = '\0';
	}
}

/* Reads a decimal number without leading zeros at <*at>, and moves behind it. Returns false if there is none of 18 digits or
 * fewer. */
static bool take_number(struct text_span value, size_t *at, uint64_t *number)
{
	size_t begin = *at;

	*number = 0;
	for (; *at < value.len && *at - begin < 19 && value.data[*at] >= '0' && value.data[*at] <= '9'; ++*at)
		*number = 10 * *number + (uint64_t)(value.data[*at] - '0');
	return *at > begin && *at - begin < 19 && (value.data[begin] != '0' || *at == begin + 1);
}

/* "bytes FIRST-LAST/...", as HAProxy will compare it with the announcement. */
static void take_range(struct origin_head *head, struct text_span value)
{
	uint64_t first, last;
	size_t at = 6;

	head->has_range = false;
	if (head->ranges++ > 0 || value.len < at || memcmp(value.data, "bytes ", at) != 0)
		return;
	if (!take_number(value, &at, &first) || at == value.len || value.data[at++] != '-')
		return;
	if (!take_number(value, &at, &last) || at == value.len || value.data[at] != '/' || last < first)
		return;
	head->has_range = true;
	head->range_first = first;
	head->range_length = last - first + 1;
}

static bool is_dropped(struct text_span name)
{
	for (size_t i = 0; i < sizeof(dropped) / sizeof(dropped[0]); i++)
		if (text_span_is_word(name, dropped[i]))
			return true;
	return name.len >= 5 && strncasecmp(name.data, "Disc-", 5) == 0;
}

/* Makes room for <len> bytes more of fields and the zero behind them. Returns 0, or -1 if memory is exhausted. */
static int make_room(struct origin_head *head, size_t len)
{
	size_t size = head->fields ? head->fields_size : FIELDS_FIRST;
	char *fields;

	while (size < head->fields_len + len + 1)
		size *= 2;
	if (head->fields && size == head->fields_size)
		return 0;
	fields = realloc(head->fields, size);
	if (!fields)
		return -1;
	head->fields = fields;
	head->fields_size = size;
	return 0;
}

static enum origin_head_status keep_field(struct origin_head *head, struct text_span name, struct text_span value)
{
	size_t len = name.len + 2 + value.len + 2;
	char *at;

	if (len > ORIGIN_HEAD_FIELDS_MAX - head->fields_len)
		return refuse(head, "its headers are too long");
	if (make_room(head, len) < 0)
		return refuse(head, "out of memory");
	at = head->fields + head->fields_len;
	memcpy(at, name.data, name.len);
	memcpy(at + name.len, ": ", 2);
	memcpy(at + name.len + 2, value.data, value.len);
	memcpy(at + len - 2, "\r\n", 2);
	head->fields_len += len;
	head->fields[head->fields_len] = '\0';
	return ORIGIN_HEAD_INCOMPLETE;
}

static enum origin_head_status take_field(struct origin_head *head, struct text_span line)
{
	const char *colon = memchr(line.data, ':', line.len);
	struct text_span name, value;

	if (!colon)
		return refuse(head, "a header line has no colon");
	name = (struct text_span){line.data, (size_t)(colon - line.data)};
	value = text_span_trim((struct text_span){colon + 1, line.len - name.len - 1});
	/* This also refuses folded lines, which begin with a space. */
	if (!is_token(name) || has_control_character(value))
		return refuse(head, "a header line is malformed");
	if (text_span_is_word(name, "Content-Length"))
		return take_length(head, value);
	if (text_span_is_word(name, "Connection"))
		return take_connection(head, value);
	if (text_span_is_word(name, "Transfer-Encoding"))
		head->has_transfer_encoding = true;
	if (text_span_is_word(name, "Date"))
		head->has_date = true;
	if (text_span_is_word(name, "ETag"))
		take_etag(head, value);
	if (text_span_is_word(name, "Content-Range"))
		take_range(head, value);
	return is_dropped(name) ? ORIGIN_HEAD_INCOMPLETE : keep_field(head, name, value);
}

/* Connection may name fields that came before it: they go at the end. */
static void drop_listed(struct origin_head *head)
{
	struct text_span list = {head->listed, head->listed_len};
	size_t kept = 0;

	for (size_t at = 0, next; at < head->fields_len; at = next) {
		const char *line = head->fields + at, *end = strchr(line, '\n'), *colon = strchr(line, ':');

		next = (size_t)(end + 1 - head->fields);
		if (text_span_lists(list, (struct text_span){line, (size_t)(colon - line)}))
			continue;
		memmove(head->fields + kept, line, next - at);
		kept += next - at;
	}
	head->fields_len = kept;
	if (head->fields)
		head->fields[kept] = '\0';
}

enum origin_head_status origin_head_take(struct origin_head *head, const char *line, size_t len)
{
	struct text_span text = {line, len};

	if (text.len && text.data[text.len - 1] == '\n')
		text.len--;
	if (text.len && text.data[text.len - 1] == '\r')
		text.len--;
	if (text.len >= 5 && memcmp(text.data, "HTTP/", 5) == 0)
		return take_status(head, text);
	if (head->status == 0)
		return refuse(head, "it has no status line");
	if (text.len)
		return take_field(head, text);
	if (head->status < 200) {
		begin(head);
		return ORIGIN_HEAD_INCOMPLETE;
	}
	drop_listed(head);
	head->complete = true;
	return ORIGIN_HEAD_COMPLETE;
}

void origin_head_release(struct origin_head *head)
{
	free(head->fields);
	head->fields = NULL;
	head->fields_len = head->fields_size = 0;
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "continuation_head.h"

#include <http_parser.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "announcement.h"

#define NAME_MAX_LEN 32
#define VALUE_MAX_LEN ANNOUNCEMENT_TEXT_MAX

struct head {
	const char *announcement;
	char name[NAME_MAX_LEN], value[VALUE_MAX_LEN]; /* cut if longer: then it is none that matters */
	size_t name_len, value_len;
	bool in_value, complete;
	unsigned announcements;
	bool announced; /* as expected */
};

static void append(char *text, size_t size, size_t *used, const char *at, size_t len)
{
	size_t room = *used < size ? size - *used : 0;

	memcpy(text + *used, at, len < room ? len : room);
	*used += len < room ? len : room;
}

static void settle_field(struct head *head)
{
	static const char name[] = "Disc-Body";

	if (head->name_len == sizeof(name) - 1 && strncasecmp(head->name, name, head->name_len) == 0) {
		head->announcements++;
		head->announced = head->value_len == strlen(head->announcement) &&
				  memcmp(head->value, head->announcement, head->value_len) == 0;
	}
	head->name_len = head->value_len = 0;
	head->in_value = false;
}

static int on_field(http_parser *parser, const char *at, size_t len)
{
	struct head *head = parser->data;

	if (head->in_value)
		settle_field(head);
	append(head->name, sizeof(head->name), &head->name_len, at, len);
	return 0;
}

static int on_value(http_parser *parser, const char *at, size_t len)
{
	struct head *head = parser->data;

	head->in_value = true;
	append(head->value, sizeof(head->value), &head->value_len, at, len);
	return 0;
}

static int on_complete(http_parser *parser)
{
	struct head *head = parser->data;

	if (head->in_value)
		settle_field(head);
	head->complete = true;
	http_parser_pause(parser, 1); /* what follows the head are records */
	return 0;
}

static const http_parser_settings settings = {
	.on_header_field = on_field,
	.on_header_value = on_value,
	.on_headers_complete = on_complete,
};

static const char *fault_of(const struct head *head, const http_parser *parser, uint64_t length)
{
	switch (parser->status_code) {
	case 206:
		break;
	case 412:
		return "the object is another one there (412)";
	default:
		return "the answer is not 206 (Partial Content)";
	}
	if (head->announcements != 1 || !head->announced)
		return "its announcement is not the one expected";
	if (parser->flags & F_CHUNKED || !(parser->flags & F_CONTENTLENGTH) || parser->content_length != length)
		return "its Content-Length is not the one expected";
	return NULL;
}

enum continuation_head_status continuation_head_judge(const char *bytes, size_t len, const char *announcement,
						      uint64_t length, size_t *head_len, const char **fault)
{
	struct head head = {.announcement = announcement};
	const char *end = memmem(bytes, len, "\r\n\r\n", 4);
	http_parser parser;

	if (!end && len < CONTINUATION_HEAD_MAX)
		return CONTINUATION_HEAD_INCOMPLETE;
	*fault = "its head is malformed or too long";
	if (!end)
		return CONTINUATION_HEAD_REFUSED;
	*head_len = (size_t)(end - bytes) + 4;
	http_parser_init(&parser, HTTP_RESPONSE);
	parser.data = &head;
	(void)http_parser_execute(&parser, &settings, bytes, *head_len);
	if (!head.complete)
		return CONTINUATION_HEAD_REFUSED;
	*fault = fault_of(&head, &parser, length);
	return *fault ? CONTINUATION_HEAD_REFUSED : CONTINUATION_HEAD_EXPECTED;
}

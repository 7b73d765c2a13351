/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "response_head.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "http_date.h"

struct writer {
	char *out;
	size_t cap, len;
	bool full;
};

static void write_line(struct writer *writer, const char *format, ...) __attribute__((format(printf, 2, 3)));

static void write_line(struct writer *writer, const char *format, ...)
{
	size_t room = writer->cap - writer->len;
	va_list args;
	int n;

	va_start(args, format);
	n = vsnprintf(writer->out + writer->len, room, format, args);
	va_end(args);
	if (n < 0 || (size_t)n + 2 >= room) {
		writer->full = true;
		return;
	}
	writer->len += (size_t)n;
	writer->out[writer->len++] = '\r';
	writer->out[writer->len++] = '\n';
}

static void write_text(struct writer *writer, const char *text)
{
	size_t len = strlen(text);

	if (len >= writer->cap - writer->len) {
		writer->full = true;
		return;
	}
	memcpy(writer->out + writer->len, text, len);
	writer->len += len;
}

const char *response_reason(int status)
{
	switch (status) {
	case 200:
		return "OK";
	case 206:
		return "Partial Content";
	case 301:
		return "Moved Permanently";
	case 304:
		return "Not Modified";
	case 400:
		return "Bad Request";
	case 403:
		return "Forbidden";
	case 404:
		return "Not Found";
	case 405:
		return "Method Not Allowed";
	case 408:
		return "Request Timeout";
	case 412:
		return "Precondition Failed";
	case 414:
		return "URI Too Long";
	case 416:
		return "Range Not Satisfiable";
	case 431:
		return "Request Header Fields Too Large";
	case 500:
		return "Internal Server Error";
	case 501:
		return "Not Implemented";
	case 502:
		return "Bad Gateway";
	case 503:
		return "Service Unavailable";
	case 504:
		return "Gateway Timeout";
	case 505:
		return "HTTP Version Not Supported";
	default:
		return "Unknown";
	}
}

static void write_representation(struct writer *writer, const struct response_head *head)
{
	char date[HTTP_DATE_LEN + 1];

	if (head->content_type)
		write_line(writer, "Content-Type: %s", head->content_type);
	if (head->has_content_length)
		write_line(writer, "Content-Length: %" PRIu64, head->content_length);
	if (head->has_range && head->status == 416)
		write_line(writer, "Content-Range: bytes */%" PRIu64, head->range_size);
	else if (head->has_range)
		write_line(writer, "Content-Range: bytes %" PRIu64 "-%" PRIu64 "/%" PRIu64, head->range_first,
			   head->range_last, head->range_size);
	if (head->etag) {
		http_date_format(date, head->last_modified);
		write_line(writer, "Last-Modified: %s", date);
		write_line(writer, "ETag: %s", head->etag);
		write_line(writer, "Accept-Ranges: bytes");
	}
}

size_t response_head_format(char *out, size_t cap, const struct response_head *head)
{
	struct writer writer = {.out = out, .cap = cap};
	char date[HTTP_DATE_LEN + 1];

	http_date_format(date, head->date);
	write_line(&writer, "HTTP/1.1 %d %s", head->status,
		   head->reason ? head->reason : response_reason(head->status));
	if (!head->has_date)
		write_line(&writer, "Date: %s", date);
	if (head->fields)
		write_text(&writer, head->fields);
	write_representation(&writer, head);
	if (head->chunked)
		write_line(&writer, "Transfer-Encoding: chunked");
	if (head->location)
		write_line(&writer, "Location: %s", head->location);
	if (head->allow)
		write_line(&writer, "Allow: %s", head->allow);
	if (head->close)
		write_line(&writer, "Connection: close");
	else if (head->keep_alive)
		write_line(&writer, "Connection: keep-alive");
	if (head->announcement)
		write_line(&writer, "Disc-Body: %s", head->announcement);
	write_line(&writer, "%s", "");
	return writer.full ? 0 : writer.len;
}

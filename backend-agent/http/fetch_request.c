/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "fetch_request.h"

#include <http_parser.h>

/* One header of interest. Two lines of the same one are a list (RFC 9110 5.3) or a fault. */
enum repeated { REPEATED_REFUSED, REPEATED_FORGOTTEN };

struct known_header {
	const char *name;
	size_t offset;          /* of its text_span in struct head */
	enum repeated repeated; /* what to do with a second line */
};

struct head {
	struct fetch_request *request;
	struct text_span name;
	struct text_span host, ticket;
	struct text_span range, if_match, if_none_match, if_modified_since, if_unmodified_since, if_range;
	bool range_twice;
	bool value_seen; /* of <name>: more of it would be a folded line */
	bool complete;
};

/* A second If-None-Match is forgotten with the first: the whole file is always a right answer. If-Match may not be. */
static const struct known_header known_headers[] = {
	{"Host", offsetof(struct head, host), REPEATED_REFUSED},
	{"Disc-Ticket", offsetof(struct head, ticket), REPEATED_REFUSED},
	{"Range", offsetof(struct head, range), REPEATED_FORGOTTEN},
	{"If-Match", offsetof(struct head, if_match), REPEATED_REFUSED},
	{"If-None-Match", offsetof(struct head, if_none_match), REPEATED_FORGOTTEN},
	{"If-Modified-Since", offsetof(struct head, if_modified_since), REPEATED_FORGOTTEN},
	{"If-Unmodified-Since", offsetof(struct head, if_unmodified_since), REPEATED_REFUSED},
	{"If-Range", offsetof(struct head, if_range), REPEATED_REFUSED},
};

/* The parser lets some of them pass, which RFC 9112 3.2 and RFC 9110 5.5 do not. */
static bool has_control_character(const char *at, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if (((unsigned char)at[i] < ' ' && at[i] != '\t') || at[i] == 127)
			return true;
	return false;
}

static int on_url(http_parser *parser, const char *at, size_t len)
{
	struct head *head = parser->data;

	if (has_control_character(at, len) || memchr(at, '\t', len)) {
		head->request->fault = "control character in the target";
		return -1;
	}
	head->request->target = (struct text_span){at, len};
	return 0;
}

static int on_header_field(http_parser *parser, const char *at, size_t len)
{
	struct head *head = parser->data;

	/* The parser lets it pass, RFC 9112 5.1 does not: others might read another header there. */
	if (memchr(at, ' ', len)) {
		head->request->fault = "space in a header's name";
		return -1;
	}
	head->name = (struct text_span){at, len};
	head->value_seen = false;
	return 0;
}

static void keep_field(struct fetch_request *request, struct text_span name, struct text_span value)
{
	if (request->field_count == FETCH_REQUEST_FIELDS_MAX) {
		request->has_more_fields = true;
		return;
	}
	request->fields[request->field_count++] = (struct fetch_field){name, text_span_trim(value)};
}

static int on_header_value(http_parser *parser, const char *at, size_t len)
{
	struct head *head = parser->data;

	if (head->value_seen) {
		head->request->fault = "folded header line";
		return -1;
	}
	if (has_control_character(at, len)) {
		head->request->fault = "control character in a header's value";
		return -1;
	}
	head->value_seen = true;
	keep_field(head->request, head->name, (struct text_span){at, len});
	for (size_t i = 0; i < sizeof(known_headers) / sizeof(known_headers[0]); i++) {
		const struct known_header *known = &known_headers[i];
		struct text_span *slot = (struct text_span *)(void *)((char *)head + known->offset);

		if (!text_span_is_word(head->name, known->name))
			continue;
		if (!text_span_is_set(*slot)) {
			*slot = text_span_trim((struct text_span){at, len});
		} else if (known->repeated == REPEATED_REFUSED) {
			head->request->fault = "header given twice";
			return -1;
		} else {
			slot->len = 0;
			head->range_twice |= slot == &head->range;
		}
	}
	return 0;
}

static int on_headers_complete(http_parser *parser)
{
	struct head *head = parser->data;

	head->complete = true;
	http_parser_pause(parser, 1); /* what follows the head is not the parser's */
	return 0;
}

/* The parser has a limit of its own, 80 KB, one for the whole process: what may be parsed here is said by the caller. */
__attribute__((constructor)) static void lift_parser_limit(void)
{
	http_parser_set_max_header_size(UINT32_MAX);
}

static const http_parser_settings settings = {
	.on_url = on_url,
	.on_header_field = on_header_field,
	.on_header_value = on_header_value,
	.on_headers_complete = on_headers_complete,
};

static enum fetch_request_status refuse(struct fetch_request *request, enum fetch_request_status status,
					const char *fault)
{
	if (!request->fault)
		request->fault = fault;
	return status;
}

/* An unknown method is distinguished from garbage by what a request line must have (RFC 9112 3): a token, a space, a
 * target, a space, and the protocol's name. */
static bool is_request_line(const char *bytes, size_t len)
{
	static const char protocol[] = " HTTP/1.";
	const char *end = memchr(bytes, '\n', len);
	size_t i = 0;

	if (!end)
		return false;
	while (i < len && ((bytes[i] >= 'A' && bytes[i] <= 'Z') || (bytes[i] >= 'a' && bytes[i] <= 'z') ||
			   (bytes[i] >= '0' && bytes[i] <= '9') || bytes[i] == '-' || bytes[i] == '_'))
		i++;
	return i > 0 && i < len && bytes[i] == ' ' &&
	       memmem(bytes + i, (size_t)(end - (bytes + i)), protocol, sizeof(protocol) - 1);
}

static enum fetch_request_status parser_fault(struct fetch_request *request, const http_parser *parser,
					      const char *bytes, size_t len)
{
	enum http_errno error = HTTP_PARSER_ERRNO(parser);

	if (error == HPE_INVALID_METHOD && is_request_line(bytes, len))
		return refuse(request, FETCH_REQUEST_UNKNOWN_METHOD, "unknown method");
	if (error == HPE_HEADER_OVERFLOW)
		return refuse(request, FETCH_REQUEST_HEADERS_TOO_LONG, "head too long");
	return refuse(request, FETCH_REQUEST_MALFORMED, http_errno_description(error));
}

/* Whether a Connection field takes <name> away from what is passed on to an origin (RFC 9110 7.6.1). */
static bool is_taken_away(const struct fetch_request *request, const char *name)
{
	for (unsigned i = 0; i < request->field_count; i++)
		if (text_span_is_word(request->fields[i].name, "Connection") &&
		    text_span_lists(request->fields[i].value, (struct text_span){name, strlen(name)}))
			return true;
	return false;
}

/* The text of a proof has one line for each of these fields, empty if it is absent: it cannot tell an empty field from
 * none, nor two from one, nor one that counts from one that does not. */
static bool is_ambiguous(const struct head *head)
{
	const struct {
		const char *name;
		struct text_span value;
	} fields[] = {{"Range", head->range}, {"If-Range", head->if_range}, {"If-Match", head->if_match}};

	for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++)
		if ((text_span_is_set(fields[i].value) && !fields[i].value.len) ||
		    is_taken_away(head->request, fields[i].name))
			return true;
	return head->range_twice;
}

/* The rules that span several headers, once the head is complete. */
static enum fetch_request_status settle(struct head *head, const http_parser *parser)
{
	struct fetch_request *request = head->request;

	if (parser->http_major != 1)
		return refuse(request, FETCH_REQUEST_UNKNOWN_VERSION, "not HTTP/1");
	request->http_minor = parser->http_minor > 0 ? 1 : 0;
	/* RFC 9112 3.2: a request without Host, or with two, is refused. */
	if (request->http_minor == 1 && !text_span_is_set(head->host))
		return refuse(request, FETCH_REQUEST_MALFORMED, "no Host header");
	request->method_name = http_method_str((enum http_method)parser->method);
	request->method = parser->method == HTTP_GET    ? FETCH_GET
			  : parser->method == HTTP_HEAD ? FETCH_HEAD
							: FETCH_OTHER;

	if (text_span_is_set(head->ticket)) {
		if (!ticket_header_parse(&request->ticket, head->ticket.data, head->ticket.len))
			return refuse(
				request, FETCH_REQUEST_MALFORMED,
				"Disc-Ticket is not a ticket and a proof of 32 lower-case hexadecimal digits each");
		request->has_ticket = true;
		request->ambiguous = is_ambiguous(head);
	}
	request->keep_alive = http_should_keep_alive(parser) != 0;
	if (parser->uses_transfer_encoding)
		request->chunked_body = true;
	else if (parser->flags & F_CONTENTLENGTH)
		request->body_length = parser->content_length;
	request->range = head->range;
	request->conditions = (struct conditional_headers){
		.if_match = head->if_match,
		.if_none_match = head->if_none_match,
		.if_modified_since = head->if_modified_since,
		.if_unmodified_since = head->if_unmodified_since,
		.if_range = head->if_range,
	};
	return FETCH_REQUEST_OK;
}

enum fetch_request_status fetch_request_parse(struct fetch_request *request, const char *bytes, size_t len, size_t max,
					      size_t *consumed)
{
	struct head head = {.request = request};
	size_t given = len < max ? len : max;
	http_parser parser;
	size_t parsed;

	memset(request, 0, sizeof(*request));
	http_parser_init(&parser, HTTP_REQUEST);
	parser.data = &head;
	parsed = http_parser_execute(&parser, &settings, bytes, given);
	if (head.complete && HTTP_PARSER_ERRNO(&parser) == HPE_PAUSED) {
		*consumed = parsed + 1; /* a parser paused here stops before the last LF */
		return settle(&head, &parser);
	}
	if (HTTP_PARSER_ERRNO(&parser) != HPE_OK)
		return parser_fault(request, &parser, bytes, given);
	if (len < max)
		return FETCH_REQUEST_INCOMPLETE;
	if (!memchr(bytes, '\n', given))
		return refuse(request, FETCH_REQUEST_TARGET_TOO_LONG, "request line too long");
	return refuse(request, FETCH_REQUEST_HEADERS_TOO_LONG, "headers too long");
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Fetch request: the head of one HTTP/1 request (RFC 9112) on the fetch hop. Bytes in, struct out. */
#ifndef DISC_FETCH_REQUEST_H
#define DISC_FETCH_REQUEST_H

#include <stdint.h>

#include "conditional.h"
#include "text_span.h"
#include "ticket_header.h"

#define FETCH_REQUEST_FIELDS_MAX 512u

struct fetch_field {
	struct text_span name, value;
};

enum fetch_method { FETCH_GET, FETCH_HEAD, FETCH_OTHER /* known, but not for files: 405 */ };

struct fetch_request {
	enum fetch_method method;
	unsigned http_minor; /* 0 or 1 */
	bool keep_alive;     /* the client lets the connection be used again */
	bool has_ticket;
	struct ticket_header ticket; /* Disc-Ticket */
	bool ambiguous; /* Range, If-Range or If-Match is there twice, empty or listed in Connection: no proof says so */
	const char *method_name; /* static */
	struct text_span target; /* spans lie in the bytes that were parsed */
	struct text_span range;
	struct conditional_headers conditions;
	bool chunked_body;    /* of unknown length */
	uint64_t body_length; /* bytes that follow the head and belong to this request */
	unsigned field_count; /* all header fields, in order, the first FETCH_REQUEST_FIELDS_MAX of them */
	bool has_more_fields; /* there were more */
	struct fetch_field fields[FETCH_REQUEST_FIELDS_MAX];
	const char *fault; /* why the request was refused: a static text */
};

enum fetch_request_status {
	FETCH_REQUEST_OK = 0,
	FETCH_REQUEST_INCOMPLETE,       /* more bytes are needed */
	FETCH_REQUEST_MALFORMED,        /* answer 400 and close */
	FETCH_REQUEST_TARGET_TOO_LONG,  /* 414 and close */
	FETCH_REQUEST_HEADERS_TOO_LONG, /* 431 and close */
	FETCH_REQUEST_UNKNOWN_METHOD,   /* 501 and close */
	FETCH_REQUEST_UNKNOWN_VERSION,  /* 505 and close */
};

/* Reads one head from the <len> bytes at <bytes>, of which no more than <max> may belong to it. On FETCH_REQUEST_OK
 * <request> is filled, its spans pointing into <bytes>, and <*consumed> is the size of the head. Otherwise only
 * request->fault is set. */
enum fetch_request_status fetch_request_parse(struct fetch_request *request, const char *bytes, size_t len, size_t max,
					      size_t *consumed);

#endif

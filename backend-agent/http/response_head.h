/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Response head: status line and header fields of one response (RFC 9112 4, RFC 9110 8, 10, 14, 15). Struct in, bytes
 * out. */
#ifndef DISC_RESPONSE_HEAD_H
#define DISC_RESPONSE_HEAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

#define RESPONSE_HEAD_MAX 131072 /* bytes: more than HAProxy takes, whose tune.bufsize is 16384 unless raised */

/* What a response says of itself. Fields left zero are not written. Texts belong to the caller. */
struct response_head {
	int status;
	const char *reason; /* NULL: the usual one of <status> */
	time_t date;        /* written unless <has_date> */
	bool close;         /* Connection: close */
	bool keep_alive;    /* Connection: keep-alive, which an HTTP/1.0 client needs */
	bool has_content_length;
	uint64_t content_length; /* bytes that follow: of ciphertext when the body is spliced */
	const char *content_type;
	const char *etag; /* with it, last_modified and Accept-Ranges are written */
	time_t last_modified;
	bool has_range; /* Content-Range: bytes first-last/size; with status 416: bytes *\/size */
	uint64_t range_first, range_last, range_size;
	const char *fields; /* lines of an origin, each with its CRLF, written as they are */
	bool has_date;      /* Date is among them */
	bool chunked;       /* Transfer-Encoding: chunked */
	const char *location;
	const char *allow;
	const char *announcement; /* value of Disc-Body (announcement.h); NULL: none */
};

/* Writes <head> to <out> (<cap> bytes), the empty line included. Returns its length, or 0 if it does not fit. */
size_t response_head_format(char *out, size_t cap, const struct response_head *head);

/* The reason phrase of <status>, "Unknown" for one that this program never sends. */
const char *response_reason(int status);

#endif

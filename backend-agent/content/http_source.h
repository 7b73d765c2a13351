/* SPDX-License-Identifier: GPL-2.0-or-later */
/* HTTP source: an existing HTTP/1.1 server, the origin, over TCP or a UNIX socket. One source per worker and loop, with
 * connections of its own that are kept; nothing blocks, no thread is started (libcurl's multi interface on libev).
 *
 * A stream is one request to the origin and the answer as it comes:
 *
 *   fetch() --> ASKING --(head)--> ANSWERED --> body ends, or breaks (body source)
 *                     \-> FAILED (no answer: 502 or 504)
 *
 * A stream holds at most HTTP_STREAM_BUFFER bytes that were not read yet; with more the origin has to wait.
 */
#ifndef DISC_HTTP_SOURCE_H
#define DISC_HTTP_SOURCE_H

#include <ev.h>

#include "body_source.h"
#include "fetch_request.h"
#include "origin_head.h"

#define HTTP_STREAM_BUFFER (256u * 1024)

struct http_source;
struct http_stream;

/* The origin, from the configuration; texts stay the caller's. Times in seconds. */
struct http_source_settings {
	const char *base;       /* "http://ADDRESS:PORT", the address a numeric one: names are never looked up here */
	const char *unix_path;  /* NULL, or the socket to connect to instead */
	double connect_timeout; /* until it is connected */
	double timeout;         /* without a byte from the origin */
	long max_connections;   /* of this source; further requests wait for one, within <timeout> */
};

/* Returns a source on <loop>, or NULL when memory is exhausted. <settings> stays where it is. */
struct http_source *http_source_new(struct ev_loop *loop, const struct http_source_settings *settings);

/* Closes all connections and frees <source>, which may be NULL; no stream may be left. */
/* Asks by <settings>, which outlives <source> or the next change, from now on; requests under way go on. */
void http_source_change(struct http_source *source, const struct http_source_settings *settings);

void http_source_free(struct http_source *source);

/* Sends <request> (GET or HEAD), of which nothing is kept, with its end-to-end headers. <call> is called on the loop,
 * not from within this module's own functions, whenever the stream got on: the head came, bytes came, it ended or
 * failed. Returns the stream, to be freed through its body source, or NULL when memory is exhausted. */
struct http_stream *http_source_fetch(struct http_source *source, const struct fetch_request *request,
				      void (*call)(void *context), void *context);

enum http_stream_state { HTTP_STREAM_ASKING, HTTP_STREAM_ANSWERED, HTTP_STREAM_FAILED };

/* How far <stream> is in being answered. The body source tells what happens to the body afterwards. */
enum http_stream_state http_stream_state(const struct http_stream *stream);

/* The answer's head, once it is answered: the stream's. */
const struct origin_head *http_stream_head(const struct http_stream *stream);

/* With HTTP_STREAM_FAILED: the status to answer, 502 or 504 (RFC 9110 15.6.3, 15.6.5). */
int http_stream_failure_status(const struct http_stream *stream);

/* From now on <call>(<context>) is what is called when <stream> gets on. */
void http_stream_redirect(struct http_stream *stream, void (*call)(void *context), void *context);

/* <stream> as a body source, which frees it. Freed before its end, the transfer is cancelled at once. */
struct body_source *http_stream_body(struct http_stream *stream);

#endif

/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Request lines: what of a client's request an origin is asked, in the form that libcurl takes. Struct in, texts
 * out. */
#ifndef DISC_HTTP_REQUEST_LINES_H
#define DISC_HTTP_REQUEST_LINES_H

#include <curl/curl.h>

#include "fetch_request.h"

/* Returns the target in origin-form (RFC 9112 3.2.1), as the client wrote it but for an absolute-form's scheme and
 * authority. The caller frees it; NULL when memory is exhausted. */
char *http_request_target(const struct fetch_request *request);

/* Returns the end-to-end header lines of <request>, and lines that keep libcurl from adding its own. Never Disc-*
 * fields, those of a body, or those that Connection lists (RFC 9110 7.6.1). The caller frees the list; NULL when memory
 * is exhausted. */
struct curl_slist *http_request_lines(const struct fetch_request *request);

#endif

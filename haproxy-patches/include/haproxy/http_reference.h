/*
 * include/haproxy/http_reference.h
 * Paths by which a response refers to a body, and locations which a body's response has.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef _HAPROXY_HTTP_REFERENCE_H
#define _HAPROXY_HTTP_REFERENCE_H

#include <import/ist.h>

/* Where a body was fetched, for telling which locations are there. */
struct http_reference_site {
	struct ist prefix;    /* normalized path; what is below it is no URL of the client's */
	struct ist hosts[2];  /* values of Host with which the body was asked for; IST_NULL: unknown */
};

/* Who wrote a field. */
enum http_reference_author {
	HTTP_REFERENCE_BY_APPLICATION, /* relative to the client's URL */
	HTTP_REFERENCE_BY_NODE,        /* relative to the body's */
};

int http_reference_normalize(struct ist in, char *area, size_t size, struct ist *out);
int http_reference_is_below(const struct ist path, const struct ist prefix);
int http_reference_leads_inside(const struct http_reference_site *site, const struct ist name, const struct ist value,
                                enum http_reference_author author);

#endif /* _HAPROXY_HTTP_REFERENCE_H */

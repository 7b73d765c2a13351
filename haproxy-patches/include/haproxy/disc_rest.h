/*
 * include/haproxy/disc_rest.h
 * The rest of a body whose node is gone, by an ordinary request to another server.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef _HAPROXY_DISC_REST_H
#define _HAPROXY_DISC_REST_H

#include <haproxy/buf-t.h>
#include <haproxy/http_client-t.h>
#include <haproxy/stream-t.h>

struct disc_hop;

struct disc_rest {
	struct httpclient *hc;
	struct disc_hop *hop;       /* that hands it to the mux */
	char *etag;                 /* the object's, which was proven */
	uint64_t first;             /* bytes of the object that were asked for, */
	uint64_t last;              /*   the last one included */
	uint64_t left;              /* bytes that were not taken yet */
	int accepted;               /* the headers are right */
};

struct disc_rest *disc_rest_new(struct stream *s, const struct buffer *request, const char *etag, uint64_t first, uint64_t last);
void disc_rest_start(struct disc_rest *rest, struct disc_hop *hop);
size_t disc_rest_ready(const struct disc_rest *rest);
size_t disc_rest_take(struct disc_rest *rest, struct buffer *buf, size_t count);
void disc_rest_free(struct disc_rest *rest);

#endif /* _HAPROXY_DISC_REST_H */

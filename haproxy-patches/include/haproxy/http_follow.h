/*
 * include/haproxy/http_follow.h
 * Fetching the body that a response refers to from another backend.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef _HAPROXY_HTTP_FOLLOW_H
#define _HAPROXY_HTTP_FOLLOW_H

#include <haproxy/action-t.h>
#include <haproxy/buf-t.h>
#include <haproxy/dynbuf.h>
#include <haproxy/flt_disc.h>
#include <haproxy/http_ana-t.h>
#include <haproxy/htx-t.h>
#include <haproxy/stream-t.h>

/* flags of struct http_follow */
#define FOLLOW_F_WANTED  0x00000001 /* a rule decided to fetch the body elsewhere */
#define FOLLOW_F_DONE    0x00000002 /* the body is being fetched, there is no second time */
#define FOLLOW_F_MERGED  0x00000004 /* the current response got the application's fields */
#define FOLLOW_F_REDIRECTED 0x00000008 /* the current response redirected to where the body is fetched */

/* of a stream whose response may have to be followed */
struct http_follow {
	uint32_t flags;         /* FOLLOW_F_* */
	struct proxy *be;       /* where to fetch the body from */
	struct ist path;        /* normalized path and query of the body there, in <area> */
	struct ist prefix;      /* the rule's, which <path> is below of */
	struct ist host;        /* of the client's request, in <area> */
	struct ist sent_host;   /* of the request for the body, in <area> */
	struct ist location;    /* with FOLLOW_F_REDIRECTED: where to, without query, in <area> */
	struct buffer request;  /* HTX message: the client's header fields */
	struct buffer kept;     /* HTX message: the application's header fields to keep */
	char *area;             /* allocated, of a buffer's size */
	size_t area_used;       /* bytes of it that stay */
};

int http_follow_is_rule(const struct act_rule *rule);
void http_follow_save_request(struct stream *s, struct htx *htx);
void http_follow_save_cookies(struct stream *s, struct htx *htx);
void http_follow_save_host(struct stream *s, struct htx *htx);
void http_follow_remove_locations(struct stream *s, struct htx *htx);
int http_follow_accept_response(struct stream *s, struct htx *htx);
void http_follow_clean_response(struct stream *s, struct htx *htx);
void http_follow_remove_references(struct htx *htx);
int http_follow_replay(struct stream *s);
size_t http_follow_limit_recv(const struct stream *s, size_t max);
int http_follow_merge(struct stream *s, struct htx *htx);
void http_follow_release(struct stream *s);

/* Returns the part of stream <s> that deals with references, or NULL if no response to its
 * request can be followed.
 */
static inline struct http_follow *http_follow(const struct stream *s)
{
	const struct disc_stream *ds = flt_disc(s);

	return ds ? ds->follow : NULL;
}

/* Returns non-zero if the body of <s> is being fetched elsewhere. */
static inline int http_follow_done(const struct stream *s)
{
	const struct http_follow *follow = http_follow(s);

	return follow && (follow->flags & FOLLOW_F_DONE);
}

/* To be called when the request of <s> is sent again: there will be another response. */
static inline void http_follow_retry(struct stream *s)
{
	struct http_follow *follow = http_follow(s);

	if (follow)
		follow->flags &= ~(FOLLOW_F_MERGED | FOLLOW_F_REDIRECTED);
}

/* To be called when all response rules were evaluated: the client's fields are of no
 * use anymore.
 */
static inline void http_follow_forget_request(struct stream *s)
{
	struct http_follow *follow = http_follow(s);

	if (follow)
		b_free(&follow->request);
}

#endif /* _HAPROXY_HTTP_FOLLOW_H */

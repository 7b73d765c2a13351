/*
 * include/haproxy/http_redispatch.h
 * Fetching the body that a response refers to from another backend.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef _HAPROXY_HTTP_REDISPATCH_H
#define _HAPROXY_HTTP_REDISPATCH_H

#include <haproxy/buf-t.h>
#include <haproxy/dynbuf.h>
#include <haproxy/http_ana-t.h>
#include <haproxy/htx-t.h>
#include <haproxy/stream-t.h>

/* flags of struct http_redispatch */
#define REDISP_F_WANTED  0x00000001 /* a rule decided to fetch the body elsewhere */
#define REDISP_F_DONE    0x00000002 /* the body is being fetched, there is no second time */
#define REDISP_F_MERGED  0x00000004 /* the current response got the application's fields */

/* attached to an HTTP transaction when a "disc-redispatch" rule exists */
struct http_redispatch {
	uint32_t flags;         /* REDISP_F_* */
	struct proxy *be;       /* where to fetch the body from */
	struct ist path;        /* normalized path and query of the body there, in <area> */
	struct buffer request;  /* HTX message: the client's header fields */
	struct buffer kept;     /* HTX message: the application's header fields to keep */
	char *area;             /* allocated */
};

extern int redisp_configured;   /* a "disc-redispatch" rule exists somewhere */

void http_redisp_save_request(struct stream *s, struct htx *htx);
void http_redisp_clean_response(struct stream *s, struct htx *htx);
void http_redisp_remove_references(struct htx *htx);
int http_redisp_replay(struct stream *s);
size_t http_redisp_limit_recv(const struct stream *s, size_t max);
int http_redisp_merge(struct stream *s, struct htx *htx);
void http_redisp_release(struct stream *s);

/* Returns non-zero if a rule just decided to fetch the body of <s> elsewhere. */
static inline int http_redisp_wanted(const struct stream *s)
{
	return s->txn->redisp && (s->txn->redisp->flags & (REDISP_F_WANTED|REDISP_F_DONE)) == REDISP_F_WANTED;
}

/* Returns non-zero if the body of <s> is being fetched elsewhere. */
static inline int http_redisp_done(const struct stream *s)
{
	return s->txn->redisp && (s->txn->redisp->flags & REDISP_F_DONE);
}

/* To be called when the request of <s> is sent again: there will be another response. */
static inline void http_redisp_retry(struct stream *s)
{
	if (s->txn->redisp)
		s->txn->redisp->flags &= ~REDISP_F_MERGED;
}

/* To be called when all response rules were evaluated: the client's fields are of no
 * use anymore.
 */
static inline void http_redisp_forget_request(struct stream *s)
{
	if (s->txn->redisp)
		b_free(&s->txn->redisp->request);
}

#endif /* _HAPROXY_HTTP_REDISPATCH_H */

/*
 * include/haproxy/http_disc.h
 * DiSC in an HTTP transaction: functions.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef _HAPROXY_HTTP_DISC_H
#define _HAPROXY_HTTP_DISC_H

#include <haproxy/http_ana-t.h>
#include <haproxy/http_disc-t.h>
#include <haproxy/htx-t.h>
#include <haproxy/stream-t.h>

struct disc_lease;

#ifdef USE_OPENSSL_WOLFSSL

extern int disc_configured;             /* a "disc-lease" rule exists somewhere */
extern int disc_enabled;                /* "disc on|off" */
extern struct disc_counters disc_counters;

const char *http_disc_take_lease(struct stream *s);
struct disc_lease *http_disc_lease(struct stream *s);

/* hooks of the HTTP analysers, to be called if <disc_configured> is set */
void http_disc_clean_headers(struct htx *htx);
void http_disc_forward_request(struct stream *s, struct htx *htx);
int http_disc_check_response(struct stream *s, struct htx *htx);

/* to be called if s->txn->disc is set */
void http_disc_choose_server(struct stream *s);
void http_disc_retry(struct stream *s);
int http_disc_accept_response(struct stream *s, struct htx *htx);
void http_disc_not_direct(struct stream *s);
int http_disc_is_direct(const struct stream *s);
void http_disc_forget_server(struct stream *s);
unsigned long long http_disc_plain_total(const struct stream *s, unsigned long long total);
void http_disc_release(struct stream *s);

const char *http_disc_parse_announcement(struct ist value, struct disc_announcement *ann);

/* Returns non-zero if the request of <s> may be sent again because DiSC failed,
 * whatever "retry-on" says: it left with a ticket, and its response was not
 * accepted yet.
 */
static inline int http_disc_may_replay(const struct stream *s)
{
	return s->txn->disc && (s->txn->disc->flags & DISC_TF_REPLAY);
}

#else /* DiSC needs wolfSSL: there are no leases, and nothing to be done */

#define disc_configured 0

static inline void http_disc_clean_headers(struct htx *htx) { }
static inline void http_disc_forward_request(struct stream *s, struct htx *htx) { }
static inline int http_disc_check_response(struct stream *s, struct htx *htx) { return 1; }
static inline void http_disc_choose_server(struct stream *s) { }
static inline void http_disc_retry(struct stream *s) { }
static inline int http_disc_accept_response(struct stream *s, struct htx *htx) { return 0; }
static inline int http_disc_is_direct(const struct stream *s) { return 0; }
static inline void http_disc_forget_server(struct stream *s) { }
static inline unsigned long long http_disc_plain_total(const struct stream *s, unsigned long long total) { return total; }
static inline void http_disc_release(struct stream *s) { }
static inline int http_disc_may_replay(const struct stream *s) { return 0; }

#endif /* USE_OPENSSL_WOLFSSL */

#endif /* _HAPROXY_HTTP_DISC_H */

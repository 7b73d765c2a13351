/*
 * include/haproxy/http_disc.h
 * DiSC in an HTTP transaction: functions.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef _HAPROXY_HTTP_DISC_H
#define _HAPROXY_HTTP_DISC_H

#include <haproxy/action-t.h>
#include <haproxy/flt_disc.h>
#include <haproxy/http_ana-t.h>
#include <haproxy/http_disc-t.h>
#include <haproxy/htx-t.h>
#include <haproxy/stream-t.h>

struct disc_handoff;
struct disc_lease;

#ifdef USE_OPENSSL_WOLFSSL

extern int disc_configured;             /* a "disc-lease" rule exists somewhere */
extern int disc_enabled;                /* "disc on|off" */
extern int disc_h2_enabled;             /* "disc h2 on|off" */
extern struct disc_counters disc_counters;

const char *http_disc_take_lease(struct stream *s, enum disc_keys keys);
struct disc_lease *http_disc_lease(struct stream *s);
const uint8_t *http_disc_wire(struct stream *s);
int http_disc_holds(struct stream *s);
int http_disc_is_rule(const struct act_rule *rule);
void http_disc_count_grant(struct stream *s);
void http_disc_count_void(struct stream *s);
void http_disc_count_records(struct stream *s, uint32_t bytes, uint32_t records);
int http_disc_check_proxy(const struct proxy *px);
int http_disc_must_send(const struct stream *s);

void http_disc_clean_headers(struct htx *htx);
void http_disc_forward_request(struct stream *s, struct htx *htx);
int http_disc_check_response(struct stream *s, struct htx *htx);
int http_disc_accept_response(struct stream *s, struct htx *htx);
void http_disc_fail_response(struct stream *s);
int http_disc_hold_response(struct stream *s);
void http_disc_shutdown(struct stream *s, int why);
void http_disc_count(struct stream *s);
void http_disc_replied(struct stream *s);
struct ist http_disc_node(struct stream *s);
void http_disc_unsent(struct stream *s, const void *area, size_t size);
void http_disc_not_direct(struct stream *s);
int http_disc_take_claim(struct stream *s, struct disc_handoff *handoff);
void http_disc_retry(struct stream *s);
int http_disc_replay(struct stream *s);
int http_disc_replay_failed(struct stream *s);
void http_disc_release(struct stream *s);

const char *http_disc_parse_announcement(struct ist value, struct disc_announcement *ann);

/* Returns the part of stream <s> that deals with leases, or NULL if no "disc-lease" rule was
 * evaluated.
 */
static inline struct disc_txn *http_disc_txn(const struct stream *s)
{
	const struct disc_stream *ds = flt_disc(s);

	return ds ? ds->txn : NULL;
}

/* Returns non-zero if the request of <s> may be sent again because DiSC failed,
 * whatever "retry-on" says: it left with a ticket, and its response was not
 * accepted yet.
 */
static inline int http_disc_may_replay(const struct stream *s)
{
	const struct disc_txn *disc = http_disc_txn(s);

	return disc && (disc->flags & DISC_TF_REPLAY);
}

#else /* DiSC needs wolfSSL: there are no leases, and nothing to be done */

static inline int http_disc_is_rule(const struct act_rule *rule) { return 0; }
static inline int http_disc_check_proxy(const struct proxy *px) { return 0; }
static inline void http_disc_clean_headers(struct htx *htx) { }
static inline void http_disc_forward_request(struct stream *s, struct htx *htx) { }
static inline int http_disc_check_response(struct stream *s, struct htx *htx) { return 1; }
static inline int http_disc_accept_response(struct stream *s, struct htx *htx) { return 1; }
static inline void http_disc_fail_response(struct stream *s) { }
static inline int http_disc_hold_response(struct stream *s) { return 0; }
static inline void http_disc_count(struct stream *s) { }
static inline void http_disc_retry(struct stream *s) { }
static inline int http_disc_replay(struct stream *s) { return 0; }
static inline int http_disc_replay_failed(struct stream *s) { return 0; }
static inline void http_disc_release(struct stream *s) { }
static inline int http_disc_may_replay(const struct stream *s) { return 0; }

#endif /* USE_OPENSSL_WOLFSSL */

#endif /* _HAPROXY_HTTP_DISC_H */

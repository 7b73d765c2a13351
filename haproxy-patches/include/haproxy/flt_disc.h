/*
 * include/haproxy/flt_disc.h
 * The filter of the proxies with rules "disc-lease" or "disc-follow".
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef _HAPROXY_FLT_DISC_H
#define _HAPROXY_FLT_DISC_H

#include <string.h>

#include <haproxy/filters-t.h>
#include <haproxy/stream-t.h>

/* Bits of HAProxy's own words of flags, far from those that it uses. To be compared with
 * them when HAProxy's version changes.
 */
#define STRM_FLT_FL_DISC  0x8000     /* strm_flt.flags: the filter is attached to this stream */
#define SRV_F_DISC_TRUST  0x80000000 /* server.flags: it may refer to bodies elsewhere ("disc-trust") */
#define PR_O2_DISC_TRUST  0x08000000 /* proxy.options2: a backend with such a server */
#define PR_O2_DISC_BODY   0x04000000 /* proxy.options2: its response rules wait for bodies, thus look at them */

/* which rules a proxy has, and by which ones a stream may be concerned */
#define FLT_DISC_LEASE   0x1
#define FLT_DISC_FOLLOW  0x2

struct disc_txn;
struct http_follow;

/* What DiSC knows about a stream, which is one HTTP transaction. It exists as long as
 * the stream, or NULL if neither its frontend nor its backend has rules.
 */
struct disc_stream {
	unsigned int rules;             /* FLT_DISC_*: of the frontend and of the backends */
	struct disc_txn *txn;           /* set once "disc-lease" was evaluated */
	struct http_follow *follow;     /* set if a response may have to be followed */
};

struct disc_stream *flt_disc_find(const struct stream *s);

void flt_disc_retry(struct stream *s);
int flt_disc_hold_response(struct stream *s);
size_t flt_disc_limit_recv(const struct stream *s, size_t max);
void flt_disc_follow(struct stream *s);
void flt_disc_restart(struct stream *s);

/* Returns what DiSC knows about stream <s>, or NULL. */
static inline struct disc_stream *flt_disc(const struct stream *s)
{
	return unlikely(s->strm_flt.flags & STRM_FLT_FL_DISC) ? flt_disc_find(s) : NULL;
}

/* Wipes <size> bytes at <area> if they may carry a lease of stream <s>, which may be NULL. */
static inline void flt_disc_wipe(const struct stream *s, void *area, size_t size)
{
	if (unlikely(s && (s->strm_flt.flags & STRM_FLT_FL_DISC)))
		memset(area, 0, size);
}

#ifdef USE_OPENSSL_WOLFSSL
void flt_disc_replied(struct stream *s);
void flt_disc_shutdown(struct stream *s, int why);
void flt_disc_unsent(struct stream *s, const void *area, size_t size);
int flt_disc_awaits_response(const struct stream *s);
#else
static inline void flt_disc_replied(struct stream *s) { }
static inline void flt_disc_shutdown(struct stream *s, int why) { }
static inline void flt_disc_unsent(struct stream *s, const void *area, size_t size) { }
static inline int flt_disc_awaits_response(const struct stream *s) { return 0; }
#endif

#endif /* _HAPROXY_FLT_DISC_H */

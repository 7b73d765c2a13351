/*
 * include/haproxy/disc_stats.h
 * What became of the responses of proxies with DiSC's rules: by path, protocol and reason.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef _HAPROXY_DISC_STATS_H
#define _HAPROXY_DISC_STATS_H

#include <haproxy/buf-t.h>
#include <haproxy/stream-t.h>

#ifdef USE_OPENSSL_WOLFSSL

void disc_stats_count(const struct stream *s);
void disc_stats_show(struct buffer *out);

#else

static inline void disc_stats_count(const struct stream *s) { }

#endif /* USE_OPENSSL_WOLFSSL */

#endif /* _HAPROXY_DISC_STATS_H */

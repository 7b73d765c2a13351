/*
 * include/haproxy/disc_mux_h2.h
 * What the HTTP/2 mux does otherwise for streams whose bodies are made of records of another host.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef _HAPROXY_DISC_MUX_H2_H
#define _HAPROXY_DISC_MUX_H2_H

#include <inttypes.h>
#include <stddef.h>

#include <haproxy/buf-t.h>
#include <haproxy/list-t.h>
#include <haproxy/task-t.h>

struct disc_h2s;
struct disc_h2;
struct stconn;

/* what is known of the mux of a client connection */
struct disc_h2_mux {
	struct tasklet *tasklet;    /* makes it send */
	int32_t *window;            /* bytes that the connection may send */
	int32_t *initial;           /* part of every stream's window */
	struct buffer *mbuf;        /* ring of its own frames */
	struct list *waiting;       /* streams that want to send */
	void (*end)(void *h2s);     /* all of a stream's body was sent, with END_STREAM */
};

#ifdef USE_OPENSSL_WOLFSSL

struct disc_h2 *disc_h2_attach(struct stconn *sc, const struct disc_h2_mux *mux, void *h2s, uint32_t id, int *window,
                               struct disc_h2s **place);
void disc_h2_begin(struct disc_h2s *body);
void disc_h2_detach(struct disc_h2s *body);
int disc_h2_idle(struct disc_h2 *h2);
int disc_h2_is_busy(const struct disc_h2 *h2);
int disc_h2_holds(struct disc_h2 *h2, const struct disc_h2s *body);

#else /* DiSC needs wolfSSL */

static inline struct disc_h2 *disc_h2_attach(struct stconn *sc, const struct disc_h2_mux *mux, void *h2s, uint32_t id,
                                             int *window, struct disc_h2s **place)
{
	return NULL;
}

static inline void disc_h2_begin(struct disc_h2s *body) { }
static inline void disc_h2_detach(struct disc_h2s *body) { }
static inline int disc_h2_idle(struct disc_h2 *h2) { return 0; }
static inline int disc_h2_is_busy(const struct disc_h2 *h2) { return 0; }
static inline int disc_h2_holds(struct disc_h2 *h2, const struct disc_h2s *body) { return 0; }

#endif /* USE_OPENSSL_WOLFSSL */

#endif /* _HAPROXY_DISC_MUX_H2_H */

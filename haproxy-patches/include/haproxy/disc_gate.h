/*
 * include/haproxy/disc_gate.h
 * Transport layer below the TLS layer of a client connection that gets grants.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef _HAPROXY_DISC_GATE_H
#define _HAPROXY_DISC_GATE_H

#include <haproxy/connection-t.h>
#include <haproxy/disc_run.h>

struct ssl_sock_ctx;

#define DISC_GATE_HEAD 1152 /* bytes of a pivot's record: DISC_GRANT_CLEAR in a DATA frame */

enum disc_gate_mode {
	DISC_GATE_PASS = 0,     /* what the session seals goes out */
	DISC_GATE_WATCH,        /* a grant is open: it goes out, but nothing should be sealed */
	DISC_GATE_CAPTURE,      /* it is kept: it is the pivot, which the records follow */
	DISC_GATE_HOLD,         /* records go out: the session has to try again later */
};

/* what the gate tells its owner */
struct disc_gate_ops {
	void (*sealed)(void *owner);   /* in mode WATCH, the session has sealed something by itself */
	void (*opened)(void *owner);   /* all records are out, mode PASS again */
	void (*failed)(void *owner);   /* records are lost: nothing may be sent any more */
};

struct disc_gate {
	struct connection *conn;
	struct ssl_sock_ctx *tls_ctx;   /* the layer above */
	const struct xprt_ops *raw;     /* the layer below, */
	void *raw_ctx;                  /*   its context */
	const struct disc_gate_ops *ops;
	void *owner;
	struct wait_event *subs;        /* what the TLS layer waits for */
	struct wait_event wait_event;
	enum disc_gate_mode mode;
	int may_splice;
	struct disc_run run;            /* the records that go out */
	size_t at, end;                 /* bytes of <head> that go out before them */
	char head[DISC_GATE_HEAD];
};

struct disc_gate *disc_gate_new(struct connection *conn, struct ssl_sock_ctx *tls_ctx, const struct disc_gate_ops *ops,
                                void *owner);
void disc_gate_watch(struct disc_gate *gate, int on);
void disc_gate_capture(struct disc_gate *gate);
void disc_gate_start(struct disc_gate *gate, struct disc_hop *hop, int may_splice);
void disc_gate_wake(struct disc_gate *gate);

/* Returns non-zero if what the TLS session wants to send has to wait. */
static inline int disc_gate_holds(const struct disc_gate *gate)
{
	return gate->mode == DISC_GATE_HOLD;
}

#endif /* _HAPROXY_DISC_GATE_H */

/*
 * src/disc_gate.c
 * Transport layer below the TLS layer of a client connection that gets grants.
 *
 * Records of a node that were committed belong to the connection: they go out as they are,
 * whole, before anything else. Meanwhile requests are still read. So this layer stands between
 * "SSL" and the socket, where it tells the session to try again what it wants to send, whatever
 * made it seal that. It is there from the first grant to the end of the connection.
 *
 *              watch              capture              start
 *      PASS ----------> WATCH ------------> CAPTURE ------------> HOLD --- last byte ---> PASS
 *
 * It waits for the socket in place of the TLS layer, since one can wait only.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <string.h>

#include <haproxy/api.h>
#include <haproxy/buf.h>
#include <haproxy/chunk.h>
#include <haproxy/connection.h>
#include <haproxy/disc_gate.h>
#include <haproxy/disc_hop.h>
#include <haproxy/pipe-t.h>
#include <haproxy/pool.h>
#include <haproxy/ssl_sock-t.h>
#include <haproxy/task.h>

DECLARE_STATIC_POOL(pool_head_disc_gate, "disc_gate", sizeof(struct disc_gate));

static struct xprt_ops disc_gate_xprt;

/* Returns non-zero if nobody should try to send: a grant is open, or its records go out. */
static int disc_gate_is_shut(const struct disc_gate *gate)
{
	return gate->mode != DISC_GATE_PASS;
}

/* Wakes the TLS layer up for all what it waits for that may have happened. */
static void disc_gate_notify(struct disc_gate *gate)
{
	struct wait_event *es = gate->subs;
	int events;

	if (!es)
		return;
	events = es->events & ~gate->wait_event.events;
	if (disc_gate_is_shut(gate) && !(gate->conn->flags & CO_FL_ERROR))
		events &= ~SUB_RETRY_SEND;
	if (!events)
		return;
	es->events &= ~events;
	if (!es->events)
		gate->subs = NULL;
	tasklet_wakeup(es->tasklet);
}

/* Waits for <events> of the socket. */
static void disc_gate_wait(struct disc_gate *gate, int events)
{
	events &= ~gate->wait_event.events;
	if (events)
		gate->raw->subscribe(gate->conn, gate->raw_ctx, events, &gate->wait_event);
}

/* Nothing more may be sent. */
static void disc_gate_fail(struct disc_gate *gate)
{
	gate->conn->flags |= CO_FL_ERROR;
	gate->ops->failed(gate->owner);
	disc_gate_wake(gate);
}

/* Sends up to <len> bytes at <area>. Returns how many were sent. */
static size_t disc_gate_send(struct disc_gate *gate, char *area, size_t len, int flags)
{
	struct buffer buf = b_make(area, len, 0, len);

	return gate->raw->snd_buf(gate->conn, gate->raw_ctx, &buf, len, flags);
}

/* Sends what it can of the head and of the records, then waits or opens the gate. */
static void disc_gate_push(struct disc_gate *gate)
{
	struct disc_run *run = &gate->run;
	struct connection *conn = gate->conn;
	int ret;

	while (gate->at < gate->end || disc_run_left(run)) {
		if (gate->at < gate->end) {
			ret = disc_gate_send(gate, gate->head + gate->at, gate->end - gate->at,
			                     disc_run_left(run) ? CO_SFL_MSG_MORE : 0);
			gate->at += ret;
		}
#if defined(USE_LINUX_SPLICE)
		else if (run->pipe && run->pipe->data)
			ret = gate->raw->snd_pipe(conn, gate->raw_ctx, run->pipe, run->pipe->data);
#endif
		else if (run->at < run->end) {
			ret = disc_gate_send(gate, run->area + run->at, run->end - run->at, 0);
			run->at += ret;
		}
		else {
			/* without a hop they were lost with it, for want of memory */
			ret = run->hop ? disc_run_pull(run, disc_hop_fd(run->hop), gate->may_splice, 0) : -1;
			if (ret > 0 && !run->missing) {
				disc_hop_pulled(run->hop);
				run->hop = NULL;
			}
			if (ret <= 0)
				conn->flags |= CO_FL_ERROR;
		}
		if (conn->flags & CO_FL_ERROR) {
			disc_gate_fail(gate);
			return;
		}
		if (ret <= 0) {
			disc_gate_wait(gate, SUB_RETRY_SEND);
			return;
		}
	}
	disc_run_release(run);
	gate->at = gate->end = 0;
	gate->mode = DISC_GATE_PASS;
	gate->ops->opened(gate->owner);
	disc_gate_notify(gate);
}

/* The socket can do something again, or failed. */
static struct task *disc_gate_io_cb(struct task *t, void *context, unsigned int state)
{
	struct disc_gate *gate = context;

	if (disc_gate_holds(gate) && !(gate->wait_event.events & SUB_RETRY_SEND))
		disc_gate_push(gate);
	disc_gate_notify(gate);
	return t;
}

/* Puts a gate below the TLS layer <tls_ctx> of <conn>. Returns it, or NULL if memory is short. */
struct disc_gate *disc_gate_new(struct connection *conn, struct ssl_sock_ctx *tls_ctx, const struct disc_gate_ops *ops,
                                void *owner)
{
	struct disc_gate *gate = pool_zalloc(pool_head_disc_gate);
	int events = tls_ctx->wait_event.events;

	if (!gate)
		return NULL;
	gate->wait_event.tasklet = tasklet_new();
	if (!gate->wait_event.tasklet) {
		pool_free(pool_head_disc_gate, gate);
		return NULL;
	}
	gate->wait_event.tasklet->process = disc_gate_io_cb;
	gate->wait_event.tasklet->context = gate;
	gate->conn = conn;
	gate->tls_ctx = tls_ctx;
	gate->raw = tls_ctx->xprt;
	gate->raw_ctx = tls_ctx->xprt_ctx;
	gate->ops = ops;
	gate->owner = owner;
	if (events)
		gate->raw->unsubscribe(conn, gate->raw_ctx, events, &tls_ctx->wait_event);
	tls_ctx->xprt = &disc_gate_xprt;
	tls_ctx->xprt_ctx = gate;
	if (events)
		tls_ctx->xprt->subscribe(conn, gate, events, &tls_ctx->wait_event);
	return gate;
}

/* A grant was opened, if <on> is set, or ended in vain. */
void disc_gate_watch(struct disc_gate *gate, int on)
{
	if (gate->mode == DISC_GATE_PASS || gate->mode == DISC_GATE_WATCH)
		gate->mode = on ? DISC_GATE_WATCH : DISC_GATE_PASS;
}

/* What the session seals next is the pivot. */
void disc_gate_capture(struct disc_gate *gate)
{
	gate->at = gate->end = 0;
	gate->mode = DISC_GATE_CAPTURE;
}

/* Sends what was captured and then the records which <hop> has gathered. */
void disc_gate_start(struct disc_gate *gate, struct disc_hop *hop, int may_splice)
{
	disc_hop_take(hop, &gate->run);
	gate->may_splice = may_splice;
	gate->mode = DISC_GATE_HOLD;
	disc_gate_push(gate);
}

/* Makes the TLS layer, and with it the mux, look at the connection. */
void disc_gate_wake(struct disc_gate *gate)
{
	struct wait_event *es = gate->subs;

	gate->subs = NULL;
	if (es)
		es->events = 0;
	tasklet_wakeup(gate->tls_ctx->wait_event.tasklet);
}

/*
 * What the TLS layer calls
 */

static size_t disc_gate_from_buf(struct connection *conn, void *xprt_ctx, const struct buffer *buf, size_t count, int flags)
{
	struct disc_gate *gate = xprt_ctx;

	switch (gate->mode) {
	case DISC_GATE_HOLD:
		return 0;
	case DISC_GATE_CAPTURE:
		if (gate->end + count > sizeof(gate->head))
			return 0;
		b_getblk(buf, gate->head + gate->end, count, 0);
		gate->end += count;
		return count;
	case DISC_GATE_WATCH:
		gate->ops->sealed(gate->owner);
		break;
	default:
		break;
	}
	return gate->raw->snd_buf(conn, gate->raw_ctx, buf, count, flags);
}

static size_t disc_gate_to_buf(struct connection *conn, void *xprt_ctx, struct buffer *buf, size_t count, int flags)
{
	struct disc_gate *gate = xprt_ctx;

	return gate->raw->rcv_buf(conn, gate->raw_ctx, buf, count, flags);
}

static int disc_gate_subscribe(struct connection *conn, void *xprt_ctx, int event_type, struct wait_event *es)
{
	struct disc_gate *gate = xprt_ctx;

	BUG_ON(gate->subs && gate->subs != es);
	gate->subs = es;
	es->events |= event_type;
	if (disc_gate_is_shut(gate))
		event_type &= ~SUB_RETRY_SEND; /* it is woken up when that has ended */
	disc_gate_wait(gate, event_type);
	return 0;
}

static int disc_gate_unsubscribe(struct connection *conn, void *xprt_ctx, int event_type, struct wait_event *es)
{
	struct disc_gate *gate = xprt_ctx;

	es->events &= ~event_type;
	if (!es->events)
		gate->subs = NULL;
	if (disc_gate_holds(gate))
		event_type &= ~SUB_RETRY_SEND;
	event_type &= gate->wait_event.events;
	if (event_type)
		gate->raw->unsubscribe(conn, gate->raw_ctx, event_type, &gate->wait_event);
	return 0;
}

/* There is no layer below that could be removed. */
static int disc_gate_remove_xprt(struct connection *conn, void *xprt_ctx, void *toremove_ctx, const struct xprt_ops *newops,
                                 void *newctx)
{
	struct disc_gate *gate = xprt_ctx;

	return gate->raw->remove_xprt(conn, gate->raw_ctx, toremove_ctx, newops, newctx);
}

static void disc_gate_close(struct connection *conn, void *xprt_ctx)
{
	struct disc_gate *gate = xprt_ctx;

	if (gate->wait_event.events)
		gate->raw->unsubscribe(conn, gate->raw_ctx, gate->wait_event.events, &gate->wait_event);
	if (gate->run.hop)
		disc_hop_abandon(gate->run.hop);
	disc_run_release(&gate->run);
	gate->tls_ctx->xprt = gate->raw;
	gate->tls_ctx->xprt_ctx = gate->raw_ctx;
	if (gate->raw->close)
		gate->raw->close(conn, gate->raw_ctx);
	tasklet_free(gate->wait_event.tasklet);
	pool_free(pool_head_disc_gate, gate);
}

static int disc_gate_show_fd(struct buffer *buf, const struct connection *conn, const void *xprt_ctx)
{
	const struct disc_gate *gate = xprt_ctx;

	chunk_appendf(buf, " gate.mode=%d .left=%u", gate->mode, disc_run_left(&gate->run));
	return 0;
}

static struct xprt_ops disc_gate_xprt = {
	.snd_buf = disc_gate_from_buf,
	.rcv_buf = disc_gate_to_buf,
	.subscribe = disc_gate_subscribe,
	.unsubscribe = disc_gate_unsubscribe,
	.remove_xprt = disc_gate_remove_xprt,
	.close = disc_gate_close,
	.show_fd = disc_gate_show_fd,
	.name = "GATE",
};

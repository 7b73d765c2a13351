/*
 * src/xprt_disc.c
 * Transport layer of a TLS client connection whose write state is leased.
 *
 * It is stacked above "SSL" when a connection takes its first lease, and stays there.
 * The lease decides on every write before the TLS layer sees it, so that this one does
 * not have to know of leases. It is in one of three modes:
 *
 *   OPEN     Everything goes to the TLS layer, writes record by record.
 *   PASSING  Records sealed by the holder of the lease go out: response headers are
 *            sealed by the TLS session as one record, what follows goes to the socket
 *            as it is, spliced if possible, and nothing else may touch the session. So
 *            nothing is read either, since reading may make the session answer
 *            (KeyUpdate, alert).
 *   PARKED   On the direct path another host writes the records: the connection was
 *            handed off (disc_handoff.c) once the headers were out, and nobody touches
 *            its socket.
 *
 *            disc_conn_pass_records()         headers sent, direct path
 *       OPEN -----------------------> PASSING -----------------------> PARKED
 *         ^                            |   ^                           |   |
 *         +---- last record sent ------+   +--- disc_conn_refused() ---+   |
 *         +-------------------------------------- disc_conn_returned() ----+
 *
 * The TLS layer is subscribed to nothing but in mode OPEN: what the mux waits for is
 * kept here in the two others. The muxes have no need to know; those which count bytes
 * have to count those of the records.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <haproxy/api.h>
#include <haproxy/chunk.h>
#include <haproxy/connection.h>
#include <haproxy/disc_h2.h>
#include <haproxy/disc_handoff.h>
#include <haproxy/disc_lease.h>
#include <haproxy/disc_lowat.h>
#include <haproxy/fd_park.h>
#include <haproxy/global.h>
#include <haproxy/openssl-compat.h>
#include <haproxy/pipe-t.h>
#include <haproxy/pool.h>
#include <haproxy/ssl_sock.h>
#include <haproxy/task.h>
#include <haproxy/ticks.h>
#include <haproxy/xprt_disc.h>

enum disc_xprt_mode {
	DISC_XPRT_OPEN = 0,
	DISC_XPRT_PASSING,
	DISC_XPRT_PARKED,
};

struct disc_xprt_ctx {
	struct connection *conn;
	const struct xprt_ops *tls;     /* the layer below, "SSL" */
	struct ssl_sock_ctx *tls_ctx;   /* its context, never NULL */
	enum disc_xprt_mode mode;
	struct wait_event *subs;        /* what the mux waits for; NULL in mode OPEN, where the layer below knows it */
	struct wait_event wait_event;   /* in mode PASSING, for sends below the TLS layer */
	struct disc_lowat *lowat;       /* set while only large amounts of records are waited for */
	struct disc_h2 *h2;             /* grants, once the keys of an HTTP/2 connection were given away, or NULL */
	struct disc_lease lease;
};

DECLARE_STATIC_POOL(pool_head_disc_xprt_ctx, "disc_xprt", sizeof(struct disc_xprt_ctx));

/* connections closed in the middle of records */
unsigned int disc_poisoned = 0;

static struct xprt_ops disc_xprt;         /* modes OPEN and PARKED: splicing is impossible */
static struct xprt_ops disc_passing_xprt; /* mode PASSING */

/* Returns the context of this layer on <conn>, or NULL if it is not there. */
static struct disc_xprt_ctx *disc_conn_ctx(const struct connection *conn)
{
	if (!conn || (conn->xprt != &disc_xprt && conn->xprt != &disc_passing_xprt))
		return NULL;
	return conn->xprt_ctx;
}

/* Returns the lease of <conn>, or NULL if it never had any. */
struct disc_lease *disc_conn_lease(const struct connection *conn)
{
	struct disc_xprt_ctx *ctx = disc_conn_ctx(conn);

	return ctx ? &ctx->lease : NULL;
}

/* Returns what belongs to the grants on <conn>, or NULL if there never were any. */
struct disc_h2 *disc_conn_h2(const struct connection *conn)
{
	struct disc_xprt_ctx *ctx = disc_conn_ctx(conn);

	return ctx ? ctx->h2 : NULL;
}

static void disc_xprt_set_mode(struct disc_xprt_ctx *ctx, enum disc_xprt_mode mode)
{
	ctx->mode = mode;
	ctx->conn->xprt = (mode == DISC_XPRT_PASSING) ? &disc_passing_xprt : &disc_xprt;
}

/* Wakes the mux up if it waits for any of <events>, for which it does not wait any more. */
static void disc_xprt_wake(struct disc_xprt_ctx *ctx, int events)
{
	struct wait_event *es = ctx->subs;

	if (!es || !(es->events & events))
		return;
	es->events &= ~events;
	if (!es->events)
		ctx->subs = NULL;
	tasklet_wakeup(es->tasklet);
}

/* In mode PASSING, the socket takes data again, or failed. The mux has to try to read too,
 * which is where it notices the latter.
 */
static struct task *disc_xprt_io_cb(struct task *t, void *context, unsigned int state)
{
	struct disc_xprt_ctx *ctx = context;
	struct connection *conn = ctx->conn;

	if (ctx->subs)
		disc_xprt_wake(ctx, SUB_RETRY_RECV|SUB_RETRY_SEND);
	else if (conn->mux && conn->mux->wake && conn->mux->wake(conn) < 0)
		return NULL;
	return t;
}

/* Stacks this layer above the TLS layer of <conn>, whose handshake is over and which has
 * no write to be retried. Returns its context, or NULL if memory is short.
 */
static struct disc_xprt_ctx *disc_xprt_stack(struct connection *conn)
{
	struct disc_xprt_ctx *ctx = pool_alloc(pool_head_disc_xprt_ctx);

	if (!ctx)
		return NULL;
	ctx->wait_event.tasklet = tasklet_new();
	if (!ctx->wait_event.tasklet) {
		pool_free(pool_head_disc_xprt_ctx, ctx);
		return NULL;
	}
	ctx->wait_event.tasklet->process = disc_xprt_io_cb;
	ctx->wait_event.tasklet->context = ctx;
	ctx->wait_event.events = 0;
	ctx->subs = NULL;
	ctx->lowat = NULL;
	ctx->h2 = NULL;
	ctx->conn = conn;
	ctx->tls = conn->xprt;
	ctx->tls_ctx = conn->xprt_ctx;
	disc_lease_init(&ctx->lease, ctx->tls_ctx->ssl);
	conn->xprt_ctx = ctx;
	disc_xprt_set_mode(ctx, DISC_XPRT_OPEN);
	return ctx;
}

/* Makes sure that the TLS connection <conn> has this layer and may seal with keys that others
 * have, too. Returns NULL, or one word telling why not.
 */
static const char *disc_conn_prepare(struct connection *conn, struct disc_xprt_ctx **ret)
{
	struct disc_xprt_ctx *ctx = disc_conn_ctx(conn);
	struct ssl_sock_ctx *tls_ctx;

	if (ctx && ctx->mode != DISC_XPRT_OPEN)
		return "busy";
	if (!ctx && (conn->xprt != xprt_get(XPRT_SSL) || !conn->xprt_ctx))
		return "tls";
	if (global_ssl.hard_max_record && global_ssl.hard_max_record < DISC_RECORD_MAX)
		return "maxrecord"; /* the records of a lease are full ones */
	if (conn->flags & CO_FL_ERROR)
		return "closed";
	if (conn->flags & (CO_FL_WAIT_XPRT | CO_FL_SSL_WAIT_HS | CO_FL_EARLY_SSL_HS))
		return "handshake";
	*ret = ctx;
	if (ctx)
		return NULL;
	/* unsent output of a previous response, or one whose sender was just woken up? wolfSSL
	 * has to know about it until then
	 */
	tls_ctx = conn->xprt_ctx;
	if ((tls_ctx->subs && (tls_ctx->subs->events & SUB_RETRY_SEND)) || disc_wolf_unflushed(tls_ctx->ssl))
		return "pending";
	*ret = disc_xprt_stack(conn);
	return *ret ? NULL : "memory";
}

/* Takes a lease numbered <id> of <keys> on the TLS connection <conn>. Returns NULL, or
 * one word telling why there is none.
 */
const char *disc_conn_take_lease(struct connection *conn, enum disc_keys keys, uint64_t id)
{
	struct disc_xprt_ctx *ctx;
	const char *why = disc_conn_prepare(conn, &ctx);

	if (why)
		return why;
	/* unsent output of a previous response? */
	if (ctx->tls_ctx->subs && (ctx->tls_ctx->subs->events & SUB_RETRY_SEND))
		return "pending";
	return disc_lease_take(&ctx->lease, keys, id, now_ms);
}

/* Writes the TX state of the HTTP/2 connection <conn>, for grants, to <wire>, its key of proofs
 * to <proof_key> as well, and the generation of its keys to <*gen>. Returns NULL, or one word
 * telling why not.
 */
const char *disc_conn_export(struct connection *conn, uint8_t wire[DISC_TX_WIRE_LEN], uint8_t proof_key[DISC_PROOF_BYTES],
                             uint32_t *gen)
{
	struct disc_xprt_ctx *ctx;
	const char *why = disc_conn_prepare(conn, &ctx);

	if (why)
		return why;
	if (!ctx->h2)
		ctx->h2 = disc_h2_new(conn, &ctx->lease);
	if (!ctx->h2)
		return "memory";
	why = disc_slots_export(&ctx->h2->slots, wire, proof_key, now_ms);
	*gen = ctx->lease.gen;
	return why;
}

/* Seals the <len> bytes at <plain> as one record, the pivot of a grant. Returns 1, or 0 if the
 * session did not take them.
 */
int disc_conn_seal(struct connection *conn, const void *plain, size_t len)
{
	struct disc_xprt_ctx *ctx = disc_conn_ctx(conn);
	int ret;

	ALREADY_CHECKED(ctx);
	ret = SSL_write(ctx->tls_ctx->ssl, plain, len);
	ERR_clear_error();
	disc_lease_after_write(&ctx->lease, 0);
	return ret == (int)len && !(conn->flags & CO_FL_ERROR);
}

/*
 * Subscriptions
 */

/* Called from the upper layer, to subscribe <es> to events <event_type>. Only sends are
 * subscribed to in mode PASSING, below the TLS layer, and nothing in mode PARKED. Always
 * returns 0, as the TLS layer does.
 */
static int disc_xprt_subscribe(struct connection *conn, void *xprt_ctx, int event_type, struct wait_event *es)
{
	struct disc_xprt_ctx *ctx = xprt_ctx;
	struct ssl_sock_ctx *tls_ctx = ctx->tls_ctx;

	if (ctx->mode == DISC_XPRT_OPEN)
		return ctx->tls->subscribe(conn, tls_ctx, event_type, es);

	BUG_ON(event_type & ~(SUB_RETRY_SEND|SUB_RETRY_RECV));
	BUG_ON(ctx->subs && ctx->subs != es);

	if (conn->flags & CO_FL_ERROR) {
		/* the mux wants to notice it where it reads, as it would on the socket */
		tasklet_wakeup(es->tasklet);
		return 0;
	}
	ctx->subs = es;
	es->events |= event_type;
	if (ctx->mode == DISC_XPRT_PASSING && (event_type & SUB_RETRY_SEND) && !ctx->wait_event.events)
		tls_ctx->xprt->subscribe(conn, tls_ctx->xprt_ctx, SUB_RETRY_SEND, &ctx->wait_event);
	return 0;
}

/* Stops waiting for the socket below the TLS layer. */
static void disc_xprt_forget_sends(struct disc_xprt_ctx *ctx)
{
	struct ssl_sock_ctx *tls_ctx = ctx->tls_ctx;

	if (ctx->wait_event.events)
		tls_ctx->xprt->unsubscribe(ctx->conn, tls_ctx->xprt_ctx, ctx->wait_event.events, &ctx->wait_event);
}

/* Called from the upper layer, to unsubscribe <es> from events <event_type>. Always
 * returns 0.
 */
static int disc_xprt_unsubscribe(struct connection *conn, void *xprt_ctx, int event_type, struct wait_event *es)
{
	struct disc_xprt_ctx *ctx = xprt_ctx;

	if (ctx->h2 && ctx->h2->gate) {
		/* the TLS layer would unsubscribe from the socket, where the gate waits */
		es->events &= ~event_type;
		if (!es->events)
			ctx->tls_ctx->subs = NULL;
		return 0;
	}
	if (ctx->mode == DISC_XPRT_OPEN)
		return ctx->tls->unsubscribe(conn, ctx->tls_ctx, event_type, es);

	BUG_ON(ctx->subs && ctx->subs != es);

	es->events &= ~event_type;
	if (!es->events)
		ctx->subs = NULL;
	if (event_type & SUB_RETRY_SEND)
		disc_xprt_forget_sends(ctx);
	return 0;
}

/* Leaves mode OPEN: what the mux waits for is from now on known here alone, and the TLS
 * layer waits for nothing.
 */
static void disc_xprt_hold(struct disc_xprt_ctx *ctx)
{
	struct ssl_sock_ctx *tls_ctx = ctx->tls_ctx;
	struct wait_event *es = tls_ctx->subs;
	int events = es ? es->events : 0;

	if (es)
		ctx->tls->unsubscribe(ctx->conn, tls_ctx, events, es);
	if (tls_ctx->wait_event.events)
		tls_ctx->xprt->unsubscribe(ctx->conn, tls_ctx->xprt_ctx, tls_ctx->wait_event.events, &tls_ctx->wait_event);
	disc_xprt_set_mode(ctx, DISC_XPRT_PASSING);
	if (events)
		disc_xprt_subscribe(ctx->conn, ctx, events, es);
}

/* Back to mode OPEN after the last record: gives what the mux waits for back to the TLS
 * layer. It may already hold data which were read along with the request.
 */
static void disc_xprt_resume(struct disc_xprt_ctx *ctx)
{
	struct wait_event *es = ctx->subs;

	disc_lowat_free(&ctx->lowat);
	disc_xprt_forget_sends(ctx);
	ctx->tls_ctx->xprt_st &= ~SSL_SOCK_SEND_MORE;
	disc_xprt_set_mode(ctx, DISC_XPRT_OPEN);
	if (SSL_pending(ctx->tls_ctx->ssl))
		disc_xprt_wake(ctx, SUB_RETRY_RECV);
	ctx->subs = NULL;
	if (es && es->events)
		ctx->tls->subscribe(ctx->conn, ctx->tls_ctx, es->events, es);
}

/*
 * Passing records
 */

/* Switches <conn> to passing: the next <clear> bytes sent are the headers of the
 * response accepted for the current lease, its records follow. Returns 1, or 0 if
 * this is impossible, in which case the connection has to be killed.
 */
int disc_conn_pass_records(struct connection *conn, size_t clear)
{
	struct disc_xprt_ctx *ctx = disc_conn_ctx(conn);

	if (!ctx || ctx->mode != DISC_XPRT_OPEN || (conn->flags & CO_FL_SSL_WAIT_HS) ||
	    !disc_lease_begin(&ctx->lease, clear))
		return 0;
	disc_xprt_hold(ctx);
	return 1;
}

/* Makes sure nothing more leaves through this connection. */
static void disc_xprt_fail(struct disc_xprt_ctx *ctx)
{
	disc_lease_poison(&ctx->lease);
	ctx->conn->flags |= CO_FL_ERROR;
}

/* Accounts for <bytes> of records which were just sent. */
static void disc_xprt_forwarded(struct disc_xprt_ctx *ctx, size_t bytes)
{
	int ret = disc_lease_forwarded(&ctx->lease, bytes);

	if (ret < 0)
		ctx->conn->flags |= CO_FL_ERROR;
	else if (ret > 0)
		disc_xprt_resume(ctx);
}

/* Returns a number of bytes that certainly are still to be received, at most <held> of
 * those which are still to be sent having been received.
 */
static uint64_t disc_xprt_left_to_recv(const struct disc_xprt_ctx *ctx, uint64_t held)
{
	return ctx->lease.cipher_left > held ? ctx->lease.cipher_left - held : 0;
}

/* Tells that the records accepted for the lease of <conn> come from <srv_conn>, and that
 * <received> bytes of them were taken from its mux: the others are to be received in large
 * amounts if possible. The socket must give nothing but them.
 */
void disc_conn_receive_from(struct connection *conn, const struct connection *srv_conn, uint64_t received)
{
	struct disc_xprt_ctx *ctx = disc_conn_ctx(conn);
	uint64_t held = received + global.tune.bufsize; /* the mux may have received more */

	if (!ctx)
		return;
	disc_lowat_free(&ctx->lowat);
	if (ctx->lease.chunked || srv_conn->xprt != xprt_get(XPRT_RAW) || conn_fd(srv_conn) < 0)
		return;
	if (ctx->lease.ciphertext > held)
		ctx->lowat = disc_lowat_new(srv_conn->handle.fd, ctx->lease.ciphertext - held);
}

/* Parks the socket of the connection and hands it off. */
static void disc_xprt_hand_off(struct disc_xprt_ctx *ctx)
{
	disc_xprt_forget_sends(ctx);
	fd_park(ctx->conn->handle.fd);
	disc_xprt_set_mode(ctx, DISC_XPRT_PARKED);
	disc_park(ctx->conn, &ctx->lease);
}

/* Called when <conn>, which was handed off or about to be, is still as it was and nobody
 * else will write the records: we are going to pass them.
 */
void disc_conn_refused(struct connection *conn)
{
	struct disc_xprt_ctx *ctx = conn->xprt_ctx;

	ctx->lease.direct = 0;
	fd_unpark(conn->handle.fd);
	disc_xprt_set_mode(ctx, DISC_XPRT_PASSING);
	disc_xprt_wake(ctx, SUB_RETRY_SEND);
}

/* Called when <conn>, which was handed off, is back with all records written. */
void disc_conn_returned(struct connection *conn)
{
	struct disc_xprt_ctx *ctx = conn->xprt_ctx;

	fd_unpark(conn->handle.fd);
	disc_xprt_wake(ctx, SUB_RETRY_SEND);
	ctx->lease.acked = ctx->lease.ciphertext;
	disc_xprt_forwarded(ctx, ctx->lease.cipher_left);
}

/* Called when <conn>, which was handed off, is lost: it must be closed without a word. */
void disc_conn_lost(struct connection *conn)
{
	struct disc_xprt_ctx *ctx = conn->xprt_ctx;

	disc_xprt_fail(ctx);
	/* whatever the mux waits for, this is what it gets */
	disc_xprt_wake(ctx, SUB_RETRY_RECV|SUB_RETRY_SEND);
}

/*
 * Sending and receiving
 */

/* Gives up to <count> bytes of <buf> to the TLS layer, record by record, as the lease
 * allows. Returns the number of bytes consumed.
 */
static size_t disc_xprt_seal(struct disc_xprt_ctx *ctx, const struct buffer *buf, size_t count, int flags)
{
	struct connection *conn = ctx->conn;
	size_t done = 0;

	/* as the TLS layer does. Past this point it only sends less than it was given if
	 * it has to retry a write
	 */
	if (conn->flags & (CO_FL_WAIT_XPRT | CO_FL_SSL_WAIT_HS | CO_FL_EARLY_SSL_HS))
		return 0;

	while (done < count) {
		struct buffer left = *buf;
		size_t try, ret;
		enum disc_write go;

		b_del(&left, done);
		try = MIN(b_contig_data(&left, 0), MIN(count - done, DISC_RECORD_MAX));

		/* a KeyUpdate goes along with the data which follow it */
		ctx->tls_ctx->xprt_st |= SSL_SOCK_SEND_MORE;
		go = disc_lease_before_write(&ctx->lease, &try, now_ms);
		if (go == DISC_WR_KILL) {
			ERR_clear_error();
			conn->flags |= CO_FL_ERROR;
			break;
		}
		if (go == DISC_WR_DONE) {
			done += try;
			ctx->tls_ctx->xprt_st &= ~SSL_SOCK_SEND_UNLIMITED;
			if (done == count && !(flags & CO_SFL_MSG_MORE))
				ctx->tls_ctx->xprt_st &= ~SSL_SOCK_SEND_MORE;
			continue;
		}
		ret = ctx->tls->snd_buf(conn, ctx->tls_ctx, &left, try,
		                        flags | (done + try < count ? CO_SFL_MSG_MORE : 0));
		disc_lease_after_write(&ctx->lease, ret < try && !(conn->flags & CO_FL_ERROR));
		done += ret;
		if (ret < try)
			break;
	}
	return done;
}

/* Seals the headers, the first bytes of <buf>, as one record and sends it. The TLS
 * layer could make several of them.
 * Returns the number of bytes consumed: all of the headers, or 0 if the socket is
 * full or if the connection failed.
 */
static size_t disc_xprt_send_headers(struct disc_xprt_ctx *ctx, const struct buffer *buf)
{
	struct disc_lease *lease = &ctx->lease;
	size_t count = lease->clear_left;
	const char *from = b_head(buf);
	enum disc_write go;
	int ret = count, blocked;

	if (b_data(buf) < count)
		goto fail; /* the mux gives them as a whole */
	if (b_contig_data(buf, 0) < count) {
		b_getblk(buf, trash.area, count, 0);
		from = trash.area;
	}

	/* KeyUpdate, headers and first records may share segments */
	ctx->tls_ctx->xprt_st |= SSL_SOCK_SEND_MORE;
	go = disc_lease_enter(lease, now_ms);
	if (go == DISC_WR_KILL)
		goto fail;
	if (go == DISC_WR_GO)
		ret = SSL_write(ctx->tls_ctx->ssl, from, count);
	if (ctx->conn->flags & CO_FL_ERROR)
		goto fail;
	blocked = ret <= 0 && SSL_get_error(ctx->tls_ctx->ssl, ret) == SSL_ERROR_WANT_WRITE;
	disc_lease_after_write(lease, blocked);
	if (blocked)
		return 0;
	if (ret != count || !disc_lease_headers_sent(lease))
		goto fail;
	return count;

 fail:
	ERR_clear_error();
	disc_xprt_fail(ctx);
	return 0;
}

/* Sends up to <count> bytes of <buf>, headers then records. Never more than what
 * was announced. Returns the number of bytes consumed.
 */
static size_t disc_xprt_pass(struct disc_xprt_ctx *ctx, const struct buffer *buf, size_t count, int flags)
{
	struct ssl_sock_ctx *tls_ctx = ctx->tls_ctx;
	struct disc_lease *lease = &ctx->lease;
	struct buffer records = *buf;
	size_t done = 0, ret;

	if (lease->state != DISC_LS_PASSING || (ctx->conn->flags & CO_FL_ERROR)) {
		disc_xprt_fail(ctx);
		return 0;
	}
	if (lease->clear_left) {
		done = disc_xprt_send_headers(ctx, buf);
		if (!done)
			return 0;
		b_del(&records, done);
		if (lease->direct) {
			disc_xprt_hand_off(ctx);
			return done;
		}
	}

	count = MIN(count - done, MIN(lease->cipher_left, b_data(&records)));
	if (!count)
		return done;
	ret = tls_ctx->xprt->snd_buf(ctx->conn, tls_ctx->xprt_ctx, &records, count, flags);
	if (ret)
		disc_xprt_forwarded(ctx, ret);
	/* some of them may be in the buffers of both muxes and of the channel */
	disc_lowat_progress(&ctx->lowat, disc_xprt_left_to_recv(ctx, 3 * global.tune.bufsize));
	return done + ret;
}

/* Sends up to <count> bytes of <buf>, nothing in mode PARKED. Returns the number of bytes
 * consumed.
 */
static size_t disc_xprt_from_buf(struct connection *conn, void *xprt_ctx, const struct buffer *buf, size_t count, int flags)
{
	struct disc_xprt_ctx *ctx = xprt_ctx;

	switch (ctx->mode) {
	case DISC_XPRT_OPEN:    break;
	case DISC_XPRT_PASSING: return disc_xprt_pass(ctx, buf, count, flags);
	default:                return 0;
	}
	if (!ctx->h2)
		return disc_xprt_seal(ctx, buf, count, flags);
	if (disc_h2_blocks(ctx->h2))
		return 0;
	count = disc_xprt_seal(ctx, buf, count, flags);
	disc_h2_sent(ctx->h2, count);
	return count;
}

#if defined(USE_LINUX_SPLICE)
/* Splices up to <count> bytes of records from <pipe> to the socket. Returns the
 * number of bytes spliced.
 */
static int disc_xprt_from_pipe(struct connection *conn, void *xprt_ctx, struct pipe *pipe, unsigned int count)
{
	struct disc_xprt_ctx *ctx = xprt_ctx;
	struct ssl_sock_ctx *tls_ctx = ctx->tls_ctx;
	struct disc_lease *lease = &ctx->lease;
	int ret;

	/* a pipe holds nothing but the records of this response */
	if (lease->state != DISC_LS_PASSING || lease->clear_left || count > lease->cipher_left || (conn->flags & CO_FL_ERROR)) {
		disc_xprt_fail(ctx);
		return 0;
	}
	ret = tls_ctx->xprt->snd_pipe(conn, tls_ctx->xprt_ctx, pipe, count);
	if (ret > 0)
		disc_xprt_forwarded(ctx, ret);
	/* the muxes only splice if nothing is left in their buffers */
	disc_lowat_progress(&ctx->lowat, disc_xprt_left_to_recv(ctx, pipe->data));
	return ret;
}
#endif

/* Receives up to <count> bytes into <buf>, nothing from the acceptance of records until the
 * last one is out. Returns the number of bytes received.
 */
static size_t disc_xprt_to_buf(struct connection *conn, void *xprt_ctx, struct buffer *buf, size_t count, int flags)
{
	struct disc_xprt_ctx *ctx = xprt_ctx;

	if (ctx->mode != DISC_XPRT_OPEN || ctx->lease.state == DISC_LS_ACCEPTED)
		return 0;
	if (ctx->lease.state == DISC_LS_POISONED) { /* reading may make the session answer */
		conn->flags |= CO_FL_ERROR;
		return 0;
	}
	return ctx->tls->rcv_buf(conn, ctx->tls_ctx, buf, count, flags);
}

/* Shuts down the TLS session, with a close_notify if <clean> is set and the lease allows
 * it. In the middle of records, any alert would be sealed under a nonce of the holder:
 * the missing close_notify tells the client about the truncation. The socket of a
 * connection that is handed off must not be shut down either, as others still hold it:
 * conn_sock_shutw() does not if the other direction is closed.
 */
static void disc_xprt_shutw(struct connection *conn, void *xprt_ctx, int clean)
{
	struct disc_xprt_ctx *ctx = xprt_ctx;

	if (ctx->mode != DISC_XPRT_OPEN) {
		disc_lease_poison(&ctx->lease);
		SSL_set_quiet_shutdown(ctx->tls_ctx->ssl, 1);
		if (ctx->lease.direct)
			conn->flags |= CO_FL_SOCK_RD_SH;
		return;
	}
	if (conn->flags & (CO_FL_WAIT_XPRT | CO_FL_SSL_WAIT_HS))
		return; /* as the TLS layer does */
	if (ctx->h2 && disc_h2_shut(ctx->h2)) {
		disc_lease_poison(&ctx->lease);
		SSL_set_quiet_shutdown(ctx->tls_ctx->ssl, 1);
		return;
	}
	ctx->tls->shutw(conn, ctx->tls_ctx, clean && disc_lease_may_notify(&ctx->lease, now_ms));
}

/* Releases this layer, then closes the one below. */
static void disc_xprt_close(struct connection *conn, void *xprt_ctx)
{
	struct disc_xprt_ctx *ctx = xprt_ctx;

	if (ctx->lease.state == DISC_LS_PASSING || ctx->lease.state == DISC_LS_POISONED || (ctx->h2 && disc_h2_shut(ctx->h2)))
		_HA_ATOMIC_INC(&disc_poisoned);
	if (ctx->lease.handoff)
		disc_handoff_abandon(&ctx->lease);
	disc_h2_free(ctx->h2);
	disc_lease_wipe(&ctx->lease);
	disc_lowat_free(&ctx->lowat);
	disc_xprt_forget_sends(ctx);
	disc_xprt_wake(ctx, SUB_RETRY_RECV|SUB_RETRY_SEND);
	/* the TLS library calls back for its context */
	conn->xprt = ctx->tls;
	conn->xprt_ctx = ctx->tls_ctx;
	tasklet_free(ctx->wait_event.tasklet);
	pool_free(pool_head_disc_xprt_ctx, ctx);
	conn->xprt->close(conn, conn->xprt_ctx);
}

/*
 * All else is that of the TLS layer, which gets its own context
 */

static int disc_xprt_get_alpn(const struct connection *conn, void *xprt_ctx, const char **str, int *len)
{
	struct disc_xprt_ctx *ctx = xprt_ctx;

	return ctx->tls->get_alpn(conn, ctx->tls_ctx, str, len);
}

static struct ssl_sock_ctx *disc_xprt_get_ssl_sock_ctx(struct connection *conn)
{
	struct disc_xprt_ctx *ctx = conn->xprt_ctx;

	return ctx->tls_ctx;
}

static int disc_xprt_add_xprt(struct connection *conn, void *xprt_ctx, void *toadd_ctx, const struct xprt_ops *toadd_ops,
                              void **oldxprt_ctx, const struct xprt_ops **oldxprt_ops)
{
	struct disc_xprt_ctx *ctx = xprt_ctx;

	return ctx->tls->add_xprt(conn, ctx->tls_ctx, toadd_ctx, toadd_ops, oldxprt_ctx, oldxprt_ops);
}

static int disc_xprt_remove_xprt(struct connection *conn, void *xprt_ctx, void *toremove_ctx, const struct xprt_ops *newops, void *newctx)
{
	struct disc_xprt_ctx *ctx = xprt_ctx;

	return ctx->tls->remove_xprt(conn, ctx->tls_ctx, toremove_ctx, newops, newctx);
}

/* Only connections to servers are taken over by other threads, or idle, and this layer is
 * only stacked on those of clients. Returns -1: the connection cannot be taken over.
 */
static int disc_xprt_takeover(struct connection *conn, void *xprt_ctx, int orig_tid, int release)
{
	return -1;
}

/* Appends this layer's state to <buf> for "show fd", then that of the layer below.
 * Returns non-zero if the latter is suspicious.
 */
static int disc_xprt_show_fd(struct buffer *buf, const struct connection *conn, const void *xprt_ctx)
{
	const struct disc_xprt_ctx *ctx = xprt_ctx;

	chunk_appendf(buf, " disc.mode=%d .lease=%s .subs=%p .xprt=%s .xctx=%p", ctx->mode,
	              disc_lease_state_str(ctx->lease.state), ctx->subs, ctx->tls->name, ctx->tls_ctx);
	return ctx->tls->show_fd ? ctx->tls->show_fd(buf, conn, ctx->tls_ctx) : 0;
}

/* Methods that a listener's or a server's transport layer needs are not here. */
static struct xprt_ops disc_xprt = {
	.snd_buf = disc_xprt_from_buf,
	.rcv_buf = disc_xprt_to_buf,
	.subscribe = disc_xprt_subscribe,
	.unsubscribe = disc_xprt_unsubscribe,
	.remove_xprt = disc_xprt_remove_xprt,
	.add_xprt = disc_xprt_add_xprt,
	.shutw = disc_xprt_shutw,
	.close = disc_xprt_close,
	.get_alpn = disc_xprt_get_alpn,
	.takeover = disc_xprt_takeover,
	.get_ssl_sock_ctx = disc_xprt_get_ssl_sock_ctx,
	.show_fd = disc_xprt_show_fd,
	.name = "DISC",
};

static void disc_xprt_init(void)
{
	disc_passing_xprt = disc_xprt;
#if defined(USE_LINUX_SPLICE)
	disc_passing_xprt.snd_pipe = disc_xprt_from_pipe;
#endif
}

INITCALL0(STG_REGISTER, disc_xprt_init);

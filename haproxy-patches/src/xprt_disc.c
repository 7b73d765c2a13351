/*
 * src/xprt_disc.c
 * Transport layer of a TLS client connection which passes records through.
 *
 * While records sealed by the holder of a lease go out, this transport layer
 * takes the place of "SSL" on the connection: response headers are sealed by the
 * TLS session as one record, what follows goes to the socket as it is, spliced
 * if possible, and nothing else may touch the session. So nothing is read either,
 * since reading may make the session answer (KeyUpdate, alert). The muxes have no
 * need to know; those which count bytes have to count those of the records.
 *
 * On the direct path another host writes the records: the connection is handed off once
 * the headers are out (disc_handoff.c), and nobody touches its socket until then. If
 * nobody takes it, the records come to us after all.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <haproxy/api.h>
#include <haproxy/chunk.h>
#include <haproxy/connection.h>
#include <haproxy/disc_handoff.h>
#include <haproxy/disc_lease.h>
#include <haproxy/fd.h>
#include <haproxy/openssl-compat.h>
#include <haproxy/pipe-t.h>
#include <haproxy/pool.h>
#include <haproxy/ssl_sock.h>
#include <haproxy/task.h>
#include <haproxy/ticks.h>
#include <haproxy/xprt_disc.h>

DECLARE_STATIC_POOL(pool_head_disc_lease, "disc_lease", sizeof(struct disc_lease));

/* connections closed in the middle of records */
unsigned int disc_poisoned = 0;

extern struct xprt_ops ssl_sock;
static struct xprt_ops disc_xprt;
static struct xprt_ops disc_parked_xprt;

/* Returns the lease of <conn>, or NULL if it never had any. */
struct disc_lease *disc_conn_lease(const struct connection *conn)
{
	if (!conn || !conn->xprt_ctx || (conn->xprt != &ssl_sock && conn->xprt != &disc_xprt && conn->xprt != &disc_parked_xprt))
		return NULL;
	return ((struct ssl_sock_ctx *)conn->xprt_ctx)->disc;
}

/* Takes a lease numbered <id> on the TLS connection <conn>. Returns NULL, or one
 * word telling why there is none.
 */
const char *disc_conn_take_lease(struct connection *conn, uint64_t id)
{
	struct ssl_sock_ctx *ctx;

	if (conn->xprt == &disc_xprt || conn->xprt == &disc_parked_xprt)
		return "busy";
	if (conn->xprt != &ssl_sock || !conn->xprt_ctx)
		return "tls";
	if (conn->flags & (CO_FL_WAIT_XPRT | CO_FL_SSL_WAIT_HS | CO_FL_EARLY_SSL_HS | CO_FL_ERROR))
		return "handshake";
	ctx = conn->xprt_ctx;
	/* unsent output of a previous response? */
	if (ctx->subs && (ctx->subs->events & SUB_RETRY_SEND))
		return "pending";
	if (!ctx->disc) {
		ctx->disc = pool_alloc(pool_head_disc_lease);
		if (!ctx->disc)
			return "memory";
		disc_lease_init(ctx->disc, ctx->ssl);
	}
	return disc_lease_take(ctx->disc, id, now_ms);
}

/* Switches <conn> to passing: the next <clear> bytes sent are the headers of the
 * response accepted for the current lease, its records follow. Returns 1, or 0 if
 * this is impossible, in which case the connection has to be killed.
 */
int disc_conn_pass_records(struct connection *conn, size_t clear)
{
	struct disc_lease *lease = disc_conn_lease(conn);
	struct ssl_sock_ctx *ctx = conn->xprt_ctx;

	if (!lease || conn->xprt != &ssl_sock || (conn->flags & CO_FL_SSL_WAIT_HS) || !disc_lease_begin(lease, clear))
		return 0;
	if (ctx->wait_event.events & SUB_RETRY_RECV)
		ctx->xprt->unsubscribe(conn, ctx->xprt_ctx, SUB_RETRY_RECV, &ctx->wait_event);
	conn->xprt = &disc_xprt;
	return 1;
}

/* Called before each SSL_write() of <*count> bytes, which may be lowered. See
 * enum disc_write for the return value.
 */
int disc_xprt_before_write(struct ssl_sock_ctx *ctx, size_t *count)
{
	/* a KeyUpdate goes along with the data which follow it */
	ctx->xprt_st |= SSL_SOCK_SEND_MORE;
	return disc_lease_before_write(ctx->disc, count, now_ms);
}

/* Called after each SSL_write(), which returned <ret>. */
void disc_xprt_after_write(struct ssl_sock_ctx *ctx, ssize_t ret)
{
	disc_lease_after_write(ctx->disc, ret <= 0 && SSL_get_error(ctx->ssl, ret) == SSL_ERROR_WANT_WRITE);
}

/* Returns non-zero if a close_notify may be sent. */
int disc_xprt_may_notify(struct ssl_sock_ctx *ctx)
{
	return disc_lease_may_notify(ctx->disc, now_ms);
}

/* Called when the TLS session is about to be released. */
void disc_xprt_release(struct ssl_sock_ctx *ctx)
{
	if (ctx->disc->state == DISC_LS_PASSING || ctx->disc->state == DISC_LS_POISONED)
		_HA_ATOMIC_INC(&disc_poisoned);
	if (ctx->disc->handoff)
		disc_handoff_abandon(ctx->disc);
	disc_lease_wipe(ctx->disc);
	pool_free(pool_head_disc_lease, ctx->disc);
	ctx->disc = NULL;
}

/* Makes sure nothing more leaves through <conn>. */
static void disc_xprt_fail(struct connection *conn, struct disc_lease *lease)
{
	disc_lease_poison(lease);
	conn->flags |= CO_FL_ERROR;
}

/* Gives <conn> its regular transport layer back after the last record, and enables
 * the reads which were held.
 */
static void disc_xprt_resume(struct connection *conn, struct ssl_sock_ctx *ctx)
{
	conn->xprt = &ssl_sock;
	if (ctx->subs && (ctx->subs->events & SUB_RETRY_RECV)) {
		if (!(ctx->wait_event.events & SUB_RETRY_RECV))
			ctx->xprt->subscribe(conn, ctx->xprt_ctx, SUB_RETRY_RECV, &ctx->wait_event);
		if (SSL_pending(ctx->ssl))
			tasklet_wakeup(ctx->wait_event.tasklet);
	}
}

/* Accounts for <bytes> of records which were just sent. */
static void disc_xprt_forwarded(struct connection *conn, struct ssl_sock_ctx *ctx, size_t bytes)
{
	int ret = disc_lease_forwarded(ctx->disc, bytes);

	if (ret < 0)
		conn->flags |= CO_FL_ERROR;
	else if (ret > 0)
		disc_xprt_resume(conn, ctx);
}

/* Takes socket <fd> out of the poller at once. Others are about to have it too, so
 * that the poller would go on reporting its events, even after close(). An update
 * which is still pending must not register it again, as is done whatever the events
 * wanted if it may be edge-triggered ; so it is not any more, also once it is back.
 */
static void disc_xprt_park(int fd)
{
	fd_stop_both(fd);
	_HA_ATOMIC_AND(&fdtab[fd].state, ~FD_ET_POSSIBLE);
	_HA_ATOMIC_OR(&fdtab[fd].state, FD_CLONED);
	if (cur_poller.clo)
		cur_poller.clo(fd);
	_HA_ATOMIC_AND(&polled_mask[fd].poll_recv, ~ti->ltid_bit);
	_HA_ATOMIC_AND(&polled_mask[fd].poll_send, ~ti->ltid_bit);
}

/* Parks the socket of <conn> and hands it off. */
static void disc_xprt_hand_off(struct connection *conn, struct ssl_sock_ctx *ctx)
{
	if (ctx->wait_event.events)
		ctx->xprt->unsubscribe(conn, ctx->xprt_ctx, ctx->wait_event.events, &ctx->wait_event);
	disc_xprt_park(conn->handle.fd);
	conn->xprt = &disc_parked_xprt;
	disc_park(conn, ctx->disc);
}

/* Wakes a mux up which waits for being able to send on a connection that was handed off:
 * nothing below knows of it.
 */
static void disc_xprt_wake_sender(struct ssl_sock_ctx *ctx)
{
	struct wait_event *es = ctx->subs;

	if (!es || !(es->events & SUB_RETRY_SEND))
		return;
	es->events &= ~SUB_RETRY_SEND;
	if (!es->events)
		ctx->subs = NULL;
	tasklet_wakeup(es->tasklet);
}

/* Called when <conn>, which was handed off or about to be, is still as it was and nobody
 * else will write the records: we are going to pass them.
 */
void disc_conn_refused(struct connection *conn)
{
	struct ssl_sock_ctx *ctx = conn->xprt_ctx;

	ctx->disc->direct = 0;
	conn->xprt = &disc_xprt;
	disc_xprt_wake_sender(ctx);
}

/* Called when <conn>, which was handed off, is back with all records written. */
void disc_conn_returned(struct connection *conn)
{
	struct ssl_sock_ctx *ctx = conn->xprt_ctx;
	struct disc_lease *lease = ctx->disc;

	disc_xprt_wake_sender(ctx);
	lease->acked = lease->ciphertext;
	disc_xprt_forwarded(conn, ctx, lease->cipher_left);
}

/* Called when <conn>, which was handed off, is lost: it must be closed without a word. */
void disc_conn_lost(struct connection *conn)
{
	struct ssl_sock_ctx *ctx = conn->xprt_ctx;
	struct wait_event *es = ctx->subs;

	disc_xprt_fail(conn, ctx->disc);
	if (!es)
		return;
	/* whatever the mux waits for, this is what it gets */
	ctx->subs = NULL;
	es->events &= ~(SUB_RETRY_RECV|SUB_RETRY_SEND);
	tasklet_wakeup(es->tasklet);
}

/* Seals the headers, the first bytes of <buf>, as one record and sends it.
 * Returns the number of bytes consumed: all of the headers, or 0 if the socket is
 * full or if the connection failed.
 */
static size_t disc_xprt_send_headers(struct connection *conn, struct ssl_sock_ctx *ctx, const struct buffer *buf)
{
	struct disc_lease *lease = ctx->disc;
	size_t count = lease->clear_left;
	const char *from = b_head(buf);
	enum disc_write go;
	int ret = count;

	if (b_data(buf) < count)
		goto fail; /* the mux gives them as a whole */
	if (b_contig_data(buf, 0) < count) {
		b_getblk(buf, trash.area, count, 0);
		from = trash.area;
	}

	/* KeyUpdate, headers and first records may share segments */
	ctx->xprt_st |= SSL_SOCK_SEND_MORE;
	go = disc_lease_enter(lease, now_ms);
	if (go == DISC_WR_KILL)
		goto fail;
	if (go == DISC_WR_GO)
		ret = SSL_write(ctx->ssl, from, count);
	if (conn->flags & CO_FL_ERROR)
		goto fail;
	disc_xprt_after_write(ctx, ret);
	if (ret <= 0) {
		if (SSL_get_error(ctx->ssl, ret) != SSL_ERROR_WANT_WRITE)
			goto fail;
		return 0;
	}
	if (ret != count || !disc_lease_headers_sent(lease))
		goto fail;
	return count;

 fail:
	ERR_clear_error();
	disc_xprt_fail(conn, lease);
	return 0;
}

/* Sends up to <count> bytes of <buf>, headers then records. Never more than what
 * was announced. Returns the number of bytes consumed.
 */
static size_t disc_xprt_from_buf(struct connection *conn, void *xprt_ctx, const struct buffer *buf, size_t count, int flags)
{
	struct ssl_sock_ctx *ctx = xprt_ctx;
	struct disc_lease *lease = ctx->disc;
	struct buffer records = *buf;
	size_t done = 0, ret;

	if (lease->state != DISC_LS_PASSING || (conn->flags & CO_FL_ERROR)) {
		disc_xprt_fail(conn, lease);
		return 0;
	}
	if (lease->clear_left) {
		done = disc_xprt_send_headers(conn, ctx, buf);
		if (!done)
			return 0;
		b_del(&records, done);
		if (lease->direct) {
			disc_xprt_hand_off(conn, ctx);
			return done;
		}
	}

	count -= done;
	if (count > lease->cipher_left)
		count = lease->cipher_left;
	if (count > b_data(&records))
		count = b_data(&records);
	if (!count)
		return done;
	ret = ctx->xprt->snd_buf(conn, ctx->xprt_ctx, &records, count, flags);
	if (ret)
		disc_xprt_forwarded(conn, ctx, ret);
	return done + ret;
}

#if defined(USE_LINUX_SPLICE)
/* Splices up to <count> bytes of records from <pipe> to the socket. Returns the
 * number of bytes spliced.
 */
static int disc_xprt_from_pipe(struct connection *conn, void *xprt_ctx, struct pipe *pipe, unsigned int count)
{
	struct ssl_sock_ctx *ctx = xprt_ctx;
	struct disc_lease *lease = ctx->disc;
	int ret;

	if (lease->state != DISC_LS_PASSING || lease->clear_left || (conn->flags & CO_FL_ERROR)) {
		disc_xprt_fail(conn, lease);
		return 0;
	}
	if (count > lease->cipher_left)
		count = lease->cipher_left;
	ret = ctx->xprt->snd_pipe(conn, ctx->xprt_ctx, pipe, count);
	if (ret > 0)
		disc_xprt_forwarded(conn, ctx, ret);
	return ret;
}
#endif

/* Nothing is read while records pass. */
static size_t disc_xprt_to_buf(struct connection *conn, void *xprt_ctx, struct buffer *buf, size_t count, int flags)
{
	return 0;
}

/* As the regular transport layer's, but only subscribes to sends below, the reads
 * are remembered until the last record is gone.
 */
static int disc_xprt_subscribe(struct connection *conn, void *xprt_ctx, int event_type, struct wait_event *es)
{
	struct ssl_sock_ctx *ctx = xprt_ctx;

	BUG_ON(event_type & ~(SUB_RETRY_SEND|SUB_RETRY_RECV));
	BUG_ON(ctx->subs && ctx->subs != es);

	ctx->subs = es;
	es->events |= event_type;
	event_type &= ~(ctx->wait_event.events | SUB_RETRY_RECV);
	if (event_type)
		ctx->xprt->subscribe(conn, ctx->xprt_ctx, event_type, &ctx->wait_event);
	return 0;
}

/* Nothing is sent on a connection which is handed off. */
static size_t disc_xprt_parked_from_buf(struct connection *conn, void *xprt_ctx, const struct buffer *buf, size_t count, int flags)
{
	return 0;
}

/* As above, but for sends too: the mux is woken up when the connection is back. */
static int disc_xprt_parked_subscribe(struct connection *conn, void *xprt_ctx, int event_type, struct wait_event *es)
{
	struct ssl_sock_ctx *ctx = xprt_ctx;

	BUG_ON(event_type & ~(SUB_RETRY_SEND|SUB_RETRY_RECV));
	BUG_ON(ctx->subs && ctx->subs != es);

	ctx->subs = es;
	es->events |= event_type;
	return 0;
}

/* Shutting down in the middle of records: any alert would be sealed under a nonce
 * of the holder. The missing close_notify tells the client about the truncation.
 */
static void disc_xprt_shutw(struct connection *conn, void *xprt_ctx, int clean)
{
	struct ssl_sock_ctx *ctx = xprt_ctx;

	disc_lease_poison(ctx->disc);
	SSL_set_quiet_shutdown(ctx->ssl, 1);
}

static struct ssl_sock_ctx *disc_xprt_get_ctx(struct connection *conn)
{
	return conn ? conn->xprt_ctx : NULL;
}

/* Everything else is that of the regular transport layer. */
static void disc_xprt_init(void)
{
	disc_xprt = ssl_sock;
	disc_xprt.snd_buf = disc_xprt_from_buf;
	disc_xprt.rcv_buf = disc_xprt_to_buf;
#if defined(USE_LINUX_SPLICE)
	disc_xprt.snd_pipe = disc_xprt_from_pipe;
#endif
	disc_xprt.subscribe = disc_xprt_subscribe;
	disc_xprt.shutw = disc_xprt_shutw;
	disc_xprt.get_ssl_sock_ctx = disc_xprt_get_ctx;

	disc_parked_xprt = disc_xprt;
	disc_parked_xprt.snd_buf = disc_xprt_parked_from_buf;
	disc_parked_xprt.snd_pipe = NULL;
	disc_parked_xprt.subscribe = disc_xprt_parked_subscribe;
}

INITCALL0(STG_REGISTER, disc_xprt_init);

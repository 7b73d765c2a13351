/*
 * src/disc_hop.c
 * Transport layer of a fetch hop over which a body comes by grants.
 *
 * It is put between the mux and the socket of a server's connection when a response was
 * accepted whose body the node sends as messages, one a chunk: answers to grants, and reports.
 * It takes these out of the connection, so that the mux waits for a body whose bytes go past
 * it, and only gets the end of it: the last chunk, with which this layer disappears. A body
 * that goes on in clear is the exception: the mux gets the payload of its messages as chunks.
 * If the node is gone, or is wrong, the rest of the body may come from elsewhere, as chunks too.
 *
 *         +------------------------------------------------------------------+
 *         v                                                                  |
 *       SIZE --> HEAD --+--> CLEAR --> GATHER --- all there, taken --> RUN --+--> CRLF --> SIZE
 *                       +--> DISCARD ----------------------------------------+
 *                       +--> FORWARD ----------------------------------------+
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <haproxy/api.h>
#include <haproxy/buf.h>
#include <haproxy/connection.h>
#include <haproxy/disc_hop.h>
#include <haproxy/disc_rest.h>
#include <haproxy/dynbuf.h>
#include <haproxy/fd.h>
#include <haproxy/pool.h>
#include <haproxy/task.h>

#define DISC_HOP_WINDOW 1280 /* bytes looked at at a time: a chunk's size, a head and what comes in clear */

DECLARE_STATIC_POOL(pool_head_disc_hop, "disc_hop", sizeof(struct disc_hop));

static struct xprt_ops disc_hop_xprt;

/* Wakes the mux up if it waits for any of <events>. */
static void disc_hop_wake(struct disc_hop *hop, int events)
{
	struct wait_event *es = hop->subs;

	if (!es || !(es->events & events))
		return;
	es->events &= ~events;
	if (!es->events)
		hop->subs = NULL;
	tasklet_wakeup(es->tasklet);
}

static void disc_hop_set_mark(struct disc_hop *hop, int mark)
{
	if (mark == hop->mark || !conn_ctrl_ready(hop->conn))
		return;
	if (setsockopt(disc_hop_fd(hop), SOL_SOCKET, SO_RCVLOWAT, &mark, sizeof(mark)) == 0)
		hop->mark = mark;
}

/* Takes this layer away from its connection, and frees it. The mux goes on with what is below. */
static void disc_hop_remove(struct disc_hop *hop)
{
	struct connection *conn = hop->conn;
	struct wait_event *es = hop->subs;
	int events = es ? es->events : 0;

	disc_hop_set_mark(hop, 1);
	if (hop->wait_event.events)
		hop->raw->unsubscribe(conn, hop->raw_ctx, hop->wait_event.events, &hop->wait_event);
	conn->xprt = hop->raw;
	conn->xprt_ctx = hop->raw_ctx;
	if (events) {
		es->events = 0;
		tasklet_wakeup(es->tasklet);
	}
	disc_run_release(&hop->run);
	disc_rest_free(hop->rest);
	b_free(&hop->early);
	tasklet_free(hop->wait_event.tasklet);
	pool_free(pool_head_disc_hop, hop);
}

/* The rest of the body comes from elsewhere if it can, since this hop fails because of <why>: the
 * mux gets it as if it came from here. Returns 1 if so, 0 if not.
 */
static int disc_hop_replace(struct disc_hop *hop, const char *why)
{
	const int forwards = hop->state == DISC_HOP_FORWARD;
	const uint32_t unsent = forwards && hop->left > 2 ? hop->left - 2 : 0;
	struct disc_rest *rest;

	if (hop->rest || !conn_ctrl_ready(hop->conn))
		return 0;
	rest = hop->ops->replace(hop->owner, unsent, why);
	if (!rest)
		return 0;
	hop->rest = rest;
	hop->end_due = forwards ? MIN(hop->left, 2) : 0;
	hop->left = unsent;
	if (!forwards)
		hop->line_at = hop->line_len = hop->kept_at = hop->kept_len = 0;
	hop->state = DISC_HOP_REST;
	hop->broken = NULL;
	b_free(&hop->early);
	if (hop->wait_event.events)
		hop->raw->unsubscribe(hop->conn, hop->raw_ctx, hop->wait_event.events, &hop->wait_event);
	fd_stop_both(disc_hop_fd(hop));
	hop->conn->flags &= ~(CO_FL_ERROR|CO_FL_SOCK_RD_SH);
	disc_rest_start(rest, hop);
	return 1;
}

/* Ends the body on this hop because of <why>: the connection is of no use any more, which the
 * mux gets to know. This layer stays, since what the socket still has is nothing for the mux,
 * which would take a message for a piece of the body.
 */
static void disc_hop_fail(struct disc_hop *hop, const char *why)
{
	const int lost = hop->taken && !disc_run_rescue(hop->taken, disc_hop_fd(hop));

	hop->taken = NULL;
	disc_run_release(&hop->run);
	if (lost)
		why = "lost";
	else if (disc_hop_replace(hop, why))
		return;
	hop->conn->flags |= CO_FL_ERROR;
	hop->state = DISC_HOP_FAILED;
	hop->ops->closed(hop->owner, why);
	disc_hop_wake(hop, SUB_RETRY_RECV|SUB_RETRY_SEND);
}

/*
 * Receiving
 */

/* Copies up to <len> bytes of what comes next to <out>, without consuming it. Returns how many,
 * 0 if nothing is there, or -1 if nothing will come any more.
 */
static ssize_t disc_hop_peek(struct disc_hop *hop, char *out, size_t len)
{
	ssize_t ret;

	if (b_data(&hop->early)) {
		len = MIN(len, b_data(&hop->early));
		b_getblk(&hop->early, out, len, 0);
		return len;
	}
	do {
		ret = recv(disc_hop_fd(hop), out, len, MSG_PEEK|MSG_DONTWAIT);
	} while (ret < 0 && errno == EINTR);
	if (ret < 0)
		return (errno == EAGAIN || errno == EWOULDBLOCK) ? 0 : -1;
	return ret ? ret : -1;
}

/* Drops up to <len> bytes of what comes next. Returns how many. */
static size_t disc_hop_skip(struct disc_hop *hop, size_t len)
{
	ssize_t ret;

	if (b_data(&hop->early)) {
		len = MIN(len, b_data(&hop->early));
		b_del(&hop->early, len);
		if (!b_data(&hop->early))
			b_free(&hop->early);
		return len;
	}
	do {
		ret = recv(disc_hop_fd(hop), NULL, len, MSG_TRUNC|MSG_DONTWAIT);
	} while (ret < 0 && errno == EINTR);
	return ret > 0 ? ret : 0;
}

/* Called when what the mux had received ends in the middle of something: moves the next bytes
 * from the socket behind it. Returns how many, 0 if there are none.
 */
static size_t disc_hop_more_early(struct disc_hop *hop)
{
	char more[DISC_MESSAGE_LEN];
	ssize_t ret;

	if (!b_data(&hop->early))
		return 0;
	ret = recv(disc_hop_fd(hop), more, MIN(sizeof(more), b_room(&hop->early)), MSG_DONTWAIT);
	return ret > 0 ? b_putblk(&hop->early, more, ret) : 0;
}

/* Returns how many bytes the socket holds. */
static uint32_t disc_hop_pending(const struct disc_hop *hop)
{
	int pending = 0;

	return ioctl(disc_hop_fd(hop), FIONREAD, &pending) == 0 ? pending : 0;
}

/* Waits for the socket to have more than it has now. */
static void disc_hop_wait(struct disc_hop *hop)
{
	if (hop->wait_event.events & SUB_RETRY_RECV)
		return;
	fd_cant_recv(disc_hop_fd(hop));
	hop->raw->subscribe(hop->conn, hop->raw_ctx, SUB_RETRY_RECV, &hop->wait_event);
}

/* The mux gets the <payload> bytes of the message that is being received, the first <kept> of
 * which are in <clear>.
 */
static void disc_hop_start_forward(struct disc_hop *hop, uint32_t payload, uint32_t kept)
{
	hop->line_at = hop->kept_at = 0;
	hop->line_len = snprintf(hop->line, sizeof(hop->line), "%x\r\n", payload);
	hop->kept_len = kept;
	hop->left = payload - kept + 2; /* with the end of the chunk */
	hop->fill = 0;
	hop->state = DISC_HOP_FORWARD;
}

/* The payload of a message begins, whose head is complete. Returns NULL, or what is wrong. */
static const char *disc_hop_head(struct disc_hop *hop)
{
	uint32_t payload = hop->left;

	hop->fill = 0;
	switch (hop->ops->message(hop->owner, hop->head, payload, &hop->clear_len)) {
	case DISC_PL_GATHER:
		hop->state = DISC_HOP_CLEAR;
		return (hop->clear_len > payload || hop->clear_len > sizeof(hop->clear)) ? "message" : NULL;
	case DISC_PL_FORWARD:
		disc_hop_start_forward(hop, payload, 0);
		return NULL;
	case DISC_PL_DISCARD:
		hop->state = payload ? DISC_HOP_DISCARD : DISC_HOP_CRLF;
		return NULL;
	default:
		return "message";
	}
}

/* Goes through the <len> bytes at <in>, which come next, as far as they can be looked at
 * here. Returns how many of them are done with, or -1 with <*why> set if they are wrong.
 */
static ssize_t disc_hop_parse(struct disc_hop *hop, const char *in, size_t len, const char **why)
{
	size_t at = 0, part;
	uint32_t size;
	int ret;

	while (at < len && !*why) {
		switch (hop->state) {
		case DISC_HOP_SIZE:
			ret = disc_chunk_size(in + at, len - at, &size);
			if (ret == 0)
				return at;
			if (ret < 0 || (size && size < DISC_MESSAGE_LEN)) {
				*why = "chunk";
				break;
			}
			if (!size) /* what follows is for the mux */
				return at;
			at += ret;
			hop->left = size;
			hop->fill = 0;
			hop->state = DISC_HOP_HEAD;
			break;
		case DISC_HOP_HEAD:
			part = MIN(len - at, DISC_MESSAGE_LEN - hop->fill);
			memcpy(hop->head + hop->fill, in + at, part);
			at += part;
			hop->fill += part;
			hop->left -= part;
			if (hop->fill == DISC_MESSAGE_LEN)
				*why = disc_hop_head(hop);
			break;
		case DISC_HOP_CLEAR:
			part = MIN(len - at, hop->clear_len - hop->fill);
			memcpy(hop->clear + hop->fill, in + at, part);
			at += part;
			hop->fill += part;
			hop->left -= part;
			if (hop->fill == hop->clear_len) {
				hop->run.missing = hop->left;
				hop->run.hop = hop;
				hop->state = DISC_HOP_GATHER;
			}
			break;
		case DISC_HOP_CRLF:
			if (in[at] != "\r\n"[hop->fill]) {
				*why = "chunk";
				break;
			}
			at++;
			if (++hop->fill == 2) {
				hop->fill = 0;
				hop->state = DISC_HOP_SIZE;
			}
			break;
		default:
			return at;
		}
	}
	return *why ? -1 : at;
}

/* Sees whether all records are there. If they are not, and the socket will not take more of
 * them for it has as much as it wants, moves some to where they can wait. Returns 1 if they
 * are, 0 if not, or -1 if memory is short.
 */
static int disc_hop_gather(struct disc_hop *hop)
{
	struct disc_run *run = &hop->run;
	uint32_t pending;

	if (b_data(&hop->early) && run->missing) {
		/* never seen: nothing is granted before */
		return -1;
	}
	pending = run->missing ? disc_hop_pending(hop) : 0;
	if (pending >= run->missing)
		return 1;
	/* woken up although the mark was set: the socket takes no more */
	if (hop->mark > 1 && disc_run_pull(run, disc_hop_fd(hop), hop->may_splice, 1) < 0)
		return -1;
	disc_hop_set_mark(hop, MAX(run->missing, 1));
	return !run->missing;
}

/* Is called when something may have come. Goes on as far as possible. <hop> may not be valid
 * afterwards, in which case it returns 0.
 */
static int disc_hop_receive(struct disc_hop *hop)
{
	char window[DISC_HOP_WINDOW];
	const char *why = NULL;
	ssize_t have, used;
	uint32_t size;
	int ret;

	if (hop->state == DISC_HOP_FAILED)
		return 1;
	if (hop->broken) {
		disc_hop_fail(hop, hop->broken);
		return 1;
	}
	while (1) {
		switch (hop->state) {
		case DISC_HOP_RUN:
			return 1; /* what the socket holds is not for us */
		case DISC_HOP_FORWARD:
		case DISC_HOP_REST:
			disc_hop_wake(hop, SUB_RETRY_RECV);
			return 1;
		case DISC_HOP_GATHER:
			ret = disc_hop_gather(hop);
			if (ret > 0) {
				hop->ops->gathered(hop->owner);
				return 1;
			}
			if (ret < 0)
				goto fail;
			/* only an end of the connection leaves less than the mark */
			if (conn_ctrl_ready(hop->conn) && (fdtab[disc_hop_fd(hop)].state & (FD_POLL_HUP|FD_POLL_ERR))) {
				why = "closed";
				goto fail;
			}
			disc_hop_wait(hop);
			return 1;
		case DISC_HOP_DISCARD:
			hop->left -= disc_hop_skip(hop, hop->left);
			if (!hop->left) {
				hop->fill = 0;
				hop->state = DISC_HOP_CRLF;
				continue;
			}
			break;
		default:
			break;
		}

		have = disc_hop_peek(hop, window, sizeof(window));
		if (have < 0) {
			why = "closed";
			goto fail;
		}
		if (hop->state == DISC_HOP_DISCARD) {
			if (have)
				continue;
			disc_hop_wait(hop);
			return 1;
		}
		used = disc_hop_parse(hop, window, have, &why);
		if (used < 0)
			goto fail;
		disc_hop_skip(hop, used);
		if (hop->state == DISC_HOP_SIZE && disc_chunk_size(window + used, have - used, &size) > 0 && !size) {
			if (!hop->ops->ended(hop->owner)) {
				why = "end";
				goto fail;
			}
			if (b_data(&hop->early)) { /* cannot be: nothing was granted yet */
				why = "early";
				goto fail;
			}
			hop->ops->closed(hop->owner, NULL);
			disc_hop_remove(hop);
			return 0;
		}
		if (used == 0 && (hop->state <= DISC_HOP_CLEAR || hop->state == DISC_HOP_CRLF)) {
			if (disc_hop_more_early(hop))
				continue;
			/* a part of the message was read already: less than the mark may be all of the rest */
			if (hop->state == DISC_HOP_HEAD || hop->state == DISC_HOP_CLEAR)
				disc_hop_set_mark(hop, 1);
			disc_hop_wait(hop);
			return 1;
		}
	}

 fail:
	disc_hop_fail(hop, why ? why : "memory");
	return 1;
}

static struct task *disc_hop_io_cb(struct task *t, void *context, unsigned int state)
{
	struct disc_hop *hop = context;

	return disc_hop_receive(hop) ? t : NULL;
}

/*
 * What the owner calls
 */

/* Puts this layer on <conn>, whose next bytes, behind what the owner hands over, are those of
 * the body. Returns it, or NULL if this cannot be done.
 */
struct disc_hop *disc_hop_start(struct connection *conn, const struct disc_hop_ops *ops, void *owner, int may_splice)
{
	struct disc_hop *hop;
	struct wait_event *es;
	int events;

	if (conn->xprt != xprt_get(XPRT_RAW) || !conn_ctrl_ready(conn) || (conn->flags & (CO_FL_FDLESS|CO_FL_ERROR)))
		return NULL;
	hop = pool_zalloc(pool_head_disc_hop);
	if (!hop)
		return NULL;
	hop->wait_event.tasklet = tasklet_new();
	if (!hop->wait_event.tasklet) {
		pool_free(pool_head_disc_hop, hop);
		return NULL;
	}
	hop->wait_event.tasklet->process = disc_hop_io_cb;
	hop->wait_event.tasklet->context = hop;
	hop->conn = conn;
	hop->raw = conn->xprt;
	hop->raw_ctx = conn->xprt_ctx;
	hop->ops = ops;
	hop->owner = owner;
	hop->may_splice = may_splice;
	hop->mark = 1;

	es = conn->subs;
	events = es ? es->events : 0;
	if (events)
		hop->raw->unsubscribe(conn, hop->raw_ctx, events, es);
	conn->xprt = &disc_hop_xprt;
	conn->xprt_ctx = hop;
	if (events) {
		hop->subs = es;
		es->events = events;
	}
	return hop;
}

/* Hands <len> bytes of the body over which were received, at <payload>, without the framing of
 * their chunks: only reports can be among them. Returns 1, or 0 if something is wrong.
 */
int disc_hop_early_payload(struct disc_hop *hop, const char *payload, size_t len)
{
	while (len) {
		size_t part = MIN(len, DISC_MESSAGE_LEN - hop->fill);

		memcpy(hop->head + hop->fill, payload, part);
		hop->fill += part;
		payload += part;
		len -= part;
		if (hop->fill == DISC_MESSAGE_LEN) {
			hop->fill = 0;
			if (hop->ops->message(hop->owner, hop->head, 0, &hop->clear_len) != DISC_PL_DISCARD)
				return 0;
		}
	}
	return 1;
}

/* Hands over what the mux knows: its parser is in <state>, with <left> bytes of a chunk to
 * come, and has not looked at the bytes in <raw>, which are taken. Returns 1, or 0 if
 * something is wrong.
 */
int disc_hop_early(struct disc_hop *hop, int state, uint64_t left, struct buffer *raw)
{
	hop->state = state;
	hop->early = *raw;
	*raw = BUF_NULL;
	if (state == DISC_HOP_HEAD) {
		hop->left = left;
		return hop->fill + left == DISC_MESSAGE_LEN;
	}
	return !hop->fill;
}

/* Starts to receive. */
void disc_hop_go(struct disc_hop *hop)
{
	tasklet_wakeup(hop->wait_event.tasklet);
}

/* Ends the body on this hop because of <why>, a little later. */
void disc_hop_break(struct disc_hop *hop, const char *why)
{
	hop->broken = why;
	disc_hop_go(hop);
}

/* Called when some of the rest of the body is there. */
void disc_hop_rest_came(struct disc_hop *hop)
{
	hop->ops->rest_came(hop->owner);
	disc_hop_wake(hop, SUB_RETRY_RECV);
}

/* Sends <len> bytes at <bytes> to the node. Returns 1, or 0 if not all of them could be sent. */
int disc_hop_send(struct disc_hop *hop, const void *bytes, size_t len)
{
	struct buffer buf = b_make((char *)bytes, len, 0, len);

	return hop->raw->snd_buf(hop->conn, hop->raw_ctx, &buf, len, 0) == len;
}

/* Tells that an answer with <payload> bytes is to come, or nothing in particular if it is 0. */
void disc_hop_expect(struct disc_hop *hop, uint32_t payload)
{
	uint32_t size = payload + DISC_MESSAGE_LEN, digits;

	for (digits = 1; size >> (4 * digits); digits++)
		;
	disc_hop_set_mark(hop, payload ? digits + 2 + size + (hop->state == DISC_HOP_CRLF ? 2 : 0) : 1);
}

/* Nobody wants the payload of the message that is being received. */
void disc_hop_discard(struct disc_hop *hop)
{
	if (hop->state != DISC_HOP_CLEAR && hop->state != DISC_HOP_GATHER)
		return;
	if (hop->state == DISC_HOP_GATHER)
		hop->left = hop->run.missing;
	disc_run_release(&hop->run);
	hop->fill = 0;
	hop->state = hop->left ? DISC_HOP_DISCARD : DISC_HOP_CRLF;
	disc_hop_set_mark(hop, 1);
	disc_hop_go(hop);
}

/* The message that is being received, which has no records, is for the mux. Returns 1, or 0 if
 * none is being received.
 */
int disc_hop_forward(struct disc_hop *hop)
{
	if (hop->state != DISC_HOP_CLEAR && hop->state != DISC_HOP_GATHER)
		return 0;
	disc_run_release(&hop->run);
	disc_hop_start_forward(hop, hop->clear_len, hop->fill);
	disc_hop_go(hop);
	return 1;
}

/* Moves the records which were gathered to <run>, which stays where it is until the last of
 * them was pulled: some are in the socket.
 */
void disc_hop_take(struct disc_hop *hop, struct disc_run *run)
{
	*run = hop->run;
	memset(&hop->run, 0, sizeof(hop->run));
	hop->fill = 0;
	hop->state = DISC_HOP_CRLF;
	if (run->missing) {
		hop->taken = run;
		hop->state = DISC_HOP_RUN;
	}
	else {
		run->hop = NULL;
		disc_hop_go(hop);
	}
}

/* Called when the run which was taken has pulled all that the socket held of it. */
void disc_hop_pulled(struct disc_hop *hop)
{
	hop->taken = NULL;
	hop->state = DISC_HOP_CRLF;
	disc_hop_go(hop);
}

/* Called when nobody wants the run any more. */
void disc_hop_abandon(struct disc_hop *hop)
{
	hop->left = hop->taken->missing;
	hop->taken = NULL;
	hop->state = DISC_HOP_DISCARD;
	disc_hop_go(hop);
}

/*
 * What the mux calls
 */

/* Moves up to <count> bytes of what is to be given before the payload to <buf>. Returns how many. */
static size_t disc_hop_line_to_buf(struct disc_hop *hop, struct buffer *buf, size_t count)
{
	size_t ret;

	if (hop->line_at < hop->line_len) {
		ret = b_putblk(buf, hop->line + hop->line_at, MIN(MIN(count, hop->line_len - hop->line_at), b_room(buf)));
		hop->line_at += ret;
		return ret;
	}
	ret = b_putblk(buf, hop->clear + hop->kept_at, MIN(MIN(count, hop->kept_len - hop->kept_at), b_room(buf)));
	hop->kept_at += ret;
	return ret;
}

static void disc_hop_set_line(struct disc_hop *hop, const char *line, size_t at)
{
	hop->line_len = strlcpy2(hop->line, line, sizeof(hop->line));
	hop->line_at = at;
}

/* Gives up to <count> bytes of the rest of a body whose node is gone, in chunks. <hop> may not be
 * valid afterwards.
 */
static size_t disc_hop_rest_to_buf(struct disc_hop *hop, struct buffer *buf, size_t count)
{
	struct connection *conn = hop->conn;
	size_t done = 0, ret;

	while (done < count && b_room(buf)) {
		if (hop->line_at < hop->line_len || hop->kept_at < hop->kept_len) {
			done += disc_hop_line_to_buf(hop, buf, count - done);
		}
		else if (hop->left) {
			ret = disc_rest_take(hop->rest, buf, MIN(count - done, hop->left));
			if (!ret)
				break;
			hop->left -= ret;
			done += ret;
		}
		else if (hop->end_due) {
			disc_hop_set_line(hop, "\r\n", 2 - hop->end_due);
			hop->end_due = 0;
		}
		else if (hop->ended) {
			/* the connection is none to be used again */
			hop->ops->closed(hop->owner, NULL);
			disc_hop_remove(hop);
			conn->flags |= CO_FL_SOCK_RD_SH;
			break;
		}
		else if (!hop->rest->left) {
			disc_hop_set_line(hop, "0\r\n\r\n", 0);
			hop->ended = 1;
		}
		else {
			hop->left = disc_rest_ready(hop->rest);
			if (!hop->left)
				break;
			hop->line_at = 0;
			hop->line_len = snprintf(hop->line, sizeof(hop->line), "%x\r\n", hop->left);
			hop->end_due = 2;
		}
	}
	return done;
}

/* Gives up to <count> bytes of a body that goes on in clear. */
static size_t disc_hop_to_buf(struct connection *conn, void *xprt_ctx, struct buffer *buf, size_t count, int flags)
{
	struct disc_hop *hop = xprt_ctx;
	size_t done = 0, ret;

	if (hop->state == DISC_HOP_FAILED)
		conn->flags |= CO_FL_ERROR;
	if (hop->state == DISC_HOP_REST)
		return disc_hop_rest_to_buf(hop, buf, count);
	while (done < count && hop->state == DISC_HOP_FORWARD && b_room(buf)) {
		if (hop->line_at < hop->line_len || hop->kept_at < hop->kept_len) {
			done += disc_hop_line_to_buf(hop, buf, count - done);
			continue;
		}
		ret = hop->raw->rcv_buf(conn, hop->raw_ctx, buf, MIN(count - done, hop->left), flags);
		done += ret;
		hop->left -= ret;
		if (!hop->left) {
			hop->fill = 0;
			hop->state = DISC_HOP_SIZE;
			if (!disc_hop_receive(hop))
				break; /* it is gone */
		}
		else if (conn->flags & (CO_FL_ERROR|CO_FL_SOCK_RD_SH)) {
			disc_hop_fail(hop, "closed");
			break;
		}
		else if (!ret)
			break;
	}
	return done;
}

static size_t disc_hop_from_buf(struct connection *conn, void *xprt_ctx, const struct buffer *buf, size_t count, int flags)
{
	struct disc_hop *hop = xprt_ctx;

	return hop->raw->snd_buf(conn, hop->raw_ctx, buf, count, flags);
}

/* What the mux waits for is known here alone. It has nothing to send. Always returns 0. */
static int disc_hop_subscribe(struct connection *conn, void *xprt_ctx, int event_type, struct wait_event *es)
{
	struct disc_hop *hop = xprt_ctx;

	if (conn->flags & CO_FL_ERROR) {
		tasklet_wakeup(es->tasklet);
		return 0;
	}
	hop->subs = es;
	es->events |= event_type;
	if (event_type & SUB_RETRY_SEND)
		disc_hop_wake(hop, SUB_RETRY_SEND);
	if (hop->state == DISC_HOP_REST && disc_rest_ready(hop->rest))
		disc_hop_wake(hop, SUB_RETRY_RECV);
	if (hop->state == DISC_HOP_FORWARD && (event_type & SUB_RETRY_RECV) && !(hop->wait_event.events & SUB_RETRY_RECV))
		hop->raw->subscribe(conn, hop->raw_ctx, SUB_RETRY_RECV, &hop->wait_event);
	return 0;
}

static int disc_hop_unsubscribe(struct connection *conn, void *xprt_ctx, int event_type, struct wait_event *es)
{
	struct disc_hop *hop = xprt_ctx;

	es->events &= ~event_type;
	if (!es->events)
		hop->subs = NULL;
	return 0;
}

/* The connection is closed: bytes that belong to the client's connection are kept. */
static void disc_hop_close(struct connection *conn, void *xprt_ctx)
{
	struct disc_hop *hop = xprt_ctx;

	if (hop->taken)
		disc_run_rescue(hop->taken, disc_hop_fd(hop));
	hop->taken = NULL;
	if (hop->state != DISC_HOP_FAILED)
		hop->ops->closed(hop->owner, NULL);
	disc_hop_remove(hop);
	if (conn->xprt->close)
		conn->xprt->close(conn, conn->xprt_ctx);
}

static struct xprt_ops disc_hop_xprt = {
	.snd_buf = disc_hop_from_buf,
	.rcv_buf = disc_hop_to_buf,
	.subscribe = disc_hop_subscribe,
	.unsubscribe = disc_hop_unsubscribe,
	.close = disc_hop_close,
	.name = "HOP",
};

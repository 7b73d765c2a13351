/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "channel.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "byte_queue.h"
#include "channel_tls.h"
#include "secret.h"

#define MAGIC 0xc4a22e1dU
#define LENGTH_LEN 4u
#define INPUT_SIZE (LENGTH_LEN + CHANNEL_FRAME_MAX)
#define READS_AT_ONCE 32 /* records taken from one channel before others have their turn */
#define KEEPALIVE_IDLE_S 5
#define KEEPALIVE_S 2
#define KEEPALIVE_COUNT 3
#define UNACKED_MS 10000u /* sent and not acknowledged for so long: the connection is dead */

enum channel_state { STATE_CONNECTING, STATE_HANDSHAKING, STATE_OPEN, STATE_CLOSED };

struct channel {
	uint32_t magic;
	enum channel_state state;
	int fd;
	bool broken;       /* TLS has failed: not another byte through it */
	bool departing;    /* departed() is to be called */
	int connect_error; /* connect() failed at once with this errno, to be reported from the loop */
	unsigned depth;    /* calls of event handlers under way: freeing waits for the outermost to return */
	struct ev_loop *loop;
	ev_io readable, writable;
	ev_timer handshake;
	ev_prepare flush; /* sends what was queued in this turn of the loop, in as few records as it fills */
	struct channel_tls_session *session;
	const char *const *names;
	const struct channel_handlers *handlers;
	void *context;
	struct byte_queue queue; /* framed, to be sent */
	size_t piece;            /* bytes that a write under way was given: its retry must have the same */
	uint8_t *input;          /* INPUT_SIZE bytes of secret_alloc() */
	size_t input_len;
	char peer[ADDRESS_TEXT_MAX];
};

/* Bytes that the next write takes; 0 if nothing is queued. */
static size_t next_piece(const struct channel *channel)
{
	size_t len = byte_queue_length(&channel->queue);

	if (channel->piece)
		return channel->piece;
	return len < CHANNEL_TLS_PIECE_MAX ? len : CHANNEL_TLS_PIECE_MAX;
}

/* --- end --- */

static void stop_watching(struct channel *channel)
{
	ev_io_stop(channel->loop, &channel->readable);
	ev_io_stop(channel->loop, &channel->writable);
	ev_timer_stop(channel->loop, &channel->handshake);
	ev_prepare_stop(channel->loop, &channel->flush);
}

static void release(struct channel *channel)
{
	assert(channel->state == STATE_CLOSED && !channel->depth);
	byte_queue_clear(&channel->queue);
	secret_free(channel->input, INPUT_SIZE);
	channel->magic = 0;
	free(channel);
}

/* Gives the socket what was queued, as far as it takes it at once: a frame sent right before closing is meant to
 * arrive. */
static void send_last(struct channel *channel)
{
	size_t len;

	if (channel->state != STATE_OPEN || channel->broken)
		return;
	while ((len = next_piece(channel))) {
		if (channel_tls_write(channel->session, byte_queue_head(&channel->queue), len) != CHANNEL_TLS_DONE)
			return;
		byte_queue_consume(&channel->queue, len);
		channel->piece = 0;
	}
}

/* Ends the channel without freeing it; event handlers free it when they leave. */
static void end(struct channel *channel, const char *reason)
{
	if (channel->state == STATE_CLOSED)
		return;
	stop_watching(channel);
	send_last(channel);
	channel_tls_session_free(channel->session, channel->state == STATE_OPEN);
	channel->session = NULL;
	(void)close(channel->fd);
	channel->fd = -1;
	channel->state = STATE_CLOSED;
	channel->depth++;
	channel->handlers->closed(channel, channel->context, reason);
	channel->depth--;
}

void channel_close(struct channel *channel, const char *reason)
{
	/* A handler of this very channel may be what calls: its caller still looks at the state. */
	bool outermost = channel->depth == 0;

	assert(channel->magic == MAGIC);
	end(channel, reason);
	if (outermost)
		release(channel);
}

/* Every event handler begins and ends with these two. */
static struct channel *enter(void *data)
{
	struct channel *channel = data;

	assert(channel->magic == MAGIC && channel->state != STATE_CLOSED);
	channel->depth++;
	assert(channel->depth);
	return channel;
}

static void leave(struct channel *channel)
{
	channel->depth--;
	if (channel->depth)
		return;
	if (channel->state == STATE_CLOSED) {
		release(channel);
	} else if (channel->departing) {
		channel->departing = false;
		stop_watching(channel);
		/* The last look at it: another thread may have it now. */
		channel->handlers->departed(channel, channel->context);
	}
}

static void fail_session(struct channel *channel)
{
	char reason[CHANNEL_REASON_MAX];

	channel->broken = true;
	channel_tls_reason(channel->session, channel->peer, reason);
	end(channel, reason);
}

static void fail(struct channel *channel, const char *what)
{
	char reason[CHANNEL_REASON_MAX];

	(void)snprintf(reason, sizeof(reason), "%s: %s", channel->peer, what);
	end(channel, reason);
}

/* --- sending --- */

static void send_queued(struct channel *channel)
{
	while ((channel->piece = next_piece(channel))) {
		switch (channel_tls_write(channel->session, byte_queue_head(&channel->queue), channel->piece)) {
		case CHANNEL_TLS_DONE:
			byte_queue_consume(&channel->queue, channel->piece);
			channel->piece = 0;
			break;
		case CHANNEL_TLS_WANT_WRITE:
			ev_io_start(channel->loop, &channel->writable);
			return;
		case CHANNEL_TLS_WANT_READ:
			/* The next readable event tries again. */
			return;
		case CHANNEL_TLS_FAILED:
			fail_session(channel);
			return;
		}
	}
	ev_io_stop(channel->loop, &channel->writable);
}

static void on_flush(struct ev_loop *loop, ev_prepare *watcher, int events)
{
	struct channel *channel = enter(watcher->data);

	(void)events;
	ev_prepare_stop(loop, watcher);
	/* A blocked write goes on when the socket is writable. */
	if (!ev_is_active(&channel->writable))
		send_queued(channel);
	leave(channel);
}

int channel_send(struct channel *channel, const uint8_t *frame, size_t len)
{
	const uint8_t prefix[LENGTH_LEN] = {(uint8_t)(len >> 24), (uint8_t)(len >> 16), (uint8_t)(len >> 8),
					    (uint8_t)len};

	assert(channel->magic == MAGIC);
	if (channel->state != STATE_OPEN || !len || len > CHANNEL_FRAME_MAX)
		return -1;
	if (byte_queue_length(&channel->queue) + LENGTH_LEN + len > CHANNEL_QUEUE_MAX ||
	    !byte_queue_reserve(&channel->queue, LENGTH_LEN + len))
		return -1;
	byte_queue_append(&channel->queue, prefix, sizeof(prefix));
	byte_queue_append(&channel->queue, frame, len);
	ev_prepare_start(channel->loop, &channel->flush);
	return 0;
}

size_t channel_queued(const struct channel *channel)
{
	return byte_queue_length(&channel->queue);
}

/* --- receiving --- */

static size_t frame_length(const uint8_t *prefix)
{
	return (size_t)prefix[0] << 24 | (size_t)prefix[1] << 16 | (size_t)prefix[2] << 8 | prefix[3];
}

/* Hands on every whole frame of the input. Returns false if the channel was closed meanwhile, or leaves its loop. */
static bool deliver_frames(struct channel *channel)
{
	size_t done = 0;

	while (!channel->departing && channel->input_len - done >= LENGTH_LEN) {
		uint8_t *frame = channel->input + done + LENGTH_LEN;
		size_t len = frame_length(channel->input + done);

		if (!len || len > CHANNEL_FRAME_MAX) {
			fail(channel, !len ? "sent an empty frame" : "sent a frame of more than 65536 bytes");
			return false;
		}
		if (channel->input_len - done - LENGTH_LEN < len)
			break;
		channel->handlers->received(channel, channel->context, frame, len);
		secret_wipe(frame, len);
		if (channel->state == STATE_CLOSED)
			return false;
		done += LENGTH_LEN + len;
	}
	if (done) {
		memmove(channel->input, channel->input + done, channel->input_len - done);
		secret_wipe(channel->input + channel->input_len - done, done);
		channel->input_len -= done;
	}
	return !channel->departing;
}

static void receive_frames(struct channel *channel)
{
	/* What came together with the frame that made it leave its former loop. */
	if (channel->input_len && !deliver_frames(channel))
		return;
	/* Of what TLS has decrypted already the poller does not know, so that must be taken out in any case. */
	for (int reads = 0; reads < READS_AT_ONCE || channel_tls_pending(channel->session); reads++) {
		size_t len;

		/* There is room, for a full buffer holds at least one whole frame, which was taken out. */
		switch (channel_tls_read(channel->session, channel->input + channel->input_len,
					 INPUT_SIZE - channel->input_len, &len)) {
		case CHANNEL_TLS_DONE:
			channel->input_len += len;
			if (!deliver_frames(channel))
				return;
			break;
		case CHANNEL_TLS_WANT_READ:
			return;
		case CHANNEL_TLS_WANT_WRITE:
			/* TLS itself has to answer something first. */
			ev_io_start(channel->loop, &channel->writable);
			return;
		case CHANNEL_TLS_FAILED:
			fail_session(channel);
			return;
		}
	}
}

/* --- becoming open --- */

static void become_open(struct channel *channel)
{
	const char *name = channel_tls_peer_name(channel->session, channel->names);

	if (!name) {
		char reason[CHANNEL_REASON_MAX];

		(void)snprintf(reason, sizeof(reason), "certificate of %s bears none of the expected names",
			       channel->peer);
		end(channel, reason);
		return;
	}
	channel->input = secret_alloc(INPUT_SIZE);
	if (!channel->input) {
		fail(channel, "no memory for its frames");
		return;
	}
	ev_timer_stop(channel->loop, &channel->handshake);
	channel->state = STATE_OPEN;
	channel->handlers->opened(channel, channel->context, name);
	/* The peer's first frames may have come with the last of its handshake. */
	if (channel->state == STATE_OPEN)
		receive_frames(channel);
}

static void continue_handshake(struct channel *channel)
{
	switch (channel_tls_handshake(channel->session)) {
	case CHANNEL_TLS_DONE:
		ev_io_stop(channel->loop, &channel->writable);
		become_open(channel);
		break;
	case CHANNEL_TLS_WANT_READ:
		ev_io_stop(channel->loop, &channel->writable);
		break;
	case CHANNEL_TLS_WANT_WRITE:
		ev_io_start(channel->loop, &channel->writable);
		break;
	case CHANNEL_TLS_FAILED:
		fail_session(channel);
		break;
	}
}

static void finish_connect(struct channel *channel)
{
	int error = channel->connect_error;
	socklen_t len = sizeof(error);

	if (error == 0 && getsockopt(channel->fd, SOL_SOCKET, SO_ERROR, &error, &len) < 0)
		error = errno;
	if (error != 0) {
		char reason[CHANNEL_REASON_MAX];

		(void)snprintf(reason, sizeof(reason), "cannot connect to %s: %s", channel->peer, strerror(error));
		end(channel, reason);
		return;
	}
	channel->state = STATE_HANDSHAKING;
	ev_io_start(channel->loop, &channel->readable);
	continue_handshake(channel);
}

/* --- events --- */

static void on_ready(struct ev_loop *loop, ev_io *watcher, int events)
{
	struct channel *channel = enter(watcher->data);

	(void)loop;
	switch (channel->state) {
	case STATE_CONNECTING:
		finish_connect(channel);
		break;
	case STATE_HANDSHAKING:
		continue_handshake(channel);
		break;
	case STATE_OPEN:
		if (events & EV_WRITE)
			ev_io_stop(channel->loop, &channel->writable);
		/* A blocked write is tried again first, so that what reading may have to answer comes behind it. */
		if (channel->piece || (events & EV_WRITE))
			send_queued(channel);
		if (channel->state == STATE_OPEN)
			receive_frames(channel);
		break;
	case STATE_CLOSED:
		break;
	}
	leave(channel);
}

static void on_handshake_timeout(struct ev_loop *loop, ev_timer *timer, int events)
{
	struct channel *channel = enter(timer->data);

	(void)loop;
	(void)events;
	if (channel->connect_error != 0)
		finish_connect(channel);
	else if (channel->state == STATE_CONNECTING)
		fail(channel, "did not accept the connection in time");
	else
		fail(channel, "did not finish the TLS handshake in time");
	leave(channel);
}

/* --- making --- */

/* Frames are small and wanted at once; a peer that vanished without a word must be noticed. All of it is a favour of
 * the kernel that a UNIX socket does not know and a refusal of which harms nothing but promptness. */
static void tune_socket(int fd, int family)
{
	const int on = 1, idle = KEEPALIVE_IDLE_S, interval = KEEPALIVE_S, count = KEEPALIVE_COUNT;
	const unsigned unacked = UNACKED_MS;

	if (family != AF_INET && family != AF_INET6)
		return;
	(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	(void)setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
	(void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle, sizeof(idle));
	(void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &interval, sizeof(interval));
	(void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &count, sizeof(count));
	(void)setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &unacked, sizeof(unacked));
}

/* Makes a channel on <fd>, of which it takes ownership, also when it returns NULL (errno set). */
static struct channel *make(struct ev_loop *loop, struct channel_tls *tls, enum channel_tls_side side, int fd,
			    const struct address *peer, const char *const *names,
			    const struct channel_handlers *handlers, void *context)
{
	struct channel *channel = calloc(1, sizeof(*channel));

	if (channel && fcntl(fd, F_SETFL, O_NONBLOCK) == 0 && fcntl(fd, F_SETFD, FD_CLOEXEC) == 0)
		channel->session = channel_tls_session_new(tls, side, fd);
	if (!channel || !channel->session) {
		free(channel);
		(void)close(fd);
		errno = ENOMEM;
		return NULL;
	}
	channel->magic = MAGIC;
	channel->fd = fd;
	channel->loop = loop;
	channel->names = names;
	channel->handlers = handlers;
	channel->context = context;
	(void)address_format(peer, channel->peer);
	ev_io_init(&channel->readable, on_ready, fd, EV_READ);
	ev_io_init(&channel->writable, on_ready, fd, EV_WRITE);
	ev_timer_init(&channel->handshake, on_handshake_timeout, CHANNEL_HANDSHAKE_S, 0.);
	ev_prepare_init(&channel->flush, on_flush);
	channel->readable.data = channel->writable.data = channel;
	channel->handshake.data = channel->flush.data = channel;
	tune_socket(fd, peer->storage.ss_family);
	/* The loop's clock may be old when a long handler calls. */
	ev_now_update(loop);
	ev_timer_start(loop, &channel->handshake);
	return channel;
}

struct channel *channel_connect(struct ev_loop *loop, struct channel_tls *tls, const struct address *address,
				const char *const *names, const struct channel_handlers *handlers, void *context)
{
	int fd = socket(address->storage.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	struct channel *channel;
	int error = 0;

	if (fd < 0)
		return NULL;
	if (connect(fd, (const struct sockaddr *)&address->storage, address->len) < 0 && errno != EINPROGRESS)
		error = errno;
	channel = make(loop, tls, CHANNEL_TLS_CLIENT, fd, address, names, handlers, context);
	if (!channel)
		return NULL;
	channel->state = STATE_CONNECTING;
	channel->connect_error = error;
	if (error == 0) {
		ev_io_start(loop, &channel->writable);
	} else {
		/* The caller does not know the channel yet, so closed() has to wait for the loop. */
		ev_timer_stop(loop, &channel->handshake);
		ev_timer_set(&channel->handshake, 0., 0.);
		ev_timer_start(loop, &channel->handshake);
	}
	return channel;
}

struct channel *channel_accept(struct ev_loop *loop, struct channel_tls *tls, int fd, const char *const *names,
			       const struct channel_handlers *handlers, void *context)
{
	struct address peer = {.len = sizeof(peer.storage)};
	struct channel *channel;

	if (getpeername(fd, (struct sockaddr *)&peer.storage, &peer.len) < 0) {
		int error = errno;

		(void)close(fd);
		errno = error;
		return NULL;
	}
	channel = make(loop, tls, CHANNEL_TLS_SERVER, fd, &peer, names, handlers, context);
	if (!channel)
		return NULL;
	channel->state = STATE_HANDSHAKING;
	ev_io_start(loop, &channel->readable);
	return channel;
}

/* --- from one loop to another --- */

void channel_depart(struct channel *channel)
{
	assert(channel->magic == MAGIC && channel->state == STATE_OPEN && channel->depth &&
	       channel->handlers->departed);
	channel->departing = true;
}

void channel_arrive(struct channel *channel, struct ev_loop *loop, const struct channel_handlers *handlers,
		    void *context)
{
	assert(channel->magic == MAGIC && channel->state == STATE_OPEN && !channel->depth);
	channel->loop = loop;
	channel->handlers = handlers;
	channel->context = context;
	ev_io_start(loop, &channel->readable);
	if (channel->piece)
		ev_io_start(loop, &channel->writable);
	else if (byte_queue_length(&channel->queue))
		ev_prepare_start(loop, &channel->flush);
	/* The poller does not know of what was received already. */
	ev_feed_event(loop, &channel->readable, EV_READ);
}

const char *channel_peer(const struct channel *channel)
{
	return channel->peer;
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "spop_connection.h"

#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "address.h"
#include "log.h"
#include "secret.h"

#define SPOP_CONNECTION_MAGIC 0x73706f70u
#define OUT_SIZE 32768u
/* Room that must be left before another frame is taken: its answer and a DISCONNECT behind it. */
#define OUT_RESERVE (SPOP_ACK_MAX + SPOP_DISCONNECT_MAX)

enum connection_state { CONNECTION_GREETING, CONNECTION_RUNNING, CONNECTION_CLOSING, CONNECTION_LINGERING };

struct spop_connection {
	unsigned magic;
	struct spop_environment *environment;
	void *owner;
	enum connection_state state;
	int fd;
	uint32_t max_frame_size; /* ours until HELLO, then the lower of both */
	ev_io readable, writable;
	ev_timer deadline;
	uint8_t *in; /* leases pass through it: secret_alloc()ed, each frame is wiped after its use */
	size_t in_size, in_len;
	uint8_t out[OUT_SIZE];
	size_t out_start, out_end;
	bool dead; /* an I/O error or the end: to be freed by the outermost function */
	char peer[ADDRESS_TEXT_MAX];
};

static struct spop_connection *connection_of(void *pointer)
{
	struct spop_connection *connection = pointer;

	assert(connection && connection->magic == SPOP_CONNECTION_MAGIC);
	return connection;
}

static void connection_free(struct spop_connection *connection)
{
	struct spop_environment *environment = connection->environment;

	ev_io_stop(environment->loop, &connection->readable);
	ev_io_stop(environment->loop, &connection->writable);
	ev_timer_stop(environment->loop, &connection->deadline);
	(void)close(connection->fd);
	environment->closed(connection->owner);
	secret_free(connection->in, connection->in_size);
	connection->magic = 0;
	free(connection);
}

static void log_fault(struct spop_connection *connection, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

static void log_fault(struct spop_connection *connection, const char *format, ...)
{
	struct spop_environment *environment = connection->environment;
	char text[512];
	va_list arguments;
	char note[LOG_LIMIT_NOTE_MAX];

	if (!log_limit_allow(&environment->faults, ev_now(environment->loop), note))
		return;
	va_start(arguments, format);
	(void)vsnprintf(text, sizeof(text), format, arguments);
	va_end(arguments);
	log_warning("SPOP %s: %s%s", connection->peer, text, note);
}

static size_t out_room(const struct spop_connection *connection)
{
	return OUT_SIZE - connection->out_end;
}

static void queue_disconnect(struct spop_connection *connection, enum spop_status status, const char *message)
{
	size_t len =
		spop_build_disconnect(connection->out + connection->out_end, out_room(connection), status, message);

	/* OUT_RESERVE keeps room for it. */
	assert(len);
	connection->out_end += len;
	connection->state = CONNECTION_CLOSING;
	spoa_metrics_count_disconnect(connection->environment->metrics, status);
}

static void refuse(struct spop_connection *connection, enum spop_status status)
{
	log_fault(connection, "%s (status %d): closed", spop_status_text(status), (int)status);
	queue_disconnect(connection, status, spop_status_text(status));
}

static void greet(struct spop_connection *connection, const struct spop_frame *frame)
{
	struct spop_hello hello;
	enum spop_status status = spop_hello_read(&hello, frame->payload);
	size_t len;

	if (status != SPOP_STATUS_NORMAL) {
		refuse(connection, status);
		return;
	}
	if (hello.max_frame_size < connection->max_frame_size)
		connection->max_frame_size = hello.max_frame_size;
	len = spop_build_hello(connection->out + connection->out_end, out_room(connection), connection->max_frame_size,
			       hello.pipelining);
	assert(len);
	connection->out_end += len;
	if (hello.healthcheck) {
		spoa_metrics_add(connection->environment->metrics, SPOA_HEALTH_CHECKS, 1);
		connection->state = CONNECTION_CLOSING;
		return;
	}
	connection->state = CONNECTION_RUNNING;
	log_debug("SPOP %s: HELLO, frames of at most %u bytes", connection->peer, connection->max_frame_size);
}

static void answer_notify(struct spop_connection *connection, const struct spop_frame *frame)
{
	struct spop_environment *environment = connection->environment;
	struct spop_writer ack;
	enum spop_status status;
	size_t cap = connection->max_frame_size + SPOP_PREFIX_LEN, len;

	spoa_metrics_add(environment->metrics, SPOA_NOTIFIES, 1);
	spop_ack_begin(&ack, connection->out + connection->out_end, cap < SPOP_ACK_MAX ? cap : SPOP_ACK_MAX,
		       frame->stream_id, frame->frame_id);
	status = environment->notify(environment->context, frame, &ack);
	if (status != SPOP_STATUS_NORMAL) {
		refuse(connection, status);
		return;
	}
	len = spop_ack_end(&ack);
	if (!len) {
		/* The variables do not fit HAProxy's frame size: an empty answer is no offload. */
		spop_ack_begin(&ack, connection->out + connection->out_end, SPOP_ACK_MAX, frame->stream_id,
			       frame->frame_id);
		len = spop_ack_end(&ack);
	}
	assert(len);
	connection->out_end += len;
	spoa_metrics_add(environment->metrics, SPOA_ACKS, 1);
}

static void answer_disconnect(struct spop_connection *connection, const struct spop_frame *frame)
{
	struct spop_disconnect disconnect;
	enum spop_status status = spop_disconnect_read(&disconnect, frame->payload);

	if (status != SPOP_STATUS_NORMAL) {
		refuse(connection, status);
		return;
	}
	if (disconnect.status != SPOP_STATUS_NORMAL)
		log_fault(connection, "HAProxy disconnects with status %u (%s)", disconnect.status,
			  spop_status_text((enum spop_status)disconnect.status));
	queue_disconnect(connection, SPOP_STATUS_NORMAL, spop_status_text(SPOP_STATUS_NORMAL));
}

static void take_frame(struct spop_connection *connection, const uint8_t *bytes, size_t len)
{
	struct spop_frame frame;
	enum spop_status status = spop_frame_read(&frame, bytes, len);

	if (status == SPOP_STATUS_NORMAL && frame.type != SPOP_HAPROXY_DISCONNECT &&
	    (frame.type == SPOP_HAPROXY_HELLO) != (connection->state == CONNECTION_GREETING))
		status = SPOP_STATUS_INVALID;
	if (status != SPOP_STATUS_NORMAL)
		refuse(connection, status);
	else if (frame.type == SPOP_HAPROXY_HELLO)
		greet(connection, &frame);
	else if (frame.type == SPOP_NOTIFY)
		answer_notify(connection, &frame);
	else
		answer_disconnect(connection, &frame);
}

static bool takes_frames(const struct spop_connection *connection)
{
	return !connection->dead &&
	       (connection->state == CONNECTION_GREETING || connection->state == CONNECTION_RUNNING);
}

/* Something moved: whatever is still waited for has its full time again. */
static void note_progress(struct spop_connection *connection)
{
	if (connection->state == CONNECTION_RUNNING)
		ev_timer_stop(connection->environment->loop, &connection->deadline);
}

/* Takes the whole frames in the buffer, as long as their answers have room. Returns true if one is left for lack of
 * it. */
static bool take_frames(struct spop_connection *connection)
{
	size_t start = 0;
	bool stalled = false;

	while (takes_frames(connection) && connection->in_len - start >= SPOP_PREFIX_LEN) {
		const uint8_t *p = connection->in + start;
		uint32_t len = (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];

		if (len > connection->max_frame_size) {
			refuse(connection, SPOP_STATUS_TOO_BIG);
			break;
		}
		if (connection->in_len - start - SPOP_PREFIX_LEN < len)
			break;
		stalled = out_room(connection) < OUT_RESERVE;
		if (stalled)
			break;
		take_frame(connection, p + SPOP_PREFIX_LEN, len);
		start += SPOP_PREFIX_LEN + len;
	}
	if (!takes_frames(connection))
		start = connection->in_len;
	if (start) {
		note_progress(connection);
		memmove(connection->in, connection->in + start, connection->in_len - start);
		secret_wipe(connection->in + connection->in_len - start, start);
		connection->in_len -= start;
	}
	return stalled;
}

/* Writes what is queued, all of it at once. */
static void flush(struct spop_connection *connection)
{
	while (connection->out_start < connection->out_end && !connection->dead) {
		ssize_t sent = send(connection->fd, connection->out + connection->out_start,
				    connection->out_end - connection->out_start, MSG_NOSIGNAL);

		if (sent >= 0) {
			connection->out_start += (size_t)sent;
			note_progress(connection);
		} else if (errno == EAGAIN) {
			return;
		} else if (errno != EINTR) {
			/* HAProxy closes idle connections as it likes: a reset is an ordinary end. */
			log_debug("SPOP %s: %s", connection->peer, strerror(errno));
			connection->dead = true;
		}
	}
	connection->out_start = connection->out_end = 0;
}

static void arm(struct spop_connection *connection, double seconds)
{
	ev_timer_stop(connection->environment->loop, &connection->deadline);
	ev_timer_set(&connection->deadline, seconds, 0.);
	ev_timer_start(connection->environment->loop, &connection->deadline);
}

/* Shuts our side after the last byte; the other side is waited for. */
static void begin_linger(struct spop_connection *connection)
{
	connection->state = CONNECTION_LINGERING;
	if (shutdown(connection->fd, SHUT_WR) < 0)
		connection->dead = true;
	arm(connection, SPOP_LINGER_S);
}

/* Watches for what the connection waits for now, and frees it if it is dead. */
static void settle(struct spop_connection *connection)
{
	struct ev_loop *loop = connection->environment->loop;
	bool unsent = connection->out_start < connection->out_end;

	if (!connection->dead && connection->state == CONNECTION_CLOSING && !unsent)
		begin_linger(connection);
	if (connection->dead) {
		connection_free(connection);
		return;
	}
	if (unsent)
		ev_io_start(loop, &connection->writable);
	else
		ev_io_stop(loop, &connection->writable);
	if (connection->in_len == connection->in_size)
		ev_io_stop(loop, &connection->readable);
	else
		ev_io_start(loop, &connection->readable);
	if (connection->state == CONNECTION_RUNNING && !unsent && !connection->in_len)
		ev_timer_stop(loop, &connection->deadline);
	else if (!ev_is_active(&connection->deadline))
		arm(connection, SPOP_STALL_S);
}

/* Answers all that is in the buffers, as far as HAProxy takes the answers. */
static void work(struct spop_connection *connection)
{
	bool stalled;

	do {
		stalled = take_frames(connection);
		flush(connection);
	} while (stalled && !connection->dead && connection->out_end == 0);
}

/* Reads once into the free part of the buffer. */
static void fill(struct spop_connection *connection)
{
	ssize_t got =
		recv(connection->fd, connection->in + connection->in_len, connection->in_size - connection->in_len, 0);

	if (got > 0) {
		connection->in_len += (size_t)got;
	} else if (got == 0) {
		connection->dead = true;
	} else if (errno != EAGAIN && errno != EINTR) {
		log_debug("SPOP %s: %s", connection->peer, strerror(errno));
		connection->dead = true;
	}
}

static void on_readable(struct ev_loop *loop, ev_io *watcher, int events)
{
	struct spop_connection *connection = connection_of(watcher->data);

	(void)loop;
	(void)events;
	fill(connection);
	work(connection);
	settle(connection);
}

static void on_writable(struct ev_loop *loop, ev_io *watcher, int events)
{
	struct spop_connection *connection = connection_of(watcher->data);

	(void)loop;
	(void)events;
	flush(connection);
	work(connection);
	settle(connection);
}

static void on_deadline(struct ev_loop *loop, ev_timer *timer, int events)
{
	struct spop_connection *connection = connection_of(timer->data);

	(void)loop;
	(void)events;
	if (takes_frames(connection) && connection->out_start == connection->out_end) {
		log_fault(connection,
			  connection->state == CONNECTION_GREETING ? "no HELLO within %.0f s"
								   : "a frame was not whole within %.0f s",
			  connection->state == CONNECTION_GREETING ? SPOP_HELLO_S : SPOP_STALL_S);
		queue_disconnect(connection, SPOP_STATUS_TIMEOUT, spop_status_text(SPOP_STATUS_TIMEOUT));
		flush(connection);
		settle(connection);
		return;
	}
	if (connection->state != CONNECTION_LINGERING)
		log_fault(connection, "it does not read its answers");
	connection_free(connection);
}

struct spop_connection *spop_connection_new(struct spop_environment *environment, void *owner, int fd, const char *peer)
{
	struct spop_connection *connection = calloc(1, sizeof(*connection));
	size_t in_size = 2 * (SPOP_PREFIX_LEN + (size_t)environment->max_frame_size);

	if (connection)
		connection->in = secret_alloc(in_size);
	if (!connection || !connection->in) {
		(void)close(fd);
		free(connection);
		return NULL;
	}
	connection->magic = SPOP_CONNECTION_MAGIC;
	connection->environment = environment;
	connection->owner = owner;
	connection->fd = fd;
	connection->in_size = in_size;
	connection->max_frame_size = environment->max_frame_size;
	(void)snprintf(connection->peer, sizeof(connection->peer), "%s", peer);
	ev_io_init(&connection->readable, on_readable, fd, EV_READ);
	ev_io_init(&connection->writable, on_writable, fd, EV_WRITE);
	ev_timer_init(&connection->deadline, on_deadline, SPOP_HELLO_S, 0.);
	connection->readable.data = connection->writable.data = connection->deadline.data = connection;
	ev_io_start(environment->loop, &connection->readable);
	ev_timer_start(environment->loop, &connection->deadline);
	return connection;
}

void spop_connection_end(struct spop_connection *connection, enum spop_status status, const char *message)
{
	if (takes_frames(connection)) {
		if (connection->in_len < connection->in_size)
			fill(connection);
		work(connection);
	}
	if (takes_frames(connection)) {
		/* Unsent answers leave room for it, and frames behind them are not waited for. */
		queue_disconnect(connection, status, message);
		flush(connection);
		arm(connection, SPOP_LINGER_S);
	}
	settle(connection);
}

void spop_connection_abort(struct spop_connection *connection)
{
	connection_free(connection);
}

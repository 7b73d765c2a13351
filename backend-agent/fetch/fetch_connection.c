/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "fetch_connection.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <utlist.h>

#include "fetch_exchange.h"
#include "log.h"
#include "node_metrics.h"

#define TURN_BUDGET (1u << 20)      /* bytes one connection may send before others get their turn */
#define TURN_REQUESTS 32            /* and pipelined requests it may have answered */
#define SKIPPED_BODY_MAX (1u << 20) /* bytes of a request's body that are read over to keep the connection */
#define LINGER_S 2.0                /* for the peer to close after the last response */
#define INPUT_FIRST 16384u          /* bytes of room for input at first: most heads are much shorter than the longest */

/* Bytes that the kernel takes of a response before the peer has room for them. Much of it spares wake-ups, but slow peers
 * hold all of it: so the more responses are under way, the less each gets. */
#define UNSENT_MAX (1 << 20)
#define UNSENT_MIN (32 << 10)
#define UNSENT_OF_WORKER (8 << 20)

/* Once each response under way gets UNSENT_MIN, what each has in flight is bounded too: a peer that offers a larger window
 * than it has memory for makes the kernel send again, and hold, what it dropped. All together still have 12 MB and more in
 * flight. */
#define MANY_SEND_BUFFER (48 << 10)
#define FEW_SEND_BUFFER \
	(1 << 20) /* of a connection that was bounded, once there are fewer; net.core.wmem_max is less */

enum fetch_state { FETCH_IDLE, FETCH_READING, FETCH_ASKING, FETCH_WAITING, FETCH_SENDING, FETCH_LINGERING };

struct fetch_connection {
	struct fetch_service *service;
	struct fetch_connection *prev, *next;
	struct address peer;
	int fd;
	enum fetch_state state;
	ev_io reader, writer;
	ev_timer timer;
	char *in;                /* in_size bytes, or NULL while nothing is in it */
	size_t in_size;          /* at most limits.max_header_size */
	size_t in_start, in_len; /* what was received and not yet taken */
	size_t in_parsed;        /* of it, what the parser has seen without finding a whole head */
	uint64_t skip;           /* bytes of a request's body to pass over */
	bool peer_ended;         /* it sends nothing more */
	bool bounded;            /* in FETCH_SENDING: <unsent> was looked at */
	int unsent;              /* TCP_NOTSENT_LOWAT of the socket; 0: not set */
	int send_buffer;         /* SO_SNDBUF that was set; 0: the kernel tunes it */
	struct fetch_exchange exchange;
};

static void run(struct fetch_connection *connection);

static void connection_free(struct fetch_connection *connection)
{
	struct fetch_service *service = connection->service;

	if (connection->state == FETCH_SENDING)
		service->sending--;
	ev_io_stop(service->loop, &connection->reader);
	ev_io_stop(service->loop, &connection->writer);
	ev_timer_stop(service->loop, &connection->timer);
	DL_DELETE(service->connections, connection);
	service->count--;
	node_metrics_add(NODE_CONNECTIONS, -1);
	close(connection->fd);
	free(connection->in);
	free(connection);
	service->closed(service->context);
}

/* Ends <connection>, and the exchange under way with it. A <level> of DEBUG is for what is no fault. */
static void connection_close(struct fetch_connection *connection, enum fetch_transfer_status status,
			     enum log_level level, const char *why)
{
	char peer[ADDRESS_TEXT_MAX];

	if (log_enabled(level))
		log_write(level, "fetch connection of %s closed: %s", address_format(&connection->peer, peer), why);
	if (connection->exchange.stage != FETCH_EXCHANGE_ENDED)
		fetch_exchange_end(&connection->exchange, status, why);
	connection_free(connection);
}

static void set_timer(struct fetch_connection *connection, double seconds)
{
	connection->timer.repeat = seconds;
	ev_timer_again(connection->service->loop, &connection->timer);
}

static void set_state(struct fetch_connection *connection, enum fetch_state state)
{
	const struct fetch_limits *limits = &connection->service->limits;

	if (connection->state == FETCH_SENDING)
		connection->service->sending--;
	if (state == FETCH_SENDING)
		connection->service->sending++;
	connection->state = state;
	connection->bounded = false;
	switch (state) {
	case FETCH_IDLE:
		set_timer(connection, limits->keep_alive_timeout);
		break;
	case FETCH_READING:
		set_timer(connection, limits->header_timeout);
		break;
	case FETCH_ASKING:
		set_timer(connection, 0); /* the source has timeouts of its own */
		break;
	case FETCH_WAITING:
		set_timer(connection, limits->ticket_wait);
		break;
	case FETCH_SENDING:
		set_timer(connection, limits->send_timeout);
		break;
	case FETCH_LINGERING:
		set_timer(connection, LINGER_S);
		break;
	}
}

/* --- requests --- */

static void drop_input(struct fetch_connection *connection, size_t len)
{
	connection->in_start += len;
	connection->in_len -= len;
	connection->in_parsed = 0;
	if (!connection->in_len) {
		/* Idle connections are many: they hold no buffer. */
		free(connection->in);
		connection->in = NULL;
		connection->in_start = 0;
	}
}

static void skip_body(struct fetch_connection *connection)
{
	size_t len = connection->skip < connection->in_len ? (size_t)connection->skip : connection->in_len;

	connection->skip -= len;
	if (len)
		drop_input(connection, len);
}

static int status_of_fault(enum fetch_request_status status)
{
	switch (status) {
	case FETCH_REQUEST_TARGET_TOO_LONG:
		return 414;
	case FETCH_REQUEST_HEADERS_TOO_LONG:
		return 431;
	case FETCH_REQUEST_UNKNOWN_METHOD:
		return 501;
	case FETCH_REQUEST_UNKNOWN_VERSION:
		return 505;
	case FETCH_REQUEST_OK:
	case FETCH_REQUEST_INCOMPLETE:
	case FETCH_REQUEST_MALFORMED:
		break;
	}
	return 400;
}

/* Enters the state of the exchange's stage. Returns true if there is more to do now. */
static bool exchange_began(struct fetch_connection *connection)
{
	switch (connection->exchange.stage) {
	case FETCH_EXCHANGE_ASKING:
		set_state(connection, FETCH_ASKING);
		return false;
	case FETCH_EXCHANGE_WAITING:
		set_state(connection, FETCH_WAITING);
		return false;
	case FETCH_EXCHANGE_OPEN:
	case FETCH_EXCHANGE_SENDING:
		set_state(connection, FETCH_SENDING);
		return true;
	case FETCH_EXCHANGE_ENDED:
	case FETCH_EXCHANGE_FAILED:
		break;
	}
	connection_close(connection, FETCH_TRANSFER_PEER_GONE, LOG_LEVEL_ERROR, "out of memory");
	return false;
}

static bool refuse_request(struct fetch_connection *connection, int status, const char *fault)
{
	char peer[ADDRESS_TEXT_MAX];

	log_info("fetch connection of %s: request refused with %d: %s", address_format(&connection->peer, peer), status,
		 fault);
	node_metrics_add(NODE_FETCH_FAULTS, 1);
	fetch_exchange_begin_status(&connection->exchange, status);
	return exchange_began(connection);
}

/* True if what was received since the last look completes a head (an empty line), or may show a fault and is as much as
 * was seen before: so parsing takes time in proportion to the head, however small the pieces are in which it comes. */
static bool worth_parsing(const struct fetch_connection *connection)
{
	size_t from = connection->in_parsed > 3 ? connection->in_parsed - 3 : 0; /* the line may have been cut */
	size_t len = connection->in_len - from;
	const char *new = connection->in + connection->in_start + from;

	return connection->in_len >= 2 * connection->in_parsed ||
	       connection->in_len >= connection->service->limits.max_header_size || memmem(new, len, "\n\r\n", 3) ||
	       memmem(new, len, "\n\n", 2);
}

/* Takes the next request from the input and begins its exchange. Returns true if there is more to do now. */
static bool take_request(struct fetch_connection *connection)
{
	const struct fetch_service *service = connection->service;
	enum fetch_request_status status;
	struct fetch_request request;
	bool keep_alive;
	size_t consumed;

	skip_body(connection);
	if (!connection->in_len)
		return false;
	if (connection->state == FETCH_IDLE)
		set_state(connection, FETCH_READING);
	if (!worth_parsing(connection))
		return false;
	status = fetch_request_parse(&request, connection->in + connection->in_start, connection->in_len,
				     service->limits.max_header_size, &consumed);
	if (status == FETCH_REQUEST_INCOMPLETE) {
		connection->in_parsed = connection->in_len;
		return false;
	}
	if (status != FETCH_REQUEST_OK)
		return refuse_request(connection, status_of_fault(status), request.fault);
	keep_alive = request.keep_alive && !request.chunked_body && request.body_length <= SKIPPED_BODY_MAX &&
		     !atomic_load_explicit(service->draining, memory_order_relaxed);
	connection->skip = request.body_length;
	fetch_exchange_begin(&connection->exchange, &request, keep_alive);
	drop_input(connection, consumed);
	return exchange_began(connection);
}

/* --- responses --- */

/* The last response was sent: tells the peer, and reads on for a while, since closing a socket with unread input would
 * reset the connection and take the response from the peer. */
static void linger(struct fetch_connection *connection)
{
	if (connection->peer_ended || shutdown(connection->fd, SHUT_WR) < 0) {
		connection_free(connection);
		return;
	}
	drop_input(connection, connection->in_len);
	ev_io_stop(connection->service->loop, &connection->writer);
	ev_io_start(connection->service->loop, &connection->reader);
	set_state(connection, FETCH_LINGERING);
}

/* Takes the grants that have come; each is answered later. Returns false, and <connection> is gone, if one is refused. */
static bool take_grants(struct fetch_connection *connection)
{
	skip_body(connection);
	while (fetch_exchange_takes_grants(&connection->exchange) && connection->in_len >= GRANT_WIRE_LEN) {
		const uint8_t *wire = (const uint8_t *)connection->in + connection->in_start;
		const char *why = fetch_exchange_take_grant(&connection->exchange, wire);

		if (why) {
			connection_close(connection, FETCH_TRANSFER_MISGRANTED, LOG_LEVEL_WARNING, why);
			return false;
		}
		drop_input(connection, GRANT_WIRE_LEN);
	}
	/* It may have been stopped for a request's body that filled the input. */
	if (!connection->peer_ended)
		ev_io_start(connection->service->loop, &connection->reader);
	return true;
}

/* Whether the peer is what a starved transfer waits for. */
static bool peer_is_waited_for(const struct fetch_connection *connection)
{
	const struct fetch_transfer *transfer = &connection->exchange.transfer;

	return transfer->kind == FETCH_BODY_GRANTED && granted_body_awaits_grant(transfer->granted);
}

/* Without a length an ordinary end would look like that of the body. */
static void reset_when_closed(const struct fetch_connection *connection)
{
	struct linger at_once = {.l_onoff = 1};

	if (connection->exchange.transfer.kind == FETCH_BODY_RELAYED &&
	    setsockopt(connection->fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once)) < 0)
		log_warning("a fetch connection cannot be reset: %s", strerror(errno));
}

/* Best effort: a refusal only costs memory, or speed. */
static void set_send_buffer(struct fetch_connection *connection, int size)
{
	if (size != connection->send_buffer &&
	    setsockopt(connection->fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size)) == 0)
		connection->send_buffer = size;
}

/* Bounds what the kernel holds of a body that this process produces. */
static void bound_unsent(struct fetch_connection *connection)
{
	enum fetch_body kind = connection->exchange.transfer.kind;
	int unsent = UNSENT_MAX;

	if (connection->bounded ||
	    (kind != FETCH_BODY_SEALED && kind != FETCH_BODY_RELAYED && kind != FETCH_BODY_GRANTED))
		return;
	connection->bounded = true;
	while (unsent > UNSENT_MIN && (size_t)unsent * connection->service->sending > UNSENT_OF_WORKER)
		unsent /= 2;
	if (kind == FETCH_BODY_SEALED)
		sealed_body_expect(connection->exchange.transfer.sealed, (size_t)unsent);
	/* UNIX sockets do not know it; their send buffer does not grow. */
	if (unsent != connection->unsent &&
	    setsockopt(connection->fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, &unsent, sizeof(unsent)) == 0)
		connection->unsent = unsent;
	if (connection->service->limits.send_buffer)
		return;
	if (unsent == UNSENT_MIN)
		set_send_buffer(connection, MANY_SEND_BUFFER);
	else if (connection->send_buffer)
		set_send_buffer(connection, FEW_SEND_BUFFER);
}

/* Sends on. Returns true if the response is out and the connection goes on with the next request. */
static bool send_response(struct fetch_connection *connection)
{
	struct ev_loop *loop = connection->service->loop;
	const char *why = "the peer went away";
	/* A drain may have begun after the head promised to keep the connection. */
	bool keep_alive = connection->exchange.keep_alive &&
			  !atomic_load_explicit(connection->service->draining, memory_order_relaxed);

	bound_unsent(connection);
	if (fetch_exchange_takes_grants(&connection->exchange) && !take_grants(connection))
		return false;
	switch (fetch_transfer_send(&connection->exchange.transfer, connection->fd, TURN_BUDGET, &why)) {
	case FETCH_TRANSFER_DONE:
		fetch_exchange_end(&connection->exchange, FETCH_TRANSFER_DONE, "");
		ev_io_stop(loop, &connection->writer);
		set_state(connection, FETCH_IDLE);
		if (!keep_alive || (connection->peer_ended && !connection->in_len)) {
			linger(connection);
			return false;
		}
		if (!connection->peer_ended)
			ev_io_start(loop, &connection->reader);
		return true;
	case FETCH_TRANSFER_STARVED:
		/* Else the peer is not to blame: it is not timed until there is something to send. */
		ev_io_stop(loop, &connection->writer);
		set_timer(connection, peer_is_waited_for(connection) ? connection->service->limits.send_timeout : 0);
		return false;
	case FETCH_TRANSFER_BLOCKED:
	case FETCH_TRANSFER_YIELDED:
		ev_io_start(loop, &connection->writer);
		return false;
	case FETCH_TRANSFER_PEER_GONE:
		connection_close(connection, FETCH_TRANSFER_PEER_GONE, LOG_LEVEL_DEBUG, why);
		return false;
	case FETCH_TRANSFER_BROKEN:
		reset_when_closed(connection);
		connection_close(connection, FETCH_TRANSFER_BROKEN, LOG_LEVEL_WARNING, why);
		return false;
	case FETCH_TRANSFER_MISGRANTED:
		break;
	}
	return false;
}

/* Goes on as far as it can without waiting. <connection> may be gone afterwards. */
static void run(struct fetch_connection *connection)
{
	if (connection->state == FETCH_ASKING || connection->state == FETCH_WAITING ||
	    connection->state == FETCH_LINGERING)
		return;
	for (int requests = 0; requests < TURN_REQUESTS; requests++) {
		if (connection->state != FETCH_SENDING && !take_request(connection))
			return;
		if (!send_response(connection))
			return;
	}
	ev_feed_event(connection->service->loop, &connection->writer, EV_WRITE);
}

/* The origin answered or the offer for the ticket came, see fetch_exchange.h. */
static void on_exchange_began(void *context)
{
	struct fetch_connection *connection = context;

	if (exchange_began(connection))
		run(connection);
}

static void on_exchange_fed(void *context)
{
	struct fetch_connection *connection = context;

	/* Else the socket is what is waited for. */
	if (connection->state == FETCH_SENDING && !ev_is_active(&connection->writer)) {
		set_timer(connection, connection->service->limits.send_timeout);
		run(connection);
	}
}

/* --- events --- */

static void on_writable(struct ev_loop *loop, ev_io *watcher, int events)
{
	struct fetch_connection *connection = watcher->data;

	(void)loop;
	(void)events;
	if (connection->state == FETCH_SENDING)
		set_timer(connection, connection->service->limits.send_timeout);
	run(connection);
}

static void on_peer_ended(struct fetch_connection *connection)
{
	connection->peer_ended = true;
	ev_io_stop(connection->service->loop, &connection->reader);
	/* Pipelined requests are still to be answered: their turn comes. */
	if (connection->state == FETCH_IDLE && connection->in_len)
		return;
	switch (connection->state) {
	case FETCH_READING:
		connection_close(connection, FETCH_TRANSFER_PEER_GONE, LOG_LEVEL_INFO,
				 "it ended in the middle of a request");
		break;
	case FETCH_SENDING:
		/* A client that ends its side may still want an ordinary response. HAProxy that ends a spliced one has
		 * lost its client, and an origin is not kept at work for one that is probably gone. */
		if (connection->exchange.transfer.kind == FETCH_BODY_SEALED ||
		    connection->exchange.transfer.kind == FETCH_BODY_GRANTED ||
		    connection->exchange.transfer.kind == FETCH_BODY_OPEN ||
		    connection->exchange.transfer.kind == FETCH_BODY_RELAYED)
			connection_close(connection, FETCH_TRANSFER_PEER_GONE, LOG_LEVEL_DEBUG, "the peer went away");
		break;
	case FETCH_IDLE:
	case FETCH_ASKING:
	case FETCH_WAITING:
	case FETCH_LINGERING:
		connection_close(connection, FETCH_TRANSFER_PEER_GONE, LOG_LEVEL_DEBUG, "the peer went away");
		break;
	}
}

/* Doubles the space for input, up to the longest head. Returns 0, or -1 if memory is exhausted. */
static int grow_input(struct fetch_connection *connection)
{
	size_t max = connection->service->limits.max_header_size;
	size_t size = connection->in ? 2 * connection->in_size : INPUT_FIRST;
	char *in;

	size = size < max ? size : max;
	in = realloc(connection->in, size);
	if (!in)
		return -1;
	connection->in = in;
	connection->in_size = size;
	return 0;
}

/* Makes room behind the input, more than at first for a head that is longer, but not for pipelined requests. Returns the
 * room in bytes, 0 if there is none, or -1 if memory is exhausted. */
static ssize_t input_room(struct fetch_connection *connection)
{
	if (connection->in_start > 0) {
		memmove(connection->in, connection->in + connection->in_start, connection->in_len);
		connection->in_start = 0;
	}
	if (!connection->in ||
	    (connection->in_len == connection->in_size && connection->exchange.stage == FETCH_EXCHANGE_ENDED &&
	     connection->in_size < connection->service->limits.max_header_size)) {
		if (grow_input(connection) < 0)
			return -1;
	}
	return (ssize_t)(connection->in_size - connection->in_len);
}

static void discard(struct fetch_connection *connection)
{
	char bytes[4096];
	ssize_t n = recv(connection->fd, bytes, sizeof(bytes), MSG_DONTWAIT);

	if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR))
		connection_free(connection);
}

static void on_readable(struct ev_loop *loop, ev_io *watcher, int events)
{
	struct fetch_connection *connection = watcher->data;
	ssize_t room, n;

	(void)events;
	if (connection->state == FETCH_LINGERING) {
		discard(connection);
		return;
	}
	room = input_room(connection);
	if (room < 0) {
		connection_close(connection, FETCH_TRANSFER_PEER_GONE, LOG_LEVEL_ERROR, "out of memory");
		return;
	}
	if (!room) {
		ev_io_stop(loop, &connection->reader); /* pipelined requests: enough of them for now */
		return;
	}
	n = recv(connection->fd, connection->in + connection->in_len, (size_t)room, MSG_DONTWAIT);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n < 0) {
		connection_close(connection, FETCH_TRANSFER_PEER_GONE, LOG_LEVEL_DEBUG, "the peer went away");
		return;
	}
	if (n == 0) {
		on_peer_ended(connection);
		return;
	}
	connection->in_len += (size_t)n;
	if (connection->exchange.stage == FETCH_EXCHANGE_ENDED || fetch_exchange_takes_grants(&connection->exchange))
		run(connection);
}

static void on_timeout(struct ev_loop *loop, ev_timer *timer, int events)
{
	struct fetch_connection *connection = timer->data;

	(void)loop;
	(void)events;
	switch (connection->state) {
	case FETCH_IDLE:
		connection_close(connection, FETCH_TRANSFER_PEER_GONE, LOG_LEVEL_DEBUG, "keep-alive timeout");
		break;
	case FETCH_READING:
		if (refuse_request(connection, 408, "header timeout"))
			run(connection);
		break;
	case FETCH_ASKING:
		break;
	case FETCH_WAITING:
		fetch_exchange_give_up(&connection->exchange);
		if (exchange_began(connection))
			run(connection);
		break;
	case FETCH_SENDING:
		connection_close(connection, FETCH_TRANSFER_PEER_GONE, LOG_LEVEL_INFO, "send timeout");
		break;
	case FETCH_LINGERING:
		connection_free(connection);
		break;
	}
}

static void set_socket_options(const struct fetch_connection *connection)
{
	int one = 1, size = connection->service->limits.send_buffer;

	/* Neither is worth losing the connection for; UNIX sockets do not know the first. */
	(void)setsockopt(connection->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	if (size > 0 && setsockopt(connection->fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size)) < 0)
		log_warning("fetch.send-buffer: cannot be set: %s", strerror(errno));
}

int fetch_connection_open(struct fetch_service *service, int fd, const struct address *peer)
{
	struct fetch_connection *connection = calloc(1, sizeof(*connection));

	if (!connection) {
		close(fd);
		return -1;
	}
	connection->service = service;
	connection->peer = *peer;
	connection->fd = fd;
	connection->exchange.service = service;
	connection->exchange.began = on_exchange_began;
	connection->exchange.fed = on_exchange_fed;
	connection->exchange.context = connection;
	ev_io_init(&connection->reader, on_readable, fd, EV_READ);
	ev_io_init(&connection->writer, on_writable, fd, EV_WRITE);
	ev_init(&connection->timer, on_timeout);
	connection->reader.data = connection->writer.data = connection->timer.data = connection;
	set_socket_options(connection);
	DL_APPEND(service->connections, connection);
	service->count++;
	node_metrics_add(NODE_CONNECTIONS, 1);
	node_metrics_add(NODE_CONNECTIONS_TOTAL, 1);
	set_state(connection, FETCH_IDLE);
	ev_io_start(service->loop, &connection->reader);
	return 0;
}

void fetch_connections_close(struct fetch_service *service, bool force)
{
	struct fetch_connection *connection, *next;

	DL_FOREACH_SAFE (service->connections, connection, next) {
		if (force || connection->state == FETCH_IDLE)
			connection_close(connection, FETCH_TRANSFER_PEER_GONE, LOG_LEVEL_DEBUG, "the node ends");
	}
}

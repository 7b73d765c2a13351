/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "handoff_server.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>
#include <utlist.h>

#include "byte_queue.h"
#include "log.h"
#include "log_limit.h"

#define MAGIC 0x1e4d1e4du
#define BACKLOG 128
#define MESSAGES_AT_ONCE 32 /* of one connection before others have their turn */
#define WAITING_MAX 65536u  /* answers that wait until HAProxy reads */
#define DESCRIPTORS_MAX 4   /* more than the one that may come, so that surplus ones are seen and closed */
#define PAUSE_S 0.1         /* after the process ran out of descriptors */
#define PLACES_BYTES_MAX (64 << 20)

/* An answer that waits to be sent, in a connection's queue. */
struct packet {
	size_t len;
	uint8_t bytes[HANDOFF_MESSAGE_ANSWER_MAX];
};

struct handoff_connection {
	unsigned magic;
	struct handoff_server *server;
	int fd;
	bool broken;      /* sending failed: the next event closes it */
	uint64_t *places; /* memory that HAProxy shares: each has the number of the handoff there that was taken */
	size_t place_count;
	ev_io readable, writable;
	struct byte_queue waiting; /* of struct packet */
	struct handoff_connection *prev, *next;
};

struct handoff_server {
	struct ev_loop *loop;
	const struct handoff_server_events *events;
	void *context;
	int fd;
	ev_io acceptable;
	ev_timer pause;
	char name[ADDRESS_TEXT_MAX];
	struct handoff_connection *connections;
	struct log_limit faults;
};

static struct handoff_connection *connection_of(void *data)
{
	struct handoff_connection *connection = data;

	assert(connection && connection->magic == MAGIC);
	return connection;
}

static void connection_free(struct handoff_connection *connection)
{
	struct handoff_server *server = connection->server;

	ev_io_stop(server->loop, &connection->readable);
	ev_io_stop(server->loop, &connection->writable);
	(void)close(connection->fd);
	DL_DELETE(server->connections, connection);
	byte_queue_clear(&connection->waiting);
	if (connection->places)
		(void)munmap(connection->places, connection->place_count * sizeof(uint64_t));
	connection->magic = 0;
	free(connection);
}

static void connection_close(struct handoff_connection *connection, const char *why)
{
	struct handoff_server *server = connection->server;
	char note[LOG_LIMIT_NOTE_MAX];

	if (why && log_limit_allow(&server->faults, ev_now(server->loop), note))
		log_warning("handoff socket %s: a connection is closed: %s%s", server->name, why, note);
	server->events->closed(server->context, connection);
	connection_free(connection);
}

/* --- sending --- */

static bool send_packet(const struct handoff_connection *connection, const struct packet *packet)
{
	ssize_t sent;

	do {
		sent = send(connection->fd, packet->bytes, packet->len, MSG_DONTWAIT | MSG_NOSIGNAL);
	} while (sent < 0 && errno == EINTR);
	return sent >= 0;
}

static void break_connection(struct handoff_connection *connection)
{
	connection->broken = true;
	/* Both sides read an end then, and our event handler closes. */
	(void)shutdown(connection->fd, SHUT_RDWR);
}

static void queue_packet(struct handoff_connection *connection, const struct packet *packet)
{
	if (byte_queue_length(&connection->waiting) >= WAITING_MAX * sizeof(*packet) ||
	    !byte_queue_reserve(&connection->waiting, sizeof(*packet))) {
		break_connection(connection);
		return;
	}
	byte_queue_append(&connection->waiting, packet, sizeof(*packet));
	ev_io_start(connection->server->loop, &connection->writable);
}

/* Returns whether <packet> was sent, behind all that were to be sent before. */
static bool try_to_send(struct handoff_connection *connection, const struct packet *packet)
{
	if (byte_queue_length(&connection->waiting))
		return false;
	if (send_packet(connection, packet))
		return true;
	if (errno != EAGAIN)
		break_connection(connection);
	return false;
}

void handoff_connection_send(struct handoff_connection *connection, const struct handoff_message *message)
{
	struct packet packet;

	assert(connection->magic == MAGIC);
	if (connection->broken)
		return;
	packet.len = handoff_message_encode(packet.bytes, message);
	if (!try_to_send(connection, &packet) && !connection->broken && message->type != HANDOFF_MESSAGE_PROGRESS)
		queue_packet(connection, &packet);
}

void handoff_connection_take(struct handoff_connection *connection, uint32_t place, uint64_t number)
{
	assert(connection->magic == MAGIC && place < connection->place_count);
	__atomic_store_n(&connection->places[place], number, __ATOMIC_SEQ_CST);
}

static void on_writable(struct ev_loop *loop, ev_io *watcher, int events)
{
	struct handoff_connection *connection = connection_of(watcher->data);

	(void)events;
	while (byte_queue_length(&connection->waiting)) {
		struct packet packet;

		memcpy(&packet, byte_queue_head(&connection->waiting), sizeof(packet));
		if (!send_packet(connection, &packet)) {
			if (errno != EAGAIN)
				break_connection(connection);
			return;
		}
		byte_queue_consume(&connection->waiting, sizeof(packet));
	}
	ev_io_stop(loop, watcher);
}

/* --- receiving --- */

union control {
	struct cmsghdr header;
	char bytes[CMSG_SPACE(DESCRIPTORS_MAX * sizeof(int))];
};

/* Takes the descriptors out of <message> into <fds>. Returns how many there are. */
static size_t take_descriptors(struct msghdr *message, int fds[static DESCRIPTORS_MAX])
{
	size_t count = 0;

	for (struct cmsghdr *at = CMSG_FIRSTHDR(message); at; at = CMSG_NXTHDR(message, at)) {
		size_t len = at->cmsg_len - CMSG_LEN(0);

		if (at->cmsg_level != SOL_SOCKET || at->cmsg_type != SCM_RIGHTS)
			continue;
		for (size_t used = 0; used + sizeof(int) <= len && count < DESCRIPTORS_MAX; used += sizeof(int))
			memcpy(&fds[count++], CMSG_DATA(at) + used, sizeof(int));
	}
	return count;
}

static bool is_tcp(int fd)
{
	int protocol = 0;
	socklen_t len = sizeof(protocol);

	return getsockopt(fd, SOL_SOCKET, SO_PROTOCOL, &protocol, &len) == 0 && protocol == IPPROTO_TCP;
}

/* Shares the memory <fd>, which nobody can make smaller. Returns NULL, or what is wrong. */
static const char *share_places(struct handoff_connection *connection, int fd)
{
	int seals = fcntl(fd, F_GET_SEALS);
	struct stat status;
	void *places;

	if (connection->places)
		return "PLACES came twice";
	if (seals < 0 || !(seals & F_SEAL_SHRINK) || fstat(fd, &status) < 0 ||
	    status.st_size < (off_t)sizeof(uint64_t) || status.st_size > PLACES_BYTES_MAX)
		return "PLACES without memory that stays";
	places = mmap(NULL, (size_t)status.st_size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (places == MAP_FAILED)
		return "the memory of PLACES cannot be shared";
	connection->places = places;
	connection->place_count = (size_t)status.st_size / sizeof(uint64_t);
	return NULL;
}

/* Acts on one message; <cut>: more descriptors came with it than are in <fds>. Returns NULL, or why the connection must
 * be closed. Descriptors that nobody took are left. */
static const char *process(struct handoff_connection *connection, const uint8_t *bytes, size_t len, int *fds,
			   size_t *fd_count, bool cut)
{
	struct handoff_server *server = connection->server;
	struct handoff_message message;
	enum handoff_message_error error = handoff_message_decode(&message, bytes, len);

	if (error != HANDOFF_MESSAGE_OK)
		return handoff_message_error_text(error);
	switch (message.type) {
	case HANDOFF_MESSAGE_PLACES:
		return cut || *fd_count != 1 ? "PLACES without exactly one descriptor"
					     : share_places(connection, fds[0]);
	case HANDOFF_MESSAGE_PARKED:
		if (message.place >= connection->place_count)
			return "PARKED without its place in the shared memory";
		/* There is room for one here: it was this process that had none free. */
		if (cut && !*fd_count)
			return server->events->parked(server->context, connection, &message, -1);
		if (cut || *fd_count != 1 || !is_tcp(fds[0]))
			return "PARKED without exactly one TCP connection";
		*fd_count = 0;
		return server->events->parked(server->context, connection, &message, fds[0]);
	case HANDOFF_MESSAGE_ABANDON:
		if (cut || *fd_count)
			return "ABANDON with a descriptor";
		server->events->abandon(server->context, connection, message.handoff);
		return NULL;
	case HANDOFF_MESSAGE_RECALL:
		if (cut || *fd_count)
			return "RECALL with a descriptor";
		server->events->recall(server->context, connection);
		return NULL;
	default:
		return "it sent a message that only agents send";
	}
}

/* Receives one message. Returns false if the connection was closed or there is none. */
static bool receive(struct handoff_connection *connection)
{
	uint8_t bytes[HANDOFF_MESSAGE_MAX + 1];
	union control control;
	struct iovec part = {.iov_base = bytes, .iov_len = sizeof(bytes)};
	struct msghdr message = {
		.msg_iov = &part, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof(control)};
	int fds[DESCRIPTORS_MAX];
	ssize_t len = recvmsg(connection->fd, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	const char *fault;
	size_t fd_count;

	if (len < 0 && (errno == EAGAIN || errno == EINTR))
		return false;
	if (len <= 0) {
		connection_close(connection, connection->broken ? "HAProxy does not read" : NULL);
		return false;
	}
	fd_count = take_descriptors(&message, fds);
	fault = process(connection, bytes, (size_t)len, fds, &fd_count, message.msg_flags & MSG_CTRUNC);
	while (fd_count)
		(void)close(fds[--fd_count]);
	if (fault)
		connection_close(connection, fault);
	return fault == NULL;
}

static void on_readable(struct ev_loop *loop, ev_io *watcher, int events)
{
	struct handoff_connection *connection = connection_of(watcher->data);

	(void)loop;
	(void)events;
	for (int i = 0; i < MESSAGES_AT_ONCE; i++)
		if (!receive(connection))
			return;
}

/* --- accepting --- */

static void serve(struct handoff_server *server, int fd)
{
	struct handoff_connection *connection = calloc(1, sizeof(*connection));

	if (!connection) {
		(void)close(fd);
		return;
	}
	connection->magic = MAGIC;
	connection->server = server;
	connection->fd = fd;
	ev_io_init(&connection->readable, on_readable, fd, EV_READ);
	ev_io_init(&connection->writable, on_writable, fd, EV_WRITE);
	connection->readable.data = connection->writable.data = connection;
	DL_APPEND(server->connections, connection);
	ev_io_start(server->loop, &connection->readable);
}

static void on_acceptable(struct ev_loop *loop, ev_io *watcher, int events)
{
	struct handoff_server *server = watcher->data;
	int fd = accept4(server->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

	(void)events;
	if (fd >= 0) {
		serve(server, fd);
	} else if (errno != EAGAIN && errno != EINTR && errno != ECONNABORTED) {
		log_error("handoff socket %s: cannot accept: %s", server->name, strerror(errno));
		ev_io_stop(loop, watcher);
		ev_timer_set(&server->pause, PAUSE_S, 0.);
		ev_timer_start(loop, &server->pause);
	}
}

static void on_pause_over(struct ev_loop *loop, ev_timer *timer, int events)
{
	struct handoff_server *server = timer->data;

	(void)events;
	ev_io_start(loop, &server->acceptable);
}

static int open_listener(struct handoff_server *server, const struct address *address,
			 const struct listener_owner *owner)
{
	const struct sockaddr_un *path = (const struct sockaddr_un *)&address->storage;

	server->fd = address_listen_packets(address, BACKLOG, owner->mode);
	if (server->fd < 0) {
		log_error("cannot listen on %s: %s", server->name,
			  errno == EADDRINUSE ? "another program already does" : strerror(errno));
		return -1;
	}
	if ((owner->user == (uid_t)-1 && owner->group == (gid_t)-1) ||
	    chown(path->sun_path, owner->user, owner->group) == 0)
		return 0;
	log_error("cannot give %s to the user and group of the configuration: %s", server->name, strerror(errno));
	(void)close(server->fd);
	return -1;
}

struct handoff_server *handoff_server_new(struct ev_loop *loop, const struct address *address,
					  const struct listener_owner *owner,
					  const struct handoff_server_events *events, void *context)
{
	struct handoff_server *server = calloc(1, sizeof(*server));

	if (!server) {
		log_error("cannot listen for connections to hand off: out of memory");
		return NULL;
	}
	server->loop = loop;
	server->events = events;
	server->context = context;
	(void)address_format(address, server->name);
	if (open_listener(server, address, owner) < 0) {
		free(server);
		return NULL;
	}
	ev_io_init(&server->acceptable, on_acceptable, server->fd, EV_READ);
	ev_init(&server->pause, on_pause_over);
	server->acceptable.data = server->pause.data = server;
	ev_io_start(loop, &server->acceptable);
	log_info("listening on %s for connections to hand off", server->name);
	return server;
}

void handoff_server_drain(struct handoff_server *server)
{
	if (server->fd < 0)
		return;
	ev_timer_stop(server->loop, &server->pause);
	ev_io_stop(server->loop, &server->acceptable);
	(void)close(server->fd);
	server->fd = -1;
}

void handoff_server_free(struct handoff_server *server)
{
	struct handoff_connection *connection, *next;

	if (!server)
		return;
	handoff_server_drain(server);
	DL_FOREACH_SAFE (server->connections, connection, next)
		connection_free(connection);
	free(server);
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "origin_sockets.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define HASH_NONFATAL_OOM 1
#include <uthash.h>

#include "log.h"

struct origin_socket {
	struct origin_sockets *sockets;
	int fd;
	const void *user; /* NULL: idle */
	ev_io io;         /* what the user waits for */
	ev_io idle;       /* while there is none */
	UT_hash_handle hh;
};

static struct origin_socket *find(const struct origin_sockets *sockets, int fd)
{
	struct origin_socket *found;

	HASH_FIND_INT(sockets->by_fd, &fd, found);
	return found;
}

/* libcurl would take what an origin says unasked for the answer to the next request. Read away and shut, the connection
 * is a dead one to it. */
static void on_idle_readable(struct ev_loop *loop, ev_io *io, int events)
{
	char bytes[4096];
	ssize_t n;

	(void)events;
	do {
		n = recv(io->fd, bytes, sizeof(bytes), MSG_DONTWAIT);
	} while (n > 0 || (n < 0 && errno == EINTR));
	(void)shutdown(io->fd, SHUT_RDWR);
	ev_io_stop(loop, io);
}

static void on_ready(struct ev_loop *loop, ev_io *io, int events)
{
	struct origin_socket *ready = io->data;

	(void)loop;
	ready->sockets->ready(ready->sockets->context, io->fd, events);
}

static struct origin_socket *add(struct origin_sockets *sockets, int fd)
{
	struct origin_socket *new = calloc(1, sizeof(*new));

	if (!new)
		return NULL;
	new->sockets = sockets;
	new->fd = fd;
	ev_init(&new->io, on_ready);
	new->io.data = new;
	ev_io_init(&new->idle, on_idle_readable, fd, EV_READ);
	/* Before the timer by which libcurl begins requests, and may choose this connection. */
	ev_set_priority(&new->idle, EV_MAXPRI);
	HASH_ADD_INT(sockets->by_fd, fd, new);
	if (find(sockets, fd) != new) {
		free(new);
		return NULL;
	}
	return new;
}

int origin_sockets_open(struct origin_sockets *sockets, int family, int type, int protocol)
{
	int fd = socket(family, type | SOCK_CLOEXEC | SOCK_NONBLOCK, protocol);

	if (fd < 0) {
		log_warning("origin: no socket: %s", strerror(errno));
		return -1;
	}
	if (!add(sockets, fd)) {
		log_error("origin: no socket: out of memory");
		close(fd);
		return -1;
	}
	return fd;
}

int origin_sockets_close(struct origin_sockets *sockets, int fd)
{
	struct origin_socket *closed = find(sockets, fd);

	if (closed) {
		ev_io_stop(sockets->loop, &closed->io);
		ev_io_stop(sockets->loop, &closed->idle);
		HASH_DEL(sockets->by_fd, closed);
		free(closed);
	}
	return close(fd);
}

void origin_sockets_watch(struct origin_sockets *sockets, int fd, int events, const void *user)
{
	struct origin_socket *watched = find(sockets, fd);

	if (!watched)
		return;
	watched->user = user;
	ev_io_stop(sockets->loop, &watched->idle);
	ev_io_stop(sockets->loop, &watched->io);
	ev_io_set(&watched->io, fd, events);
	ev_io_start(sockets->loop, &watched->io);
}

bool origin_sockets_has(const struct origin_sockets *sockets, int fd, const void *user)
{
	const struct origin_socket *socket = find(sockets, fd);

	return socket && socket->user == user;
}

void origin_sockets_unwatch(struct origin_sockets *sockets, int fd)
{
	struct origin_socket *watched = find(sockets, fd);

	if (watched)
		ev_io_stop(sockets->loop, &watched->io);
}

void origin_sockets_leave(struct origin_sockets *sockets, int fd, const void *user)
{
	struct origin_socket *left = find(sockets, fd);

	/* It may have been closed, and its number may be another one's. */
	if (!left || left->user != user)
		return;
	left->user = NULL;
	ev_io_stop(sockets->loop, &left->io);
	ev_io_start(sockets->loop, &left->idle);
}

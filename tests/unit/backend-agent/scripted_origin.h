/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What tests of the HTTP source share: an origin that answers each request with the same prepared bytes, right or
 * wrong, on the test's own loop. */
#ifndef SCRIPTED_ORIGIN_H
#define SCRIPTED_ORIGIN_H

#include <ev.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "address.h"

#define ORIGIN_CONNECTIONS 8

struct origin_connection {
	struct scripted_origin *origin;
	ev_io io;
	int fd; /* -1: free */
	char request[8192];
	size_t request_len, sent;
	bool answering;
};

struct scripted_origin {
	struct ev_loop *loop;
	struct address address;
	int listener;
	ev_io acceptor;
	/* The script: head, then <body_len> bytes that origin_byte() gives; stopped after <hold> bytes of body until
	 * origin_release(); closed afterwards or kept. Without a head it never answers. */
	const char *head;
	size_t body_len, hold;
	bool close;
	/* What happened. */
	unsigned accepted, asked, ended;
	char request[8192]; /* the last one */
	struct origin_connection connections[ORIGIN_CONNECTIONS];
};

static inline uint8_t origin_byte(size_t at)
{
	return (uint8_t)(at * 2654435761u >> 13);
}

static inline void origin_connection_end(struct origin_connection *connection)
{
	ev_io_stop(connection->origin->loop, &connection->io);
	close(connection->fd);
	connection->fd = -1;
	connection->origin->ended++;
}

static inline void origin_connection_watch(struct origin_connection *connection, int events)
{
	ev_io_stop(connection->origin->loop, &connection->io);
	ev_io_set(&connection->io, connection->fd, events);
	ev_io_start(connection->origin->loop, &connection->io);
}

/* Sends on; afterwards reads the next request, closes, or waits for the peer to go. */
static inline void origin_connection_write(struct origin_connection *connection)
{
	struct scripted_origin *origin = connection->origin;
	size_t head_len = strlen(origin->head), end = origin->body_len < origin->hold ? origin->body_len : origin->hold;
	char bytes[16384];

	while (connection->sent < head_len + end) {
		size_t len = 0;
		ssize_t n;

		while (len < sizeof(bytes) && connection->sent + len < head_len + end) {
			size_t at = connection->sent + len;

			bytes[len++] = at < head_len ? origin->head[at] : (char)origin_byte(at - head_len);
		}
		n = send(connection->fd, bytes, len, MSG_NOSIGNAL | MSG_DONTWAIT);
		if (n < 0) {
			origin_connection_watch(connection, EV_READ | EV_WRITE);
			return;
		}
		connection->sent += (size_t)n;
	}
	if (connection->sent == head_len + origin->body_len) {
		connection->answering = false;
		connection->request_len = 0;
		if (origin->close) {
			origin_connection_end(connection);
			return;
		}
	}
	origin_connection_watch(connection, EV_READ);
}

static inline void on_origin_event(struct ev_loop *loop, ev_io *io, int events)
{
	struct origin_connection *connection = io->data;
	struct scripted_origin *origin = connection->origin;

	(void)loop;
	if (events & EV_READ) {
		ssize_t n = recv(connection->fd, connection->request + connection->request_len,
				 sizeof(connection->request) - 1 - connection->request_len, MSG_DONTWAIT);

		if (n <= 0) {
			origin_connection_end(connection);
			return;
		}
		connection->request_len += (size_t)n;
		connection->request[connection->request_len] = '\0';
		if (!connection->answering && strstr(connection->request, "\r\n\r\n")) {
			origin->asked++;
			strcpy(origin->request, connection->request);
			connection->answering = true;
			connection->sent = 0;
		}
	}
	if (connection->answering && origin->head)
		origin_connection_write(connection);
}

static inline void on_origin_accept(struct ev_loop *loop, ev_io *io, int events)
{
	struct scripted_origin *origin = io->data;
	int fd = accept4(origin->listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

	(void)events;
	for (size_t i = 0; fd >= 0 && i < ORIGIN_CONNECTIONS; i++) {
		struct origin_connection *connection = &origin->connections[i];

		if (connection->fd >= 0)
			continue;
		*connection = (struct origin_connection){.origin = origin, .fd = fd};
		ev_io_init(&connection->io, on_origin_event, fd, EV_READ);
		connection->io.data = connection;
		ev_io_start(loop, &connection->io);
		origin->accepted++;
		return;
	}
	abort(); /* more connections than any test makes */
}

/* Listens on <where>, "127.0.0.1:0" or "unix:PATH". */
static inline void origin_open(struct scripted_origin *origin, struct ev_loop *loop, const char *where)
{
	const char *why;

	*origin = (struct scripted_origin){.loop = loop, .hold = SIZE_MAX};
	for (size_t i = 0; i < ORIGIN_CONNECTIONS; i++)
		origin->connections[i].fd = -1;
	assert_int_equal(address_parse(&origin->address, where, &why), 0);
	origin->listener = address_listen(&origin->address, 16, 0600);
	assert_true(origin->listener >= 0);
	origin->address.len = sizeof(origin->address.storage);
	assert_int_equal(
		getsockname(origin->listener, (struct sockaddr *)&origin->address.storage, &origin->address.len), 0);
	ev_io_init(&origin->acceptor, on_origin_accept, origin->listener, EV_READ);
	origin->acceptor.data = origin;
	ev_io_start(loop, &origin->acceptor);
}

/* Whatever was held back goes on its way. */
static inline void origin_release(struct scripted_origin *origin)
{
	origin->hold = SIZE_MAX;
	for (size_t i = 0; i < ORIGIN_CONNECTIONS; i++)
		if (origin->connections[i].fd >= 0 && origin->connections[i].answering)
			origin_connection_write(&origin->connections[i]);
}

/* Sends <text> on every connection, whether it was asked or not. */
static inline void origin_say(struct scripted_origin *origin, const char *text)
{
	for (size_t i = 0; i < ORIGIN_CONNECTIONS; i++)
		if (origin->connections[i].fd >= 0)
			assert_int_equal(send(origin->connections[i].fd, text, strlen(text), MSG_NOSIGNAL),
					 strlen(text));
}

/* Ends every connection. */
static inline void origin_drop(struct scripted_origin *origin)
{
	for (size_t i = 0; i < ORIGIN_CONNECTIONS; i++)
		if (origin->connections[i].fd >= 0)
			origin_connection_end(&origin->connections[i]);
}

static inline void origin_close(struct scripted_origin *origin)
{
	origin_drop(origin);
	ev_io_stop(origin->loop, &origin->acceptor);
	close(origin->listener);
}

#endif

/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "spop_server.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <utlist.h>

#include "log.h"
#include "log_limit.h"
#include "spop_connection.h"

#define ACCEPT_BATCH 16    /* connections accepted at one wake-up: other workers want some too */
#define ACCEPT_PAUSE_S 0.1 /* after the process ran out of descriptors */

struct accepter {
	struct spop_server *server;
	struct listener *listener;
	ev_io readable;
};

/* A connection in its server's list. */
struct connection_entry {
	struct spop_server *server;
	struct spop_connection *connection;
	struct connection_entry *prev, *next;
};

struct spop_server {
	struct ev_loop *loop;
	struct spop_shared *shared;
	const struct spop_service *service;
	struct spop_environment environment;
	struct accepter *accepters;
	struct connection_entry *connections;
	ev_timer pause;
	bool draining, ending;
	struct log_limit refusals, faults;
};

static enum spop_status server_notify(void *context, const struct spop_frame *frame, struct spop_writer *ack)
{
	struct spop_server *server = context;

	return server->service->notify(server->service->context, frame, ack);
}

static void server_closed(void *owner)
{
	struct connection_entry *entry = owner;
	struct spop_server *server = entry->server;

	DL_DELETE(server->connections, entry);
	free(entry);
	atomic_fetch_sub(&server->shared->connections, 1);
	spoa_metrics_add(server->shared->metrics, SPOA_CONNECTIONS, -1);
	if (server->draining && !server->ending && !server->connections)
		server->service->drained(server->service->context);
}

/* Says why there is no service, if the socket takes it; nobody waits for that. */
static void turn_away(struct spop_server *server, int fd, const char *peer)
{
	uint8_t frame[SPOP_DISCONNECT_MAX];
	size_t len = spop_build_disconnect(frame, sizeof(frame), SPOP_STATUS_NO_RESOURCE, "too many connections");
	char note[LOG_LIMIT_NOTE_MAX];

	if (send(fd, frame, len, MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
		log_debug("SPOP %s: %s", peer, strerror(errno));
	(void)close(fd);
	spoa_metrics_add(server->shared->metrics, SPOA_CONNECTIONS_REFUSED, 1);
	spoa_metrics_count_disconnect(server->shared->metrics, SPOP_STATUS_NO_RESOURCE);
	if (log_limit_allow(&server->refusals, ev_now(server->loop), note))
		log_warning("SPOP %s: refused, max-connections (%u) are open%s", peer, server->shared->max_connections,
			    note);
}

static void serve(struct spop_server *server, int fd, const char *peer)
{
	struct connection_entry *entry = calloc(1, sizeof(*entry));
	char note[LOG_LIMIT_NOTE_MAX];

	if (entry)
		entry->connection = spop_connection_new(&server->environment, entry, fd, peer);
	else
		(void)close(fd);
	if (!entry || !entry->connection) {
		free(entry);
		atomic_fetch_sub(&server->shared->connections, 1);
		if (log_limit_allow(&server->faults, ev_now(server->loop), note))
			log_error("SPOP %s: closed, out of memory", peer);
		return;
	}
	entry->server = server;
	DL_APPEND(server->connections, entry);
	spoa_metrics_add(server->shared->metrics, SPOA_CONNECTIONS, 1);
	spoa_metrics_add(server->shared->metrics, SPOA_CONNECTIONS_TOTAL, 1);
}

static void accepted(struct spop_server *server, const struct accepter *accepter, int fd, const struct address *from)
{
	char text[ADDRESS_TEXT_MAX];
	const char *peer = accepter->listener->name;
	int on = 1;

	if (from->storage.ss_family != AF_UNIX) {
		peer = address_format(from, text);
		if (setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)) < 0)
			log_debug("SPOP %s: TCP_NODELAY: %s", peer, strerror(errno));
	}
	if (atomic_fetch_add(&server->shared->connections, 1) >= server->shared->max_connections) {
		atomic_fetch_sub(&server->shared->connections, 1);
		turn_away(server, fd, peer);
		return;
	}
	serve(server, fd, peer);
}

static void watch_listeners(struct spop_server *server, bool watch)
{
	for (size_t i = 0; i < server->shared->listener_count; i++) {
		if (watch)
			ev_io_start(server->loop, &server->accepters[i].readable);
		else
			ev_io_stop(server->loop, &server->accepters[i].readable);
	}
}

/* Out of descriptors or memory: the connection stays in the backlog, and asking again at once would spin. */
static void pause_accepting(struct spop_server *server, int error)
{
	char note[LOG_LIMIT_NOTE_MAX];

	if (log_limit_allow(&server->faults, ev_now(server->loop), note))
		log_error("cannot accept SPOP connections: %s%s", strerror(error), note);
	watch_listeners(server, false);
	ev_timer_set(&server->pause, ACCEPT_PAUSE_S, 0.);
	ev_timer_start(server->loop, &server->pause);
}

static void pause_over(struct ev_loop *loop, ev_timer *timer, int events)
{
	(void)loop;
	(void)events;
	watch_listeners(timer->data, true);
}

static void on_connection(struct ev_loop *loop, ev_io *watcher, int events)
{
	struct accepter *accepter = watcher->data;

	(void)loop;
	(void)events;
	for (int i = 0; i < ACCEPT_BATCH; i++) {
		struct address from = {.len = sizeof(from.storage)};
		int fd =
			accept4(watcher->fd, (struct sockaddr *)&from.storage, &from.len, SOCK_NONBLOCK | SOCK_CLOEXEC);

		if (fd >= 0) {
			accepted(accepter->server, accepter, fd, &from);
			continue;
		}
		if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM)
			pause_accepting(accepter->server, errno);
		if (errno != EINTR && errno != ECONNABORTED)
			return;
	}
}

struct spop_server *spop_server_new(struct ev_loop *loop, struct spop_shared *shared,
				    const struct spop_service *service)
{
	struct spop_server *server = calloc(1, sizeof(*server));

	if (!server)
		return NULL;
	server->accepters = calloc(shared->listener_count + 1, sizeof(*server->accepters));
	if (!server->accepters) {
		free(server);
		return NULL;
	}
	server->loop = loop;
	server->shared = shared;
	server->service = service;
	server->environment = (struct spop_environment){
		.loop = loop,
		.max_frame_size = shared->max_frame_size,
		.metrics = shared->metrics,
		.notify = server_notify,
		.closed = server_closed,
		.context = server,
	};
	ev_timer_init(&server->pause, pause_over, 0., 0.);
	server->pause.data = server;
	for (size_t i = 0; i < shared->listener_count; i++) {
		struct accepter *accepter = &server->accepters[i];

		accepter->server = server;
		accepter->listener = &shared->listeners[i];
		ev_io_init(&accepter->readable, on_connection, accepter->listener->fd, EV_READ);
		accepter->readable.data = accepter;
	}
	watch_listeners(server, true);
	return server;
}

static void leave_listeners(struct spop_server *server)
{
	ev_timer_stop(server->loop, &server->pause);
	watch_listeners(server, false);
	for (size_t i = 0; i < server->shared->listener_count; i++)
		listener_leave(&server->shared->listeners[i]);
}

void spop_server_drain(struct spop_server *server)
{
	struct connection_entry *entry, *next;

	if (server->draining)
		return;
	server->draining = true;
	leave_listeners(server);
	DL_FOREACH_SAFE (server->connections, entry, next)
		spop_connection_end(entry->connection, SPOP_STATUS_NORMAL, "this agent ends");
}

size_t spop_server_connections(const struct spop_server *server)
{
	const struct connection_entry *entry;
	size_t count;

	DL_COUNT(server->connections, entry, count);
	return count;
}

void spop_server_free(struct spop_server *server)
{
	struct connection_entry *entry, *next;

	if (!server)
		return;
	server->ending = true;
	if (!server->draining)
		leave_listeners(server);
	DL_FOREACH_SAFE (server->connections, entry, next)
		spop_connection_abort(entry->connection);
	free(server->accepters);
	free(server);
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "fetch_server.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "fetch_connection.h"
#include "log.h"

#define ACCEPTS_PER_TURN 64
#define ACCEPT_PAUSE_S 0.1 /* when descriptors or memory ran out */

struct fetch_server {
	struct fetch_service service;
	ev_io *acceptors;
	size_t acceptor_count;
	ev_timer pause;  /* until accepting is tried again */
	ev_timer notice; /* of a drain: until nothing more is accepted */
	bool accepting;
	bool closing; /* the drain's notice is over */
	void (*idle)(void *context);
	void *context;
};

static void set_accepting(struct fetch_server *server, bool accepting)
{
	if (server->accepting == accepting || (accepting && server->closing))
		return;
	server->accepting = accepting;
	for (size_t i = 0; i < server->acceptor_count; i++) {
		if (accepting)
			ev_io_start(server->service.loop, &server->acceptors[i]);
		else
			ev_io_stop(server->service.loop, &server->acceptors[i]);
	}
}

static void pause_accepting(struct fetch_server *server)
{
	log_warning("fetch.listen: cannot accept a connection: %s", strerror(errno));
	set_accepting(server, false);
	ev_timer_again(server->service.loop, &server->pause);
}

static void on_pause_over(struct ev_loop *loop, ev_timer *timer, int events)
{
	struct fetch_server *server = timer->data;

	(void)events;
	ev_timer_stop(loop, timer);
	set_accepting(server, server->service.count < server->service.limits.max_connections);
}

static void on_connection(struct ev_loop *loop, ev_io *watcher, int events)
{
	struct fetch_server *server = watcher->data;

	(void)loop;
	(void)events;
	for (int i = 0; i < ACCEPTS_PER_TURN && server->accepting; i++) {
		struct address peer = {.len = sizeof(peer.storage)};
		int fd =
			accept4(watcher->fd, (struct sockaddr *)&peer.storage, &peer.len, SOCK_NONBLOCK | SOCK_CLOEXEC);

		if (fd < 0) {
			if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM)
				pause_accepting(server);
			/* Else another worker was faster, or the peer has gone again. */
			return;
		}
		if (fetch_connection_open(&server->service, fd, &peer) < 0)
			log_error("fetch.listen: a connection was dropped: out of memory");
		if (server->service.count >= server->service.limits.max_connections)
			set_accepting(server, false);
	}
}

static bool is_at_work(const struct fetch_server *server)
{
	return server->service.count || (server->service.clones && clone_set_count(server->service.clones));
}

static void on_clone_ended(void *context)
{
	struct fetch_server *server = context;

	if (server->closing && !is_at_work(server))
		server->idle(server->context);
}

static void on_connection_closed(void *context)
{
	struct fetch_server *server = context;

	if (server->closing) {
		if (!is_at_work(server))
			server->idle(server->context);
	} else if (!ev_is_active(&server->pause)) {
		set_accepting(server, true);
	}
}

static void on_notice_over(struct ev_loop *loop, ev_timer *timer, int events)
{
	struct fetch_server *server = timer->data;

	(void)loop;
	(void)events;
	set_accepting(server, false);
	if (!is_at_work(server)) {
		server->closing = true;
		server->idle(server->context);
		return;
	}
	/* The last connection to close calls idle(). */
	server->closing = true;
	fetch_connections_close(&server->service, false);
}

/* Makes what the server has besides connections. Returns false when memory is exhausted. */
static bool open_sources(struct fetch_server *server)
{
	struct fetch_service *service = &server->service;

	if (service->content->origin) {
		service->origin = http_source_new(service->loop, service->content->origin);
		if (!service->origin)
			return false;
	}
	if (service->direct) {
		service->clones = clone_set_new(service->loop, service->direct, service->limits.max_connections,
						on_clone_ended, server);
		if (!service->clones)
			return false;
	}
	return true;
}

struct fetch_server *fetch_server_start(const struct fetch_service *service, const int *listeners, size_t count,
					void (*idle)(void *context), void *context)
{
	struct fetch_server *server = calloc(1, sizeof(*server));

	if (!server)
		return NULL;
	server->service = *service;
	server->acceptors = calloc(count, sizeof(*server->acceptors));
	if (!server->acceptors || !open_sources(server)) {
		http_source_free(server->service.origin);
		free(server->acceptors);
		free(server);
		return NULL;
	}
	fetch_content_hold(service->content);
	server->service.closed = on_connection_closed;
	server->service.context = server;
	server->idle = idle;
	server->context = context;
	server->acceptor_count = count;
	for (size_t i = 0; i < count; i++) {
		ev_io_init(&server->acceptors[i], on_connection, listeners[i], EV_READ);
		server->acceptors[i].data = server;
	}
	ev_init(&server->pause, on_pause_over);
	server->pause.repeat = ACCEPT_PAUSE_S;
	server->pause.data = server;
	ev_timer_init(&server->notice, on_notice_over, service->limits.ticket_wait, 0.);
	server->notice.data = server;
	ticket_mailbox_open(&server->service.mailbox, service->tickets, service->loop);
	set_accepting(server, true);
	return server;
}

void fetch_server_change(struct fetch_server *server, const struct fetch_limits *limits,
			 const struct fetch_content *content)
{
	struct fetch_service *service = &server->service;
	const double ticket_wait = service->limits.ticket_wait;

	fetch_content_hold(content);
	if (service->origin)
		http_source_change(service->origin, content->origin);
	fetch_content_drop(service->content);
	service->content = content;
	service->limits = *limits;
	service->limits.ticket_wait = ticket_wait;
	if (!ev_is_active(&server->pause))
		set_accepting(server, service->count < limits->max_connections);
}

void fetch_server_drain(struct fetch_server *server)
{
	if (!server->closing && !ev_is_active(&server->notice))
		ev_timer_start(server->service.loop, &server->notice);
}

static void nothing_follows(void *context)
{
	(void)context;
}

void fetch_server_stop(struct fetch_server *server)
{
	set_accepting(server, false);
	server->closing = true;
	server->idle = nothing_follows;
	ev_timer_stop(server->service.loop, &server->pause);
	ev_timer_stop(server->service.loop, &server->notice);
	fetch_connections_close(&server->service, true);
	/* Before the origin, whose answers may be their bodies. */
	clone_set_free(server->service.clones);
	http_source_free(server->service.origin);
	ticket_mailbox_close(&server->service.mailbox);
	fetch_content_drop(server->service.content);
	free(server->acceptors);
	free(server);
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Handoff server: the agent's end of the handoff socket (doc/direct-path.md), one connection for each thread of
 * HAProxy. A connection that sends something malformed, or does not read its answers, is closed. */
#ifndef DISC_HANDOFF_SERVER_H
#define DISC_HANDOFF_SERVER_H

#include <ev.h>
#include <stdbool.h>

#include "address.h"
#include "handoff_message.h"
#include "listener.h"

struct handoff_server;
struct handoff_connection;

struct handoff_server_events {
	/* PARKED came, with the client's TCP socket <fd>, which is the receiver's; -1: this process had no descriptor
	 * free for it. Returns NULL, or why <connection> must be closed. */
	const char *(*parked)(void *context, struct handoff_connection *connection,
			      const struct handoff_message *message, int fd);
	/* ABANDON came. */
	void (*abandon)(void *context, struct handoff_connection *connection, uint64_t handoff);
	/* RECALL came: all handoffs of <connection>. */
	void (*recall)(void *context, struct handoff_connection *connection);
	/* <connection> is closed and will be freed when this returns: its handoffs are abandoned. */
	void (*closed)(void *context, struct handoff_connection *connection);
};

/* Listens on the UNIX socket <address>, whose file gets <owner>. Returns the server, or NULL after a log line. */
struct handoff_server *handoff_server_new(struct ev_loop *loop, const struct address *address,
					  const struct listener_owner *owner,
					  const struct handoff_server_events *events, void *context);

/* Accepts no more; connections go on. */
void handoff_server_drain(struct handoff_server *server);

/* Closes all connections without calling closed(), and frees <server>, which may be NULL. */
void handoff_server_free(struct handoff_server *server);

/* Sends <message>, now or when HAProxy reads; PROGRESS is left out if it does not. */
void handoff_connection_send(struct handoff_connection *connection, const struct handoff_message *message);

/* Lets HAProxy know that the connection of handoff <number>, parked at <place>, may be another one from now on. It reads
 * that when <connection> closes, also because this process ended a moment later. */
void handoff_connection_take(struct handoff_connection *connection, uint32_t place, uint64_t number);

#endif

/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Lending server: the agent's end of the lending socket (doc/direct-path.md), one connection for each thread of
 * HAProxy. Whoever sends something malformed, or does not read its answers, is closed.
 */
#ifndef DISC_LENDING_SERVER_H
#define DISC_LENDING_SERVER_H

#include <ev.h>
#include <stdbool.h>

#include "address.h"
#include "lending_message.h"
#include "spop_listener.h"

struct lending_server;
struct lending_connection;

struct lending_events {
	/* LEND came, with the TCP socket <fd>, which is the receiver's; -1: this process had no descriptor free for it,
	 * HAProxy has it still. Returns NULL, or why the connection must be closed. */
	const char *(*lend)(void *context, struct lending_connection *connection, const struct lending_message *message,
			    int fd);
	/* ABANDON came. */
	void (*abandon)(void *context, struct lending_connection *connection, uint64_t loan);
	/* RECALL came: all loans of <connection>. */
	void (*recall)(void *context, struct lending_connection *connection);
	/* <connection> is closed and will be freed when this returns: its loans are abandoned. */
	void (*closed)(void *context, struct lending_connection *connection);
};

/* Listens on the UNIX socket <address>, whose file gets <owner>. Returns the server, or NULL after a log line. */
struct lending_server *lending_server_new(struct ev_loop *loop, const struct address *address,
					  const struct spop_socket_owner *owner, const struct lending_events *events,
					  void *context);

/* Accepts no more; connections go on. */
void lending_server_drain(struct lending_server *server);

/* Closes all connections without calling closed(), and frees <server>, which may be NULL. */
void lending_server_free(struct lending_server *server);

/* Sends <message>, now or when HAProxy reads; PROGRESS is left out if it does not. */
void lending_send(struct lending_connection *connection, const struct lending_message *message);

/* Sends <message> now. Returns whether HAProxy will read it whatever becomes of this process; false if it does not read
 * what was sent before, or is gone: nothing was sent. */
bool lending_send_now(struct lending_connection *connection, const struct lending_message *message);

#endif

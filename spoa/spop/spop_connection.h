/* SPDX-License-Identifier: GPL-2.0-or-later */
/* SPOP connection: one connection from HAProxy, from its HELLO to its end. Its buffers are bounded: when HAProxy does
 * not read its answers, the connection does not read its frames.
 *
 *   GREETING --(HELLO)--> RUNNING --(DISCONNECT, fault, drain)--> CLOSING --(last byte sent)--> LINGERING --> closed
 *      |                     |                                       ^
 *      +--(health check, fault)--------------------------------------+      any state --(EOF, I/O error)--> closed
 *
 * LINGERING discards what still comes until HAProxy closes: closing at once would reset the connection, and HAProxy
 * would lose the DISCONNECT that says why.
 */
#ifndef DISC_SPOP_CONNECTION_H
#define DISC_SPOP_CONNECTION_H

#include <ev.h>
#include <stdbool.h>

#include "log_limit.h"
#include "spoa_metrics.h"
#include "spop_frame.h"

#define SPOP_ACK_MAX 1024u /* bytes of one ACK with its prefix */
#define SPOP_HELLO_S 5.0   /* a connection without HELLO for this long is closed */
#define SPOP_STALL_S 10.0  /* so is one whose frame does not arrive whole, or that does not read its answers */
#define SPOP_LINGER_S 1.0

struct spop_connection;

/* What all connections of a worker share. */
struct spop_environment {
	struct ev_loop *loop;
	uint32_t max_frame_size;
	struct spoa_metrics *metrics;
	/* Answers one NOTIFY with variables in <ack>. Returns SPOP_STATUS_NORMAL, or the status to disconnect with. */
	enum spop_status (*notify)(void *context, const struct spop_frame *notify, struct spop_writer *ack);
	/* <owner>'s connection is closed and will be freed when this returns. */
	void (*closed)(void *owner);
	void *context;
	struct log_limit faults; /* lines about connections that were closed for a fault */
};

/* Serves the non-blocking socket <fd>, of which it takes ownership in every case. <owner> is what <closed> gets; <peer>
 * is copied, for logs. Returns the connection, or NULL when memory is exhausted (then <closed> is not called). */
struct spop_connection *spop_connection_new(struct spop_environment *environment, void *owner, int fd,
					    const char *peer);

/* Takes and answers what HAProxy has sent already, then says AGENT-DISCONNECT with <status> and <message> and closes
 * when that is sent. May close the connection before it returns. */
void spop_connection_end(struct spop_connection *connection, enum spop_status status, const char *message);

/* Closes the connection at once; <closed> is called before this returns. */
void spop_connection_abort(struct spop_connection *connection);

#endif

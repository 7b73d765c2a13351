/* SPDX-License-Identifier: GPL-2.0-or-later */
/* SPOP server: one worker's share of the listeners and its connections. */
#ifndef DISC_SPOP_SERVER_H
#define DISC_SPOP_SERVER_H

#include <ev.h>
#include <stdatomic.h>
#include <stddef.h>

#include "listener.h"
#include "spoa_metrics.h"
#include "spop_frame.h"

struct spop_server;

/* What all workers share. */
struct spop_shared {
	struct listener *listeners;
	size_t listener_count;
	uint32_t max_frame_size;
	_Atomic unsigned max_connections; /* of the whole process */
	_Atomic unsigned connections;
	struct spoa_metrics *metrics;
};

struct spop_service {
	/* Answers one NOTIFY with variables in <ack>. Returns SPOP_STATUS_NORMAL, or the status to disconnect with. */
	enum spop_status (*notify)(void *context, const struct spop_frame *notify, struct spop_writer *ack);
	/* Called when the last connection of a server that drains is closed. */
	void (*drained)(void *context);
	void *context;
};

/* Accepts on the shared listeners from <loop>. <shared> and <service> must outlive the server. Returns it, or NULL when
 * memory is exhausted. */
struct spop_server *spop_server_new(struct ev_loop *loop, struct spop_shared *shared,
				    const struct spop_service *service);

/* Leaves the listeners, answers what has come and sends AGENT-DISCONNECT on all connections. */
void spop_server_drain(struct spop_server *server);

size_t spop_server_connections(const struct spop_server *server);

/* Closes all connections at once and frees <server>, which may be NULL. */
void spop_server_free(struct spop_server *server);

#endif

/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Control server: the node's side of the control channels (doc/protocol.md, section 2). Takes offers from agents,
 * answers their pings, tells them how offloads ended. Runs on a loop of its own, where no file is ever read: a node
 * whose disks are slow is not a dead one. */
#ifndef DISC_CONTROL_SERVER_H
#define DISC_CONTROL_SERVER_H

#include <ev.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "channel.h"
#include "direct_service.h"
#include "result_queue.h"
#include "ticket_table.h"

struct control_server;

struct control_settings {
	struct channel_tls *tls;
	const char *const *agents; /* names of agents to accept, NULL-terminated */
	const char *node_name;     /* for the agents' logs */
	struct ticket_table *tickets;
	struct result_queue *results;
	const _Atomic bool *draining;  /* sent in every pong */
	struct direct_service *direct; /* NULL: this node has no direct path */
};

/* Begins to accept agents on the listening socket <listener>, which stays the caller's. <settings> and what it points
 * to outlive the server. Returns it, or NULL when memory is exhausted. */
struct control_server *control_server_start(struct ev_loop *loop, int listener,
					    const struct control_settings *settings);

/* Tells the agents the last results, closes their channels and frees <server>. */
void control_server_stop(struct control_server *server);

#endif

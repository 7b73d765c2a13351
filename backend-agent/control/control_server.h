/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Control server: the node's side of the control channels (doc/protocol.md, section 2). Takes offers from agents,
 * answers their pings, tells them how offloads ended. The one that accepts runs on a loop of its own, where no file is ever
 * read: a node whose disks are slow is not a dead one. Each worker has one more for the channels of its lane
 * (control_lanes.h), if there is a direct path. */
#ifndef DISC_CONTROL_SERVER_H
#define DISC_CONTROL_SERVER_H

#include <ev.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "channel.h"
#include "control_lanes.h"
#include "direct_service.h"
#include "result_queue.h"
#include "ticket_table.h"

struct control_server;

/* By what agents are accepted. */
struct control_credentials {
	struct channel_tls *tls;
	const char *const *agents; /* names of agents to accept, NULL-terminated */
	/* One user more, and one less, who may be the last; NULL: they stay for as long as the program. */
	void (*hold)(void *owner);
	void (*drop)(void *owner);
	void *owner;
};

struct control_settings {
	struct control_credentials credentials; /* at first */
	const char *node_name;                  /* for the agents' logs */
	struct ticket_table *tickets;
	struct result_queue *results;
	const _Atomic bool *draining;  /* sent in every pong */
	struct direct_service *direct; /* NULL: this node has no direct path */
	struct control_lanes *lanes;   /* NULL: agents have one channel only */
};

/* Begins to accept agents on the listening socket <listener>, which stays the caller's. <settings> and what it points
 * to outlive the server. Returns it, or NULL when memory is exhausted. */
struct control_server *control_server_start(struct ev_loop *loop, int listener,
					    const struct control_settings *settings);

/* Accepts agents by <credentials>, which are copied and held, from now on. Channels of agents that are not named any more are
 * closed, the others go on. */
void control_server_change(struct control_server *server, const struct control_credentials *credentials);

/* The same for the worker of lane <lane>, to which settings->lanes brings channels. <credentials>, in place of those of
 * <settings>, are copied and held. */
struct control_server *control_server_start_lane(struct ev_loop *loop, unsigned lane,
						 const struct control_settings *settings,
						 const struct control_credentials *credentials);

/* Tells the agents the last results, closes their channels and frees <server>. */
void control_server_stop(struct control_server *server);

#endif

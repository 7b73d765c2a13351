/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Late release: Release is not urgent, since a clone whose client has acknowledged all says nothing. So it leaves with the
 * next message to its node, in the same record, or after some milliseconds. */
#ifndef DISC_LATE_RELEASE_H
#define DISC_LATE_RELEASE_H

#include <ev.h>

#include "node_pool.h"
#include "ticket.h"

#define LATE_RELEASE_MAX 32 /* tickets of one node that wait */

struct late_release {
	struct ev_loop *loop;
	/* Sends Release of <ticket> to the node with that index. */
	void (*send)(void *context, size_t node, const struct ticket *ticket);
	void *context;
	ev_timer due;
	struct late_release_list {
		unsigned count;
		struct ticket tickets[LATE_RELEASE_MAX];
	} nodes[NODE_MAX];
};

/* <late> is all zero but loop, send and context, and stays where it is. */
void late_release_open(struct late_release *late);

/* What waits is not sent any more. */
void late_release_close(struct late_release *late);

/* Releases <ticket> at the node with that index, soon. */
void late_release_add(struct late_release *late, size_t node, const struct ticket *ticket);

/* Something else is about to be sent to that node. */
void late_release_flush(struct late_release *late, size_t node);

/* That node's channel is closed, with which its clones have ended. */
void late_release_forget(struct late_release *late, size_t node);

#endif

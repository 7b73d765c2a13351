/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Agent outbox: messages of the direct path, from the threads that hold clones to the loops that hold the control
 * channels, each of which has a box (control_lanes.h). Those of one channel arrive in the order in which they were posted. What a channel does not take now waits
 * here. Callers whose data volume a client controls must check agent_outbox_has_room() first. */
#ifndef DISC_AGENT_OUTBOX_H
#define DISC_AGENT_OUTBOX_H

#include <ev.h>
#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "control.h"

#define AGENT_OUTBOX_ROOM (256u * 1024) /* bytes of one channel that may wait before there is no room */

enum agent_outbox_status {
	AGENT_OUTBOX_TAKEN, /* it is queued on its channel, or the channel is gone: the message is done with */
	AGENT_OUTBOX_LATER, /* the channel is full: this message, and all behind it for this channel, wait */
};

struct agent_outbox {
	pthread_mutex_t lock;
	struct agent_letter *letters;   /* private: oldest first */
	struct agent_account *accounts; /* private: bytes that wait, by channel */
	struct ev_loop *loop;           /* NULL: nobody delivers */
	ev_async wake;
	struct agent_outbox *lanes; /* the boxes of other loops, by lane from 1; NULL: there are none */
	unsigned lane_count;
	enum agent_outbox_status (*deliver)(void *context, uint64_t channel, const uint8_t *bytes, size_t len);
	void *context;
};

/* Makes <outbox> empty, without a receiver, with boxes for <lanes> more loops. Returns 0, or -1 with errno set. */
int agent_outbox_init(struct agent_outbox *outbox, unsigned lanes);
void agent_outbox_destroy(struct agent_outbox *outbox);

/* The box of the loop that holds the control channel numbered <channel>. */
struct agent_outbox *agent_outbox_of(struct agent_outbox *outbox, uint64_t channel);

/* Of one box, as the three that follow: from now on <deliver> is called on <loop>, in whose thread this is called, with each encoded message. */
void agent_outbox_attach(struct agent_outbox *outbox, struct ev_loop *loop,
			 enum agent_outbox_status (*deliver)(void *context, uint64_t channel, const uint8_t *bytes,
							     size_t len),
			 void *context);

/* Delivers what the channels still take, then ends it. */
void agent_outbox_detach(struct agent_outbox *outbox);

/* Tries again what had to wait; to be called a few times a second in the receiver's thread. */
void agent_outbox_retry(struct agent_outbox *outbox);

/* Encodes <message> and posts it to the channel numbered <channel>, from any thread. Returns 0, or -1 if memory is
 * exhausted or it cannot be encoded (logged). */
int agent_outbox_post(struct agent_outbox *outbox, uint64_t channel, const struct control_message *message);

/* True if less than AGENT_OUTBOX_ROOM bytes wait for <channel>. From any thread. */
bool agent_outbox_has_room(struct agent_outbox *outbox, uint64_t channel);

#endif

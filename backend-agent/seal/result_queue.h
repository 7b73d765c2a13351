/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Result queue: how offloads ended, from the threads that served them to the loops that hold the control channels, each of
 * which has a queue (channel_number.h).
 *
 * A body that went well is reported within RESULT_DELAY_S, or with what is sent anyway, together with others: that spares both sides a wake-up for each.
 * What went wrong is reported at once, with all that waits. */
#ifndef DISC_RESULT_QUEUE_H
#define DISC_RESULT_QUEUE_H

#include <ev.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "control.h"
#include "ticket.h"

#define RESULT_DELAY_S 0.02
#define RESULT_DIRECT_DELAY_S 0.005 /* of the direct path: an agent that drains waits for it */

struct offload_result {
	struct ticket ticket;
	uint64_t channel; /* number of the control channel that the offer came on */
	enum control_outcome outcome;
	uint64_t records, bytes;     /* sealed: records, and bytes of plaintext */
	const char *reason;          /* static text; "" for CONTROL_OUTCOME_SEALED */
	bool changed;                /* the object was written while it was sent */
	bool direct;                 /* it is reported within RESULT_DIRECT_DELAY_S */
	struct offload_result *next; /* private */
};

struct result_queue {
	pthread_mutex_t lock;
	struct offload_result *head, **tail;
	bool urgent;          /* one of them tells of a failure */
	bool soon;            /* one of them is of the direct path */
	struct ev_loop *loop; /* NULL: nobody receives */
	ev_async wake;
	ev_timer delay;
	struct result_queue *lanes; /* the queues of other loops, by lane from 1; NULL: there are none */
	unsigned lane_count;
	void (*receive)(void *context, const struct offload_result *result);
	void *context;
};

/* Makes <queue> empty, without a receiver, with queues for <lanes> more loops. Returns 0, or -1 with errno set. */
int result_queue_init(struct result_queue *queue, unsigned lanes);
void result_queue_destroy(struct result_queue *queue);

/* The queue of the loop that holds the control channel numbered <channel>. */
struct result_queue *result_queue_of(struct result_queue *queue, uint64_t channel);

/* Of one queue, as the two that follow: from now on <receive> is called on <loop>, in whose thread this is called, for each result in order, when
 * it is due. */
void result_queue_attach(struct result_queue *queue, struct ev_loop *loop,
			 void (*receive)(void *context, const struct offload_result *result), void *context);

/* Hands what is left to the receiver, then ends it; results pushed afterwards stay until the queue is destroyed. */
void result_queue_detach(struct result_queue *queue);

/* Hands what waits to the receiver, in whose thread this is called: something else is sent now anyway. */
void result_queue_flush(struct result_queue *queue);

/* Adds a copy of <result>, from any thread. When memory is exhausted the result is lost, with a line in the log: it
 * only informs the agent. */
void result_queue_push(struct result_queue *queue, const struct offload_result *result);

#endif

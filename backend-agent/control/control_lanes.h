/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Control lanes: bring a control channel to the worker whose clones it is for, so that orders and answers need no other thread. An
 * agent's first channel stays on the control loop, which reads no files: there it is asked whether the node lives.
 *
 *   control loop: Hello with a lane --control_lanes_give()--> [arrivals of that lane] --wake--> the worker's loop
 */
#ifndef DISC_CONTROL_LANES_H
#define DISC_CONTROL_LANES_H

#include <ev.h>
#include <pthread.h>

struct control_arrival {
	struct control_arrival *next;
};

/* Where a worker gets its channels. Set loop, arrived and context before control_lane_open(). */
struct control_lane {
	struct ev_loop *loop;
	/* Called on the loop; the arrival is the callee's. */
	void (*arrived)(void *context, struct control_arrival *arrival);
	void *context;
	struct control_arrival *arrivals; /* private */
	ev_async wake;                    /* private */
};

struct control_lanes {
	pthread_mutex_t lock;
	struct control_lane **lanes; /* by number from 1; NULL: its worker does not run */
	unsigned count;
};

/* Makes <count> lanes without workers. Returns 0, or -1 with errno set. */
int control_lanes_init(struct control_lanes *lanes, unsigned count);
void control_lanes_destroy(struct control_lanes *lanes);

/* Begins to receive at <lane>, the <number>-th; both in the thread of its loop. What has arrived and was not received is
 * received at the end. */
void control_lane_open(struct control_lanes *lanes, struct control_lane *lane, unsigned number);
void control_lane_close(struct control_lanes *lanes, unsigned number);

/* Gives <arrival> to the <number>-th lane, from any thread. Returns 0, or -1 if there is no such lane, or its worker does not run. */
int control_lanes_give(struct control_lanes *lanes, unsigned number, struct control_arrival *arrival);

#endif

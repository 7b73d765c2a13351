/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "control_lanes.h"

#include <assert.h>
#include <errno.h>
#include <stddef.h>
#include <stdlib.h>

int control_lanes_init(struct control_lanes *lanes, unsigned count)
{
	int error;

	lanes->count = count;
	lanes->lanes = calloc(count + 1, sizeof(struct control_lane *));
	if (!lanes->lanes) {
		errno = ENOMEM;
		return -1;
	}
	error = pthread_mutex_init(&lanes->lock, NULL);
	if (error) {
		free(lanes->lanes);
		errno = error;
		return -1;
	}
	return 0;
}

void control_lanes_destroy(struct control_lanes *lanes)
{
	pthread_mutex_destroy(&lanes->lock);
	free(lanes->lanes);
}

static void receive(struct control_lane *lane, struct control_arrival *arrival)
{
	while (arrival) {
		struct control_arrival *next = arrival->next;

		lane->arrived(lane->context, arrival);
		arrival = next;
	}
}

static struct control_arrival *take_all(struct control_lanes *lanes, struct control_lane *lane)
{
	struct control_arrival *arrivals;

	pthread_mutex_lock(&lanes->lock);
	arrivals = lane->arrivals;
	lane->arrivals = NULL;
	pthread_mutex_unlock(&lanes->lock);
	return arrivals;
}

static void on_wake(struct ev_loop *loop, ev_async *wake, int events)
{
	struct control_lane *lane = (struct control_lane *)((char *)wake - offsetof(struct control_lane, wake));

	(void)loop;
	(void)events;
	receive(lane, take_all(wake->data, lane));
}

void control_lane_open(struct control_lanes *lanes, struct control_lane *lane, unsigned number)
{
	assert(number && number <= lanes->count && !lanes->lanes[number]);
	lane->arrivals = NULL;
	ev_async_init(&lane->wake, on_wake);
	lane->wake.data = lanes;
	ev_async_start(lane->loop, &lane->wake);
	pthread_mutex_lock(&lanes->lock);
	lanes->lanes[number] = lane;
	pthread_mutex_unlock(&lanes->lock);
}

void control_lane_close(struct control_lanes *lanes, unsigned number)
{
	struct control_lane *lane = lanes->lanes[number];

	pthread_mutex_lock(&lanes->lock);
	lanes->lanes[number] = NULL;
	pthread_mutex_unlock(&lanes->lock);
	ev_async_stop(lane->loop, &lane->wake);
	receive(lane, take_all(lanes, lane));
}

int control_lanes_give(struct control_lanes *lanes, unsigned number, struct control_arrival *arrival)
{
	struct control_lane *lane;

	if (!number || number > lanes->count)
		return -1;
	pthread_mutex_lock(&lanes->lock);
	lane = lanes->lanes[number];
	if (lane) {
		arrival->next = lane->arrivals;
		lane->arrivals = arrival;
		/* Under the lock, so that the loop cannot go away meanwhile. */
		ev_async_send(lane->loop, &lane->wake);
	}
	pthread_mutex_unlock(&lanes->lock);
	return lane ? 0 : -1;
}

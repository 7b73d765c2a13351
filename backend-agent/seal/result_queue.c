/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "result_queue.h"

#include <errno.h>
#include <stdlib.h>

#include "channel_number.h"
#include "log.h"

static int init_one(struct result_queue *queue)
{
	int error = pthread_mutex_init(&queue->lock, NULL);

	if (error != 0) {
		errno = error;
		return -1;
	}
	queue->head = NULL;
	queue->tail = &queue->head;
	queue->urgent = queue->soon = false;
	queue->loop = NULL;
	queue->lanes = NULL;
	queue->lane_count = 0;
	return 0;
}

int result_queue_init(struct result_queue *queue, unsigned lanes)
{
	if (init_one(queue) < 0)
		return -1;
	queue->lanes = lanes ? calloc(lanes, sizeof(*queue->lanes)) : NULL;
	while (queue->lanes && queue->lane_count < lanes && init_one(&queue->lanes[queue->lane_count]) == 0)
		queue->lane_count++;
	if (queue->lane_count == lanes)
		return 0;
	result_queue_destroy(queue);
	errno = ENOMEM;
	return -1;
}

struct result_queue *result_queue_of(struct result_queue *queue, uint64_t channel)
{
	unsigned lane = channel_number_lane(channel);

	return lane && lane <= queue->lane_count ? &queue->lanes[lane - 1] : queue;
}

static struct offload_result *take_all(struct result_queue *queue)
{
	struct offload_result *list;

	pthread_mutex_lock(&queue->lock);
	list = queue->head;
	queue->head = NULL;
	queue->tail = &queue->head;
	queue->urgent = queue->soon = false;
	pthread_mutex_unlock(&queue->lock);
	return list;
}

void result_queue_destroy(struct result_queue *queue)
{
	struct offload_result *result = take_all(queue);

	while (result) {
		struct offload_result *next = result->next;

		free(result);
		result = next;
	}
	pthread_mutex_destroy(&queue->lock);
	while (queue->lane_count)
		result_queue_destroy(&queue->lanes[--queue->lane_count]);
	free(queue->lanes);
}

static void deliver(struct result_queue *queue)
{
	struct offload_result *result = take_all(queue);

	while (result) {
		struct offload_result *next = result->next;

		queue->receive(queue->context, result);
		free(result);
		result = next;
	}
}

void result_queue_flush(struct result_queue *queue)
{
	ev_timer_stop(queue->loop, &queue->delay);
	deliver(queue);
}

static void on_delay(struct ev_loop *loop, ev_timer *delay, int events)
{
	(void)loop;
	(void)events;
	deliver(delay->data);
}

static void on_wake(struct ev_loop *loop, ev_async *wake, int events)
{
	struct result_queue *queue = wake->data;
	bool urgent, waiting;
	double delay;

	(void)events;
	pthread_mutex_lock(&queue->lock);
	urgent = queue->urgent;
	waiting = queue->head != NULL;
	delay = queue->soon ? RESULT_DIRECT_DELAY_S : RESULT_DELAY_S;
	pthread_mutex_unlock(&queue->lock);
	if (urgent) {
		ev_timer_stop(loop, &queue->delay);
		deliver(queue);
	} else if (waiting && (!ev_is_active(&queue->delay) || ev_timer_remaining(loop, &queue->delay) > delay)) {
		ev_timer_stop(loop, &queue->delay);
		ev_timer_set(&queue->delay, delay, 0.);
		ev_timer_start(loop, &queue->delay);
	}
}

void result_queue_attach(struct result_queue *queue, struct ev_loop *loop,
			 void (*receive)(void *context, const struct offload_result *result), void *context)
{
	queue->receive = receive;
	queue->context = context;
	ev_async_init(&queue->wake, on_wake);
	ev_init(&queue->delay, on_delay);
	queue->wake.data = queue->delay.data = queue;
	ev_async_start(loop, &queue->wake);
	pthread_mutex_lock(&queue->lock);
	queue->loop = loop;
	pthread_mutex_unlock(&queue->lock);
	deliver(queue);
}

void result_queue_detach(struct result_queue *queue)
{
	struct ev_loop *loop = queue->loop;

	deliver(queue);
	pthread_mutex_lock(&queue->lock);
	queue->loop = NULL;
	pthread_mutex_unlock(&queue->lock);
	ev_async_stop(loop, &queue->wake);
	ev_timer_stop(loop, &queue->delay);
}

void result_queue_push(struct result_queue *queue, const struct offload_result *result)
{
	struct offload_result *copy = malloc(sizeof(*copy));
	bool wake, failed = result->outcome != CONTROL_OUTCOME_SEALED;

	if (!copy) {
		log_error("out of memory: the result of an offload is not sent to its agent");
		return;
	}
	*copy = *result;
	copy->next = NULL;
	queue = result_queue_of(queue, result->channel);
	pthread_mutex_lock(&queue->lock);
	wake = failed || !queue->head || (result->direct && !queue->soon);
	*queue->tail = copy;
	queue->tail = &copy->next;
	queue->urgent = queue->urgent || failed;
	queue->soon = queue->soon || result->direct;
	/* Under the lock, so that the loop cannot go away between the look and the call. */
	if (queue->loop && wake)
		ev_async_send(queue->loop, &queue->wake);
	pthread_mutex_unlock(&queue->lock);
}

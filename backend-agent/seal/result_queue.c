/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "result_queue.h"

#include <errno.h>
#include <stdlib.h>

#include "log.h"

int result_queue_init(struct result_queue *queue)
{
	int error = pthread_mutex_init(&queue->lock, NULL);

	if (error != 0) {
		errno = error;
		return -1;
	}
	queue->head = NULL;
	queue->tail = &queue->head;
	queue->urgent = false;
	queue->loop = NULL;
	return 0;
}

static struct offload_result *take_all(struct result_queue *queue)
{
	struct offload_result *list;

	pthread_mutex_lock(&queue->lock);
	list = queue->head;
	queue->head = NULL;
	queue->tail = &queue->head;
	queue->urgent = false;
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

static void on_delay(struct ev_loop *loop, ev_timer *delay, int events)
{
	(void)loop;
	(void)events;
	deliver(delay->data);
}

static void on_wake(struct ev_loop *loop, ev_async *wake, int events)
{
	struct result_queue *queue = wake->data;
	bool urgent;

	(void)events;
	pthread_mutex_lock(&queue->lock);
	urgent = queue->urgent;
	pthread_mutex_unlock(&queue->lock);
	if (urgent) {
		ev_timer_stop(loop, &queue->delay);
		deliver(queue);
	} else if (!ev_is_active(&queue->delay)) {
		ev_timer_set(&queue->delay, RESULT_DELAY_S, 0.);
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
	bool first, failed = result->outcome != CONTROL_OUTCOME_SEALED;

	if (!copy) {
		log_error("out of memory: the result of an offload is not sent to its agent");
		return;
	}
	*copy = *result;
	copy->next = NULL;
	pthread_mutex_lock(&queue->lock);
	first = !queue->head;
	*queue->tail = copy;
	queue->tail = &copy->next;
	queue->urgent = queue->urgent || failed;
	/* Under the lock, so that the loop cannot go away between the look and the call. */
	if (queue->loop && (first || failed))
		ev_async_send(queue->loop, &queue->wake);
	pthread_mutex_unlock(&queue->lock);
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Byte queue: what waits to be sent on a channel. It may hold key material, so bytes are wiped when they leave it, also
 * when it moves to a larger buffer. */
#ifndef DISC_BYTE_QUEUE_H
#define DISC_BYTE_QUEUE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Empty when all zero. */
struct byte_queue {
	uint8_t *bytes;
	size_t head, tail; /* filled part: bytes[head, tail) */
	size_t size;       /* bytes allocated */
};

static inline size_t byte_queue_length(const struct byte_queue *queue)
{
	return queue->tail - queue->head;
}

static inline const uint8_t *byte_queue_head(const struct byte_queue *queue)
{
	return queue->bytes + queue->head;
}

/* Makes room for <len> further bytes. Returns false when memory is exhausted; the queue is as it was then. */
bool byte_queue_reserve(struct byte_queue *queue, size_t len);

/* Appends <len> bytes, for which room was reserved. */
void byte_queue_append(struct byte_queue *queue, const void *bytes, size_t len);

/* Removes and wipes the first <len> bytes, which the queue has. */
void byte_queue_consume(struct byte_queue *queue, size_t len);

/* Wipes and frees everything; the queue is empty then. */
void byte_queue_clear(struct byte_queue *queue);

#endif

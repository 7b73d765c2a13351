/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "byte_queue.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "secret.h"

#define SIZE_MIN_BYTES 4096u

/* Moves the filled part to the front and wipes where it stood. */
static void compact(struct byte_queue *queue)
{
	size_t len = byte_queue_length(queue);

	if (queue->head == 0)
		return;
	memmove(queue->bytes, queue->bytes + queue->head, len);
	secret_wipe(queue->bytes + len, queue->tail - len);
	queue->head = 0;
	queue->tail = len;
}

bool byte_queue_reserve(struct byte_queue *queue, size_t len)
{
	size_t filled = byte_queue_length(queue), size = queue->size ? queue->size : SIZE_MIN_BYTES;
	uint8_t *bytes;

	if (len <= queue->size - queue->tail)
		return true;
	if (len > SIZE_MAX / 4 || filled > SIZE_MAX / 4)
		return false;
	/* Moving pays only if it frees at least as much as it moves; else many small appends would move the rest each
	 * time. */
	if (len + filled <= queue->size && queue->head >= filled) {
		compact(queue);
		return true;
	}
	while (size < filled + len)
		size *= 2;
	/* realloc() would leave an old copy behind. */
	bytes = malloc(size);
	if (!bytes)
		return false;
	if (filled)
		memcpy(bytes, byte_queue_head(queue), filled);
	byte_queue_clear(queue);
	*queue = (struct byte_queue){.bytes = bytes, .tail = filled, .size = size};
	return true;
}

void byte_queue_append(struct byte_queue *queue, const void *bytes, size_t len)
{
	assert(len <= queue->size - queue->tail);
	if (!len)
		return;
	memcpy(queue->bytes + queue->tail, bytes, len);
	queue->tail += len;
}

void byte_queue_consume(struct byte_queue *queue, size_t len)
{
	assert(len <= byte_queue_length(queue));
	if (!len)
		return;
	secret_wipe(queue->bytes + queue->head, len);
	queue->head += len;
	if (queue->head == queue->tail)
		queue->head = queue->tail = 0;
}

void byte_queue_clear(struct byte_queue *queue)
{
	if (queue->bytes)
		secret_wipe(queue->bytes + queue->head, byte_queue_length(queue));
	free(queue->bytes);
	*queue = (struct byte_queue){0};
}

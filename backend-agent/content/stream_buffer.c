/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "stream_buffer.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

void stream_buffer_init(struct stream_buffer *buffer, size_t capacity)
{
	*buffer = (struct stream_buffer){.capacity = capacity};
}

void stream_buffer_release(struct stream_buffer *buffer)
{
	free(buffer->bytes);
	*buffer = (struct stream_buffer){.capacity = buffer->capacity};
}

bool stream_buffer_put(struct stream_buffer *buffer, const void *bytes, size_t len)
{
	size_t end, first;

	if (!buffer->bytes)
		buffer->bytes = malloc(buffer->capacity);
	if (!buffer->bytes || len > buffer->capacity - buffer->len)
		return false;
	end = (buffer->start + buffer->len) % buffer->capacity;
	first = len < buffer->capacity - end ? len : buffer->capacity - end;
	memcpy(buffer->bytes + end, bytes, first);
	memcpy(buffer->bytes, (const uint8_t *)bytes + first, len - first);
	buffer->len += len;
	return true;
}

void stream_buffer_take(struct stream_buffer *buffer, void *out, size_t len)
{
	size_t first;

	assert(len <= buffer->len);
	if (!len)
		return;
	first = len < buffer->capacity - buffer->start ? len : buffer->capacity - buffer->start;
	memcpy(out, buffer->bytes + buffer->start, first);
	memcpy((uint8_t *)out + first, buffer->bytes, len - first);
	buffer->start = (buffer->start + len) % buffer->capacity;
	buffer->len -= len;
}

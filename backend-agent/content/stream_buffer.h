/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Stream buffer: a ring of fixed capacity between an origin that sends and a client that takes. */
#ifndef DISC_STREAM_BUFFER_H
#define DISC_STREAM_BUFFER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct stream_buffer {
	uint8_t *bytes; /* allocated with the first byte */
	size_t capacity, start, len;
};

void stream_buffer_init(struct stream_buffer *buffer, size_t capacity);
void stream_buffer_release(struct stream_buffer *buffer);

/* Appends all <len> bytes. Returns false, and appends none, if there is no room or no memory. */
bool stream_buffer_put(struct stream_buffer *buffer, const void *bytes, size_t len);

/* Moves the first <len> bytes, which the buffer has, to <out>. */
void stream_buffer_take(struct stream_buffer *buffer, void *out, size_t len);

static inline size_t stream_buffer_length(const struct stream_buffer *buffer)
{
	return buffer->len;
}

#endif

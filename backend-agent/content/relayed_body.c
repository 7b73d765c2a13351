/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "relayed_body.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PAYLOAD_MAX 65536u
#define CHUNK_HEAD_MAX 16u /* hexadecimal length, CRLF, a terminating zero */
#define CHUNK_TAIL_MAX 8u  /* CRLF, then the last chunk */

struct relayed_body {
	struct body_source *source;
	bool chunked;
	bool ended;              /* the source was read to its end, and the last chunk made */
	size_t start, len, sent; /* the block is <len> bytes from <start> */
	uint8_t block[CHUNK_HEAD_MAX + PAYLOAD_MAX + CHUNK_TAIL_MAX];
};

struct relayed_body *relayed_body_new(struct body_source *source, bool chunked)
{
	struct relayed_body *body = malloc(sizeof(*body));

	if (!body)
		return NULL;
	body->source = source;
	body->chunked = chunked;
	body->ended = false;
	body->start = body->len = body->sent = 0;
	return body;
}

void relayed_body_free(struct relayed_body *body)
{
	if (!body)
		return;
	body_source_free(body->source);
	free(body);
}

static void set_block(struct relayed_body *body, size_t start, size_t len)
{
	body->start = start;
	body->len = len;
	body->sent = 0;
}

/* The <len> bytes that were read lie behind the room for the chunk's head, which is written to end there. */
static void frame_chunk(struct relayed_body *body, size_t len)
{
	char head[CHUNK_HEAD_MAX];
	int head_len = snprintf(head, sizeof(head), "%zx\r\n", len);

	assert(head_len > 0 && (size_t)head_len < sizeof(head));
	memcpy(body->block + CHUNK_HEAD_MAX - (size_t)head_len, head, (size_t)head_len);
	memcpy(body->block + CHUNK_HEAD_MAX + len, "\r\n", 2);
	set_block(body, CHUNK_HEAD_MAX - (size_t)head_len, (size_t)head_len + len + 2);
}

static enum relayed_body_status make_block(struct relayed_body *body)
{
	struct iovec piece = {.iov_base = body->block + CHUNK_HEAD_MAX};
	uint64_t ready = 0;

	switch (body_source_look(body->source, &ready)) {
	case BODY_SOURCE_READY:
		break;
	case BODY_SOURCE_WAITING:
		return RELAYED_BODY_WAITING;
	case BODY_SOURCE_END:
		body->ended = true;
		if (!body->chunked)
			return RELAYED_BODY_END;
		memcpy(body->block, "0\r\n\r\n", 5);
		set_block(body, 0, 5);
		return RELAYED_BODY_BLOCK;
	case BODY_SOURCE_CHANGED:
	case BODY_SOURCE_FAILED:
		return RELAYED_BODY_FAILED;
	}
	piece.iov_len = ready < PAYLOAD_MAX ? (size_t)ready : PAYLOAD_MAX;
	if (body_source_read(body->source, &piece, 1) != BODY_SOURCE_READY)
		return RELAYED_BODY_FAILED;
	if (body->chunked)
		frame_chunk(body, piece.iov_len);
	else
		set_block(body, CHUNK_HEAD_MAX, piece.iov_len);
	return RELAYED_BODY_BLOCK;
}

enum relayed_body_status relayed_body_next(struct relayed_body *body, const uint8_t **bytes, size_t *len)
{
	if (body->sent == body->len) {
		enum relayed_body_status status = body->ended ? RELAYED_BODY_END : make_block(body);

		if (status != RELAYED_BODY_BLOCK)
			return status;
	}
	*bytes = body->block + body->start + body->sent;
	*len = body->len - body->sent;
	return RELAYED_BODY_BLOCK;
}

void relayed_body_sent(struct relayed_body *body, size_t len)
{
	assert(len <= body->len - body->sent);
	body->sent += len;
}

const char *relayed_body_fault(const struct relayed_body *body)
{
	return body->source->fault ? body->source->fault : "the body could not be had";
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "file_body.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "file_window.h"

#define READ_PIECES_MAX 64u

struct file_body {
	struct body_source source; /* first */
	struct file_object object;
	uint64_t offset, left; /* of the next byte, and bytes still to read */
	struct file_window window;
};

static enum body_source_status look(struct body_source *source, uint64_t *bytes)
{
	*bytes = ((struct file_body *)source)->left;
	return *bytes ? BODY_SOURCE_READY : BODY_SOURCE_END;
}

static enum body_source_status fail(struct file_body *body, enum body_source_status status)
{
	body->source.fault =
		status == BODY_SOURCE_CHANGED ? "the file changed during the transfer" : "the file could not be read";
	return status;
}

/* Takes <got> bytes off the pieces from <*first> on. */
static void advance(struct iovec *left, unsigned *first, size_t got)
{
	while (got) {
		struct iovec *piece = &left[*first];
		size_t take = got < piece->iov_len ? got : piece->iov_len;

		piece->iov_base = (uint8_t *)piece->iov_base + take;
		piece->iov_len -= take;
		got -= take;
		if (!piece->iov_len)
			(*first)++;
	}
}

/* Reads the pieces in full, in one call as a rule. A file that ends before is one that changed. */
static enum body_source_status read_pieces(struct file_body *body, const struct iovec *pieces, unsigned count)
{
	struct iovec left[READ_PIECES_MAX];
	unsigned first = 0;

	memcpy(left, pieces, count * sizeof(*pieces));
	while (first < count) {
		ssize_t n = preadv(body->object.fd, left + first, (int)(count - first), (off_t)body->offset);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return fail(body, BODY_SOURCE_FAILED);
		if (n == 0)
			return fail(body, BODY_SOURCE_CHANGED);
		body->offset += (uint64_t)n;
		body->left -= (uint64_t)n;
		advance(left, &first, (size_t)n);
	}
	return BODY_SOURCE_READY;
}

static enum body_source_status read_body(struct body_source *source, const struct iovec *pieces, unsigned count)
{
	struct file_body *body = (struct file_body *)source;

	while (count) {
		unsigned some = count < READ_PIECES_MAX ? count : READ_PIECES_MAX;
		enum body_source_status status = read_pieces(body, pieces, some);

		if (status != BODY_SOURCE_READY)
			return status;
		pieces += some;
		count -= some;
	}
	/* After the read, so that a change between two reads shows. */
	return file_object_unchanged(&body->object) ? BODY_SOURCE_READY : fail(body, BODY_SOURCE_CHANGED);
}

static enum body_source_status view(struct body_source *source, size_t len, const uint8_t **bytes)
{
	struct file_body *body = (struct file_body *)source;

	*bytes = NULL;
	if (!file_object_unchanged(&body->object))
		return fail(body, BODY_SOURCE_CHANGED);
	/* Where it cannot be mapped it is read. */
	*bytes = file_window_look(&body->window, body->object.fd, body->offset, len);
	return BODY_SOURCE_READY;
}

static enum body_source_status viewed(struct body_source *source, size_t len)
{
	struct file_body *body = (struct file_body *)source;
	bool whole = file_window_is_whole(&body->window);

	if (!file_object_unchanged(&body->object))
		return fail(body, BODY_SOURCE_CHANGED);
	if (!whole)
		return fail(body, BODY_SOURCE_FAILED);
	body->offset += len;
	body->left -= len;
	return BODY_SOURCE_READY;
}

static void go_back(struct body_source *source, uint64_t len)
{
	struct file_body *body = (struct file_body *)source;

	body->offset -= len;
	body->left += len;
}

static void free_body(struct body_source *source)
{
	struct file_body *body = (struct file_body *)source;

	file_window_close(&body->window);
	file_object_close(&body->object);
	free(body);
}

static const struct body_source_type file_body_type = {
	.look = look,
	.read = read_body,
	.view = view,
	.viewed = viewed,
	.back = go_back,
	.free = free_body,
};

struct body_source *file_body_new(struct file_object *object, uint64_t offset, uint64_t length)
{
	struct file_body *body = malloc(sizeof(*body));

	if (!body)
		return NULL;
	*body = (struct file_body){
		.source = {&file_body_type, NULL}, .object = *object, .offset = offset, .left = length};
	object->fd = -1;
	return &body->source;
}

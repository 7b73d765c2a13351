/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "sealed_body.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>

struct sealed_body {
	struct file_object object;
	struct record_sealer *sealer; /* NULL once the last record is sealed, or on failure: its keys are wiped */
	struct record_layout layout;
	uint64_t offset;                 /* of the next byte to read from the file */
	uint64_t records, bytes;         /* sealed */
	enum sealed_body_status failure; /* SEALED_BODY_BLOCK: none */
	size_t block_len, block_sent;    /* ciphertext: its size, and how much of it left */
	uint8_t block[];
};

/* What a whole block of this body takes. */
static size_t block_capacity(const struct record_layout *layout)
{
	return layout->ciphertext < SEALED_BODY_BLOCK_MAX ? (size_t)layout->ciphertext : SEALED_BODY_BLOCK_MAX;
}

enum record_error sealed_body_new(struct sealed_body **body, struct file_object *object, uint64_t offset,
				  uint64_t length, const struct tx_state *state)
{
	struct record_layout layout;
	enum record_error error = record_layout_init(&layout, state, length);
	struct sealed_body *new;

	*body = NULL;
	if (error != RECORD_OK)
		return error;
	/* Every record may be sealed in place of the largest one: the sealer is promised that much room. */
	new = malloc(sizeof(*new) + block_capacity(&layout) + RECORD_SEALED_MAX);
	if (new == NULL)
		return RECORD_NO_MEMORY;
	*new = (struct sealed_body){
		.object = *object, .offset = offset, .layout = layout, .failure = SEALED_BODY_BLOCK};
	error = record_sealer_new(&new->sealer, state, length, 0);
	if (error != RECORD_OK) {
		free(new);
		return error;
	}
	object->fd = -1;
	*body = new;
	return RECORD_OK;
}

void sealed_body_free(struct sealed_body *body)
{
	if (body == NULL)
		return;
	record_sealer_free(body->sealer);
	file_object_close(&body->object);
	free(body);
}

const struct record_layout *sealed_body_layout(const struct sealed_body *body)
{
	return &body->layout;
}

static enum sealed_body_status fail(struct sealed_body *body, enum sealed_body_status failure)
{
	body->failure = failure;
	body->block_len = body->block_sent = 0;
	record_sealer_free(body->sealer);
	body->sealer = NULL;
	return failure;
}

/* Where the records of a block lie: the plaintext of each is read to the very place where it is sealed. */
static unsigned plan_block(struct sealed_body *body, struct iovec plain[static SEALED_BODY_BLOCK_RECORDS])
{
	size_t inset = record_plain_offset(body->sealer), at = 0;
	unsigned count = 0;

	while (count < SEALED_BODY_BLOCK_RECORDS) {
		size_t len = record_plain_length(&body->layout, body->records + count);

		if (len == 0)
			break;
		plain[count].iov_base = body->block + at + inset;
		plain[count].iov_len = len;
		at += len + body->layout.overhead;
		count++;
	}
	return count;
}

/* Reads all <count> pieces in full, in one call as a rule. A file that ends before is one that changed. */
static enum sealed_body_status read_plain(struct sealed_body *body, const struct iovec *plain, unsigned count)
{
	struct iovec left[SEALED_BODY_BLOCK_RECORDS];
	uint64_t offset = body->offset;
	unsigned first = 0;

	memcpy(left, plain, count * sizeof(*plain));
	while (first < count) {
		ssize_t n = preadv(body->object.fd, left + first, (int)(count - first), (off_t)offset);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return SEALED_BODY_READ_FAILED;
		if (n == 0)
			return SEALED_BODY_CHANGED;
		offset += (uint64_t)n;
		for (size_t got = (size_t)n; got > 0;) {
			size_t take = got < left[first].iov_len ? got : left[first].iov_len;

			left[first].iov_base = (uint8_t *)left[first].iov_base + take;
			left[first].iov_len -= take;
			got -= take;
			if (left[first].iov_len == 0)
				first++;
		}
	}
	body->offset = offset;
	return SEALED_BODY_BLOCK;
}

static enum sealed_body_status seal_plain(struct sealed_body *body, const struct iovec *plain, unsigned count)
{
	for (unsigned i = 0; i < count; i++) {
		size_t sealed;

		if (record_seal_next(body->sealer, plain[i].iov_base, plain[i].iov_len, body->block + body->block_len,
				     &sealed) != RECORD_OK)
			return SEALED_BODY_SEAL_FAILED;
		body->block_len += sealed;
		body->records++;
		body->bytes += plain[i].iov_len;
	}
	return SEALED_BODY_BLOCK;
}

static enum sealed_body_status make_block(struct sealed_body *body)
{
	struct iovec plain[SEALED_BODY_BLOCK_RECORDS];
	unsigned count = plan_block(body, plain);
	enum sealed_body_status status;

	body->block_len = body->block_sent = 0;
	status = read_plain(body, plain, count);
	if (status != SEALED_BODY_BLOCK)
		return fail(body, status);
	/* After the read, so that a change between two reads of this block shows; before sealing, so that changed bytes
	 * are not even sealed. */
	if (!file_object_unchanged(&body->object))
		return fail(body, SEALED_BODY_CHANGED);
	status = seal_plain(body, plain, count);
	if (status != SEALED_BODY_BLOCK)
		return fail(body, status);
	if (body->records == body->layout.records) {
		record_sealer_free(body->sealer);
		body->sealer = NULL;
	}
	return SEALED_BODY_BLOCK;
}

enum sealed_body_status sealed_body_next(struct sealed_body *body, const uint8_t **bytes, size_t *len)
{
	if (body->failure != SEALED_BODY_BLOCK)
		return body->failure;
	if (body->block_sent == body->block_len) {
		enum sealed_body_status status;

		if (body->records == body->layout.records)
			return SEALED_BODY_END;
		status = make_block(body);
		if (status != SEALED_BODY_BLOCK)
			return status;
	}
	*bytes = body->block + body->block_sent;
	*len = body->block_len - body->block_sent;
	return SEALED_BODY_BLOCK;
}

void sealed_body_sent(struct sealed_body *body, size_t len)
{
	assert(len <= body->block_len - body->block_sent);
	body->block_sent += len;
}

uint64_t sealed_body_records(const struct sealed_body *body)
{
	return body->records;
}

uint64_t sealed_body_bytes(const struct sealed_body *body)
{
	return body->bytes;
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "sealed_body.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>

struct sealed_body {
	struct body_source *source;
	struct record_sealer *sealer; /* NULL once the last record is sealed, or on failure: its keys are wiped */
	struct record_layout layout;
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

enum record_error sealed_body_new(struct sealed_body **body, struct body_source *source, uint64_t length,
				  const struct tx_state *state)
{
	struct record_layout layout;
	enum record_error error = record_layout_init(&layout, state, length);
	struct sealed_body *new;

	*body = NULL;
	if (error != RECORD_OK)
		return error;
	/* Every record may be sealed in place of the largest one: the sealer is promised that much room. */
	new = malloc(sizeof(*new) + block_capacity(&layout) + RECORD_SEALED_MAX);
	if (!new)
		return RECORD_NO_MEMORY;
	*new = (struct sealed_body){.source = source, .layout = layout, .failure = SEALED_BODY_BLOCK};
	error = record_sealer_new(&new->sealer, state, length, 0);
	if (error != RECORD_OK) {
		free(new);
		return error;
	}
	*body = new;
	return RECORD_OK;
}

void sealed_body_free(struct sealed_body *body)
{
	if (!body)
		return;
	record_sealer_free(body->sealer);
	body_source_free(body->source);
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

/* Where the records of a block lie, as many as <ready> bytes fill: the plaintext of each is read to the very place
 * where it is sealed. */
static unsigned plan_block(struct sealed_body *body, uint64_t ready,
			   struct iovec plain[static SEALED_BODY_BLOCK_RECORDS])
{
	size_t inset = record_plain_offset(body->sealer), at = 0;
	unsigned count = 0;

	while (count < SEALED_BODY_BLOCK_RECORDS) {
		size_t len = record_plain_length(&body->layout, body->records + count);

		if (!len || len > ready)
			break;
		plain[count].iov_base = body->block + at + inset;
		plain[count].iov_len = len;
		at += len + body->layout.overhead;
		ready -= len;
		count++;
	}
	return count;
}

static enum sealed_body_status status_of_source(enum body_source_status status)
{
	switch (status) {
	case BODY_SOURCE_READY:
		return SEALED_BODY_BLOCK;
	case BODY_SOURCE_WAITING:
		return SEALED_BODY_WAITING;
	case BODY_SOURCE_CHANGED:
		return SEALED_BODY_CHANGED;
	case BODY_SOURCE_END: /* before all records were sealed */
	case BODY_SOURCE_FAILED:
		break;
	}
	return SEALED_BODY_READ_FAILED;
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
	enum sealed_body_status status;
	uint64_t ready = 0;
	unsigned count;

	body->block_len = body->block_sent = 0;
	status = status_of_source(body_source_look(body->source, &ready));
	if (status == SEALED_BODY_WAITING)
		return status;
	if (status != SEALED_BODY_BLOCK)
		return fail(body, status);
	count = plan_block(body, ready, plain);
	if (!count)
		return SEALED_BODY_WAITING;
	/* The source has looked for changes when this returns: changed bytes are not even sealed. */
	status = status_of_source(body_source_read(body->source, plain, count));
	if (status != SEALED_BODY_BLOCK)
		return fail(body, status);
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

const char *sealed_body_fault(const struct sealed_body *body)
{
	return body->source->fault ? body->source->fault : "the body ended early";
}

bool sealed_body_has_changed(const struct sealed_body *body)
{
	return body->failure == SEALED_BODY_CHANGED;
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

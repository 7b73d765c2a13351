/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "sealed_body.h"

#include <assert.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>

#include "secret.h"

/* Of the first block, unless sealed_body_expect() says more: of many slow clients each may keep the rest of one. */
#define FIRST_BLOCK_RECORDS (SEALED_BODY_BLOCK_RECORDS / 2)

struct sealed_body {
	struct workshop_tenant tenant; /* first */
	struct body_source *source;
	struct record_sealer *sealer; /* NULL once the last record is sealed, or on failure: its keys are wiped */
	struct record_layout layout;
	uint64_t records, bytes;         /* sealed */
	enum sealed_body_status failure; /* SEALED_BODY_BLOCK: none */
	bool may_view;                   /* the source's own memory may be sealed from */
	unsigned goal;                   /* records of the next block: as many as the socket took at once */
	uint8_t *kept;                   /* or NULL: what the socket did not take of a block */
	size_t block_len, block_sent;    /* ciphertext: its size, and how much of it left */
	struct metric *first;            /* NULL: none, or the first bytes have left */
	double since;
};

static enum sealed_body_status fail(struct sealed_body *body, enum sealed_body_status failure)
{
	body->failure = failure;
	body->block_len = body->block_sent = 0;
	workshop_leave(&body->tenant);
	record_sealer_free(body->sealer);
	body->sealer = NULL;
	return failure;
}

/* Takes what is left of its block out of the workshop. Returns false, and <body> has failed, when memory is exhausted. */
static bool move_out(struct sealed_body *body)
{
	size_t left = body->block_len - body->block_sent;

	body->kept = malloc(left);
	if (!body->kept) {
		body->source->fault = "out of memory";
		(void)fail(body, SEALED_BODY_READ_FAILED);
		return false;
	}
	memcpy(body->kept, workshop_block(&body->tenant) + body->block_sent, left);
	body->block_len = left;
	body->block_sent = 0;
	workshop_leave(&body->tenant);
	return true;
}

/* Of a block that was not even tried. */
static void on_move_out(struct workshop_tenant *tenant)
{
	(void)move_out((struct sealed_body *)tenant);
}

enum record_error sealed_body_new(struct sealed_body **body, struct body_source *source, uint64_t length,
				  const struct tx_state *state)
{
	struct sealed_body *new = malloc(sizeof(*new));
	enum record_error error;

	*body = NULL;
	if (!new)
		return RECORD_NO_MEMORY;
	*new = (struct sealed_body){
		.tenant.move_out = on_move_out,
		.source = source,
		.failure = SEALED_BODY_BLOCK,
		.goal = FIRST_BLOCK_RECORDS,
	};
	error = record_sealer_new(&new->sealer, state, length, 0);
	if (error != RECORD_OK) {
		free(new);
		return error;
	}
	new->layout = *record_sealer_layout(new->sealer);
	*body = new;
	return RECORD_OK;
}

void sealed_body_free(struct sealed_body *body)
{
	if (!body)
		return;
	workshop_leave(&body->tenant);
	record_sealer_free(body->sealer);
	body_source_free(body->source);
	free(body->kept);
	free(body);
}

void sealed_body_allow_view(struct sealed_body *body)
{
	body->may_view = true;
}

void sealed_body_expect(struct sealed_body *body, size_t bytes)
{
	size_t records = bytes / (RECORD_PLAIN_MAX + body->layout.overhead);

	if (records > SEALED_BODY_BLOCK_RECORDS)
		records = SEALED_BODY_BLOCK_RECORDS;
	body->goal = records ? (unsigned)records : 1;
}

void sealed_body_time_first(struct sealed_body *body, struct metric *histogram, double since)
{
	body->first = histogram;
	body->since = since;
}

const struct record_layout *sealed_body_layout(const struct sealed_body *body)
{
	return &body->layout;
}

/* Where the records of a block lie, as many as <ready> bytes fill: their plaintext, if it is read. */
static unsigned plan_block(const struct sealed_body *body, uint8_t *block, uint64_t ready,
			   struct iovec plain[static SEALED_BODY_BLOCK_RECORDS])
{
	size_t inset = record_plain_offset(body->sealer), at = 0;
	unsigned count = 0;

	while (count < body->goal) {
		size_t len = record_plain_length(&body->layout, body->records + count);

		if (!len || len > ready)
			break;
		plain[count].iov_base = block + at + inset;
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

		if (record_seal_next(body->sealer, plain[i].iov_base, plain[i].iov_len,
				     workshop_block(&body->tenant) + body->block_len, &sealed) != RECORD_OK)
			return SEALED_BODY_SEAL_FAILED;
		body->block_len += sealed;
		body->records++;
		body->bytes += plain[i].iov_len;
	}
	return SEALED_BODY_BLOCK;
}

/* Reads the plaintext to the very place where it is sealed. */
static enum sealed_body_status seal_read(struct sealed_body *body, const struct iovec *plain, unsigned count)
{
	/* The source has looked for changes when this returns: changed bytes are not even sealed. */
	enum sealed_body_status status = status_of_source(body_source_read(body->source, plain, count));

	return status == SEALED_BODY_BLOCK ? seal_plain(body, plain, count) : status;
}

/* Seals from the source's own memory, if it has any. The source looks for changes before and afterwards: what was sealed
 * between them does not leave. */
static enum sealed_body_status seal_view(struct sealed_body *body, struct iovec *plain, unsigned count)
{
	const struct body_source_type *source = body->source->type;
	enum sealed_body_status status, sealed;
	const uint8_t *bytes;
	size_t len = 0;

	for (unsigned i = 0; i < count; i++)
		len += plain[i].iov_len;
	status = status_of_source(source->view(body->source, len, &bytes));
	if (status != SEALED_BODY_BLOCK)
		return status;
	if (!bytes)
		return seal_read(body, plain, count);
	for (unsigned i = 0; i < count; bytes += plain[i++].iov_len)
		plain[i].iov_base = (uint8_t *)(uintptr_t)bytes;
	sealed = seal_plain(body, plain, count);
	status = status_of_source(source->viewed(body->source, len));
	if (status == SEALED_BODY_BLOCK)
		return sealed;
	secret_wipe(workshop_block(&body->tenant), body->block_len);
	if (sealed == SEALED_BODY_BLOCK) {
		body->records -= count;
		body->bytes -= len;
	}
	return status;
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
	if (!workshop_enter(&body->tenant)) {
		body->source->fault = "out of memory";
		return fail(body, SEALED_BODY_READ_FAILED);
	}
	count = plan_block(body, workshop_block(&body->tenant), ready, plain);
	if (!count) {
		workshop_leave(&body->tenant);
		return SEALED_BODY_WAITING;
	}
	if (body->may_view && body->source->type->view)
		status = seal_view(body, plain, count);
	else
		status = seal_read(body, plain, count);
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
	*bytes = (body->kept ? body->kept : workshop_block(&body->tenant)) + body->block_sent;
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
	if (len && body->first) {
		metric_observe_since(body->first, body->since);
		body->first = NULL;
	}
	if (body->block_sent < body->block_len) {
		if (!body->tenant.workshop)
			return;
		/* The next block is no larger than what the socket takes, so that little is kept. */
		body->goal = (unsigned)(body->block_sent / (RECORD_PLAIN_MAX + body->layout.overhead));
		if (!body->goal)
			body->goal = 1;
		(void)move_out(body);
		return;
	}
	if (body->tenant.workshop && body->goal < SEALED_BODY_BLOCK_RECORDS)
		body->goal++;
	workshop_leave(&body->tenant);
	free(body->kept);
	body->kept = NULL;
	body->block_len = body->block_sent = 0;
}

uint64_t sealed_body_records(const struct sealed_body *body)
{
	return body->records;
}

uint64_t sealed_body_bytes(const struct sealed_body *body)
{
	return body->bytes;
}

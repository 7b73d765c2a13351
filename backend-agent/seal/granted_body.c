/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "granted_body.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>

#include "secret.h"
#include "workshop.h"

#define REPORT_STEP 16384u     /* bytes that must have become ready since the LB was told */
#define REPORT_BELOW 65536u    /* and so few that it was told of are not granted yet */
#define CHUNK_HEAD_MAX 11u     /* 8 hexadecimal digits, CRLF, a terminating zero */
#define CHUNK_END "\r\n"       /* of a chunk */
#define LAST_CHUNK "0\r\n\r\n" /* of the body, RFC 9112 7.1 */
#define OUT_OF_MEMORY "out of memory"

_Static_assert(CHUNK_HEAD_MAX + GRANT_MESSAGE_HEAD_LEN + GRANT_BYTES_MAX + DATA_RECORDS_MAX * DATA_RECORD_OVERHEAD +
			       sizeof(CHUNK_END LAST_CHUNK) <=
		       WORKSHOP_LEN,
	       "the answer to a grant fits the workshop");

/* What a source gave that cannot give it again: the bytes of the body from <first> to where the source is. */
struct kept_plain {
	uint8_t *bytes; /* GRANT_BYTES_MAX of room, or NULL */
	uint64_t first;
};

struct granted_body {
	struct workshop_tenant tenant; /* first */
	struct body_source *source;
	struct data_sealer *sealer; /* NULL once the last grant is answered, or on failure: its keys are wiped */
	struct ticket ticket;
	uint64_t length;
	uint64_t position; /* of the source: its next byte */
	uint64_t told;     /* ready, as the LB knows it */
	/* The grant that was taken last. */
	struct {
		uint64_t number, first, end;
		uint64_t next_slot; /* behind the last one that was granted */
		uint32_t stream;    /* 0: there was no grant */
		bool last;
	} granted;
	struct grant waiting[GRANTED_BODY_WAITING_MAX + 1]; /* taken and not answered, the oldest first */
	unsigned waiting_count;
	struct kept_plain plain;
	struct granted_body_count count;
	enum granted_body_status failure; /* GRANTED_BODY_BLOCK: none */
	uint8_t *kept;                    /* or NULL: what the socket did not take of a block */
	size_t block_len, block_sent;     /* its size, and how much of it left */
};

static void close_sealer(struct granted_body *body)
{
	data_sealer_free(body->sealer);
	body->sealer = NULL;
}

static enum granted_body_status fail(struct granted_body *body, enum granted_body_status failure)
{
	body->failure = failure;
	body->block_len = body->block_sent = 0;
	workshop_leave(&body->tenant);
	close_sealer(body);
	return failure;
}

static enum granted_body_status fail_without_memory(struct granted_body *body)
{
	body->source->fault = OUT_OF_MEMORY;
	return fail(body, GRANTED_BODY_READ_FAILED);
}

/* Takes what is left of the block out of the workshop. */
static void move_out(struct workshop_tenant *tenant)
{
	struct granted_body *body = (struct granted_body *)tenant;
	size_t left = body->block_len - body->block_sent;

	body->kept = malloc(left);
	if (!body->kept) {
		(void)fail_without_memory(body);
		return;
	}
	memcpy(body->kept, workshop_block(tenant) + body->block_sent, left);
	body->block_len = left;
	body->block_sent = 0;
	workshop_leave(tenant);
}

enum record_error granted_body_new(struct granted_body **body, struct body_source *source, uint64_t length,
				   const struct tx_state *state, const struct ticket *ticket)
{
	struct granted_body *new;
	enum record_error error;

	*body = NULL;
	if (!length)
		return RECORD_EMPTY;
	new = calloc(1, sizeof(*new));
	if (!new)
		return RECORD_NO_MEMORY;
	error = data_sealer_new(&new->sealer, state);
	if (error != RECORD_OK) {
		free(new);
		return error;
	}
	new->tenant.move_out = move_out;
	new->source = source;
	new->ticket = *ticket;
	new->length = length;
	new->failure = GRANTED_BODY_BLOCK;
	*body = new;
	return RECORD_OK;
}

void granted_body_free(struct granted_body *body)
{
	if (!body)
		return;
	workshop_leave(&body->tenant);
	data_sealer_free(body->sealer);
	body_source_free(body->source);
	free(body->plain.bytes);
	free(body->kept);
	free(body);
}

/* --- what is ready --- */

static enum granted_body_status status_of_source(enum body_source_status status)
{
	switch (status) {
	case BODY_SOURCE_READY:
		return GRANTED_BODY_BLOCK;
	case BODY_SOURCE_WAITING:
		return GRANTED_BODY_WAITING;
	case BODY_SOURCE_CHANGED:
		return GRANTED_BODY_CHANGED;
	case BODY_SOURCE_END: /* before the body was whole */
	case BODY_SOURCE_FAILED:
		break;
	}
	return GRANTED_BODY_READ_FAILED;
}

/* Looks how far the source is. With GRANTED_BODY_BLOCK, <*ready> is set. */
static enum granted_body_status look(struct granted_body *body, uint64_t *ready)
{
	enum granted_body_status status;
	uint64_t bytes = 0;

	if (body->position == body->length) {
		*ready = body->length;
		return GRANTED_BODY_BLOCK;
	}
	status = status_of_source(body_source_look(body->source, &bytes));
	if (status == GRANTED_BODY_WAITING)
		status = GRANTED_BODY_BLOCK;
	if (status != GRANTED_BODY_BLOCK)
		return status;
	/* A source with more than was announced: the rest is not of this body. */
	*ready = bytes < body->length - body->position ? body->position + bytes : body->length;
	return status;
}

uint64_t granted_body_ready(struct granted_body *body)
{
	uint64_t ready;

	/* A fault shows with the next block. */
	if (body->failure == GRANTED_BODY_BLOCK && look(body, &ready) == GRANTED_BODY_BLOCK && ready > body->told)
		body->told = ready;
	return body->told;
}

/* --- grants --- */

/* Returns why <grant> does not fit what was granted before; NULL if it does. */
static const char *misfit(const struct granted_body *body, const struct grant *grant)
{
	uint64_t end = grant->first + grant->bytes;

	if (grant->number != body->granted.number + 1)
		return "number: the grant is not the next one";
	if (body->granted.stream && grant->stream != body->granted.stream)
		return "stream: the grant is for another stream than the one before";
	if (grant->slot && grant->slot < body->granted.next_slot)
		return "slot: it was granted before";
	if (grant->first < body->granted.first || grant->first > body->granted.end)
		return "first: the grant begins neither within nor behind the one before";
	if (end > body->told)
		return "bytes: more are granted than are ready";
	if (grant->last != (end == body->length))
		return "last: the flag is not that of the body's end";
	return NULL;
}

static const char *refuse(struct granted_body *body, const char *why)
{
	body->source->fault = why;
	(void)fail(body, GRANTED_BODY_READ_FAILED);
	return why;
}

const char *granted_body_take(struct granted_body *body, const uint8_t wire[static GRANT_WIRE_LEN])
{
	enum grant_error error;
	struct grant grant;
	const char *why;

	assert(granted_body_is_open(body));
	if (body->waiting_count > GRANTED_BODY_WAITING_MAX)
		return refuse(body, "too many grants wait for their answers");
	error = grant_decode(&grant, wire, &body->ticket, data_sealer_proof_key(body->sealer));
	if (error != GRANT_OK)
		return refuse(body, grant_error_text(error));
	why = misfit(body, &grant);
	if (why)
		return refuse(body, why);
	body->granted.number = grant.number;
	body->granted.first = grant.first;
	body->granted.end = grant.first + grant.bytes;
	body->granted.stream = grant.stream;
	body->granted.last = grant.last;
	if (grant.slot)
		body->granted.next_slot = grant.slot + data_layout_of(&grant).records;
	body->waiting[body->waiting_count++] = grant;
	return NULL;
}

bool granted_body_is_open(const struct granted_body *body)
{
	return body->failure == GRANTED_BODY_BLOCK && !body->granted.last;
}

bool granted_body_awaits_grant(const struct granted_body *body)
{
	return granted_body_is_open(body) && !body->waiting_count && body->told > body->granted.end;
}

/* --- blocks --- */

/* Where the bytes of <grant> are to lie in its answer, which begins at <at>. Returns how many pieces there are. */
static unsigned plan(const struct grant *grant, const struct data_layout *layout, uint8_t *at,
		     struct iovec pieces[static DATA_RECORDS_MAX + 1])
{
	pieces[0] = (struct iovec){at, grant->clear};
	at += grant->clear;
	for (unsigned i = 0; i < layout->records; i++) {
		size_t len = data_payload_length(layout, i);

		pieces[i + 1] = (struct iovec){at + DATA_RECORD_INSET, len};
		at += len + DATA_RECORD_OVERHEAD;
	}
	return layout->records + 1;
}

static enum granted_body_status read_again(struct granted_body *body, const struct grant *grant,
					   const struct iovec *pieces, unsigned count)
{
	if (body->position > grant->first)
		body->source->type->back(body->source, body->position - grant->first);
	body->position = grant->first + grant->bytes;
	return status_of_source(body_source_read(body->source, pieces, count));
}

/* Reads behind what is kept, and copies. */
static enum granted_body_status read_kept(struct granted_body *body, const struct grant *grant,
					  const struct iovec *pieces, unsigned count)
{
	struct kept_plain *plain = &body->plain;
	size_t have = (size_t)(body->position - grant->first), copied = 0;
	uint64_t end = grant->first + grant->bytes;

	if (!plain->bytes)
		plain->bytes = malloc(GRANT_BYTES_MAX);
	if (!plain->bytes) {
		body->source->fault = OUT_OF_MEMORY;
		return GRANTED_BODY_READ_FAILED;
	}
	memmove(plain->bytes, plain->bytes + (grant->first - plain->first), have);
	plain->first = grant->first;
	if (end > body->position) {
		struct iovec more = {plain->bytes + have, (size_t)(end - body->position)};
		enum granted_body_status status = status_of_source(body_source_read(body->source, &more, 1));

		if (status != GRANTED_BODY_BLOCK)
			return status;
		body->position = end;
	}
	for (unsigned i = 0; i < count; i++) {
		memcpy(pieces[i].iov_base, plain->bytes + copied, pieces[i].iov_len);
		copied += pieces[i].iov_len;
	}
	return GRANTED_BODY_BLOCK;
}

static enum granted_body_status seal(struct granted_body *body, const struct grant *grant, const struct iovec *pieces,
				     unsigned count)
{
	for (unsigned i = 1; i < count; i++) {
		bool end = grant->last && i == count - 1;
		uint8_t *record = (uint8_t *)pieces[i].iov_base - DATA_RECORD_INSET;

		if (data_seal(body->sealer, grant->slot + i - 1, grant->stream, end, pieces[i].iov_len, record) !=
		    RECORD_OK)
			return GRANTED_BODY_SEAL_FAILED;
		body->count.records++;
		body->count.bytes += pieces[i].iov_len;
	}
	body->count.clear += grant->clear;
	body->count.grants++;
	return GRANTED_BODY_BLOCK;
}

/* Writes the head of a chunk with <message>. Returns false if its proof cannot be computed. */
static bool put_message(struct granted_body *body, uint8_t *block, size_t chunk_head,
			const struct grant_message *message)
{
	return grant_message_encode(block + chunk_head, message, &body->ticket, data_sealer_proof_key(body->sealer));
}

/* The chunk's size in <block>. Returns the length of that. */
static size_t put_chunk_head(uint8_t *block, uint32_t payload)
{
	int len = snprintf((char *)block, CHUNK_HEAD_MAX, "%" PRIx32 "\r\n", payload + GRANT_MESSAGE_HEAD_LEN);

	return (size_t)len;
}

static void append(struct granted_body *body, uint8_t *block, const char *text)
{
	size_t len = strlen(text);

	memcpy(block + body->block_len, text, len);
	body->block_len += len;
}

static enum granted_body_status make_answer(struct granted_body *body, uint8_t *block)
{
	const struct grant grant = body->waiting[0];
	struct data_layout layout = data_layout_of(&grant);
	struct grant_message message = {GRANT_MESSAGE_ANSWER, grant.clear + layout.ciphertext, grant.number, 0};
	size_t chunk_head = put_chunk_head(block, message.payload);
	struct iovec pieces[DATA_RECORDS_MAX + 1];
	enum granted_body_status status;
	unsigned count;

	body->waiting_count--;
	memmove(body->waiting, body->waiting + 1, body->waiting_count * sizeof(body->waiting[0]));
	count = plan(&grant, &layout, block + chunk_head + GRANT_MESSAGE_HEAD_LEN, pieces);
	/* The source has looked for changes when it returns: changed bytes are not even sealed. */
	if (body->source->type->back)
		status = read_again(body, &grant, pieces, count);
	else
		status = read_kept(body, &grant, pieces, count);
	if (status == GRANTED_BODY_BLOCK)
		status = seal(body, &grant, pieces, count);
	if (status != GRANTED_BODY_BLOCK)
		return status;
	message.ready = granted_body_ready(body);
	if (!put_message(body, block, chunk_head, &message))
		return GRANTED_BODY_SEAL_FAILED;
	body->block_len = chunk_head + GRANT_MESSAGE_HEAD_LEN + message.payload;
	append(body, block, CHUNK_END);
	if (grant.last) {
		append(body, block, LAST_CHUNK);
		close_sealer(body);
	}
	return GRANTED_BODY_BLOCK;
}

static enum granted_body_status make_report(struct granted_body *body, uint8_t *block)
{
	struct grant_message message = {GRANT_MESSAGE_REPORT, 0, body->count.grants, granted_body_ready(body)};
	size_t chunk_head = put_chunk_head(block, 0);

	if (!put_message(body, block, chunk_head, &message))
		return GRANTED_BODY_SEAL_FAILED;
	body->block_len = chunk_head + GRANT_MESSAGE_HEAD_LEN;
	append(body, block, CHUNK_END);
	return GRANTED_BODY_BLOCK;
}

/* Whether the LB is to be told that <ready> bytes are ready. */
static bool is_worth_a_report(const struct granted_body *body, uint64_t ready)
{
	if (ready <= body->told)
		return false;
	return ready == body->length ||
	       (ready - body->told >= REPORT_STEP && body->told <= body->granted.end + REPORT_BELOW);
}

static enum granted_body_status make_block(struct granted_body *body)
{
	enum granted_body_status status;
	uint64_t ready = 0;
	uint8_t *block;

	status = look(body, &ready);
	if (status != GRANTED_BODY_BLOCK)
		return fail(body, status);
	if (!body->waiting_count && (!body->sealer || !is_worth_a_report(body, ready)))
		return body->granted.last ? GRANTED_BODY_END : GRANTED_BODY_WAITING;
	block = workshop_enter(&body->tenant);
	if (!block)
		return fail_without_memory(body);
	body->block_sent = 0;
	status = body->waiting_count ? make_answer(body, block) : make_report(body, block);
	return status == GRANTED_BODY_BLOCK ? status : fail(body, status);
}

enum granted_body_status granted_body_next(struct granted_body *body, const uint8_t **bytes, size_t *len)
{
	const uint8_t *block;

	if (body->failure != GRANTED_BODY_BLOCK)
		return body->failure;
	if (body->block_sent == body->block_len) {
		enum granted_body_status status = make_block(body);

		if (status != GRANTED_BODY_BLOCK)
			return status;
	}
	block = body->kept ? body->kept : workshop_block(&body->tenant);
	*bytes = block + body->block_sent;
	*len = body->block_len - body->block_sent;
	return GRANTED_BODY_BLOCK;
}

void granted_body_sent(struct granted_body *body, size_t len)
{
	assert(len <= body->block_len - body->block_sent);
	body->block_sent += len;
	if (body->block_sent < body->block_len) {
		if (body->tenant.workshop)
			move_out(&body->tenant);
		return;
	}
	workshop_leave(&body->tenant);
	free(body->kept);
	body->kept = NULL;
	body->block_len = body->block_sent = 0;
}

const char *granted_body_fault(const struct granted_body *body)
{
	return body->source->fault ? body->source->fault : "the body ended early";
}

struct granted_body_count granted_body_count(const struct granted_body *body)
{
	struct granted_body_count count = body->count;

	count.changed = body->failure == GRANTED_BODY_CHANGED;
	return count;
}

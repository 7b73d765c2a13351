/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "control.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "control_pack.h"
#include "secret.h"

/* --- memory of unpacked messages: it holds key material, so every block knows its size and is wiped when freed --- */

struct block {
	size_t size;
	max_align_t data[];
};

static void *wiping_alloc(void *exhausted, size_t size)
{
	struct block *block = size > (size_t)CONTROL_MESSAGE_MAX * 64 ? NULL : malloc(sizeof(*block) + size);

	if (!block) {
		*(bool *)exhausted = true;
		return NULL;
	}
	block->size = size;
	return block->data;
}

static void wiping_free(void *exhausted, void *data)
{
	struct block *block;

	(void)exhausted;
	if (!data)
		return;
	block = (struct block *)((char *)data - offsetof(struct block, data));
	secret_wipe(block, sizeof(*block) + block->size);
	free(block);
}

static void release_envelope(Disc__Control__Envelope *envelope)
{
	ProtobufCAllocator allocator = {.alloc = wiping_alloc, .free = wiping_free};

	disc__control__envelope__free_unpacked(envelope, &allocator);
}

/* --- encoding --- */

static bool outcome_is_known(uint64_t outcome)
{
	return outcome >= CONTROL_OUTCOME_SEALED && outcome <= CONTROL_OUTCOME_FAILED;
}

static enum control_error encode_hello(const struct control_hello *hello, uint8_t *out, size_t cap, size_t *len)
{
	Disc__Control__Envelope envelope = DISC__CONTROL__ENVELOPE__INIT;
	Disc__Control__Hello packed = DISC__CONTROL__HELLO__INIT;

	if (hello->version_min == 0 || hello->version_min > hello->version_max || !text_fits(hello->name) ||
	    !text_fits(hello->software))
		return CONTROL_BAD_FIELD;
	packed.version_min = hello->version_min;
	packed.version_max = hello->version_max;
	packed.name = pack_text(hello->name);
	packed.software = pack_text(hello->software);
	packed.direct = hello->direct != 0;
	packed.lanes = hello->lanes;
	packed.lane = hello->lane;
	packed.grants = hello->grants != 0;
	envelope.message_case = DISC__CONTROL__ENVELOPE__MESSAGE_HELLO;
	envelope.hello = &packed;
	return pack_envelope(&envelope, out, cap, len);
}

static enum control_error encode_offer(const struct control_offer *offer, uint8_t *out, size_t cap, size_t *len)
{
	Disc__Control__Envelope envelope = DISC__CONTROL__ENVELOPE__INIT;
	Disc__Control__Offer packed = DISC__CONTROL__OFFER__INIT;
	uint8_t state[TX_STATE_WIRE_LEN];
	enum control_error error;

	if (!text_fits(offer->method) || !text_fits(offer->host) || !text_fits(offer->target) ||
	    !text_fits(offer->client) || !text_fits(offer->peer) || offer->continuation_etag.len > CONTROL_ETAG_MAX)
		return CONTROL_BAD_FIELD;
	tx_state_encode(state, &offer->state);
	packed.ticket = pack_ticket(&offer->ticket);
	packed.tx_state = (ProtobufCBinaryData){.len = sizeof(state), .data = state};
	packed.lease_id = offer->lease_id;
	packed.method = pack_text(offer->method);
	packed.host = pack_text(offer->host);
	packed.target = pack_text(offer->target);
	packed.client = pack_text(offer->client);
	packed.peer = pack_text(offer->peer);
	packed.splice_min = offer->splice_min;
	packed.direct_min = offer->direct_min;
	packed.continuation_etag = pack_text(offer->continuation_etag);
	packed.continuation_offset = offer->continuation_offset;
	packed.continuation_length = offer->continuation_length;
	envelope.message_case = DISC__CONTROL__ENVELOPE__MESSAGE_OFFER;
	envelope.offer = &packed;
	error = pack_envelope(&envelope, out, cap, len);
	secret_wipe(state, sizeof(state));
	return error;
}

static enum control_error encode_result(const struct control_result *result, uint8_t *out, size_t cap, size_t *len)
{
	Disc__Control__Envelope envelope = DISC__CONTROL__ENVELOPE__INIT;
	Disc__Control__Result packed = DISC__CONTROL__RESULT__INIT;

	if (!outcome_is_known(result->outcome) || !text_fits(result->reason))
		return CONTROL_BAD_FIELD;
	packed.ticket = pack_ticket(&result->ticket);
	packed.outcome = (Disc__Control__Outcome)result->outcome;
	packed.records = result->records;
	packed.bytes = result->bytes;
	packed.reason = pack_text(result->reason);
	packed.changed = result->changed != 0;
	envelope.message_case = DISC__CONTROL__ENVELOPE__MESSAGE_RESULT;
	envelope.result = &packed;
	return pack_envelope(&envelope, out, cap, len);
}

static enum control_error encode_ping(const struct control_ping *ping, uint8_t *out, size_t cap, size_t *len)
{
	Disc__Control__Envelope envelope = DISC__CONTROL__ENVELOPE__INIT;
	Disc__Control__Ping packed = DISC__CONTROL__PING__INIT;

	packed.nonce = ping->nonce;
	envelope.message_case = DISC__CONTROL__ENVELOPE__MESSAGE_PING;
	envelope.ping = &packed;
	return pack_envelope(&envelope, out, cap, len);
}

static enum control_error encode_pong(const struct control_pong *pong, uint8_t *out, size_t cap, size_t *len)
{
	Disc__Control__Envelope envelope = DISC__CONTROL__ENVELOPE__INIT;
	Disc__Control__Pong packed = DISC__CONTROL__PONG__INIT;

	packed.nonce = pong->nonce;
	packed.offloads = pong->offloads;
	packed.draining = pong->draining != 0;
	envelope.message_case = DISC__CONTROL__ENVELOPE__MESSAGE_PONG;
	envelope.pong = &packed;
	return pack_envelope(&envelope, out, cap, len);
}

enum control_error control_encode(const struct control_message *message, uint8_t *out, size_t cap, size_t *len)
{
	*len = 0;
	switch (message->type) {
	case CONTROL_HELLO:
		return encode_hello(&message->u.hello, out, cap, len);
	case CONTROL_OFFER:
		return encode_offer(&message->u.offer, out, cap, len);
	case CONTROL_RESULT:
		return encode_result(&message->u.result, out, cap, len);
	case CONTROL_PING:
		return encode_ping(&message->u.ping, out, cap, len);
	case CONTROL_PONG:
		return encode_pong(&message->u.pong, out, cap, len);
	case CONTROL_HANDOFF:
	case CONTROL_HANDOFF_REPLY:
	case CONTROL_PROGRESS:
	case CONTROL_CLIENT_DATA:
	case CONTROL_DRAINED:
	case CONTROL_RECALL:
	case CONTROL_HANDBACK:
	case CONTROL_GONE:
	case CONTROL_RELEASE:
		return control_direct_encode(message, out, cap, len);
	case CONTROL_UNKNOWN:
		break;
	}
	return CONTROL_BAD_FIELD;
}

/* --- decoding --- */

static enum control_error decode_hello(struct control_hello *hello, const Disc__Control__Hello *packed)
{
	hello->version_min = packed->version_min;
	hello->version_max = packed->version_max;
	hello->direct = packed->direct ? 1 : 0;
	hello->lanes = packed->lanes;
	hello->lane = packed->lane;
	hello->grants = packed->grants ? 1 : 0;
	if (hello->lanes > CONTROL_LANES_MAX || hello->lane > CONTROL_LANES_MAX || hello->version_min == 0 ||
	    hello->version_min > hello->version_max || !unpack_text(&hello->name, packed->name) ||
	    !unpack_text(&hello->software, packed->software))
		return CONTROL_BAD_FIELD;
	return CONTROL_OK;
}

static enum control_error decode_offer(struct control_offer *offer, const Disc__Control__Offer *packed)
{
	if (!unpack_ticket(&offer->ticket, packed->ticket))
		return CONTROL_BAD_TICKET;
	if (tx_state_decode(&offer->state, packed->tx_state.data, packed->tx_state.len) != TX_STATE_OK)
		return CONTROL_BAD_TX_STATE;
	offer->lease_id = packed->lease_id;
	offer->splice_min = packed->splice_min;
	offer->direct_min = packed->direct_min;
	offer->continuation_offset = packed->continuation_offset;
	offer->continuation_length = packed->continuation_length;
	if (!unpack_text(&offer->method, packed->method) || !unpack_text(&offer->host, packed->host) ||
	    !unpack_text(&offer->target, packed->target) || !unpack_text(&offer->client, packed->client) ||
	    !unpack_text(&offer->peer, packed->peer) ||
	    !unpack_text(&offer->continuation_etag, packed->continuation_etag) ||
	    offer->continuation_etag.len > CONTROL_ETAG_MAX)
		return CONTROL_BAD_FIELD;
	return CONTROL_OK;
}

static enum control_error decode_result(struct control_result *result, const Disc__Control__Result *packed)
{
	if (!unpack_ticket(&result->ticket, packed->ticket))
		return CONTROL_BAD_TICKET;
	if (!outcome_is_known((uint64_t)(int64_t)packed->outcome))
		return CONTROL_BAD_FIELD;
	result->outcome = (enum control_outcome)packed->outcome;
	result->records = packed->records;
	result->bytes = packed->bytes;
	result->changed = packed->changed != 0;
	return unpack_text(&result->reason, packed->reason) ? CONTROL_OK : CONTROL_BAD_FIELD;
}

static enum control_error decode_message(struct control_message *message, const Disc__Control__Envelope *envelope)
{
	switch (envelope->message_case) {
	case DISC__CONTROL__ENVELOPE__MESSAGE_HELLO:
		message->type = CONTROL_HELLO;
		return decode_hello(&message->u.hello, envelope->hello);
	case DISC__CONTROL__ENVELOPE__MESSAGE_OFFER:
		message->type = CONTROL_OFFER;
		return decode_offer(&message->u.offer, envelope->offer);
	case DISC__CONTROL__ENVELOPE__MESSAGE_RESULT:
		message->type = CONTROL_RESULT;
		return decode_result(&message->u.result, envelope->result);
	case DISC__CONTROL__ENVELOPE__MESSAGE_PING:
		message->type = CONTROL_PING;
		message->u.ping.nonce = envelope->ping->nonce;
		return CONTROL_OK;
	case DISC__CONTROL__ENVELOPE__MESSAGE_PONG:
		message->type = CONTROL_PONG;
		message->u.pong = (struct control_pong){.nonce = envelope->pong->nonce,
							.offloads = envelope->pong->offloads,
							.draining = envelope->pong->draining ? 1 : 0};
		return CONTROL_OK;
	default:
		return control_direct_decode(message, envelope);
	}
}

enum control_error control_decode(struct control_message *message, const uint8_t *bytes, size_t len)
{
	bool exhausted = false;
	ProtobufCAllocator allocator = {.alloc = wiping_alloc, .free = wiping_free, .allocator_data = &exhausted};
	Disc__Control__Envelope *envelope;
	enum control_error error;

	memset(message, 0, sizeof(*message));
	if (len > CONTROL_MESSAGE_MAX)
		return CONTROL_TOO_LONG;
	envelope = disc__control__envelope__unpack(&allocator, len, bytes);
	if (!envelope)
		return exhausted ? CONTROL_NO_MEMORY : CONTROL_MALFORMED;
	error = decode_message(message, envelope);
	message->storage = envelope;
	if (error != CONTROL_OK)
		control_release(message);
	return error;
}

void control_release(struct control_message *message)
{
	release_envelope(message->storage);
	secret_wipe(message, sizeof(*message));
}

uint32_t control_negotiate(const struct control_hello *peer)
{
	uint32_t highest = peer->version_max < CONTROL_VERSION_MAX ? peer->version_max : CONTROL_VERSION_MAX;

	return highest >= peer->version_min && highest >= CONTROL_VERSION_MIN ? highest : 0;
}

/* --- texts --- */

const char *control_error_text(enum control_error error)
{
	switch (error) {
	case CONTROL_OK:
		return "no fault";
	case CONTROL_MALFORMED:
		return "the frame is no Envelope";
	case CONTROL_BAD_TICKET:
		return "the ticket has not 16 bytes";
	case CONTROL_BAD_TX_STATE:
		return "the TX state is invalid";
	case CONTROL_BAD_TCP_STATE:
		return "the TCP state is invalid";
	case CONTROL_BAD_QUEUE:
		return "a queue of the TCP connection is too long, or shorter than what is unsent";
	case CONTROL_BAD_FIELD:
		return "a field is out of its range";
	case CONTROL_TOO_LONG:
		return "the message is too long";
	case CONTROL_NO_MEMORY:
		return "out of memory";
	}
	return "unknown fault of the control protocol";
}

const char *control_type_text(enum control_type type)
{
	static const char *const names[] = {
		[CONTROL_UNKNOWN] = "unknown",   [CONTROL_HELLO] = "hello",
		[CONTROL_OFFER] = "offer",       [CONTROL_RESULT] = "result",
		[CONTROL_PING] = "ping",         [CONTROL_PONG] = "pong",
		[CONTROL_HANDOFF] = "handoff",   [CONTROL_HANDOFF_REPLY] = "handoff reply",
		[CONTROL_PROGRESS] = "progress", [CONTROL_CLIENT_DATA] = "client data",
		[CONTROL_DRAINED] = "drained",   [CONTROL_RECALL] = "recall",
		[CONTROL_HANDBACK] = "handback", [CONTROL_GONE] = "gone",
		[CONTROL_RELEASE] = "release",
	};

	return (size_t)type < sizeof(names) / sizeof(names[0]) ? names[type] : "unknown";
}

const char *control_outcome_text(enum control_outcome outcome)
{
	switch (outcome) {
	case CONTROL_OUTCOME_SEALED:
		return "sealed";
	case CONTROL_OUTCOME_DECLINED:
		return "declined";
	case CONTROL_OUTCOME_ABORTED:
		return "aborted";
	case CONTROL_OUTCOME_EXPIRED:
		return "expired";
	case CONTROL_OUTCOME_FAILED:
		return "failed";
	}
	return "unknown";
}

const char *control_gone_cause_text(enum control_gone_cause cause)
{
	switch (cause) {
	case CONTROL_GONE_CLIENT:
		return "client";
	case CONTROL_GONE_NODE:
		return "node";
	case CONTROL_GONE_RECALLED:
		return "recalled";
	}
	return "unknown";
}

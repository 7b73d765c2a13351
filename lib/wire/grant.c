/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "grant.h"

#include <endian.h>
#include <string.h>

#include "data_record.h"
#include "secret.h"

#define WIRE_VERSION 1
#define FLAG_LAST 1u
#define STREAM_MAX 0x7fffffffu

/* Where each field of a grant lies. */
enum grant_offset {
	AT_VERSION = 0,
	AT_FLAGS = 1,
	AT_RESERVED = 2,
	AT_STREAM = 4,
	AT_NUMBER = 8,
	AT_SLOT = 16,
	AT_FIRST = 24,
	AT_BYTES = 32,
	AT_CLEAR = 36,
	AT_RESERVED_TOO = 40,
	AT_PROOF = 48,
};

/* And of a message's head. */
enum message_offset {
	MESSAGE_AT_TYPE = 0,
	MESSAGE_AT_PAYLOAD = 4,
	MESSAGE_AT_NUMBER = 8,
	MESSAGE_AT_READY = 16,
	MESSAGE_AT_PROOF = 24,
};

_Static_assert(AT_PROOF + PROOF_LEN == GRANT_WIRE_LEN, "a grant has 64 bytes");
_Static_assert(MESSAGE_AT_PROOF + PROOF_LEN == GRANT_MESSAGE_HEAD_LEN, "a message's head has 40 bytes");

static uint32_t load_u32(const uint8_t *at)
{
	uint32_t value;

	memcpy(&value, at, sizeof(value));
	return be32toh(value);
}

static uint64_t load_u64(const uint8_t *at)
{
	uint64_t value;

	memcpy(&value, at, sizeof(value));
	return be64toh(value);
}

static void store_u32(uint8_t *at, uint32_t value)
{
	value = htobe32(value);
	memcpy(at, &value, sizeof(value));
}

static void store_u64(uint8_t *at, uint64_t value)
{
	value = htobe64(value);
	memcpy(at, &value, sizeof(value));
}

/* The proof of the <len> bytes at <bytes>, at most AT_PROOF, which are of the given <kind>. */
static bool prove(struct proof *proof, const char *kind, const uint8_t *bytes, size_t len, const struct ticket *ticket,
		  const uint8_t *key)
{
	char text[TICKET_TEXT_LEN + 1 + AT_PROOF];

	ticket_format(text, ticket);
	text[TICKET_TEXT_LEN] = '\n';
	memcpy(text + TICKET_TEXT_LEN + 1, bytes, len);
	return proof_compute(proof, key, kind, text, TICKET_TEXT_LEN + 1 + len);
}

static bool is_proven(const uint8_t *wire, const struct ticket *ticket, const uint8_t *key)
{
	struct proof right, seen;
	bool proven = prove(&right, PROOF_OF_GRANT, wire, AT_PROOF, ticket, key);

	memcpy(seen.bytes, wire + AT_PROOF, PROOF_LEN);
	proven = proven && proof_equal(&right, &seen);
	secret_wipe(&right, sizeof(right));
	return proven;
}

static enum grant_error check_slots(const struct grant *grant)
{
	struct data_layout layout = data_layout_of(grant);

	if (!layout.records)
		return grant->slot ? GRANT_BAD_SLOT : GRANT_OK;
	/* The slot behind the last one must exist too: the LB goes on with it. */
	return grant->slot && grant->slot < RECORD_COUNT_MAX - layout.records ? GRANT_OK : GRANT_BAD_SLOT;
}

static enum grant_error check(const struct grant *grant)
{
	if (grant->stream > STREAM_MAX || grant->stream % 2 == 0)
		return GRANT_BAD_STREAM;
	if (!grant->number)
		return GRANT_BAD_NUMBER;
	if (!grant->bytes || grant->bytes > GRANT_BYTES_MAX || grant->first > UINT64_MAX - grant->bytes)
		return GRANT_BAD_BYTES;
	if (!grant->clear || grant->clear > grant->bytes ||
	    (grant->clear > GRANT_CLEAR_MAX && grant->clear < grant->bytes))
		return GRANT_BAD_CLEAR;
	return check_slots(grant);
}

enum grant_error grant_decode(struct grant *grant, const uint8_t wire[static GRANT_WIRE_LEN],
			      const struct ticket *ticket, const uint8_t key[static PROOF_KEY_LEN])
{
	if (!is_proven(wire, ticket, key))
		return GRANT_BAD_PROOF;
	if (wire[AT_VERSION] != WIRE_VERSION)
		return GRANT_BAD_VERSION;
	if ((wire[AT_FLAGS] & ~FLAG_LAST) || wire[AT_RESERVED] || wire[AT_RESERVED + 1] ||
	    load_u64(wire + AT_RESERVED_TOO))
		return GRANT_BAD_RESERVED;
	*grant = (struct grant){
		.last = wire[AT_FLAGS] & FLAG_LAST,
		.stream = load_u32(wire + AT_STREAM),
		.number = load_u64(wire + AT_NUMBER),
		.slot = load_u64(wire + AT_SLOT),
		.first = load_u64(wire + AT_FIRST),
		.bytes = load_u32(wire + AT_BYTES),
		.clear = load_u32(wire + AT_CLEAR),
	};
	return check(grant);
}

const char *grant_error_text(enum grant_error error)
{
	switch (error) {
	case GRANT_OK:
		return "the grant is valid";
	case GRANT_BAD_PROOF:
		return "proof: the grant is not the LB's";
	case GRANT_BAD_VERSION:
		return "version: the grant has another form than 1";
	case GRANT_BAD_RESERVED:
		return "reserved bits of the grant are not zero";
	case GRANT_BAD_STREAM:
		return "stream: not one that a client opens";
	case GRANT_BAD_NUMBER:
		return "number: grants are counted from 1";
	case GRANT_BAD_BYTES:
		return "bytes: none, or more than a grant may have";
	case GRANT_BAD_CLEAR:
		return "clear: none, or more than there are or may be";
	case GRANT_BAD_SLOT:
		return "slot: the records of the grant have no sequence numbers, or too high ones";
	}
	return "unknown fault of a grant";
}

bool grant_message_encode(uint8_t wire[static GRANT_MESSAGE_HEAD_LEN], const struct grant_message *message,
			  const struct ticket *ticket, const uint8_t key[static PROOF_KEY_LEN])
{
	struct proof proof;

	memset(wire, 0, GRANT_MESSAGE_HEAD_LEN);
	wire[MESSAGE_AT_TYPE] = (uint8_t)message->type;
	store_u32(wire + MESSAGE_AT_PAYLOAD, message->payload);
	store_u64(wire + MESSAGE_AT_NUMBER, message->number);
	store_u64(wire + MESSAGE_AT_READY, message->ready);
	if (!prove(&proof, PROOF_OF_MESSAGE, wire, MESSAGE_AT_PROOF, ticket, key)) {
		memset(wire, 0, GRANT_MESSAGE_HEAD_LEN);
		return false;
	}
	memcpy(wire + MESSAGE_AT_PROOF, proof.bytes, PROOF_LEN);
	return true;
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "handoff_message.h"

#include <endian.h>
#include <stdbool.h>
#include <string.h>

#define VERSION 2

/* Where each field lies. */
enum offset {
	AT_VERSION = 0,
	AT_TYPE = 1,
	AT_ZERO = 2,
	AT_HANDOFF = 8,
	AT_FIELDS = 16,
	AT_PARKED_BYTES = AT_FIELDS + TICKET_LEN,
	AT_ANNOUNCEMENT_LEN = AT_PARKED_BYTES + 8,
	AT_TARGET_LEN = AT_ANNOUNCEMENT_LEN + 2,
	AT_PLACE = AT_TARGET_LEN + 2,
	AT_TEXTS = AT_PLACE + 4,
	AT_CAUSE = 24,
};

_Static_assert(HANDOFF_MESSAGE_ANSWER_MAX == AT_TEXTS, "what encode() clears");

/* Bytes of a message of <type>, without texts; 0 if there is no such type. */
static size_t length_of(uint8_t type)
{
	switch (type) {
	case HANDOFF_MESSAGE_PARKED:
		return AT_TEXTS;
	case HANDOFF_MESSAGE_ABANDON:
	case HANDOFF_MESSAGE_RETURNED:
	case HANDOFF_MESSAGE_REFUSED:
	case HANDOFF_MESSAGE_RECALL:
	case HANDOFF_MESSAGE_PLACES:
		return AT_FIELDS;
	case HANDOFF_MESSAGE_LOST:
		return AT_FIELDS + 16;
	case HANDOFF_MESSAGE_PROGRESS:
		return AT_FIELDS + 8;
	default:
		return 0;
	}
}

static uint64_t load_u64(const uint8_t *at)
{
	uint64_t value;

	memcpy(&value, at, sizeof(value));
	return be64toh(value);
}

static void store_u64(uint8_t *at, uint64_t value)
{
	value = htobe64(value);
	memcpy(at, &value, sizeof(value));
}

static size_t load_u16(const uint8_t *at)
{
	return (size_t)(at[0] << 8 | at[1]);
}

static void store_u16(uint8_t *at, size_t value)
{
	at[0] = (uint8_t)(value >> 8);
	at[1] = (uint8_t)value;
}

static bool all_zero(const uint8_t *bytes, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if (bytes[i] != 0)
			return false;
	return true;
}

/* <bytes> has what precedes the texts of a PARKED. */
static enum handoff_message_error check_parked(const uint8_t *bytes, size_t len)
{
	size_t announcement = load_u16(bytes + AT_ANNOUNCEMENT_LEN), target = load_u16(bytes + AT_TARGET_LEN);

	if (announcement > HANDOFF_MESSAGE_ANNOUNCEMENT_MAX || target > HANDOFF_MESSAGE_TARGET_MAX ||
	    len != AT_TEXTS + announcement + target)
		return HANDOFF_MESSAGE_BAD_LENGTH;
	return announcement && target && load_u64(bytes + AT_PARKED_BYTES) ? HANDOFF_MESSAGE_OK
									   : HANDOFF_MESSAGE_BAD_BYTES;
}

static enum handoff_message_error check(const uint8_t *bytes, size_t len)
{
	if (len < AT_FIELDS)
		return HANDOFF_MESSAGE_BAD_LENGTH;
	if (bytes[AT_VERSION] != VERSION)
		return HANDOFF_MESSAGE_BAD_VERSION;
	if (length_of(bytes[AT_TYPE]) == 0)
		return HANDOFF_MESSAGE_BAD_TYPE;
	if (bytes[AT_TYPE] == HANDOFF_MESSAGE_PARKED ? len < AT_TEXTS : len != length_of(bytes[AT_TYPE]))
		return HANDOFF_MESSAGE_BAD_LENGTH;
	if (!all_zero(bytes + AT_ZERO, AT_HANDOFF - AT_ZERO))
		return HANDOFF_MESSAGE_BAD_RESERVED;
	if (bytes[AT_TYPE] == HANDOFF_MESSAGE_PARKED)
		return check_parked(bytes, len);
	if ((bytes[AT_TYPE] == HANDOFF_MESSAGE_RECALL || bytes[AT_TYPE] == HANDOFF_MESSAGE_PLACES) &&
	    load_u64(bytes + AT_HANDOFF) != 0)
		return HANDOFF_MESSAGE_BAD_NUMBER;
	if (bytes[AT_TYPE] != HANDOFF_MESSAGE_LOST)
		return HANDOFF_MESSAGE_OK;
	if (bytes[AT_CAUSE] < HANDOFF_LOSS_CLIENT || bytes[AT_CAUSE] > HANDOFF_LOSS_AGENT)
		return HANDOFF_MESSAGE_BAD_CAUSE;
	return all_zero(bytes + AT_CAUSE + 1, 7) ? HANDOFF_MESSAGE_OK : HANDOFF_MESSAGE_BAD_RESERVED;
}

enum handoff_message_error handoff_message_decode(struct handoff_message *message, const uint8_t *bytes, size_t len)
{
	enum handoff_message_error error = check(bytes, len);

	memset(message, 0, sizeof(*message));
	if (error != HANDOFF_MESSAGE_OK)
		return error;
	message->type = (enum handoff_message_type)bytes[AT_TYPE];
	message->handoff = load_u64(bytes + AT_HANDOFF);
	if (message->type == HANDOFF_MESSAGE_PARKED) {
		memcpy(message->ticket.bytes, bytes + AT_FIELDS, TICKET_LEN);
		message->bytes = load_u64(bytes + AT_PARKED_BYTES);
		message->place = (uint32_t)(load_u16(bytes + AT_PLACE) << 16 | load_u16(bytes + AT_PLACE + 2));
		message->announcement_len = load_u16(bytes + AT_ANNOUNCEMENT_LEN);
		message->target_len = load_u16(bytes + AT_TARGET_LEN);
		message->announcement = (const char *)bytes + AT_TEXTS;
		message->target = message->announcement + message->announcement_len;
	} else if (message->type == HANDOFF_MESSAGE_LOST || message->type == HANDOFF_MESSAGE_PROGRESS) {
		message->bytes = load_u64(bytes + AT_FIELDS);
	}
	if (message->type == HANDOFF_MESSAGE_LOST)
		message->cause = (enum handoff_loss)bytes[AT_CAUSE];
	return HANDOFF_MESSAGE_OK;
}

size_t handoff_message_encode(uint8_t bytes[static HANDOFF_MESSAGE_ANSWER_MAX], const struct handoff_message *message)
{
	memset(bytes, 0, HANDOFF_MESSAGE_ANSWER_MAX);
	bytes[AT_VERSION] = VERSION;
	bytes[AT_TYPE] = (uint8_t)message->type;
	store_u64(bytes + AT_HANDOFF, message->handoff);
	if (message->type == HANDOFF_MESSAGE_PARKED) {
		memcpy(bytes + AT_FIELDS, message->ticket.bytes, TICKET_LEN);
		store_u64(bytes + AT_PARKED_BYTES, message->bytes);
		store_u16(bytes + AT_PLACE, message->place >> 16);
		store_u16(bytes + AT_PLACE + 2, message->place & 0xffff);
		store_u16(bytes + AT_ANNOUNCEMENT_LEN, message->announcement_len);
		store_u16(bytes + AT_TARGET_LEN, message->target_len);
		memcpy(bytes + AT_TEXTS, message->announcement, message->announcement_len);
		memcpy(bytes + AT_TEXTS + message->announcement_len, message->target, message->target_len);
		return AT_TEXTS + message->announcement_len + message->target_len;
	}
	if (message->type == HANDOFF_MESSAGE_LOST || message->type == HANDOFF_MESSAGE_PROGRESS)
		store_u64(bytes + AT_FIELDS, message->bytes);
	if (message->type == HANDOFF_MESSAGE_LOST)
		bytes[AT_CAUSE] = (uint8_t)message->cause;
	return length_of(bytes[AT_TYPE]);
}

const char *handoff_message_error_text(enum handoff_message_error error)
{
	switch (error) {
	case HANDOFF_MESSAGE_OK:
		return "the message is valid";
	case HANDOFF_MESSAGE_BAD_LENGTH:
		return "a message has another length than its type";
	case HANDOFF_MESSAGE_BAD_VERSION:
		return "version: another one than 2";
	case HANDOFF_MESSAGE_BAD_TYPE:
		return "type: unknown";
	case HANDOFF_MESSAGE_BAD_RESERVED:
		return "reserved bytes are not zero";
	case HANDOFF_MESSAGE_BAD_BYTES:
		return "bytes: a connection is parked for no bytes at all, or without saying what they are of";
	case HANDOFF_MESSAGE_BAD_CAUSE:
		return "cause: unknown";
	case HANDOFF_MESSAGE_BAD_NUMBER:
		return "handoff: all are recalled, not one";
	}
	return "unknown fault of a message";
}

const char *handoff_loss_text(enum handoff_loss cause)
{
	switch (cause) {
	case HANDOFF_LOSS_CLIENT:
		return "the client";
	case HANDOFF_LOSS_NODE:
		return "the node";
	case HANDOFF_LOSS_AGENT:
		return "this agent";
	}
	return "nobody known";
}

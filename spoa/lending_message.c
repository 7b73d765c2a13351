/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "lending_message.h"

#include <endian.h>
#include <stdbool.h>
#include <string.h>

#define VERSION 1

/* Where each field lies. */
enum offset {
	AT_VERSION = 0,
	AT_TYPE = 1,
	AT_ZERO = 2,
	AT_LOAN = 8,
	AT_REST = 16,
	AT_LEND_BYTES = AT_REST + TICKET_LEN,
	AT_CAUSE = 24,
};

/* Bytes of a message of <type>; 0 if there is no such type. */
static size_t length_of(uint8_t type)
{
	switch (type) {
	case LENDING_LEND:
		return AT_LEND_BYTES + 8;
	case LENDING_ABANDON:
	case LENDING_RETURNED:
	case LENDING_TAKEN:
	case LENDING_REFUSED:
	case LENDING_RECALL:
		return AT_REST;
	case LENDING_LOST:
		return AT_REST + 16;
	case LENDING_PROGRESS:
		return AT_REST + 8;
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

static bool all_zero(const uint8_t *bytes, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if (bytes[i] != 0)
			return false;
	return true;
}

static enum lending_error check(const uint8_t *bytes, size_t len)
{
	if (len < AT_REST)
		return LENDING_BAD_LENGTH;
	if (bytes[AT_VERSION] != VERSION)
		return LENDING_BAD_VERSION;
	if (length_of(bytes[AT_TYPE]) == 0)
		return LENDING_BAD_TYPE;
	if (len != length_of(bytes[AT_TYPE]))
		return LENDING_BAD_LENGTH;
	if (!all_zero(bytes + AT_ZERO, AT_LOAN - AT_ZERO))
		return LENDING_BAD_RESERVED;
	if (bytes[AT_TYPE] == LENDING_LEND && load_u64(bytes + AT_LEND_BYTES) == 0)
		return LENDING_BAD_BYTES;
	if (bytes[AT_TYPE] == LENDING_RECALL && load_u64(bytes + AT_LOAN) != 0)
		return LENDING_BAD_LOAN;
	if (bytes[AT_TYPE] != LENDING_LOST)
		return LENDING_OK;
	if (bytes[AT_CAUSE] < LENDING_CAUSE_CLIENT || bytes[AT_CAUSE] > LENDING_CAUSE_AGENT)
		return LENDING_BAD_CAUSE;
	return all_zero(bytes + AT_CAUSE + 1, 7) ? LENDING_OK : LENDING_BAD_RESERVED;
}

enum lending_error lending_message_decode(struct lending_message *message, const uint8_t *bytes, size_t len)
{
	enum lending_error error = check(bytes, len);

	memset(message, 0, sizeof(*message));
	if (error != LENDING_OK)
		return error;
	message->type = (enum lending_type)bytes[AT_TYPE];
	message->loan = load_u64(bytes + AT_LOAN);
	if (message->type == LENDING_LEND) {
		memcpy(message->ticket.bytes, bytes + AT_REST, TICKET_LEN);
		message->bytes = load_u64(bytes + AT_LEND_BYTES);
	} else if (message->type == LENDING_LOST || message->type == LENDING_PROGRESS) {
		message->bytes = load_u64(bytes + AT_REST);
	}
	if (message->type == LENDING_LOST)
		message->cause = (enum lending_cause)bytes[AT_CAUSE];
	return LENDING_OK;
}

size_t lending_message_encode(uint8_t bytes[static LENDING_MESSAGE_MAX], const struct lending_message *message)
{
	memset(bytes, 0, LENDING_MESSAGE_MAX);
	bytes[AT_VERSION] = VERSION;
	bytes[AT_TYPE] = (uint8_t)message->type;
	store_u64(bytes + AT_LOAN, message->loan);
	if (message->type == LENDING_LEND) {
		memcpy(bytes + AT_REST, message->ticket.bytes, TICKET_LEN);
		store_u64(bytes + AT_LEND_BYTES, message->bytes);
	} else if (message->type == LENDING_LOST || message->type == LENDING_PROGRESS) {
		store_u64(bytes + AT_REST, message->bytes);
	}
	if (message->type == LENDING_LOST)
		bytes[AT_CAUSE] = (uint8_t)message->cause;
	return length_of(bytes[AT_TYPE]);
}

const char *lending_error_text(enum lending_error error)
{
	switch (error) {
	case LENDING_OK:
		return "the message is valid";
	case LENDING_BAD_LENGTH:
		return "a message has another length than its type";
	case LENDING_BAD_VERSION:
		return "version: another one than 1";
	case LENDING_BAD_TYPE:
		return "type: unknown";
	case LENDING_BAD_RESERVED:
		return "reserved bytes are not zero";
	case LENDING_BAD_BYTES:
		return "bytes: a connection is lent for no bytes at all";
	case LENDING_BAD_CAUSE:
		return "cause: unknown";
	case LENDING_BAD_LOAN:
		return "loan: all are recalled, not one";
	}
	return "unknown fault of a message";
}

const char *lending_cause_text(enum lending_cause cause)
{
	switch (cause) {
	case LENDING_CAUSE_CLIENT:
		return "the client";
	case LENDING_CAUSE_NODE:
		return "the node";
	case LENDING_CAUSE_AGENT:
		return "this agent";
	}
	return "nobody known";
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "dns_answer.h"

#include <string.h>
#include <strings.h>

#define CLASS_IN 1u
#define LABEL_MAX 63u
#define POINTER 0xc0u

struct reader {
	const uint8_t *bytes;
	size_t len, at;
};

static bool skip(struct reader *reader, size_t count)
{
	if (count > reader->len - reader->at)
		return false;
	reader->at += count;
	return true;
}

static bool read_u16(struct reader *reader, uint16_t *value)
{
	const uint8_t *bytes = reader->bytes + reader->at;

	if (!skip(reader, 2))
		return false;
	*value = (uint16_t)(bytes[0] << 8 | bytes[1]);
	return true;
}

static bool read_u32(struct reader *reader, uint32_t *value)
{
	uint16_t high, low;

	if (!read_u16(reader, &high) || !read_u16(reader, &low))
		return false;
	*value = (uint32_t)high << 16 | low;
	return true;
}

/* Appends a label to <name>, which has <*used> bytes. A byte that no host name has would be something else in a text. */
static bool append_label(char name[static DNS_NAME_SIZE], size_t *used, const uint8_t *label, size_t len)
{
	size_t at = *used;

	if (at + (at > 0) + len >= DNS_NAME_SIZE)
		return false;
	if (at)
		name[at++] = '.';
	for (size_t i = 0; i < len; i++) {
		if (label[i] <= ' ' || label[i] > '~' || label[i] == '.' || label[i] == '\\')
			return false;
		name[at++] = (char)label[i];
	}
	*used = at;
	return true;
}

/* Reads a name, of which a pointer may be the rest (RFC 1035, 4.1.4). Pointers go backwards only, each behind the one before, so there
 * is no loop. */
static bool read_name(struct reader *reader, char name[static DNS_NAME_SIZE])
{
	size_t at = reader->at, end = 0, lowest = reader->at, used = 0;

	while (at < reader->len) {
		size_t len = reader->bytes[at++];

		if (!len) {
			name[used] = '\0';
			reader->at = end ? end : at;
			return true;
		}
		if ((len & POINTER) == POINTER) {
			if (at == reader->len)
				return false;
			if (!end)
				end = at + 1;
			at = (len & ~(size_t)POINTER) << 8 | reader->bytes[at];
			if (at >= lowest)
				return false;
			lowest = at;
			continue;
		}
		if (len > LABEL_MAX || len > reader->len - at || !append_label(name, &used, reader->bytes + at, len))
			return false;
		at += len;
	}
	return false;
}

struct record {
	char owner[DNS_NAME_SIZE];
	uint16_t type, class, len;
	uint32_t ttl;
	size_t data; /* where its data begin */
};

static bool read_record(struct reader *reader, struct record *record)
{
	if (!read_name(reader, record->owner) || !read_u16(reader, &record->type) ||
	    !read_u16(reader, &record->class) || !read_u32(reader, &record->ttl) || !read_u16(reader, &record->len))
		return false;
	record->data = reader->at;
	return skip(reader, record->len);
}

static bool take_address(struct dns_answer *answer, const struct reader *reader, const struct record *record)
{
	if (record->len != (record->type == DNS_TYPE_A ? 4 : 16))
		return false;
	if (answer->count < DNS_ANSWER_MAX)
		memcpy(answer->records.addresses[answer->count++], reader->bytes + record->data, record->len);
	else
		answer->ignored++;
	return true;
}

static bool take_service(struct dns_answer *answer, const struct reader *reader, const struct record *record)
{
	struct reader data = {reader->bytes, reader->len, record->data};
	struct dns_service service;

	if (!skip(&data, 4) || !read_u16(&data, &service.port) || !read_name(&data, service.target) ||
	    data.at != record->data + record->len)
		return false;
	if (!service.target[0])
		return true;
	if (answer->count < DNS_ANSWER_SERVICES_MAX)
		answer->records.services[answer->count++] = service;
	else
		answer->ignored++;
	return true;
}

/* RFC 2181, section 8: a number with its highest bit set is 0. */
static void lower_ttl(struct dns_answer *answer, uint32_t ttl)
{
	if (ttl > INT32_MAX)
		ttl = 0;
	if (ttl < answer->ttl)
		answer->ttl = ttl;
}

/* Takes a record whose owner is <name>, which an alias changes. Returns false if it is malformed. */
static bool take_record(struct dns_answer *answer, const struct reader *reader, const struct record *record,
			enum dns_type type, char name[static DNS_NAME_SIZE])
{
	struct reader data = {reader->bytes, reader->len, record->data};

	if (record->type != type && record->type != DNS_TYPE_CNAME)
		return true;
	lower_ttl(answer, record->ttl);
	if (record->type == DNS_TYPE_CNAME)
		return read_name(&data, name) && data.at == record->data + record->len;
	return type == DNS_TYPE_SRV ? take_service(answer, reader, record) : take_address(answer, reader, record);
}

int dns_answer_read(struct dns_answer *answer, const uint8_t *message, size_t len, enum dns_type type)
{
	struct reader reader = {message, len, 0};
	uint16_t id, flags, questions, answers;
	char name[DNS_NAME_SIZE];

	answer->count = answer->ignored = 0;
	answer->ttl = UINT32_MAX;
	if (!read_u16(&reader, &id) || !read_u16(&reader, &flags) || !read_u16(&reader, &questions) ||
	    !read_u16(&reader, &answers) || !skip(&reader, 4))
		return -1;
	/* A response without error, complete, to one question. */
	if (!(flags & 0x8000u) || (flags & 0x020fu) || questions != 1)
		return -1;
	if (!read_name(&reader, name) || !skip(&reader, 4))
		return -1;
	for (unsigned i = 0; i < answers; i++) {
		struct record record;

		if (!read_record(&reader, &record))
			return -1;
		if (record.class == CLASS_IN && strcasecmp(record.owner, name) == 0 &&
		    !take_record(answer, &reader, &record, type, name))
			return -1;
	}
	if (!answer->count)
		answer->ttl = 0;
	return 0;
}

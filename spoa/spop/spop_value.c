/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "spop_value.h"

#include <string.h>

/* A varint's first byte holds numbers below 240 alone; above, it holds the low 4 bits, and each further byte 7 more. */
#define VARINT_FIRST_MORE 240u
#define VARINT_NEXT_MORE 128u

#define DATA_TYPE_MASK 0x0fu
#define DATA_TRUE 0x10u

bool spop_read_byte(struct spop_reader *reader, uint8_t *byte)
{
	if (reader->p == reader->end)
		return false;
	*byte = *reader->p++;
	return true;
}

bool spop_read_varint(struct spop_reader *reader, uint64_t *number)
{
	uint8_t byte;

	if (!spop_read_byte(reader, &byte))
		return false;
	*number = byte;
	if (byte < VARINT_FIRST_MORE)
		return true;
	for (unsigned count = 2, shift = 4; count <= SPOP_VARINT_MAX; count++, shift += 7) {
		if (!spop_read_byte(reader, &byte))
			return false;
		/* The continuation bit is added, not or-ed, by the encoding: so are all bits here. */
		uint64_t part = (uint64_t)byte << shift;
		if (part >> shift != byte || *number + part < *number)
			return false;
		*number += part;
		if (byte < VARINT_NEXT_MORE)
			return true;
	}
	return false;
}

static bool read_slice(struct spop_reader *reader, uint64_t len, struct spop_slice *slice)
{
	if (len > (uint64_t)(reader->end - reader->p))
		return false;
	slice->data = reader->p;
	slice->len = (size_t)len;
	reader->p += len;
	return true;
}

bool spop_read_string(struct spop_reader *reader, struct spop_slice *string)
{
	uint64_t len;

	return spop_read_varint(reader, &len) && read_slice(reader, len, string);
}

bool spop_read_value(struct spop_reader *reader, struct spop_value *value)
{
	uint8_t head;

	memset(value, 0, sizeof(*value));
	if (!spop_read_byte(reader, &head))
		return false;
	value->type = (enum spop_data_type)(head & DATA_TYPE_MASK);
	switch (value->type) {
	case SPOP_DATA_NULL:
		return true;
	case SPOP_DATA_BOOL:
		value->number = (head & DATA_TRUE) != 0;
		return true;
	case SPOP_DATA_INT32:
	case SPOP_DATA_INT64:
	case SPOP_DATA_UINT64:
		return spop_read_varint(reader, &value->number);
	case SPOP_DATA_UINT32:
		return spop_read_varint(reader, &value->number) && value->number <= UINT32_MAX;
	case SPOP_DATA_IPV4:
		return read_slice(reader, 4, &value->bytes);
	case SPOP_DATA_IPV6:
		return read_slice(reader, 16, &value->bytes);
	case SPOP_DATA_STRING:
	case SPOP_DATA_BINARY:
		return spop_read_string(reader, &value->bytes);
	}
	return false;
}

bool spop_slice_is(struct spop_slice slice, const char *text)
{
	return slice.len == strlen(text) && memcmp(slice.data, text, slice.len) == 0;
}

void spop_write_bytes(struct spop_writer *writer, const void *bytes, size_t len)
{
	if (writer->full || len > (size_t)(writer->end - writer->p)) {
		writer->full = true;
		return;
	}
	memcpy(writer->p, bytes, len);
	writer->p += len;
}

void spop_write_byte(struct spop_writer *writer, uint8_t byte)
{
	spop_write_bytes(writer, &byte, 1);
}

void spop_write_varint(struct spop_writer *writer, uint64_t number)
{
	if (number < VARINT_FIRST_MORE) {
		spop_write_byte(writer, (uint8_t)number);
		return;
	}
	spop_write_byte(writer, (uint8_t)(number | VARINT_FIRST_MORE));
	number = (number - VARINT_FIRST_MORE) >> 4;
	while (number >= VARINT_NEXT_MORE) {
		spop_write_byte(writer, (uint8_t)(number | VARINT_NEXT_MORE));
		number = (number - VARINT_NEXT_MORE) >> 7;
	}
	spop_write_byte(writer, (uint8_t)number);
}

void spop_write_string(struct spop_writer *writer, const char *text)
{
	size_t len = strlen(text);

	spop_write_varint(writer, len);
	spop_write_bytes(writer, text, len);
}

void spop_write_text_value(struct spop_writer *writer, const char *text)
{
	spop_write_byte(writer, SPOP_DATA_STRING);
	spop_write_string(writer, text);
}

void spop_write_uint32_value(struct spop_writer *writer, uint32_t number)
{
	spop_write_byte(writer, SPOP_DATA_UINT32);
	spop_write_varint(writer, number);
}

void spop_write_uint64_value(struct spop_writer *writer, uint64_t number)
{
	spop_write_byte(writer, SPOP_DATA_UINT64);
	spop_write_varint(writer, number);
}

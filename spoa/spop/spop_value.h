/* SPDX-License-Identifier: GPL-2.0-or-later */
/* SPOP values: varints, strings and typed data (HAProxy's doc/SPOE.txt, section 3.1). Bytes in, values out; nothing
 * that is read is trusted: a varint has at most SPOP_VARINT_MAX bytes, and a length is compared with what is left
 * before it is added to anything.
 */
#ifndef DISC_SPOP_VALUE_H
#define DISC_SPOP_VALUE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SPOP_VARINT_MAX 10u /* bytes of the longest varint: 64 bits are 4 + 8 * 7 + 4 */

/* Bytes that lie inside a frame: not terminated, valid as long as the frame is. */
struct spop_slice {
	const uint8_t *data;
	size_t len;
};

/* Place in a frame. Reading moves <p> forward; a failed read leaves it anywhere up to <end>. */
struct spop_reader {
	const uint8_t *p;
	const uint8_t *end;
};

enum spop_data_type {
	SPOP_DATA_NULL = 0,
	SPOP_DATA_BOOL = 1,  /* <number> is 0 or 1 */
	SPOP_DATA_INT32 = 2, /* <number> is the two's complement, sign-extended */
	SPOP_DATA_UINT32 = 3,
	SPOP_DATA_INT64 = 4, /* as INT32 */
	SPOP_DATA_UINT64 = 5,
	SPOP_DATA_IPV4 = 6, /* <bytes> has 4, network order */
	SPOP_DATA_IPV6 = 7, /* <bytes> has 16 */
	SPOP_DATA_STRING = 8,
	SPOP_DATA_BINARY = 9,
};

struct spop_value {
	enum spop_data_type type;
	uint64_t number;
	struct spop_slice bytes;
};

/* Each returns true, or false if the bytes end too early, a varint is longer than SPOP_VARINT_MAX bytes or over 64
 * bits, or (spop_read_value) the type is unknown. */
bool spop_read_byte(struct spop_reader *reader, uint8_t *byte);
bool spop_read_varint(struct spop_reader *reader, uint64_t *number);
bool spop_read_string(struct spop_reader *reader, struct spop_slice *string);
bool spop_read_value(struct spop_reader *reader, struct spop_value *value);

/* True if <slice> holds exactly the characters of <text>. */
bool spop_slice_is(struct spop_slice slice, const char *text);

/* Place in a buffer that is filled. When something does not fit, <full> is set and stays so; nothing is written
 * then. */
struct spop_writer {
	uint8_t *start;
	uint8_t *p;
	uint8_t *end;
	bool full;
};

void spop_write_byte(struct spop_writer *writer, uint8_t byte);
void spop_write_varint(struct spop_writer *writer, uint64_t number);
void spop_write_bytes(struct spop_writer *writer, const void *bytes, size_t len);
void spop_write_string(struct spop_writer *writer, const char *text);      /* length and characters */
void spop_write_text_value(struct spop_writer *writer, const char *text);  /* typed: SPOP_DATA_STRING */
void spop_write_uint32_value(struct spop_writer *writer, uint32_t number); /* typed: SPOP_DATA_UINT32 */
void spop_write_uint64_value(struct spop_writer *writer, uint64_t number); /* typed: SPOP_DATA_UINT64 */

#endif

/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What control.c and control_direct.c share: fields between our structs and protobuf-c's, and the direct path's
 * messages. Private to the two. */
#ifndef DISC_CONTROL_PACK_H
#define DISC_CONTROL_PACK_H

#include <stdbool.h>
#include <string.h>

#include "control.h"
#include "control.pb-c.h"

static inline bool text_fits(struct control_text text)
{
	return text.len <= CONTROL_TEXT_MAX;
}

static inline ProtobufCBinaryData pack_text(struct control_text text)
{
	return (ProtobufCBinaryData){.len = text.len, .data = (uint8_t *)text.data};
}

static inline ProtobufCBinaryData pack_ticket(const struct ticket *ticket)
{
	return (ProtobufCBinaryData){.len = TICKET_LEN, .data = (uint8_t *)ticket->bytes};
}

static inline bool unpack_text(struct control_text *text, ProtobufCBinaryData packed)
{
	*text = (struct control_text){.data = packed.len ? (const char *)packed.data : "", .len = packed.len};
	return text_fits(*text);
}

static inline bool unpack_ticket(struct ticket *ticket, ProtobufCBinaryData packed)
{
	if (packed.len != TICKET_LEN)
		return false;
	memcpy(ticket->bytes, packed.data, TICKET_LEN);
	return true;
}

/* Packs <envelope> into <out> (<cap> bytes), its size into <*len>. Returns CONTROL_OK or CONTROL_TOO_LONG. */
static inline enum control_error pack_envelope(Disc__Control__Envelope *envelope, uint8_t *out, size_t cap, size_t *len)
{
	size_t size = disc__control__envelope__get_packed_size(envelope);

	if (size > CONTROL_MESSAGE_MAX || size > cap)
		return CONTROL_TOO_LONG;
	*len = disc__control__envelope__pack(envelope, out);
	return CONTROL_OK;
}

/* Encode a message of the direct path (CONTROL_HANDOFF to CONTROL_RELEASE), as control_encode(). */
enum control_error control_direct_encode(const struct control_message *message, uint8_t *out, size_t cap, size_t *len);

/* Decodes a message of the direct path; texts and bytes point into <envelope>. Returns CONTROL_OK, also for a message
 * that this version does not know, which becomes CONTROL_UNKNOWN, or what control_decode() returns. */
enum control_error control_direct_decode(struct control_message *message, const Disc__Control__Envelope *envelope);

#endif

/* SPDX-License-Identifier: GPL-2.0-or-later */
/* SPOP 2.0 frames (HAProxy's doc/SPOE.txt, section 3.2): bytes in, struct out, no descriptors. A frame is
 *
 *   length u32 | type u8 | flags u32 | stream-id varint | frame-id varint | payload
 *
 * where <length> counts what follows it. Functions that read take the frame without <length>; those that build write
 * it.
 */
#ifndef DISC_SPOP_FRAME_H
#define DISC_SPOP_FRAME_H

#include "spop_value.h"

#define SPOP_PREFIX_LEN 4u         /* bytes of <length> */
#define SPOP_FRAME_SIZE_MIN 256u   /* lowest max-frame-size that may be negotiated */
#define SPOP_FRAME_SIZE_MAX 16380u /* highest that this agent takes: HAProxy's default buffer less the prefix */
#define SPOP_DISCONNECT_MAX 320u   /* bytes of the longest AGENT-DISCONNECT with its prefix */
#define SPOP_MESSAGE_TEXT_MAX 255u /* bytes of the text in a DISCONNECT */

enum spop_frame_type {
	SPOP_FRAGMENT = 0, /* continues a fragmented frame: never accepted here */
	SPOP_HAPROXY_HELLO = 1,
	SPOP_HAPROXY_DISCONNECT = 2,
	SPOP_NOTIFY = 3,
	SPOP_AGENT_HELLO = 101,
	SPOP_AGENT_DISCONNECT = 102,
	SPOP_ACK = 103,
};

/* Status codes of DISCONNECT frames: name, code on the wire, text. */
#define SPOP_STATUS_TABLE(X)                                        \
	X(NORMAL, 0, "normal")                                      \
	X(IO_ERROR, 1, "I/O error")                                 \
	X(TIMEOUT, 2, "a timeout occurred")                         \
	X(TOO_BIG, 3, "frame is too big")                           \
	X(INVALID, 4, "invalid frame received")                     \
	X(NO_VERSION, 5, "version value not found")                 \
	X(NO_FRAME_SIZE, 6, "max-frame-size value not found")       \
	X(NO_CAPABILITIES, 7, "capabilities value not found")       \
	X(BAD_VERSION, 8, "unsupported version")                    \
	X(BAD_FRAME_SIZE, 9, "max-frame-size too big or too small") \
	X(FRAGMENTED, 10, "payload fragmentation is not supported") \
	X(INTERLACED, 11, "invalid interlaced frames")              \
	X(NO_FRAME_ID, 12, "frame-id not found")                    \
	X(NO_RESOURCE, 13, "resource allocation error")             \
	X(UNKNOWN, 99, "an unknown error occurred")

enum spop_status {
#define SPOP_STATUS_ENUM(name, code, text) SPOP_STATUS_##name = code,
	SPOP_STATUS_TABLE(SPOP_STATUS_ENUM)
#undef SPOP_STATUS_ENUM
};

/* Returns the text of <status>; never NULL. */
const char *spop_status_text(enum spop_status status);

struct spop_frame {
	enum spop_frame_type type;
	uint64_t stream_id, frame_id;
	struct spop_slice payload;
};

/* Reads the head of the frame in <bytes>. Returns SPOP_STATUS_NORMAL; SPOP_STATUS_FRAGMENTED for a fragment or an
 * aborted one; SPOP_STATUS_INVALID if it is cut, of a type that HAProxy does not send, or a HELLO or DISCONNECT with
 * ids. */
enum spop_status spop_frame_read(struct spop_frame *frame, const uint8_t *bytes, size_t len);

struct spop_hello {
	uint32_t max_frame_size;     /* what HAProxy offers, at least SPOP_FRAME_SIZE_MIN */
	bool pipelining;             /* among HAProxy's capabilities */
	bool healthcheck;            /* only a health check: answer and close */
	struct spop_slice engine_id; /* empty if not sent */
};

/* Reads the payload of a HAPROXY-HELLO. Unknown keys are skipped. Returns SPOP_STATUS_NORMAL, or what is missing or
 * wrong: NO_VERSION, BAD_VERSION (2.x not among them), NO_FRAME_SIZE, BAD_FRAME_SIZE, NO_CAPABILITIES, INVALID. */
enum spop_status spop_hello_read(struct spop_hello *hello, struct spop_slice payload);

struct spop_disconnect {
	uint32_t status;
	struct spop_slice message;
};

/* Reads the payload of a HAPROXY-DISCONNECT. Returns SPOP_STATUS_NORMAL or SPOP_STATUS_INVALID. */
enum spop_status spop_disconnect_read(struct spop_disconnect *disconnect, struct spop_slice payload);

/* Walk through the messages of a NOTIFY and the arguments of each. */
struct spop_notify {
	struct spop_reader reader;
	unsigned arguments; /* still to come in this message */
};

enum spop_step {
	SPOP_STEP_MESSAGE,  /* <name> is the message's */
	SPOP_STEP_ARGUMENT, /* <name> and <value> are the argument's */
	SPOP_STEP_END,      /* the payload ended where a message did */
	SPOP_STEP_FAULT,    /* malformed: nothing of it can be trusted */
};

struct spop_item {
	struct spop_slice name;
	struct spop_value value;
};

void spop_notify_begin(struct spop_notify *notify, struct spop_slice payload);

/* Returns what comes next and fills <item>. Must not be called again after END or FAULT. */
enum spop_step spop_notify_next(struct spop_notify *notify, struct spop_item *item);

enum spop_scope {
	SPOP_SCOPE_PROCESS,
	SPOP_SCOPE_SESSION,
	SPOP_SCOPE_TRANSACTION,
	SPOP_SCOPE_REQUEST,
	SPOP_SCOPE_RESPONSE
};

/* Begins in <out> (<cap> bytes) the ACK of a NOTIFY with these ids; then any number of variables; then the end, which
 * returns the size in bytes of the whole frame with its prefix, or 0 if it did not fit. */
void spop_ack_begin(struct spop_writer *ack, uint8_t *out, size_t cap, uint64_t stream_id, uint64_t frame_id);
void spop_ack_set_text(struct spop_writer *ack, enum spop_scope scope, const char *name, const char *text);
void spop_ack_set_number(struct spop_writer *ack, enum spop_scope scope, const char *name, uint64_t number);
/* <address> is an IPv4 address in 4 bytes, or an IPv6 address in 16. */
void spop_ack_set_address(struct spop_writer *ack, enum spop_scope scope, const char *name, const uint8_t *address,
			  size_t len);
size_t spop_ack_end(struct spop_writer *ack);

/* Builds an AGENT-HELLO for version 2.0 in <out>. Returns its size in bytes, or 0 if <cap> is too small. */
size_t spop_build_hello(uint8_t *out, size_t cap, uint32_t max_frame_size, bool pipelining);

/* Builds an AGENT-DISCONNECT; <message> is cut to SPOP_MESSAGE_TEXT_MAX bytes. Returns its size in bytes, or 0 if <cap>
 * is too small; SPOP_DISCONNECT_MAX always suffices. */
size_t spop_build_disconnect(uint8_t *out, size_t cap, enum spop_status status, const char *message);

#endif

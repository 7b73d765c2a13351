/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Grant: what the LB lets a node seal next of one HTTP/2 stream's body, and what the node says in return. Both travel on
 * the fetch hop, grants behind the request, the node's messages as chunks of the response's body (doc/protocol.md 6).
 *
 * A grant, 64 bytes, big-endian:
 *
 *   offset  size  field
 *        0     1  version: 1
 *        1     1  flags: 1, it ends the body
 *        2     2  0
 *        4     4  stream
 *        8     8  number: 1, 2, 3, ... of its ticket
 *       16     8  slot: sequence number of the first record; 0, if nothing is to be sealed
 *       24     8  first: offset in the body of its first byte
 *       32     4  bytes
 *       36     4  clear: bytes at the beginning that the node does not seal
 *       40     8  0
 *       48    16  proof: kind PROOF_OF_GRANT, over the ticket as 32 digits, LF, and the 48 bytes before
 *
 * A message's head, 40 bytes; its payload follows:
 *
 *        0     1  type: enum grant_message_type
 *        1     3  0
 *        4     4  bytes of payload
 *        8     8  number of the grant; of a report, that of the grant answered last, or 0
 *       16     8  ready: offset in the body up to which a grant may reach now
 *       24    16  proof: kind PROOF_OF_MESSAGE, over the ticket as 32 digits, LF, and the 24 bytes before
 */
#ifndef DISC_GRANT_H
#define DISC_GRANT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proof.h"
#include "ticket.h"

#define GRANT_WIRE_LEN 64u
#define GRANT_BYTES_MAX 262144u /* of one grant */
#define GRANT_CLEAR_MAX 1024u   /* of one that has bytes to be sealed, too */
#define GRANT_MESSAGE_HEAD_LEN 40u

struct grant {
	bool last;       /* it ends the body: its last DATA frame has END_STREAM (RFC 9113 6.1) */
	uint32_t stream; /* identifier, odd (RFC 9113 5.1.1) */
	uint64_t number;
	uint64_t slot; /* 0: all bytes are clear */
	uint64_t first;
	uint32_t bytes, clear;
};

enum grant_error {
	GRANT_OK = 0,
	GRANT_BAD_PROOF,
	GRANT_BAD_VERSION,  /* another version than 1 */
	GRANT_BAD_RESERVED, /* unknown flags, or reserved bytes are not 0 */
	GRANT_BAD_STREAM,   /* not the identifier of a stream that a client opened */
	GRANT_BAD_NUMBER,   /* 0 */
	GRANT_BAD_BYTES,    /* none, more than GRANT_BYTES_MAX, or their end would wrap */
	GRANT_BAD_CLEAR,    /* none, more than there are, or more than GRANT_CLEAR_MAX but not all */
	GRANT_BAD_SLOT,     /* 0 with bytes to be sealed, not 0 without, or 2^24 records are exceeded */
};

/* Reads a grant of <ticket>, whose proof key is <key>. Returns GRANT_OK; or the first fault found, with <grant>
 * undefined: the proof is looked at first. Whether it fits what was granted before is not judged here. */
enum grant_error grant_decode(struct grant *grant, const uint8_t wire[static GRANT_WIRE_LEN],
			      const struct ticket *ticket, const uint8_t key[static PROOF_KEY_LEN]);

/* Returns a text for <error> that names the field; never NULL, never to be freed. */
const char *grant_error_text(enum grant_error error);

enum grant_message_type {
	GRANT_MESSAGE_ANSWER = 1, /* payload: the grant's clear bytes, then its records (data_record.h) */
	GRANT_MESSAGE_REPORT = 2, /* no payload: more is ready */
};

struct grant_message {
	enum grant_message_type type;
	uint32_t payload; /* bytes */
	uint64_t number;
	uint64_t ready;
};

/* Writes the head of <message>, proven for <ticket> under <key>, to <wire>. Returns true; or false, with <wire> zeroed,
 * if the proof cannot be computed. */
bool grant_message_encode(uint8_t wire[static GRANT_MESSAGE_HEAD_LEN], const struct grant_message *message,
			  const struct ticket *ticket, const uint8_t key[static PROOF_KEY_LEN]);

#endif

/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Messages of the handoff socket between HAProxy and disc-spoa (doc/direct-path.md, "The handoff socket"). A codec:
 * bytes in, struct out; handoff_server carries the descriptor that accompanies PARKED. Big-endian:
 *
 *   offset  size  field
 *        0     1  version: 2
 *        1     1  type: enum handoff_message_type
 *        2     6  0
 *        8     8  handoff; 0 in RECALL and PLACES
 *       16    16  PARKED: ticket
 *       32     8  PARKED: bytes
 *       40     2  PARKED: bytes of the announcement, 1 to 511
 *       42     2  PARKED: bytes of the target, 1 to 15360
 *       44     4  PARKED: place
 *       48        PARKED: announcement, then target
 *       16     8  LOST, PROGRESS: bytes
 *       24     1  LOST: cause, enum handoff_loss
 *       25     7  LOST: 0
 */
#ifndef DISC_HANDOFF_MESSAGE_H
#define DISC_HANDOFF_MESSAGE_H

#include <stddef.h>
#include <stdint.h>

#include "ticket.h"

#define HANDOFF_MESSAGE_ANNOUNCEMENT_MAX 511u
#define HANDOFF_MESSAGE_TARGET_MAX 15360u /* HAProxy asks disc-spoa about no longer one */
/* Bytes of the longest message, and room for any that an agent sends. */
#define HANDOFF_MESSAGE_MAX (48u + HANDOFF_MESSAGE_ANNOUNCEMENT_MAX + HANDOFF_MESSAGE_TARGET_MAX)
#define HANDOFF_MESSAGE_ANSWER_MAX 48u

/* The numbers are those of the wire. */
enum handoff_message_type {
	/* HAProxy to agent */
	HANDOFF_MESSAGE_PARKED = 1,  /* ticket, bytes of all records to be sent, what they are of; one descriptor */
	HANDOFF_MESSAGE_ABANDON = 2, /* HAProxy has closed the client's connection */
	HANDOFF_MESSAGE_RECALL = 8,  /* <handoff> is 0: give back all handoffs of this connection of the socket */
	HANDOFF_MESSAGE_PLACES = 9,  /* <handoff> is 0; the first; with one descriptor, of memory that both share */
	/* agent to HAProxy */
	HANDOFF_MESSAGE_RETURNED = 3, /* all records were written, the connection lives */
	HANDOFF_MESSAGE_LOST = 4,     /* bytes, cause */
	HANDOFF_MESSAGE_PROGRESS = 5, /* bytes */
	HANDOFF_MESSAGE_REFUSED = 7,  /* the connection is as it was parked: HAProxy goes on by the splice path */
};

enum handoff_loss {
	HANDOFF_LOSS_CLIENT = 1,
	HANDOFF_LOSS_NODE = 2,
	HANDOFF_LOSS_AGENT = 3,
};

struct handoff_message {
	enum handoff_message_type type;
	uint64_t handoff;     /* number that HAProxy chose; none is used twice on one connection */
	struct ticket ticket; /* PARKED */
	uint32_t place;       /* PARKED: where in the shared memory the agent says that it takes the connection */
	uint64_t bytes;       /* PARKED: of all records. LOST and PROGRESS: of records that the client acknowledged */
	/* PARKED: the node's Disc-Body, with its proof, and path and query of the fetch; they lie in the bytes decoded */
	const char *announcement, *target;
	size_t announcement_len, target_len;
	enum handoff_loss cause; /* LOST */
};

enum handoff_message_error {
	HANDOFF_MESSAGE_OK = 0,
	HANDOFF_MESSAGE_BAD_LENGTH,   /* not the length of its type */
	HANDOFF_MESSAGE_BAD_VERSION,  /* another one than 2 */
	HANDOFF_MESSAGE_BAD_TYPE,     /* unknown */
	HANDOFF_MESSAGE_BAD_RESERVED, /* reserved bytes are not 0 */
	HANDOFF_MESSAGE_BAD_BYTES,    /* PARKED without any byte of records, announcement or target */
	HANDOFF_MESSAGE_BAD_CAUSE,    /* unknown */
	HANDOFF_MESSAGE_BAD_NUMBER,   /* RECALL or PLACES of one handoff */
};

/* Reads one message of <len> bytes, in either direction. Returns HANDOFF_MESSAGE_OK, or the first fault found, with
 * <message> zeroed. */
enum handoff_message_error handoff_message_decode(struct handoff_message *message, const uint8_t *bytes, size_t len);

/* Writes <message>, which decode() would accept, to <bytes>: HANDOFF_MESSAGE_MAX of them for PARKED. Returns its length in
 * bytes. */
size_t handoff_message_encode(uint8_t bytes[static HANDOFF_MESSAGE_ANSWER_MAX], const struct handoff_message *message);

/* Texts that are never NULL. */
const char *handoff_message_error_text(enum handoff_message_error error);
const char *handoff_loss_text(enum handoff_loss cause);

#endif

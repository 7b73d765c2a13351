/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Messages of the lending socket between HAProxy and disc-spoa (doc/direct-path.md, "The lending socket"). A codec:
 * bytes in, struct out; the descriptor that accompanies LEND is lending_server's business.
 */
#ifndef DISC_LENDING_MESSAGE_H
#define DISC_LENDING_MESSAGE_H

#include <stddef.h>
#include <stdint.h>

#include "ticket.h"

#define LENDING_MESSAGE_MAX 40u /* bytes of the longest message */

enum lending_type {
	LENDING_LEND = 1,     /* HAProxy to agent: ticket, bytes of records to be sent; with one descriptor */
	LENDING_ABANDON = 2,  /* HAProxy to agent: it has closed the connection */
	LENDING_RETURNED = 3, /* agent to HAProxy: all records were written, the connection lives */
	LENDING_LOST = 4,     /* agent to HAProxy: bytes, cause */
	LENDING_PROGRESS = 5, /* agent to HAProxy: bytes */
	LENDING_TAKEN = 6,    /* agent to HAProxy: from now on it is not as it was lent */
	LENDING_REFUSED = 7,  /* agent to HAProxy: it is as it was lent, and not wanted: take the splice path */
	LENDING_RECALL = 8,   /* HAProxy to agent, with loan 0: it wants all of this connection's loans back */
};

enum lending_cause {
	LENDING_CAUSE_CLIENT = 1,
	LENDING_CAUSE_NODE = 2,
	LENDING_CAUSE_AGENT = 3,
};

struct lending_message {
	enum lending_type type;
	uint64_t loan;            /* number that HAProxy chose; none is used twice on one connection */
	struct ticket ticket;     /* LEND */
	uint64_t bytes;           /* LEND: of all records. LOST and PROGRESS: of records that the client acknowledged */
	enum lending_cause cause; /* LOST */
};

enum lending_error {
	LENDING_OK = 0,
	LENDING_BAD_LENGTH,   /* not the length of its type */
	LENDING_BAD_VERSION,  /* another one than 1 */
	LENDING_BAD_TYPE,     /* unknown */
	LENDING_BAD_RESERVED, /* reserved bytes are not 0 */
	LENDING_BAD_BYTES,    /* LEND without any byte of records */
	LENDING_BAD_CAUSE,    /* unknown */
	LENDING_BAD_LOAN,     /* RECALL of one loan */
};

/* Reads one message of <len> bytes, in either direction. Returns LENDING_OK, or the first fault found, with <message>
 * zeroed. */
enum lending_error lending_message_decode(struct lending_message *message, const uint8_t *bytes, size_t len);

/* Writes <message>, which decode() would accept. Returns its length in bytes. */
size_t lending_message_encode(uint8_t bytes[static LENDING_MESSAGE_MAX], const struct lending_message *message);

/* Texts that are never NULL. */
const char *lending_error_text(enum lending_error error);
const char *lending_cause_text(enum lending_cause cause);

#endif

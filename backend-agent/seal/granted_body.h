/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Granted body: a body source's bytes for one HTTP/2 stream, of which the LB grants the node a piece at a time (grant.h).
 * The body says how much is ready, answers each grant with its clear bytes and its sealed DATA frames, and frames what it
 * says as chunks of the fetch hop's response (RFC 9112 7.1), one a message.
 *
 *        take(grant)                    next() gives the answer, sent() all of it
 *   IDLE ----------> GRANTED ------------------------------------------------> IDLE, or END after the last grant
 *     \--(more is ready, and the LB has little left)--> report --> IDLE
 *
 * Any grant that does not fit what was granted before is refused, and the body is over: its keys are wiped. A slot is
 * sealed at most once, whatever is granted. A grant may go back to the beginning of the one before, which was void
 * then: so much is kept in memory, unless the source can read it again.
 *
 * A block is made in the thread's workshop; what the socket does not take of it the body keeps.
 */
#ifndef DISC_GRANTED_BODY_H
#define DISC_GRANTED_BODY_H

#include <stdbool.h>
#include <stdint.h>

#include "body_source.h"
#include "data_record.h"
#include "grant.h"
#include "tx_state.h"

#define GRANTED_BODY_WAITING_MAX 4u /* grants that may wait while another one is answered */

struct granted_body;

enum granted_body_status {
	GRANTED_BODY_BLOCK,   /* there is a block to send */
	GRANTED_BODY_WAITING, /* for a grant, or for the source */
	GRANTED_BODY_END,     /* the last grant was answered, and all of it was handed out */
	GRANTED_BODY_CHANGED, /* the object is not what it was: the transfer must break here */
	GRANTED_BODY_READ_FAILED,
	GRANTED_BODY_SEAL_FAILED,
};

/* Creates in <*body> the body of <length> bytes from <source>, for <ticket> under <state>. With RECORD_OK it owns
 * <source> and a copy of <state> in secret memory. Otherwise returns RECORD_EMPTY, RECORD_NO_MEMORY or the fault of
 * data_sealer_new(), with <*body> NULL and <source> still the caller's: nothing was and nothing will be sealed. */
enum record_error granted_body_new(struct granted_body **body, struct body_source *source, uint64_t length,
				   const struct tx_state *state, const struct ticket *ticket);

/* Wipes and frees <body>, which may be NULL. */
void granted_body_free(struct granted_body *body);

/* How many bytes of the body a grant may name, counted from its beginning, as the LB will be told now. */
uint64_t granted_body_ready(struct granted_body *body);

/* Takes a grant as it came. Returns NULL; or why it is refused, a static text: the body has failed then. */
const char *granted_body_take(struct granted_body *body, const uint8_t wire[static GRANT_WIRE_LEN]);

/* Whether further grants may come: the last one was not taken yet, and nothing has failed. */
bool granted_body_is_open(const struct granted_body *body);

/* Whether the LB has been told of bytes that it has not granted: it is what is waited for. */
bool granted_body_awaits_grant(const struct granted_body *body);

/* Gives what is to be sent next: with GRANTED_BODY_BLOCK, <*len> bytes at <*bytes>, valid until granted_body_sent() or
 * until another body of this thread gives a block. A body that failed always answers the same. */
enum granted_body_status granted_body_next(struct granted_body *body, const uint8_t **bytes, size_t *len);

/* <len> bytes of the block left for the kernel; if that is not all of it, the socket takes no more now. */
void granted_body_sent(struct granted_body *body, size_t len);

/* Why a body failed with GRANTED_BODY_CHANGED or _READ_FAILED: a static text. */
const char *granted_body_fault(const struct granted_body *body);

/* Records sealed so far, the bytes of the body in them, those that were sent in clear, and grants that were answered. */
struct granted_body_count {
	uint64_t records, bytes, clear, grants;
	bool changed; /* the body failed with GRANTED_BODY_CHANGED */
};
struct granted_body_count granted_body_count(const struct granted_body *body);

#endif

/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Ticket header: the value of Disc-Ticket, by which a request on the fetch hop names its offer and proves that it is
 * the request of the lease's holder.
 *
 *   Disc-Ticket: <ticket, 32 hex>; proof=<32 hex>
 *
 * Text of the proof, each line ended by one LF:
 *
 *   disc-request-2
 *   <ticket>
 *   <method>
 *   <target>     as in the request line
 *   <Range>      the value of the field's one line without the spaces and tabs around it; of an absent field: nothing
 *   <If-Range>
 *   <If-Match>
 */
#ifndef DISC_TICKET_HEADER_H
#define DISC_TICKET_HEADER_H

#include "proof.h"
#include "text_span.h"
#include "ticket.h"

#define TICKET_HEADER_LEN (TICKET_TEXT_LEN + 8 + PROOF_TEXT_LEN) /* bytes of the value */

struct ticket_header {
	struct ticket ticket;
	struct proof proof;
};

/* What of a request is proven, beside its ticket. Spans that are not set are empty lines. None may hold an LF. */
struct proven_request {
	struct text_span method, target, range, if_range, if_match;
};

/* Returns the lines of the proof's text behind the first one, terminated, for free(), and their length in bytes in
 * <*len>; NULL when memory is exhausted. */
char *ticket_header_proven_text(const struct ticket *ticket, const struct proven_request *request, size_t *len);

/* Computes header->proof under <key> from header->ticket and <request>. Returns true; or false if memory is exhausted
 * or wolfCrypt refuses. */
bool ticket_header_prove(struct ticket_header *header, const uint8_t key[static PROOF_KEY_LEN],
			 const struct proven_request *request);

/* Writes the value to <text> with a terminating zero. */
void ticket_header_format(char text[static TICKET_HEADER_LEN + 1], const struct ticket_header *header);

/* Reads a value of <len> bytes, without spaces around it, which need not be terminated. Returns true; or false, with
 * <header> undefined, if it is not exactly a ticket, "; proof=" and a proof. Nothing is verified here. */
bool ticket_header_parse(struct ticket_header *header, const char *text, size_t len);

#endif

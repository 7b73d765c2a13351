/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Data records: the part of a grant that is sealed, as DATA frames of its stream (RFC 9113 6.1), one TLS 1.3 record each.
 *
 *   |<- 5 ->|<------ 9 ------>|<--- up to 16375 --->|<- 1 ->|<- 16 ->|
 *    header   frame's head      bytes of the body     0x17     tag
 *             \___________________ sealed ________________/
 *
 * Record i of a grant is in the slot grant.slot + i and has the body's bytes from grant.first + grant.clear + i * 16375 on.
 * All records but the last are full, frames have no padding, records neither. 16375 bytes and the frame's head fill a record
 * (RFC 8446 5.1), and the smallest frame that a peer may be limited to (RFC 9113 4.2) is never exceeded.
 */
#ifndef DISC_DATA_RECORD_H
#define DISC_DATA_RECORD_H

#include "grant.h"
#include "record.h"

#define DATA_FRAME_HEAD_LEN 9u
#define DATA_PAYLOAD_MAX (RECORD_PLAIN_MAX - DATA_FRAME_HEAD_LEN)
#define DATA_RECORD_OVERHEAD (DATA_FRAME_HEAD_LEN + 22u) /* bytes that a record adds to its payload */
#define DATA_RECORD_INSET (5u + DATA_FRAME_HEAD_LEN)     /* where in a record its payload lies */
#define DATA_RECORDS_MAX ((GRANT_BYTES_MAX + DATA_PAYLOAD_MAX - 1) / DATA_PAYLOAD_MAX) /* of one grant */

struct data_layout {
	uint32_t sealed; /* bytes of the body */
	unsigned records;
	uint32_t ciphertext; /* bytes of all records with their headers */
};

/* Where the sealed bytes of <grant>, a decoded one, lie. With none, all is 0. */
struct data_layout data_layout_of(const struct grant *grant);

/* Bytes of the body in record <index> of <layout>; 0 if there is no such record. */
size_t data_payload_length(const struct data_layout *layout, unsigned index);

/* Seals the records of one ticket's grants, never two in one slot. Its memory is secret_alloc()ed. Opaque. */
struct data_sealer;

/* Creates in <*sealer> a sealer under <state>, which is copied: the caller wipes its own. Returns RECORD_OK, or with
 * <*sealer> NULL RECORD_WRONG_USE if <state> is not for grants, RECORD_NO_MEMORY or RECORD_CRYPTO_FAILED. */
enum record_error data_sealer_new(struct data_sealer **sealer, const struct tx_state *state);

/* Wipes and frees <sealer>, which may be NULL. */
void data_sealer_free(struct data_sealer *sealer);

/* The proof key of the state, PROOF_KEY_LEN bytes: the sealer's. */
const uint8_t *data_sealer_proof_key(const struct data_sealer *sealer);

/* The lowest slot that <sealer> has not used or passed over. */
uint64_t data_sealer_next(const struct data_sealer *sealer);

/* Seals (RFC 8446 5.2) a DATA frame of <stream> with the <len> bytes, at most DATA_PAYLOAD_MAX, that lie at
 * out + DATA_RECORD_INSET, in <slot>; with <end>, it has END_STREAM. Writes the whole record, len + DATA_RECORD_OVERHEAD
 * bytes, to <out>. Returns RECORD_OK; RECORD_OUT_OF_ORDER if <slot> is below data_sealer_next() or the length is wrong; or
 * RECORD_CRYPTO_FAILED, and the bytes are wiped. After a fault <sealer> is dead: it seals nothing any more. */
enum record_error data_seal(struct data_sealer *sealer, uint64_t slot, uint32_t stream, bool end, size_t len,
			    uint8_t *out);

#endif

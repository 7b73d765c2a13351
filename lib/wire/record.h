/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Record layer: where each byte of a body lies among its TLS records, and sealing them.
 *
 * The layout is deterministic: body record i (from 0) has sequence number seq+i and carries plaintext [i*16384,
 * min((i+1)*16384, length)). Ciphertext is a function of (TX state, plaintext).
 */
#ifndef DISC_RECORD_H
#define DISC_RECORD_H

#include <stddef.h>
#include <stdint.h>

#include "tx_state.h"

#define RECORD_PLAIN_MAX 16384u /* RFC 8446 5.1, RFC 5246 6.2.1 */
#define RECORD_OVERHEAD_MAX 29u
#define RECORD_SEALED_MAX (RECORD_PLAIN_MAX + RECORD_OVERHEAD_MAX)
#define RECORD_COUNT_MAX (1u << 24) /* records one lease may seal: AES-GCM usage limit, RFC 8446 5.5 */

struct record_layout {
	uint64_t length; /* bytes of plaintext */
	uint64_t records;
	uint64_t ciphertext; /* bytes of all records with their headers */
	unsigned overhead;   /* bytes a record adds: 22 TLS 1.3, 29 TLS 1.2 */
};

enum record_error {
	RECORD_OK = 0,
	RECORD_EMPTY,         /* a body of no bytes has no record */
	RECORD_TOO_LONG,      /* more than RECORD_COUNT_MAX records */
	RECORD_SEQ_EXHAUSTED, /* seq + records, or the 8-byte explicit nonce, would wrap */
	RECORD_WRONG_USE,     /* the TX state is for grants, or it is not and one was asked for */
	RECORD_OUT_OF_ORDER,  /* another length than the layout gives to the next record, or no record is left */
	RECORD_NO_MEMORY,
	RECORD_CRYPTO_FAILED, /* the library of aead_choice.h refused */
};

/* Fills <layout> for a body of <length> bytes sealed under <state>. Returns RECORD_OK, RECORD_EMPTY, RECORD_TOO_LONG,
 * RECORD_SEQ_EXHAUSTED, or RECORD_WRONG_USE if <state> is for grants. */
enum record_error record_layout_init(struct record_layout *layout, const struct tx_state *state, uint64_t length);

/* Returns the bytes of plaintext that record <index> of <layout> carries; 0 if there is no such record. */
size_t record_plain_length(const struct record_layout *layout, uint64_t index);

/* Seals the records of one body, each once and in order. Its memory is secret_alloc()ed. Opaque. */
struct record_sealer;

/* Creates in <*sealer> a sealer for a body of <length> bytes under <state>, starting at record <first> (0, or where a
 * transfer is resumed; RECORD_OUT_OF_ORDER if there is no such record). <state> is copied: the caller wipes its own.
 * Returns RECORD_OK or the fault, with <*sealer> NULL. */
enum record_error record_sealer_new(struct record_sealer **sealer, const struct tx_state *state, uint64_t length,
				    uint64_t first);

/* Wipes and frees <sealer>, which may be NULL. */
void record_sealer_free(struct record_sealer *sealer);

/* The layout that <sealer> follows. */
const struct record_layout *record_sealer_layout(const struct record_sealer *sealer);

/* Number of the record that record_seal_next() will produce; equals layout.records when all are sealed. */
uint64_t record_sealer_next(const struct record_sealer *sealer);

/* Where in a record of <sealer> its ciphertext begins: 5, or 13 with an explicit nonce. A caller that reads the
 * plaintext to out + this offset and passes that place as <plain> to record_seal_next() saves a copy. */
size_t record_plain_offset(const struct record_sealer *sealer);

/* Seals the next record (RFC 8446 5.2, RFC 5246 6.2.3.3, RFC 5288 3): <plain> has <len> bytes, exactly
 * record_plain_length() of it. Writes the record with its 5-byte header to <out>, which has room for RECORD_SEALED_MAX,
 * and its size in bytes to <*out_len>. <plain> lies at out + record_plain_offset() or does not overlap <out>. A sealer
 * never uses a sequence number again: after a fault it is dead and returns RECORD_OUT_OF_ORDER. Returns RECORD_OK,
 * RECORD_OUT_OF_ORDER or RECORD_CRYPTO_FAILED. */
enum record_error record_seal_next(struct record_sealer *sealer, const uint8_t *plain, size_t len, uint8_t *out,
				   size_t *out_len);

/* Returns a text for <error>; never NULL, never to be freed. */
const char *record_error_text(enum record_error error);

#endif

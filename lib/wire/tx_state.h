/* SPDX-License-Identifier: GPL-2.0-or-later */
/* TX state: what is needed to emit the next TLS records to a client.
 *
 * Wire form 2, 76 bytes, big-endian:
 *
 *   offset  size  field
 *        0     1  version: 2
 *        1     1  tls_minor: 3 or 4
 *        2     2  suite
 *        4     1  aead: enum tx_aead
 *        5     1  key_len
 *        6     1  use: enum tx_use
 *        7     1  0
 *        8    32  key; bytes behind key_len are 0
 *       40    12  iv
 *       52     8  seq
 *       60    16  proof key
 */
#ifndef DISC_TX_STATE_H
#define DISC_TX_STATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proof.h"

#define TX_STATE_WIRE_LEN 76
#define TX_STATE_KEY_MAX 32
#define TX_STATE_IV_LEN 12

enum tx_aead {
	TX_AEAD_AES_GCM = 1,           /* RFC 5116 5.1 and 5.2, RFC 5288 for TLS 1.2 */
	TX_AEAD_CHACHA20_POLY1305 = 2, /* RFC 8439; with TLS 1.3 only */
};

/* Which records the holder may seal. */
enum tx_use {
	TX_USE_RANGE = 0,  /* those from <seq> on */
	TX_USE_GRANTS = 1, /* those that a grant names (grant.h), and no others; TLS 1.3 only, <seq> is 0 */
};

struct tx_state {
	uint8_t tls_minor; /* 3: TLS 1.2, 4: TLS 1.3 */
	uint16_t suite;    /* IANA cipher suite number */
	enum tx_aead aead;
	uint8_t key_len; /* bytes of <key> in use: 16 or 32 */
	enum tx_use use;
	uint8_t key[TX_STATE_KEY_MAX];
	uint8_t iv[TX_STATE_IV_LEN];      /* TLS 1.2 AES-GCM: salt(4) | first explicit nonce(8) */
	uint64_t seq;                     /* first record sequence number that the holder may use */
	uint8_t proof_key[PROOF_KEY_LEN]; /* of this lease's requests, announcements and grants */
};

enum tx_state_error {
	TX_STATE_OK = 0,
	TX_STATE_BAD_LENGTH,      /* not TX_STATE_WIRE_LEN bytes */
	TX_STATE_BAD_VERSION,     /* another wire form than 2 */
	TX_STATE_BAD_TLS_VERSION, /* neither TLS 1.2 nor TLS 1.3 */
	TX_STATE_BAD_AEAD,        /* unknown, or not the one of <suite> */
	TX_STATE_BAD_SUITE,       /* not one that is leased with this TLS version */
	TX_STATE_BAD_KEY_LENGTH,  /* not the one of <suite> */
	TX_STATE_BAD_USE,         /* unknown, or grants with TLS 1.2 or a sequence number */
	TX_STATE_BAD_RESERVED,    /* reserved bytes, or key bytes behind key_len, are not zero */
};

/* Reads wire form 2 from <wire> (<len> bytes) into <state>. Accepts exactly the suites that may be leased: TLS 1.3
 * 0x1301, 0x1302, 0x1303; TLS 1.2 AES-GCM with (EC)DHE or RSA key exchange. With ChaCha20-Poly1305 of TLS 1.2 (RFC 7905)
 * the nonce follows from the sequence number alone, so a lease would share nonces with HAProxy: it is refused as an
 * unknown suite. Returns TX_STATE_OK, or the first fault found, in which case <state> is wiped. */
enum tx_state_error tx_state_decode(struct tx_state *state, const uint8_t *wire, size_t len);

/* Writes <state> to <wire> in wire form 2. <state> must be one that tx_state_decode() would accept. */
void tx_state_encode(uint8_t wire[static TX_STATE_WIRE_LEN], const struct tx_state *state);

/* Moves <state> <records> records on, so that its holder's first record is the one with that number. Returns true; or
 * false, with <state> as it was, if the sequence number, or the explicit nonce of TLS 1.2 AES-GCM (RFC 5288 3), would
 * wrap. */
bool tx_state_advance(struct tx_state *state, uint64_t records);

/* Returns a text for <error> that names the field; never NULL, never to be freed. */
const char *tx_state_error_text(enum tx_state_error error);

#endif

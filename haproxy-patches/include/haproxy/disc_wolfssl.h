/*
 * include/haproxy/disc_wolfssl.h
 * Access to the write state of a TLS session held by wolfSSL, for DiSC.
 *
 * Neither HAProxy's nor wolfSSL's types appear here: src/disc_wolfssl.c is the
 * only file that sees wolfSSL's internals, and this one is all that the rest of
 * HAProxy (and the unit tests) see of it.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef _HAPROXY_DISC_WOLFSSL_H
#define _HAPROXY_DISC_WOLFSSL_H

#include <inttypes.h>
#include <stddef.h>

#define DISC_SECRET_MAX  48     /* traffic secret: size of the suite's hash, SHA-384 at most */
#define DISC_PROOF_BYTES 16     /* of a proof, and of the key that makes it */
#define DISC_TX_WIRE_LEN (60 + DISC_PROOF_BYTES) /* TX state in wire form 2 */
#define DISC_RECORD_MAX  16384  /* plaintext bytes of the longest record (RFC 8446 5.1) */

enum disc_aead {
	DISC_AEAD_AES_GCM  = 1,
	DISC_AEAD_CHACHA20 = 2,
};

/* what is needed to emit the next records of a session */
struct disc_tx {
	uint8_t  tls_minor;     /* 3 = TLS 1.2, 4 = TLS 1.3 */
	uint8_t  aead;          /* enum disc_aead */
	uint8_t  key_len;       /* bytes of <key> in use: 16 or 32 */
	uint16_t suite;         /* IANA number */
	uint8_t  key[32];
	uint8_t  iv[12];        /* TLS 1.2 AES-GCM: salt(4) | next explicit nonce(8) */
	uint64_t seq;           /* sequence number of the next record */
};

uint64_t disc_wolf_seq(void *ssl);
int disc_wolf_tx_get(void *ssl, struct disc_tx *tx);
int disc_wolf_secret(void *ssl, uint8_t secret[DISC_SECRET_MAX]);
int disc_wolf_next_secret(void *ssl, uint8_t secret[DISC_SECRET_MAX]);
int disc_wolf_tx_from_secret(void *ssl, const uint8_t secret[DISC_SECRET_MAX], struct disc_tx *tx);
int disc_wolf_key_update(void *ssl);
int disc_wolf_advance(void *ssl, uint64_t records);
size_t disc_wolf_unflushed(void *ssl);
size_t disc_wolf_blocked_plain(void *ssl);
void disc_wolf_forget_blocked(void *ssl);
int disc_wolf_random(void *ssl, uint8_t *out, size_t len);
int disc_wolf_proof(const uint8_t key[DISC_PROOF_BYTES], const void *text, size_t len, uint8_t proof[DISC_PROOF_BYTES]);
void disc_wolf_wipe(void *area, size_t len);

#endif /* _HAPROXY_DISC_WOLFSSL_H */

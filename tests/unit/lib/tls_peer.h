/* SPDX-License-Identifier: GPL-2.0-or-later */
/* TLS libraries that are not ours: a connection in memory between an OpenSSL server, whose write keys are given away,
 * and a client of OpenSSL or GnuTLS, to which records are fed. And AEAD opening by OpenSSL's EVP interface. This file
 * and tls_peer.c know nothing of wolfSSL, whose headers clash with OpenSSL's. */
#ifndef TLS_PEER_H
#define TLS_PEER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum tls_client { TLS_CLIENT_OPENSSL, TLS_CLIENT_GNUTLS };

struct tls_suite {
	const char *name;  /* OpenSSL's */
	uint8_t tls_minor; /* 3 or 4 */
	uint16_t number;   /* IANA's */
	bool chacha;       /* else AES-GCM */
	uint8_t key_len;
};

extern const struct tls_suite tls_suites[];
extern const size_t tls_suite_count;

/* What the server would write its next record with. */
struct tls_write_keys {
	uint8_t key[32];
	uint8_t iv[12]; /* TLS 1.2 AES-GCM: salt(4), the rest zero */
	uint64_t seq;
};

struct tls_peer;

/* Does the handshake. Returns the connection, or NULL after having written why to stderr. */
struct tls_peer *tls_peer_open(enum tls_client client, const struct tls_suite *suite, struct tls_write_keys *keys);

/* Feeds <len> bytes to the client and reads at most <cap> bytes of plaintext to <plain>. Returns how many came out, or
 * -1 if the client refused them. */
long tls_peer_receive(struct tls_peer *peer, const uint8_t *bytes, size_t len, uint8_t *plain, size_t cap);

void tls_peer_close(struct tls_peer *peer);

/* Opens <len> bytes of ciphertext with the 16-byte tag behind them. Returns false if the tag is wrong. */
bool aead_open(bool chacha, const uint8_t *key, size_t key_len, const uint8_t nonce[static 12],
	       const uint8_t *additional, size_t additional_len, const uint8_t *sealed, size_t len, uint8_t *plain);

#endif

/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A TLS client of OpenSSL in memory, for sessions whose server is wolfSSL. This file and openssl_client.c know nothing
 * of wolfSSL, whose headers clash with OpenSSL's. */
#ifndef OPENSSL_CLIENT_H
#define OPENSSL_CLIENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* DER, of a key made for this run. */
struct server_certificate {
	uint8_t certificate[1024], key[256];
	size_t certificate_len, key_len;
};

/* Returns false if OpenSSL cannot make one. */
bool server_certificate_make(struct server_certificate *made);

struct openssl_client;

/* A client that offers <suite> (OpenSSL's name) of TLS 1.<tls_minor - 1> only, and records of at most 2^(8 +
 * <fragment>) bytes unless it is 0 (RFC 6066 4). Returns NULL on failure. */
struct openssl_client *openssl_client_new(const char *suite, int tls_minor, uint8_t fragment);
void openssl_client_free(struct openssl_client *client);

/* Goes on with the handshake. Returns 1 when it is done, 0 if the server's answer is missing, -1 on failure. */
int openssl_client_handshake(struct openssl_client *client);

/* Gives <len> bytes that came from the server to the client. Returns false when memory is exhausted. */
bool openssl_client_feed(struct openssl_client *client, const uint8_t *bytes, size_t len);

/* Moves at most <cap> bytes for the server to <out>. Returns how many. */
size_t openssl_client_output(struct openssl_client *client, uint8_t *out, size_t cap);

/* Reads at most <cap> bytes of plaintext. Returns how many there were, or -1 if the client refuses what it got. */
long openssl_client_read(struct openssl_client *client, uint8_t *plain, size_t cap);

/* Has the server's close_notify been read, has a fatal alert? */
bool openssl_client_was_notified(const struct openssl_client *client);
bool openssl_client_was_alerted(const struct openssl_client *client);

/* Seals <len> bytes of data, or a KeyUpdate, for the server. Return false on failure. */
bool openssl_client_write(struct openssl_client *client, const uint8_t *plain, size_t len);
bool openssl_client_update_keys(struct openssl_client *client, bool ask_for_answer);

#endif

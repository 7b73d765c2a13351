/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A TLS server of wolfSSL, set up as HAProxy sets it up, on a transport in memory that takes as many bytes as a test
 * allows and blocks then. Like HAProxy's disc_wolfssl.h, this header shows nothing of wolfSSL. */
#ifndef WOLFSSL_SERVER_H
#define WOLFSSL_SERVER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "byte_queue.h"
#include "openssl_client.h"

struct wolfssl_server {
	void *context, *ssl;
	struct byte_queue input, output; /* from the client, to the client */
	size_t room;                     /* bytes that <output> takes before it blocks */
};

enum server_result {
	SERVER_DONE,
	SERVER_WANTS_READ,
	SERVER_WANTS_WRITE,
	SERVER_CLOSED, /* the client sent close_notify */
	SERVER_FAILED,
};

/* Makes a server for all suites, with <certificate>. Without <partial_writes>, one write makes as many records as it
 * needs; HAProxy has it on. <server> stays where it is until wolfssl_server_free(). Returns false on failure. */
bool wolfssl_server_init(struct wolfssl_server *server, const struct server_certificate *certificate,
			 bool partial_writes);
void wolfssl_server_free(struct wolfssl_server *server);

/* Go on with the handshake, read and drop the client's data, write, send close_notify. wolfssl_server_write() stores in
 * <*written> how many bytes were taken, 0 unless SERVER_DONE. */
enum server_result wolfssl_server_handshake(struct wolfssl_server *server);
enum server_result wolfssl_server_read(struct wolfssl_server *server);
enum server_result wolfssl_server_write(struct wolfssl_server *server, const uint8_t *plain, size_t len,
					size_t *written);
enum server_result wolfssl_server_shutdown(struct wolfssl_server *server);

/* Puts at most <len> bytes on the transport past the TLS session. Returns how many it took. */
size_t wolfssl_server_send_raw(struct wolfssl_server *server, const uint8_t *bytes, size_t len);

/* Set by hand what would take too many records to reach: the write sequence number, and the counter of explicit nonces
 * of TLS 1.2 AES-GCM. */
void wolfssl_server_set_sequence(struct wolfssl_server *server, uint64_t seq);
void wolfssl_server_set_nonce(struct wolfssl_server *server, uint64_t explicit_nonce);

/* The salt of TLS 1.2 AES-GCM in use and the counter behind it. */
void wolfssl_server_get_nonce(const struct wolfssl_server *server, uint8_t salt_and_nonce[static 12]);

#endif

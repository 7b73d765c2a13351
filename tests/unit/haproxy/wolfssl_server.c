/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "wolfssl_server.h"

/* First: it says what the others declare. */
#include <wolfssl/options.h>

#include <wolfssl/internal.h>
#include <wolfssl/ssl.h>

#include <string.h>

static int transport_send(WOLFSSL *ssl, char *bytes, int len, void *context)
{
	struct wolfssl_server *server = context;
	size_t taken = wolfssl_server_send_raw(server, (const uint8_t *)bytes, (size_t)len);

	(void)ssl;
	return taken > 0 ? (int)taken : WOLFSSL_CBIO_ERR_WANT_WRITE;
}

static int transport_receive(WOLFSSL *ssl, char *bytes, int len, void *context)
{
	struct wolfssl_server *server = context;
	size_t taken = byte_queue_length(&server->input);

	(void)ssl;
	if (taken == 0)
		return WOLFSSL_CBIO_ERR_WANT_READ;
	if (taken > (size_t)len)
		taken = (size_t)len;
	memcpy(bytes, byte_queue_head(&server->input), taken);
	byte_queue_consume(&server->input, taken);
	return (int)taken;
}

size_t wolfssl_server_send_raw(struct wolfssl_server *server, const uint8_t *bytes, size_t len)
{
	if (len > server->room)
		len = server->room;
	if (len == 0 || !byte_queue_reserve(&server->output, len))
		return 0;
	byte_queue_append(&server->output, bytes, len);
	server->room -= len;
	return len;
}

bool wolfssl_server_init(struct wolfssl_server *server, const struct server_certificate *certificate,
			 bool partial_writes)
{
	WOLFSSL_CTX *context;

	memset(server, 0, sizeof(*server));
	server->room = SIZE_MAX;
	server->context = context = wolfSSL_CTX_new(wolfSSLv23_server_method());
	if (!context)
		return false;
	if (wolfSSL_CTX_use_certificate_buffer(context, certificate->certificate, (long)certificate->certificate_len,
					       WOLFSSL_FILETYPE_ASN1) != WOLFSSL_SUCCESS ||
	    wolfSSL_CTX_use_PrivateKey_buffer(context, certificate->key, (long)certificate->key_len,
					      WOLFSSL_FILETYPE_ASN1) != WOLFSSL_SUCCESS)
		return false;
	wolfSSL_CTX_set_mode(context, SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
					      (partial_writes ? SSL_MODE_ENABLE_PARTIAL_WRITE : 0));
	wolfSSL_CTX_SetIOSend(context, transport_send);
	wolfSSL_CTX_SetIORecv(context, transport_receive);
	server->ssl = wolfSSL_new(context);
	if (!server->ssl)
		return false;
	wolfSSL_SetIOReadCtx(server->ssl, server);
	wolfSSL_SetIOWriteCtx(server->ssl, server);
	return true;
}

void wolfssl_server_free(struct wolfssl_server *server)
{
	wolfSSL_free(server->ssl);
	wolfSSL_CTX_free(server->context);
	byte_queue_clear(&server->input);
	byte_queue_clear(&server->output);
	memset(server, 0, sizeof(*server));
}

static enum server_result result_of(struct wolfssl_server *server, int returned)
{
	if (returned > 0)
		return SERVER_DONE;
	switch (wolfSSL_get_error(server->ssl, returned)) {
	case WOLFSSL_ERROR_WANT_READ:
		return SERVER_WANTS_READ;
	case WOLFSSL_ERROR_WANT_WRITE:
		return SERVER_WANTS_WRITE;
	case WOLFSSL_ERROR_ZERO_RETURN:
		return SERVER_CLOSED;
	default:
		return SERVER_FAILED;
	}
}

enum server_result wolfssl_server_handshake(struct wolfssl_server *server)
{
	return result_of(server, wolfSSL_SSL_do_handshake(server->ssl));
}

enum server_result wolfssl_server_read(struct wolfssl_server *server)
{
	char dropped[1024];
	int got;

	do
		got = wolfSSL_read(server->ssl, dropped, sizeof(dropped));
	while (got > 0);
	return result_of(server, got);
}

enum server_result wolfssl_server_write(struct wolfssl_server *server, const uint8_t *plain, size_t len,
					size_t *written)
{
	int taken = wolfSSL_write(server->ssl, plain, (int)len);

	*written = taken > 0 ? (size_t)taken : 0;
	return result_of(server, taken);
}

enum server_result wolfssl_server_shutdown(struct wolfssl_server *server)
{
	int returned = wolfSSL_shutdown(server->ssl);

	return returned == WOLFSSL_SHUTDOWN_NOT_DONE ? SERVER_DONE : result_of(server, returned);
}

void wolfssl_server_set_sequence(struct wolfssl_server *server, uint64_t seq)
{
	WOLFSSL *ssl = server->ssl;

	ssl->keys.sequence_number_hi = (word32)(seq >> 32);
	ssl->keys.sequence_number_lo = (word32)seq;
}

void wolfssl_server_set_nonce(struct wolfssl_server *server, uint64_t explicit_nonce)
{
	WOLFSSL *ssl = server->ssl;
	uint8_t *counter = (uint8_t *)ssl->encrypt.aes->reg + 4;

	for (int i = 0; i < 8; i++)
		counter[i] = (uint8_t)(explicit_nonce >> (56 - 8 * i));
}

void wolfssl_server_get_nonce(const struct wolfssl_server *server, uint8_t salt_and_nonce[static 12])
{
	const WOLFSSL *ssl = server->ssl;

	memcpy(salt_and_nonce, ssl->encrypt.aes->reg, 12);
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "openssl_client.h"

#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>

#include <stdio.h>
#include <stdlib.h>

struct openssl_client {
	SSL_CTX *context;
	SSL *ssl;
	BIO *from_server, *to_server; /* owned by <ssl> */
	bool alerted;
};

bool server_certificate_make(struct server_certificate *made)
{
	EVP_PKEY *key = EVP_EC_gen("P-256");
	X509 *certificate = X509_new();
	X509_NAME *name = X509_get_subject_name(certificate);
	uint8_t *certificate_end = made->certificate, *key_end = made->key;
	bool done = key && certificate && X509_set_version(certificate, 2) &&
		    ASN1_INTEGER_set(X509_get_serialNumber(certificate), 1) &&
		    X509_gmtime_adj(X509_getm_notBefore(certificate), -3600) &&
		    X509_gmtime_adj(X509_getm_notAfter(certificate), 3600) && X509_set_pubkey(certificate, key) &&
		    X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, (const unsigned char *)"server", -1, -1, 0) &&
		    X509_set_issuer_name(certificate, name) && X509_sign(certificate, key, EVP_sha256());

	done = done && i2d_X509(certificate, NULL) <= (int)sizeof(made->certificate) &&
	       i2d_PrivateKey(key, NULL) <= (int)sizeof(made->key);
	if (done) {
		made->certificate_len = (size_t)i2d_X509(certificate, &certificate_end);
		made->key_len = (size_t)i2d_PrivateKey(key, &key_end);
	}
	X509_free(certificate);
	EVP_PKEY_free(key);
	return done;
}

struct openssl_client *openssl_client_new(const char *suite, int tls_minor, uint8_t fragment)
{
	int version = tls_minor == 4 ? TLS1_3_VERSION : TLS1_2_VERSION;
	struct openssl_client *client = calloc(1, sizeof(*client));

	if (!client)
		return NULL;
	client->context = SSL_CTX_new(TLS_client_method());
	client->from_server = BIO_new(BIO_s_mem());
	client->to_server = BIO_new(BIO_s_mem());
	if (client->context && client->from_server && client->to_server &&
	    SSL_CTX_set_min_proto_version(client->context, version) &&
	    SSL_CTX_set_max_proto_version(client->context, version) &&
	    (tls_minor == 4 ? SSL_CTX_set_ciphersuites(client->context, suite)
			    : SSL_CTX_set_cipher_list(client->context, suite)) &&
	    (!fragment || SSL_CTX_set_tlsext_max_fragment_length(client->context, fragment)))
		client->ssl = SSL_new(client->context);
	if (!client->ssl) {
		ERR_print_errors_fp(stderr);
		BIO_free(client->from_server);
		BIO_free(client->to_server);
		openssl_client_free(client);
		return NULL;
	}
	SSL_set_bio(client->ssl, client->from_server, client->to_server);
	SSL_set_connect_state(client->ssl);
	return client;
}

void openssl_client_free(struct openssl_client *client)
{
	if (!client)
		return;
	SSL_free(client->ssl);
	SSL_CTX_free(client->context);
	free(client);
}

/* Returns 1 if <result> of OpenSSL is a success, 0 if it waits for the server, -1 otherwise, having said why. */
static int verdict(struct openssl_client *client, int result)
{
	if (result > 0)
		return 1;
	if (SSL_get_error(client->ssl, result) == SSL_ERROR_WANT_READ)
		return 0;
	/* The numbers of alerts that were received stand behind this one. */
	if (ERR_GET_REASON(ERR_peek_error()) > SSL_AD_REASON_OFFSET)
		client->alerted = true;
	else
		ERR_print_errors_fp(stderr);
	ERR_clear_error();
	return -1;
}

int openssl_client_handshake(struct openssl_client *client)
{
	return verdict(client, SSL_do_handshake(client->ssl));
}

bool openssl_client_feed(struct openssl_client *client, const uint8_t *bytes, size_t len)
{
	return len == 0 || BIO_write(client->from_server, bytes, (int)len) == (int)len;
}

size_t openssl_client_output(struct openssl_client *client, uint8_t *out, size_t cap)
{
	int len = BIO_read(client->to_server, out, (int)cap);

	return len > 0 ? (size_t)len : 0;
}

long openssl_client_read(struct openssl_client *client, uint8_t *plain, size_t cap)
{
	size_t total = 0;

	while (total < cap && !client->alerted) {
		int got = SSL_read(client->ssl, plain + total, (int)(cap - total));

		if (got <= 0) {
			if (SSL_get_error(client->ssl, got) == SSL_ERROR_ZERO_RETURN)
				break;
			if (verdict(client, got) < 0 && !client->alerted)
				return -1;
			break;
		}
		total += (size_t)got;
	}
	return (long)total;
}

bool openssl_client_was_notified(const struct openssl_client *client)
{
	return (SSL_get_shutdown(client->ssl) & SSL_RECEIVED_SHUTDOWN) != 0;
}

bool openssl_client_was_alerted(const struct openssl_client *client)
{
	return client->alerted;
}

bool openssl_client_write(struct openssl_client *client, const uint8_t *plain, size_t len)
{
	return SSL_write(client->ssl, plain, (int)len) == (int)len;
}

bool openssl_client_update_keys(struct openssl_client *client, bool ask_for_answer)
{
	return SSL_key_update(client->ssl, ask_for_answer ? SSL_KEY_UPDATE_REQUESTED : SSL_KEY_UPDATE_NOT_REQUESTED) &&
	       SSL_do_handshake(client->ssl) == 1;
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tls_peer.h"

#include <gnutls/gnutls.h>
#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/kdf.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SECRET_MAX 48
#define STEPS_MAX 20 /* of a handshake in memory; it needs fewer than ten */

const struct tls_suite tls_suites[] = {
	{"TLS_AES_128_GCM_SHA256", 4, 0x1301, false, 16},
	{"TLS_AES_256_GCM_SHA384", 4, 0x1302, false, 32},
	{"TLS_CHACHA20_POLY1305_SHA256", 4, 0x1303, true, 32},
	{"ECDHE-ECDSA-AES128-GCM-SHA256", 3, 0xc02b, false, 16},
	{"ECDHE-ECDSA-AES256-GCM-SHA384", 3, 0xc02c, false, 32},
};
const size_t tls_suite_count = sizeof(tls_suites) / sizeof(tls_suites[0]);

struct tls_peer {
	SSL_CTX *server_context, *client_context;
	SSL *server, *client;       /* client: TLS_CLIENT_OPENSSL */
	BIO *to_server, *to_client; /* what is on its way */
	gnutls_session_t session;   /* TLS_CLIENT_GNUTLS */
	gnutls_certificate_credentials_t credentials;
	uint8_t secret[SECRET_MAX]; /* TLS 1.3: server_application_traffic_secret_0 */
	size_t secret_len;
};

/* --- server --- */

static void keep_secret(const SSL *ssl, const char *line)
{
	static const char label[] = "SERVER_TRAFFIC_SECRET_0 ";
	struct tls_peer *peer = SSL_get_app_data(ssl);
	const char *digits;

	if (strncmp(line, label, sizeof(label) - 1) != 0)
		return;
	digits = strrchr(line, ' ') + 1;
	for (peer->secret_len = 0; peer->secret_len < SECRET_MAX && *digits; digits += 2) {
		unsigned byte;

		if (sscanf(digits, "%2x", &byte) != 1)
			return;
		peer->secret[peer->secret_len++] = (uint8_t)byte;
	}
}

static bool give_certificate(SSL_CTX *context)
{
	EVP_PKEY *key = EVP_EC_gen("P-256");
	X509 *certificate = X509_new();
	X509_NAME *name = X509_get_subject_name(certificate);
	bool given = key && certificate && X509_set_version(certificate, 2) &&
		     ASN1_INTEGER_set(X509_get_serialNumber(certificate), 1) &&
		     X509_gmtime_adj(X509_getm_notBefore(certificate), -3600) &&
		     X509_gmtime_adj(X509_getm_notAfter(certificate), 3600) && X509_set_pubkey(certificate, key) &&
		     X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, (const unsigned char *)"peer", -1, -1, 0) &&
		     X509_set_issuer_name(certificate, name) && X509_sign(certificate, key, EVP_sha256()) &&
		     SSL_CTX_use_certificate(context, certificate) && SSL_CTX_use_PrivateKey(context, key);

	X509_free(certificate);
	EVP_PKEY_free(key);
	return given;
}

static bool restrict_to(SSL_CTX *context, const struct tls_suite *suite)
{
	int version = suite->tls_minor == 4 ? TLS1_3_VERSION : TLS1_2_VERSION;

	return SSL_CTX_set_min_proto_version(context, version) && SSL_CTX_set_max_proto_version(context, version) &&
	       (suite->tls_minor == 4 ? SSL_CTX_set_ciphersuites(context, suite->name)
				      : SSL_CTX_set_cipher_list(context, suite->name));
}

static bool open_server(struct tls_peer *peer, const struct tls_suite *suite)
{
	peer->server_context = SSL_CTX_new(TLS_server_method());
	/* Without tickets the first record of application data is also the first under its keys. */
	if (!peer->server_context || !restrict_to(peer->server_context, suite) ||
	    !give_certificate(peer->server_context) || !SSL_CTX_set_num_tickets(peer->server_context, 0))
		return false;
	SSL_CTX_set_keylog_callback(peer->server_context, keep_secret);
	peer->server = SSL_new(peer->server_context);
	peer->to_server = BIO_new(BIO_s_mem());
	peer->to_client = BIO_new(BIO_s_mem());
	if (!peer->server || !peer->to_server || !peer->to_client || !BIO_up_ref(peer->to_server) ||
	    !BIO_up_ref(peer->to_client))
		return false;
	SSL_set_bio(peer->server, peer->to_server, peer->to_client);
	SSL_set_accept_state(peer->server);
	SSL_set_app_data(peer->server, peer);
	return true;
}

/* --- clients --- */

static bool open_openssl_client(struct tls_peer *peer, const struct tls_suite *suite)
{
	peer->client_context = SSL_CTX_new(TLS_client_method());
	if (!peer->client_context || !restrict_to(peer->client_context, suite))
		return false;
	peer->client = SSL_new(peer->client_context);
	if (!peer->client || !BIO_up_ref(peer->to_server) || !BIO_up_ref(peer->to_client))
		return false;
	SSL_set_bio(peer->client, peer->to_client, peer->to_server);
	SSL_set_connect_state(peer->client);
	return true;
}

static ssize_t gnutls_push(gnutls_transport_ptr_t context, const void *bytes, size_t len)
{
	struct tls_peer *peer = context;

	return BIO_write(peer->to_server, bytes, (int)len);
}

static ssize_t gnutls_pull(gnutls_transport_ptr_t context, void *bytes, size_t len)
{
	struct tls_peer *peer = context;
	int got = BIO_read(peer->to_client, bytes, (int)len);

	if (got > 0)
		return got;
	gnutls_transport_set_errno(peer->session, EAGAIN);
	return -1;
}

static int gnutls_wait(gnutls_transport_ptr_t context, unsigned timeout_ms)
{
	struct tls_peer *peer = context;

	(void)timeout_ms;
	return BIO_ctrl_pending(peer->to_client) > 0;
}

static bool open_gnutls_client(struct tls_peer *peer, const struct tls_suite *suite)
{
	static const char *const priorities[] = {
		"NORMAL:-VERS-ALL:+VERS-TLS1.3:-CIPHER-ALL:+AES-128-GCM:+AES-256-GCM:+CHACHA20-POLY1305",
		"NORMAL:-VERS-ALL:+VERS-TLS1.2:-CIPHER-ALL:+AES-128-GCM:+AES-256-GCM",
	};

	if (gnutls_init(&peer->session, GNUTLS_CLIENT | GNUTLS_NONBLOCK) != 0 ||
	    gnutls_certificate_allocate_credentials(&peer->credentials) != 0 ||
	    gnutls_credentials_set(peer->session, GNUTLS_CRD_CERTIFICATE, peer->credentials) != 0 ||
	    gnutls_priority_set_direct(peer->session, priorities[suite->tls_minor == 3], NULL) != 0)
		return false;
	gnutls_transport_set_ptr(peer->session, peer);
	gnutls_transport_set_push_function(peer->session, gnutls_push);
	gnutls_transport_set_pull_function(peer->session, gnutls_pull);
	gnutls_transport_set_pull_timeout_function(peer->session, gnutls_wait);
	return true;
}

static bool client_step(struct tls_peer *peer, bool *done)
{
	int result;

	if (peer->session) {
		result = gnutls_handshake(peer->session);
		*done = result == 0;
		return result == 0 || !gnutls_error_is_fatal(result);
	}
	result = SSL_do_handshake(peer->client);
	*done = result == 1;
	return result == 1 || SSL_get_error(peer->client, result) == SSL_ERROR_WANT_READ;
}

static bool handshake(struct tls_peer *peer)
{
	bool client_done = false, server_done = false;

	for (int step = 0; step < STEPS_MAX && !(client_done && server_done); step++) {
		int result;

		if (!client_done && !client_step(peer, &client_done))
			return false;
		result = SSL_do_handshake(peer->server);
		server_done = result == 1;
		if (!server_done && SSL_get_error(peer->server, result) != SSL_ERROR_WANT_READ)
			return false;
	}
	return client_done && server_done;
}

/* --- keys --- */

/* RFC 8446 7.1 for outputs of no more than one hash. */
static bool expand_label(const struct tls_peer *peer, const EVP_MD *hash, const char *label, uint8_t *out, size_t len)
{
	uint8_t info[64], block[EVP_MAX_MD_SIZE];
	unsigned block_len = 0;
	int info_len = snprintf((char *)info + 3, sizeof(info) - 3, "tls13 %s", label);

	info[0] = 0;
	info[1] = (uint8_t)len;
	info[2] = (uint8_t)info_len;
	info[3 + info_len] = 0;
	info[4 + info_len] = 1;
	if (!HMAC(hash, peer->secret, (int)peer->secret_len, info, (size_t)info_len + 5, block, &block_len) ||
	    len > block_len)
		return false;
	memcpy(out, block, len);
	return true;
}

/* RFC 5246 6.3 for AEAD suites: client key, server key, client IV, server IV. */
static bool expand_key_block(const struct tls_peer *peer, const char *hash, uint8_t *block, size_t len)
{
	uint8_t master[48], seed[64];
	EVP_KDF *kdf = EVP_KDF_fetch(NULL, "TLS1-PRF", NULL);
	EVP_KDF_CTX *context = EVP_KDF_CTX_new(kdf);
	size_t master_len = SSL_SESSION_get_master_key(SSL_get_session(peer->server), master, sizeof(master));
	OSSL_PARAM parameters[] = {
		OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_DIGEST, (char *)hash, 0),
		OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_SECRET, master, master_len),
		OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_SEED, "key expansion", 13),
		OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_SEED, seed, sizeof(seed)),
		OSSL_PARAM_construct_end(),
	};
	bool derived = SSL_get_server_random(peer->server, seed, 32) == 32 &&
		       SSL_get_client_random(peer->server, seed + 32, 32) == 32 &&
		       EVP_KDF_derive(context, block, len, parameters) == 1;

	EVP_KDF_CTX_free(context);
	EVP_KDF_free(kdf);
	return derived;
}

static bool derive_keys(const struct tls_peer *peer, const struct tls_suite *suite, struct tls_write_keys *keys)
{
	const char *hash = strstr(suite->name, "SHA384") ? "SHA384" : "SHA256";
	const size_t salt_len = 4; /* RFC 5288 3 */
	uint8_t block[2 * 32 + 2 * 4];

	memset(keys, 0, sizeof(*keys));
	if (suite->tls_minor == 4) {
		const EVP_MD *md = EVP_get_digestbyname(hash);

		return expand_label(peer, md, "key", keys->key, suite->key_len) &&
		       expand_label(peer, md, "iv", keys->iv, sizeof(keys->iv));
	}
	if (!expand_key_block(peer, hash, block, 2 * suite->key_len + 2 * salt_len))
		return false;
	memcpy(keys->key, block + suite->key_len, suite->key_len);
	memcpy(keys->iv, block + 2 * suite->key_len + salt_len, salt_len);
	/* Finished was number 0. */
	keys->seq = 1;
	return true;
}

/* --- the whole --- */

struct tls_peer *tls_peer_open(enum tls_client client, const struct tls_suite *suite, struct tls_write_keys *keys)
{
	struct tls_peer *peer = calloc(1, sizeof(*peer));

	if (!peer)
		return NULL;
	if (open_server(peer, suite) &&
	    (client == TLS_CLIENT_GNUTLS ? open_gnutls_client(peer, suite) : open_openssl_client(peer, suite)) &&
	    handshake(peer) && derive_keys(peer, suite, keys))
		return peer;
	(void)fprintf(stderr, "no connection with %s\n", suite->name);
	ERR_print_errors_fp(stderr);
	tls_peer_close(peer);
	return NULL;
}

long tls_peer_receive(struct tls_peer *peer, const uint8_t *bytes, size_t len, uint8_t *plain, size_t cap)
{
	size_t total = 0;

	if (BIO_write(peer->to_client, bytes, (int)len) != (int)len)
		return -1;
	while (total < cap) {
		long got;

		if (peer->session) {
			got = gnutls_record_recv(peer->session, plain + total, cap - total);
			if (got == GNUTLS_E_AGAIN)
				return (long)total;
		} else {
			got = SSL_read(peer->client, plain + total, (int)(cap - total));
			if (got <= 0 && SSL_get_error(peer->client, (int)got) == SSL_ERROR_WANT_READ)
				return (long)total;
		}
		if (got <= 0) {
			ERR_clear_error();
			return -1;
		}
		total += (size_t)got;
	}
	return (long)total;
}

void tls_peer_close(struct tls_peer *peer)
{
	if (peer->session)
		gnutls_deinit(peer->session);
	if (peer->credentials)
		gnutls_certificate_free_credentials(peer->credentials);
	SSL_free(peer->client);
	SSL_free(peer->server);
	SSL_CTX_free(peer->client_context);
	SSL_CTX_free(peer->server_context);
	BIO_free(peer->to_server);
	BIO_free(peer->to_client);
	free(peer);
}

bool aead_open(bool chacha, const uint8_t *key, size_t key_len, const uint8_t nonce[static 12],
	       const uint8_t *additional, size_t additional_len, const uint8_t *sealed, size_t len, uint8_t *plain)
{
	const EVP_CIPHER *cipher = chacha          ? EVP_chacha20_poly1305()
				   : key_len == 16 ? EVP_aes_128_gcm()
						   : EVP_aes_256_gcm();
	EVP_CIPHER_CTX *context = EVP_CIPHER_CTX_new();
	int out = 0;
	bool opened = context && EVP_DecryptInit_ex(context, cipher, NULL, key, nonce) == 1 &&
		      EVP_DecryptUpdate(context, NULL, &out, additional, (int)additional_len) == 1 &&
		      EVP_DecryptUpdate(context, plain, &out, sealed, (int)len) == 1 &&
		      EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_AEAD_SET_TAG, 16, (void *)(uintptr_t)(sealed + len)) == 1 &&
		      EVP_DecryptFinal_ex(context, plain + out, &out) == 1;

	EVP_CIPHER_CTX_free(context);
	return opened;
}

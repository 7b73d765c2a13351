/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "channel_tls.h"

#include <wolfssl/options.h>

#include <wolfssl/error-ssl.h>
#include <wolfssl/ssl.h>
#include <wolfssl/wolfcrypt/error-crypt.h>

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>

#include "secret.h"

#define GENERAL_NAME_DNS 2   /* dNSName, RFC 5280 4.2.1.6 */
#define RECORD_HEADER_LEN 5u /* RFC 8446 5.1 */
#define INPUT_SIZE 32768u    /* bytes: one call gets a record with its header, and those behind it */

struct channel_tls {
	WOLFSSL_CTX *contexts[2]; /* by enum channel_tls_side */
	int64_t not_after;        /* 0: not known */
};

struct channel_tls_session {
	WOLFSSL *ssl;
	enum channel_tls_side side;
	int fd;
	bool established;
	bool ended;       /* the peer closed the connection below TLS */
	int socket_error; /* errno of the socket's last fault, or 0 */
	int tls_error;    /* wolfSSL's code of the last fault, or 0 */
	/* Ciphertext that wolfSSL has not asked for yet. */
	size_t input_begin, input_end;
	bool drained; /* the last call left nothing in the socket */
	char input[INPUT_SIZE];
};

/* --- the socket below --- */

/* Gives wolfSSL what is here. Returns how many bytes. */
static int take_input(struct channel_tls_session *session, char *buffer, int size)
{
	size_t left = session->input_end - session->input_begin, len = left < (size_t)size ? left : (size_t)size;

	memcpy(buffer, session->input + session->input_begin, len);
	session->input_begin += len;
	return (int)len;
}

/* wolfSSL asks for a record's header, then for the rest of it, then for the next one: only the first of these is worth a
 * call. */
static int receive(WOLFSSL *ssl, char *buffer, int size, void *context)
{
	struct channel_tls_session *session = context;
	ssize_t got;

	(void)ssl;
	if (session->input_begin < session->input_end)
		return take_input(session, buffer, size);
	if (session->drained) {
		/* Whatever has come since then wakes the loop. */
		session->drained = false;
		return WOLFSSL_CBIO_ERR_WANT_READ;
	}
	do {
		got = recv(session->fd, session->input, sizeof(session->input), 0);
	} while (got < 0 && errno == EINTR);
	if (got > 0) {
		session->input_begin = 0;
		session->input_end = (size_t)got;
		session->drained = (size_t)got < sizeof(session->input);
		return take_input(session, buffer, size);
	}
	if (got == 0) {
		session->ended = true;
		return WOLFSSL_CBIO_ERR_CONN_CLOSE;
	}
	if (errno == EAGAIN || errno == EWOULDBLOCK)
		return WOLFSSL_CBIO_ERR_WANT_READ;
	session->socket_error = errno;
	return WOLFSSL_CBIO_ERR_GENERAL;
}

static int transmit(WOLFSSL *ssl, char *buffer, int size, void *context)
{
	struct channel_tls_session *session = context;
	ssize_t sent;

	(void)ssl;
	do {
		sent = send(session->fd, buffer, (size_t)size, MSG_NOSIGNAL);
	} while (sent < 0 && errno == EINTR);
	if (sent >= 0)
		return (int)sent;
	if (errno == EAGAIN || errno == EWOULDBLOCK)
		return WOLFSSL_CBIO_ERR_WANT_WRITE;
	session->socket_error = errno;
	return WOLFSSL_CBIO_ERR_GENERAL;
}

/* --- credentials --- */

/* Both sides ask for a certificate, refuse a peer without one, and keep no session that could be resumed without. */
static WOLFSSL_CTX *make_context(enum channel_tls_side side)
{
	WOLFSSL_CTX *context =
		wolfSSL_CTX_new(side == CHANNEL_TLS_SERVER ? wolfTLSv1_3_server_method() : wolfTLSv1_3_client_method());

	if (!context)
		return NULL;
	wolfSSL_CTX_set_verify(context, WOLFSSL_VERIFY_PEER | WOLFSSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
	wolfSSL_CTX_SetIORecv(context, receive);
	wolfSSL_CTX_SetIOSend(context, transmit);
	(void)wolfSSL_CTX_set_session_cache_mode(context, WOLFSSL_SESS_CACHE_OFF);
	if (side == CHANNEL_TLS_SERVER && wolfSSL_CTX_no_ticket_TLSv13(context) != 0) {
		wolfSSL_CTX_free(context);
		return NULL;
	}
	return context;
}

/* Loads the three files. Returns NULL, or what is wrong with <*file>. */
static const char *load_files(WOLFSSL_CTX *context, const char *ca_file, const char *certificate_file,
			      const char *key_file, const char **file)
{
	*file = ca_file;
	if (wolfSSL_CTX_load_verify_locations(context, ca_file, NULL) != WOLFSSL_SUCCESS)
		return "no CA certificate in PEM form could be read from it";
	*file = certificate_file;
	if (wolfSSL_CTX_use_certificate_chain_file(context, certificate_file) != WOLFSSL_SUCCESS)
		return "no certificate in PEM form could be read from it";
	*file = key_file;
	if (wolfSSL_CTX_use_PrivateKey_file(context, key_file, WOLFSSL_FILETYPE_PEM) != WOLFSSL_SUCCESS)
		return "no private key in PEM form could be read from it";
	if (wolfSSL_CTX_check_private_key(context) != WOLFSSL_SUCCESS)
		return "the private key does not belong to the certificate";
	return NULL;
}

/* Takes the end of the first certificate in <file> into account. */
static void note_end(struct channel_tls *tls, const char *file)
{
	WOLFSSL_X509 *certificate = wolfSSL_X509_load_certificate_file(file, WOLFSSL_FILETYPE_PEM);
	struct tm end;
	int64_t not_after;

	memset(&end, 0, sizeof(end));
	if (certificate && wolfSSL_ASN1_TIME_to_tm(wolfSSL_X509_get_notAfter(certificate), &end) == WOLFSSL_SUCCESS) {
		not_after = (int64_t)timegm(&end);
		if (!tls->not_after || not_after < tls->not_after)
			tls->not_after = not_after;
	}
	wolfSSL_X509_free(certificate);
}

int64_t channel_tls_not_after(const struct channel_tls *tls)
{
	return tls->not_after;
}

/* wolfSSL fills a context's list of suites with the first session that is made of it, without a lock. So one is made
 * here, before any thread can. Returns false if that fails. */
static bool settle_suites(WOLFSSL_CTX *context)
{
	WOLFSSL *first = wolfSSL_new(context);

	wolfSSL_free(first);
	return first != NULL;
}

struct channel_tls *channel_tls_new(const char *ca_file, const char *certificate_file, const char *key_file,
				    char *error, size_t error_size)
{
	struct channel_tls *tls = calloc(1, sizeof(*tls));

	if (!tls || wolfSSL_Init() != WOLFSSL_SUCCESS) {
		(void)snprintf(error, error_size, "TLS cannot be set up: out of memory");
		free(tls);
		return NULL;
	}
	for (int side = CHANNEL_TLS_CLIENT; side <= CHANNEL_TLS_SERVER; side++) {
		const char *file = NULL, *fault = "TLS cannot be set up";

		tls->contexts[side] = make_context((enum channel_tls_side)side);
		if (tls->contexts[side])
			fault = load_files(tls->contexts[side], ca_file, certificate_file, key_file, &file);
		if (!fault && !settle_suites(tls->contexts[side])) {
			file = NULL;
			fault = "TLS cannot be set up";
		}
		if (fault) {
			(void)snprintf(error, error_size, "%s%s%s", file ? file : "", file ? ": " : "", fault);
			channel_tls_free(tls);
			return NULL;
		}
	}
	note_end(tls, certificate_file);
	note_end(tls, ca_file);
	return tls;
}

void channel_tls_free(struct channel_tls *tls)
{
	if (!tls)
		return;
	for (int side = CHANNEL_TLS_CLIENT; side <= CHANNEL_TLS_SERVER; side++)
		wolfSSL_CTX_free(tls->contexts[side]);
	free(tls);
	(void)wolfSSL_Cleanup();
}

/* --- sessions --- */

struct channel_tls_session *channel_tls_session_new(struct channel_tls *tls, enum channel_tls_side side, int fd)
{
	struct channel_tls_session *session = calloc(1, sizeof(*session));

	if (!session)
		return NULL;
	session->ssl = wolfSSL_new(tls->contexts[side]);
	if (!session->ssl) {
		free(session);
		return NULL;
	}
	session->side = side;
	session->fd = fd;
	wolfSSL_SetIOReadCtx(session->ssl, session);
	wolfSSL_SetIOWriteCtx(session->ssl, session);
	return session;
}

void channel_tls_session_free(struct channel_tls_session *session, bool orderly)
{
	if (!session)
		return;
	if (orderly && session->established && session->tls_error == 0)
		(void)wolfSSL_shutdown(session->ssl);
	wolfSSL_free(session->ssl);
	free(session);
}

/* What wolfSSL's answer <result>, which is no success, means. */
static enum channel_tls_status status_of(struct channel_tls_session *session, int result)
{
	int error = wolfSSL_get_error(session->ssl, result);

	switch (error) {
	case WOLFSSL_ERROR_WANT_READ:
		return CHANNEL_TLS_WANT_READ;
	case WOLFSSL_ERROR_WANT_WRITE:
		return CHANNEL_TLS_WANT_WRITE;
	default:
		session->tls_error = error != 0 ? error : WOLFSSL_FATAL_ERROR;
		return CHANNEL_TLS_FAILED;
	}
}

enum channel_tls_status channel_tls_handshake(struct channel_tls_session *session)
{
	int result = session->side == CHANNEL_TLS_SERVER ? wolfSSL_accept(session->ssl) : wolfSSL_connect(session->ssl);

	if (result != WOLFSSL_SUCCESS)
		return status_of(session, result);
	session->established = true;
	return CHANNEL_TLS_DONE;
}

enum channel_tls_status channel_tls_read(struct channel_tls_session *session, uint8_t *bytes, size_t size, size_t *len)
{
	int result = wolfSSL_read(session->ssl, bytes, (int)size);

	/* wolfSSL's record layer leaves pieces of plaintext, which may be keys, on the stack. */
	secret_wipe_stack();
	*len = 0;
	if (result <= 0)
		return status_of(session, result);
	*len = (size_t)result;
	return CHANNEL_TLS_DONE;
}

/* Whether a whole record is here that wolfSSL has not asked for. It takes those behind each other, so the first byte that is
 * left begins one; of one that is not whole the rest will wake the loop. */
static bool has_record(const struct channel_tls_session *session)
{
	const uint8_t *record = (const uint8_t *)session->input + session->input_begin;
	size_t left = session->input_end - session->input_begin;

	return left >= RECORD_HEADER_LEN && left - RECORD_HEADER_LEN >= (size_t)(record[3] << 8 | record[4]);
}

bool channel_tls_pending(struct channel_tls_session *session)
{
	return wolfSSL_pending(session->ssl) > 0 || has_record(session);
}

enum channel_tls_status channel_tls_write(struct channel_tls_session *session, const uint8_t *bytes, size_t len)
{
	int result = wolfSSL_write(session->ssl, bytes, (int)len);

	secret_wipe_stack();
	if (result <= 0)
		return status_of(session, result);
	if ((size_t)result != len) {
		/* Cannot be for a piece of one record: partial writes are off. */
		session->tls_error = WOLFSSL_FATAL_ERROR;
		return CHANNEL_TLS_FAILED;
	}
	return CHANNEL_TLS_DONE;
}

/* --- who the peer is --- */

static bool same_name(const WOLFSSL_GENERAL_NAME *entry, const char *name)
{
	const unsigned char *data;
	int len;

	/* Other kinds of names (mail, URI) are written by other rules and must not pass for a host's. */
	if (entry->type != GENERAL_NAME_DNS)
		return false;
	data = wolfSSL_ASN1_STRING_get0_data(entry->d.dNSName);
	len = wolfSSL_ASN1_STRING_length(entry->d.dNSName);
	return data && len > 0 && (size_t)len == strlen(name) &&
	       strncasecmp((const char *)data, name, (size_t)len) == 0;
}

const char *channel_tls_peer_name(struct channel_tls_session *session, const char *const *names)
{
	WOLFSSL_X509 *certificate = wolfSSL_get_peer_certificate(session->ssl);
	WOLFSSL_STACK *entries = NULL;
	const char *found = NULL;

	if (certificate)
		entries = wolfSSL_X509_get_ext_d2i(certificate, NID_subject_alt_name, NULL, NULL);
	for (int i = 0; !found && entries && i < wolfSSL_sk_GENERAL_NAME_num(entries); i++) {
		const WOLFSSL_GENERAL_NAME *entry = wolfSSL_sk_GENERAL_NAME_value(entries, i);

		for (size_t n = 0; !found && entry && names[n]; n++) {
			if (same_name(entry, names[n]))
				found = names[n];
		}
	}
	if (entries)
		wolfSSL_sk_GENERAL_NAME_pop_free(entries, NULL);
	wolfSSL_X509_free(certificate);
	return found;
}

/* --- faults in words --- */

/* The alert that the peer ended the session with, or -1. */
static int alert_received(struct channel_tls_session *session)
{
	WOLFSSL_ALERT_HISTORY history = {0};

	if (wolfSSL_get_alert_history(session->ssl, &history) != WOLFSSL_SUCCESS ||
	    history.last_rx.level != alert_fatal)
		return -1;
	return history.last_rx.code;
}

/* On TLS 1.3 a client is done before the server has looked at its certificate, so the refusal of it comes with the
 * first read. Such an alert gets a text of its own: operators who mixed up two files meet it. */
static bool alert_about_certificate(int alert)
{
	switch (alert) {
	case bad_certificate:
	case unsupported_certificate:
	case certificate_revoked:
	case certificate_expired:
	case certificate_unknown:
	case unknown_ca:
	case access_denied:
	case certificate_required:
		return true;
	default:
		return false;
	}
}

static void describe_failed_session(struct channel_tls_session *session, const char *peer, char *text)
{
	int alert = alert_received(session);

	if (alert >= 0 && alert_about_certificate(alert))
		(void)snprintf(text, CHANNEL_REASON_MAX, "%s refused our certificate (TLS alert %d)", peer, alert);
	else if (alert >= 0)
		(void)snprintf(text, CHANNEL_REASON_MAX, "%s sent TLS alert %d", peer, alert);
	else if (session->socket_error != 0)
		(void)snprintf(text, CHANNEL_REASON_MAX, "connection to %s: %s", peer, strerror(session->socket_error));
	else if (session->ended && !session->established)
		(void)snprintf(text, CHANNEL_REASON_MAX, "%s closed the connection during the TLS handshake", peer);
	else if (session->ended || session->tls_error == WOLFSSL_ERROR_ZERO_RETURN)
		(void)snprintf(text, CHANNEL_REASON_MAX, "%s closed the connection", peer);
	else
		(void)snprintf(text, CHANNEL_REASON_MAX, "TLS with %s failed: %s (%d)", peer,
			       wolfSSL_ERR_reason_error_string((unsigned long)session->tls_error), session->tls_error);
}

void channel_tls_reason(struct channel_tls_session *session, const char *peer, char *text)
{
	switch (session->tls_error) {
	case ASN_NO_SIGNER_E:
	case ASN_SELF_SIGNED_E:
	case ASN_SIG_CONFIRM_E:
		(void)snprintf(text, CHANNEL_REASON_MAX, "certificate of %s is not of the configured CA: %s", peer,
			       wolfSSL_ERR_reason_error_string((unsigned long)session->tls_error));
		break;
	case ASN_AFTER_DATE_E:
		(void)snprintf(text, CHANNEL_REASON_MAX, "certificate of %s has expired", peer);
		break;
	case ASN_BEFORE_DATE_E:
		(void)snprintf(text, CHANNEL_REASON_MAX, "certificate of %s is not valid yet", peer);
		break;
	case NO_PEER_CERT:
		(void)snprintf(text, CHANNEL_REASON_MAX, "%s presented no certificate", peer);
		break;
	default:
		describe_failed_session(session, peer, text);
	}
}

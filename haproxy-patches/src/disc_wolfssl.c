/*
 * src/disc_wolfssl.c
 * Access to the write state of a TLS session held by wolfSSL, for DiSC.
 *
 * wolfSSL's public getters are incomplete for this purpose: they only return
 * the salt of a TLS 1.2 AES-GCM nonce, complement the sequence number, and none
 * can set one. So the fields are read and written through wolfSSL's internal.h,
 * which is not installed: build with ADDINC=-I<wolfSSL's source folder>, that of
 * the very library HAProxy is linked with. Every access is in this file.
 *
 * The <ssl> arguments are SSL pointers as HAProxy holds them.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <wolfssl/options.h>
#include <wolfssl/version.h>
#include <wolfssl/ssl.h>
#include <wolfssl/internal.h>
#include <wolfssl/wolfcrypt/hmac.h>
#include <wolfssl/wolfcrypt/kdf.h>
#include <wolfssl/wolfcrypt/random.h>

#include <string.h>

#include <haproxy/disc_wolfssl.h>

/* The layout of struct WOLFSSL and the behaviours named below were checked for
 * these versions. For another one read the whole file again, run the unit tests
 * of DiSC against it, then extend the range.
 */
#if LIBWOLFSSL_VERSION_HEX < 0x05007002 || LIBWOLFSSL_VERSION_HEX > 0x05007002
#error "DiSC knows the internals of wolfSSL 5.7.2 only"
#endif

_Static_assert(SECRET_LEN >= DISC_SECRET_MAX, "traffic secrets must fit");
_Static_assert(DISC_RECORD_MAX == MAX_RECORD_SIZE, "records are those of TLS");

/* Overwrites <len> bytes at <area>; the compiler never removes it. */
void disc_wolf_wipe(void *area, size_t len)
{
	volatile unsigned char *p = area;

	while (len--)
		*p++ = 0;
}

/* Returns the wolfCrypt digest of the session's key schedule and stores its
 * size into <*len>, or returns -1 if it is none of TLS 1.3.
 */
static int disc_wolf_digest(const WOLFSSL *ssl, word32 *len)
{
	switch (ssl->specs.mac_algorithm) {
	case sha256_mac: *len = 32; return WC_SHA256;
	case sha384_mac: *len = 48; return WC_SHA384;
	default:         return -1;
	}
}

/* Returns the sequence number of the next record. */
uint64_t disc_wolf_seq(void *p)
{
	const WOLFSSL *ssl = p;

	return ((uint64_t)ssl->keys.sequence_number_hi << 32) | ssl->keys.sequence_number_lo;
}

/* Fills <tx> with the current write state. Returns 1 on success, or 0 with <tx>
 * wiped if this session cannot be leased: the handshake is not finished, a
 * shutdown began or an alert waits, the suite is none of TLS 1.3's AES-GCM and ChaCha20 ones nor
 * of TLS 1.2's AES-GCM ones, or records shorter than 16 KB were negotiated (RFC
 * 6066 4).
 */
int disc_wolf_tx_get(void *p, struct disc_tx *tx)
{
	WOLFSSL *ssl = p;

	memset(tx, 0, sizeof(*tx));
	if (ssl->options.side != WOLFSSL_SERVER_END || !ssl->options.handShakeDone ||
	    ssl->options.handShakeState != HANDSHAKE_DONE)
		return 0;
	if (ssl->options.sentNotify || ssl->options.isClosed || ssl->options.connReset ||
	    ssl->options.dtls || ssl->pendingAlert.level != alert_none)
		return 0;
	if (ssl->specs.cipher_type != aead || ssl->version.major != SSLv3_MAJOR)
		return 0;
	if (ssl->version.minor != TLSv1_2_MINOR && ssl->version.minor != TLSv1_3_MINOR)
		return 0;
	if (wolfSSL_GetMaxFragSize(ssl, DISC_RECORD_MAX) < DISC_RECORD_MAX)
		return 0;

	if (ssl->specs.bulk_cipher_algorithm == wolfssl_aes_gcm)
		tx->aead = DISC_AEAD_AES_GCM;
	else if (ssl->specs.bulk_cipher_algorithm == wolfssl_chacha && ssl->version.minor == TLSv1_3_MINOR)
		tx->aead = DISC_AEAD_CHACHA20;
	else
		return 0;
	if (ssl->specs.key_size > sizeof(tx->key))
		return 0;

	tx->tls_minor = ssl->version.minor;
	tx->suite     = (ssl->options.cipherSuite0 << 8) | ssl->options.cipherSuite;
	tx->key_len   = ssl->specs.key_size;
	memcpy(tx->key, ssl->keys.server_write_key, tx->key_len);
	if (tx->tls_minor == TLSv1_2_MINOR) /* salt | counter of explicit nonces */
		memcpy(tx->iv, ssl->encrypt.aes->reg, sizeof(tx->iv));
	else
		memcpy(tx->iv, ssl->keys.aead_enc_imp_IV, sizeof(tx->iv));
	tx->seq = disc_wolf_seq(ssl);
	return 1;
}

/* Copies what identifies the current write keys into <secret>: the server's
 * traffic secret on TLS 1.3, the write key on TLS 1.2. Returns the bytes used,
 * the rest is zero.
 */
int disc_wolf_secret(void *p, uint8_t secret[DISC_SECRET_MAX])
{
	WOLFSSL *ssl = p;
	word32 len = 0;

	memset(secret, 0, DISC_SECRET_MAX);
	if (ssl->version.minor != TLSv1_3_MINOR) {
		len = ssl->specs.key_size <= DISC_SECRET_MAX ? ssl->specs.key_size : DISC_SECRET_MAX;
		memcpy(secret, ssl->keys.server_write_key, len);
	}
	else if (disc_wolf_digest(ssl, &len) >= 0)
		memcpy(secret, ssl->serverSecret, len);
	return len;
}

/* Replaces a TLS 1.3 traffic secret of this session with that of the generation
 * which follows (RFC 8446 7.2). Returns 1, or 0 on failure.
 */
int disc_wolf_next_secret(void *p, uint8_t secret[DISC_SECRET_MAX])
{
	WOLFSSL *ssl = p;
	uint8_t next[DISC_SECRET_MAX] = { 0 };
	word32 len = 0;
	int digest = disc_wolf_digest(ssl, &len);
	int ret;

	if (ssl->version.minor != TLSv1_3_MINOR || digest < 0)
		return 0;
	ret = wc_Tls13_HKDF_Expand_Label(next, len, secret, len, (const byte *)"tls13 ", 6,
	                                 (const byte *)"traffic upd", 11, (const byte *)"", 0, digest);
	memcpy(secret, next, sizeof(next));
	disc_wolf_wipe(next, sizeof(next));
	return ret == 0;
}

/* Fills <tx> with the write state that the traffic secret <secret> of this TLS
 * 1.3 session opens with, at sequence number 0 (RFC 8446 7.3). Returns 1, or 0
 * with <tx> wiped.
 */
int disc_wolf_tx_from_secret(void *p, const uint8_t secret[DISC_SECRET_MAX], struct disc_tx *tx)
{
	WOLFSSL *ssl = p;
	word32 len = 0;
	int digest = disc_wolf_digest(ssl, &len);

	if (!disc_wolf_tx_get(ssl, tx))
		return 0;
	if (tx->tls_minor != TLSv1_3_MINOR || digest < 0)
		goto fail;
	if (wc_Tls13_HKDF_Expand_Label(tx->key, tx->key_len, secret, len, (const byte *)"tls13 ", 6,
	                               (const byte *)"key", 3, (const byte *)"", 0, digest) != 0)
		goto fail;
	if (wc_Tls13_HKDF_Expand_Label(tx->iv, sizeof(tx->iv), secret, len, (const byte *)"tls13 ", 6,
	                               (const byte *)"iv", 2, (const byte *)"", 0, digest) != 0)
		goto fail;
	tx->seq = 0;
	return 1;
 fail:
	disc_wolf_wipe(tx, sizeof(*tx));
	return 0;
}

/* Sends a KeyUpdate which asks for none in return (RFC 8446 4.6.3) and moves on
 * to the next write keys. The message may stay in wolfSSL's output buffer (see
 * disc_wolf_unflushed()); the next write sends it first. Must not be called
 * while an application write waits to be retried. Returns 1, or 0 if the session
 * is beyond use.
 */
int disc_wolf_key_update(void *p)
{
	WOLFSSL *ssl = p;
	int ret;

	if (ssl->version.minor != TLSv1_3_MINOR)
		return 0;
	ssl->keys.updateResponseReq = 0;
	ssl->keys.keyUpdateRespond = 1; /* "this is an answer": so it requests none */
	ret = wolfSSL_update_keys(ssl);
	disc_wolf_forget_blocked(ssl);
	return ret == WOLFSSL_SUCCESS || ret == WOLFSSL_ERROR_WANT_WRITE;
}

/* Moves the write sequence number on by <records>, which another party emitted
 * under the current keys. Explicit nonces of TLS 1.2 are left alone: a holder
 * has a region of its own. Returns 1, or 0 if the number would wrap.
 */
int disc_wolf_advance(void *p, uint64_t records)
{
	WOLFSSL *ssl = p;
	uint64_t seq = disc_wolf_seq(ssl);

	if (seq + records < seq)
		return 0;
	seq += records;
	ssl->keys.sequence_number_hi = seq >> 32;
	ssl->keys.sequence_number_lo = (word32)seq;
	return 1;
}

/* Returns the bytes of records that wait in wolfSSL's output buffer. */
size_t disc_wolf_unflushed(void *p)
{
	return ((WOLFSSL *)p)->buffers.outputBuffer.length;
}

/* Returns how many bytes of the last blocked application write will be counted
 * as sent as soon as the output buffer is flushed. Only meaningful between a
 * blocked write and its retry.
 */
size_t disc_wolf_blocked_plain(void *p)
{
	const WOLFSSL *ssl = p;

	return ssl->buffers.prevSent + ssl->buffers.plainSz;
}

/* Makes wolfSSL forget the last blocked write. It never does so by itself, and
 * would credit those bytes to the next write once more if it finds anything else
 * in its output buffer by then, such as a KeyUpdate.
 */
void disc_wolf_forget_blocked(void *p)
{
	WOLFSSL *ssl = p;

	ssl->buffers.prevSent = ssl->buffers.plainSz = 0;
}

/* Draws <len> bytes from the session's random number generator into <out>. Returns 1, or 0
 * on failure.
 */
int disc_wolf_random(void *p, uint8_t *out, size_t len)
{
	WOLFSSL *ssl = p;

	return ssl->rng && wc_RNG_GenerateBlock(ssl->rng, out, len) == 0;
}

/* Computes the proof of <len> bytes at <text> under <key>: the first bytes of its
 * HMAC-SHA256 (RFC 2104). Returns 1, or 0 on failure.
 */
int disc_wolf_proof(const uint8_t key[DISC_PROOF_BYTES], const void *text, size_t len, uint8_t proof[DISC_PROOF_BYTES])
{
	byte full[WC_SHA256_DIGEST_SIZE];
	Hmac hmac;
	int ok;

	if (wc_HmacInit(&hmac, NULL, INVALID_DEVID) != 0)
		return 0;
	ok = wc_HmacSetKey(&hmac, WC_SHA256, key, DISC_PROOF_BYTES) == 0 &&
	     wc_HmacUpdate(&hmac, text, len) == 0 && wc_HmacFinal(&hmac, full) == 0;
	wc_HmacFree(&hmac);
	if (ok)
		memcpy(proof, full, DISC_PROOF_BYTES);
	return ok;
}

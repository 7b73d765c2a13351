/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "aead_wolfcrypt.h"

#include <wolfssl/wolfcrypt/chacha20_poly1305.h>

#include <string.h>

#include "secret.h"

#define NONCE_LEN 12u
#define TAG_LEN 16u

bool aead_wolfcrypt_init(struct aead_wolfcrypt_key *key, bool chacha, const uint8_t *bytes, size_t len)
{
	key->chacha = chacha;
	key->len = (uint8_t)len;
	memcpy(key->bytes, bytes, len);
	if (chacha)
		return true;
	key->has_aes = wc_AesInit(&key->aes, NULL, INVALID_DEVID) == 0;
	return key->has_aes && wc_AesGcmSetKey(&key->aes, bytes, (word32)len) == 0;
}

void aead_wolfcrypt_release(struct aead_wolfcrypt_key *key)
{
	if (key->has_aes)
		wc_AesFree(&key->aes);
}

bool aead_wolfcrypt_seal(struct aead_wolfcrypt_key *key, const uint8_t *nonce, const uint8_t *additional,
			 size_t additional_len, const uint8_t *in, size_t len, uint8_t *out)
{
	if (key->chacha)
		return wc_ChaCha20Poly1305_Encrypt(key->bytes, nonce, additional, (word32)additional_len, in,
						   (word32)len, out, out + len) == 0;
	return wc_AesGcmEncrypt(&key->aes, out, in, (word32)len, nonce, NONCE_LEN, out + len, TAG_LEN, additional,
				(word32)additional_len) == 0;
}

static bool seal_chacha_pieces(const struct aead_wolfcrypt_key *key, const uint8_t *nonce, const uint8_t *additional,
			       size_t additional_len, const uint8_t *in, size_t len, uint8_t trailer, uint8_t *out)
{
	ChaChaPoly_Aead aead;
	bool sealed = wc_ChaCha20Poly1305_Init(&aead, key->bytes, nonce, CHACHA20_POLY1305_AEAD_ENCRYPT) == 0 &&
		      wc_ChaCha20Poly1305_UpdateAad(&aead, additional, (word32)additional_len) == 0 &&
		      wc_ChaCha20Poly1305_UpdateData(&aead, in, out, (word32)len) == 0 &&
		      wc_ChaCha20Poly1305_UpdateData(&aead, &trailer, out + len, 1) == 0 &&
		      wc_ChaCha20Poly1305_Final(&aead, out + len + 1) == 0;

	secret_wipe(&aead, sizeof(aead));
	return sealed;
}

#ifdef WOLFSSL_AESGCM_STREAM

static bool seal_gcm_pieces(struct aead_wolfcrypt_key *key, const uint8_t *nonce, const uint8_t *additional,
			    size_t additional_len, const uint8_t *in, size_t len, uint8_t trailer, uint8_t *out)
{
	return wc_AesGcmEncryptInit(&key->aes, NULL, 0, nonce, NONCE_LEN) == 0 &&
	       wc_AesGcmEncryptUpdate(&key->aes, out, in, (word32)len, additional, (word32)additional_len) == 0 &&
	       wc_AesGcmEncryptUpdate(&key->aes, out + len, &trailer, 1, NULL, 0) == 0 &&
	       wc_AesGcmEncryptFinal(&key->aes, out + len + 1, TAG_LEN) == 0;
}

#else

/* Large copies of the C library use "rep movsb", which takes 15 times as long when source and destination lie the same
 * way in their pages but for a few bytes; with a header of 5 bytes before the body that is what page-aligned buffers
 * do. */
static void copy_in_pieces(uint8_t *to, const uint8_t *from, size_t len)
{
	const size_t piece = 2048;

	for (; len > piece; len -= piece, to += piece, from += piece)
		memcpy(to, from, piece);
	memcpy(to, from, len);
}

static bool seal_gcm_pieces(struct aead_wolfcrypt_key *key, const uint8_t *nonce, const uint8_t *additional,
			    size_t additional_len, const uint8_t *in, size_t len, uint8_t trailer, uint8_t *out)
{
	copy_in_pieces(out, in, len);
	out[len] = trailer;
	return aead_wolfcrypt_seal(key, nonce, additional, additional_len, out, len + 1, out);
}

#endif

bool aead_wolfcrypt_seal_pieces(struct aead_wolfcrypt_key *key, const uint8_t *nonce, const uint8_t *additional,
				size_t additional_len, const uint8_t *in, size_t len, uint8_t trailer, uint8_t *out)
{
	if (key->chacha)
		return seal_chacha_pieces(key, nonce, additional, additional_len, in, len, trailer, out);
	return seal_gcm_pieces(key, nonce, additional, additional_len, in, len, trailer, out);
}

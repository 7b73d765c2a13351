/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "aead.h"

#include <string.h>

#include "secret.h"

size_t aead_key_length(enum aead_cipher cipher)
{
	return cipher == AEAD_AES_128_GCM ? 16 : 32;
}

bool aead_key_init(struct aead_key *key, enum aead_library library, enum aead_cipher cipher, const uint8_t *bytes)
{
	bool ready;

	memset(key, 0, sizeof(*key));
	key->cipher = cipher;
	key->library = library;
	if (library == AEAD_IPSEC_MB)
		ready = aead_ipsec_mb_init(&key->ipsec_mb, cipher == AEAD_CHACHA20_POLY1305, bytes,
					   aead_key_length(cipher));
	else
		ready = aead_wolfcrypt_init(&key->wolfcrypt, cipher == AEAD_CHACHA20_POLY1305, bytes,
					    aead_key_length(cipher));
	if (!ready)
		aead_key_release(key);
	return ready;
}

void aead_key_release(struct aead_key *key)
{
	if (key->library == AEAD_WOLFCRYPT)
		aead_wolfcrypt_release(&key->wolfcrypt);
	secret_wipe(key, sizeof(*key));
}

bool aead_seal(struct aead_key *key, const uint8_t nonce[static AEAD_NONCE_LEN], const uint8_t *additional,
	       size_t additional_len, const uint8_t *in, size_t len, uint8_t trailer, uint8_t *out)
{
	/* In place the trailer follows the plaintext already: one call for both. */
	if (in == out && trailer) {
		out[len++] = trailer;
		trailer = 0;
	}
	if (key->library == AEAD_IPSEC_MB) {
		aead_ipsec_mb_seal(&key->ipsec_mb, nonce, additional, additional_len, in, len, trailer, out);
		return true;
	}
	if (trailer)
		return aead_wolfcrypt_seal_pieces(&key->wolfcrypt, nonce, additional, additional_len, in, len, trailer,
						  out);
	return aead_wolfcrypt_seal(&key->wolfcrypt, nonce, additional, additional_len, in, len, out);
}

const char *aead_cipher_name(enum aead_cipher cipher)
{
	switch (cipher) {
	case AEAD_AES_128_GCM:
		return "AES-128-GCM";
	case AEAD_AES_256_GCM:
		return "AES-256-GCM";
	case AEAD_CHACHA20_POLY1305:
		break;
	}
	return "ChaCha20-Poly1305";
}

const char *aead_library_name(enum aead_library library)
{
	return library == AEAD_IPSEC_MB ? "ipsec-mb" : "wolfCrypt";
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
/* AEADs by wolfCrypt. The contract of the functions is that of aead.h. */
#ifndef DISC_AEAD_WOLFCRYPT_H
#define DISC_AEAD_WOLFCRYPT_H

#include <wolfssl/options.h>

#include <wolfssl/wolfcrypt/aes.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct aead_wolfcrypt_key {
	bool chacha;
	bool has_aes; /* <aes> is to be freed */
	Aes aes;      /* expanded, of AES-GCM */
	uint8_t len;
	uint8_t bytes[32];
};

bool aead_wolfcrypt_init(struct aead_wolfcrypt_key *key, bool chacha, const uint8_t *bytes, size_t len);
void aead_wolfcrypt_release(struct aead_wolfcrypt_key *key);
/* Without a trailer. */
bool aead_wolfcrypt_seal(struct aead_wolfcrypt_key *key, const uint8_t *nonce, const uint8_t *additional,
			 size_t additional_len, const uint8_t *in, size_t len, uint8_t *out);

/* With one, and not in place. */
bool aead_wolfcrypt_seal_pieces(struct aead_wolfcrypt_key *key, const uint8_t *nonce, const uint8_t *additional,
				size_t additional_len, const uint8_t *in, size_t len, uint8_t trailer, uint8_t *out);

#endif

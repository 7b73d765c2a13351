/* SPDX-License-Identifier: GPL-2.0-or-later */
/* AEADs that seal TLS records, each by one of two libraries that give the same bytes: wolfCrypt, which is always there, and
 * ipsec-mb, which is faster on CPUs with wide vectors (VAES, AVX-512). */
#ifndef DISC_AEAD_H
#define DISC_AEAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "aead_ipsec_mb.h"
#include "aead_wolfcrypt.h"

#define AEAD_NONCE_LEN 12u
#define AEAD_TAG_LEN 16u

enum aead_cipher { AEAD_AES_128_GCM, AEAD_AES_256_GCM, AEAD_CHACHA20_POLY1305 };
#define AEAD_CIPHERS 3u

enum aead_library { AEAD_WOLFCRYPT, AEAD_IPSEC_MB };

/* An expanded key, and what its library works with. Lies in secret memory. */
struct aead_key {
	enum aead_cipher cipher;
	enum aead_library library;
	union {
		struct aead_wolfcrypt_key wolfcrypt;
		struct aead_ipsec_mb_key ipsec_mb;
	};
};

/* Bytes of a key of <cipher>. */
size_t aead_key_length(enum aead_cipher cipher);

/* Expands <bytes>, aead_key_length() of them, for <library>, which must be available. Returns true; or false, with <key>
 * wiped, if the library refuses. */
bool aead_key_init(struct aead_key *key, enum aead_library library, enum aead_cipher cipher, const uint8_t *bytes);

/* Wipes <key>, which aead_key_init() filled. */
void aead_key_release(struct aead_key *key);

/* Seals under <nonce> with <additional> data the <len> bytes at <in> and behind them, unless it is 0, the byte <trailer>:
 * RFC 8446 5.2 puts the content type there. Writes the ciphertext to <out> and the tag behind it. <in> is <out>, or does
 * not overlap what is written; then it is read once, from its beginning to its end. Returns false if the library refuses:
 * what is at <out> then is worth nothing. */
bool aead_seal(struct aead_key *key, const uint8_t nonce[static AEAD_NONCE_LEN], const uint8_t *additional,
	       size_t additional_len, const uint8_t *in, size_t len, uint8_t trailer, uint8_t *out);

const char *aead_cipher_name(enum aead_cipher cipher);
const char *aead_library_name(enum aead_library library);

#endif

/* SPDX-License-Identifier: GPL-2.0-or-later */
/* AEADs by ipsec-mb, if this program was built with it. Unless said otherwise the contract of the functions is that of
 * aead.h. */
#ifndef DISC_AEAD_IPSEC_MB_H
#define DISC_AEAD_IPSEC_MB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Room for what the library keeps; aead_ipsec_mb.c compares it with the library's own types. */
#define AEAD_IPSEC_MB_EXPANDED_MAX 1280u
#define AEAD_IPSEC_MB_CONTEXT_MAX 256u

struct aead_ipsec_mb_key {
	/* of AES-GCM: round keys and powers of the hash key */
	_Alignas(64) uint8_t expanded[AEAD_IPSEC_MB_EXPANDED_MAX];
	_Alignas(64) uint8_t context[AEAD_IPSEC_MB_CONTEXT_MAX]; /* of the record under way */
	bool chacha;
	uint8_t len;
	uint8_t bytes[32];
};

/* Looks for the library and what it needs. Call it before other threads seal; further calls answer the same. Returns NULL,
 * or why it cannot be used, a static text. */
const char *aead_ipsec_mb_open(void);

/* The library's version, or "" without it. */
const char *aead_ipsec_mb_version(void);

bool aead_ipsec_mb_init(struct aead_ipsec_mb_key *key, bool chacha, const uint8_t *bytes, size_t len);

/* Cannot fail. */
void aead_ipsec_mb_seal(struct aead_ipsec_mb_key *key, const uint8_t *nonce, const uint8_t *additional,
			size_t additional_len, const uint8_t *in, size_t len, uint8_t trailer, uint8_t *out);

#endif

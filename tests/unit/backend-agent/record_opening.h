/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What tests of sealed bodies share: a TX state and the opening of TLS 1.3 AES-128-GCM records (RFC 8446 5.2), written
 * apart from lib/wire/record.c, so that a fault there does not hide itself. */
#ifndef RECORD_OPENING_H
#define RECORD_OPENING_H

#include <wolfssl/options.h>

#include <wolfssl/wolfcrypt/aes.h>

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "tx_state.h"

static inline struct tx_state opening_state(uint64_t seq)
{
	struct tx_state state = {.tls_minor = 4, .suite = 0x1301, .aead = TX_AEAD_AES_GCM, .key_len = 16, .seq = seq};

	for (int i = 0; i < 16; i++)
		state.key[i] = (uint8_t)(0xa0 + i);
	for (int i = 0; i < TX_STATE_IV_LEN; i++)
		state.iv[i] = (uint8_t)(0x50 + i);
	for (int i = 0; i < PROOF_KEY_LEN; i++)
		state.proof_key[i] = (uint8_t)(0xc0 + i);
	return state;
}

/* Opens the records in <len> bytes at <sealed>, the first one with the sequence number state->seq, to <plain> (<cap>
 * bytes). Stores the bytes of plaintext in <*plain_len> and counts whole records in <*records>. Stops at a record that
 * is not whole. Returns false if one does not open, is no application data or is too long. */
static inline bool open_records(const struct tx_state *state, const uint8_t *sealed, size_t len, uint8_t *plain,
				size_t cap, size_t *plain_len, uint64_t *records)
{
	uint64_t seq = state->seq;
	bool good = true;
	Aes aes;

	*plain_len = 0;
	*records = 0;
	if (wc_AesInit(&aes, NULL, INVALID_DEVID) != 0 || wc_AesGcmSetKey(&aes, state->key, state->key_len) != 0)
		return false;
	while (good && len >= 5) {
		size_t body = (size_t)sealed[3] << 8 | sealed[4];
		uint8_t nonce[TX_STATE_IV_LEN], inner[16384 + 1];

		if (len - 5 < body)
			break;
		memcpy(nonce, state->iv, sizeof(nonce));
		for (int i = 0; i < 8; i++)
			nonce[11 - i] ^= (uint8_t)(seq >> (8 * i));
		good = sealed[0] == 23 && sealed[1] == 3 && sealed[2] == 3 && body >= 17 &&
		       body - 16 <= sizeof(inner) && body - 17 <= cap - *plain_len &&
		       wc_AesGcmDecrypt(&aes, inner, sealed + 5, (word32)(body - 16), nonce, sizeof(nonce),
					sealed + 5 + body - 16, 16, sealed, 5) == 0 &&
		       inner[body - 17] == 23;
		if (!good)
			break;
		memcpy(plain + *plain_len, inner, body - 17);
		*plain_len += body - 17;
		*records += 1;
		seq++;
		sealed += 5 + body;
		len -= 5 + body;
	}
	wc_AesFree(&aes);
	return good;
}

#endif

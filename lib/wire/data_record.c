/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "data_record.h"

#include <endian.h>
#include <string.h>

#include "aead_choice.h"
#include "secret.h"

#define HEADER_LEN 5u
#define APPLICATION_DATA 0x17
#define FRAME_DATA 0x00       /* RFC 9113 6.1 */
#define FLAG_END_STREAM 0x01u /* the same */

struct data_sealer {
	uint8_t iv[TX_STATE_IV_LEN];
	uint8_t proof_key[PROOF_KEY_LEN];
	struct aead_key key; /* expanded once */
	bool dead;           /* a fault happened: no slot is used again */
	uint64_t next;       /* lowest slot that is free */
};

static enum aead_cipher cipher_of(const struct tx_state *state)
{
	if (state->aead == TX_AEAD_CHACHA20_POLY1305)
		return AEAD_CHACHA20_POLY1305;
	return state->key_len == 16 ? AEAD_AES_128_GCM : AEAD_AES_256_GCM;
}

enum record_error data_sealer_new(struct data_sealer **sealer, const struct tx_state *state)
{
	enum aead_cipher cipher = cipher_of(state);
	struct data_sealer *made;

	*sealer = NULL;
	if (state->use != TX_USE_GRANTS)
		return RECORD_WRONG_USE;
	made = secret_alloc(sizeof(*made));
	if (!made)
		return RECORD_NO_MEMORY;
	memcpy(made->iv, state->iv, sizeof(made->iv));
	memcpy(made->proof_key, state->proof_key, sizeof(made->proof_key));
	/* Slot 0 is never granted: it is the first one, and a pivot is before the slots of a grant. */
	made->next = 1;
	if (!aead_key_init(&made->key, aead_chosen(cipher), cipher, state->key)) {
		secret_free(made, sizeof(*made));
		return RECORD_CRYPTO_FAILED;
	}
	*sealer = made;
	return RECORD_OK;
}

void data_sealer_free(struct data_sealer *sealer)
{
	if (!sealer)
		return;
	aead_key_release(&sealer->key);
	secret_free(sealer, sizeof(*sealer));
}

const uint8_t *data_sealer_proof_key(const struct data_sealer *sealer)
{
	return sealer->proof_key;
}

uint64_t data_sealer_next(const struct data_sealer *sealer)
{
	return sealer->next;
}

/* RFC 8446 5.3: IV XOR the sequence number, padded to the left. */
static void make_nonce(uint8_t nonce[static AEAD_NONCE_LEN], const struct data_sealer *sealer, uint64_t slot)
{
	uint64_t seq = htobe64(slot);
	const uint8_t *bytes = (const uint8_t *)&seq;

	memcpy(nonce, sealer->iv, AEAD_NONCE_LEN);
	for (size_t i = 0; i < sizeof(seq); i++)
		nonce[AEAD_NONCE_LEN - sizeof(seq) + i] ^= bytes[i];
}

/* RFC 9113 4.1. */
static void put_frame_head(uint8_t *at, uint32_t stream, bool end, size_t len)
{
	at[0] = (uint8_t)(len >> 16);
	at[1] = (uint8_t)(len >> 8);
	at[2] = (uint8_t)len;
	at[3] = FRAME_DATA;
	at[4] = end ? FLAG_END_STREAM : 0;
	stream = htobe32(stream);
	memcpy(at + 5, &stream, sizeof(stream));
}

enum record_error data_seal(struct data_sealer *sealer, uint64_t slot, uint32_t stream, bool end, size_t len,
			    uint8_t *out)
{
	size_t total = len + DATA_RECORD_OVERHEAD, sealed = total - HEADER_LEN;
	uint8_t nonce[AEAD_NONCE_LEN];

	if (sealer->dead || slot < sealer->next || slot >= RECORD_COUNT_MAX || !len || len > DATA_PAYLOAD_MAX) {
		sealer->dead = true;
		return RECORD_OUT_OF_ORDER;
	}
	/* Before anything is sealed: the slot is used up whatever happens now. */
	sealer->next = slot + 1;
	out[0] = APPLICATION_DATA;
	out[1] = 3;
	out[2] = 3;
	out[3] = (uint8_t)(sealed >> 8);
	out[4] = (uint8_t)sealed;
	put_frame_head(out + HEADER_LEN, stream, end, len);
	make_nonce(nonce, sealer, slot);
	if (!aead_seal(&sealer->key, nonce, out, HEADER_LEN, out + HEADER_LEN, DATA_FRAME_HEAD_LEN + len,
		       APPLICATION_DATA, out + HEADER_LEN)) {
		sealer->dead = true;
		secret_wipe(out, total);
		return RECORD_CRYPTO_FAILED;
	}
	return RECORD_OK;
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Does with intent what must never happen: uses one (key, nonce) for two plaintexts. Linked with the seal recorder it
 * proves that recorder and check_seals notice.
 *
 *   seal_twice record13|record12|record-chacha|aes|aes-counter|chacha-pieces[-in-place][-mb] [same]
 *
 * record*: two sealers of lib/wire/record.c from one TX state; with -in-place the plaintext lies where it is sealed, with -mb
 * ipsec-mb seals. The others: the calls of wolfSSL's own record layer, where chacha-pieces also opens what it sealed, which
 * must not count as a seal; choice-mb does no more than what -mb does first. With "same" both plaintexts are equal, which is no reuse. Exit 0 if everything was sealed, 2 for
 * a wrong call, 3 if there is no ipsec-mb, 1 otherwise.
 */
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <wolfssl/options.h>
#include <wolfssl/wolfcrypt/aes.h>
#include <wolfssl/wolfcrypt/chacha.h>
#include <wolfssl/wolfcrypt/poly1305.h>

#include "aead_choice.h"
#include "record.h"
#include "tx_state.h"

#define PLAIN_LEN 100

static const byte key[32] = {1, 2, 3, 4}, nonce[12] = {5, 6, 7}, additional[5] = {23, 3, 3, 0, 117};

/* One body of one record, whose bytes are all <fill>. */
static int seal_record(const struct tx_state *state, uint8_t fill, bool in_place)
{
	struct record_sealer *sealer;
	uint8_t memory[PLAIN_LEN], out[RECORD_SEALED_MAX], *plain = memory;
	size_t out_len;

	if (record_sealer_new(&sealer, state, PLAIN_LEN, 0) != RECORD_OK)
		return -1;
	if (in_place)
		plain = out + record_plain_offset(sealer);
	memset(plain, fill, PLAIN_LEN);
	enum record_error error = record_seal_next(sealer, plain, PLAIN_LEN, out, &out_len);
	record_sealer_free(sealer);
	return error == RECORD_OK ? 0 : -1;
}

static int seal_aes(uint8_t fill, int from_counter)
{
	Aes aes;
	byte plain[PLAIN_LEN], tag[16], used[12];
	int ret;

	memset(plain, fill, sizeof(plain));
	if (wc_AesInit(&aes, NULL, INVALID_DEVID) != 0 || wc_AesGcmSetKey(&aes, key, 16) != 0)
		return -1;
	if (from_counter)
		ret = wc_AesGcmSetExtIV(&aes, nonce, sizeof(nonce)) ||
		      wc_AesGcmEncrypt_ex(&aes, plain, plain, sizeof(plain), used, sizeof(used), tag, sizeof(tag),
					  additional, sizeof(additional));
	else
		ret = wc_AesGcmEncrypt(&aes, plain, plain, sizeof(plain), nonce, sizeof(nonce), tag, sizeof(tag),
				       additional, sizeof(additional));
	wc_AesFree(&aes);
	return ret;
}

/* As ChachaAEADEncrypt() and ChachaAEADDecrypt() of wolfSSL do it. */
static int seal_chacha_pieces(uint8_t fill)
{
	ChaCha cipher;
	Poly1305 mac;
	byte text[PLAIN_LEN], one_time[32] = {0}, tag[16];

	memset(text, fill, sizeof(text));
	if (wc_Chacha_SetKey(&cipher, key, sizeof(key)) || wc_Chacha_SetIV(&cipher, nonce, 0) ||
	    wc_Chacha_Process(&cipher, one_time, one_time, sizeof(one_time)))
		return -1;
	if (wc_Chacha_SetIV(&cipher, nonce, 1) || wc_Chacha_Process(&cipher, text, text, sizeof(text)) ||
	    wc_Poly1305SetKey(&mac, one_time, sizeof(one_time)) ||
	    wc_Poly1305_MAC(&mac, additional, sizeof(additional), text, sizeof(text), tag, sizeof(tag)))
		return -1;
	return wc_Chacha_SetIV(&cipher, nonce, 1) || wc_Poly1305SetKey(&mac, one_time, sizeof(one_time)) ||
	       wc_Poly1305_MAC(&mac, additional, sizeof(additional), text, sizeof(text), tag, sizeof(tag)) ||
	       wc_Chacha_Process(&cipher, text, text, sizeof(text));
}

static struct tx_state state_of(const char *how)
{
	struct tx_state state = {.tls_minor = 4, .suite = 0x1301, .aead = TX_AEAD_AES_GCM, .key_len = 16, .seq = 1};

	if (strncmp(how, "record12", 8) == 0) {
		state.tls_minor = 3;
		state.suite = 0xc02b;
	} else if (strncmp(how, "record-chacha", 13) == 0) {
		state.suite = 0x1303;
		state.aead = TX_AEAD_CHACHA20_POLY1305;
		state.key_len = 32;
	}
	memcpy(state.key, key, state.key_len);
	memcpy(state.iv, nonce, sizeof(nonce));
	return state;
}

int main(int argc, char **argv)
{
	const char *how = argc > 1 ? argv[1] : "";
	int same = argc > 2 && strcmp(argv[2], "same") == 0;
	bool in_place = strstr(how, "-in-place");

	if (strstr(how, "-mb") && aead_choose(AEAD_SETTING_IPSEC_MB))
		return 3;
	if (strcmp(how, "choice-mb") == 0)
		return 0;
	for (int i = 0; i < 2; i++) {
		uint8_t fill = (uint8_t)(same ? 'a' : 'a' + i);
		int failed;

		if (strncmp(how, "record", 6) == 0) {
			struct tx_state state = state_of(how);
			failed = seal_record(&state, fill, in_place);
		} else if (strcmp(how, "aes") == 0 || strcmp(how, "aes-counter") == 0) {
			failed = seal_aes(fill, how[3] != '\0');
		} else if (strcmp(how, "chacha-pieces") == 0) {
			failed = seal_chacha_pieces(fill);
		} else {
			fprintf(stderr, "usage: seal_twice "
					"record13|record12|record-chacha|aes|aes-counter|chacha-pieces[-in-place][-mb] "
					"[same]\n");
			return 2;
		}
		if (failed) {
			fprintf(stderr, "seal_twice: %s: sealing failed\n", how);
			return 1;
		}
	}
	return 0;
}

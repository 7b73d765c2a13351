/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Seal recorder: writes down every (key, nonce) under which a program seals a TLS record, so that check_seals can prove
 * that none was used for two different plaintexts (doc/security.md).
 *
 * It is linked into a program with -Wl,--wrap=<symbol> for each line of seal_recorder.symbols and stands between the
 * record layers (wolfSSL's src/internal.c and src/tls13.c, our lib/wire/aead.c) and wolfCrypt or ipsec-mb. Calls inside
 * one object of wolfCrypt do not pass through here, so a seal is recorded once.
 *
 * With DISC_SEAL_LOG set, every seal appends one line to that file before the bytes exist:
 *
 *   <key id, 16 hex> <nonce, 24 hex> <digest of additional data and plaintext, 16 hex> <program>:<pid>
 *
 * Without it nothing is done. A line that cannot be written ends the program: a recorder that misses a seal is worse
 * than none. Only digests are written, never a key.
 *
 * ChaCha20-Poly1305 reaches wolfCrypt in pieces: SetIV(nonce, 1), Process(plaintext), Poly1305_MAC(ciphertext). A seal
 * is told from an opening by the order of the last two: the opener authenticates first.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <wolfssl/options.h>
#include <wolfssl/wolfcrypt/aes.h>
#include <wolfssl/wolfcrypt/chacha.h>
#include <wolfssl/wolfcrypt/chacha20_poly1305.h>
#include <wolfssl/wolfcrypt/poly1305.h>
#include <wolfssl/wolfcrypt/sha256.h>

#include "aead_ipsec_mb.h"
#include "aead_wolfcrypt.h"

#define NONCE_LEN 12
#define DIGEST_KEPT 8 /* bytes of each SHA-256 that are written */
#define AES_KEY_MAX 32

static int log_fd = -1;
static char program_name[64];

static void give_up(const char *what)
{
	fprintf(stderr, "seal recorder: %s: %s\n", what, strerror(errno));
	abort();
}

/* Before main(), so that a later chroot() or change of user does not matter. */
__attribute__((constructor)) static void recorder_open(void)
{
	const char *file = getenv("DISC_SEAL_LOG");

	if (file == NULL || *file == '\0')
		return;
	log_fd = open(file, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
	if (log_fd < 0)
		give_up(file);
	/* Out of the way of programs that close or reuse the low descriptors. */
	int high = fcntl(log_fd, F_DUPFD_CLOEXEC, 200);
	if (high >= 0) {
		close(log_fd);
		log_fd = high;
	}
	snprintf(program_name, sizeof(program_name), "%s", program_invocation_short_name);
}

static void digest_begin(wc_Sha256 *sha)
{
	if (wc_InitSha256(sha) != 0)
		give_up("SHA-256");
}

static void digest_add(wc_Sha256 *sha, const void *bytes, size_t len)
{
	if (len != 0 && wc_Sha256Update(sha, bytes, (word32)len) != 0)
		give_up("SHA-256");
}

static void digest_end(wc_Sha256 *sha, byte kept[static DIGEST_KEPT])
{
	byte full[WC_SHA256_DIGEST_SIZE];

	if (wc_Sha256Final(sha, full) != 0)
		give_up("SHA-256");
	wc_Sha256Free(sha);
	memcpy(kept, full, DIGEST_KEPT);
}

static void digest_key(const void *key, size_t len, byte kept[static DIGEST_KEPT])
{
	wc_Sha256 sha;

	digest_begin(&sha);
	digest_add(&sha, key, len);
	digest_end(&sha, kept);
}

/* Ends the digest <sha> of <len> bytes of plaintext with the additional data; the lengths go in so that no two pairs of
 * them look alike. */
static void digest_end_text(wc_Sha256 *sha, size_t len, const void *aad, size_t aad_len, byte kept[static DIGEST_KEPT])
{
	size_t lengths[2] = {len, aad_len};

	digest_add(sha, aad, aad_len);
	digest_add(sha, lengths, sizeof(lengths));
	digest_end(sha, kept);
}

static void digest_text(const void *aad, size_t aad_len, const void *plain, size_t len, byte kept[static DIGEST_KEPT])
{
	wc_Sha256 sha;

	digest_begin(&sha);
	digest_add(&sha, plain, len);
	digest_end_text(&sha, len, aad, aad_len, kept);
}

static char *append_hex(char *out, const byte *bytes, size_t len)
{
	static const char digits[] = "0123456789abcdef";

	for (size_t i = 0; i < len; i++) {
		*out++ = digits[bytes[i] >> 4];
		*out++ = digits[bytes[i] & 15];
	}
	return out;
}

static void record_line(const byte key_id[static DIGEST_KEPT], const byte *nonce, const byte text[static DIGEST_KEPT])
{
	char line[2 * (DIGEST_KEPT + NONCE_LEN + DIGEST_KEPT) + sizeof(program_name) + 32];
	char *end = append_hex(line, key_id, DIGEST_KEPT);

	*end++ = ' ';
	end = append_hex(end, nonce, NONCE_LEN);
	*end++ = ' ';
	end = append_hex(end, text, DIGEST_KEPT);
	end += snprintf(end, sizeof(line) - (size_t)(end - line), " %s:%ld\n", program_name, (long)getpid());

	ssize_t want = end - line, done;
	do
		done = write(log_fd, line, (size_t)want);
	while (done < 0 && errno == EINTR);
	if (done != want)
		give_up("write");
}

/* --- AES-GCM --- */

/* The first round keys are the key itself. Without AES-NI wolfCrypt keeps them as big-endian words in host order. */
static void aes_key_id(const Aes *aes, byte kept[static DIGEST_KEPT])
{
	byte key[AES_KEY_MAX];
	size_t len = aes->keylen > 0 && aes->keylen <= AES_KEY_MAX ? (size_t)aes->keylen : 0;

	if (len == 0) {
		errno = EINVAL;
		give_up("AES key length");
	}
	memcpy(key, aes->key, len);
#ifdef WOLFSSL_AESNI
	int big_endian_words = !aes->use_aesni;
#else
	int big_endian_words = 1;
#endif
	for (size_t i = 0; big_endian_words && i + 4 <= len; i += 4) {
		word32 word;

		memcpy(&word, key + i, 4);
		word = __builtin_bswap32(word);
		memcpy(key + i, &word, 4);
	}
	digest_key(key, len, kept);
	explicit_bzero(key, sizeof(key));
}

static void record_aes(const Aes *aes, const byte *nonce, size_t nonce_len, const byte *aad, size_t aad_len,
		       const byte *plain, size_t len)
{
	byte key_id[DIGEST_KEPT], text[DIGEST_KEPT];

	if (aes == NULL || nonce == NULL || nonce_len != NONCE_LEN)
		return; /* no record of TLS has another nonce length; a null argument seals nothing */
	aes_key_id(aes, key_id);
	digest_text(aad, aad_len, plain, len, text);
	record_line(key_id, nonce, text);
}

int __real_wc_AesGcmEncrypt(Aes *aes, byte *out, const byte *in, word32 sz, const byte *iv, word32 ivSz, byte *authTag,
			    word32 authTagSz, const byte *authIn, word32 authInSz);
int __wrap_wc_AesGcmEncrypt(Aes *aes, byte *out, const byte *in, word32 sz, const byte *iv, word32 ivSz, byte *authTag,
			    word32 authTagSz, const byte *authIn, word32 authInSz);

int __wrap_wc_AesGcmEncrypt(Aes *aes, byte *out, const byte *in, word32 sz, const byte *iv, word32 ivSz, byte *authTag,
			    word32 authTagSz, const byte *authIn, word32 authInSz)
{
	if (log_fd >= 0)
		record_aes(aes, iv, ivSz, authIn, authInSz, in, sz);
	return __real_wc_AesGcmEncrypt(aes, out, in, sz, iv, ivSz, authTag, authTagSz, authIn, authInSz);
}

int __real_wc_AesGcmEncrypt_ex(Aes *aes, byte *out, const byte *in, word32 sz, byte *ivOut, word32 ivOutSz,
			       byte *authTag, word32 authTagSz, const byte *authIn, word32 authInSz);
int __wrap_wc_AesGcmEncrypt_ex(Aes *aes, byte *out, const byte *in, word32 sz, byte *ivOut, word32 ivOutSz,
			       byte *authTag, word32 authTagSz, const byte *authIn, word32 authInSz);

/* This form takes the nonce from the counter in <aes>, which TLS 1.2 keeps going and TLS 1.3 sets before each
 * record. */
int __wrap_wc_AesGcmEncrypt_ex(Aes *aes, byte *out, const byte *in, word32 sz, byte *ivOut, word32 ivOutSz,
			       byte *authTag, word32 authTagSz, const byte *authIn, word32 authInSz)
{
	if (log_fd >= 0 && aes != NULL)
		record_aes(aes, (const byte *)aes->reg, ivOutSz, authIn, authInSz, in, sz);
	return __real_wc_AesGcmEncrypt_ex(aes, out, in, sz, ivOut, ivOutSz, authTag, authTagSz, authIn, authInSz);
}

/* --- ChaCha20-Poly1305, in one call (lib/wire/aead_wolfcrypt.c) --- */

int __real_wc_ChaCha20Poly1305_Encrypt(const byte *inKey, const byte *inIV, const byte *inAAD, word32 inAADLen,
				       const byte *inPlaintext, word32 inPlaintextLen, byte *outCiphertext,
				       byte *outAuthTag);
int __wrap_wc_ChaCha20Poly1305_Encrypt(const byte *inKey, const byte *inIV, const byte *inAAD, word32 inAADLen,
				       const byte *inPlaintext, word32 inPlaintextLen, byte *outCiphertext,
				       byte *outAuthTag);

int __wrap_wc_ChaCha20Poly1305_Encrypt(const byte *inKey, const byte *inIV, const byte *inAAD, word32 inAADLen,
				       const byte *inPlaintext, word32 inPlaintextLen, byte *outCiphertext,
				       byte *outAuthTag)
{
	if (log_fd >= 0 && inKey != NULL && inIV != NULL) {
		byte key_id[DIGEST_KEPT], text[DIGEST_KEPT];

		digest_key(inKey, CHACHA20_POLY1305_AEAD_KEYSIZE, key_id);
		digest_text(inAAD, inAADLen, inPlaintext, inPlaintextLen, text);
		record_line(key_id, inIV, text);
	}
	return __real_wc_ChaCha20Poly1305_Encrypt(inKey, inIV, inAAD, inAADLen, inPlaintext, inPlaintextLen,
						  outCiphertext, outAuthTag);
}

/* --- ChaCha20-Poly1305, in pieces (wolfSSL's record layer) --- */

/* What the last Process() of this thread encrypted, until the MAC over its output shows that it was a seal. */
static _Thread_local struct {
	const ChaCha *cipher; /* whose nonce is known */
	byte nonce[NONCE_LEN];
	word32 counter;
	const byte *output; /* of the last Process() from block 1 on; NULL if there is none */
	word32 output_len;
	byte key_id[DIGEST_KEPT];
	wc_Sha256 plain; /* of the plaintext, which the output may overwrite */
} chacha;

int __real_wc_Chacha_SetIV(ChaCha *ctx, const byte *inIv, word32 counter);
int __wrap_wc_Chacha_SetIV(ChaCha *ctx, const byte *inIv, word32 counter);

int __wrap_wc_Chacha_SetIV(ChaCha *ctx, const byte *inIv, word32 counter)
{
	if (log_fd >= 0 && ctx != NULL && inIv != NULL) {
		chacha.cipher = ctx;
		memcpy(chacha.nonce, inIv, NONCE_LEN);
		chacha.counter = counter;
		chacha.output = NULL;
	}
	return __real_wc_Chacha_SetIV(ctx, inIv, counter);
}

int __real_wc_Chacha_Process(ChaCha *ctx, byte *cipher, const byte *plain, word32 msglen);
int __wrap_wc_Chacha_Process(ChaCha *ctx, byte *cipher, const byte *plain, word32 msglen);

int __wrap_wc_Chacha_Process(ChaCha *ctx, byte *cipher, const byte *plain, word32 msglen)
{
	if (log_fd >= 0 && ctx != NULL && ctx == chacha.cipher && chacha.counter == 1) {
		digest_key(&ctx->X[4], CHACHA20_POLY1305_AEAD_KEYSIZE, chacha.key_id);
		digest_begin(&chacha.plain);
		digest_add(&chacha.plain, plain, msglen);
		chacha.output = cipher;
		chacha.output_len = msglen;
	}
	return __real_wc_Chacha_Process(ctx, cipher, plain, msglen);
}

int __real_wc_Poly1305_MAC(Poly1305 *ctx, const byte *additional, word32 addSz, const byte *input, word32 sz, byte *tag,
			   word32 tagSz);
int __wrap_wc_Poly1305_MAC(Poly1305 *ctx, const byte *additional, word32 addSz, const byte *input, word32 sz, byte *tag,
			   word32 tagSz);

int __wrap_wc_Poly1305_MAC(Poly1305 *ctx, const byte *additional, word32 addSz, const byte *input, word32 sz, byte *tag,
			   word32 tagSz)
{
	if (log_fd >= 0 && chacha.output != NULL && chacha.output == input && chacha.output_len == sz) {
		byte text[DIGEST_KEPT];

		digest_end_text(&chacha.plain, sz, additional, addSz, text);
		record_line(chacha.key_id, chacha.nonce, text);
		chacha.output = NULL;
	}
	return __real_wc_Poly1305_MAC(ctx, additional, addSz, input, sz, tag, tagSz);
}

/* --- the ways of lib/wire/aead.c that do not lead through the functions above --- */

/* Weak: HAProxy has none of them. */
#define ONLY_IN_NODES __attribute__((weak))

static void record_pieces(const uint8_t *key, size_t key_len, const uint8_t *nonce, const uint8_t *aad, size_t aad_len,
			  const uint8_t *plain, size_t len, uint8_t trailer)
{
	byte key_id[DIGEST_KEPT], text[DIGEST_KEPT];
	wc_Sha256 sha;

	if (log_fd < 0)
		return;
	digest_key(key, key_len, key_id);
	digest_begin(&sha);
	digest_add(&sha, plain, len);
	digest_add(&sha, &trailer, trailer ? 1 : 0);
	digest_end_text(&sha, len + (trailer ? 1 : 0), aad, aad_len, text);
	record_line(key_id, nonce, text);
}

ONLY_IN_NODES bool __real_aead_wolfcrypt_seal_pieces(struct aead_wolfcrypt_key *key, const uint8_t *nonce,
						     const uint8_t *aad, size_t aad_len, const uint8_t *in, size_t len,
						     uint8_t trailer, uint8_t *out);
bool __wrap_aead_wolfcrypt_seal_pieces(struct aead_wolfcrypt_key *key, const uint8_t *nonce, const uint8_t *aad,
				       size_t aad_len, const uint8_t *in, size_t len, uint8_t trailer, uint8_t *out);

bool __wrap_aead_wolfcrypt_seal_pieces(struct aead_wolfcrypt_key *key, const uint8_t *nonce, const uint8_t *aad,
				       size_t aad_len, const uint8_t *in, size_t len, uint8_t trailer, uint8_t *out)
{
	record_pieces(key->bytes, key->len, nonce, aad, aad_len, in, len, trailer);
	return __real_aead_wolfcrypt_seal_pieces(key, nonce, aad, aad_len, in, len, trailer, out);
}

ONLY_IN_NODES void __real_aead_ipsec_mb_seal(struct aead_ipsec_mb_key *key, const uint8_t *nonce, const uint8_t *aad,
					     size_t aad_len, const uint8_t *in, size_t len, uint8_t trailer,
					     uint8_t *out);
void __wrap_aead_ipsec_mb_seal(struct aead_ipsec_mb_key *key, const uint8_t *nonce, const uint8_t *aad, size_t aad_len,
			       const uint8_t *in, size_t len, uint8_t trailer, uint8_t *out);

void __wrap_aead_ipsec_mb_seal(struct aead_ipsec_mb_key *key, const uint8_t *nonce, const uint8_t *aad, size_t aad_len,
			       const uint8_t *in, size_t len, uint8_t trailer, uint8_t *out)
{
	record_pieces(key->bytes, key->len, nonce, aad, aad_len, in, len, trailer);
	__real_aead_ipsec_mb_seal(key, nonce, aad, aad_len, in, len, trailer, out);
}

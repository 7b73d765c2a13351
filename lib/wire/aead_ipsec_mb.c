/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "aead_ipsec_mb.h"

/* Debian has the library for amd64 only. */
#if __has_include(<intel-ipsec-mb.h>) && !defined(DISC_WITHOUT_IPSEC_MB)

#define NO_COMPAT_IMB_API_053 /* old names, of which some are wolfCrypt's too */
#include <intel-ipsec-mb.h>

#include <string.h>

#define TAG_LEN 16u
#define NEEDED (IMB_FEATURE_AESNI | IMB_FEATURE_PCLMULQDQ)

_Static_assert(sizeof(struct gcm_key_data) <= AEAD_IPSEC_MB_EXPANDED_MAX, "room for an expanded key");
_Static_assert(_Alignof(struct gcm_key_data) <= 64, "and as aligned as it wants");
_Static_assert(sizeof(struct gcm_context_data) <= AEAD_IPSEC_MB_CONTEXT_MAX, "room for a record of AES-GCM");
_Static_assert(sizeof(struct chacha20_poly1305_context_data) <= AEAD_IPSEC_MB_CONTEXT_MAX,
	       "room for a record of ChaCha20-Poly1305");

/* Of it the functions for this CPU alone are used: they keep nothing in it, so that threads share it. */
static IMB_MGR *manager;
static const char *fault = "it was not looked for";

const char *aead_ipsec_mb_open(void)
{
	if (manager)
		return fault;
	manager = alloc_mb_mgr(0);
	if (!manager)
		return "out of memory";
	init_mb_mgr_auto(manager, NULL);
	fault = NULL;
	if (imb_get_errno(manager) != 0)
		fault = imb_get_strerror(imb_get_errno(manager));
	else if ((manager->features & NEEDED) != NEEDED)
		fault = "this CPU has no instructions for AES and carry-less multiplication";
	else if (!(manager->features & IMB_FEATURE_SAFE_DATA))
		fault = "it was built without SAFE_DATA and would leave keys on the stack";
	return fault;
}

const char *aead_ipsec_mb_version(void)
{
	return imb_get_version_str();
}

bool aead_ipsec_mb_init(struct aead_ipsec_mb_key *key, bool chacha, const uint8_t *bytes, size_t len)
{
	struct gcm_key_data *expanded = (struct gcm_key_data *)(void *)key->expanded;

	if (fault)
		return false;
	key->chacha = chacha;
	key->len = (uint8_t)len;
	memcpy(key->bytes, bytes, len);
	if (!chacha && len == 16)
		IMB_AES128_GCM_PRE(manager, bytes, expanded);
	else if (!chacha)
		IMB_AES256_GCM_PRE(manager, bytes, expanded);
	return true;
}

static void seal_chacha(struct aead_ipsec_mb_key *key, const uint8_t *nonce, const uint8_t *additional,
			size_t additional_len, const uint8_t *in, size_t len, uint8_t trailer, uint8_t *out)
{
	struct chacha20_poly1305_context_data *context = (void *)key->context;

	IMB_CHACHA20_POLY1305_INIT(manager, key->bytes, context, nonce, additional, additional_len);
	IMB_CHACHA20_POLY1305_ENC_UPDATE(manager, key->bytes, context, out, in, len);
	if (trailer)
		IMB_CHACHA20_POLY1305_ENC_UPDATE(manager, key->bytes, context, out + len, &trailer, 1);
	IMB_CHACHA20_POLY1305_ENC_FINALIZE(manager, context, out + len + (trailer ? 1 : 0), TAG_LEN);
}

static void seal_gcm_128(struct aead_ipsec_mb_key *key, const uint8_t *nonce, const uint8_t *additional,
			 size_t additional_len, const uint8_t *in, size_t len, uint8_t trailer, uint8_t *out)
{
	const struct gcm_key_data *expanded = (const void *)key->expanded;
	struct gcm_context_data *context = (void *)key->context;

	if (!trailer) {
		IMB_AES128_GCM_ENC(manager, expanded, context, out, in, len, nonce, additional, additional_len,
				   out + len, TAG_LEN);
		return;
	}
	IMB_AES128_GCM_INIT(manager, expanded, context, nonce, additional, additional_len);
	IMB_AES128_GCM_ENC_UPDATE(manager, expanded, context, out, in, len);
	IMB_AES128_GCM_ENC_UPDATE(manager, expanded, context, out + len, &trailer, 1);
	IMB_AES128_GCM_ENC_FINALIZE(manager, expanded, context, out + len + 1, TAG_LEN);
}

static void seal_gcm_256(struct aead_ipsec_mb_key *key, const uint8_t *nonce, const uint8_t *additional,
			 size_t additional_len, const uint8_t *in, size_t len, uint8_t trailer, uint8_t *out)
{
	const struct gcm_key_data *expanded = (const void *)key->expanded;
	struct gcm_context_data *context = (void *)key->context;

	if (!trailer) {
		IMB_AES256_GCM_ENC(manager, expanded, context, out, in, len, nonce, additional, additional_len,
				   out + len, TAG_LEN);
		return;
	}
	IMB_AES256_GCM_INIT(manager, expanded, context, nonce, additional, additional_len);
	IMB_AES256_GCM_ENC_UPDATE(manager, expanded, context, out, in, len);
	IMB_AES256_GCM_ENC_UPDATE(manager, expanded, context, out + len, &trailer, 1);
	IMB_AES256_GCM_ENC_FINALIZE(manager, expanded, context, out + len + 1, TAG_LEN);
}

void aead_ipsec_mb_seal(struct aead_ipsec_mb_key *key, const uint8_t *nonce, const uint8_t *additional,
			size_t additional_len, const uint8_t *in, size_t len, uint8_t trailer, uint8_t *out)
{
	if (key->chacha)
		seal_chacha(key, nonce, additional, additional_len, in, len, trailer, out);
	else if (key->len == 16)
		seal_gcm_128(key, nonce, additional, additional_len, in, len, trailer, out);
	else
		seal_gcm_256(key, nonce, additional, additional_len, in, len, trailer, out);
}

#else

const char *aead_ipsec_mb_open(void)
{
	return "this program was built without it";
}

const char *aead_ipsec_mb_version(void)
{
	return "";
}

bool aead_ipsec_mb_init(struct aead_ipsec_mb_key *key, bool chacha, const uint8_t *bytes, size_t len)
{
	(void)key;
	(void)chacha;
	(void)bytes;
	(void)len;
	return false;
}

void aead_ipsec_mb_seal(struct aead_ipsec_mb_key *key, const uint8_t *nonce, const uint8_t *additional,
			size_t additional_len, const uint8_t *in, size_t len, uint8_t trailer, uint8_t *out)
{
	(void)key;
	(void)nonce;
	(void)additional;
	(void)additional_len;
	(void)in;
	(void)len;
	(void)trailer;
	(void)out;
}

#endif

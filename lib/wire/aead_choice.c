/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "aead_choice.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

#include "secret.h"

#define RECORD 16384u
#define CONTENT_TYPE 0x17 /* RFC 8446 5.2: the trailer of TLS 1.3 */
#define PROBE_KEY_LEN 32u
#define RUNS 24 /* of which the best counts: another process may have interrupted the others */
#define RUN_BYTES (2 * RECORD)
#define MARGIN 1.1 /* times faster: what differs less may differ otherwise the next time */

static enum aead_library chosen[AEAD_CIPHERS];
static double speeds[AEAD_CIPHERS][2]; /* by library; 0: not measured */
static const char *fault;              /* why ipsec-mb is not used at all */
static enum aead_setting set;

bool aead_setting_parse(enum aead_setting *setting, const char *text)
{
	static const char *const names[] = {"auto", "wolfcrypt", "ipsec-mb"};

	for (unsigned i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		if (strcmp(text, names[i]) == 0) {
			*setting = (enum aead_setting)i;
			return true;
		}
	}
	return false;
}

/* What is measured with: one record, and a key that protects nothing. Its nonces are used once all the same, so that the seal
 * recorder needs no exception. */
struct probe {
	struct aead_key key;
	uint64_t sealed_before;
	uint8_t plain[RECORD], sealed[RECORD + 1 + AEAD_TAG_LEN];
};

static struct probe *probe_new(enum aead_library library, enum aead_cipher cipher,
			       const uint8_t bytes[static PROBE_KEY_LEN])
{
	struct probe *probe = aligned_alloc(64, (sizeof(*probe) + 63) / 64 * 64);

	if (!probe)
		return NULL;
	probe->sealed_before = 0;
	memset(probe->plain, 0x5a, sizeof(probe->plain));
	if (aead_key_init(&probe->key, library, cipher, bytes))
		return probe;
	free(probe);
	return NULL;
}

static bool draw_key(uint8_t bytes[static PROBE_KEY_LEN])
{
	return getrandom(bytes, PROBE_KEY_LEN, 0) == (ssize_t)PROBE_KEY_LEN;
}

static void probe_free(struct probe *probe)
{
	if (probe)
		aead_key_release(&probe->key);
	free(probe);
}

static bool probe_seal(struct probe *probe, size_t len, uint8_t trailer)
{
	static const uint8_t additional[5];
	uint8_t nonce[AEAD_NONCE_LEN] = {0};

	memcpy(nonce, &probe->sealed_before, sizeof(probe->sealed_before));
	probe->sealed_before++;
	return aead_seal(&probe->key, nonce, additional, sizeof(additional), probe->plain, len, trailer, probe->sealed);
}

static double now_s(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

double aead_speed(enum aead_library library, enum aead_cipher cipher, size_t len, uint8_t trailer)
{
	uint8_t bytes[PROBE_KEY_LEN];
	struct probe *probe = draw_key(bytes) ? probe_new(library, cipher, bytes) : NULL;
	size_t records = RUN_BYTES / len;
	double best = 0;

	for (int run = 0; probe && run < RUNS; run++) {
		double begin = now_s(), speed;

		for (size_t i = 0; i < records; i++) {
			if (!probe_seal(probe, len, trailer)) {
				probe_free(probe);
				return 0;
			}
		}
		speed = (double)(records * len) / (now_s() - begin) / 1e9;
		if (speed > best)
			best = speed;
	}
	probe_free(probe);
	return best;
}

/* A library that does not give wolfCrypt's bytes on this machine is not to be trusted with a client's. */
static bool is_alike(enum aead_cipher cipher)
{
	static const size_t lengths[] = {RECORD, 1, 1000};
	uint8_t bytes[PROBE_KEY_LEN];
	bool drawn = draw_key(bytes);
	struct probe *ours = drawn ? probe_new(AEAD_WOLFCRYPT, cipher, bytes) : NULL;
	struct probe *other = drawn ? probe_new(AEAD_IPSEC_MB, cipher, bytes) : NULL;
	bool alike = ours && other;

	for (size_t i = 0; alike && i < sizeof(lengths) / sizeof(lengths[0]); i++)
		alike = probe_seal(ours, lengths[i], CONTENT_TYPE) && probe_seal(other, lengths[i], CONTENT_TYPE) &&
			memcmp(ours->sealed, other->sealed, lengths[i] + 1 + AEAD_TAG_LEN) == 0;
	probe_free(ours);
	probe_free(other);
	return alike;
}

static enum aead_library faster(enum aead_cipher cipher)
{
	double *speed = speeds[cipher];

	for (enum aead_library library = AEAD_WOLFCRYPT; library <= AEAD_IPSEC_MB; library++)
		speed[library] = aead_speed(library, cipher, RECORD, CONTENT_TYPE);
	return speed[AEAD_IPSEC_MB] > MARGIN * speed[AEAD_WOLFCRYPT] ? AEAD_IPSEC_MB : AEAD_WOLFCRYPT;
}

const char *aead_choose(enum aead_setting setting)
{
	memset(chosen, 0, sizeof(chosen));
	memset(speeds, 0, sizeof(speeds));
	set = setting;
	fault = NULL;
	if (setting == AEAD_SETTING_WOLFCRYPT)
		return NULL;
	fault = aead_ipsec_mb_open();
	for (enum aead_cipher cipher = 0; !fault && cipher < AEAD_CIPHERS; cipher++)
		if (!is_alike(cipher))
			fault = "it seals otherwise than wolfCrypt";
	for (enum aead_cipher cipher = 0; !fault && cipher < AEAD_CIPHERS; cipher++)
		chosen[cipher] = setting == AEAD_SETTING_IPSEC_MB ? AEAD_IPSEC_MB : faster(cipher);
	return setting == AEAD_SETTING_IPSEC_MB ? fault : NULL;
}

enum aead_library aead_chosen(enum aead_cipher cipher)
{
	return chosen[cipher];
}

const char *aead_choice_format(char text[static AEAD_CHOICE_TEXT_MAX])
{
	size_t at = 0;

	if (fault) {
		snprintf(text, AEAD_CHOICE_TEXT_MAX, "wolfCrypt seals; ipsec-mb cannot be used: %s", fault);
		return text;
	}
	if (set != AEAD_SETTING_AUTO) {
		snprintf(text, AEAD_CHOICE_TEXT_MAX, "%s seals, as configured", aead_library_name(chosen[0]));
		return text;
	}
	for (enum aead_cipher cipher = 0; cipher < AEAD_CIPHERS && at < AEAD_CHOICE_TEXT_MAX; cipher++)
		at += (size_t)snprintf(text + at, AEAD_CHOICE_TEXT_MAX - at,
				       "%s%s by %s (wolfCrypt %.1f GB/s, ipsec-mb %.1f)", cipher ? ", " : "",
				       aead_cipher_name(cipher), aead_library_name(chosen[cipher]),
				       speeds[cipher][AEAD_WOLFCRYPT], speeds[cipher][AEAD_IPSEC_MB]);
	return text;
}

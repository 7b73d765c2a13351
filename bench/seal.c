/* SPDX-License-Identifier: GPL-2.0-or-later */
/* seal: what wolfCrypt and ipsec-mb seal in a second on one core, for each suite and size of a record, best of many short
 * runs; and what "auto" chooses here. */
#include <stdio.h>

#include "aead_choice.h"

static const struct {
	const char *name;
	enum aead_cipher cipher;
	uint8_t trailer; /* RFC 8446 5.2: the content type */
} suites[] = {
	{"TLS 1.3 AES-128-GCM", AEAD_AES_128_GCM, 0x17},
	{"TLS 1.3 AES-256-GCM", AEAD_AES_256_GCM, 0x17},
	{"TLS 1.3 ChaCha20-Poly1305", AEAD_CHACHA20_POLY1305, 0x17},
	{"TLS 1.2 AES-128-GCM", AEAD_AES_128_GCM, 0},
	{"TLS 1.2 AES-256-GCM", AEAD_AES_256_GCM, 0},
};

int main(void)
{
	static const size_t sizes[] = {256, 1024, 4096, 16384};
	const char *missing = aead_ipsec_mb_open();
	char text[AEAD_CHOICE_TEXT_MAX];

	if (missing)
		printf("  ipsec-mb cannot be used: %s\n", missing);
	else
		printf("  ipsec-mb %s\n", aead_ipsec_mb_version());
	printf("  %-26s %6s %10s %9s  GB/s\n", "suite", "bytes", "wolfCrypt", "ipsec-mb");
	for (size_t s = 0; s < sizeof(suites) / sizeof(suites[0]); s++) {
		for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
			double ours = aead_speed(AEAD_WOLFCRYPT, suites[s].cipher, sizes[i], suites[s].trailer);

			printf("  %-26s %6zu %10.2f", suites[s].name, sizes[i], ours);
			if (missing)
				printf(" %9s\n", "-");
			else
				printf(" %9.2f\n",
				       aead_speed(AEAD_IPSEC_MB, suites[s].cipher, sizes[i], suites[s].trailer));
		}
	}
	if (aead_choose(AEAD_SETTING_AUTO))
		return 1;
	printf("  auto: %s\n", aead_choice_format(text));
	return 0;
}

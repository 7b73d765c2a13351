/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "pass_reason.h"

const char *pass_reason_word(enum pass_reason reason)
{
	static const char *const words[PASS_REASON_COUNT] = {
#define PASS_REASON_WORD(name, word) [PASS_##name] = word,
		PASS_REASON_TABLE(PASS_REASON_WORD)
#undef PASS_REASON_WORD
	};

	return (unsigned)reason < PASS_REASON_COUNT ? words[reason] : "internal";
}

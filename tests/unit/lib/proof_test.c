/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Guards: a proof is HMAC-SHA256 of kind, LF and text as another implementation computes it (Python's hmac, `openssl dgst
 * -mac HMAC`); key, kind and every byte of the text change it; only 32 lower-case digits are read as one. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "proof.h"

static const uint8_t key[PROOF_KEY_LEN] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};

static struct proof proof_of(const uint8_t with[static PROOF_KEY_LEN], const char *kind, const char *text, size_t len)
{
	struct proof proof;

	assert_true(proof_compute(&proof, with, kind, text, len));
	return proof;
}

static void expect_proof(const char *text, size_t len, const char *expected)
{
	struct proof proof = proof_of(key, "kind", text, len);
	char hex[PROOF_TEXT_LEN + 1];

	memset(hex, 'x', sizeof(hex));
	proof_format(hex, &proof);
	assert_string_equal(hex, expected);
}

static void proofs_are_what_others_compute(void **unused)
{
	char *text = malloc(100000);

	(void)unused;
	assert_non_null(text);
	memset(text, 'x', 100000);
	expect_proof("abc", 3, "871db1981fcadd9651d2808184e647f9");
	expect_proof("", 0, "e8877dad6ea389b2f5eb988fbbea474b");
	expect_proof(text, 100000, "38945e145f9a256ff65463199971b2e6");
	free(text);
}

static void key_kind_and_text_change_the_proof(void **unused)
{
	struct proof right = proof_of(key, "kind", "abc", 3), other;

	(void)unused;
	other = proof_of(key, "kind", "abc", 3);
	assert_true(proof_equal(&right, &other));
	for (size_t at = 0; at < PROOF_KEY_LEN; at++) {
		uint8_t altered[PROOF_KEY_LEN];

		memcpy(altered, key, sizeof(altered));
		altered[at] ^= 1;
		other = proof_of(altered, "kind", "abc", 3);
		assert_false(proof_equal(&right, &other));
	}
	other = proof_of(key, "king", "abc", 3);
	assert_false(proof_equal(&right, &other));
	other = proof_of(key, "kind", "abd", 3);
	assert_false(proof_equal(&right, &other));
	other = proof_of(key, "kind", "abc", 2);
	assert_false(proof_equal(&right, &other));
}

static void every_bit_is_compared(void **unused)
{
	struct proof right = proof_of(key, "kind", "abc", 3), other;

	(void)unused;
	for (size_t bit = 0; bit < 8 * PROOF_LEN; bit++) {
		other = right;
		other.bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
		assert_false(proof_equal(&right, &other));
	}
}

static void only_lower_case_digits_are_read(void **unused)
{
	static const char good[] = "871db1981fcadd9651d2808184e647f9";
	struct proof right = proof_of(key, "kind", "abc", 3), read;
	char text[PROOF_TEXT_LEN + 2];

	(void)unused;
	for (size_t len = 0; len <= PROOF_TEXT_LEN + 1; len++) {
		memset(text, 'a', sizeof(text));
		assert_int_equal(proof_parse(&read, text, len), len == PROOF_TEXT_LEN);
	}
	assert_false(proof_parse(&read, "871DB1981FCADD9651D2808184E647F9", PROOF_TEXT_LEN));
	assert_false(proof_parse(&read, "871db1981fcadd9651d2808184e647g9", PROOF_TEXT_LEN));
	assert_true(proof_parse(&read, good, PROOF_TEXT_LEN));
	assert_true(proof_equal(&read, &right));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(only_lower_case_digits_are_read),
		cmocka_unit_test(proofs_are_what_others_compute),
		cmocka_unit_test(key_kind_and_text_change_the_proof),
		cmocka_unit_test(every_bit_is_compared),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

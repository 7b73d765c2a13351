/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Guards the numeric addresses of configuration, command line and offers: what is none, and that text and bytes
 * agree. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "ip_address.h"

static int parse(struct ip_address *address, const char *text)
{
	return ip_address_parse(address, text, strlen(text));
}

static void what_is_no_address_has_no_family(void **state)
{
	static const char *const texts[] = {
		"",
		"1",
		"1.2.3",
		"1.2.3.4.5",
		"1.2.3.",
		"256.1.1.1",
		" 1.2.3.4",
		"1.2.3.4 ",
		"::1%lo",
		"[::1]",
		"1:2:3",
		"localhost",
		"::ffff:1.2.3",
		"1111:2222:3333:4444:5555:6666:7777:8888:9999:aaaa",
		"0000:0000:0000:0000:0000:0000:0000:0000:0000:0000:0000:0000",
	};
	struct ip_address address;

	(void)state;
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		address.family = 4;
		assert_int_equal(parse(&address, texts[i]), -1);
		assert_int_equal(address.family, 0);
	}
}

static void text_ends_where_its_length_says(void **state)
{
	struct ip_address address;
	char text[IP_ADDRESS_TEXT_MAX];

	(void)state;
	assert_int_equal(ip_address_parse(&address, "192.0.2.12345", 9), 0);
	assert_string_equal(ip_address_format(&address, text), "192.0.2.1");
}

static void addresses_come_back_as_text(void **state)
{
	static const char *const texts[] = {"0.0.0.0", "192.0.2.1",   "255.255.255.255",
					    "::",      "2001:db8::1", "::ffff:192.0.2.1"};
	struct ip_address address;
	char text[IP_ADDRESS_TEXT_MAX];

	(void)state;
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		assert_int_equal(parse(&address, texts[i]), 0);
		assert_int_equal(address.family, i < 3 ? 4 : 6);
		assert_string_equal(ip_address_format(&address, text), texts[i]);
	}
}

static void no_address_is_empty_text(void **state)
{
	const struct ip_address address = {.family = 0};
	char text[IP_ADDRESS_TEXT_MAX] = "x";

	(void)state;
	assert_string_equal(ip_address_format(&address, text), "");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_no_address_has_no_family),
		cmocka_unit_test(text_ends_where_its_length_says),
		cmocka_unit_test(addresses_come_back_as_text),
		cmocka_unit_test(no_address_is_empty_text),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

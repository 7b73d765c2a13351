/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Guards: a network that an operator mistyped is refused with the reason; one that is right holds what it should. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include <arpa/inet.h>

#include "client_network.h"

static struct client_address address_of(const char *text)
{
	struct client_address address;
	uint8_t bytes[16];

	if (inet_pton(AF_INET, text, bytes) == 1) {
		client_address_set(&address, bytes, 4);
	} else {
		assert_int_equal(inet_pton(AF_INET6, text, bytes), 1);
		client_address_set(&address, bytes, 16);
	}
	return address;
}

static bool holds(const char *network_text, const char *address_text)
{
	struct client_address address = address_of(address_text);
	struct client_network network;
	const char *why;

	assert_int_equal(client_network_parse(&network, network_text, &why), 0);
	return client_network_holds(&network, &address);
}

static void mistyped_networks_are_refused(void **state)
{
	static const char *const number =
		"the prefix length behind '/' is not a number in the range of this address family";
	static const char *const address = "not an IPv4 or IPv6 address in numbers";
	static const char *const behind = "the address has bits set behind the prefix length";
	static const struct {
		const char *text, *why;
	} cases[] = {
		{"", address},
		{"/8", address},
		{"example.com", address},
		{"192.0.2", address},
		{"192.0.2.256", address},
		{"192.0.2.1:80", address},
		{"2001:db8:::1", address},
		{"1111:2222:3333:4444:5555:6666:7777:8888:9999:aaaa", address},
		{"192.0.2.0/", number},
		{"192.0.2.0/33", number},
		{"192.0.2.0/-1", number},
		{"192.0.2.0/24x", number},
		{"192.0.2.0/ 24", number},
		{"2001:db8::/129", number},
		{"2001:db8::/99999999999999999999", number},
		{"192.0.2.1/24", behind},
		{"192.0.2.128/24", behind},
		{"0.0.0.1/0", behind},
		{"2001:db8::1/32", behind},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct client_network network;
		const char *why = NULL;

		assert_int_equal(client_network_parse(&network, cases[i].text, &why), -1);
		assert_string_equal(why, cases[i].why);
	}
}

static void networks_hold_their_addresses_only(void **state)
{
	(void)state;
	assert_true(holds("192.0.2.0/24", "192.0.2.0"));
	assert_true(holds("192.0.2.0/24", "192.0.2.255"));
	assert_false(holds("192.0.2.0/24", "192.0.3.0"));
	assert_true(holds("192.0.2.128/25", "192.0.2.200"));
	assert_false(holds("192.0.2.128/25", "192.0.2.127"));
	assert_true(holds("192.0.2.7", "192.0.2.7"));
	assert_false(holds("192.0.2.7", "192.0.2.6"));
	assert_true(holds("0.0.0.0/0", "203.0.113.9"));
	assert_true(holds("2001:db8::/33", "2001:db8:7fff::1"));
	assert_false(holds("2001:db8::/33", "2001:db8:8000::1"));
	assert_true(holds("::/0", "2001:db8::1"));
}

static void families_do_not_match_each_other(void **state)
{
	(void)state;
	assert_false(holds("0.0.0.0/0", "2001:db8::1"));
	assert_false(holds("::/0", "192.0.2.1"));
	assert_true(holds("192.0.2.0/24", "::ffff:192.0.2.9"));
}

static void unknown_client_is_in_no_network(void **state)
{
	struct client_address address;
	struct client_network network;
	char text[CLIENT_ADDRESS_TEXT_MAX];
	const char *why;

	(void)state;
	client_address_set(&address, (const uint8_t *)"12345", 5);
	assert_int_equal(address.family, CLIENT_UNKNOWN);
	assert_int_equal(client_network_parse(&network, "0.0.0.0/0", &why), 0);
	assert_false(client_network_holds(&network, &address));
	assert_string_equal(client_address_format(&address, text), "");
}

static void addresses_are_written_in_numbers(void **state)
{
	static const char *const texts[] = {"192.0.2.1", "2001:db8::1", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"};
	char text[CLIENT_ADDRESS_TEXT_MAX];

	(void)state;
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		struct client_address address = address_of(texts[i]);

		assert_string_equal(client_address_format(&address, text), texts[i]);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(mistyped_networks_are_refused),
		cmocka_unit_test(networks_hold_their_addresses_only),
		cmocka_unit_test(families_do_not_match_each_other),
		cmocka_unit_test(unknown_client_is_in_no_network),
		cmocka_unit_test(addresses_are_written_in_numbers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

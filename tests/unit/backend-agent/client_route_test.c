/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Guards: a node hands off to clients that it has a route to; a route that was found counts for a second, one that was not
 * is asked for again at once. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "client_route.h"
#include "netns.h"

#define CLIENT4 "198.51.100.7"
#define CLIENT6 "2001:db8:7::7"

static struct netns host;
static struct client_route_memory memory;
static struct direct_settings settings;

static struct ip_address address_of(const char *text)
{
	struct ip_address address;

	assert_int_equal(ip_address_parse(&address, text, strlen(text)), 0);
	return address;
}

struct question {
	const char *client;
	double now;
};

static int ask(void *context)
{
	const struct question *question = context;
	struct ip_address client = address_of(question->client);

	return client_route_exists(&settings, &memory, &client, question->now);
}

static int has_route(const char *client, double now)
{
	return netns_call(&host, ask, &(struct question){client, now});
}

static void run(const char *command)
{
	assert_int_equal(netns_do(&host, "%s", command), 0);
}

static int make_host(void **state)
{
	static struct ip_address vips[2];

	(void)state;
	memset(&memory, 0, sizeof(memory));
	vips[0] = address_of("192.0.2.1");
	vips[1] = address_of("2001:db8::1");
	settings = (struct direct_settings){.vips = vips, .vip_count = 2};
	/* Both ends of the wire are here: it would go with another namespace. */
	if (netns_make(&host) < 0 || netns_link(&host, "eth0", &host, "peer") < 0)
		return -1;
	return netns_do(&host, "ip address add 192.0.2.1/24 dev eth0; ip address add 2001:db8::1/64 dev eth0 nodad");
}

static int leave_host(void **state)
{
	(void)state;
	netns_release(&host);
	return 0;
}

static void a_route_counts_for_a_second(void **state)
{
	(void)state;
	run("ip route add 198.51.100.0/24 dev eth0; ip -6 route add 2001:db8:7::/64 dev eth0");
	assert_int_equal(has_route(CLIENT4, 10), 1);
	assert_int_equal(has_route(CLIENT6, 10), 1);
	run("ip route del 198.51.100.0/24; ip -6 route del 2001:db8:7::/64");
	assert_int_equal(has_route(CLIENT4, 10.99), 1);
	assert_int_equal(has_route(CLIENT6, 10.99), 1);
	assert_int_equal(has_route("198.51.100.8", 10.99), 0); /* another client */
	assert_int_equal(has_route(CLIENT4, 11.01), 0);
	assert_int_equal(has_route(CLIENT6, 11.01), 0);
}

static void a_missing_route_is_asked_for_again(void **state)
{
	(void)state;
	assert_int_equal(has_route(CLIENT4, 10), 0);
	run("ip route add 198.51.100.0/24 dev eth0");
	assert_int_equal(has_route(CLIENT4, 10), 1);
}

/* Also of clients whose places in the memory are the same. */
static void clients_are_told_apart(void **state)
{
	(void)state;
	run("ip route add 198.51.100.0/25 dev eth0");
	for (int round = 0; round < 2; round++) {
		for (int i = 1; i < 255; i++) {
			char text[IP_ADDRESS_TEXT_MAX];

			snprintf(text, sizeof(text), "198.51.100.%d", i);
			assert_int_equal(has_route(text, 10), i < 128);
		}
	}
}

static void an_unknown_client_is_let_through(void **state)
{
	const struct ip_address none = {0};

	(void)state;
	assert_true(client_route_exists(&settings, &memory, &none, 10));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(a_route_counts_for_a_second, make_host, leave_host),
		cmocka_unit_test_setup_teardown(a_missing_route_is_asked_for_again, make_host, leave_host),
		cmocka_unit_test_setup_teardown(clients_are_told_apart, make_host, leave_host),
		cmocka_unit_test_setup_teardown(an_unknown_client_is_let_through, make_host, leave_host),
	};

	char why[200];

	if (!netns_usable(why, sizeof(why))) {
		fprintf(stderr, "skipped: %s\n", why);
		return 0;
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}

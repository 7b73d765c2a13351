/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Guards: which route a request takes, that the first match decides, and that a roll-out's percentage holds. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "policy.h"

static const char *const get[] = {"GET"};

static struct request request_of(const char *method, const char *host, const char *target)
{
	struct request request;

	memset(&request, 0, sizeof(request));
	request.method = (struct control_text){method, strlen(method)};
	request.host = (struct control_text){host, strlen(host)};
	request_set_target(&request, (struct control_text){target, strlen(target)});
	client_address_set(&request.client, (const uint8_t[]){192, 0, 2, 7}, 4);
	return request;
}

/* Whether a route that offloads all that matches it matches. */
static bool matches(const struct policy_route *criteria, const struct request *request)
{
	struct policy_route route = *criteria;
	const struct policy policy = {&route, 1};
	struct policy_decision decision;

	route.offload = true;
	route.percent = 100;
	decision = policy_decide(&policy, request, 0);
	if (!decision.offload)
		assert_int_equal(decision.reason, PASS_NO_ROUTE);
	return decision.offload;
}

static void hosts(void **state)
{
	static const struct {
		const char *pattern, *host;
		bool match;
	} cases[] = {
		{"www.example", "www.example", true},
		{"www.example", "WWW.Example", true},
		{"www.example", "www.example:8443", true},
		{"www.example", "www.example.", true},
		{"www.example", "www.example.:443", true},
		{"www.example", "www.example2", false},
		{"www.example", "xwww.example", false},
		{"www.example", "a.www.example", false},
		{"www.example", "", false},
		{"www.example", ":80", false},
		{"*.example", "www.example", true},
		{"*.example", "a.b.example:1", true},
		{"*.example", "example", false},
		{"*.example", ".example", false},
		{"*.example", "notexample", false},
		{"[2001:db8::1]", "[2001:db8::1]:443", true},
		{"[2001:db8::1]", "[2001:DB8::1]", true},
		{"192.0.2.1", "192.0.2.1", true},
		{"192.0.2.1", "192.0.2.1:80", true},
		{"192.0.2.1", "192.0.2.10", false},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		const struct policy_route route = {.hosts = &cases[i].pattern, .host_count = 1};
		struct request request = request_of("GET", cases[i].host, "/");

		assert_int_equal(matches(&route, &request), cases[i].match);
	}
}

static void paths(void **state)
{
	static const struct {
		const char *prefix, *suffix, *target;
		bool match;
	} cases[] = {
		{"/", NULL, "/", true},
		{"/", NULL, "*", false},
		{"/a/", NULL, "/a/b", true},
		{"/a/", NULL, "/a", false},
		{"/a/", NULL, "/A/b", false},
		{"/a", NULL, "/ab", true},
		{"/a/", NULL, "/b?/a/", false},
		{NULL, ".iso", "/x.iso", true},
		{NULL, ".iso", "/x.iso?y=1", true},
		{NULL, ".iso", "/x.txt?y=.iso", false},
		{NULL, ".iso", "iso", false},
		{"/d/", ".iso", "/d/.iso", true},
		{"/d/", ".iso", "/e/x.iso", false},
		{"/d/", ".iso", "/d/x.mp4", false},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		const struct policy_route route = {
			.path_prefixes = &cases[i].prefix,
			.path_prefix_count = cases[i].prefix != NULL,
			.path_suffixes = &cases[i].suffix,
			.path_suffix_count = cases[i].suffix != NULL,
		};
		struct request request = request_of("GET", "h", cases[i].target);

		assert_int_equal(matches(&route, &request), cases[i].match);
	}
}

static void methods(void **state)
{
	static const char *const two[] = {"GET", "HEAD"};
	const struct policy_route some = {.methods = two, .method_count = 2}, all = {.method_count = 0};
	struct request head = request_of("HEAD", "h", "/"), post = request_of("POST", "h", "/");
	struct request lower = request_of("get", "h", "/"), longer = request_of("GETS", "h", "/");

	(void)state;
	assert_true(matches(&some, &head));
	assert_false(matches(&some, &post));
	assert_false(matches(&some, &lower));
	assert_false(matches(&some, &longer));
	assert_true(matches(&all, &post));
}

static void clients(void **state)
{
	struct request request = request_of("GET", "h", "/");
	struct client_network networks[2];
	const struct policy_route route = {.clients = networks, .client_count = 2};
	const char *why;

	(void)state;
	assert_int_equal(client_network_parse(&networks[0], "198.51.100.0/24", &why), 0);
	assert_int_equal(client_network_parse(&networks[1], "192.0.2.0/29", &why), 0);
	assert_true(matches(&route, &request));
	request.client.bytes[3] = 8;
	assert_false(matches(&route, &request));
	request.client.family = CLIENT_UNKNOWN;
	assert_false(matches(&route, &request));
}

static void several_values_are_alternatives(void **state)
{
	static const char *const prefixes[] = {"/a/", "/b/"}, *const names[] = {"one.example", "two.example"};
	const struct policy_route route = {
		.hosts = names, .host_count = 2, .path_prefixes = prefixes, .path_prefix_count = 2};
	struct request fits = request_of("GET", "two.example", "/b/x"),
		       other = request_of("GET", "two.example", "/c/x");
	struct request third = request_of("GET", "three.example", "/b/x");

	(void)state;
	assert_true(matches(&route, &fits));
	assert_false(matches(&route, &other));
	assert_false(matches(&route, &third));
}

static void first_match_decides(void **state)
{
	static const char *const private[] = {"/private/"}, *const files[] = {"/private/files/"};
	struct policy_route routes[] = {
		{.name = "secret", .path_prefixes = private, .path_prefix_count = 1},
		{.name = "never",
		 .path_prefixes = files,
		 .path_prefix_count = 1,
		 .offload = true,
		 .percent = 100,
		 .pool = 1},
		{.name = "rest", .methods = get, .method_count = 1, .offload = true, .percent = 100, .pool = 2},
	};
	const struct policy policy = {routes, 3};
	struct request hidden = request_of("GET", "h", "/private/files/x"), open = request_of("GET", "h", "/x");
	struct request post = request_of("POST", "h", "/x");
	struct policy_decision decision = policy_decide(&policy, &hidden, 0);

	(void)state;
	assert_false(decision.offload);
	assert_int_equal(decision.reason, PASS_POLICY);
	assert_ptr_equal(decision.route, &routes[0]);
	decision = policy_decide(&policy, &open, 0);
	assert_true(decision.offload);
	assert_ptr_equal(decision.route, &routes[2]);
	decision = policy_decide(&policy, &post, 0);
	assert_false(decision.offload);
	assert_int_equal(decision.reason, PASS_NO_ROUTE);
	assert_null(decision.route);
}

static void percentage_of_draws_is_offloaded(void **state)
{
	static const unsigned percents[] = {0, 1, 37, 99, 100};

	(void)state;
	for (size_t i = 0; i < sizeof(percents) / sizeof(percents[0]); i++) {
		struct policy_route route = {.offload = true, .percent = percents[i], .share = POLICY_SHARE_REQUESTS};
		const struct policy policy = {&route, 1};
		struct request request = request_of("GET", "h", "/");
		unsigned offloaded = 0;

		for (uint64_t draw = 1000; draw < 2000; draw++) {
			struct policy_decision decision = policy_decide(&policy, &request, draw);

			if (decision.offload)
				offloaded++;
			else
				assert_int_equal(decision.reason, PASS_ROLLOUT);
		}
		assert_int_equal(offloaded, percents[i] * 10);
	}
}

/* How many of <count> requests, which <change> makes different from each other, are in a share of 37 percent. */
static unsigned share_of(enum policy_share share, unsigned count, void (*change)(struct request *request, unsigned i))
{
	struct policy_route route = {.offload = true, .percent = 37, .share = share};
	const struct policy policy = {&route, 1};
	unsigned offloaded = 0;

	for (unsigned i = 0; i < count; i++) {
		struct request request = request_of("GET", "www.example", "/downloads/film.mp4?signature=1");

		change(&request, i);
		offloaded += policy_decide(&policy, &request, i).offload;
	}
	return offloaded;
}

static char target[64];

static void change_client(struct request *request, unsigned i)
{
	client_address_set(&request->client, (const uint8_t[]){10, 0, (uint8_t)(i >> 8), (uint8_t)i}, 4);
}

static void change_network(struct request *request, unsigned i)
{
	const uint8_t address[16] = {0x20, 1, 0xd, 0xb8, 0, 0, (uint8_t)(i >> 8), (uint8_t)i, [15] = 1};

	client_address_set(&request->client, address, 16);
}

static void change_host_of_network(struct request *request, unsigned i)
{
	const uint8_t address[16] = {0x20, 1, 0xd, 0xb8, [8] = 1, [14] = (uint8_t)(i >> 8), [15] = (uint8_t)i};

	client_address_set(&request->client, address, 16);
}

static void change_path(struct request *request, unsigned i)
{
	int len = snprintf(target, sizeof(target), "/downloads/%u.mp4", i);

	request_set_target(request, (struct control_text){target, (size_t)len});
}

static void change_query(struct request *request, unsigned i)
{
	static const char *const hosts[] = {"www.example", "WWW.example:8443", "www.example."};
	int len = snprintf(target, sizeof(target), "/downloads/film.mp4?signature=%u", i);

	request->host = (struct control_text){hosts[i % 3], strlen(hosts[i % 3])};
	request_set_target(request, (struct control_text){target, (size_t)len});
}

static void change_path_of_unknown_client(struct request *request, unsigned i)
{
	change_path(request, i);
	request->client.family = CLIENT_UNKNOWN;
}

#define assert_all_or_none(value, all) assert_true((value) == 0 || (value) == (all))

static void share_of_clients_keeps_a_client(void **state)
{
	(void)state;
	assert_in_range(share_of(POLICY_SHARE_CLIENTS, 10000, change_client), 3500, 3900);
	assert_in_range(share_of(POLICY_SHARE_CLIENTS, 10000, change_network), 3500, 3900);
	assert_all_or_none(share_of(POLICY_SHARE_CLIENTS, 1000, change_host_of_network), 1000);
	assert_all_or_none(share_of(POLICY_SHARE_CLIENTS, 1000, change_path), 1000);
	assert_in_range(share_of(POLICY_SHARE_CLIENTS, 10000, change_path_of_unknown_client), 3500, 3900);
}

static void share_of_objects_keeps_an_object(void **state)
{
	(void)state;
	assert_in_range(share_of(POLICY_SHARE_OBJECTS, 10000, change_path), 3500, 3900);
	assert_all_or_none(share_of(POLICY_SHARE_OBJECTS, 1000, change_client), 1000);
	assert_all_or_none(share_of(POLICY_SHARE_OBJECTS, 1000, change_query), 1000);
}

static void who_is_in_a_share_stays_when_it_grows(void **state)
{
	struct policy_route route = {.offload = true};
	const struct policy policy = {&route, 1};

	(void)state;
	for (unsigned i = 0; i < 500; i++) {
		struct request request = request_of("GET", "www.example", "/");
		bool was_in = false;

		change_client(&request, i);
		for (route.percent = 0; route.percent <= 100; route.percent++) {
			bool is_in = policy_decide(&policy, &request, 0).offload;

			assert_true(is_in || !was_in);
			was_in = is_in;
		}
		assert_true(was_in);
	}
}

/* A request with the arguments "sni" and "hdr_x", as HAProxy sends them; NULL: as a null. */
static struct request request_with(uint8_t out[static 256], const char *sni, const char *field)
{
	struct spop_writer writer = {out, out, out + 256, false};
	struct request request;

	spop_write_string(&writer, "offload");
	spop_write_byte(&writer, 2);
	spop_write_string(&writer, "sni");
	if (sni)
		spop_write_text_value(&writer, sni);
	else
		spop_write_byte(&writer, SPOP_DATA_NULL);
	spop_write_string(&writer, "hdr_x");
	if (field)
		spop_write_text_value(&writer, field);
	else
		spop_write_byte(&writer, SPOP_DATA_NULL);
	assert_false(writer.full);
	assert_true(request_read(&request, (struct spop_slice){out, (size_t)(writer.p - out)}));
	return request;
}

static void names_in_the_handshake(void **state)
{
	static const char *const names[] = {"www.example", "*.cdn.example"};
	const struct policy_route route = {.snis = names, .sni_count = 2};
	static const struct {
		const char *sni;
		bool match;
	} cases[] = {{"www.example", true},  {"WWW.example", true},      {"a.cdn.example", true},
		     {"cdn.example", false}, {"www.example.org", false}, {"", false},
		     {NULL, false}};
	struct request none = request_of("GET", "www.example", "/");
	uint8_t payload[256];

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct request request = request_with(payload, cases[i].sni, NULL);

		assert_int_equal(matches(&route, &request), cases[i].match);
	}
	assert_false(matches(&route, &none));
}

static void arguments(void **state)
{
	static const char *const values[] = {"one", "Two"};
	static const struct {
		struct policy_argument argument;
		const char *field;
		bool match;
	} cases[] = {
		{{.is = values, .is_count = 2}, "one", true},
		{{.is = values, .is_count = 2}, "Two", true},
		{{.is = values, .is_count = 2}, "two", false},
		{{.is = values, .is_count = 2}, "one ", false},
		{{.is = values, .is_count = 2}, "on", false},
		{{.is = values, .is_count = 2}, NULL, false},
		{{.is = values, .is_count = 2, .any_case = true}, "tWO", true},
		{{.is = values, .is_count = 2, .absent = true}, NULL, true},
		{{.is = values, .is_count = 2, .absent = true}, "x", false},
		{{.begins = values, .begin_count = 2}, "one and more", true},
		{{.begins = values, .begin_count = 2}, "more than one", false},
		{{.begins = values, .begin_count = 2}, "", false},
		{{.ends = values, .end_count = 2}, "more than one", true},
		{{.ends = values, .end_count = 2}, "one and more", false},
		{{.ends = values, .end_count = 2, .any_case = true}, "ONE", true},
		{{.contains = values, .contain_count = 2}, "a onesided case", true},
		{{.contains = values, .contain_count = 2}, "none", true},
		{{.contains = values, .contain_count = 2}, "on", false},
		{{.contains = values, .contain_count = 2}, "on e", false},
		{{.contains = values, .contain_count = 2, .any_case = true}, "oNe", true},
		{{.is = values, .is_count = 1, .ends = values + 1, .end_count = 1}, "Number Two", true},
		{{.is = NULL}, "anything", true},
		{{.is = NULL}, "", true},
		{{.is = NULL}, NULL, false},
		{{.absent = true}, NULL, true},
		{{.absent = true}, "", false},
	};
	uint8_t payload[256];

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct policy_argument argument = cases[i].argument;
		const struct policy_route route = {.arguments = &argument, .argument_count = 1};
		struct request request = request_with(payload, NULL, cases[i].field),
			       none = request_of("GET", "h", "/");

		argument.name = "hdr_x";
		if (matches(&route, &request) != cases[i].match)
			fail_msg("case %zu", i);
		/* An argument that HAProxy's message lacks. */
		assert_int_equal(matches(&route, &none), argument.absent);
	}
}

static void all_arguments_must_hold(void **state)
{
	static const char *const name[] = {"a.example"}, *const value[] = {"one"};
	struct policy_argument both[] = {{.name = "sni", .is = name, .is_count = 1},
					 {.name = "hdr_x", .is = value, .is_count = 1}};
	const struct policy_route route = {.arguments = both, .argument_count = 2};
	uint8_t payload[256];
	struct request request = request_with(payload, "a.example", "one");

	(void)state;
	assert_true(matches(&route, &request));
	request = request_with(payload, "b.example", "one");
	assert_false(matches(&route, &request));
	request = request_with(payload, "a.example", "two");
	assert_false(matches(&route, &request));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(hosts),
		cmocka_unit_test(paths),
		cmocka_unit_test(methods),
		cmocka_unit_test(clients),
		cmocka_unit_test(several_values_are_alternatives),
		cmocka_unit_test(first_match_decides),
		cmocka_unit_test(percentage_of_draws_is_offloaded),
		cmocka_unit_test(share_of_clients_keeps_a_client),
		cmocka_unit_test(share_of_objects_keeps_an_object),
		cmocka_unit_test(who_is_in_a_share_stays_when_it_grows),
		cmocka_unit_test(names_in_the_handshake),
		cmocka_unit_test(arguments),
		cmocka_unit_test(all_arguments_must_hold),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Guards: which route a request takes, that the first match decides, and that a roll-out's percentage holds. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
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
		struct policy_route route = {.offload = true, .percent = percents[i]};
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
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

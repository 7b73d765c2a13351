/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Guards: an explanation says what the policy and the pool decide, criterion by criterion, and the word that HAProxy would log;
 * a question that cannot be read is refused with a sentence. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "explain.h"

static const char *const get[] = {"GET"}, *const hosts[] = {"www.example", "*.b.example"},
			 *const prefixes[] = {"/iso/"};
static const char *const suffixes[] = {".iso"}, *const names[] = {"secret.example"}, *const values[] = {"internal"};
static struct policy_argument argument = {.name = "hdr_class", .is = values, .is_count = 1, .any_case = true};
static struct client_network network;
static struct node nodes[2];
static struct node_pool pool = {.name = "files", .trust_group = "inner"};
static struct policy_route routes[4];
static const struct policy policy = {routes, 4};

static int make_policy(void **state)
{
	const char *why;

	(void)state;
	for (size_t i = 0; i < 2; i++) {
		node_init(&nodes[i], i ? "n2" : "n1", i);
		nodes[i].server = i ? "server2" : "server1";
		pool.members[pool.count++] = &nodes[i];
	}
	assert_int_equal(client_network_parse(&network, "192.0.2.0/24", &why), 0);
	for (size_t i = 0; i < 4; i++)
		routes[i] = (struct policy_route){.methods = get, .method_count = 1, .percent = 100};
	routes[0].name = "by-client";
	routes[0].clients = &network;
	routes[0].client_count = 1;
	routes[0].path_suffixes = suffixes;
	routes[0].path_suffix_count = 1;
	routes[1].name = "by-argument";
	routes[1].arguments = &argument;
	routes[1].argument_count = 1;
	routes[1].snis = names;
	routes[1].sni_count = 1;
	routes[2].name = "files";
	routes[2].hosts = hosts;
	routes[2].host_count = 2;
	routes[2].path_prefixes = prefixes;
	routes[2].path_prefix_count = 1;
	routes[2].offload = true;
	routes[2].path = POLICY_PATH_AUTO;
	routes[2].sizes = (struct policy_sizes){.splice_min = 1000, .direct_min = 2000, .h2_min = 3000};
	routes[3].name = "rest";
	routes[3].hosts = names;
	routes[3].host_count = 1;
	routes[3].offload = true;
	routes[3].percent = 30;
	return node_pool_prepare(&pool);
}

static int release_policy(void **state)
{
	(void)state;
	node_pool_release(&pool);
	return 0;
}

static const struct explain_state from_file = {.running = false};

/* The answer of <known> to <request> with at most two settings; valid until the next. */
static const char *answer(const struct explain_state *known, const char *request, const char *first, const char *second)
{
	static char *text;
	const char *const settings[] = {first, second};
	struct explain_question question;
	char error[EXPLAIN_ERROR_MAX];

	free(text);
	text = NULL;
	if (!request)
		return NULL;
	if (explain_read(&question, request, settings, (size_t)((first != NULL) + (second != NULL)), error) < 0)
		fail_msg("%s", error);
	text = explain(&policy, &pool, &question, known);
	assert_non_null(text);
	return text;
}

static void expect(const char *text, const char *line)
{
	if (!strstr(text, line))
		fail_msg("\"%s\" is not in:\n%s", line, text);
}

static void expect_not(const char *text, const char *line)
{
	if (strstr(text, line))
		fail_msg("\"%s\" is in:\n%s", line, text);
}

static void each_criterion_is_named_until_a_route_matches(void **state)
{
	const char *text;

	(void)state;
	text = answer(&from_file, "GET https://www.example/iso/a.iso?x=1", "client=203.0.113.1", "hdr_class=other");
	expect(text, "GET /iso/a.iso?x=1 of host www.example, client 203.0.113.1, TLS 1.3, HTTP/1.1\n");
	expect(text, "route \"by-client\": does not match\n");
	expect(text, "yes path-suffix: \"/iso/a.iso\" ends with one of \".iso\"\n");
	expect(text, "no  client: 203.0.113.1 is in none of 192.0.2.0/24\n");
	expect(text, "no  sni: \"www.example\" is none of \"secret.example\"\n");
	expect(text,
	       "no  argument \"hdr_class\": it is \"other\", the route wants that it is \"internal\", in any case\n");
	expect(text, "route \"files\": matches\n");
	expect(text, "yes method: \"GET\" is one of \"GET\"\n");
	expect(text, "yes host: \"www.example\" is one of \"www.example\", \"*.b.example\"\n");
	expect(text, "yes path-prefix: \"/iso/a.iso\" begins with one of \"/iso/\"\n");
	expect(text, "all nodes are taken to be alive and idle\n");
	expect(text, "bodies from 1000 bytes on are offloaded, from 2000 on by the direct path\n");
	expect(text, "reason=declined\n");
	expect_not(text, "route \"rest\"");
}

static void the_reason_is_the_one_that_is_logged(void **state)
{
	static const struct {
		const char *request, *first, *second, *last;
	} cases[] = {
		{"GET https://www.example/x.iso", "client=192.0.2.9", NULL, "path=proxy node=- reason=policy\n"},
		{"https://h/x", "sni=secret.example", "hdr_class=INTERNAL", "path=proxy node=- reason=policy\n"},
		{"https://h/x", NULL, NULL, "no route matches\nHAProxy would log: path=proxy node=- reason=no-route\n"},
		{"https://www.example/iso/", "proto=h2", "tls=1.2", "path=proxy node=- reason=suite\n"},
		{"https://www.example/iso/", "proto=h2", NULL,
		 "offloaded by the splice path\nHAProxy would log: path=splice node=n"},
		{"https://www.example/iso/", "proto=h2", "group=inner", "path=splice node=n"},
		{"https://www.example/iso/", "proto=h2", "group=other", "path=proxy node=- reason=group\n"},
		{"https://www.example/iso/", "tls=1.2", "proto=h2", "path=proxy node=- reason=suite\n"},
		{"https://www.example/iso/", "proto=h3", "tls=1.3", "path=proxy node=- reason=mux\n"},
		{"HEAD https://www.example/iso/", NULL, NULL, "path=proxy node=- reason=method\n"},
		{"http://www.example/iso/", NULL, NULL, "path=proxy node=- reason=tls\n"},
		{"https://www.example/iso/", "direct=false", "tls=1.2", "path=splice node=n"},
		{"https://h:8443/iso/", "host=a.b.example", NULL, "path=splice or direct node=n"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		expect(answer(&from_file, cases[i].request, cases[i].first, cases[i].second), cases[i].last);
}

/* What is explained is what is decided: the same place in the share, the same node. */
static void shares_and_nodes_are_those_of_the_decision(void **state)
{
	struct explain_question question;
	char error[EXPLAIN_ERROR_MAX], client[32], request[64], line[64];
	const char *setting = client;
	unsigned offloaded = 0;

	(void)state;
	for (int i = 0; i < 200; i++) {
		struct policy_decision decision;
		const char *text;

		(void)snprintf(client, sizeof(client), "client=198.51.100.%d", i);
		(void)snprintf(request, sizeof(request), "https://secret.example/%d", i);
		assert_int_equal(explain_read(&question, request, &setting, 1, error), 0);
		decision = policy_decide(&policy, &question.request, 0);
		assert_ptr_equal(decision.route, &routes[3]);
		text = answer(&from_file, request, client, NULL);
		if (!decision.offload) {
			expect(text, "no  percent: of 100 clients the first 30 are offloaded");
			expect(text, "reason=rollout\n");
			continue;
		}
		offloaded++;
		expect(text, "yes percent: of 100 clients the first 30 are offloaded");
		(void)snprintf(line, sizeof(line), "path=splice node=%s reason=-\n",
			       node_pool_choose(&pool, question.request.path, 3)->name);
		expect(text, line);
	}
	assert_in_range(offloaded, 20, 100);
	routes[3].share = POLICY_SHARE_REQUESTS;
	expect(answer(&from_file, "https://secret.example/", NULL, NULL),
	       "30 of 100 requests are offloaded, each is drawn\n");
	routes[3].share = POLICY_SHARE_CLIENTS;
}

static const char *never(void *context, const struct policy_route *route, const struct node *node,
			 const struct client_address *peer)
{
	assert_ptr_equal(route, &routes[2]);
	assert_true(node == &nodes[0] || node == &nodes[1]);
	assert_int_equal(peer->family, CLIENT_IPV4);
	return context;
}

static void what_is_known_of_a_running_agent_counts(void **state)
{
	static const char request[] = "https://www.example/iso/a", client[] = "client=192.0.2.7";
	struct explain_state known = {.running = true};
	const char *text;

	(void)state;
	text = answer(&known, request, client, NULL);
	expect(text, "no  n1: it is down\n");
	expect(text, "reason=no-node\n");
	known.up = 3;
	text = answer(&known, request, client, NULL);
	expect(text, "no  n2: it drains\n");
	expect(text, "reason=draining\n");
	known.taking = 2;
	nodes[1].max_offloads = 1;
	expect(answer(&known, request, client, NULL),
	       "yes n2: 0 of at most 1 offloads\nnode n2 is chosen, HAProxy's server server2\n");
	node_add_own(&nodes[1], 1);
	expect(answer(&known, request, client, NULL), "reason=full\n");
	nodes[1].max_offloads = 0;
	known.no_direct = never;
	expect(answer(&known, request, client, NULL), "path=splice or direct node=n2 reason=-\n");
	known.context = (char[]){"its breaker is open"};
	text = answer(&known, request, client, NULL);
	expect(text, "by the splice path; the direct path is not taken: its breaker is open\n");
	expect(text, "path=splice node=n2 reason=-\n");
	known.no_grants = 2;
	expect(answer(&known, request, client, NULL), "path=splice node=n2 reason=-\n");
	text = answer(&known, request, client, "proto=h2");
	expect(text, "no  n2: it knows no grants, so it serves no HTTP/2 clients\n");
	expect(text, "path=proxy node=- reason=draining\n");
	known.no_grants = 0;
	text = answer(&known, request, client, "proto=h2");
	expect(text, "HTTP/2: bodies from 3000 bytes on are offloaded by the splice path\n");
	expect(text, "path=splice node=n2 reason=-\n");
	expect_not(text, "direct");
	known.changing = true;
	expect(answer(&known, request, client, NULL), "reason=changing\n");
	nodes[1].weight = 0;
	known.changing = false;
	expect(answer(&known, request, client, NULL), "no  n2: its weight is 0\n");
	nodes[1].weight = 1;
	node_add_own(&nodes[1], -1);
}

static void questions_that_cannot_be_read_are_refused(void **state)
{
	static const struct {
		const char *request, *setting, *why;
	} cases[] = {
		{"", NULL, "is no URL"},
		{"GET", NULL, "is no URL"},
		{"GET ", NULL, "is no URL"},
		{" https://h/", NULL, "has no method"},
		{"GET ftp://h/", NULL, "is no URL"},
		{"GET https:///x", NULL, "is no URL"},
		{"GET https://h/ x", NULL, "is no URL"},
		{"https://h/", "client", "is not written NAME=VALUE"},
		{"https://h/", "=x", "is not written NAME=VALUE"},
		{"https://h/", "client=h", "is no numeric address: client"},
		{"https://h/", "peer=", "is no numeric address: peer"},
		{"https://h/", "tls=1.1", "is neither 1.2 nor 1.3: tls"},
		{"https://h/", "proto=spdy", "is none of http/1.1, h2, h3: proto"},
		{"https://h/", "direct=yes", "is neither true nor false: direct"},
	};
	static char long_request[2 * EXPLAIN_MESSAGE_MAX] = "https://h/";
	struct explain_question question;
	char error[EXPLAIN_ERROR_MAX];

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		int result =
			explain_read(&question, cases[i].request, &cases[i].setting, cases[i].setting != NULL, error);

		if (result == 0)
			fail_msg("\"%s\" \"%s\" was read", cases[i].request, cases[i].setting ? cases[i].setting : "");
		expect(error, cases[i].why);
	}
	memset(long_request + 10, 'x', sizeof(long_request) - 11);
	assert_int_equal(explain_read(&question, long_request, NULL, 0, error), -1);
	expect(error, "is longer than a message can be");
}

static int forget_answer(void **state)
{
	(void)answer(NULL, NULL, NULL, NULL);
	return release_policy(state);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_criterion_is_named_until_a_route_matches),
		cmocka_unit_test(the_reason_is_the_one_that_is_logged),
		cmocka_unit_test(shares_and_nodes_are_those_of_the_decision),
		cmocka_unit_test(what_is_known_of_a_running_agent_counts),
		cmocka_unit_test(questions_that_cannot_be_read_are_refused),
	};

	return cmocka_run_group_tests(tests, make_policy, forget_answer);
}

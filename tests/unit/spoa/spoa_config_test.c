/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Guards: every fault of a configuration is reported with its file, line and field, all of them at once; what is right
 * is read as written. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <unistd.h>

#include "spoa_config.h"
#include "spoa_config_routes.h"

#define SPOP "spop { listen = {\"127.0.0.1:9000\"} }\n"

/* Loads <text> from a file and gives its <config>; what was said on stderr, with the file's name as F, comes in
 * <said>. */
static int load(struct spoa_config *config, const char *text, char *said, size_t said_size)
{
	char name[] = "/tmp/disc-spoa-config-XXXXXX", line[1024];
	int fd = mkstemp(name), saved = dup(STDERR_FILENO), result;
	FILE *capture = tmpfile();
	size_t len = 0;

	assert_true(fd >= 0 && saved >= 0 && capture);
	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	assert_int_equal(close(fd), 0);
	(void)fflush(stderr);
	assert_true(dup2(fileno(capture), STDERR_FILENO) >= 0);
	result = spoa_config_load(config, name);
	(void)fflush(stderr);
	assert_true(dup2(saved, STDERR_FILENO) >= 0);
	(void)close(saved);
	assert_int_equal(unlink(name), 0);
	rewind(capture);
	said[0] = '\0';
	while (fgets(line, sizeof(line), capture)) {
		const char *rest = strncmp(line, name, strlen(name)) == 0 ? line + strlen(name) : NULL;

		len += (size_t)snprintf(said + len, said_size - len, "%s%s", rest ? "F" : "", rest ? rest : line);
		assert_true(len < said_size);
	}
	(void)fclose(capture);
	return result;
}

static void assert_faults(const char *text, const char *faults)
{
	struct spoa_config config;
	char said[4096];
	int result = load(&config, text, said, sizeof(said));

	assert_string_equal(said, faults);
	assert_int_equal(result, -1);
}

static void each_fault_names_file_line_and_field(void **state)
{
	static const struct {
		const char *text, *faults;
	} cases[] = {
		{"\nworkers = 0\n" SPOP, "F:2: workers: 0 is not between 1 and 64\n"},
		{"\nchanged-hold = 86401\n" SPOP, "F:2: changed-hold: 86401 is not between 0 and 86400\n"},
		{"workers = many\n", "F:1: invalid integer value for option 'workers'\n"},
		{"spop {\n\tlisten = {\"127.0.0.1:9000\"}\n\tsurprise = 1\n}\n", "F:3: no such option 'surprise'\n"},
		{"spop {\n\tlisten = {}\n}\n", "F:3: listen: must name at least one address\n"},
		{"spop {\n\tlisten = {\"127.0.0.1:9000\"}\n\n\tmode = \"0888\"\n}\n",
		 "F:4: mode: \"0888\" is not an octal mode between 0 and 0777\n"},
		{"spop {\n\tlisten = {\"127.0.0.1:9000\"}\n\tmode = \"-1\"\n}\n",
		 "F:3: mode: \"-1\" is not an octal mode between 0 and 0777\n"},
		{"spop {\n\tlisten = {\"127.0.0.1:9000\"}\n\tuser = \"no such user\"\n\tgroup = \"no such group\"\n}\n",
		 "F:3: user: there is no user \"no such user\"\nF:4: group: there is no group \"no such group\"\n"},
		{"spop {\n\tlisten = {\"127.0.0.1:9000\"}\n\tmax-frame-size = 16381\n\tmax-connections = 0\n}\n",
		 "F:3: max-frame-size: 16381 is not between 256 and 16380\n"
		 "F:4: max-connections: 0 is not between 1 and 100000\n"},
		{SPOP "log {\n\tlevel = \"loud\"\n}\n",
		 "F:3: level: \"loud\" is none of error, warning, notice, info, debug\n"},
		{SPOP "pool \"p\" {\n\tnodes = {\"ghost\"}\n}\n", "F:3: nodes: there is no node \"ghost\"\n"},
		{SPOP "pool \"p\" {\n\tbalance = \"dice\"\n\tnodes = {}\n}\n",
		 "F:3: balance: \"dice\" is neither path-hash nor least-active\n"
		 "F:5: nodes: must name at least one node\n"},
		{SPOP "pool \"p\" {\n\ttemplate {\n\t\tdns = \"a..b\"\n\t\trecords = \"mx\"\n\t\tprefer = \"ipx\"\n"
		      "\t\tmax-nodes = 65\n\t\tweight = 257\n\t}\n}\n",
		 "F:4: dns: \"a..b\" has an empty label; it is absolute without a dot at its end\n"
		 "F:5: records: \"mx\" is neither address nor service\n"
		 "F:6: prefer: \"ipx\" is neither ipv4 nor ipv6\n"
		 "F:9: name: must be set\n"
		 "F:9: control-port: 0 is not between 1 and 65535\nF:9: fetch-port: 0 is not between 1 and 65535\n"
		 "F:7: max-nodes: 65 is not between 1 and 64\nF:8: weight: 257 is not between 0 and 256\n"
		 "F:0: ca: must be set\nF:0: certificate: must be set\nF:0: key: must be set\n"},
		{SPOP
		 "pool \"p\" {\n\tnodes = {\"n\"}\n\ttemplate {\n\t\tdns = \"nodes.test\"\n\t\trecords = \"service\"\n"
		 "\t\tname = \"n\"\n\t\tcontrol-port = 1\n\t\tfetch-port = 1\n\t}\n}\n",
		 "F:3: nodes: a pool has either nodes or a template\n"
		 "F:9: fetch-port: is the port of the service records\n"
		 "F:0: ca: must be set\nF:0: certificate: must be set\nF:0: key: must be set\n"},
		{SPOP "dns {\n\tservers = {\"192.0.2.1\", \"dns.test:53\", \"[::1]:x\"}\n\tttl-min = 0\n\thold-gone = "
		      "-1\n}\n",
		 "F:3: servers: \"dns.test:53\" is no address, or [ADDRESS]:PORT\n"
		 "F:3: servers: \"[::1]:x\" is no address, or [ADDRESS]:PORT\n"
		 "F:4: ttl-min: 0 is not between 0.1 and 86400 seconds\n"
		 "F:5: hold-gone: -1 is not between 0 and 86400 seconds\n"},
		{SPOP "dns {\n\tttl-min = 5\n\tttl-max = 4\n}\n", "F:4: ttl-max: is below ttl-min\n"},
		{SPOP "route \"r\" {\n\taction = \"maybe\"\n}\n",
		 "F:3: action: \"maybe\" is neither offload nor pass\n"},
		{SPOP "route \"r\" {\n\taction = \"offload\"\n\tpool = \"p\"\n}\n",
		 "F:4: pool: there is no pool \"p\"\n"},
		{SPOP "pool \"p\" {\n\ttrust-group = \"a b\"\n\tnodes = {\"ghost\"}\n}\n",
		 "F:3: trust-group: \"a b\" is not 1 to 128 of the characters A-Z a-z 0-9 - _ . :\n"
		 "F:4: nodes: there is no node \"ghost\"\n"},
		{"h2-min = 0\n" SPOP "route \"r\" {\n\taction = \"pass\"\n}\n",
		 "F:1: h2-min: 0 is not between 1 and 1099511627776\n"},
		{"splice-min = 0\ndirect-min = 2000000000000\n" SPOP
		 "route \"r\" {\n\taction = \"offload\"\n\tpool = \"p\"\n\tsplice-min = -1\n\tdirect-min = 0\n}\n",
		 "F:1: splice-min: 0 is not between 1 and 1099511627776\n"
		 "F:2: direct-min: 2000000000000 is not between 1 and 1099511627776\n"
		 "F:6: pool: there is no pool \"p\"\n"
		 "F:7: splice-min: -1 is not between 1 and 1099511627776\n"
		 "F:8: direct-min: 0 is not between 1 and 1099511627776\n"},
		{SPOP "route \"r\" {\n\taction = \"pass\"\n\tclient = {\"10.0.0.0/8\", \"10.0.0.1/8\"}\n}\n",
		 "F:4: client: \"10.0.0.1/8\": the address has bits set behind the prefix length\n"},
		{SPOP "route \"r\" {\n\taction = \"pass\"\n\thost = {\"a.*.b\"}\n\tpath-prefix = {\"x\"}\n"
		      "\tpath-suffix = {\"\"}\n\tmethod = {\"get\"}\n}\n",
		 "F:4: host: \"a.*.b\": \"*\" is only possible as a leading \"*.\"\n"
		 "F:5: path-prefix: \"x\": a path prefix begins with \"/\"\n"
		 "F:6: path-suffix: \"\": a path suffix must not be empty\n"
		 "F:7: method: \"get\": not a method in capital letters\n"},
		{SPOP "route \"r\" {\n\taction = \"pass\"\n\tsni = {\"a/b\"}\n\targument \"hdr x\" {\n"
		      "\t\tis = {\"a\", \"\"}\n\t}\n\targument \"lease\" {\n\t\tbegins = {\"\"}\n\t}\n}\n",
		 "F:4: sni: \"a/b\": not a host name\n"
		 "F:7: argument: \"hdr x\" is not the name of an argument: A-Z a-z 0-9 - _ .\n"
		 "F:6: is: \"\": a value must not be empty: absent = true means that there is none\n"
		 "F:10: argument: \"lease\" holds keys, and is not compared\n"
		 "F:9: begins: \"\": a value must not be empty: absent = true means that there is none\n"},
		{SPOP "route \"r\" {\n\taction = \"pass\"\n\targument \"x\" {\n\t\tlike = {\"a\"}\n\t}\n}\n",
		 "F:5: no such option 'like'\n"},
		{SPOP "route \"r\" {\n\taction = \"pass\"\n\targument \"x\" {\n\t\tabsent = perhaps\n\t}\n}\n",
		 "F:5: invalid boolean value for option 'absent'\n"},
		{SPOP "route \"r\" {\n\taction = \"pass\"\n\targument \"x\" {\n\t}\n\targument \"x\" {\n\t}\n}\n",
		 "F:6: found duplicate title 'x'\n"},
		{SPOP "route \"r\" {\n\taction = \"offload\"\n\tpool = \"p\"\n\tpercent-of = \"servers\"\n}\n",
		 "F:4: pool: there is no pool \"p\"\n"
		 "F:5: percent-of: \"servers\" is neither clients nor objects nor requests\n"},
		{SPOP "route \"r\" {\n\taction = \"pass\"\n\thost = {\"h.example:80\"}\n}\n",
		 "F:4: host: \"h.example:80\": a host name has no port here\n"},
		{SPOP "route \"r\" {\n\taction = \"pass\"\n}\nroute \"r\" {\n\taction = \"pass\"\n}\n",
		 "F:5: found duplicate title 'r'\n"},
		{SPOP "route \"r\" {\n\taction = \"pass\"\n", "F:2: the brace that opens here is not closed\n"},
		{SPOP "admin {\n\tlisten = \"9901\"\n}\n",
		 "F:3: listen: \"9901\": the port is missing: ADDRESS:PORT\n"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		assert_faults(cases[i].text, cases[i].faults);
}

static void paths_other_than_splice_need_a_direct_section(void **state)
{
	static const char *const format =
		SPOP "route \"r\" {\n\taction = \"offload\"\n\tpath = \"%s\"\n\tpool = \"p\"\n\tpercent = 101\n}\n";
	static const char *const faults = "F:4: path: \"%s\" %s\nF:5: pool: there is no pool \"p\"\n"
					  "F:6: percent: 101 is not between 0 and 100\n";
	static const struct {
		const char *path, *fault;
	} cases[] = {
		{"direct", "needs a direct section"},
		{"auto", "needs a direct section"},
		{"fast", "is neither splice nor direct nor auto"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		char text[512], expected[512];

		(void)snprintf(text, sizeof(text), format, cases[i].path);
		(void)snprintf(expected, sizeof(expected), faults, cases[i].path, cases[i].fault);
		assert_faults(text, expected);
	}
}

static void faults_of_the_direct_section_come_together(void **state)
{
	(void)state;
	assert_faults(
		"workers = 2\n" SPOP
		"direct {\n\tsocket = \"handoff.sock\"\n\tmode = \"0888\"\n\tinterface = {\"eth0\", \"an interface\"}\n"
		"\tmin-size = 0\n\tmax-flows = 0\n\tmax-failures = 0\n\tretry-after = -1.0\n"
		"\thandoff-timeout = 0.0\n\tgrace = 1.0\n\tconnection-tracking = \"off\"\n}\n",
		"F:4: socket: \"handoff.sock\": not an absolute path\n"
		"F:5: mode: \"0888\" is not an octal mode between 0 and 0777\n"
		"F:6: interface: \"an interface\" is not the name of an interface\n"
		"F:7: min-size: is direct-min now, of a route or outside of all sections\n"
		"F:8: max-flows: 0 is not between 1 and 16777216\n"
		"F:9: max-failures: 0 is not between 1 and 1000\n"
		"F:10: retry-after: -1 is not between 0 and 86400 seconds\n"
		"F:11: handoff-timeout: 0 is not between 0.05 and 60 seconds\n"
		"F:12: grace: 1 is not between 5 and 3600 seconds\n"
		"F:13: connection-tracking: \"off\" is neither exempt nor ignore\n"
		"F:1: workers: must be 1 with a direct section: one loop has all connections that are handed off\n");
	assert_faults(SPOP "direct {\n}\n",
		      "F:3: interface: must name at least one interface that clients come in by\n");
}

static void nodes_of_a_direct_route_need_their_addresses(void **state)
{
	(void)state;
	assert_faults(SPOP
		      "direct {\n\tinterface = {\"eth0\"}\n}\nnode \"n1\" {\n\tcontrol = \"127.0.0.1:7443\"\n"
		      "\tname = \"n1\"\n\tfetch = \"10.0.0.2\"\n\tdirect = {\"10.0.0.2\", \"10.0.0.3\", \"x\"}\n}\n"
		      "node \"n2\" {\n\tcontrol = \"127.0.0.1:7443\"\n\tname = \"n2\"\n\tfetch = \"10.0.0.2:80\"\n}\n"
		      "pool \"p\" {\n\tnodes = {\"n2\"}\n}\n"
		      "route \"r\" {\n\taction = \"offload\"\n\tpath = \"auto\"\n\tpool = \"p\"\n}\ntls {\n}\n",
		      "F:9: direct: \"10.0.0.3\" is the second address of its family\n"
		      "F:9: direct: \"x\" is no address without a port\n"
		      "F:8: fetch: \"10.0.0.2\": the port is missing: ADDRESS:PORT\n"
		      "F:25: ca: must be set\nF:25: certificate: must be set\nF:25: key: must be set\n"
		      "F:21: path: \"auto\" needs direct of node \"n2\", which is not set\n");
}

static void faults_of_nodes_and_tls_come_together(void **state)
{
	(void)state;
	assert_faults(
		SPOP
		"tls {\n\tca = \"/nonexistent/ca.pem\"\n}\nnode \"n 1\" {\n\tcontrol = \"127.0.0.1:7443\"\n\tname = "
		"\"n1\"\n}\nnode \"n2\" {\n\tcontrol = \"127.0.0.1\"\n\tserver = \"a/b\"\n}\n",
		"F:8: node: \"n 1\" is not 1 to 128 of the characters A-Z a-z 0-9 - _ . :\n"
		"F:10: control: \"127.0.0.1\": the port is missing: ADDRESS:PORT\n"
		"F:12: name: must be set\n"
		"F:11: server: \"a/b\" is not 1 to 128 of the characters A-Z a-z 0-9 - _ . :\n"
		"F:3: ca: /nonexistent/ca.pem: No such file or directory\n"
		"F:4: certificate: must be set\n"
		"F:4: key: must be set\n");
}

static void places_on_haproxys_ring_are_checked(void **state)
{
	(void)state;
	assert_faults(
		SPOP
		"node \"n1\" {\n\tcontrol = \"127.0.0.1:7443\"\n\tname = \"n\"\n\tserver-id = -1\n\tweight = -1\n}\n"
		"node \"n2\" {\n\tcontrol = \"127.0.0.1:7443\"\n\tname = \"n\"\n\tweight = 257\n\tmax-offloads = "
		"-1\n}\n"
		"node \"n3\" {\n\tcontrol = \"127.0.0.1:7443\"\n\tname = \"n\"\n\tserver-id = 2\n}\n"
		"pool \"p\" {\n\tnodes = {\"n2\", \"n3\"}\n}\npool \"q\" {\n\tnodes = {\"n1\", \"n3\"}\n}\ntls {\n}\n",
		"F:5: server-id: -1 is not between 0 and 2147483647\n"
		"F:6: weight: -1 is not between 0 and 256\n"
		"F:11: weight: 257 is not between 0 and 256\n"
		"F:12: max-offloads: -1 is not between 0 and 2147483647\n"
		"F:26: ca: must be set\nF:26: certificate: must be set\nF:26: key: must be set\n"
		"F:20: nodes: \"n2\" and \"n3\" have the same server-id, 2\n");
}

static void file_that_is_missing_is_named(void **state)
{
	struct spoa_config config;

	(void)state;
	assert_int_equal(spoa_config_load(&config, "/nonexistent/disc-spoa.conf"), -1);
}

static struct policy_sizes sizes_of(const char *route)
{
	static const struct policy_sizes otherwise = {.splice_min = 7, .direct_min = 8, .h2_min = 9};
	struct policy_sizes sizes = {0, 0, 0};
	cfg_t *section = cfg_init(spoa_route_options, CFGF_NONE);

	assert_non_null(section);
	assert_int_equal(cfg_parse_buf(section, route), CFG_SUCCESS);
	assert_int_equal(spoa_config_sizes_read(&sizes, section, &otherwise), 0);
	cfg_free(section);
	return sizes;
}

static void sizes_that_a_route_does_not_set_are_those_of_all(void **state)
{
	struct policy_sizes sizes = sizes_of("percent = 1\n");

	(void)state;
	assert_true(sizes.splice_min == 7 && sizes.direct_min == 8);
	sizes = sizes_of("splice-min = 1\n");
	assert_true(sizes.splice_min == 1 && sizes.direct_min == 8);
	sizes = sizes_of("direct-min = 1099511627776\n");
	assert_true(sizes.splice_min == 7 && sizes.direct_min == 1ull << 40 && sizes.h2_min == 9);
	sizes = sizes_of("h2-min = 10\n");
	assert_true(sizes.splice_min == 7 && sizes.direct_min == 8 && sizes.h2_min == 10);
}

static void valid_configuration_is_read_as_written(void **state)
{
	static const char text[] =
		"workers = 1\nspop {\n listen = {\"127.0.0.1:9000\", \"unix:/run/x.sock\"}\n mode = \"0600\"\n"
		" max-frame-size = 1024\n max-connections = 7\n}\nadmin { listen = \"127.0.0.1:9901\" }\n"
		"log { level = \"warning\" }\n"
		"direct { interface = {\"eth0\", \"eth1\"} handoff-timeout = 0.5 connection-tracking = "
		"\"ignore\" }\n"
		"route \"a\" { host = {\"*.example\"} client = {\"10.0.0.0/8\", \"::1\"} action = \"pass\" }\n"
		"route \"c\" { sni = {\"a.example\"} argument \"hdr_x\" { is = {\"1\", \"2\"} absent = true }\n"
		" argument \"hdr_y\" { contains = {\"z\"} any-case = true } action = \"pass\" }\n"
		"route \"b\" { path-prefix = {\"/x/\", \"/y/\"} path-suffix = {\".iso\"} method = {} action = \"pass\" "
		"}\n";
	struct spoa_config config;
	char said[512];
	int result = load(&config, text, said, sizeof(said));

	(void)state;
	assert_string_equal(said, "");
	assert_int_equal(result, 0);
	assert_int_equal(config.workers, 1);
	assert_int_equal(config.changed_hold, 60);
	assert_int_equal(config.listen_count, 2);
	assert_int_equal(config.socket_owner.mode, 0600);
	assert_true(config.socket_owner.user == (uid_t)-1 && config.socket_owner.group == (gid_t)-1);
	assert_true(config.direct.enabled);
	assert_string_equal(config.direct.interfaces[0], "eth0");
	assert_string_equal(config.direct.interfaces[1], "eth1");
	assert_null(config.direct.interfaces[2]);
	assert_int_equal(config.direct.max_flows, 262144);
	assert_true(config.direct.ignore_tracking);
	assert_int_equal(config.direct.breaker.max_failures, 3);
	assert_true(config.direct.breaker.retry_after == 30. && config.direct.handoff_timeout == 0.5);
	assert_int_equal(config.max_frame_size, 1024);
	assert_int_equal(config.max_connections, 7);
	assert_true(config.has_admin);
	assert_int_equal(config.policy.count, 3);
	assert_int_equal(config.policy.routes[1].sni_count, 1);
	assert_int_equal(config.policy.routes[1].argument_count, 2);
	assert_string_equal(config.policy.routes[1].arguments[0].name, "hdr_x");
	assert_int_equal(config.policy.routes[1].arguments[0].is_count, 2);
	assert_true(config.policy.routes[1].arguments[0].absent && !config.policy.routes[1].arguments[0].any_case);
	assert_string_equal(config.policy.routes[1].arguments[1].contains[0], "z");
	assert_true(config.policy.routes[1].arguments[1].any_case);
	assert_string_equal(config.policy.routes[0].hosts[0], "*.example");
	assert_int_equal(config.policy.routes[0].client_count, 2);
	assert_int_equal(config.policy.routes[0].method_count, 1);
	assert_string_equal(config.policy.routes[0].methods[0], "GET");
	assert_int_equal(config.policy.routes[2].path_prefix_count, 2);
	assert_string_equal(config.policy.routes[2].path_suffixes[0], ".iso");
	assert_int_equal(config.policy.routes[2].method_count, 0);
	spoa_config_release(&config);
}

/* The routes and pools of another file refer to the same nodes and breakers, as far as these stay. */
static void another_configuration_takes_over_what_stays(void **state)
{
	static const char before_text[] = SPOP "route \"a\" { action = \"pass\" } route \"b\" { action = \"pass\" }",
			  text[] = SPOP "route \"new\" { action = \"pass\" } route \"b\" { action = \"pass\" } "
					"route \"newer\" { action = \"pass\" }";
	struct spoa_config before, config;
	struct node_roster roster = {.nodes = {NULL}};
	struct changed_paths *paths;
	char said[512];

	(void)state;
	assert_int_equal(load(&before, before_text, said, sizeof(said)), 0);
	assert_int_equal(spoa_config_adopt(&before, NULL, &roster), 0);
	assert_int_equal(before.policy.routes[1].breaker, 1);
	paths = before.changed_paths;
	assert_int_equal(load(&config, text, said, sizeof(said)), 0);
	assert_int_equal(spoa_config_adopt(&config, &before, &roster), 0);
	assert_int_equal(config.policy.routes[0].breaker, 2);
	assert_int_equal(config.policy.routes[1].breaker, 1);
	assert_int_equal(config.policy.routes[2].breaker, 3);
	assert_int_equal(config.breaker_count, 4);
	assert_ptr_equal(config.changed_paths, paths);
	assert_null(before.changed_paths);
	spoa_config_release(&before);
	spoa_config_release(&config);
}

static struct node_record record_of(uint8_t last)
{
	const uint8_t bytes[] = {10, 0, 0, last};
	struct node_record record = {.port = 0};

	node_record_set(&record, bytes, sizeof(bytes));
	return record;
}

/* A loaded configuration with two pools of one template: certificates, which templates need, are not the point. */
static struct spoa_config *load_templates(void)
{
	struct spoa_config *config = malloc(sizeof(*config));
	char said[512];

	assert_non_null(config);
	assert_int_equal(load(config, SPOP "route \"r\" { action = \"pass\" }", said, sizeof(said)), 0);
	free(config->pools);
	free(config->templates);
	config->pool_count = 2;
	config->template_count = 1;
	config->pools = calloc(2, sizeof(*config->pools));
	config->templates = calloc(1, sizeof(*config->templates));
	assert_true(config->pools && config->templates);
	config->templates[0] = (struct node_template){
		.dns = "n", .certificate_name = "n", .control_port = 1, .fetch_port = 2, .max_nodes = 4, .weight = 1};
	config->pools[0].template = config->pools[1].template = config->templates;
	return config;
}

/* Of one origin, with the records <first> to <last> in its first pool and <first> in the other one; adopted. */
static struct spoa_config *use_records(struct spoa_config *origin, struct spoa_config *before,
				       struct node_roster *roster, uint8_t first, uint8_t last)
{
	const struct node_record *records[2][NODE_MAX];
	struct node_record all[8];
	size_t counts[2] = {0, 1};
	struct spoa_config *config;

	for (uint8_t i = first; i <= last; i++) {
		all[counts[0]] = record_of(i);
		records[0][counts[0]] = &all[counts[0]];
		counts[0]++;
	}
	records[1][0] = &all[0];
	config = spoa_config_with_records(origin, (const struct node_record *const(*)[NODE_MAX])records, counts);
	assert_non_null(config);
	assert_int_equal(spoa_config_adopt(config, before, roster), 0);
	assert_int_equal(config->node_count, counts[0]);
	assert_int_equal(config->pools[0].count, counts[0]);
	assert_ptr_equal(config->pools[1].members[0], config->pools[0].members[0]);
	assert_non_null(node_pool_choose(&config->pools[0], (struct control_text){"/a", 2}, ~(node_set)0));
	return config;
}

static void nodes_of_records_stay_the_same_nodes_while_they_are_there(void **state)
{
	struct spoa_config *origin = load_templates(), *first, *second;
	struct changed_paths *paths = origin->changed_paths;
	struct node_roster roster = {.nodes = {NULL}};
	struct node *stays;

	(void)state;
	first = use_records(origin, NULL, &roster, 1, 2);
	assert_ptr_equal(first->changed_paths, paths);
	stays = first->pools[0].members[1];
	assert_string_equal(stays->name, "10.0.0.2:2");
	node_add_own(stays, 5);
	second = use_records(origin, first, &roster, 2, 4);
	assert_ptr_equal(second->pools[0].members[0], stays);
	assert_int_equal(node_load(stays), 5);
	assert_ptr_equal(second->changed_paths, paths);
	/* The first node has left, and is there as long as the first configuration is used. */
	assert_int_equal(node_roster_sweep(&roster), 4);
	spoa_config_drop(first);
	assert_int_equal(node_roster_sweep(&roster), 3);
	spoa_config_drop(origin);
	assert_string_equal(second->policy.routes[0].name, "r");
	spoa_config_drop(second);
	node_roster_clear(&roster);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(sizes_that_a_route_does_not_set_are_those_of_all),
		cmocka_unit_test(each_fault_names_file_line_and_field),
		cmocka_unit_test(paths_other_than_splice_need_a_direct_section),
		cmocka_unit_test(faults_of_the_direct_section_come_together),
		cmocka_unit_test(nodes_of_a_direct_route_need_their_addresses),
		cmocka_unit_test(faults_of_nodes_and_tls_come_together),
		cmocka_unit_test(places_on_haproxys_ring_are_checked),
		cmocka_unit_test(file_that_is_missing_is_named),
		cmocka_unit_test(valid_configuration_is_read_as_written),
		cmocka_unit_test(another_configuration_takes_over_what_stays),
		cmocka_unit_test(nodes_of_records_stay_the_same_nodes_while_they_are_there),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

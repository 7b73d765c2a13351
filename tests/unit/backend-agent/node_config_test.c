/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Guards the configuration: each fault is named by file, line and field in exactly these words, all faults are told at
 * once, and a good file means what it says. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "lib/channel_fixture.h"
#include "node_config.h"

static char folder[64], file[128], errors[128], said[4096];

static int make_folder(void **state)
{
	(void)state;
	assert_int_equal(certificates_make(folder), 0);
	(void)snprintf(file, sizeof(file), "%s/disc-backend.conf", folder);
	(void)snprintf(errors, sizeof(errors), "%s/errors", folder);
	return 0;
}

static int remove_folder(void **state)
{
	(void)state;
	certificates_remove(folder);
	return 0;
}

/* Replaces each '@' of <text> by the test's folder and writes it to the file. */
static void write_config(const char *text)
{
	FILE *to = fopen(file, "w");

	assert_non_null(to);
	for (; *text != '\0'; text++) {
		if (*text == '@')
			assert_true(fputs(folder, to) >= 0);
		else
			assert_int_equal(fputc(*text, to), *text);
	}
	assert_int_equal(fclose(to), 0);
}

/* Loads the file, with what goes to stderr in <said>. */
static int load(struct node_config *config)
{
	int saved = dup(STDERR_FILENO), fd = open(errors, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600), result;
	ssize_t n;

	assert_true(saved >= 0 && fd >= 0);
	assert_int_equal(fflush(stderr), 0);
	assert_true(dup2(fd, STDERR_FILENO) >= 0);
	result = node_config_load(config, file);
	(void)fflush(stderr);
	assert_true(dup2(saved, STDERR_FILENO) >= 0);
	n = pread(fd, said, sizeof(said) - 1, 0);
	assert_true(n >= 0);
	said[n] = '\0';
	assert_int_equal(close(fd) + close(saved), 0);
	return result;
}

/* <text> is refused with exactly the lines <expected>, in which '@' is the folder and '%' the file. */
static void assert_faults(const char *text, const char *expected)
{
	struct node_config config;
	char wanted[4096];
	size_t len = 0;

	write_config(text);
	assert_int_equal(load(&config), -1);
	for (; *expected != '\0'; expected++) {
		if (*expected == '@' || *expected == '%')
			len += (size_t)snprintf(wanted + len, sizeof(wanted) - len, "%s",
						*expected == '@' ? folder : file);
		else
			wanted[len++] = *expected;
	}
	wanted[len] = '\0';
	assert_string_equal(said, wanted);
	assert_null(config.tree);
}

#define CONTROL "control { agents = {\"agent.test\"} }\n"
#define TLS "tls { ca = \"@/ca.pem\" certificate = \"@/node.pem\" key = \"@/node.key\" }\n"
#define FILES "files { root = \"@\" }\n"
#define GOOD CONTROL TLS FILES

static void file_that_is_not_there_is_named(void **state)
{
	struct node_config config;
	char expected[256];

	(void)state;
	(void)unlink(file);
	assert_int_equal(load(&config), -1);
	(void)snprintf(expected, sizeof(expected), "%s: cannot be read: No such file or directory\n", file);
	assert_string_equal(said, expected);
}

static void unknown_option_is_named(void **state)
{
	(void)state;
	assert_faults(GOOD "offload { min-sise = 1 }\n", "%:4: no such option 'min-sise'\n");
}

static void wrong_type_is_named(void **state)
{
	(void)state;
	assert_faults("workers = many\n" GOOD, "%:1: invalid integer value for option 'workers'\n");
}

static void numbers_out_of_range_are_named(void **state)
{
	(void)state;
	assert_faults("workers = 0\ngrace = -1.0\n" GOOD, "%:1: workers: 0 is not between 1 and 256\n"
							  "%:2: grace: -1 is not between 0 and 86400 seconds\n");
	assert_faults(GOOD "fetch {\nkeep-alive-timeout = 0.0\nheader-timeout = 1e9\nmax-connections = -1\n"
			   "max-header-size = 10\nsend-buffer = -1\n}\n",
		      "%:5: keep-alive-timeout: 0 is not between 0.1 and 86400 seconds\n"
		      "%:6: header-timeout: 1e+09 is not between 0.1 and 3600 seconds\n"
		      "%:7: max-connections: -1 is not between 1 and 1000000\n"
		      "%:8: max-header-size: 10 is not between 1024 and 1048576\n"
		      "%:9: send-buffer: -1 is not between 0 and 1073741824\n");
	assert_faults(GOOD "offload { min-size = 0\n ticket-wait = 2.0\n max-waiting = 0 }\n",
		      "%:4: min-size: is the agent's now: splice-min in disc-spoa.conf\n"
		      "%:5: ticket-wait: 2 is not between 0.01 and 1 seconds\n"
		      "%:6: max-waiting: 0 is not between 1 and 1000000\n");
}

static void wrong_kind_of_entity_tag_is_named(void **state)
{
	(void)state;
	assert_faults(CONTROL TLS "files { root = \"@\"\netag = \"md5\"\ndigest-rate = 1 }\n",
		      "%:5: digest-rate: 1 is not between 65536 and 1099511627776\n"
		      "%:4: etag: \"md5\" is neither time nor digest\n");
}

static void library_that_cannot_seal_is_a_fault(void **state)
{
	const char *missing = aead_ipsec_mb_open();
	struct node_config config;
	char expected[200];

	(void)state;
	assert_faults(GOOD "seal {\nlibrary = \"openssl\"\n}\n",
		      "%:5: library: \"openssl\" is none of auto, wolfcrypt, ipsec-mb\n");
	if (missing) {
		(void)snprintf(expected, sizeof(expected), "%%:5: library: \"ipsec-mb\" cannot be used: %s\n", missing);
		assert_faults(GOOD "seal {\nlibrary = \"ipsec-mb\"\n}\n", expected);
		return;
	}
	write_config(GOOD "seal { library = \"ipsec-mb\" }\n");
	if (load(&config) < 0)
		fail_msg("%s", said);
	assert_int_equal(config.seal, AEAD_SETTING_IPSEC_MB);
	node_config_release(&config);
}

static void what_must_be_set_is_named(void **state)
{
	(void)state;
	assert_faults("control { }\n" TLS FILES, "%:1: agents: must name at least one agent\n");
	assert_faults(CONTROL TLS "files {\n}\n", "%:4: root: must be set\n");
}

static void content_is_either_files_or_an_origin(void **state)
{
	(void)state;
	assert_faults(GOOD "origin { url = \"http://127.0.0.1:1\" }\n",
		      "%:3: root: either files or an origin can be served: origin is set too\n");
	assert_faults(GOOD "origin { unix = \"/run/x.sock\" }\n",
		      "%:3: root: either files or an origin can be served: origin is set too\n");
}

static void origin_is_checked(void **state)
{
	static const char *const urls[] = {"https://127.0.0.1",  "127.0.0.1:80",       "http://",
					   "http://127.0.0.1/a", "http://u@127.0.0.1", "http://127.0.0.1?q",
					   "http://*:80"};
	char text[512], expected[512];

	(void)state;
	for (size_t i = 0; i < sizeof(urls) / sizeof(urls[0]); i++) {
		(void)snprintf(text, sizeof(text), CONTROL TLS "origin { url = \"%s\" }\n", urls[i]);
		(void)snprintf(expected, sizeof(expected), "%%:3: url: \"%s\" is not written http://HOST[:PORT]\n",
			       urls[i]);
		assert_faults(text, expected);
	}
	assert_faults(CONTROL TLS "origin { url = \"http://127.0.0.1:x\" }\n",
		      "%:3: url: \"127.0.0.1:x\": the port is no number from 0 to 65535\n");
	assert_faults(CONTROL TLS "origin { url = \"http://unix:x\" }\n", "%:3: url: a UNIX socket is named by unix\n");
	assert_faults(CONTROL TLS "origin { unix = \"x.sock\"\n timeout = 0.0\n connect-timeout = 1e9\n"
				  "max-connections = 0 }\n",
		      "%:3: unix: \"x.sock\" is no absolute path that a socket may have\n"
		      "%:5: connect-timeout: 1e+09 is not between 0.01 and 3600 seconds\n"
		      "%:4: timeout: 0 is not between 0.01 and 3600 seconds\n"
		      "%:6: max-connections: 0 is not between 1 and 100000\n");
}

static void assert_base(const char *url, const char *base)
{
	struct node_config config;
	char text[512];

	(void)snprintf(text, sizeof(text), "workers = 3\n" CONTROL TLS "origin { url = \"%s\" max-connections = 10 }\n",
		       url);
	write_config(text);
	if (load(&config) < 0)
		fail_msg("%s", said);
	assert_true(config.has_origin);
	assert_null(config.files);
	assert_string_equal(config.origin.base, base);
	assert_int_equal(config.origin.max_connections, 4); /* of each worker, rounded up */
	node_config_release(&config);
}

static void origin_means_what_it_says(void **state)
{
	struct node_config config;

	(void)state;
	assert_base("http://127.0.0.1:8000", "http://127.0.0.1:8000/");
	assert_base("http://127.0.0.1/", "http://127.0.0.1:80/");
	assert_base("http://[::1]", "http://[::1]:80/");
	assert_base("http://[::1]:81/", "http://[::1]:81/");
	write_config(CONTROL TLS "origin { unix = \"/run/x.sock\" }\n");
	if (load(&config) < 0)
		fail_msg("%s", said);
	assert_string_equal(config.origin.unix_path, "/run/x.sock");
	assert_true(config.origin.connect_timeout == 2 && config.origin.timeout == 30);
	assert_int_equal(config.origin.max_connections, 256);
	node_config_release(&config);
}

static void root_that_is_no_folder_is_named(void **state)
{
	(void)state;
	assert_faults(CONTROL TLS "files { root = \"@/none\" }\n", "%:3: root: @/none: No such file or directory\n");
	assert_faults(CONTROL TLS "files { root = \"@/ca.pem\" }\n", "%:3: root: @/ca.pem: is not a directory\n");
}

static void index_and_mime_types_are_checked(void **state)
{
	(void)state;
	assert_faults(CONTROL TLS "files { root = \"@\"\n index = {\"a/b\"}\n mime-types = \"@/none\" }\n",
		      "%:4: index: \"a/b\" is not a file's name: it has a '/'\n"
		      "%:5: mime-types: @/none: No such file or directory\n");
}

static void missing_certificate_files_are_named(void **state)
{
	(void)state;
	assert_faults(CONTROL FILES "tls { ca = \"@/none\"\n certificate = \"@/none2\"\n key = \"\" }\n",
		      "%:3: ca: @/none: No such file or directory\n"
		      "%:4: certificate: @/none2: No such file or directory\n"
		      "%:5: key: must be set\n");
}

static void certificate_that_does_not_load_is_named(void **state)
{
	struct node_config config;
	char expected[256];

	(void)state;
	write_config(CONTROL FILES "tls { ca = \"@/ca.pem\"\n certificate = \"@/node.pem\"\n key = \"@/node.pem\" }\n");
	assert_int_equal(load(&config), -1);
	(void)snprintf(expected, sizeof(expected), "%s:5: key: %s/node.pem: ", file, folder);
	assert_memory_equal(said, expected, strlen(expected));
	assert_int_equal(strchr(said, '\n') - said, (long)strlen(said) - 1);
}

static void log_is_checked(void **state)
{
	(void)state;
	assert_faults(GOOD "log { target = \"file\"\n level = \"loud\" }\n",
		      "%:4: target: \"file\" is neither stderr nor syslog\n"
		      "%:5: level: \"loud\" is none of error, warning, notice, info, debug\n");
}

static void all_faults_are_told_at_once(void **state)
{
	(void)state;
	assert_faults("workers = 1000\ncontrol { agents = {\"\"} }\n" TLS "files { root = \"/nowhere/at/all\" }\n",
		      "%:1: workers: 1000 is not between 1 and 256\n"
		      "%:2: agents: a name is empty\n"
		      "%:4: root: /nowhere/at/all: No such file or directory\n");
}

static void bad_addresses_are_named(void **state)
{
	struct node_config config;
	char expected[256];

	(void)state;
	write_config(CONTROL TLS FILES "fetch { listen = {\"127.0.0.1:0\",\n\"127.0.0.1\"} }\n");
	assert_int_equal(load(&config), -1);
	(void)snprintf(expected, sizeof(expected), "%s:5: listen: \"127.0.0.1\": ", file);
	assert_memory_equal(said, expected, strlen(expected));
}

static void direct_path_is_checked(void **state)
{
	(void)state;
	assert_faults(GOOD "direct {\n}\n", "%:5: vip: must name at least one address\n"
					    "%:5: interface: must name at least one interface\n");
	assert_faults(GOOD "direct { vip = {\"192.0.2.1\", \"vip.example\", \"192.0.2.1:443\", \"192.0.2.1\"}\n"
			   "interface = {\"eth0\", \"\", \"a/b\", \"interface-of-long-name\"} }\n",
		      "%:4: vip: \"vip.example\" is no numeric IPv4 or IPv6 address\n"
		      "%:4: vip: \"192.0.2.1:443\" is no numeric IPv4 or IPv6 address\n"
		      "%:4: vip: \"192.0.2.1\" is named twice\n"
		      "%:5: interface: \"\" is not an interface's name\n"
		      "%:5: interface: \"a/b\" is not an interface's name\n"
		      "%:5: interface: \"interface-of-long-name\" is not an interface's name\n");
	assert_faults(GOOD
		      "direct { vip = {\"192.0.2.1\"} interface = {\"eth0\"}\n congestion-control = "
		      "\"a-name-of-16-byte\"\n send-buffer = 65535\n handoff-wait = 0.0\n client-timeout = 4000.0\n "
		      "connection-tracking = \"\" }\n",
		      "%:5: congestion-control: \"a-name-of-16-byte\" is not the name of one\n"
		      "%:6: send-buffer: 65535 is not between 65536 and 4194304\n"
		      "%:7: handoff-wait: 0 is not between 0.1 and 60 seconds\n"
		      "%:8: client-timeout: 4000 is not between 0.5 and 3600 seconds\n"
		      "%:9: connection-tracking: \"\" is neither exempt nor ignore\n");
}

static void direct_path_means_what_it_says(void **state)
{
	static const uint8_t vip4[16] = {192, 0, 2, 1}, vip6[16] = {0x20, 0x01, 0x0d, 0xb8, [15] = 1};
	struct node_config config;

	(void)state;
	write_config(GOOD "direct { vip = {\"192.0.2.1\", \"2001:db8::1\"} interface = {\"eth0\", \"eth1.7\"} }\n");
	if (load(&config) < 0)
		fail_msg("%s", said);
	assert_true(config.has_direct);
	assert_int_equal(config.direct.vip_count, 2);
	assert_true(direct_settings_have_vip(&config.direct, 4, vip4) &&
		    direct_settings_have_vip(&config.direct, 6, vip6));
	assert_false(direct_settings_have_vip(&config.direct, 6, vip4));
	assert_string_equal(config.direct.interfaces[1], "eth1.7");
	assert_null(config.direct.interfaces[2]);
	assert_null(config.direct.congestion);
	assert_int_equal(config.direct.send_buffer, 4194304);
	assert_true(config.direct.handoff_wait == 5 && config.direct.client_timeout == 60);
	assert_false(config.direct.ignore_tracking);
	node_config_release(&config);
	write_config(GOOD "direct { vip = {\"192.0.2.1\"} interface = {\"eth0\"} congestion-control = \"cubic\" }\n");
	assert_int_equal(load(&config), 0);
	assert_string_equal(config.direct.congestion, "cubic");
	node_config_release(&config);
}

static void good_file_means_what_it_says(void **state)
{
	struct node_config config;

	(void)state;
	write_config("workers = 3\ngrace = 7.5\n" GOOD
		     "fetch { listen = {\"127.0.0.1:1\", \"[::1]:2\"} max-connections = 10 send-buffer = 5 }\n"
		     "offload { ticket-wait = 0.5 max-waiting = 9 }\nadmin { listen = \"127.0.0.1:3\" }\n");
	if (load(&config) < 0)
		fail_msg("%s", said);
	assert_string_equal(said, "");
	assert_int_equal(config.workers, 3);
	assert_true(config.grace == 7.5);
	assert_int_equal(config.fetch_listen_count, 2);
	assert_int_equal(config.fetch_listen[1].storage.ss_family, AF_INET6);
	assert_int_equal(config.limits.max_connections, 4); /* of each worker, rounded up */
	assert_int_equal(config.limits.send_buffer, 5);
	assert_true(config.limits.ticket_wait == 0.5 && config.tickets.wait_s == 0.5);
	assert_int_equal(config.tickets.max_waiting, 9);
	assert_true(config.tickets.remember_s >= 2 * config.tickets.wait_s);
	assert_string_equal(config.agents[0], "agent.test");
	assert_null(config.agents[1]);
	assert_string_equal(config.index[0], "index.html");
	assert_null(config.index[1]);
	assert_true(config.has_admin);
	assert_non_null(config.tls);
	assert_non_null(config.files);
	assert_string_equal(content_type_of(config.types, "a/b.html"), "text/html; charset=utf-8");
	node_config_release(&config);
}

static void defaults_are_those_of_the_manual(void **state)
{
	struct node_config config;

	(void)state;
	write_config(GOOD);
	if (load(&config) < 0)
		fail_msg("%s", said);
	assert_int_equal(config.workers, 1);
	assert_true(config.grace == 30 && config.limits.keep_alive_timeout == 60 && config.limits.header_timeout == 5 &&
		    config.limits.send_timeout == 600 && config.limits.ticket_wait == 1);
	assert_int_equal(config.limits.max_connections, 10000);
	assert_int_equal(config.limits.max_header_size, 131072);
	assert_int_equal(config.tickets.max_waiting, 10000);
	assert_int_equal(config.seal, AEAD_SETTING_AUTO);
	assert_false(config.has_admin);
	assert_false(config.has_direct);
	node_config_release(&config);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(file_that_is_not_there_is_named),
		cmocka_unit_test(unknown_option_is_named),
		cmocka_unit_test(wrong_type_is_named),
		cmocka_unit_test(numbers_out_of_range_are_named),
		cmocka_unit_test(wrong_kind_of_entity_tag_is_named),
		cmocka_unit_test(library_that_cannot_seal_is_a_fault),
		cmocka_unit_test(what_must_be_set_is_named),
		cmocka_unit_test(content_is_either_files_or_an_origin),
		cmocka_unit_test(origin_is_checked),
		cmocka_unit_test(origin_means_what_it_says),
		cmocka_unit_test(root_that_is_no_folder_is_named),
		cmocka_unit_test(index_and_mime_types_are_checked),
		cmocka_unit_test(missing_certificate_files_are_named),
		cmocka_unit_test(certificate_that_does_not_load_is_named),
		cmocka_unit_test(log_is_checked),
		cmocka_unit_test(all_faults_are_told_at_once),
		cmocka_unit_test(bad_addresses_are_named),
		cmocka_unit_test(direct_path_is_checked),
		cmocka_unit_test(direct_path_means_what_it_says),
		cmocka_unit_test(good_file_means_what_it_says),
		cmocka_unit_test(defaults_are_those_of_the_manual),
	};

	return cmocka_run_group_tests(tests, make_folder, remove_folder);
}

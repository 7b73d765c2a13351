/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Guards: whatever is wrong with a configuration is reported with file, line and field, and nothing wrong passes. */
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "config.h"
#include "config_fixed.h"
#include "log.h"
#include "stderr_capture.h"

#define TREES 1500

static char file[64];
static char text[8192];

static int make_file(void **state)
{
	int fd;

	(void)state;
	(void)snprintf(file, sizeof(file), "/tmp/disc-config-XXXXXX");
	fd = mkstemp(file);
	return fd < 0 ? -1 : close(fd);
}

static int remove_file(void **state)
{
	(void)state;
	return unlink(file);
}

/* A schema of every kind of option; libconfuse keeps pointers into it, so it is made anew for each case. */
static cfg_t *load(const char *content)
{
	static cfg_opt_t node[] = {
		CFG_STR("address", NULL, CFGF_NONE),
		CFG_INT("weight", 1, CFGF_NONE),
		CFG_END(),
	};
	static cfg_opt_t options[] = {
		CFG_STR("listen", NULL, CFGF_NONE),
		CFG_INT("workers", 2, CFGF_NONE),
		CFG_STR("key", NULL, CFGF_NONE),
		CFG_STR_LIST("hosts", NULL, CFGF_NONE),
		CFG_SEC("node", node, CFGF_MULTI | CFGF_TITLE),
		CFG_SEC("log", config_log_options, CFGF_NONE),
		CFG_END(),
	};
	FILE *out = fopen(file, "we");

	assert_non_null(out);
	assert_true(fputs(content, out) >= 0);
	assert_int_equal(fclose(out), 0);
	return config_load(file, options);
}

/* Ends a capture and expects exactly one line: "FILE:<line>: " and then every part. */
static void expect_fault_at(struct stderr_capture *capture, int line, const char *part, const char *other_part)
{
	char prefix[128];

	assert_true(stderr_capture_end(capture, text, sizeof(text)) > 0);
	(void)snprintf(prefix, sizeof(prefix), "%s:%d: ", file, line);
	if (strncmp(text, prefix, strlen(prefix)) != 0 || !strstr(text, part) || !strstr(text, other_part))
		fail_msg("\"%s\" is not \"%s\" with \"%s\" and \"%s\"", text, prefix, part, other_part);
	assert_ptr_equal(strchr(text, '\n'), text + strlen(text) - 1);
}

static void expect_not_loaded(const char *content, int line, const char *part)
{
	struct stderr_capture capture;
	cfg_t *root;

	assert_int_equal(stderr_capture_begin(&capture), 0);
	root = load(content);
	expect_fault_at(&capture, line, part, "");
	assert_null(root);
}

static void parse_faults_name_line_and_option(void **unused)
{
	(void)unused;
	expect_not_loaded("workers = 2\nlissten = \"*:1\"\n", 2, "'lissten'");
	expect_not_loaded("\n\nworkers = two\n", 3, "'workers'");
	expect_not_loaded("workers = 2\nnode \"a\" {\n  weight = 1\n  colour = 3\n}\n", 4, "'colour'");
	expect_not_loaded("workers = 2\nnod \"a\" {\n}\n", 2, "'nod'");
	expect_not_loaded("workers 2\n", 1, "");
	expect_not_loaded("node {\n}\n", 1, "");
	expect_not_loaded("}\n", 1, "closing brace");
	expect_not_loaded("workers = 2\nlisten = \"abc\n", 3, "");
}

/* libconfuse takes all of these. */
static void what_would_be_lost_in_silence_is_a_fault(void **unused)
{
	cfg_t *root;

	(void)unused;
	expect_not_loaded("workers = 2\nnode \"a\" {\n  weight = 1\n", 2, "not closed");
	expect_not_loaded("node \"a\" {\n}\nnode \"b\" {\n  address = \"}\" # }\n // }\n", 3, "not closed");
	expect_not_loaded("workers = 2\n/* listen = \"*:1\"\n\n", 2, "comment");
	expect_not_loaded("workers = 2\n\nworkers = 3\n", 3, "'workers' was set in line 1 already");
	expect_not_loaded("node \"a\" {\n weight = 1\n weight = 2\n}\n", 3, "'weight' was set in line 2 already");
	expect_not_loaded("node \"a\" {\n}\nnode \"a\" {\n}\n", 3, "'a'");
	/* And none of these is one. */
	root = load("/* { */ # {\n// {\n/**/listen = \"{ \\\" {\" /* \" **/\nkey = 'a{'\nnode \"a\" {\n weight = 1\n}\n"
		    "node \"b\" { weight = 1 }\nhosts = {\"a\", \"b\"}\nhosts += {\"c\"}\n");
	assert_non_null(root);
	assert_int_equal(cfg_size(root, "hosts"), 3);
	config_free(root);
}

static void missing_files_are_named(void **unused)
{
	static cfg_opt_t options[] = {CFG_END()};
	struct stderr_capture capture;
	cfg_t *root;

	(void)unused;
	assert_int_equal(stderr_capture_begin(&capture), 0);
	root = config_load("/nonexistent/disc.conf", options);
	assert_true(stderr_capture_end(&capture, text, sizeof(text)) > 0);
	assert_null(root);
	assert_string_equal(text, "/nonexistent/disc.conf: cannot be read: No such file or directory\n");
}

static const char good[] = "listen = \"127.0.0.1:80\"\n"
			   "workers = 4\n"
			   "key = \"/etc/passwd\"\n"
			   "hosts = {\"a\", \"b\"}\n"
			   "node \"a\" {\n"
			   "  address = \"127.0.0.1:1\"\n"
			   "}\n"
			   "node \"b\" {\n"
			   "  weight = 7\n"
			   "  address = \"nowhere\"\n"
			   "}\n"
			   "log { level = \"debug\" }\n";

static void good_values_are_taken(void **unused)
{
	cfg_t *root = load(good);
	struct address address;
	const char *value;
	long number;

	(void)unused;
	assert_non_null(root);
	assert_int_equal(config_need_string(root, "listen", &value), 0);
	assert_string_equal(value, "127.0.0.1:80");
	assert_int_equal(config_need_address(root, "listen", &address), 0);
	assert_int_equal(address.storage.ss_family, AF_INET);
	assert_int_equal(config_need_range(root, "workers", 4, 4, &number), 0);
	assert_int_equal(number, 4);
	assert_int_equal(config_need_file(root, "key", &value), 0);
	assert_int_equal(cfg_size(root, "node"), 2);
	config_free(root);
}

#define expect_check_fails(check, line, part, other_part)                \
	do {                                                             \
		struct stderr_capture capture;                           \
		int result;                                              \
                                                                         \
		assert_int_equal(stderr_capture_begin(&capture), 0);     \
		result = (check);                                        \
		expect_fault_at(&capture, (line), (part), (other_part)); \
		assert_int_equal(result, -1);                            \
	} while (0)

static void wrong_values_name_their_own_line(void **unused)
{
	cfg_t *root = load(good), *node;
	struct address address;
	const char *value;
	long number;

	(void)unused;
	assert_non_null(root);
	expect_check_fails(config_need_range(root, "workers", 1, 3, &number), 2,
			   ": workers: ", "4 is not between 1 and 3");
	expect_check_fails(config_need_range(root, "workers", 5, 9, &number), 2,
			   ": workers: ", "4 is not between 5 and 9");
	node = cfg_getnsec(root, "node", 1);
	expect_check_fails(config_need_address(node, "address", &address), 10, ": address: \"nowhere\": ", "port");
	expect_check_fails(config_need_range(node, "weight", 0, 1, &number), 9, ": weight: ", "7");
	expect_check_fails(config_need_file(root, "listen", &value), 1, ": listen: ", "No such file");
	expect_check_fails(config_fault(root, "hosts", "no %s", "good"), 4, ": hosts: ", "no good");
	config_free(root);
}

static void values_that_are_not_set_are_faults(void **unused)
{
	cfg_t *root = load("listen = \"\"\nnode \"a\" {\n}\n");
	struct address address;
	const char *value;
	cfg_t *node;

	(void)unused;
	assert_non_null(root);
	expect_check_fails(config_need_string(root, "listen", &value), 1, ": listen: ", "must be set");
	expect_check_fails(config_need_file(root, "listen", &value), 1, ": listen: ", "must be set");
	/* A section without the field: the line is the section's. */
	node = cfg_getnsec(root, "node", 0);
	expect_check_fails(config_need_address(node, "address", &address), 3, ": address: ", "must be set");
	config_free(root);
}

static void log_section_is_applied_or_refused(void **unused)
{
	cfg_t *root = load(good);

	(void)unused;
	assert_int_equal(config_check_log(root), 0);
	config_apply_log(root, "config_test");
	assert_true(log_enabled(LOG_LEVEL_DEBUG));
	config_free(root);
	root = load("\nlog {\n  target = \"file\"\n}\n");
	expect_check_fails(config_check_log(root), 3, ": target: ", "\"file\"");
	config_free(root);
	root = load("log {\n  target = \"stderr\"\n  level = \"loud\"\n}\n");
	expect_check_fails(config_check_log(root), 3, ": level: ", "\"loud\"");
	config_free(root);
	/* Without the section its defaults hold. */
	root = load("");
	assert_int_equal(config_check_log(root), 0);
	config_apply_log(root, "config_test");
	assert_false(log_enabled(LOG_LEVEL_DEBUG));
	assert_true(log_enabled(LOG_LEVEL_INFO));
	config_free(root);
}

static void faults_of_a_running_program_are_collected(void **unused)
{
	struct stderr_capture capture;
	struct config_faults faults;
	char first[sizeof(faults.first)];
	cfg_t *root;

	(void)unused;
	assert_int_equal(stderr_capture_begin(&capture), 0);
	config_collect_faults(&faults);
	root = load("log {\n  target = \"file\"\n  level = \"loud\"\n}\n");
	assert_int_equal(config_check_log(root), -1);
	config_free(root);
	assert_int_equal(faults.count, 2);
	(void)snprintf(first, sizeof(first), "%s:2: target: \"file\" is neither stderr nor syslog", file);
	assert_string_equal(faults.first, first);
	config_collect_faults(&faults);
	assert_int_equal(faults.count, 0);
	assert_null(load("\nlog {"));
	assert_int_equal(faults.count, 1);
	assert_memory_equal(faults.first, file, strlen(file));
	config_collect_faults(&faults);
	assert_null(config_load("/nonexistent/file", config_log_options));
	assert_string_equal(faults.first, "/nonexistent/file: cannot be read: No such file or directory");
	config_collect_faults(NULL);
	assert_int_equal(stderr_capture_end(&capture, text, sizeof(text)), 0);
}

static void what_is_fixed_is_told_and_what_is_not_is_not(void **unused)
{
	static const char *const fields[] = {"listen", "hosts", "workers", "log.level"};
	cfg_t *root = load("listen = \"a\"\nhosts = {\"x\", \"y\"}\nkey = \"k\"");
	struct stderr_capture capture;
	struct config_fixed fixed;
	char wanted[1024];

	(void)unused;
	assert_int_equal(config_fixed_note(&fixed, root, fields, 4), 0);
	assert_int_equal(config_fixed_compare(&fixed, root, "F"), 0);
	config_free(root);
	root = load("hosts = {}\nworkers = 9\nkey = \"other\"\nlog { level = \"debug\" }");
	assert_int_equal(stderr_capture_begin(&capture), 0);
	assert_int_equal(config_fixed_compare(&fixed, root, "F"), 4);
	assert_true(stderr_capture_end(&capture, text, sizeof(text)) > 0);
	(void)snprintf(wanted, sizeof(wanted), "%s%s%s%s",
		       "<4>F: listen = nothing needs a restart: until then it is \"a\"\n",
		       "<4>F: hosts = nothing needs a restart: until then it is \"x\", \"y\"\n",
		       "<4>F: workers = 9 needs a restart: until then it is 2\n",
		       "<4>F: log.level = \"debug\" needs a restart: until then it is \"info\"\n");
	assert_string_equal(text, wanted);
	config_free(root);
	config_fixed_release(&fixed);
}

/* As workers free the configuration before, one after the other, while the next one is read. */
static void *free_trees(void *shared)
{
	_Atomic(cfg_t *) *slot = shared;

	for (unsigned freed = 0; freed < TREES;) {
		cfg_t *root = atomic_exchange(slot, NULL);

		if (!root)
			continue;
		config_free(root);
		freed++;
	}
	return NULL;
}

static void one_thread_frees_while_another_loads(void **unused)
{
	_Atomic(cfg_t *) slot = NULL;
	pthread_t thread;

	(void)unused;
	assert_int_equal(pthread_create(&thread, NULL, free_trees, &slot), 0);
	for (unsigned i = 0; i < TREES; i++) {
		cfg_t *root = load("listen = \"a\"\nhosts = {\"x\", \"y\"}\nkey = \"k\"");

		assert_non_null(root);
		assert_int_equal(cfg_size(root, "hosts"), 2);
		while (atomic_load(&slot))
			(void)sched_yield();
		atomic_store(&slot, root);
	}
	assert_int_equal(pthread_join(thread, NULL), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(parse_faults_name_line_and_option),
		cmocka_unit_test(what_would_be_lost_in_silence_is_a_fault),
		cmocka_unit_test(missing_files_are_named),
		cmocka_unit_test(wrong_values_name_their_own_line),
		cmocka_unit_test(values_that_are_not_set_are_faults),
		cmocka_unit_test(log_section_is_applied_or_refused),
		cmocka_unit_test(faults_of_a_running_program_are_collected),
		cmocka_unit_test(what_is_fixed_is_told_and_what_is_not_is_not),
		cmocka_unit_test(one_thread_frees_while_another_loads),
		cmocka_unit_test(good_values_are_taken),
	};

	return cmocka_run_group_tests(tests, make_file, remove_file);
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
/* disc-spoa: the SPOE agent beside HAProxy. Options are read here, everything else is in the parts. */
#include <errno.h>
#include <ev.h>
#include <protobuf-c/protobuf-c.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <wolfssl/options.h>
#include <wolfssl/ssl.h>

#include "agent.h"
#include "explain.h"
#include "log.h"
#include "secret.h"
#include "spoa_config.h"
#include "tracking_watch.h"
#include "version.h"

#define DEFAULT_FILE "/etc/disc/disc-spoa.conf"
#define EXIT_USAGE 2

static void print_usage(FILE *out)
{
	(void)fprintf(out,
		      "usage: disc-spoa [-t] [-c FILE]\n"
		      "       disc-spoa [-c FILE] -e REQUEST [NAME=VALUE]...\n"
		      "       disc-spoa -V | -h\n"
		      "  -c FILE  configuration (default " DEFAULT_FILE ")\n"
		      "  -t       check the configuration, certificates and keys, and end\n"
		      "  -e REQUEST\n"
		      "           say what becomes of \"GET https://HOST/PATH\", and why, and end; NAME=VALUE may be\n"
		      "           client=ADDRESS, tls=1.2, proto=h2, or an argument of HAProxy's message\n"
		      "  -V       print the versions of the program and its libraries\n"
		      "  -h       print this help\n");
}

static void print_version(void)
{
	(void)printf("disc-spoa %s\nwolfSSL %s, libev %d.%d, libconfuse, protobuf-c %s\n", DISC_VERSION,
		     wolfSSL_lib_version(), ev_version_major(), ev_version_minor(), protobuf_c_version());
}

/* What a valid configuration meets on this host. */
static void note_tracking(void)
{
	struct connection_tracking tracking;
	char why[512];

	connection_tracking_open(&tracking);
	if (tracking_watch_check(&tracking, why, sizeof(why)) < 0)
		(void)fprintf(stderr, "disc-spoa: note: direct: %s\n", why);
	connection_tracking_close(&tracking);
}

/* Routes whose bodies may take the direct path. */
static size_t count_direct(const struct policy *policy)
{
	size_t count = 0;

	for (size_t i = 0; i < policy->count; i++)
		count += policy->routes[i].offload && policy->routes[i].path != POLICY_PATH_SPLICE;
	return count;
}

/* Nodes that only DNS knows. */
static void print_templates(const struct spoa_config *config)
{
	for (size_t i = 0; i < config->template_count; i++)
		(void)printf(", and up to %zu that DNS has for %s", config->templates[i].max_nodes,
			     config->templates[i].dns);
}

/* What the program understood of a valid configuration, in one line. */
static void print_summary(const struct spoa_config *config)
{
	const struct policy *policy = &config->policy;
	size_t offloading = 0, direct = count_direct(policy);

	for (size_t i = 0; i < policy->count; i++)
		offloading += policy->routes[i].offload;
	(void)printf("disc-spoa: %zu routes, %zu of them offload; %zu nodes in %zu pools", policy->count, offloading,
		     config->node_count, config->pool_count);
	print_templates(config);
	if (direct)
		(void)printf("; direct path: on %zu routes, up to %zu connections at a time\n", direct,
			     config->direct.max_flows);
	else
		(void)printf("; no direct path: %s\n", config->direct.enabled
							       ? "no route has path \"direct\" or \"auto\""
							       : "there is no section direct");
}

struct command_line {
	const char *file;
	bool check;
	const char *request;         /* NULL: none is to be explained */
	const char *const *settings; /* of it */
	size_t setting_count;
};

static int explain_request(const struct spoa_config *config, const struct command_line *line)
{
	const struct explain_state state = {.running = false};
	struct explain_question question;
	char error[EXPLAIN_ERROR_MAX], *text;

	if (explain_read(&question, line->request, line->settings, line->setting_count, error) < 0) {
		(void)fprintf(stderr, "disc-spoa: -e: %s\n", error);
		return -1;
	}
	text = explain(&config->policy, config->pools, &question, &state);
	if (!text) {
		(void)fprintf(stderr, "disc-spoa: -e: out of memory\n");
		return -1;
	}
	(void)fputs(text, stdout);
	free(text);
	return 0;
}

static void check_config(const struct spoa_config *config, const struct command_line *line)
{
	if (config->direct.enabled && !config->direct.ignore_tracking)
		note_tracking();
	(void)printf("disc-spoa: %s is valid\n", line->file);
	print_summary(config);
}

static int run(const struct command_line *line)
{
	struct spoa_config *config = spoa_config_new(line->file);
	int result = 0;

	if (!config)
		return EXIT_FAILURE;
	spoa_config_apply_log(config);
	if (!line->request && !line->check) {
		if (secret_harden_process() == 0)
			return agent_run(line->file, config) < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
		log_error("cannot forbid core dumps: %s", strerror(errno));
		result = -1;
	} else if (line->request) {
		result = explain_request(config, line);
	} else {
		check_config(config, line);
	}
	spoa_config_drop(config);
	return result < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}

int main(int argc, char **argv)
{
	struct command_line line = {.file = DEFAULT_FILE};
	int option;

	while ((option = getopt(argc, argv, "c:e:thV")) != -1) {
		switch (option) {
		case 'c':
			line.file = optarg;
			break;
		case 't':
			line.check = true;
			break;
		case 'e':
			line.request = optarg;
			break;
		case 'V':
			print_version();
			return EXIT_SUCCESS;
		case 'h':
			print_usage(stdout);
			return EXIT_SUCCESS;
		default:
			print_usage(stderr);
			return EXIT_USAGE;
		}
	}
	line.settings = (const char *const *)argv + optind;
	line.setting_count = (size_t)(argc - optind);
	if (line.setting_count && !line.request) {
		print_usage(stderr);
		return EXIT_USAGE;
	}
	return run(&line);
}

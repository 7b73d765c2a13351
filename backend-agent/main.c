/* SPDX-License-Identifier: GPL-2.0-or-later */
/* disc-backend: serves the files of a node, and seals them as TLS records of clients' sessions when an agent offers
 * one. */
#include <wolfssl/options.h>

#include <wolfssl/ssl.h>

#include <confuse.h>
#include <curl/curl.h>
#include <errno.h>
#include <ev.h>
#include <getopt.h>
#include <http_parser.h>
#include <microhttpd.h>
#include <protobuf-c/protobuf-c.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "aead_ipsec_mb.h"
#include "direct_settings.h"
#include "ip_address.h"
#include "node.h"
#include "node_config.h"
#include "secret.h"
#include "version.h"
#include "vip_check.h"

#define DEFAULT_CONFIG "/etc/disc/disc-backend.conf"
#define CLIENTS_MAX 16

static void print_version(void)
{
	unsigned long parser = http_parser_version();

	printf("disc-backend %s\n", DISC_VERSION);
	printf("libraries: wolfSSL %s, libev %d.%d, libconfuse %s, protobuf-c %s, http-parser %lu.%lu.%lu, "
	       "libmicrohttpd %s, libcurl %s, ipsec-mb %s\n",
	       wolfSSL_lib_version(), ev_version_major(), ev_version_minor(), confuse_version, protobuf_c_version(),
	       parser >> 16 & 255, parser >> 8 & 255, parser & 255, MHD_get_version(),
	       curl_version_info(CURLVERSION_NOW)->version,
	       aead_ipsec_mb_version()[0] != '\0' ? aead_ipsec_mb_version() : "none");
}

static void print_usage(FILE *to)
{
	fprintf(to, "usage: disc-backend [-c FILE] [-t]\n"
		    "       disc-backend [-c FILE] --check-vip [--client ADDRESS]...\n"
		    "       disc-backend -V | -h\n"
		    "  -c FILE  configuration (default: " DEFAULT_CONFIG ")\n"
		    "  -t       check the configuration, say what is wrong, and end\n"
		    "  --check-vip  check that this host is set up for the direct path, say what is missing, and end\n"
		    "  --client ADDRESS  with it: check the route to this client; otherwise the default route\n"
		    "  -V       print the version and those of the libraries\n"
		    "  -h       print this\n");
}

/* What the program understood of a valid configuration, in one line. */
static void print_summary(const struct node_config *config)
{
	char text[ADDRESS_TEXT_MAX];

	printf("disc-backend: ");
	if (!config->has_origin)
		printf("files below %s", config->root);
	else if (config->origin.unix_path)
		printf("origin unix:%s", config->origin.unix_path);
	else
		printf("origin %s", config->origin.base);
	for (size_t i = 0; i < config->fetch_listen_count; i++)
		printf("%s %s", i ? "," : "; fetch on", address_format(&config->fetch_listen[i], text));
	printf("; control on %s for", address_format(&config->control_listen, text));
	for (const char **agent = config->agents; *agent; agent++)
		printf("%s %s", agent == config->agents ? "" : ",", *agent);
	if (!config->has_direct)
		printf("; no direct path: there is no section direct");
	for (size_t i = 0; i < config->direct.vip_count; i++) {
		char vip[IP_ADDRESS_TEXT_MAX];

		printf("%s %s", i ? "," : "; direct path from", ip_address_format(&config->direct.vips[i], vip));
	}
	printf("\n");
}

static int check_config(const char *file)
{
	struct node_config config;

	if (node_config_load(&config, file) < 0)
		return EXIT_FAILURE;
	printf("disc-backend: %s is valid\n", file);
	print_summary(&config);
	node_config_release(&config);
	return EXIT_SUCCESS;
}

static void print_finding(void *context, enum vip_check_weight weight, const char *text)
{
	(void)context;
	printf("%s%s\n", weight == VIP_CHECK_NOTE ? "note: " : "", text);
}

static int check_vip(const char *file, const struct ip_address *clients, size_t client_count)
{
	struct vip_check check = {.clients = clients, .client_count = client_count, .found = print_finding};
	struct node_config config;
	int result = EXIT_FAILURE;

	if (node_config_load(&config, file) < 0)
		return EXIT_FAILURE;
	check.settings = &config.direct;
	if (!config.has_direct)
		fprintf(stderr, "disc-backend: %s has no section direct\n", file);
	else if (!vip_check_run(&check))
		result = EXIT_SUCCESS;
	node_config_release(&config);
	if (result == EXIT_SUCCESS)
		printf("disc-backend: this host is ready for the direct path\n");
	return result;
}

static int serve(const char *file)
{
	struct node_config *config;

	/* Before anything that could hold a key. */
	if (secret_harden_process() < 0) {
		fprintf(stderr, "disc-backend: core dumps cannot be forbidden: %s\n", strerror(errno));
		return EXIT_FAILURE;
	}
	config = node_config_new(file);
	if (!config)
		return EXIT_FAILURE;
	node_config_apply_log(config, "disc-backend");
	return node_run(file, config) < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}

enum task { TASK_SERVE, TASK_CHECK_CONFIG, TASK_CHECK_VIP };

struct command_line {
	enum task task;
	const char *file;
	struct ip_address clients[CLIENTS_MAX];
	size_t client_count;
};

enum long_option { OPTION_CHECK_VIP = 256, OPTION_CLIENT };

/* Returns 0, or -1 after a message. */
static int add_client(struct command_line *line, const char *text)
{
	if (line->client_count == CLIENTS_MAX) {
		fprintf(stderr, "disc-backend: --client: more than %d addresses\n", CLIENTS_MAX);
		return -1;
	}
	if (ip_address_parse(&line->clients[line->client_count], text, strlen(text)) < 0) {
		fprintf(stderr, "disc-backend: --client: \"%s\" is no numeric IPv4 or IPv6 address\n", text);
		return -1;
	}
	line->client_count++;
	return 0;
}

/* Returns true if there is a task to do; else <*status> is what the program ends with. */
static bool read_command_line(struct command_line *line, int argc, char **argv, int *status)
{
	static const struct option options[] = {{"check-vip", no_argument, NULL, OPTION_CHECK_VIP},
						{"client", required_argument, NULL, OPTION_CLIENT},
						{NULL, 0, NULL, 0}};
	int option;

	*status = EXIT_FAILURE;
	while ((option = getopt_long(argc, argv, "c:tVh", options, NULL)) != -1) {
		switch (option) {
		case 'c':
			line->file = optarg;
			break;
		case 't':
			line->task = TASK_CHECK_CONFIG;
			break;
		case OPTION_CHECK_VIP:
			line->task = TASK_CHECK_VIP;
			break;
		case OPTION_CLIENT:
			if (add_client(line, optarg) < 0)
				return false;
			break;
		case 'V':
			print_version();
			*status = EXIT_SUCCESS;
			return false;
		case 'h':
			print_usage(stdout);
			*status = EXIT_SUCCESS;
			return false;
		default:
			print_usage(stderr);
			return false;
		}
	}
	if (optind == argc)
		return true;
	fprintf(stderr, "disc-backend: \"%s\": no argument is expected here\n", argv[optind]);
	print_usage(stderr);
	return false;
}

int main(int argc, char **argv)
{
	struct command_line line = {.task = TASK_SERVE, .file = DEFAULT_CONFIG};
	int status;

	if (!read_command_line(&line, argc, argv, &status))
		return status;
	switch (line.task) {
	case TASK_CHECK_CONFIG:
		return check_config(line.file);
	case TASK_CHECK_VIP:
		return check_vip(line.file, line.clients, line.client_count);
	case TASK_SERVE:
		break;
	}
	return serve(line.file);
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
/* disc-backend: serves the files of a node, and seals them as TLS records of clients' sessions when an agent offers
 * one. */
#include <wolfssl/options.h>

#include <wolfssl/ssl.h>

#include <confuse.h>
#include <curl/curl.h>
#include <errno.h>
#include <ev.h>
#include <http_parser.h>
#include <microhttpd.h>
#include <protobuf-c/protobuf-c.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "backend.h"
#include "backend_config.h"
#include "secret.h"
#include "version.h"

#define DEFAULT_CONFIG "/etc/disc/disc-backend.conf"

static void print_version(void)
{
	unsigned long parser = http_parser_version();

	printf("disc-backend %s\n", DISC_VERSION);
	printf("libraries: wolfSSL %s, libev %d.%d, libconfuse %s, protobuf-c %s, http-parser %lu.%lu.%lu, "
	       "libmicrohttpd %s, libcurl %s\n",
	       wolfSSL_lib_version(), ev_version_major(), ev_version_minor(), confuse_version, protobuf_c_version(),
	       parser >> 16 & 255, parser >> 8 & 255, parser & 255, MHD_get_version(),
	       curl_version_info(CURLVERSION_NOW)->version);
}

static void print_usage(FILE *to)
{
	fprintf(to, "usage: disc-backend [-c FILE] [-t]\n"
		    "       disc-backend -V | -h\n"
		    "  -c FILE  configuration (default: " DEFAULT_CONFIG ")\n"
		    "  -t       check the configuration, say what is wrong, and end\n"
		    "  -V       print the version and those of the libraries\n"
		    "  -h       print this\n");
}

static int check_config(const char *file)
{
	struct backend_config config;

	if (backend_config_load(&config, file) < 0)
		return EXIT_FAILURE;
	backend_config_release(&config);
	printf("disc-backend: %s is valid\n", file);
	return EXIT_SUCCESS;
}

static int serve(const char *file)
{
	struct backend_config config;
	int result = -1;

	/* Before anything that could hold a key. */
	if (secret_harden_process() < 0) {
		fprintf(stderr, "disc-backend: core dumps cannot be forbidden: %s\n", strerror(errno));
		return EXIT_FAILURE;
	}
	if (backend_config_load(&config, file) < 0)
		return EXIT_FAILURE;
	if (backend_config_apply_log(&config, "disc-backend") == 0)
		result = backend_run(&config);
	backend_config_release(&config);
	return result < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}

int main(int argc, char **argv)
{
	const char *file = DEFAULT_CONFIG;
	int check = 0, option;

	while ((option = getopt(argc, argv, "c:tVh")) != -1) {
		switch (option) {
		case 'c':
			file = optarg;
			break;
		case 't':
			check = 1;
			break;
		case 'V':
			print_version();
			return EXIT_SUCCESS;
		case 'h':
			print_usage(stdout);
			return EXIT_SUCCESS;
		default:
			print_usage(stderr);
			return EXIT_FAILURE;
		}
	}
	if (optind < argc) {
		fprintf(stderr, "disc-backend: \"%s\": no argument is expected here\n", argv[optind]);
		print_usage(stderr);
		return EXIT_FAILURE;
	}
	return check ? check_config(file) : serve(file);
}

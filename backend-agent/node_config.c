/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "node_config.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "aead_choice.h"
#include "config.h"
#include "direct_settings.h"
#include "log.h"

/* How much longer than it may wait a ticket is remembered after its use, and how many of them: enough for each waiting
 * place to be used again in every such time. */
#define REMEMBER_FACTOR 10

static cfg_opt_t fetch_options[] = {
	CFG_STR_LIST("listen", "{\"*:8080\"}", CFGF_NONE),
	CFG_FLOAT("keep-alive-timeout", 60.0, CFGF_NONE),
	CFG_FLOAT("header-timeout", 5.0, CFGF_NONE),
	CFG_FLOAT("send-timeout", 600.0, CFGF_NONE),
	CFG_INT("max-connections", 10000, CFGF_NONE),
	CFG_INT("max-header-size", 131072, CFGF_NONE),
	CFG_INT("send-buffer", 0, CFGF_NONE),
	CFG_END(),
};

static cfg_opt_t control_options[] = {
	CFG_STR("listen", "*:7443", CFGF_NONE),
	CFG_STR_LIST("agents", "{}", CFGF_NONE),
	CFG_END(),
};

static cfg_opt_t admin_options[] = {
	CFG_STR("listen", "", CFGF_NONE),
	CFG_END(),
};

static cfg_opt_t tls_options[] = {
	CFG_STR("ca", "", CFGF_NONE),
	CFG_STR("certificate", "", CFGF_NONE),
	CFG_STR("key", "", CFGF_NONE),
	CFG_END(),
};

static cfg_opt_t files_options[] = {
	CFG_STR("root", "", CFGF_NONE),
	CFG_STR_LIST("index", "{\"index.html\"}", CFGF_NONE),
	CFG_STR("mime-types", "", CFGF_NONE),
	CFG_STR("etag", "time", CFGF_NONE),
	CFG_INT("digest-rate", 104857600, CFGF_NONE),
	CFG_END(),
};

static cfg_opt_t origin_options[] = {
	CFG_STR("url", "", CFGF_NONE),
	CFG_STR("unix", "", CFGF_NONE),
	CFG_FLOAT("connect-timeout", 2.0, CFGF_NONE),
	CFG_FLOAT("timeout", 30.0, CFGF_NONE),
	CFG_INT("max-connections", 256, CFGF_NONE),
	CFG_END(),
};

static cfg_opt_t offload_options[] = {
	CFG_INT("min-size", 0, CFGF_NODEFAULT), /* refused */
	CFG_FLOAT("ticket-wait", 1.0, CFGF_NONE),
	CFG_INT("max-waiting", 10000, CFGF_NONE),
	CFG_END(),
};

static cfg_opt_t seal_options[] = {
	CFG_STR("library", "auto", CFGF_NONE),
	CFG_END(),
};

static int need_seconds(cfg_t *section, const char *field, double min, double max, double *value)
{
	double seconds = cfg_getfloat(section, field);

	if (!(seconds >= min && seconds <= max))
		return config_fault(section, field, "%g is not between %g and %g seconds", seconds, min, max);
	*value = seconds;
	return 0;
}

/* Copies a list of texts, which stay the tree's, to a NULL-terminated array. */
static int need_texts(cfg_t *section, const char *field, const char ***texts)
{
	unsigned count = cfg_size(section, field);

	*texts = calloc((size_t)count + 1, sizeof(**texts));
	if (!*texts)
		return config_fault(section, field, "out of memory");
	for (unsigned i = 0; i < count; i++) {
		(*texts)[i] = cfg_getnstr(section, field, i);
		if ((*texts)[i][0] == '\0')
			return config_fault(section, field, "a name is empty");
	}
	return 0;
}

/* --- sections: each returns how many faults it has --- */

static int check_listen(struct node_config *config, cfg_t *fetch)
{
	unsigned count = cfg_size(fetch, "listen");
	int faults = 0;

	if (!count) {
		config_fault(fetch, "listen", "must be set");
		return 1;
	}
	config->fetch_listen = calloc(count, sizeof(*config->fetch_listen));
	if (!config->fetch_listen) {
		config_fault(fetch, "listen", "out of memory");
		return 1;
	}
	config->fetch_listen_count = count;
	for (unsigned i = 0; i < count; i++) {
		const char *text = cfg_getnstr(fetch, "listen", i), *why;

		if (address_parse(&config->fetch_listen[i], text, &why) < 0) {
			config_fault(fetch, "listen", "\"%s\": %s", text, why);
			faults++;
		}
	}
	return faults;
}

static int check_fetch(struct node_config *config, cfg_t *fetch)
{
	struct fetch_limits *limits = &config->limits;
	long connections = 1, header = 0, buffer = 0;
	int faults = check_listen(config, fetch);

	faults -= need_seconds(fetch, "keep-alive-timeout", 0.1, 86400, &limits->keep_alive_timeout);
	faults -= need_seconds(fetch, "header-timeout", 0.1, 3600, &limits->header_timeout);
	faults -= need_seconds(fetch, "send-timeout", 0.1, 86400, &limits->send_timeout);
	faults -= config_need_range(fetch, "max-connections", 1, 1000000, &connections);
	faults -= config_need_range(fetch, "max-header-size", 1024, 1048576, &header);
	faults -= config_need_range(fetch, "send-buffer", 0, 1 << 30, &buffer);
	config->max_connections = (size_t)connections;
	limits->max_header_size = (size_t)header;
	limits->send_buffer = (int)buffer;
	return faults;
}

static int check_control(struct node_config *config, cfg_t *control)
{
	int faults = -config_need_address(control, "listen", &config->control_listen);

	if (!cfg_size(control, "agents"))
		faults -= config_fault(control, "agents", "must name at least one agent");
	else
		faults -= need_texts(control, "agents", &config->agents);
	return faults;
}

static int check_tls(struct node_config *config, cfg_t *tls)
{
	const char *ca = NULL, *certificate = NULL, *key = NULL, *field = "certificate";
	char error[512];
	int faults = 0;

	faults -= config_need_file(tls, "ca", &ca);
	faults -= config_need_file(tls, "certificate", &certificate);
	faults -= config_need_file(tls, "key", &key);
	if (faults > 0)
		return faults;
	config->tls = channel_tls_new(ca, certificate, key, error, sizeof(error));
	if (config->tls)
		return 0;
	if (strstr(error, key))
		field = "key";
	else if (strstr(error, ca))
		field = "ca";
	config_fault(tls, field, "%s", error);
	return 1;
}

static int check_root(struct node_config *config, cfg_t *files)
{
	const char *root = NULL;
	struct stat st;

	if (config_need_string(files, "root", &root) < 0)
		return 1;
	if (stat(root, &st) == 0 && !S_ISDIR(st.st_mode)) {
		config_fault(files, "root", "%s: is not a directory", root);
		return 1;
	}
	config->root = root;
	config->files = file_source_new(root);
	if (!config->files) {
		config_fault(files, "root", "%s: %s", root,
			     errno == ENOSYS
				     ? "openat2(2) is missing: it needs Linux 5.6, and a unit without RestrictSUIDSGID="
				     : strerror(errno));
		return 1;
	}
	return 0;
}

static int check_etag(struct node_config *config, cfg_t *files)
{
	const char *etag = cfg_getstr(files, "etag");
	long rate = 0;
	int faults = -config_need_range(files, "digest-rate", 65536, 1L << 40, &rate);

	config->digest_rate = (uint64_t)rate;
	config->digests = strcmp(etag, "digest") == 0;
	if (!config->digests && strcmp(etag, "time") != 0)
		faults -= config_fault(files, "etag", "\"%s\" is neither time nor digest", etag);
	return faults;
}

static int check_files(struct node_config *config, cfg_t *files)
{
	const char *mime_types = cfg_getstr(files, "mime-types");
	int faults = check_root(config, files) + check_etag(config, files);

	faults -= need_texts(files, "index", &config->index);
	for (const char **name = config->index; name && *name; name++)
		if (strchr(*name, '/'))
			faults -= config_fault(files, "index", "\"%s\" is not a file's name: it has a '/'", *name);
	if (mime_types[0] == '\0')
		mime_types = NULL;
	else if (config_need_file(files, "mime-types", &mime_types) < 0)
		return faults + 1;
	config->types = content_types_new(mime_types);
	if (!config->types)
		faults -= config_fault(files, "mime-types", "%s: %s", mime_types ? mime_types : "", strerror(errno));
	return faults;
}

/* Reads "http://HOST[:PORT][/]" to a base with a numeric address. */
static int check_url(struct node_config *config, cfg_t *origin, const char *url)
{
	static const char scheme[] = "http://";
	char host[ADDRESS_TEXT_MAX], text[ADDRESS_TEXT_MAX];
	struct address address;
	const char *why, *authority;
	size_t len;

	if (strncmp(url, scheme, sizeof(scheme) - 1) != 0)
		return config_fault(origin, "url", "\"%s\" is not written http://HOST[:PORT]", url);
	authority = url + sizeof(scheme) - 1;
	len = strcspn(authority, "/?#@*");
	if (!len || (authority[len] != '\0' && strcmp(authority + len, "/") != 0) || len + sizeof(":80") > sizeof(host))
		return config_fault(origin, "url", "\"%s\" is not written http://HOST[:PORT]", url);
	memcpy(host, authority, len);
	host[len] = '\0';
	/* A port follows the last colon that no bracket follows. */
	if (!strrchr(host, ':') || strchr(strrchr(host, ':'), ']'))
		strcat(host, ":80");
	if (address_parse(&address, host, &why) < 0)
		return config_fault(origin, "url", "\"%s\": %s", host, why);
	if (address.storage.ss_family == AF_UNIX)
		return config_fault(origin, "url", "a UNIX socket is named by unix");
	if (asprintf(&config->origin_base, "%s%s/", scheme, address_format(&address, text)) < 0) {
		config->origin_base = NULL;
		return config_fault(origin, "url", "out of memory");
	}
	config->origin.base = config->origin_base;
	return 0;
}

static int check_origin(struct node_config *config, cfg_t *origin)
{
	const char *url = cfg_getstr(origin, "url"), *path = cfg_getstr(origin, "unix");
	struct http_source_settings *settings = &config->origin;
	long connections = 1;
	int faults = 0;

	config->has_origin = true;
	settings->base = "http://localhost/"; /* over a UNIX socket nothing of it matters */
	if (path[0] != '\0') {
		settings->unix_path = path;
		if (path[0] != '/' || strlen(path) >= sizeof(((struct sockaddr_un *)NULL)->sun_path))
			faults -=
				config_fault(origin, "unix", "\"%s\" is no absolute path that a socket may have", path);
	} else {
		faults -= check_url(config, origin, url);
	}
	faults -= need_seconds(origin, "connect-timeout", 0.01, 3600, &settings->connect_timeout);
	faults -= need_seconds(origin, "timeout", 0.01, 3600, &settings->timeout);
	faults -= config_need_range(origin, "max-connections", 1, 100000, &connections);
	config->origin_max_connections = connections;
	return faults;
}

/* Files, or an origin. */
static int check_content(struct node_config *config, cfg_t *tree)
{
	cfg_t *files = cfg_getsec(tree, "files"), *origin = cfg_getsec(tree, "origin");

	if (cfg_getstr(origin, "url")[0] == '\0' && cfg_getstr(origin, "unix")[0] == '\0')
		return check_files(config, files);
	if (cfg_getstr(files, "root")[0] == '\0')
		return check_origin(config, origin);
	config_fault(files, "root", "either files or an origin can be served: origin is set too");
	return 1;
}

static int check_offload(struct node_config *config, cfg_t *offload)
{
	long max_waiting = 1;
	double wait = 1.0;
	int faults = 0;

	if (cfg_size(offload, "min-size"))
		faults -= config_fault(offload, "min-size", "is the agent's now: splice-min in disc-spoa.conf");
	faults -= need_seconds(offload, "ticket-wait", 0.01, 1.0, &wait);
	faults -= config_need_range(offload, "max-waiting", 1, 1000000, &max_waiting);
	config->limits.ticket_wait = wait;
	config->tickets = (struct ticket_limits){
		.wait_s = wait,
		.remember_s = REMEMBER_FACTOR * wait,
		.max_waiting = (size_t)max_waiting,
		.max_used = REMEMBER_FACTOR * (size_t)max_waiting,
	};
	return faults;
}

static int check_seal(struct node_config *config, cfg_t *seal)
{
	const char *library = cfg_getstr(seal, "library"), *why = NULL;

	if (!aead_setting_parse(&config->seal, library))
		return -config_fault(seal, "library", "\"%s\" is none of auto, wolfcrypt, ipsec-mb", library);
	if (config->seal == AEAD_SETTING_IPSEC_MB)
		why = aead_ipsec_mb_open();
	return why ? -config_fault(seal, "library", "\"ipsec-mb\" cannot be used: %s", why) : 0;
}

static int check_all(struct node_config *config, cfg_t *tree)
{
	cfg_t *admin = cfg_getsec(tree, "admin");
	long workers = 1;
	int faults = 0;

	faults -= config_need_range(tree, "workers", 1, NODE_WORKERS_MAX, &workers);
	config->workers = (unsigned)workers;
	faults -= need_seconds(tree, "grace", 0, 86400, &config->grace);
	faults += check_fetch(config, cfg_getsec(tree, "fetch"));
	faults += check_control(config, cfg_getsec(tree, "control"));
	config->has_admin = cfg_getstr(admin, "listen")[0] != '\0';
	if (config->has_admin)
		faults -= config_need_address(admin, "listen", &config->admin_listen);
	faults += check_tls(config, cfg_getsec(tree, "tls"));
	faults -= config_check_log(tree);
	faults += check_content(config, tree);
	faults += check_offload(config, cfg_getsec(tree, "offload"));
	faults += check_seal(config, cfg_getsec(tree, "seal"));
	config->has_direct = cfg_size(tree, "direct") > 0;
	if (config->has_direct)
		faults += direct_settings_check(&config->direct, cfg_getsec(tree, "direct"));
	return faults;
}

int node_config_load(struct node_config *config, const char *file)
{
	cfg_opt_t options[] = {
		CFG_INT("workers", 1, CFGF_NONE),
		CFG_FLOAT("grace", 30.0, CFGF_NONE),
		CFG_SEC("fetch", fetch_options, CFGF_NONE),
		CFG_SEC("control", control_options, CFGF_NONE),
		CFG_SEC("admin", admin_options, CFGF_NONE),
		CFG_SEC("tls", tls_options, CFGF_NONE),
		CFG_SEC("log", config_log_options, CFGF_NONE),
		CFG_SEC("files", files_options, CFGF_NONE),
		CFG_SEC("origin", origin_options, CFGF_NONE),
		CFG_SEC("offload", offload_options, CFGF_NONE),
		CFG_SEC("seal", seal_options, CFGF_NONE),
		CFG_SEC("direct", direct_settings_options, CFGF_NODEFAULT),
		CFG_END(),
	};

	memset(config, 0, sizeof(*config));
	config->tree = config_load(file, options);
	if (!config->tree)
		return -1;
	if (check_all(config, config->tree) > 0) {
		node_config_release(config);
		return -1;
	}
	node_config_share(config, config->workers);
	return 0;
}

void node_config_share(struct node_config *config, unsigned workers)
{
	config->limits.max_connections = (config->max_connections + workers - 1) / workers;
	config->origin.max_connections = (config->origin_max_connections + (long)workers - 1) / (long)workers;
}

struct node_config *node_config_new(const char *file)
{
	struct node_config *config = malloc(sizeof(*config));

	if (config && node_config_load(config, file) == 0)
		return config;
	free(config);
	return NULL;
}

void node_config_hold(struct node_config *config)
{
	atomic_fetch_add(&config->others, 1);
}

static void hold_owner(void *owner)
{
	node_config_hold(owner);
}

static void drop_owner(void *owner)
{
	node_config_drop(owner);
}

void node_config_make_content(struct node_config *config)
{
	config->content = (struct fetch_content){
		.origin = config->has_origin ? &config->origin : NULL,
		.files = config->files,
		.types = config->types,
		.index = config->index,
		.hold = hold_owner,
		.drop = drop_owner,
		.owner = config,
	};
}

void node_config_drop(struct node_config *config)
{
	if (atomic_fetch_sub(&config->others, 1) > 0)
		return;
	node_config_release(config);
	free(config);
}

void node_config_apply_log(const struct node_config *config, const char *program)
{
	config_apply_log(config->tree, program);
}

void node_config_release(struct node_config *config)
{
	content_types_free(config->types);
	file_source_free(config->files);
	if (config->tls)
		channel_tls_free(config->tls);
	direct_settings_release(&config->direct);
	free(config->origin_base);
	free(config->index);
	free(config->agents);
	free(config->fetch_listen);
	if (config->tree)
		config_free(config->tree);
	memset(config, 0, sizeof(*config));
}

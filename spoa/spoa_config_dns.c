/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "spoa_config_dns.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

#define TTL_MAX_S 86400.
#define TIMEOUT_MIN_S 0.05
#define TIMEOUT_MAX_S 30.
#define DNS_NAME_LEN_MAX 253u
#define LABEL_LEN_MAX 63u

cfg_opt_t dns_options[] = {
	CFG_STR_LIST("servers", "{}", CFGF_NONE),
	CFG_FLOAT("timeout", 1.0, CFGF_NONE),
	CFG_FLOAT("ttl-min", 1.0, CFGF_NONE),
	CFG_FLOAT("ttl-max", 30.0, CFGF_NONE),
	CFG_FLOAT("hold-gone", 0.0, CFGF_NONE),
	CFG_FLOAT("hold-empty", 30.0, CFGF_NONE),
	CFG_END(),
};

cfg_opt_t template_options[] = {
	CFG_STR("dns", "", CFGF_NONE),
	CFG_STR("records", "address", CFGF_NONE),
	CFG_STR("prefer", "ipv4", CFGF_NONE),
	CFG_STR("name", "", CFGF_NONE),
	CFG_INT("control-port", 0, CFGF_NONE),
	CFG_INT("fetch-port", 0, CFGF_NONE),
	CFG_BOOL("direct", cfg_false, CFGF_NONE),
	CFG_INT("max-nodes", 16, CFGF_NONE),
	CFG_INT("weight", 100, CFGF_NONE),
	CFG_INT("max-offloads", 0, CFGF_NONE),
	CFG_END(),
};

static int read_seconds(cfg_t *section, const char *field, double min, double max, double *value)
{
	*value = cfg_getfloat(section, field);
	if (*value >= min && *value <= max)
		return 0;
	return config_fault(section, field, "%g is not between %g and %g seconds", *value, min, max);
}

/* An IP address, with or without a port: a resolver is not itself found by a name. */
static int parse_server(struct address *address, const char *text)
{
	char numeric[INET6_ADDRSTRLEN], bracketed[INET6_ADDRSTRLEN + 8];
	uint8_t bytes[16];
	const char *colon = strrchr(text, ':'), *why;
	size_t len = colon ? (size_t)(colon - text) : 0;
	bool brackets = len > 2 && text[0] == '[' && text[len - 1] == ']';

	if (inet_pton(AF_INET, text, bytes) == 1 || inet_pton(AF_INET6, text, bytes) == 1) {
		(void)snprintf(bracketed, sizeof(bracketed), strchr(text, ':') ? "[%s]:53" : "%s:53", text);
		return address_parse(address, bracketed, &why);
	}
	if (!colon || len - 2 * brackets >= sizeof(numeric))
		return -1;
	memcpy(numeric, text + brackets, len - 2 * brackets);
	numeric[len - 2 * brackets] = '\0';
	if (inet_pton(brackets ? AF_INET6 : AF_INET, numeric, bytes) != 1)
		return -1;
	return address_parse(address, text, &why);
}

static int read_servers(struct spoa_config_dns *settings, cfg_t *section)
{
	size_t used = 0;
	int result = 0;

	for (unsigned i = 0; i < cfg_size(section, "servers"); i++) {
		const char *text = cfg_getnstr(section, "servers", i);
		char formatted[ADDRESS_TEXT_MAX];
		struct address address;
		int len;

		if (parse_server(&address, text) < 0) {
			result = config_fault(section, "servers", "\"%s\" is no address, or [ADDRESS]:PORT", text);
			continue;
		}
		len = snprintf(settings->servers + used, sizeof(settings->servers) - used, "%s%s", used ? "," : "",
			       address_format(&address, formatted));
		if (len < 0 || (size_t)len >= sizeof(settings->servers) - used)
			return config_fault(section, "servers", "these are too many");
		used += (size_t)len;
	}
	return result;
}

int spoa_config_dns_read(struct spoa_config_dns *settings, cfg_t *root)
{
	cfg_t *section = cfg_getsec(root, "dns");
	int result = read_servers(settings, section);

	result |= read_seconds(section, "timeout", TIMEOUT_MIN_S, TIMEOUT_MAX_S, &settings->timeout);
	result |= read_seconds(section, "ttl-min", 0.1, TTL_MAX_S, &settings->ttl_min);
	result |= read_seconds(section, "ttl-max", 0.1, TTL_MAX_S, &settings->ttl_max);
	result |= read_seconds(section, "hold-gone", 0., TTL_MAX_S, &settings->hold_gone);
	result |= read_seconds(section, "hold-empty", 0., TTL_MAX_S, &settings->hold_empty);
	if (result == 0 && settings->ttl_max < settings->ttl_min)
		result = config_fault(section, "ttl-max", "is below ttl-min");
	return result;
}

/* Labels of what names of hosts and services have. */
static const char *name_fault(const char *name)
{
	size_t len = strlen(name), label = 0;

	if (!len)
		return "must not be empty";
	if (len > DNS_NAME_LEN_MAX)
		return "is longer than 253 bytes";
	for (; *name != '\0'; name++) {
		if (*name == '.' && (!label || name[1] == '\0'))
			return "has an empty label; it is absolute without a dot at its end";
		label = *name == '.' ? 0 : label + 1;
		if (label > LABEL_LEN_MAX)
			return "has a label of more than 63 bytes";
		if (!isalnum((unsigned char)*name) && !strchr("-_.", *name))
			return "is not a DNS name";
	}
	return NULL;
}

/* Returns 0, with <*yes> if the option is <word> and not <other>, or -1. */
static int read_choice(cfg_t *section, const char *field, const char *other, const char *word, bool *yes)
{
	const char *text = cfg_getstr(section, field);

	*yes = strcmp(text, word) == 0;
	if (*yes || strcmp(text, other) == 0)
		return 0;
	return config_fault(section, field, "\"%s\" is neither %s nor %s", text, other, word);
}

static int read_ports(struct node_template *template, cfg_t *section)
{
	long control = 0, fetch = 0;
	int result = config_need_range(section, "control-port", 1, UINT16_MAX, &control);

	if (!template->service)
		result |= config_need_range(section, "fetch-port", 1, UINT16_MAX, &fetch);
	else if (cfg_getint(section, "fetch-port"))
		result = config_fault(section, "fetch-port", "is the port of the service records");
	template->control_port = (uint16_t)control;
	template->fetch_port = (uint16_t)fetch;
	return result;
}

int spoa_config_template_read(struct node_template *template, cfg_t *section)
{
	long max_nodes = 0, weight = 0, max_offloads = 0;
	const char *fault;
	int result;

	template->dns = cfg_getstr(section, "dns");
	fault = name_fault(template->dns);
	result = fault ? config_fault(section, "dns", "\"%s\" %s", template->dns, fault) : 0;
	result |= read_choice(section, "records", "address", "service", &template->service);
	result |= read_choice(section, "prefer", "ipv4", "ipv6", &template->prefer_ipv6);
	result |= config_need_string(section, "name", &template->certificate_name);
	result |= read_ports(template, section);
	result |= config_need_range(section, "max-nodes", 1, NODE_MAX, &max_nodes);
	result |= config_need_range(section, "weight", 0, HASH_RING_WEIGHT_MAX, &weight);
	result |= config_need_range(section, "max-offloads", 0, INT32_MAX, &max_offloads);
	template->direct = cfg_getbool(section, "direct");
	template->max_nodes = (size_t)max_nodes;
	template->weight = (unsigned)weight;
	template->max_offloads = max_offloads;
	return result;
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "spoa_config_direct.h"

#include <arpa/inet.h>
#include <grp.h>
#include <net/if.h>
#include <netinet/in.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DEFAULT_MAX_FLOWS 262144
#define MAX_FLOWS_MAX 16777216
#define GRACE_MAX_S 3600.
#define RETRY_AFTER_MAX_S 86400.
#define HANDOFF_TIMEOUT_MIN_S 0.05
#define HANDOFF_TIMEOUT_MAX_S 60.

cfg_opt_t direct_options[] = {
	CFG_STR("socket", "/run/disc/handoff.sock", CFGF_NONE),
	CFG_STR("mode", "0660", CFGF_NONE),
	CFG_STR("user", "", CFGF_NONE),
	CFG_STR("group", "", CFGF_NONE),
	CFG_STR_LIST("interface", "{}", CFGF_NONE),
	CFG_INT("min-size", 0, CFGF_NODEFAULT), /* refused */
	CFG_INT("max-flows", DEFAULT_MAX_FLOWS, CFGF_NONE),
	CFG_INT("max-failures", 3, CFGF_NONE),
	CFG_FLOAT("retry-after", 30.0, CFGF_NONE),
	CFG_FLOAT("handoff-timeout", 2.0, CFGF_NONE),
	CFG_FLOAT("grace", 30.0, CFGF_NONE),
	CFG_STR("connection-tracking", "exempt", CFGF_NONE),
	CFG_END(),
};

int spoa_config_direct_read_owner(struct listener_owner *owner, cfg_t *section)
{
	const char *mode = cfg_getstr(section, "mode"), *user = cfg_getstr(section, "user");
	const char *group = cfg_getstr(section, "group");
	int result = 0;
	char *end;

	owner->mode = (unsigned)strtoul(mode, &end, 8);
	if (*mode < '0' || *mode > '7' || *end || owner->mode > 0777)
		result = config_fault(section, "mode", "\"%s\" is not an octal mode between 0 and 0777", mode);
	owner->user = (uid_t)-1;
	owner->group = (gid_t)-1;
	if (*user) {
		const struct passwd *entry = getpwnam(user);
		if (entry)
			owner->user = entry->pw_uid;
		else
			result = config_fault(section, "user", "there is no user \"%s\"", user);
	}
	if (*group) {
		const struct group *entry = getgrnam(group);
		if (entry)
			owner->group = entry->gr_gid;
		else
			result = config_fault(section, "group", "there is no group \"%s\"", group);
	}
	return result;
}

static int read_socket(struct spoa_config_direct *settings, cfg_t *section)
{
	const char *path = cfg_getstr(section, "socket"), *why = "not an absolute path";
	char text[ADDRESS_TEXT_MAX];
	int len = snprintf(text, sizeof(text), "unix:%s", path);

	if (*path != '/' || len < 0 || (size_t)len >= sizeof(text) || address_parse(&settings->socket, text, &why) < 0)
		return config_fault(section, "socket", "\"%s\": %s", path, why);
	return 0;
}

static int read_interfaces(struct spoa_config_direct *settings, cfg_t *section)
{
	unsigned count = cfg_size(section, "interface");
	int result = 0;

	settings->interfaces = calloc(count + 1, sizeof(*settings->interfaces));
	if (!settings->interfaces)
		return config_fault(section, "interface", "out of memory");
	if (!count)
		return config_fault(section, "interface", "must name at least one interface that clients come in by");
	for (unsigned i = 0; i < count; i++) {
		const char *name = cfg_getnstr(section, "interface", i);

		settings->interfaces[i] = name;
		if (*name == '\0' || strlen(name) >= IF_NAMESIZE || strpbrk(name, "/ \t"))
			result = config_fault(section, "interface", "\"%s\" is not the name of an interface", name);
	}
	return result;
}

static int read_seconds(cfg_t *section, const char *field, double min, double max, double *value)
{
	*value = cfg_getfloat(section, field);
	if (*value >= min && *value <= max)
		return 0;
	return config_fault(section, field, "%g is not between %g and %g seconds", *value, min, max);
}

static int read_numbers(struct spoa_config_direct *settings, cfg_t *section)
{
	long max_flows = 0, max_failures = 0;
	int result = 0;

	if (cfg_size(section, "min-size"))
		result = config_fault(section, "min-size", "is direct-min now, of a route or outside of all sections");
	result |= config_need_range(section, "max-flows", 1, MAX_FLOWS_MAX, &max_flows);
	result |= config_need_range(section, "max-failures", 1, 1000, &max_failures);
	result |= read_seconds(section, "retry-after", 0., RETRY_AFTER_MAX_S, &settings->breaker.retry_after);
	result |= read_seconds(section, "handoff-timeout", HANDOFF_TIMEOUT_MIN_S, HANDOFF_TIMEOUT_MAX_S,
			       &settings->handoff_timeout);
	result |= read_seconds(section, "grace", 5., GRACE_MAX_S, &settings->grace);
	settings->max_flows = (size_t)max_flows;
	settings->breaker.max_failures = (unsigned)max_failures;
	return result;
}

static int read_tracking(struct spoa_config_direct *settings, cfg_t *section)
{
	const char *text = cfg_getstr(section, "connection-tracking");

	settings->ignore_tracking = strcmp(text, "ignore") == 0;
	if (settings->ignore_tracking || strcmp(text, "exempt") == 0)
		return 0;
	return config_fault(section, "connection-tracking", "\"%s\" is neither exempt nor ignore", text);
}

int spoa_config_direct_read(struct spoa_config_direct *settings, cfg_t *root)
{
	cfg_t *section = cfg_size(root, "direct") ? cfg_getsec(root, "direct") : NULL;
	int result;

	if (!section)
		return 0;
	settings->enabled = true;
	result = read_socket(settings, section);
	result |= spoa_config_direct_read_owner(&settings->owner, section);
	result |= read_interfaces(settings, section);
	result |= read_numbers(settings, section);
	result |= read_tracking(settings, section);
	if (cfg_getint(root, "workers") != 1)
		result = config_fault(
			root, "workers",
			"must be 1 with a direct section: one loop has all connections that are handed off");
	return result;
}

void spoa_config_direct_release(struct spoa_config_direct *settings)
{
	free(settings->interfaces);
	settings->interfaces = NULL;
}

/* An address without a port. */
static int parse_host(struct address *address, const char *text)
{
	struct sockaddr_in *v4 = (struct sockaddr_in *)&address->storage;
	struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)&address->storage;

	memset(address, 0, sizeof(*address));
	if (inet_pton(AF_INET, text, &v4->sin_addr) == 1) {
		v4->sin_family = AF_INET;
		address->len = sizeof(*v4);
		return 0;
	}
	if (inet_pton(AF_INET6, text, &v6->sin6_addr) != 1)
		return -1;
	v6->sin6_family = AF_INET6;
	address->len = sizeof(*v6);
	return 0;
}

static int read_node_addresses(struct node *node, cfg_t *section)
{
	int result = 0;

	for (unsigned i = 0; i < cfg_size(section, "direct"); i++) {
		const char *text = cfg_getnstr(section, "direct", i);
		struct address address, *place;

		if (parse_host(&address, text) < 0) {
			result = config_fault(section, "direct", "\"%s\" is no address without a port", text);
			continue;
		}
		place = &node->direct[address.storage.ss_family == AF_INET6];
		if (place->len)
			result = config_fault(section, "direct", "\"%s\" is the second address of its family", text);
		*place = address;
	}
	return result;
}

int spoa_config_direct_read_node(struct node *node, cfg_t *section)
{
	int result = read_node_addresses(node, section);

	if (*cfg_getstr(section, "fetch") == '\0')
		return result;
	if (config_need_address(section, "fetch", &node->fetch) < 0)
		return -1;
	if (node->fetch.storage.ss_family == AF_UNIX)
		return config_fault(section, "fetch", "must be an address and a port");
	return result;
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "spoa_config_routes.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "node_template.h"

#define BYTES_MAX (1L << 40)

static cfg_opt_t argument_options[] = {
	CFG_STR_LIST("is", "{}", CFGF_NONE),
	CFG_STR_LIST("begins", "{}", CFGF_NONE),
	CFG_STR_LIST("ends", "{}", CFGF_NONE),
	CFG_STR_LIST("contains", "{}", CFGF_NONE),
	CFG_BOOL("absent", cfg_false, CFGF_NONE),
	CFG_BOOL("any-case", cfg_false, CFGF_NONE),
	CFG_END(),
};

cfg_opt_t spoa_route_options[] = {
	CFG_STR_LIST("host", "{}", CFGF_NONE),
	CFG_STR_LIST("path-prefix", "{}", CFGF_NONE),
	CFG_STR_LIST("path-suffix", "{}", CFGF_NONE),
	CFG_STR_LIST("method", "{GET}", CFGF_NONE),
	CFG_STR_LIST("client", "{}", CFGF_NONE),
	CFG_STR("action", "", CFGF_NONE),
	CFG_STR("path", "splice", CFGF_NONE),
	CFG_STR("pool", "", CFGF_NONE),
	CFG_STR_LIST("sni", "{}", CFGF_NONE),
	CFG_SEC("argument", argument_options, CFGF_MULTI | CFGF_TITLE),
	CFG_STR("percent-of", "clients", CFGF_NONE),
	CFG_INT("percent", 100, CFGF_NONE),
	/* Sizes that are not set are those of all routes. */
	CFG_INT("splice-min", 0, CFGF_NODEFAULT),
	CFG_INT("direct-min", 0, CFGF_NODEFAULT),
	CFG_INT("h2-min", 0, CFGF_NODEFAULT),
	CFG_END(),
};

static const char *host_fault(const char *host)
{
	const char *name = strncmp(host, "*.", 2) == 0 ? host + 2 : host;

	if (!*name)
		return "a host name is missing";
	if (strchr(name, '*'))
		return "\"*\" is only possible as a leading \"*.\"";
	if (*name == '[')
		return name[strlen(name) - 1] == ']' ? NULL : "a host name has no port here";
	if (strchr(name, ':'))
		return "a host name has no port here";
	return strpbrk(name, "/ \t") ? "not a host name" : NULL;
}

static const char *prefix_fault(const char *prefix)
{
	if (*prefix != '/')
		return "a path prefix begins with \"/\"";
	return strchr(prefix, '?') ? "the query is not compared" : NULL;
}

static const char *suffix_fault(const char *suffix)
{
	if (!*suffix)
		return "a path suffix must not be empty";
	return strchr(suffix, '?') ? "the query is not compared" : NULL;
}

static const char *method_fault(const char *method)
{
	for (const char *p = method; *p; p++)
		if (!isupper((unsigned char)*p) && *p != '-')
			return "not a method in capital letters";
	return *method ? NULL : "not a method in capital letters";
}

static const char *value_fault(const char *value)
{
	return *value ? NULL : "a value must not be empty: absent = true means that there is none";
}

/* Reads the list <field> into <*texts>, a new array of pointers into the tree, checking each with <fault_of>. */
static int read_texts(cfg_t *section, const char *field, const char *(*fault_of)(const char *text),
		      const char *const **texts, size_t *count)
{
	unsigned size = cfg_size(section, field);
	const char **list = calloc(size ? size : 1, sizeof(*list));
	int result = 0;

	if (!list)
		return config_fault(section, field, "out of memory");
	for (unsigned i = 0; i < size; i++) {
		const char *fault;

		list[i] = cfg_getnstr(section, field, i);
		fault = fault_of(list[i]);
		if (fault)
			result = config_fault(section, field, "\"%s\": %s", list[i], fault);
	}
	*texts = list;
	*count = size;
	return result;
}

static int read_clients(struct policy_route *route, cfg_t *section)
{
	unsigned size = cfg_size(section, "client");
	struct client_network *clients = calloc(size ? size : 1, sizeof(*clients));
	int result = 0;

	if (!clients)
		return config_fault(section, "client", "out of memory");
	for (unsigned i = 0; i < size; i++) {
		const char *text = cfg_getnstr(section, "client", i), *why;

		if (client_network_parse(&clients[i], text, &why) < 0)
			result = config_fault(section, "client", "\"%s\": %s", text, why);
	}
	route->clients = clients;
	route->client_count = size;
	return result;
}

/* What HAProxy allows for the name of an argument. */
static int check_argument_name(cfg_t *section, const char *name)
{
	size_t len = strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.");

	if (!len || name[len])
		return config_fault(section, "argument", "\"%s\" is not the name of an argument: A-Z a-z 0-9 - _ .",
				    name);
	if (strcmp(name, "lease") == 0)
		return config_fault(section, "argument", "\"lease\" holds keys, and is not compared");
	return 0;
}

static int read_argument(struct policy_argument *argument, cfg_t *section)
{
	int result;

	argument->name = cfg_title(section);
	result = check_argument_name(section, argument->name);
	result |= read_texts(section, "is", value_fault, &argument->is, &argument->is_count);
	result |= read_texts(section, "begins", value_fault, &argument->begins, &argument->begin_count);
	result |= read_texts(section, "ends", value_fault, &argument->ends, &argument->end_count);
	result |= read_texts(section, "contains", value_fault, &argument->contains, &argument->contain_count);
	argument->absent = cfg_getbool(section, "absent");
	argument->any_case = cfg_getbool(section, "any-case");
	return result;
}

static int read_arguments(struct policy_route *route, cfg_t *section)
{
	unsigned size = cfg_size(section, "argument");
	int result = 0;

	route->arguments = calloc(size ? size : 1, sizeof(*route->arguments));
	if (!route->arguments)
		return config_fault(section, "argument", "out of memory");
	route->argument_count = size;
	for (unsigned i = 0; i < size; i++)
		result |= read_argument(&route->arguments[i], cfg_getnsec(section, "argument", i));
	return result;
}

static int read_share(struct policy_route *route, cfg_t *section)
{
	const char *share = cfg_getstr(section, "percent-of");
	long percent = 0;
	int result = config_need_range(section, "percent", 0, 100, &percent);

	route->percent = (unsigned)percent;
	if (strcmp(share, "clients") == 0)
		route->share = POLICY_SHARE_CLIENTS;
	else if (strcmp(share, "objects") == 0)
		route->share = POLICY_SHARE_OBJECTS;
	else if (strcmp(share, "requests") == 0)
		route->share = POLICY_SHARE_REQUESTS;
	else
		result = config_fault(section, "percent-of", "\"%s\" is neither clients nor objects nor requests",
				      share);
	return result;
}

/* What the direct path needs of <pool>'s nodes: where to redirect packets to, and where to fetch what is missing. */
static int check_pool(cfg_t *section, const char *path, const struct node_pool *pool)
{
	int result = 0;

	if (pool->template && !pool->template->direct)
		result = config_fault(section, "path", "\"%s\" needs direct = true of the template of pool \"%s\"",
				      path, pool->name);
	for (size_t i = 0; i < pool->count; i++) {
		const struct node *node = pool->members[i];

		if (!node->fetch.len || (!node->direct[0].len && !node->direct[1].len))
			result = config_fault(section, "path", "\"%s\" needs %s of node \"%s\", which is not set", path,
					      !node->fetch.len ? "fetch" : "direct", node->name);
	}
	return result;
}

static int read_path(struct policy_route *route, cfg_t *section, bool direct)
{
	const char *path = cfg_getstr(section, "path");

	if (strcmp(path, "splice") == 0)
		return 0;
	if (strcmp(path, "direct") == 0)
		route->path = POLICY_PATH_DIRECT;
	else if (strcmp(path, "auto") == 0)
		route->path = POLICY_PATH_AUTO;
	else
		return config_fault(section, "path", "\"%s\" is neither splice nor direct nor auto", path);
	if (!direct)
		return config_fault(section, "path", "\"%s\" needs a direct section", path);
	return 0;
}

static int read_pool_name(struct policy_route *route, cfg_t *section, const struct node_pool *pools, size_t pool_count)
{
	const char *name;

	if (config_need_string(section, "pool", &name) < 0)
		return -1;
	for (size_t i = 0; i < pool_count; i++) {
		if (strcmp(pools[i].name, name) == 0) {
			route->pool = i;
			return 0;
		}
	}
	return config_fault(section, "pool", "there is no pool \"%s\"", name);
}

int spoa_config_sizes_read(struct policy_sizes *sizes, cfg_t *section, const struct policy_sizes *otherwise)
{
	long splice_min = (long)otherwise->splice_min, direct_min = (long)otherwise->direct_min;
	long h2_min = (long)otherwise->h2_min;
	int result = 0;

	if (cfg_size(section, "splice-min"))
		result |= config_need_range(section, "splice-min", 1, BYTES_MAX, &splice_min);
	if (cfg_size(section, "direct-min"))
		result |= config_need_range(section, "direct-min", 1, BYTES_MAX, &direct_min);
	if (cfg_size(section, "h2-min"))
		result |= config_need_range(section, "h2-min", 1, BYTES_MAX, &h2_min);
	sizes->h2_min = (uint64_t)h2_min;
	sizes->splice_min = (uint64_t)splice_min;
	sizes->direct_min = (uint64_t)direct_min;
	return result;
}

static int read_action(struct policy_route *route, cfg_t *section, const struct spoa_config_routes_terms *terms)
{
	const char *action = cfg_getstr(section, "action");
	int result;

	if (strcmp(action, "pass") == 0)
		return 0;
	if (strcmp(action, "offload") != 0)
		return config_fault(section, "action", "\"%s\" is neither offload nor pass", action);
	route->offload = true;
	result = read_path(route, section, terms->direct);
	if (read_pool_name(route, section, terms->pools, terms->pool_count) < 0)
		result = -1;
	else if (route->path != POLICY_PATH_SPLICE)
		result |= check_pool(section, cfg_getstr(section, "path"), &terms->pools[route->pool]);
	result |= spoa_config_sizes_read(&route->sizes, section, terms->sizes);
	return result | read_share(route, section);
}

static int read_route(struct policy_route *route, cfg_t *section, const struct spoa_config_routes_terms *terms)
{
	int result;

	route->name = cfg_title(section);
	result = read_texts(section, "host", host_fault, &route->hosts, &route->host_count);
	result |= read_texts(section, "path-prefix", prefix_fault, &route->path_prefixes, &route->path_prefix_count);
	result |= read_texts(section, "path-suffix", suffix_fault, &route->path_suffixes, &route->path_suffix_count);
	result |= read_texts(section, "method", method_fault, &route->methods, &route->method_count);
	result |= read_clients(route, section);
	result |= read_texts(section, "sni", host_fault, &route->snis, &route->sni_count);
	result |= read_arguments(route, section);
	result |= read_action(route, section, terms);
	return result;
}

int spoa_config_routes_read(struct policy *policy, cfg_t *root, const struct spoa_config_routes_terms *terms)
{
	unsigned size = cfg_size(root, "route");
	int result = 0;

	policy->routes = calloc(size ? size : 1, sizeof(*policy->routes));
	if (!policy->routes)
		return config_fault(root, "route", "out of memory");
	policy->count = size;
	for (unsigned i = 0; i < size; i++)
		result |= read_route(&policy->routes[i], cfg_getnsec(root, "route", i), terms);
	return result;
}

static void release_argument(struct policy_argument *argument)
{
	free((void *)argument->is);
	free((void *)argument->begins);
	free((void *)argument->ends);
	free((void *)argument->contains);
}

void spoa_config_routes_release(struct policy *policy)
{
	for (size_t i = 0; i < policy->count; i++) {
		struct policy_route *route = &policy->routes[i];

		free((void *)route->hosts);
		free((void *)route->path_prefixes);
		free((void *)route->path_suffixes);
		free((void *)route->methods);
		free((void *)route->clients);
		free((void *)route->snis);
		for (size_t k = 0; k < route->argument_count; k++)
			release_argument(&route->arguments[k]);
		free(route->arguments);
	}
	free(policy->routes);
	policy->routes = NULL;
	policy->count = 0;
}

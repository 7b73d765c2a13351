/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "spoa_config.h"

#include <stdlib.h>
#include <string.h>

#include "spoa_config_routes.h"

/* From about these sizes on the paths cost this host less CPU: make bench-splice, make bench-direct, make bench-h2 */
#define DEFAULT_SPLICE_MIN 114688
#define DEFAULT_DIRECT_MIN 2097152
#define DEFAULT_H2_MIN 393216
#define NAME_MAX_LEN 128 /* of nodes, servers and trust groups: bounds the size of an ACK */

static cfg_opt_t spop_options[] = {
	CFG_STR_LIST("listen", "{}", CFGF_NONE),
	CFG_STR("mode", "0660", CFGF_NONE),
	CFG_STR("user", "", CFGF_NONE),
	CFG_STR("group", "", CFGF_NONE),
	CFG_INT("max-frame-size", SPOP_FRAME_SIZE_MAX, CFGF_NONE),
	CFG_INT("max-connections", 1000, CFGF_NONE),
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

static cfg_opt_t node_options[] = {
	CFG_STR("control", "", CFGF_NONE),
	CFG_STR("name", "", CFGF_NONE),
	CFG_STR("server", "", CFGF_NONE),
	CFG_INT("server-id", 0, CFGF_NONE),
	CFG_INT("weight", 1, CFGF_NONE),
	CFG_STR("fetch", "", CFGF_NONE),
	CFG_STR_LIST("direct", "{}", CFGF_NONE),
	CFG_INT("max-offloads", 0, CFGF_NONE),
	CFG_END(),
};

static cfg_opt_t pool_options[] = {
	CFG_SEC("template", template_options, CFGF_NODEFAULT),
	CFG_STR_LIST("nodes", "{}", CFGF_NONE),
	CFG_STR("balance", "path-hash", CFGF_NONE),
	CFG_STR("trust-group", "default", CFGF_NONE),
	CFG_END(),
};

static cfg_opt_t root_options[] = {
	CFG_INT("workers", 1, CFGF_NONE),
	CFG_INT("changed-hold", 60, CFGF_NONE),
	CFG_INT("splice-min", DEFAULT_SPLICE_MIN, CFGF_NONE),
	CFG_INT("direct-min", DEFAULT_DIRECT_MIN, CFGF_NONE),
	CFG_INT("h2-min", DEFAULT_H2_MIN, CFGF_NONE),
	CFG_SEC("spop", spop_options, CFGF_NONE),
	CFG_SEC("admin", admin_options, CFGF_NONE),
	CFG_SEC("log", config_log_options, CFGF_NONE),
	CFG_SEC("tls", tls_options, CFGF_NONE),
	CFG_SEC("dns", dns_options, CFGF_NONE),
	CFG_SEC("direct", direct_options, CFGF_NODEFAULT),
	CFG_SEC("node", node_options, CFGF_MULTI | CFGF_TITLE | CFGF_NO_TITLE_DUPES),
	CFG_SEC("pool", pool_options, CFGF_MULTI | CFGF_TITLE | CFGF_NO_TITLE_DUPES),
	CFG_SEC("route", spoa_route_options, CFGF_MULTI | CFGF_TITLE | CFGF_NO_TITLE_DUPES),
	CFG_END(),
};

/* Arrays of at least one element, so that NULL always means that memory is exhausted. */
static void *new_array(size_t count, size_t size)
{
	return calloc(count ? count : 1, size);
}

static int read_range(cfg_t *section, const char *field, long min, long max, unsigned *value)
{
	long number;

	if (config_need_range(section, field, min, max, &number) < 0)
		return -1;
	*value = (unsigned)number;
	return 0;
}

static int read_listeners(struct spoa_config *config, cfg_t *section)
{
	int result = 0;

	config->listen_count = cfg_size(section, "listen");
	if (!config->listen_count)
		return config_fault(section, "listen", "must name at least one address");
	config->listen = new_array(config->listen_count, sizeof(*config->listen));
	if (!config->listen)
		return config_fault(section, "listen", "out of memory");
	for (size_t i = 0; i < config->listen_count; i++) {
		const char *text = cfg_getnstr(section, "listen", (unsigned)i), *why;

		if (address_parse(&config->listen[i], text, &why) < 0)
			result = config_fault(section, "listen", "\"%s\": %s", text, why);
	}
	return result;
}

static int read_spop(struct spoa_config *config, cfg_t *section)
{
	int result = read_listeners(config, section);

	result |= spoa_config_direct_read_owner(&config->socket_owner, section);
	result |= read_range(section, "max-frame-size", SPOP_FRAME_SIZE_MIN, SPOP_FRAME_SIZE_MAX,
			     &config->max_frame_size);
	result |= read_range(section, "max-connections", 1, 100000, &config->max_connections);
	return result;
}

static int read_admin(struct spoa_config *config, cfg_t *section)
{
	config->has_admin = *cfg_getstr(section, "listen") != '\0';
	return config->has_admin ? config_need_address(section, "listen", &config->admin) : 0;
}

static int read_tls(struct spoa_config *config, cfg_t *section)
{
	const char *ca, *certificate, *key;
	char error[512];
	int result = config_need_file(section, "ca", &ca);

	result |= config_need_file(section, "certificate", &certificate);
	result |= config_need_file(section, "key", &key);
	if (result < 0)
		return -1;
	config->tls = channel_tls_new(ca, certificate, key, error, sizeof(error));
	return config->tls ? 0 : config_fault(section, "certificate", "%s", error);
}

/* Names become labels of metrics and values of HAProxy's variables: what HAProxy allows for a server. */
static int check_name(cfg_t *section, const char *field, const char *name)
{
	size_t len = strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.:");

	if (!len || name[len] || len > NAME_MAX_LEN)
		return config_fault(section, field, "\"%s\" is not 1 to %d of the characters A-Z a-z 0-9 - _ . :", name,
				    NAME_MAX_LEN);
	return 0;
}

/* By these HAProxy places a server on its hash ring. 0, the default of the id: as without `id` in HAProxy. */
static int read_place(struct node *node, cfg_t *section)
{
	unsigned id = 0, weight = 0;
	int result = read_range(section, "server-id", 0, INT32_MAX, &id);

	if (id)
		node->server_id = id;
	result |= read_range(section, "weight", 0, HASH_RING_WEIGHT_MAX, &weight);
	node->weight = weight;
	return result;
}

/* Makes a node of <section>. */
static int read_node(struct node **place, cfg_t *section, size_t index)
{
	const char *title = cfg_title(section), *server = cfg_getstr(section, "server"), *certificate = "";
	int result = check_name(section, "node", title);
	struct address control = {.len = 0};
	unsigned max_offloads = 0;
	struct node *node;

	result |= config_need_address(section, "control", &control);
	result |= config_need_string(section, "name", &certificate);
	if (*server)
		result |= check_name(section, "server", server);
	node = *place = node_new(title, certificate, *server ? server : title, index);
	if (!node)
		return config_fault(section, "node", "out of memory");
	node->control = control;
	result |= read_place(node, section);
	result |= read_range(section, "max-offloads", 0, INT32_MAX, &max_offloads);
	node->max_offloads = max_offloads;
	result |= spoa_config_direct_read_node(node, section);
	return result;
}

static int read_nodes(struct spoa_config *config, cfg_t *root)
{
	size_t count = cfg_size(root, "node");
	int result = 0;

	if (count > NODE_MAX)
		return config_fault(root, "node", "%zu nodes; at most %u are possible", count, NODE_MAX);
	config->nodes = new_array(count, sizeof(struct node *));
	if (!config->nodes)
		return config_fault(root, "node", "out of memory");
	for (size_t i = 0; i < count; i++) {
		result |= read_node(&config->nodes[i], cfg_getnsec(root, "node", (unsigned)i), i);
		if (!config->nodes[i])
			return -1;
		config->node_count++;
	}
	return result;
}

static struct node *find_node(struct spoa_config *config, const char *name)
{
	for (size_t i = 0; i < config->node_count; i++)
		if (strcmp(config->nodes[i]->name, name) == 0)
			return config->nodes[i];
	return NULL;
}

/* HAProxy would refuse a backend with these servers. */
static int check_server_ids(cfg_t *section, const struct node_pool *pool)
{
	int result = 0;

	for (size_t i = 0; i < pool->count; i++)
		for (size_t k = 0; k < i; k++)
			if (pool->members[i]->server_id == pool->members[k]->server_id)
				result = config_fault(section, "nodes", "\"%s\" and \"%s\" have the same server-id, %u",
						      pool->members[k]->name, pool->members[i]->name,
						      pool->members[i]->server_id);
	return result;
}

static int read_template(struct spoa_config *config, struct node_pool *pool, cfg_t *section)
{
	struct node_template *template = &config->templates[config->template_count++];
	size_t total = config->node_count;
	int result = 0;

	pool->template = template;
	if (cfg_size(section, "nodes"))
		result = config_fault(section, "nodes", "a pool has either nodes or a template");
	result |= spoa_config_template_read(template, cfg_getsec(section, "template"));
	for (size_t i = 0; i < config->template_count; i++)
		total += config->templates[i].max_nodes;
	if (total > NODE_MAX)
		result = config_fault(cfg_getsec(section, "template"), "max-nodes",
				      "up to %zu nodes in all; at most %u are possible", total, NODE_MAX);
	return result;
}

static int read_pool(struct spoa_config *config, struct node_pool *pool, cfg_t *section)
{
	const char *balance = cfg_getstr(section, "balance");
	int result = 0;

	pool->name = cfg_title(section);
	pool->trust_group = cfg_getstr(section, "trust-group");
	result |= check_name(section, "trust-group", pool->trust_group);
	if (strcmp(balance, "least-active") == 0)
		pool->balance = BALANCE_LEAST_ACTIVE;
	else if (strcmp(balance, "path-hash") != 0)
		result = config_fault(section, "balance", "\"%s\" is neither path-hash nor least-active", balance);
	if (cfg_size(section, "template"))
		return result | read_template(config, pool, section);
	if (!cfg_size(section, "nodes"))
		return config_fault(section, "nodes", "must name at least one node");
	for (unsigned i = 0; i < cfg_size(section, "nodes"); i++) {
		const char *name = cfg_getnstr(section, "nodes", i);
		struct node *node = find_node(config, name);

		if (!node)
			result = config_fault(section, "nodes", "there is no node \"%s\"", name);
		else if (node_pool_members(pool) & node_bit(node))
			result = config_fault(section, "nodes", "node \"%s\" is named twice", name);
		else
			pool->members[pool->count++] = node;
	}
	result |= check_server_ids(section, pool);
	if (node_pool_prepare(pool) < 0)
		result = config_fault(section, "nodes", "out of memory");
	return result;
}

static int read_pools(struct spoa_config *config, cfg_t *root)
{
	int result = 0;

	config->pool_count = cfg_size(root, "pool");
	config->pools = new_array(config->pool_count, sizeof(*config->pools));
	config->templates = new_array(config->pool_count, sizeof(*config->templates));
	if (!config->pools || !config->templates)
		return config_fault(root, "pool", "out of memory");
	for (size_t i = 0; i < config->pool_count; i++)
		result |= read_pool(config, &config->pools[i], cfg_getnsec(root, "pool", (unsigned)i));
	for (size_t i = 1; i < config->pool_count; i++)
		config->groups_differ |= strcmp(config->pools[0].trust_group, config->pools[i].trust_group) != 0;
	return result;
}

static int read_routes(struct spoa_config *config, cfg_t *root)
{
	struct policy_sizes sizes = {
		.splice_min = DEFAULT_SPLICE_MIN, .direct_min = DEFAULT_DIRECT_MIN, .h2_min = DEFAULT_H2_MIN};
	const struct spoa_config_routes_terms terms = {
		.pools = config->pools,
		.pool_count = config->pool_count,
		.direct = config->direct.enabled,
		.sizes = &sizes,
	};
	int result = spoa_config_sizes_read(&sizes, root, &sizes);

	result |= spoa_config_routes_read(&config->policy, root, &terms);
	for (size_t i = 0; i < config->policy.count; i++)
		config->policy.routes[i].breaker = config->breaker_count++;
	return result;
}

static int read_root(struct spoa_config *config, cfg_t *root)
{
	int result = config_check_log(root);

	result |= read_range(root, "workers", 1, SPOA_WORKERS_MAX, &config->workers);
	result |= read_range(root, "changed-hold", 0, 86400, &config->changed_hold);
	result |= read_spop(config, cfg_getsec(root, "spop"));
	result |= read_admin(config, cfg_getsec(root, "admin"));
	result |= spoa_config_direct_read(&config->direct, root);
	result |= read_nodes(config, root);
	if (config->node_count)
		result |= read_tls(config, cfg_getsec(root, "tls"));
	result |= spoa_config_dns_read(&config->dns, root);
	result |= read_pools(config, root);
	if (config->template_count && !config->node_count)
		result |= read_tls(config, cfg_getsec(root, "tls"));
	result |= read_routes(config, root);
	return result;
}

int spoa_config_load(struct spoa_config *config, const char *file)
{
	memset(config, 0, sizeof(*config));
	config->tree = config_load(file, root_options);
	if (!config->tree)
		return -1;
	config->changed_paths = calloc(1, sizeof(*config->changed_paths));
	config->key_groups = key_groups_new();
	if (!config->changed_paths)
		(void)config_fault(config->tree, "changed-hold", "out of memory");
	else if (!config->key_groups)
		(void)config_fault(config->tree, "pool", "out of memory");
	else if (read_root(config, config->tree) == 0)
		return 0;
	spoa_config_release(config);
	return -1;
}

static void release_nodes(struct spoa_config *config)
{
	for (size_t i = 0; config->pools && i < config->pool_count; i++)
		node_pool_release(&config->pools[i]);
	free(config->pools);
	for (size_t i = 0; i < config->node_count; i++)
		node_drop(config->nodes[i]);
	free(config->nodes);
	free(config->changed_paths);
	key_groups_free(config->key_groups);
}

void spoa_config_release(struct spoa_config *config)
{
	release_nodes(config);
	if (config->origin) {
		spoa_config_drop(config->origin);
		return;
	}
	spoa_config_routes_release(&config->policy);
	spoa_config_direct_release(&config->direct);
	free(config->templates);
	free(config->listen);
	if (config->tls)
		channel_tls_free(config->tls);
	if (config->tree)
		config_free(config->tree);
	memset(config, 0, sizeof(*config));
}

struct spoa_config *spoa_config_new(const char *file)
{
	struct spoa_config *config = malloc(sizeof(*config));

	if (config && spoa_config_load(config, file) == 0)
		return config;
	free(config);
	return NULL;
}

void spoa_config_hold(struct spoa_config *config)
{
	atomic_fetch_add(&config->others, 1);
}

void spoa_config_drop(struct spoa_config *config)
{
	if (atomic_fetch_sub(&config->others, 1) > 0)
		return;
	spoa_config_release(config);
	free(config);
}

static void adopt_breakers(struct spoa_config *config, const struct spoa_config *before)
{
	config->breaker_count = before->breaker_count;
	if (config->policy.routes == before->policy.routes)
		return;
	for (size_t i = 0; i < config->policy.count; i++) {
		struct policy_route *route = &config->policy.routes[i];
		const struct policy_route *same = NULL;

		for (size_t k = 0; !same && k < before->policy.count; k++)
			if (strcmp(before->policy.routes[k].name, route->name) == 0)
				same = &before->policy.routes[k];
		route->breaker = same ? same->breaker : config->breaker_count++;
	}
}

static uint8_t place_of(const struct spoa_config *config, const struct node *node)
{
	size_t place = 0;

	while (config->nodes[place] != node)
		place++;
	return (uint8_t)place;
}

static void note_places(const struct spoa_config *config, uint8_t (*places)[NODE_MAX])
{
	for (size_t i = 0; i < config->pool_count; i++)
		for (size_t k = 0; k < config->pools[i].count; k++)
			places[i][k] = place_of(config, config->pools[i].members[k]);
}

static void set_members(struct spoa_config *config, uint8_t (*places)[NODE_MAX])
{
	for (size_t i = 0; i < config->pool_count; i++)
		for (size_t k = 0; k < config->pools[i].count; k++)
			config->pools[i].members[k] = config->nodes[places[i][k]];
}

/* The node of <record>: one that another pool has, too, or another one. Returns NULL when memory is exhausted. */
static struct node *add_record(struct spoa_config *config, const struct node_template *template,
			       const struct node_record *record)
{
	struct node *node = node_template_make(template, record, config->node_count);

	for (size_t i = 0; node && i < config->node_count; i++) {
		if (node_is_same(config->nodes[i], node)) {
			node_drop(node);
			return config->nodes[i];
		}
	}
	if (node)
		config->nodes[config->node_count++] = node;
	return node;
}

static int add_records(struct spoa_config *config, struct node_pool *pool, const struct node_record *const *records,
		       size_t count)
{
	for (size_t i = 0; i < count; i++) {
		pool->members[i] = add_record(config, pool->template, records[i]);
		if (!pool->members[i])
			return -1;
		pool->count++;
	}
	return 0;
}

/* Makes the nodes and pools of <config>, whose arrays are there. */
static int add_pools(struct spoa_config *config, const struct node_record *const (*records)[NODE_MAX],
		     const size_t *record_counts)
{
	const struct spoa_config *origin = config->origin;
	int result = 0;

	for (; config->node_count < origin->node_count; config->node_count++) {
		config->nodes[config->node_count] = origin->nodes[config->node_count];
		node_hold(config->nodes[config->node_count]);
	}
	for (size_t i = 0; i < config->pool_count; i++) {
		struct node_pool *pool = &config->pools[i];

		*pool = origin->pools[i];
		pool->ring = (struct hash_ring){NULL, 0};
		if (pool->template)
			result |= add_records(config, pool, records[i], record_counts[i]);
		result |= node_pool_prepare(pool);
	}
	return result;
}

struct spoa_config *spoa_config_with_records(struct spoa_config *origin,
					     const struct node_record *const (*records)[NODE_MAX],
					     const size_t *record_counts)
{
	struct spoa_config *config = malloc(sizeof(*config));

	if (!config)
		return NULL;
	*config = *origin;
	atomic_init(&config->others, 0);
	spoa_config_hold(origin);
	config->origin = origin;
	/* The one that is used has them. */
	origin->changed_paths = NULL;
	origin->key_groups = NULL;
	config->node_count = 0;
	config->nodes = new_array(NODE_MAX, sizeof(struct node *));
	config->pools = new_array(config->pool_count, sizeof(*config->pools));
	if (config->nodes && config->pools && add_pools(config, records, record_counts) == 0)
		return config;
	spoa_config_drop(config);
	return NULL;
}

int spoa_config_adopt(struct spoa_config *config, struct spoa_config *before, struct node_roster *roster)
{
	uint8_t(*places)[NODE_MAX] = new_array(config->pool_count, sizeof(*places));
	int result = -1;

	if (!places)
		return -1;
	note_places(config, places);
	if (node_roster_adopt(roster, config->nodes, config->node_count) == 0) {
		result = 0;
		set_members(config, places);
		if (before) {
			adopt_breakers(config, before);
			free(config->changed_paths);
			config->changed_paths = before->changed_paths;
			before->changed_paths = NULL;
			key_groups_free(config->key_groups);
			config->key_groups = before->key_groups;
			before->key_groups = NULL;
		}
	}
	free(places);
	return result;
}

void spoa_config_apply_log(const struct spoa_config *config)
{
	config_apply_log(config->tree, "disc-spoa");
}

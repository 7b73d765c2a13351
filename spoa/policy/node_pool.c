/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "node_pool.h"

#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

void node_init(struct node *node, const char *name, size_t index)
{
	node->name = name;
	node->index = index;
	node->server_id = (uint32_t)index + 1;
	node->weight = 1;
}

struct node *node_new(const char *name, const char *certificate_name, const char *server, size_t index)
{
	size_t name_size = strlen(name) + 1, certificate_size = strlen(certificate_name) + 1;
	struct node *node = calloc(1, sizeof(*node));
	char *texts = malloc(name_size + certificate_size + strlen(server) + 1);

	if (!node || !texts) {
		free(node);
		free(texts);
		return NULL;
	}
	node_init(node, strcpy(texts, name), index);
	node->certificate_name = strcpy(texts + name_size, certificate_name);
	node->server = strcpy(texts + name_size + certificate_size, server);
	node->texts = texts;
	return node;
}

void node_hold(struct node *node)
{
	atomic_fetch_add(&node->others, 1);
}

void node_drop(struct node *node)
{
	if (atomic_fetch_sub(&node->others, 1) > 0)
		return;
	free(node->texts);
	free(node);
}

void node_add_own(struct node *node, int64_t delta)
{
	atomic_fetch_add_explicit(&node->own, delta, memory_order_relaxed);
	if (node->active)
		metric_add(node->active, delta);
}

void node_set_total(struct node *node, uint32_t offloads)
{
	int64_t others = (int64_t)offloads - atomic_load_explicit(&node->own, memory_order_relaxed);

	/* Our own may be ahead of what the node counted when it answered. */
	atomic_store_explicit(&node->elsewhere, others > 0 ? others : 0, memory_order_relaxed);
}

int64_t node_load(const struct node *node)
{
	return atomic_load_explicit(&node->own, memory_order_relaxed) +
	       atomic_load_explicit(&node->elsewhere, memory_order_relaxed);
}

bool node_is_full(const struct node *node)
{
	return node->max_offloads > 0 && node_load(node) >= node->max_offloads;
}

static bool same_address(const struct address *a, const struct address *b)
{
	return a->len == b->len && memcmp(&a->storage, &b->storage, a->len) == 0;
}

bool node_is_same(const struct node *a, const struct node *b)
{
	return strcmp(a->name, b->name) == 0 && strcmp(a->certificate_name, b->certificate_name) == 0 &&
	       a->by_address == b->by_address && strcmp(a->server, b->server) == 0 &&
	       same_address(&a->control, &b->control) && same_address(&a->fetch, &b->fetch) &&
	       same_address(&a->direct[0], &b->direct[0]) && same_address(&a->direct[1], &b->direct[1]);
}

node_set node_pool_members(const struct node_pool *pool)
{
	node_set set = 0;

	for (size_t i = 0; i < pool->count; i++)
		set |= node_bit(pool->members[i]);
	return set;
}

/* By which HAProxy places a node on its ring: the id of its server, or its address where it has that of DNS, as we do. */
static uint32_t ring_key(const struct node *node)
{
	const struct sockaddr_in *v4 = (const struct sockaddr_in *)&node->fetch.storage;
	const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)&node->fetch.storage;

	if (!node->by_address)
		return hash_ring_key_of_id(node->server_id);
	if (node->fetch.storage.ss_family == AF_INET6)
		return hash_ring_key_of_address((const uint8_t *)&v6->sin6_addr, sizeof(v6->sin6_addr),
						ntohs(v6->sin6_port));
	return hash_ring_key_of_address((const uint8_t *)&v4->sin_addr, sizeof(v4->sin_addr), ntohs(v4->sin_port));
}

int node_pool_prepare(struct node_pool *pool)
{
	struct hash_ring_server servers[NODE_MAX];

	for (size_t i = 0; i < pool->count; i++)
		servers[i] = (struct hash_ring_server){ring_key(pool->members[i]), pool->members[i]->weight};
	return hash_ring_init(&pool->ring, servers, pool->count);
}

void node_pool_release(struct node_pool *pool)
{
	hash_ring_release(&pool->ring);
}

bool node_pool_is_foreign(const struct node_pool *pool, struct control_text group)
{
	return group.len &&
	       (group.len != strlen(pool->trust_group) || memcmp(group.data, pool->trust_group, group.len) != 0);
}

struct node_pool_state node_pool_judge(const struct node_pool *pool, node_set up, node_set taking)
{
	struct node_pool_state state = {.ready = 0};

	for (size_t i = 0; i < pool->count; i++) {
		const struct node *node = pool->members[i];

		if (!(taking & node_bit(node)) || !node->weight)
			continue;
		if (node_is_full(node))
			state.full |= node_bit(node);
		else
			state.ready |= node_bit(node);
	}
	if (state.ready)
		state.otherwise = PASS_BUSY;
	else if (state.full)
		state.otherwise = PASS_FULL;
	else
		state.otherwise = up & node_pool_members(pool) ? PASS_DRAINING : PASS_NO_NODE;
	return state;
}

/* Whether <node> would have fewer offloads for its weight than <other> (< 0), as many (0) or more (> 0), if it got one
 * more. */
static int compare_loads(const struct node *node, const struct node *other)
{
	int64_t left = (node_load(node) + 1) * (int64_t)other->weight;
	int64_t right = (node_load(other) + 1) * (int64_t)node->weight;

	return left < right ? -1 : left > right;
}

/* The members, by their places in <pool>, that are in <usable> and, if that is what it balances by, have the fewest
 * offloads of these for their weights. */
static uint64_t candidates(const struct node_pool *pool, node_set usable)
{
	const struct node *idlest = NULL;
	uint64_t set = 0;

	for (size_t i = 0; i < pool->count; i++) {
		const struct node *node = pool->members[i];
		int order = 0;

		if (!(usable & node_bit(node)) || !node->weight)
			continue;
		if (pool->balance == BALANCE_LEAST_ACTIVE && idlest)
			order = compare_loads(node, idlest);
		if (order > 0)
			continue;
		if (order < 0 || !idlest) {
			idlest = node;
			set = 0;
		}
		set |= (uint64_t)1 << i;
	}
	return set;
}

struct node *node_pool_choose(const struct node_pool *pool, struct control_text path, node_set usable)
{
	int index = hash_ring_choose(&pool->ring, hash_ring_place(path.data, path.len), candidates(pool, usable));

	return index < 0 ? NULL : pool->members[index];
}

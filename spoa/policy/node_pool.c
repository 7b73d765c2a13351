/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "node_pool.h"

#include <string.h>

/* FNV-1a, 64 bits. */
static uint64_t hash_bytes(uint64_t hash, const char *bytes, size_t len)
{
	for (size_t i = 0; i < len; i++)
		hash = (hash ^ (uint8_t)bytes[i]) * 0x100000001b3u;
	return hash;
}

/* FNV's high bits hardly depend on the last bytes, and scores are compared from their high bits down: mix them (the
 * finalizer of splitmix64). */
static uint64_t mix(uint64_t hash)
{
	hash = (hash ^ hash >> 30) * 0xbf58476d1ce4e5b9u;
	hash = (hash ^ hash >> 27) * 0x94d049bb133111ebu;
	return hash ^ hash >> 31;
}

#define HASH_START 0xcbf29ce484222325u

void node_init(struct node *node, const char *name, size_t index)
{
	node->name = name;
	node->index = index;
	node->seed = mix(hash_bytes(HASH_START, name, strlen(name)));
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

node_set node_pool_members(const struct node_pool *pool)
{
	node_set set = 0;

	for (size_t i = 0; i < pool->count; i++)
		set |= node_bit(pool->members[i]);
	return set;
}

struct node *node_pool_choose(const struct node_pool *pool, struct control_text path, node_set usable)
{
	uint64_t key = hash_bytes(HASH_START, path.data, path.len), best_score = 0;
	int64_t best_load = 0;
	struct node *best = NULL;

	for (size_t i = 0; i < pool->count; i++) {
		struct node *node = pool->members[i];
		uint64_t score = mix(key ^ node->seed);
		int64_t load = pool->balance == BALANCE_LEAST_ACTIVE ? node_load(node) : 0;

		if (!(usable & node_bit(node)))
			continue;
		if (best && (load > best_load || (load == best_load && score <= best_score)))
			continue;
		best = node;
		best_score = score;
		best_load = load;
	}
	return best;
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "hash_ring.h"

#include <stdlib.h>
#include <string.h>

#define POINTS_PER_WEIGHT 16u

/* Bob Jenkins' integer hash with six shifts, and a factor that spreads small differences over the whole ring. */
static uint32_t mix(uint32_t n)
{
	n = (n + 0x7ed55d16u) + (n << 12);
	n = (n ^ 0xc761c23cu) ^ (n >> 19);
	n = (n + 0x165667b1u) + (n << 5);
	n = (n + 0xd3a2646cu) ^ (n << 9);
	n = (n + 0xfd7046c5u) + (n << 3);
	n = (n ^ 0xb55a4f09u) ^ (n >> 16);
	return n * 0xc0000001u;
}

/* The hash of sdbm: each byte is added to 65599 times what came before. */
static uint32_t sdbm(const char *bytes, size_t len)
{
	uint32_t hash = 0;

	for (size_t i = 0; i < len; i++)
		hash = hash * 65599u + (uint8_t)bytes[i];
	return hash;
}

uint32_t hash_ring_place(const char *path, size_t len)
{
	return mix(sdbm(path, len));
}

uint32_t hash_ring_key_of_id(uint32_t id)
{
	return mix(id);
}

static uint32_t rotate(uint32_t n, unsigned bits)
{
	return n << bits | n >> (32 - bits);
}

/* XXH32 of 16 bytes, which is one round of its four lanes. */
static uint32_t xxh32(const uint8_t bytes[static 16], uint32_t seed)
{
	const uint32_t p1 = 0x9e3779b1u, p2 = 0x85ebca77u, p3 = 0xc2b2ae3du;
	uint32_t lanes[4] = {seed + p1 + p2, seed + p2, seed, seed - p1}, hash;

	for (size_t i = 0; i < 4; i++) {
		const uint8_t *b = bytes + 4 * i;
		uint32_t word = (uint32_t)b[0] | (uint32_t)b[1] << 8 | (uint32_t)b[2] << 16 | (uint32_t)b[3] << 24;

		lanes[i] = rotate(lanes[i] + word * p2, 13) * p1;
	}
	hash = rotate(lanes[0], 1) + rotate(lanes[1], 7) + rotate(lanes[2], 12) + rotate(lanes[3], 18) + 16;
	hash = (hash ^ hash >> 15) * p2;
	hash = (hash ^ hash >> 13) * p3;
	return hash ^ hash >> 16;
}

uint32_t hash_ring_key_of_address(const uint8_t *address, size_t len, uint16_t port)
{
	uint32_t v4;

	if (len == 16)
		return xxh32(address, mix(port));
	/* As it is in memory, whatever the byte order of the machine: HAProxy does so. */
	memcpy(&v4, address, sizeof(v4));
	return mix(mix(port) + v4);
}

/* Points at one place are in the order of the servers, as HAProxy has them unless one of them was down. */
static int compare(const void *left, const void *right)
{
	const struct hash_ring_point *a = left, *b = right;

	if (a->place != b->place)
		return a->place < b->place ? -1 : 1;
	return a->server < b->server ? -1 : a->server > b->server;
}

int hash_ring_init(struct hash_ring *ring, const struct hash_ring_server *servers, size_t count)
{
	size_t total = 0;

	*ring = (struct hash_ring){NULL, 0};
	for (size_t i = 0; i < count; i++)
		total += (size_t)servers[i].weight * POINTS_PER_WEIGHT;
	ring->points = calloc(total ? total : 1, sizeof(*ring->points));
	if (!ring->points)
		return -1;
	for (size_t i = 0; i < count; i++)
		for (uint32_t k = 0; k < servers[i].weight * POINTS_PER_WEIGHT; k++)
			ring->points[ring->count++] = (struct hash_ring_point){mix(servers[i].key + k), (uint32_t)i};
	qsort(ring->points, ring->count, sizeof(*ring->points), compare);
	return 0;
}

void hash_ring_release(struct hash_ring *ring)
{
	free(ring->points);
	*ring = (struct hash_ring){NULL, 0};
}

/* Index of the first point at <place> or behind it; 0 if there is none behind it, for the ring closes there. */
static size_t first_from(const struct hash_ring *ring, uint32_t place)
{
	size_t low = 0, high = ring->count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (ring->points[middle].place < place)
			low = middle + 1;
		else
			high = middle;
	}
	return low < ring->count ? low : 0;
}

int hash_ring_choose(const struct hash_ring *ring, uint32_t place, uint64_t up)
{
	size_t next, previous, left = ring->count;

	if (!ring->count)
		return -1;
	next = first_from(ring, place);
	previous = next;
	while (!(up >> ring->points[next].server & 1)) {
		if (--left == 0)
			return -1;
		next = next + 1 < ring->count ? next + 1 : 0;
	}
	do
		previous = previous ? previous - 1 : ring->count - 1;
	while (!(up >> ring->points[previous].server & 1));
	/* Distances are around the ring: unsigned, modulo 2^32. */
	if (place - ring->points[previous].place <= ring->points[next].place - place)
		next = previous;
	return (int)ring->points[next].server;
}

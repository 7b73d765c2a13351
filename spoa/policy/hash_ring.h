/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Hash ring: which of several servers HAProxy 3.0 chooses with
 *
 *     balance hash path
 *     hash-type consistent
 *
 * so that what disc-spoa offloads and what HAProxy proxies by itself comes from the same node. Pure; constant once it is
 * made.
 *
 * Each server has 16 points per unit of weight on a ring of 2^32: point k of the server with the key K is at mix(K+k). K is
 * mix(I) of the server with `id` I, or, with HAProxy's `hash-key addr-port`, a hash of its address.
 * A path is at mix(sdbm(path)), and goes to the server of the nearest point, the one before it at equal distances. A
 * server that is down has no points: the neighbours of each inherit. mix() is Bob Jenkins' 32-bit integer hash times
 * 3 * 2^30 + 1. That is HAProxy's with its default function and modifier for `consistent`; with a `hash-balance-factor`,
 * another `hash-key` or while a server starts slowly, it chooses otherwise.
 */
#ifndef DISC_HASH_RING_H
#define DISC_HASH_RING_H

#include <stddef.h>
#include <stdint.h>

#define HASH_RING_SERVERS_MAX 64u
#define HASH_RING_WEIGHT_MAX 256u /* HAProxy's */

struct hash_ring_server {
	uint32_t key;    /* by one of the functions below */
	unsigned weight; /* HAProxy's `weight`, at most HASH_RING_WEIGHT_MAX; 0: it has no points */
};

struct hash_ring_point {
	uint32_t place;
	uint32_t server; /* index */
};

/* Without points if it is all zero: nothing is ever chosen. */
struct hash_ring {
	struct hash_ring_point *points; /* owned; in the order of their places */
	size_t count;
};

/* The key of HAProxy's server with <id>: its `id`, or the number of its line in the backend, from 1 on. */
uint32_t hash_ring_key_of_id(uint32_t id);

/* The key of HAProxy's server with `hash-key addr-port`, this <port>, and the IPv4 address in 4 bytes or IPv6 address in 16 bytes
 * <address>. */
uint32_t hash_ring_key_of_address(const uint8_t *address, size_t len, uint16_t port);

/* Makes <ring> for <count> (at most HASH_RING_SERVERS_MAX) <servers>, in the order in which HAProxy has them; nothing of
 * them is kept. Returns 0, or -1 when memory is exhausted; <ring> is empty then. To be given to hash_ring_release(). */
int hash_ring_init(struct hash_ring *ring, const struct hash_ring_server *servers, size_t count);
void hash_ring_release(struct hash_ring *ring);

/* Where the <len> bytes of <path> are on the ring. */
uint32_t hash_ring_place(const char *path, size_t len);

/* Returns the index of the server that <place> belongs to while those of the bit mask <up> are up; -1 if none of them has
 * points. */
int hash_ring_choose(const struct hash_ring *ring, uint32_t place, uint64_t up);

#endif

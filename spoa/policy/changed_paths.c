/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "changed_paths.h"

#include <time.h>

/* FNV-1a of the target up to its query. */
static uint64_t hash_path(struct control_text target)
{
	uint64_t hash = 0xcbf29ce484222325u;

	for (size_t i = 0; i < target.len && target.data[i] != '?'; i++)
		hash = (hash ^ (uint8_t)target.data[i]) * 0x100000001b3u;
	/* FNV's high bits hardly depend on the last bytes. */
	return hash ^ hash >> 29;
}

static _Atomic uint64_t *place_of(struct changed_paths *paths, uint64_t hash)
{
	return &paths->places[hash % CHANGED_PATHS_MAX];
}

uint32_t changed_paths_clock(void)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint32_t)now.tv_sec;
}

void changed_paths_add(struct changed_paths *paths, struct control_text target, uint32_t now, uint32_t seconds)
{
	uint64_t hash = hash_path(target);

	if (!seconds)
		return;
	/* The second that has begun is not over: one more, so that it lasts no less than <seconds>. */
	atomic_store_explicit(place_of(paths, hash), (hash & 0xffffffff00000000u) | (now + seconds + 1),
			      memory_order_relaxed);
}

bool changed_paths_hold(struct changed_paths *paths, struct control_text target, uint32_t now)
{
	uint64_t hash = hash_path(target);
	uint64_t place = atomic_load_explicit(place_of(paths, hash), memory_order_relaxed);

	return place >> 32 == hash >> 32 && now < (uint32_t)place;
}

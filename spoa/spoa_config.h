/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Configuration of disc-spoa (doc/man/disc-spoa.conf.5). Loaded once at start-up, constant afterwards but for the
 * nodes' atomics and the changed paths; every fault found is written to stderr as "FILE:LINE: FIELD: what is wrong". */
#ifndef DISC_SPOA_CONFIG_H
#define DISC_SPOA_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "address.h"
#include "changed_paths.h"
#include "channel.h"
#include "config.h"
#include "node_pool.h"
#include "policy.h"
#include "spoa_config_direct.h"

#define SPOA_WORKERS_MAX 64

struct spoa_config {
	unsigned workers;
	struct address *listen; /* SPOP listeners */
	size_t listen_count;
	struct listener_owner socket_owner;
	uint32_t max_frame_size; /* bytes */
	unsigned max_connections;
	unsigned changed_hold; /* seconds for which a path is not offloaded after its object changed under a lease */
	struct changed_paths changed_paths; /* not constant: of all workers */
	bool has_admin;
	struct address admin;
	struct channel_tls *tls; /* NULL without nodes */
	struct node *nodes;
	size_t node_count;
	struct node_pool *pools;
	size_t pool_count;
	struct policy policy;
	struct spoa_config_direct direct;
	cfg_t *tree; /* what the texts above point into */
};

/* Loads and checks <file>, certificates and keys included, and applies its log section. Returns 0 with <config> filled,
 * to be given to spoa_config_release(); or -1 with nothing to release, after all faults were written. */
int spoa_config_load(struct spoa_config *config, const char *file);
void spoa_config_release(struct spoa_config *config);

#endif

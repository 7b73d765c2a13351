/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Configuration of disc-spoa (doc/man/disc-spoa.conf.5): constant once it is loaded, but for the nodes' atomics and the changed
 * paths. When the file is read again another one takes its place, and it stays until its last user is gone. Every fault found is
 * written as "FILE:LINE: FIELD: what is wrong". */
#ifndef DISC_SPOA_CONFIG_H
#define DISC_SPOA_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "address.h"
#include "changed_paths.h"
#include "channel.h"
#include "config.h"
#include "key_groups.h"
#include "node_pool.h"
#include "node_roster.h"
#include "policy.h"
#include "spoa_config_direct.h"
#include "spoa_config_dns.h"

#define SPOA_WORKERS_MAX 64

struct spoa_config {
	unsigned workers;
	struct address *listen; /* SPOP listeners */
	size_t listen_count;
	struct listener_owner socket_owner;
	uint32_t max_frame_size; /* bytes */
	unsigned max_connections;
	unsigned changed_hold; /* seconds for which a path is not offloaded after its object changed under a lease */
	struct changed_paths
		*changed_paths;        /* not constant: of all workers; of the configuration that was adopted last */
	struct key_groups *key_groups; /* the same */
	bool has_admin;
	struct address admin;
	struct channel_tls *tls; /* NULL without nodes */
	struct spoa_config_dns dns;
	struct node_template *templates; /* of the pools that have one, <template_count> of them */
	size_t template_count;
	struct node **nodes;
	size_t node_count;
	struct node_pool *pools;
	size_t pool_count;
	bool groups_differ; /* there is more than one trust group */
	struct policy policy;
	struct spoa_config_direct direct;
	size_t breaker_count;       /* of the routes' breakers, all that were ever used: see struct policy_route */
	cfg_t *tree;                /* what the texts above point into */
	struct spoa_config *origin; /* held: all above but nodes, pools and changed paths is its; NULL: it was loaded */
	_Atomic int others;         /* who uses it, beside its first user */
};

/* Loads and checks <file>, certificates and keys included. Returns 0 with <config> filled, to be given to
 * spoa_config_release(); or -1 with nothing to release, after all faults were written. */
int spoa_config_load(struct spoa_config *config, const char *file);
void spoa_config_release(struct spoa_config *config);

/* The same in memory of its own. Returns it with one user, or NULL. */
struct spoa_config *spoa_config_new(const char *file);

/* One user more, and one less: the last one frees a configuration of spoa_config_new(). From any thread. */
void spoa_config_hold(struct spoa_config *config);
void spoa_config_drop(struct spoa_config *config);

/* Returns what a running agent uses of <origin>, which was loaded and is held by it: the same, but with nodes of <records>, those of
 * its pool 0, 1, ... (<record_counts> each, for pools with a template only), for which it makes nodes. To be adopted before it is used.
 * NULL when memory is exhausted. */
struct spoa_config *spoa_config_with_records(struct spoa_config *origin,
					     const struct node_record *const (*records)[NODE_MAX],
					     const size_t *record_counts);

/* Gives the nodes of <config>, which was just loaded, their numbers in <roster>: those that it has in common with <before>, the one
 * in use (NULL: none), stay the same nodes, and the breakers of routes of the same name the same breakers. Takes the changed
 * paths of <before>. Returns 0, or -1 if there are too many nodes together with those that still have users. The main thread's. */
int spoa_config_adopt(struct spoa_config *config, struct spoa_config *before, struct node_roster *roster);

/* Sets up the log as <config> says. */
void spoa_config_apply_log(const struct spoa_config *config);

#endif

/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The direct section of the configuration, and what nodes need for the direct path. */
#ifndef DISC_SPOA_CONFIG_DIRECT_H
#define DISC_SPOA_CONFIG_DIRECT_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "address.h"
#include "breaker.h"
#include "config.h"
#include "listener.h"
#include "node_pool.h"

struct spoa_config_direct {
	bool enabled;          /* there is such a section; nothing else holds otherwise */
	struct address socket; /* the handoff socket */
	struct listener_owner owner;
	const char **interfaces; /* NULL-terminated; its texts are the tree's */
	size_t max_flows;
	struct breaker_settings breaker;
	double grace;           /* seconds for connections that are still handed off when this agent ends */
	double handoff_timeout; /* seconds: for the tail to get short, and for a node's answer */
	bool ignore_tracking;   /* what connection tracking makes of connections is the operator's business */
};

extern cfg_opt_t direct_options[];

/* Reads the mode, user and group of a UNIX socket from <section>. Returns 0, or -1 after config_fault(). */
int spoa_config_direct_read_owner(struct listener_owner *owner, cfg_t *section);

/* Reads the section "direct" of <root>, if there is one. Returns 0, or -1 after config_fault();
 * spoa_config_direct_release() is due in both cases. */
int spoa_config_direct_read(struct spoa_config_direct *settings, cfg_t *root);
void spoa_config_direct_release(struct spoa_config_direct *settings);

/* Reads fetch and direct of the node <section>. Returns 0, or -1 after config_fault(). */
int spoa_config_direct_read_node(struct node *node, cfg_t *section);

#endif

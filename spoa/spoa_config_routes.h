/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Route sections of the configuration: read into a policy, with every fault reported. */
#ifndef DISC_SPOA_CONFIG_ROUTES_H
#define DISC_SPOA_CONFIG_ROUTES_H

#include <stdbool.h>

#include "config.h"
#include "node_pool.h"
#include "policy.h"

extern cfg_opt_t spoa_route_options[];

/* What routes refer to. */
struct spoa_config_routes_terms {
	const struct node_pool *pools;
	size_t pool_count;
	bool direct;                      /* there is a direct section, which paths other than "splice" need */
	const struct policy_sizes *sizes; /* of routes that set none */
};

/* Reads splice-min and direct-min of <section>, which may be a route or the root, into <sizes>; what is not set is as in
 * <otherwise>. Returns 0, or -1 after config_fault(). */
int spoa_config_sizes_read(struct policy_sizes *sizes, cfg_t *section, const struct policy_sizes *otherwise);

/* Reads the route sections of <root> into <policy>; its texts point into the tree. Returns 0, or -1 after
 * config_fault(); spoa_config_routes_release() is due in both cases. */
int spoa_config_routes_read(struct policy *policy, cfg_t *root, const struct spoa_config_routes_terms *terms);
void spoa_config_routes_release(struct policy *policy);

#endif

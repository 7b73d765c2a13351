/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Route sections of the configuration: read into a policy, with every fault reported. */
#ifndef DISC_SPOA_CONFIG_ROUTES_H
#define DISC_SPOA_CONFIG_ROUTES_H

#include <stdbool.h>

#include "config.h"
#include "node_pool.h"
#include "policy.h"

extern cfg_opt_t spoa_route_options[];

/* Reads the route sections of <root>, which use <pools>, into <policy>; its texts point into the tree. <direct>: there
 * is a direct section, which paths other than "splice" need. Returns 0, or -1 after config_fault();
 * spoa_config_routes_release() is due in both cases. */
int spoa_config_routes_read(struct policy *policy, cfg_t *root, const struct node_pool *pools, size_t pool_count,
			    bool direct);
void spoa_config_routes_release(struct policy *policy);

#endif

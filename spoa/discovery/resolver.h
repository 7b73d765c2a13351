/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Resolver: keeps the records of the names that pools' templates have, with c-ares on one loop, and never blocks it. Each name is
 * resolved again when its records expire (record_set.h); of SRV records each target's addresses belong to the same lookup. A lookup of
 * which any part fails is none: what was known stays, one line in the log says so, and a metric.
 *
 * One loop's alone.
 */
#ifndef DISC_RESOLVER_H
#define DISC_RESOLVER_H

#include <ev.h>

#include "record_set.h"
#include "spoa_config.h"
#include "spoa_metrics.h"

struct resolver;

struct resolver_owner {
	struct ev_loop *loop;
	struct spoa_metrics *metrics;
	/* The members of a name, or of several, are other ones: must not change or free the resolver. */
	void (*changed)(void *context);
	void *context;
};

/* Makes a resolver without names. Returns it, or NULL when memory is exhausted. */
struct resolver *resolver_new(const struct resolver_owner *owner);
void resolver_free(struct resolver *resolver);

/* Has it resolve the names of the pools of <config>, of which nothing is kept, by its section "dns". Records of pools whose template
 * has the same name stay known; the others have none until there is an answer. Returns 0, or -1 after a log line: all is as before. */
int resolver_change(struct resolver *resolver, const struct spoa_config *config);

/* Fills <members> with the records of the pool <pool> of that configuration; they hold until the loop turns. Returns how many. */
size_t resolver_members(const struct resolver *resolver, size_t pool,
			const struct node_record *members[static NODE_MAX]);

#endif

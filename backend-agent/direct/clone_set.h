/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Clone set: the clones of one worker. Makes them, brings them the agents' orders, and calls their timers. */
#ifndef DISC_CLONE_SET_H
#define DISC_CLONE_SET_H

#include <ev.h>
#include <stddef.h>

#include "client_route.h"
#include "clone.h"
#include "direct_service.h"

struct clone_set;

/* Makes an empty set on <loop>, in whose thread this is called. <ended>(<context>) is called when a clone has. Returns
 * it, or NULL when memory is exhausted. <service> outlives it. */
struct clone_set *clone_set_new(struct ev_loop *loop, struct direct_service *service, size_t max_clones,
				void (*ended)(void *context), void *context);

/* Drops what is left, and frees <set>, which may be NULL. */
void clone_set_free(struct clone_set *set);

/* See client_route_exists(). */
bool clone_set_reaches(struct clone_set *set, const struct ip_address *client);

/* Makes a clone as clone_new() does. Returns it, or NULL if there are too many or memory is exhausted; <body> is the
 * caller's then. */
struct clone *clone_set_add(struct clone_set *set, const struct clone_terms *terms, struct sealed_body *body);

/* The announcer of <ticket> is gone, for <why>: see clone_cancel(). */
void clone_set_cancel(struct clone_set *set, const struct ticket *ticket, const char *why);

size_t clone_set_count(const struct clone_set *set);

#endif

/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Key groups: to nodes of which trust group the keys of HTTP/2 connections went. HAProxy binds a connection to the group of
 * its first offload (doc/security.md), but hears of it only with the answer: of requests that come together, or whose answer
 * came too late, each brings the same keys without a group.
 *
 * One table for all workers. It has fingerprints, no keys.
 */
#ifndef DISC_KEY_GROUPS_H
#define DISC_KEY_GROUPS_H

#include <stdbool.h>
#include <stdint.h>

#include "tx_state.h"

#define KEY_GROUPS_MAX 65536u /* keys; the one that was used least lately makes room */

struct key_groups;

/* Returns an empty table, or NULL if memory is exhausted. Freed with key_groups_free(); NULL is none. */
struct key_groups *key_groups_new(void);
void key_groups_free(struct key_groups *groups);

/* Whether the key of <state> may go to a node of <group>: it has not gone to another one, and from now on goes to no
 * other. False also if that cannot be noted, because memory is exhausted. Safe from any thread. */
bool key_groups_claim(struct key_groups *groups, const struct tx_state *state, const char *group);

#endif

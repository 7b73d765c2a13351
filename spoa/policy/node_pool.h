/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Nodes and pools of them: which node of a pool a request goes to. The nodes' loads are process-wide atomics,
 * their weights and limits change when the configuration is read again, all else is constant: so all workers choose without a lock.
 *
 * Choice by path hash is HAProxy's own (hash_ring.h): all agents choose alike, and as HAProxy does for what it proxies by
 * itself, and a node that dies moves only its own paths, spread over the others.
 */
#ifndef DISC_NODE_POOL_H
#define DISC_NODE_POOL_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "address.h"
#include "control.h"
#include "hash_ring.h"
#include "metrics.h"
#include "pass_reason.h"

#define NODE_MAX 64u /* a set of nodes is a bit mask */

typedef uint64_t node_set;

struct node {
	const char *name;             /* title in the configuration */
	const char *certificate_name; /* dNSName that its certificate must bear */
	const char *server;           /* name of its server in HAProxy; without <by_address> */
	struct address control;
	struct address fetch;         /* where it answers HAProxy; <len> 0: not configured */
	struct address direct[2];     /* IPv4 and IPv6 that packets of clients are sent to; <len> 0: none */
	bool by_address;              /* a record of DNS: HAProxy connects to <fetch>, whatever servers it has */
	uint32_t server_id;           /* <server>'s id in HAProxy */
	_Atomic unsigned weight;      /* <server>'s weight in HAProxy, to HASH_RING_WEIGHT_MAX; 0: it is never chosen */
	_Atomic int64_t max_offloads; /* at a time, those of other agents too; 0: no limit */
	size_t index;                 /* its bit in a node_set */
	_Atomic unsigned links;       /* workers whose control channel is up */
	_Atomic int64_t own;          /* offloads that this process offered and that have not ended */
	_Atomic int64_t elsewhere;    /* offloads that the node has from other agents, by its last PONG */
	struct metric *up, *active, *spills, *draining, *failures; /* shown to operators; may be NULL */
	size_t place;                                              /* of these among the metrics */
	_Atomic int others;                                        /* who uses it, beside its first user */
	char *texts;                                               /* node_new()'s: what the texts above are in */
};

/* Sets up <node>, zeroed but for its constant fields. HAProxy's id of its server is <index> + 1 and its weight 1, unless
 * they are changed before a pool is prepared. */
void node_init(struct node *node, const char *name, size_t index);

/* Makes a node that has copies of these texts. Returns it with one user, or NULL when memory is exhausted. */
struct node *node_new(const char *name, const char *certificate_name, const char *server, size_t index);

/* One user more, and one less: the last one frees a node of node_new(). From any thread. */
void node_hold(struct node *node);
void node_drop(struct node *node);

/* Counts offloads that this process offered (<delta> > 0) or that ended (< 0). */
void node_add_own(struct node *node, int64_t delta);

/* Takes a PONG's count of all offloads active on the node: what is not our own is another agent's. */
void node_set_total(struct node *node, uint32_t offloads);

/* Offloads on the node, as far as this process knows. */
int64_t node_load(const struct node *node);

/* Whether <node> has as many offloads as it may have. Those that other workers and agents just now offer are not known
 * yet. */
bool node_is_full(const struct node *node);

/* Whether both are one node, in all that stays as long as it does. */
bool node_is_same(const struct node *a, const struct node *b);

enum node_balance { BALANCE_PATH_HASH, BALANCE_LEAST_ACTIVE };

struct node_template;

struct node_pool {
	const char *name;
	const struct node_template *template; /* of all its nodes; NULL: they are a list */
	const char *trust_group;              /* nodes that may hold the same connection's key */
	struct node *members[NODE_MAX];
	size_t count;
	enum node_balance balance;
	struct hash_ring ring; /* of <members>, by node_pool_prepare() */
};

/* Makes the ring of <pool>, once its members are complete; without it no node is ever chosen. Returns 0, or -1 when memory
 * is exhausted. To be given to node_pool_release(), as is one that is all zero. */
int node_pool_prepare(struct node_pool *pool);
void node_pool_release(struct node_pool *pool);

/* All members of <pool>. */
node_set node_pool_members(const struct node_pool *pool);

/* Members of a pool by what they can take now. */
struct node_pool_state {
	node_set ready;             /* these take offloads, */
	node_set full;              /* and these would, but have as many as they may have */
	enum pass_reason otherwise; /* why a request is passed if none of <ready> takes its offer */
};

/* Sorts the members of <pool>: of the nodes whose control channel is up those in <taking> take new offloads. */
struct node_pool_state node_pool_judge(const struct node_pool *pool, node_set up, node_set taking);

/* Whether a client connection that is bound to the trust group <group>, which may be empty, excludes <pool>: the key of a
 * connection opens all that it carries. */
bool node_pool_is_foreign(const struct node_pool *pool, struct control_text group);

/* Chooses for <path> one of the members that are in <usable>: by its hash, or the one with the fewest active offloads
 * for its weight, and by the hash among equals. Returns NULL if there is none. */
struct node *node_pool_choose(const struct node_pool *pool, struct control_text path, node_set usable);

static inline node_set node_bit(const struct node *node)
{
	return (node_set)1 << node->index;
}

#endif

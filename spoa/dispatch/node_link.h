/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Node link: one worker's control channel to one node, and the lanes beside it that a node with a direct path asks for (doc/protocol.md
 * section 3). If one of them closes, all do.
 *
 *   WAITING --(retry timer)--> CONNECTING --(channel open, HELLO sent)--> GREETING --(HELLO, common version)--> [LANES] --(all greeted)--> UP
 *      ^                            |                                        |                                     |                      |
 *      +----------------------------+--(closed, no version, silent)----------+-------------------------------------+----------------------+
 *
 * A ticket belongs to one lane: what is said of it goes there, and the node's worker that has that lane has the connection.
 * PING goes out every 250 ms; a node is dead after 750 ms without a message and two unanswered pings. The retry timer
 * starts with 100 ms and doubles to 2 s, with jitter; an UP link resets it.
 */
#ifndef DISC_NODE_LINK_H
#define DISC_NODE_LINK_H

#include <ev.h>
#include <stdbool.h>

#include "changed_paths.h"
#include "channel.h"
#include "node_pool.h"
#include "spoa_metrics.h"

#define NODE_PING_S 0.25
#define NODE_DEAD_S 0.75
#define NODE_DEAD_PINGS 2u
#define NODE_RETRY_MIN_S 0.1
#define NODE_RETRY_MAX_S 2.0

struct node_link;

/* Receiver of what nodes say about handed-off connections. */
struct node_link_listener {
	/* HANDOFF_REPLY, PROGRESS, CLIENT_DATA, DRAINED, HANDBACK, GONE or RESULT came from <node>. Returns
	 * NULL, or a reason to close the channel with. */
	const char *(*received)(void *context, struct node *node, const struct control_message *message);
	/* The channel to <node> is closed. */
	void (*lost)(void *context, struct node *node);
	/* <node> takes no new offloads any more. */
	void (*drains)(void *context, struct node *node);
	void *context;
};

struct node_link_owner {
	struct ev_loop *loop;
	struct channel_tls *tls;
	struct spoa_metrics *metrics;
	struct changed_paths *changed_paths;
	unsigned changed_hold;          /* seconds, for changed_paths_add() */
	bool reports;                   /* this worker's links log failed attempts to connect */
	void (*settled)(void *context); /* an offer of ours ended; may be NULL */
	void *context;
	const struct node_link_listener *listener; /* may be NULL */
};

enum node_link_readiness {
	NODE_LINK_DOWN,
	NODE_LINK_DRAINING, /* up, but the node takes no new offloads */
	NODE_LINK_READY,
};

/* Makes a link to <node>, which is held, and begins to connect from the loop. <owner> must outlive it. Returns it, or
 * NULL when memory is exhausted. */
struct node_link *node_link_new(const struct node_link_owner *owner, struct node *node);

/* Closes and frees <link>, which may be NULL. Offers that have not ended are forgotten. */
void node_link_free(struct node_link *link);

/* NULL is DOWN. */
enum node_link_readiness node_link_readiness(const struct node_link *link);

struct node *node_link_node(const struct node_link *link);

/* Whether the node has answered a question of the last NODE_DEAD_S. If not, although it is up, this process may be the one that
 * got no processor: what the node has sent meanwhile, however much that is, is to be read before it is entrusted with
 * anything. */
bool node_link_is_fresh(const struct node_link *link);

/* Queues the encoded OFFER <frame> of <offer>. Returns 0, or -1 if the link is not READY, its queue is full or memory
 * is exhausted: then nothing was sent. */
int node_link_offer(struct node_link *link, const struct control_offer *offer, const uint8_t *frame, size_t len);

/* Whether the node, which is READY, takes an OFFER whose TX state is for grants: others would close the channel. */
bool node_link_takes_grants(const struct node_link *link);

/* Whether the node is READY and transmits on clients' connections. */
bool node_link_direct(const struct node_link *link);

/* Queues the encoded message <frame> about <ticket>. Returns 0, or -1 if the link is not up or its queue is full: then nothing was
 * sent. */
int node_link_send(struct node_link *link, const struct ticket *ticket, const uint8_t *frame, size_t len);

/* Offers made on <link> that have not ended. */
size_t node_link_outstanding(const struct node_link *link);

#endif

/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Direct path: what of disc-spoa lends clients' connections to nodes (doc/direct-path.md) - steering, the lending
 * socket, the loans and the routes to nodes - behind one door for dispatch. */
#ifndef DISC_DIRECT_PATH_H
#define DISC_DIRECT_PATH_H

#include "client_network.h"
#include "loan_environment.h"

struct direct_path;

struct direct_path_owner {
	struct ev_loop *loop;
	const struct spoa_config *config;
	struct spoa_metrics *metrics;
	struct node_link *const *links; /* by the nodes' index; filled in before the loop runs */
	void (*settled)(void *context); /* a loan ended; may be NULL */
	void *context;
};

/* Opens steering and the lending socket, resets the clients of an earlier process, and keeps of this thread's
 * capabilities what is needed from then on. Returns the direct path; or NULL, after a log line that says what is
 * missing, and without any capability: bodies take the splice path then. <owner> is copied. */
struct direct_path *direct_path_new(const struct direct_path_owner *owner);

/* Resets the clients of all loans, tells HAProxy, and frees <direct>, which may be NULL. */
void direct_path_free(struct direct_path *direct);

/* What links are to tell. */
const struct node_link_listener *direct_path_listener(const struct direct_path *direct);

/* Decides about the direct path for <offer>, which is about to be made to <node>, for a client at <client>: if it can
 * be taken, keeps what a takeover needs and sets offer->direct_min, else leaves it 0. */
void direct_path_expect(struct direct_path *direct, struct control_offer *offer, const struct policy_route *route,
			struct node *node, const struct client_address *client);

/* The offer was not made. */
void direct_path_forget(struct direct_path *direct, const struct ticket *ticket);

/* Takes back what nodes have, completes it here and hands nothing off any more. */
void direct_path_drain(struct direct_path *direct);

/* Connections that are lent. */
size_t direct_path_outstanding(const struct direct_path *direct);

#endif

/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Lease store: TX states that a takeover may need, many to a page of secret memory (secret.h). */
#ifndef DISC_LEASE_STORE_H
#define DISC_LEASE_STORE_H

#include "tx_state.h"

struct lease_store;

/* Returns an empty store, or NULL when memory is exhausted. */
struct lease_store *lease_store_new(void);

/* Wipes and frees <store>, which may be NULL, with all that is in it. */
void lease_store_free(struct lease_store *store);

/* Keeps a copy of <state>. Returns it, to be given to lease_store_drop(), or NULL when memory is exhausted. */
struct tx_state *lease_store_keep(struct lease_store *store, const struct tx_state *state);

/* Wipes what lease_store_keep() returned. <state> may be NULL. */
void lease_store_drop(struct lease_store *store, struct tx_state *state);

#endif

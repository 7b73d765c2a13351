/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "lease_store.h"

#include <stdlib.h>

#include "secret.h"

#define PAGE_SIZE 4096u

/* A free place holds the next free one; one in use holds a TX state. */
union place {
	struct tx_state state;
	union place *next;
};

#define PLACES ((PAGE_SIZE - sizeof(void *)) / sizeof(union place))

/* Pages are kept until the end: the greatest number of handoffs there was may come again. */
struct page {
	struct page *next;
	union place places[PLACES];
};

_Static_assert(sizeof(struct page) <= PAGE_SIZE, "a page of leases is a page");

struct lease_store {
	struct page *pages;
	union place *spare;
};

struct lease_store *lease_store_new(void)
{
	return calloc(1, sizeof(struct lease_store));
}

void lease_store_free(struct lease_store *store)
{
	if (!store)
		return;
	while (store->pages) {
		struct page *page = store->pages;

		store->pages = page->next;
		secret_free(page, sizeof(*page));
	}
	free(store);
}

static int add_page(struct lease_store *store)
{
	struct page *page = secret_alloc(sizeof(*page));

	if (!page)
		return -1;
	page->next = store->pages;
	store->pages = page;
	for (size_t i = 0; i < PLACES; i++) {
		page->places[i].next = store->spare;
		store->spare = &page->places[i];
	}
	return 0;
}

struct tx_state *lease_store_keep(struct lease_store *store, const struct tx_state *state)
{
	union place *place;

	if (!store->spare && add_page(store) < 0)
		return NULL;
	place = store->spare;
	store->spare = place->next;
	place->state = *state;
	return &place->state;
}

void lease_store_drop(struct lease_store *store, struct tx_state *state)
{
	union place *place = (union place *)state;

	if (!state)
		return;
	secret_wipe(place, sizeof(*place));
	place->next = store->spare;
	store->spare = place;
}

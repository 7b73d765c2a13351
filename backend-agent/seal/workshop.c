/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "workshop.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>

struct workshop {
	struct workshop_tenant *tenant; /* whose block is there, or NULL */
	uint8_t block[WORKSHOP_LEN];
};

static pthread_once_t once = PTHREAD_ONCE_INIT;
static pthread_key_t key;
static bool has_key;

static void make_key(void)
{
	has_key = pthread_key_create(&key, free) == 0;
}

/* Returns that of this thread, which goes with it; NULL when memory is exhausted. */
static struct workshop *this_workshop(void)
{
	struct workshop *workshop;

	(void)pthread_once(&once, make_key);
	workshop = has_key ? pthread_getspecific(key) : NULL;
	if (workshop || !has_key)
		return workshop;
	workshop = malloc(sizeof(*workshop));
	if (!workshop)
		return NULL;
	workshop->tenant = NULL;
	if (pthread_setspecific(key, workshop) == 0)
		return workshop;
	free(workshop);
	return NULL;
}

uint8_t *workshop_enter(struct workshop_tenant *tenant)
{
	struct workshop *workshop = this_workshop();

	if (!workshop)
		return NULL;
	if (workshop->tenant && workshop->tenant != tenant) {
		struct workshop_tenant *before = workshop->tenant;

		before->move_out(before);
		workshop_leave(before);
	}
	workshop->tenant = tenant;
	tenant->workshop = workshop;
	return workshop->block;
}

uint8_t *workshop_block(const struct workshop_tenant *tenant)
{
	return tenant->workshop ? tenant->workshop->block : NULL;
}

void workshop_leave(struct workshop_tenant *tenant)
{
	if (tenant->workshop)
		tenant->workshop->tenant = NULL;
	tenant->workshop = NULL;
}

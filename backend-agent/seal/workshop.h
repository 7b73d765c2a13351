/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Workshop: where all bodies of a thread are sealed, one after another. One block for all stays in the CPU's cache, and a
 * body that waits for its socket holds none: it keeps only what the socket did not take. */
#ifndef DISC_WORKSHOP_H
#define DISC_WORKSHOP_H

#include <stdint.h>

#include "data_record.h"
#include "record.h"

#define WORKSHOP_RECORDS 16u
#define WORKSHOP_LEN ((WORKSHOP_RECORDS + 1) * RECORD_SEALED_MAX)

/* Whose block is there. The tenant's own first member. */
struct workshop_tenant {
	struct workshop *workshop; /* private: NULL, if its block is elsewhere, or it has none */
	/* Another one enters: takes what is left of the block away. */
	void (*move_out)(struct workshop_tenant *tenant);
};

/* Makes room in this thread's workshop for <tenant>, from which the tenant before moves out. Returns its block, of WORKSHOP_LEN
 * bytes, or NULL when memory is exhausted. */
uint8_t *workshop_enter(struct workshop_tenant *tenant);

/* <tenant>'s block in the workshop; NULL if it is not there. */
uint8_t *workshop_block(const struct workshop_tenant *tenant);

/* <tenant>'s block is not needed any more; it may have none. */
void workshop_leave(struct workshop_tenant *tenant);

#endif

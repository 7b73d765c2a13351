/*
 * include/haproxy/disc_slots.h
 * Slots of a TLS 1.3 session that are given away on demand, by grants.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef _HAPROXY_DISC_SLOTS_H
#define _HAPROXY_DISC_SLOTS_H

#include <haproxy/disc_lease-t.h>

#define DISC_VOIDS_MAX 2 /* void grants after which a connection gets no more */

/* Beside the leases of a connection (disc_lease-t.h), in whose generations and budget of
 * KeyUpdates it takes part. Any number of nodes may know the keys of the generation in use,
 * which gives them no slot. Those come by grants, one at a time:
 *
 *             open                    commit
 *   CLOSED ---------> OPEN ----------------------------> CLOSED: the granted slots are used,
 *     ^                |                                         our counter is behind them
 *     |                |  void
 *     +----------------+-- the generation is closed: its slots are the node's for ever
 *
 * A grant fixes the pivot, our next slot, which stays ours, and the <records> slots behind
 * it. We seal nothing while it is open. It is untouched as long as the next slot is the
 * pivot. Slots of a generation are only given upwards, so none is given twice.
 */
struct disc_slots {
	struct disc_lease *lease; /* of the same session: its generations, dates of KeyUpdates and of unknown fates */
	uint64_t pivot;           /* of the open grant, */
	uint64_t records;         /*   slots behind it, */
	uint32_t open_gen;        /*   and their generation; the keys of a later one may have been given away meanwhile */
	uint64_t next;            /* of generation <gen>: no slot from here on was ever given */
	uint32_t gen;             /* generation whose keys were given away last */
	uint8_t exported;         /* they were */
	uint8_t open;
	uint8_t voids;
};

void disc_slots_init(struct disc_slots *slots, struct disc_lease *lease);
const char *disc_slots_export(struct disc_slots *slots, uint8_t wire[DISC_TX_WIRE_LEN], uint8_t proof_key[DISC_PROOF_BYTES],
                              uint32_t now);
int disc_slots_usable(struct disc_slots *slots, uint32_t gen, uint32_t now);
int disc_slots_open(struct disc_slots *slots, uint32_t gen, uint64_t records, uint32_t now);
int disc_slots_untouched(struct disc_slots *slots, uint32_t now);
int disc_slots_commit(struct disc_slots *slots, uint32_t now);
void disc_slots_void(struct disc_slots *slots, uint32_t now);

#endif /* _HAPROXY_DISC_SLOTS_H */

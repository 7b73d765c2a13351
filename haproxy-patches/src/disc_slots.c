/*
 * src/disc_slots.c
 * Slots of a TLS 1.3 session that are given away on demand, by grants.
 *
 * Like disc_lease.c it knows a TLS session and dates in milliseconds (<now>, free to wrap),
 * nothing of connections nor of HTTP, so that it can be tested alone.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <string.h>

#include <haproxy/disc_lease.h>
#include <haproxy/disc_slots.h>
#include <haproxy/disc_wolfssl.h>

#define TLS_1_3 4
#define DISC_SLOTS_END (DISC_RECORDS_MAX - 1024) /* no pivot is here or beyond: a grant has few records */

/* Prepares <slots> for the session of <lease>, which has to stay there as long. */
void disc_slots_init(struct disc_slots *slots, struct disc_lease *lease)
{
	memset(slots, 0, sizeof(*slots));
	slots->lease = lease;
}

/* Writes the TX state of the generation in use to <wire>, for somebody who will seal what
 * grants name and nothing else, with a fresh key of proofs, which <proof_key> gets as well.
 * May be called any number of times. A closed generation is left first. Returns NULL, or one
 * word telling why not.
 */
const char *disc_slots_export(struct disc_slots *slots, uint8_t wire[DISC_TX_WIRE_LEN], uint8_t proof_key[DISC_PROOF_BYTES],
                              uint32_t now)
{
	struct disc_lease *lease = slots->lease;
	const char *why = NULL;
	struct disc_tx tx;

	if (lease->state != DISC_LS_NONE)
		return "busy";
	if (slots->voids >= DISC_VOIDS_MAX)
		return "voids";
	if (!disc_lease_sync(lease, now))
		return "keys";
	if (!disc_wolf_tx_get(lease->ssl, &tx))
		return "suite";
	if (tx.tls_minor != TLS_1_3)
		why = "suite";
	else if ((disc_gen_closed(lease) || tx.seq >= DISC_OWN_SEQ_MAX) &&
	         (slots->open || lease->write_blocked || disc_wolf_unflushed(lease->ssl)))
		why = "pending"; /* no KeyUpdate can be sent now */
	lease->tls_minor = tx.tls_minor;
	lease->overhead = 5 + 1 + 16;
	if (!why)
		why = disc_lease_generation_in_use(lease, &tx, now);
	if (!why && !disc_wolf_random(lease->ssl, proof_key, DISC_PROOF_BYTES))
		why = "crypto";
	if (!why) {
		tx.seq = 0;
		disc_tx_encode(wire, &tx);
		wire[6] = 1; /* use: grants */
		memcpy(wire + DISC_TX_WIRE_LEN - DISC_PROOF_BYTES, proof_key, DISC_PROOF_BYTES);
		if (!slots->exported || slots->gen != lease->gen)
			slots->next = disc_wolf_seq(lease->ssl);
		slots->exported = 1;
		slots->gen = lease->gen;
	}
	disc_wolf_wipe(&tx, sizeof(tx));
	return why;
}

/* Returns 1 if those who got the keys of generation <gen> may be given slots, now or later,
 * otherwise 0.
 */
int disc_slots_usable(struct disc_slots *slots, uint32_t gen, uint32_t now)
{
	return slots->exported && slots->voids < DISC_VOIDS_MAX && slots->lease->state == DISC_LS_NONE &&
	       disc_lease_sync(slots->lease, now) && gen == slots->gen && gen == slots->lease->gen &&
	       !disc_gen_closed(slots->lease) && disc_wolf_seq(slots->lease->ssl) < DISC_SLOTS_END;
}

/* Returns 1 if nothing waits in the session to be sent and <slots> may go on from its next
 * slot, which it stores in <*seq>, otherwise 0.
 */
static int disc_slots_idle(struct disc_slots *slots, uint64_t *seq)
{
	struct disc_lease *lease = slots->lease;
	struct disc_tx tx;
	int ok = disc_wolf_tx_get(lease->ssl, &tx) && !lease->write_blocked && !disc_wolf_unflushed(lease->ssl);

	*seq = tx.seq;
	disc_wolf_wipe(&tx, sizeof(tx));
	return ok;
}

/* Opens a grant of <records> slots, maybe none, of generation <gen>, those behind the pivot.
 * Returns 1 if it is open, or 0 if this cannot be done now.
 */
int disc_slots_open(struct disc_slots *slots, uint32_t gen, uint64_t records, uint32_t now)
{
	uint64_t seq;

	if (slots->open || !disc_slots_usable(slots, gen, now) || !disc_slots_idle(slots, &seq))
		return 0;
	if (seq < slots->next || records > DISC_RECORDS_MAX - DISC_SLOTS_END - 1)
		return 0;
	slots->open_gen = gen;
	slots->pivot = seq;
	slots->records = records;
	if (records)
		slots->next = seq + 1 + records;
	slots->open = 1;
	return 1;
}

/* Returns 1 if the grant is open and the next slot is its pivot, otherwise 0. */
int disc_slots_untouched(struct disc_slots *slots, uint32_t now)
{
	uint64_t seq;

	return slots->open && disc_slots_usable(slots, slots->open_gen, now) && disc_slots_idle(slots, &seq) &&
	       seq == slots->pivot;
}

/* Ends the open grant, all of whose records are there, its pivot having just been sealed:
 * moves our counter behind them. Returns 1, or 0 with the connection poisoned if anything
 * but the pivot was sealed.
 */
int disc_slots_commit(struct disc_slots *slots, uint32_t now)
{
	const int open = slots->open;
	uint64_t seq;

	slots->open = 0;
	if (open && disc_lease_sync(slots->lease, now) && slots->lease->gen == slots->open_gen &&
	    disc_slots_idle(slots, &seq) && seq == slots->pivot + 1 && disc_wolf_advance(slots->lease->ssl, slots->records))
		return 1;
	disc_lease_poison(slots->lease);
	return 0;
}

/* Ends the open grant, if any, whose slots will not be used: its generation is closed unless
 * it was left already, and the pivot takes the KeyUpdate which leaves it. A grant without
 * slots leaves no trace. The connection is poisoned if the pivot was used for an alert.
 */
void disc_slots_void(struct disc_slots *slots, uint32_t now)
{
	struct disc_lease *lease = slots->lease;

	if (!slots->open)
		return;
	slots->open = 0;
	if (!slots->records || lease->state == DISC_LS_POISONED)
		return;
	slots->voids++;
	lease->unknowns++;
	lease->unknown_date = now;
	if (!disc_lease_sync(lease, now) || lease->gen != slots->open_gen)
		return;
	disc_gen_close(lease, lease->gen);
	lease->exit_seq = slots->pivot;
	if (disc_wolf_seq(lease->ssl) != lease->exit_seq)
		disc_lease_poison(lease);
}

/*
 * src/disc_lease.c
 * Lease of a client connection's TLS write state, for DiSC.
 *
 * This is the place which guarantees that no (key, nonce) pair ever seals two
 * plaintexts, see disc_lease-t.h for how. It knows neither connections nor HTTP,
 * only a TLS session and dates in milliseconds (<now>, free to wrap), so that it
 * can be tested alone.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <string.h>

#include <haproxy/disc_lease.h>
#include <haproxy/disc_wolfssl.h>

#define TLS_1_2 3
#define TLS_1_3 4

/* Prepares <lease> for the TLS session <ssl>, whose handshake is over and which
 * has no write to be retried.
 */
void disc_lease_init(struct disc_lease *lease, void *ssl)
{
	memset(lease, 0, sizeof(*lease));
	lease->ssl = ssl;
	lease->closed_first = 1; /* empty */
	lease->passed_gen = UINT32_MAX;
	disc_wolf_secret(ssl, lease->secret);
	disc_wolf_forget_blocked(ssl);
}

/* Wipes all what <lease> knows. */
void disc_lease_wipe(struct disc_lease *lease)
{
	disc_wolf_wipe(lease, sizeof(*lease));
}

/* Wipes the TX state, once it was given away or will not be. */
void disc_lease_wipe_wire(struct disc_lease *lease)
{
	disc_wolf_wipe(lease->wire, sizeof(lease->wire));
}

/* Wipes what is secret about the current lease. */
static void disc_lease_wipe_secrets(struct disc_lease *lease)
{
	disc_lease_wipe_wire(lease);
	disc_wolf_wipe(lease->proof_key, sizeof(lease->proof_key));
}

/* From now on nothing may be sealed on this connection. */
void disc_lease_poison(struct disc_lease *lease)
{
	disc_lease_wipe_secrets(lease);
	lease->state = DISC_LS_POISONED;
}

const char *disc_lease_state_str(enum disc_lease_state state)
{
	switch (state) {
	case DISC_LS_LEASED:   return "leased";
	case DISC_LS_ACCEPTED: return "accepted";
	case DISC_LS_PASSING:  return "passing";
	case DISC_LS_POISONED: return "poisoned";
	default:               return "none";
	}
}

const char *disc_lease_fate_str(enum disc_lease_fate fate)
{
	switch (fate) {
	case DISC_LF_ACCEPTED: return "accepted";
	case DISC_LF_RETURNED: return "returned";
	case DISC_LF_UNKNOWN:  return "unknown";
	default:               return "none";
	}
}

/* Notes that a KeyUpdate was sent at date <now>. */
static void disc_ku_note(struct disc_lease *lease, uint32_t now)
{
	lease->ku_date[lease->ku_next] = now;
	lease->ku_next = (lease->ku_next + 1) % DISC_KU_MAX;
	lease->ku_count++;
}

/* Returns the number of KeyUpdates sent during the last window, not counting
 * beyond DISC_KU_MAX.
 */
uint32_t disc_ku_recent(const struct disc_lease *lease, uint32_t now)
{
	uint32_t i, n = 0;

	for (i = 0; i < DISC_KU_MAX && i < lease->ku_count; i++) {
		if (now - lease->ku_date[i] < DISC_KU_WINDOW)
			n++;
	}
	return n;
}

int disc_gen_any_closed(const struct disc_lease *lease)
{
	return lease->closed_first <= lease->closed_last && lease->gen <= lease->closed_last;
}

/* true if the current generation is closed to our own data */
int disc_gen_closed(const struct disc_lease *lease)
{
	return lease->gen >= lease->closed_first && lease->gen <= lease->closed_last;
}

/* number of closed generations which are still ahead of us */
uint32_t disc_gen_tainted(const struct disc_lease *lease)
{
	if (!disc_gen_any_closed(lease))
		return 0;
	if (lease->gen < lease->closed_first)
		return lease->closed_last - lease->closed_first + 1;
	return lease->closed_last - lease->gen;
}

/* Notes that <gen>, the current generation or one which follows the last closed one, is
 * closed from now on.
 */
void disc_gen_close(struct disc_lease *lease, uint32_t gen)
{
	if (!disc_gen_any_closed(lease))
		lease->closed_first = lease->closed_last = gen;
	else if (gen < lease->closed_first)
		lease->closed_first = gen;
	else if (gen > lease->closed_last)
		lease->closed_last = gen;
}

/* Notes that the next generation was entered. */
static void disc_gen_entered(struct disc_lease *lease, uint32_t now)
{
	lease->gen++;
	lease->exit_seq = 0;
	disc_ku_note(lease, now);
}

/* Moves to the next generation. The KeyUpdate is the only record that may be sealed in a
 * closed one, so this fails if wolfSSL has already used up the slot that is left there,
 * for an alert of its own. Returns 1, or 0 with the lease poisoned.
 */
int disc_gen_leave(struct disc_lease *lease, uint32_t now)
{
	if (disc_gen_closed(lease) && disc_wolf_seq(lease->ssl) != lease->exit_seq) {
		disc_lease_poison(lease);
		return 0;
	}
	if (!disc_wolf_key_update(lease->ssl) || !disc_wolf_next_secret(lease->ssl, lease->secret)) {
		disc_lease_poison(lease);
		return 0;
	}
	disc_gen_entered(lease, now);
	return 1;
}

/* Leaves the current generation if it is closed, and all closed ones behind it. Returns
 * 1, or 0 with the lease poisoned.
 */
int disc_gen_leave_closed(struct disc_lease *lease, uint32_t now)
{
	while (disc_gen_any_closed(lease)) {
		if (!disc_gen_leave(lease, now))
			return 0;
	}
	return 1;
}

/* Finds out whether wolfSSL changed its write keys by itself, which it does at
 * the client's request (a KeyUpdate which asks for one in return) or when a key
 * was used for long. Such updates only seal the record which leaves each
 * generation, closed or not. Returns 1, or 0 with the lease poisoned if the keys
 * are not recognized.
 */
int disc_lease_sync(struct disc_lease *lease, uint32_t now)
{
	uint8_t secret[DISC_SECRET_MAX];
	int steps, same;

	disc_wolf_secret(lease->ssl, secret);
	for (steps = 0; !(same = !memcmp(secret, lease->secret, sizeof(secret))) && steps < 256; steps++) {
		if (!disc_wolf_next_secret(lease->ssl, lease->secret))
			break;
		disc_gen_entered(lease, now);
	}
	disc_wolf_wipe(secret, sizeof(secret));
	if (!same)
		disc_lease_poison(lease);
	return same;
}

/* Writes <tx> to <wire> in wire form 2, but for the key of proofs. */
void disc_tx_encode(uint8_t wire[DISC_TX_WIRE_LEN], const struct disc_tx *tx)
{
	int i;

	memset(wire, 0, DISC_TX_WIRE_LEN);
	wire[0] = 2;
	wire[1] = tx->tls_minor;
	wire[2] = tx->suite >> 8;
	wire[3] = tx->suite;
	wire[4] = tx->aead;
	wire[5] = tx->key_len;
	memcpy(wire + 8, tx->key, tx->key_len);
	memcpy(wire + 40, tx->iv, sizeof(tx->iv));
	for (i = 0; i < 8; i++)
		wire[52 + i] = tx->seq >> (56 - 8 * i);
}

/* Leases the generation which follows all those known, <tx> being the current
 * write state and receiving the leased one. Returns NULL, or the reason why not.
 */
static const char *disc_lease_generation(struct disc_lease *lease, struct disc_tx *tx, uint32_t now)
{
	uint8_t secret[DISC_SECRET_MAX];
	uint32_t tainted = disc_gen_tainted(lease);
	uint32_t steps = tainted ? lease->closed_last - lease->gen + 1 : 1;
	uint32_t gen = lease->gen + steps;
	const char *why = NULL;

	if (tainted >= DISC_TAINTED_MAX)
		return "tainted";
	/* enter it, and leave it afterwards */
	if (disc_ku_recent(lease, now) + steps + 1 > DISC_KU_MAX)
		return "budget";

	memcpy(secret, lease->secret, sizeof(secret));
	while (steps-- && !why) {
		if (!disc_wolf_next_secret(lease->ssl, secret))
			why = "crypto";
	}
	if (!why && !disc_wolf_tx_from_secret(lease->ssl, secret, tx))
		why = "crypto";
	disc_wolf_wipe(secret, sizeof(secret));
	if (why)
		return why;

	tx->seq = 1;
	disc_gen_close(lease, gen);
	lease->lease_gen = gen;
	return NULL;
}

/* Makes sure that slots of the generation in use may be given away, <tx> being the current
 * write state, which is updated: a closed generation is left first, and one in use for long.
 * Returns NULL, or the reason why not.
 */
const char *disc_lease_generation_in_use(struct disc_lease *lease, struct disc_tx *tx, uint32_t now)
{
	uint32_t doubled = lease->unknowns <= DISC_BACKOFF_MAX ? lease->unknowns - 1 : DISC_BACKOFF_MAX;
	uint32_t updates = 0;

	if (lease->unknowns && now - lease->unknown_date < (uint32_t)DISC_BACKOFF << doubled)
		return "backoff";
	if (disc_gen_closed(lease) || tx->seq >= DISC_OWN_SEQ_MAX)
		updates = disc_gen_any_closed(lease) ? lease->closed_last - lease->gen + 1 : 1;
	/* should its fate be unknown, the generation has to be left, and with it closed ones ahead */
	if (disc_ku_recent(lease, now) + updates + 1 + (updates ? 0 : disc_gen_tainted(lease)) > DISC_KU_MAX)
		return "budget";
	if (updates) {
		if (!disc_gen_leave(lease, now) || !disc_gen_leave_closed(lease, now))
			return "keys";
		if (disc_wolf_unflushed(lease->ssl))
			return "pending";
		if (!disc_wolf_tx_get(lease->ssl, tx))
			return "suite";
	}
	return NULL;
}

/* Leases the slots behind the next one of the generation in use, <tx> being the current
 * write state and receiving the leased one. Returns NULL, or the reason why not.
 */
static const char *disc_lease_slots(struct disc_lease *lease, struct disc_tx *tx, uint32_t now)
{
	const char *why = disc_lease_generation_in_use(lease, tx, now);

	if (why)
		return why;
	tx->seq++; /* the pivot is ours */
	lease->lease_gen = lease->gen;
	return NULL;
}

/* Leases a region of explicit nonces, <tx> being the current write state and
 * receiving the leased one. Returns NULL, or the reason why not.
 */
static const char *disc_lease_region(struct disc_lease *lease, struct disc_tx *tx)
{
	uint8_t *explicit = tx->iv + 4;
	uint32_t own = explicit[0] << 16 | explicit[1] << 8 | explicit[2];
	uint32_t region;

	if (!lease->regions)
		lease->region_base = own;
	/* wolfSSL increments salt and explicit nonce as a single number, so it must
	 * stay away from the end, and from the regions leased: it may at most enter
	 * the one after its first, which is never leased.
	 */
	if (own == 0xffffff || (own != lease->region_base && own != lease->region_base + 1))
		return "nonce";
	if (lease->regions >= (1 << 22))
		return "nonce";

	region = (lease->region_base + 2 + lease->regions++) & 0xffffff;
	explicit[0] = region >> 16;
	explicit[1] = region >> 8;
	explicit[2] = region;
	memset(explicit + 3, 0, 5);
	tx->seq++; /* the headers come first */
	return NULL;
}

/* Takes a lease numbered <id> of <keys>. The previous one, if still there, is given up.
 * Returns NULL, or one word telling why there is no lease, in which case the connection
 * goes on as usual.
 */
const char *disc_lease_take(struct disc_lease *lease, enum disc_keys keys, uint64_t id, uint32_t now)
{
	struct disc_tx tx;
	const char *why = NULL;

	if (lease->state == DISC_LS_PASSING || lease->state == DISC_LS_POISONED)
		return "busy";
	disc_lease_give_up(lease, now);
	if (lease->state == DISC_LS_POISONED || !disc_lease_sync(lease, now))
		return "keys";
	if (lease->write_blocked || disc_wolf_unflushed(lease->ssl))
		return "pending";
	if (!disc_wolf_tx_get(lease->ssl, &tx))
		return "suite";

	lease->tls_minor = tx.tls_minor;
	lease->overhead = tx.tls_minor == TLS_1_3 ? 5 + 1 + 16 : 5 + 8 + 16;
	if (!disc_wolf_random(lease->ssl, lease->proof_key, sizeof(lease->proof_key)))
		why = "crypto";
	else if (tx.tls_minor != TLS_1_3)
		why = disc_lease_region(lease, &tx);
	else if (keys == DISC_KEYS_RESPONSE)
		why = disc_lease_generation(lease, &tx, now);
	else
		why = disc_lease_slots(lease, &tx, now);
	if (!why) {
		disc_tx_encode(lease->wire, &tx);
		memcpy(lease->wire + DISC_TX_WIRE_LEN - DISC_PROOF_BYTES, lease->proof_key, DISC_PROOF_BYTES);
		lease->keys = keys;
		lease->exported = 0;
		lease->id = id;
		lease->seq = tx.seq;
		lease->records = 0;
		lease->fate = DISC_LF_OPEN;
		lease->state = DISC_LS_LEASED;
	}
	disc_wolf_wipe(&tx, sizeof(tx));
	return why;
}

/* Returns the TX state of the lease in wire form, DISC_TX_WIRE_LEN bytes that stay there
 * until disc_lease_wipe_wire(), or NULL: it is given away once.
 */
const uint8_t *disc_lease_export(struct disc_lease *lease)
{
	if (lease->state != DISC_LS_LEASED || lease->exported)
		return NULL;
	lease->exported = 1;
	return lease->wire;
}

/* Notes that the TX state which was exported reached nobody, and never will. */
void disc_lease_unexport(struct disc_lease *lease)
{
	if (lease->state == DISC_LS_LEASED)
		lease->exported = 0;
}

/* Writes the proof of <len> bytes at <text> under <key> to <proof>, as hexadecimal digits.
 * Returns 1, or 0 on failure.
 */
int disc_proof_make(const uint8_t key[DISC_PROOF_BYTES], const void *text, size_t len, char proof[DISC_PROOF_LEN + 1])
{
	static const char digits[] = "0123456789abcdef";
	uint8_t bytes[DISC_PROOF_BYTES];
	int i;

	if (!disc_wolf_proof(key, text, len, bytes))
		return 0;
	for (i = 0; i < DISC_PROOF_BYTES; i++) {
		proof[2 * i] = digits[bytes[i] >> 4];
		proof[2 * i + 1] = digits[bytes[i] & 15];
	}
	proof[DISC_PROOF_LEN] = 0;
	return 1;
}

/* Returns 1 if <proof> is that of <len> bytes at <text> under <key>, otherwise 0. How long it
 * takes does not depend on where it differs.
 */
int disc_proof_check(const uint8_t key[DISC_PROOF_BYTES], const void *text, size_t len, const char proof[DISC_PROOF_LEN])
{
	char right[DISC_PROOF_LEN + 1];
	uint8_t differs = 0;
	int i;

	if (!disc_proof_make(key, text, len, right))
		return 0;
	for (i = 0; i < DISC_PROOF_LEN; i++)
		differs |= right[i] ^ proof[i];
	return !differs;
}

/* The same two under the key of the lease. */
int disc_lease_prove(const struct disc_lease *lease, const void *text, size_t len, char proof[DISC_PROOF_LEN + 1])
{
	return disc_proof_make(lease->proof_key, text, len, proof);
}

int disc_lease_is_proven(const struct disc_lease *lease, const void *text, size_t len, const char proof[DISC_PROOF_LEN])
{
	return disc_proof_check(lease->proof_key, text, len, proof);
}

/* Ends the lease, its <fate> being known by now. */
static void disc_lease_end(struct disc_lease *lease, enum disc_lease_fate fate)
{
	disc_lease_wipe_secrets(lease);
	lease->state = DISC_LS_NONE;
	lease->records = 0;
	lease->fate = fate;
}

/* Closes the generation of a lease of it whose fate is unknown, unless it was left already.
 * The KeyUpdate goes along with what is sent next. The lease is poisoned if wolfSSL has
 * used the pivot for something else.
 */
static void disc_lease_close(struct disc_lease *lease, uint32_t now)
{
	lease->unknowns++;
	lease->unknown_date = now;
	if (!disc_lease_sync(lease, now) || lease->gen != lease->lease_gen)
		return;
	disc_gen_close(lease, lease->gen);
	lease->exit_seq = lease->seq - 1;
	if (disc_wolf_seq(lease->ssl) != lease->exit_seq)
		disc_lease_poison(lease);
}

/* Ends the lease if there is one which was not passed: its slots are not used any more,
 * whatever its holder does, unless it was never given away. The lease may get poisoned.
 */
void disc_lease_give_up(struct disc_lease *lease, uint32_t now)
{
	if (lease->state == DISC_LS_LEASED && !lease->exported) {
		disc_lease_return(lease, now);
		return;
	}
	if (lease->state != DISC_LS_LEASED && lease->state != DISC_LS_ACCEPTED)
		return;
	disc_lease_end(lease, DISC_LF_UNKNOWN);
	if (lease->tls_minor == TLS_1_3 && lease->keys == DISC_KEYS_CONNECTION)
		disc_lease_close(lease, now);
}

/* Ends the lease if there is one, its holder having sealed nothing and promised that it
 * never will: its slots are ours again, if nothing was sealed next to them meanwhile. A
 * region of nonces is not used again all the same: there are enough of them.
 */
void disc_lease_return(struct disc_lease *lease, uint32_t now)
{
	if (lease->state != DISC_LS_LEASED)
		return;
	if (lease->tls_minor == TLS_1_3 && lease->keys == DISC_KEYS_CONNECTION && !disc_lease_usable(lease, now)) {
		lease->exported = 1; /* or it would come back here */
		disc_lease_give_up(lease, now);
		return;
	}
	disc_lease_end(lease, DISC_LF_RETURNED);
	if (lease->tls_minor == TLS_1_3 && lease->keys == DISC_KEYS_RESPONSE && lease->closed_last == lease->lease_gen)
		lease->closed_last--;
}

/* Returns 1 if records sealed under the lease could still be sent, 0 otherwise: if nothing
 * waits to be sent, and if the next record has the sequence number before theirs. Of a
 * generation of its own it has if this one is ahead or was just entered.
 */
int disc_lease_usable(struct disc_lease *lease, uint32_t now)
{
	struct disc_tx tx;
	int ret;

	if ((lease->state != DISC_LS_LEASED && lease->state != DISC_LS_ACCEPTED) || !disc_lease_sync(lease, now))
		return 0;
	ret = disc_wolf_tx_get(lease->ssl, &tx) && !lease->write_blocked && !disc_wolf_unflushed(lease->ssl);
	if (lease->tls_minor != TLS_1_3 || lease->gen == lease->lease_gen)
		ret = ret && tx.seq + 1 == lease->seq;
	else
		ret = ret && lease->gen < lease->lease_gen;
	disc_wolf_wipe(&tx, sizeof(tx));
	return ret;
}

/* Returns 1 if the lease would survive that we send data of our own before its records:
 * those of a generation of its own, unless we have to leave a generation for that.
 */
int disc_lease_survives_write(const struct disc_lease *lease)
{
	return lease->state == DISC_LS_LEASED && lease->tls_minor == TLS_1_3 && lease->keys == DISC_KEYS_RESPONSE &&
	       !disc_gen_closed(lease);
}

/* Computes how a body of <length> bytes is laid out in records under the lease.
 * Returns 1, or 0 if it is empty or takes too many records, for the lease or for the key.
 */
int disc_lease_layout(const struct disc_lease *lease, uint64_t length, uint64_t *records, uint64_t *ciphertext)
{
	if (!length || length > DISC_RECORDS_MAX * DISC_RECORD_MAX)
		return 0;
	*records = (length + DISC_RECORD_MAX - 1) / DISC_RECORD_MAX;
	*ciphertext = length + *records * lease->overhead;
	if (lease->tls_minor == TLS_1_3)
		return lease->seq + *records <= DISC_RECORDS_MAX;
	return lease->seq + *records > lease->seq;
}

/* Notes that a body of <length> bytes, sealed under the lease, will follow the
 * headers which are about to be sent: nothing may be read until its last byte is out,
 * since reading may make the session answer. Returns 1, or 0 if this may not be.
 */
int disc_lease_accept(struct disc_lease *lease, uint64_t length, uint32_t now)
{
	if (lease->state != DISC_LS_LEASED || !disc_lease_usable(lease, now))
		return 0;
	if (!disc_lease_layout(lease, length, &lease->records, &lease->ciphertext)) {
		lease->records = 0;
		return 0;
	}
	lease->length = length;
	lease->direct = 0;
	lease->chunked = 0;
	lease->acked = 0;
	lease->fate = DISC_LF_ACCEPTED;
	lease->state = DISC_LS_ACCEPTED;
	return 1;
}

/* Starts passing: the next <clear> bytes are the headers, the records accepted
 * follow. Returns 1, or 0 with the lease poisoned.
 */
int disc_lease_begin(struct disc_lease *lease, uint64_t clear)
{
	if (lease->state != DISC_LS_ACCEPTED || !clear || clear > DISC_RECORD_MAX ||
	    lease->write_blocked || disc_wolf_unflushed(lease->ssl)) {
		disc_lease_poison(lease);
		return 0;
	}
	disc_lease_wipe_secrets(lease);
	lease->clear_left = clear;
	lease->cipher_left = lease->ciphertext;
	lease->state = DISC_LS_PASSING;
	return 1;
}

/* To be called while passing before each attempt to write the headers: enters
 * the generation leased if it is ahead. See enum disc_write for the return values.
 */
enum disc_write disc_lease_enter(struct disc_lease *lease, uint32_t now)
{
	struct disc_tx tx;
	int ok;

	if (lease->state != DISC_LS_PASSING || !lease->clear_left || !disc_lease_sync(lease, now))
		goto fail;
	if (lease->write_blocked) /* sealed already, only has to be flushed */
		return disc_wolf_unflushed(lease->ssl) ? DISC_WR_GO : DISC_WR_DONE;
	if (lease->tls_minor == TLS_1_3) {
		while (lease->gen < lease->lease_gen) {
			if (!disc_gen_leave(lease, now))
				goto fail;
		}
	}
	ok = disc_wolf_tx_get(lease->ssl, &tx) && tx.seq + 1 == lease->seq;
	disc_wolf_wipe(&tx, sizeof(tx));
	if (ok && (lease->tls_minor != TLS_1_3 || lease->gen == lease->lease_gen))
		return DISC_WR_GO;
 fail:
	disc_lease_poison(lease);
	return DISC_WR_KILL;
}

/* To be called once the headers were written: checks that they made exactly one
 * record and that it was flushed. Our counter then moves behind the records at once, so
 * that nothing which anybody seals by mistake can take a slot of theirs. Returns 1 if the
 * records may now follow, or 0 with the lease poisoned.
 */
int disc_lease_headers_sent(struct disc_lease *lease)
{
	struct disc_tx tx;
	int ok = lease->state == DISC_LS_PASSING;

	ok = disc_wolf_tx_get(lease->ssl, &tx) && ok && tx.seq == lease->seq && !disc_wolf_unflushed(lease->ssl) &&
	     (lease->tls_minor != TLS_1_3 || lease->gen == lease->lease_gen);
	disc_wolf_wipe(&tx, sizeof(tx));
	if (!ok || !disc_wolf_advance(lease->ssl, lease->records)) {
		disc_lease_poison(lease);
		return 0;
	}
	lease->exit_seq = disc_wolf_seq(lease->ssl);
	lease->clear_left = 0;
	return 1;
}

/* To be called when <bytes> of records were handed to the kernel. Returns 1 if
 * these were the last ones, so that the session goes on as usual from now on, 0
 * if more has to come, or -1 with the lease poisoned.
 */
int disc_lease_forwarded(struct disc_lease *lease, uint64_t bytes)
{
	if (lease->state != DISC_LS_PASSING || lease->clear_left || bytes > lease->cipher_left)
		goto fail;
	lease->cipher_left -= bytes;
	if (lease->cipher_left)
		return 0;
	if (disc_gen_closed(lease))
		lease->passed_gen = lease->gen;
	lease->records = 0;
	lease->state = DISC_LS_NONE;
	return 1;
 fail:
	disc_lease_poison(lease);
	return -1;
}

/* To be called before each write of our own application data, whose size is in
 * <*count>. It makes sure that the keys in use are not closed to us, and gives
 * the lease up if it cannot survive this write. Also steps around wolfSSL's
 * confusion when something else was sent between a write which blocked and its
 * retry: such a retry is limited to the bytes sealed, and skipped if they were
 * flushed meanwhile. See enum disc_write for the return values; <*count> may be
 * lowered.
 */
enum disc_write disc_lease_before_write(struct disc_lease *lease, size_t *count, uint32_t now)
{
	if (lease->state == DISC_LS_PASSING || lease->state == DISC_LS_POISONED || !disc_lease_sync(lease, now)) {
		disc_lease_poison(lease);
		return DISC_WR_KILL;
	}

	if (lease->write_blocked) {
		size_t sealed = disc_wolf_blocked_plain(lease->ssl);

		if (sealed > *count) {
			disc_lease_poison(lease);
			return DISC_WR_KILL;
		}
		*count = sealed;
		if (disc_wolf_unflushed(lease->ssl))
			return DISC_WR_GO;
		lease->write_blocked = 0;
		disc_wolf_forget_blocked(lease->ssl);
		return DISC_WR_DONE;
	}

	if (lease->tls_minor == TLS_1_2 || lease->keys == DISC_KEYS_CONNECTION)
		disc_lease_give_up(lease, now); /* its sequence number is being used */
	if (lease->state == DISC_LS_POISONED)
		return DISC_WR_KILL;
	if (lease->tls_minor == TLS_1_2 || !disc_gen_any_closed(lease))
		return DISC_WR_GO;

	/* the second case because wolfSSL would move on by itself, unaware of closed
	 * generations
	 */
	if (disc_gen_closed(lease) || disc_wolf_seq(lease->ssl) >= DISC_OWN_SEQ_MAX ||
	    (lease->state != DISC_LS_LEASED && disc_gen_tainted(lease) >= DISC_TAINTED_MAX &&
	     disc_ku_recent(lease, now) + lease->closed_last - lease->gen + 1 <= DISC_KU_MAX)) {
		disc_lease_give_up(lease, now);
		if (!disc_gen_leave_closed(lease, now))
			return DISC_WR_KILL;
	}
	return DISC_WR_GO;
}

/* To be called after each write of application data, <blocked> telling whether
 * it has to be retried. A write may also block on what was in the output buffer
 * before it, without having sealed anything.
 */
void disc_lease_after_write(struct disc_lease *lease, int blocked)
{
	lease->write_blocked = blocked && disc_wolf_blocked_plain(lease->ssl);
	if (!lease->write_blocked)
		disc_wolf_forget_blocked(lease->ssl);
}

/* Returns 1 if a close_notify alert may now be sealed, 0 if the connection has to
 * be closed without a word: in the middle of records or of a write. A lease that is still
 * there ends. Right after
 * the last record passed through, the alert takes the place of the KeyUpdate as
 * the record which leaves this generation; other closed ones are left first.
 */
int disc_lease_may_notify(struct disc_lease *lease, uint32_t now)
{
	struct disc_tx tx;
	int open = disc_wolf_tx_get(lease->ssl, &tx);

	disc_wolf_wipe(&tx, sizeof(tx));
	if (!open)
		return 0; /* either side closed or failed: nothing is left to be said */
	if (lease->state == DISC_LS_PASSING || lease->state == DISC_LS_POISONED || lease->write_blocked)
		return 0;
	if (!disc_lease_sync(lease, now))
		return 0;
	disc_lease_give_up(lease, now);
	if (lease->state == DISC_LS_POISONED)
		return 0;
	if (lease->tls_minor == TLS_1_2 || !disc_gen_closed(lease))
		return 1;
	if (lease->gen == lease->passed_gen && lease->gen == lease->closed_last &&
	    disc_wolf_seq(lease->ssl) == lease->exit_seq)
		return 1;
	return !disc_wolf_unflushed(lease->ssl) && disc_gen_leave_closed(lease, now);
}

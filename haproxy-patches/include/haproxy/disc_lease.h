/*
 * include/haproxy/disc_lease.h
 * Lease of a client connection's TLS write state, for DiSC: functions.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef _HAPROXY_DISC_LEASE_H
#define _HAPROXY_DISC_LEASE_H

#include <haproxy/disc_lease-t.h>

#define DISC_PROOF_LEN (2 * DISC_PROOF_BYTES) /* hexadecimal digits */

/* what the caller has to do about a write */
enum disc_write {
	DISC_WR_KILL = 0,       /* nothing may be sent: kill the connection */
	DISC_WR_GO,             /* write <count> bytes */
	DISC_WR_DONE,           /* <count> bytes are known to be sent already */
};

void disc_lease_init(struct disc_lease *lease, void *ssl);
void disc_lease_wipe(struct disc_lease *lease);

const char *disc_lease_take(struct disc_lease *lease, enum disc_keys keys, uint64_t id, uint32_t now);
const uint8_t *disc_lease_export(struct disc_lease *lease);
void disc_lease_unexport(struct disc_lease *lease);
void disc_lease_wipe_wire(struct disc_lease *lease);
void disc_lease_give_up(struct disc_lease *lease, uint32_t now);
void disc_lease_return(struct disc_lease *lease, uint32_t now);
int disc_lease_usable(struct disc_lease *lease, uint32_t now);
int disc_lease_survives_write(const struct disc_lease *lease);

int disc_proof_make(const uint8_t key[DISC_PROOF_BYTES], const void *text, size_t len, char proof[DISC_PROOF_LEN + 1]);
int disc_proof_check(const uint8_t key[DISC_PROOF_BYTES], const void *text, size_t len, const char proof[DISC_PROOF_LEN]);
int disc_lease_prove(const struct disc_lease *lease, const void *text, size_t len, char proof[DISC_PROOF_LEN + 1]);
int disc_lease_is_proven(const struct disc_lease *lease, const void *text, size_t len, const char proof[DISC_PROOF_LEN]);

int disc_lease_layout(const struct disc_lease *lease, uint64_t length, uint64_t *records, uint64_t *ciphertext);
int disc_lease_accept(struct disc_lease *lease, uint64_t length, uint32_t now);
int disc_lease_begin(struct disc_lease *lease, uint64_t clear);
enum disc_write disc_lease_enter(struct disc_lease *lease, uint32_t now);
int disc_lease_headers_sent(struct disc_lease *lease);
int disc_lease_forwarded(struct disc_lease *lease, uint64_t bytes);
void disc_lease_poison(struct disc_lease *lease);

enum disc_write disc_lease_before_write(struct disc_lease *lease, size_t *count, uint32_t now);
void disc_lease_after_write(struct disc_lease *lease, int blocked);
int disc_lease_may_notify(struct disc_lease *lease, uint32_t now);

/* generations, for disc_slots.c */
int disc_lease_sync(struct disc_lease *lease, uint32_t now);
int disc_gen_any_closed(const struct disc_lease *lease);
int disc_gen_closed(const struct disc_lease *lease);
uint32_t disc_gen_tainted(const struct disc_lease *lease);
void disc_gen_close(struct disc_lease *lease, uint32_t gen);
int disc_gen_leave(struct disc_lease *lease, uint32_t now);
int disc_gen_leave_closed(struct disc_lease *lease, uint32_t now);
const char *disc_lease_generation_in_use(struct disc_lease *lease, struct disc_tx *tx, uint32_t now);
uint32_t disc_ku_recent(const struct disc_lease *lease, uint32_t now);
void disc_tx_encode(uint8_t wire[DISC_TX_WIRE_LEN], const struct disc_tx *tx);

const char *disc_lease_state_str(enum disc_lease_state state);
const char *disc_lease_fate_str(enum disc_lease_fate fate);

#endif /* _HAPROXY_DISC_LEASE_H */

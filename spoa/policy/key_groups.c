/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "key_groups.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include <wolfssl/options.h>

#include <wolfssl/wolfcrypt/hash.h>

/* Running out of memory is answered, not an exit(). */
#define HASH_NONFATAL_OOM 1
#include <uthash.h>

#include "secret.h"

struct fingerprint {
	uint8_t bytes[WC_SHA256_DIGEST_SIZE];
};

struct entry {
	struct fingerprint fingerprint;
	UT_hash_handle hh;
	char group[];
};

struct key_groups {
	pthread_mutex_t lock;
	struct entry *entries; /* the one that was used least lately first */
};

struct key_groups *key_groups_new(void)
{
	struct key_groups *groups = calloc(1, sizeof(*groups));

	if (groups)
		(void)pthread_mutex_init(&groups->lock, NULL);
	return groups;
}

static void drop(struct key_groups *groups, struct entry *entry)
{
	HASH_DEL(groups->entries, entry);
	free(entry);
}

void key_groups_free(struct key_groups *groups)
{
	if (!groups)
		return;
	while (groups->entries)
		drop(groups, groups->entries);
	(void)pthread_mutex_destroy(&groups->lock);
	free(groups);
}

static bool take_fingerprint(struct fingerprint *fingerprint, const struct tx_state *state)
{
	uint8_t secret[TX_STATE_KEY_MAX + TX_STATE_IV_LEN];
	bool done;

	memcpy(secret, state->key, TX_STATE_KEY_MAX);
	memcpy(secret + TX_STATE_KEY_MAX, state->iv, TX_STATE_IV_LEN);
	done = wc_Sha256Hash(secret, sizeof(secret), fingerprint->bytes) == 0;
	secret_wipe(secret, sizeof(secret));
	return done;
}

/* Puts <entry> behind all others. Returns false, with <entry> freed, if memory is exhausted. */
static bool append(struct key_groups *groups, struct entry *entry)
{
	if (HASH_COUNT(groups->entries) >= KEY_GROUPS_MAX)
		drop(groups, groups->entries);
	HASH_ADD(hh, groups->entries, fingerprint, sizeof(entry->fingerprint), entry);
	if (entry->hh.tbl)
		return true;
	free(entry);
	return false;
}

static bool add(struct key_groups *groups, const struct fingerprint *fingerprint, const char *group)
{
	size_t size = strlen(group) + 1;
	struct entry *entry = calloc(1, sizeof(*entry) + size);

	if (!entry)
		return false;
	entry->fingerprint = *fingerprint;
	memcpy(entry->group, group, size);
	return append(groups, entry);
}

static bool claim(struct key_groups *groups, const struct fingerprint *fingerprint, const char *group)
{
	struct entry *entry;

	HASH_FIND(hh, groups->entries, fingerprint, sizeof(*fingerprint), entry);
	if (!entry)
		return add(groups, fingerprint, group);
	if (strcmp(entry->group, group) != 0)
		return false;
	HASH_DEL(groups->entries, entry);
	return append(groups, entry);
}

bool key_groups_claim(struct key_groups *groups, const struct tx_state *state, const char *group)
{
	struct fingerprint fingerprint;
	bool claimed;

	if (!take_fingerprint(&fingerprint, state))
		return false;
	(void)pthread_mutex_lock(&groups->lock);
	claimed = claim(groups, &fingerprint, group);
	(void)pthread_mutex_unlock(&groups->lock);
	return claimed;
}

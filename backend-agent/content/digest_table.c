/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "digest_table.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#define WAYS 4u
#define SETS (DIGEST_TABLE_MAX / WAYS)
#define DIGEST_WORDS (FILE_DIGEST_LEN / sizeof(uint64_t))

/* What an entry holds. */
struct record {
	uint64_t device, inode, size, mtime, ctime; /* inode 0: nothing */
	uint64_t state;
	uint64_t digest[DIGEST_WORDS];
};

#define RECORD_WORDS (sizeof(struct record) / sizeof(uint64_t))

/* A sequence lock: <version> is odd while a writer is at it. Who finds it so, or changed, does without the entry. */
struct entry {
	_Atomic uint32_t version;
	_Atomic uint64_t words[RECORD_WORDS];
};

struct digest_table {
	_Atomic uint32_t turn; /* which way of a full set is given up next */
	struct entry entries[SETS][WAYS];
};

struct digest_table *digest_table_new(void)
{
	return calloc(1, sizeof(struct digest_table));
}

void digest_table_free(struct digest_table *table)
{
	free(table);
}

static bool read_entry(struct entry *entry, struct record *record)
{
	uint32_t before = atomic_load_explicit(&entry->version, memory_order_acquire);
	uint64_t words[RECORD_WORDS];

	if (before & 1)
		return false;
	for (size_t i = 0; i < RECORD_WORDS; i++)
		words[i] = atomic_load_explicit(&entry->words[i], memory_order_relaxed);
	atomic_thread_fence(memory_order_acquire);
	if (atomic_load_explicit(&entry->version, memory_order_relaxed) != before)
		return false;
	memcpy(record, words, sizeof(*record));
	return true;
}

static void write_entry(struct entry *entry, const struct record *record)
{
	uint32_t version = atomic_load_explicit(&entry->version, memory_order_relaxed);
	uint64_t words[RECORD_WORDS];

	/* Another writer is at it: ours is lost, and looked for again one day. */
	if (version & 1 || !atomic_compare_exchange_strong_explicit(&entry->version, &version, version + 1,
								    memory_order_acquire, memory_order_relaxed))
		return;
	atomic_thread_fence(memory_order_release);
	memcpy(words, record, sizeof(words));
	for (size_t i = 0; i < RECORD_WORDS; i++)
		atomic_store_explicit(&entry->words[i], words[i], memory_order_relaxed);
	atomic_store_explicit(&entry->version, version + 2, memory_order_release);
}

static uint64_t nanoseconds(const struct timespec *time)
{
	return (uint64_t)time->tv_sec * 1000000000u + (uint64_t)time->tv_nsec;
}

static struct record record_of(const struct file_object *object, enum digest_state state)
{
	return (struct record){
		.device = object->device,
		.inode = object->inode,
		.size = object->size,
		.mtime = nanoseconds(&object->mtime),
		.ctime = nanoseconds(&object->ctime),
		.state = state,
	};
}

static struct entry *set_of(struct digest_table *table, const struct file_object *object)
{
	uint64_t hash = (object->inode ^ (uint64_t)object->device << 32) * 0x9e3779b97f4a7c15u;

	return table->entries[(hash >> 32) % SETS];
}

/* The place of <object>'s file in its set, else a free one, else the one whose turn it is. */
static struct entry *place_of(struct digest_table *table, const struct file_object *object)
{
	struct entry *set = set_of(table, object), *unused = NULL;
	struct record record;

	for (size_t i = 0; i < WAYS; i++) {
		if (!read_entry(&set[i], &record))
			continue;
		if (record.inode == object->inode && record.device == object->device)
			return &set[i];
		if (!record.inode)
			unused = &set[i];
	}
	return unused ? unused : &set[atomic_fetch_add_explicit(&table->turn, 1, memory_order_relaxed) % WAYS];
}

enum digest_state digest_table_find(struct digest_table *table, const struct file_object *object,
				    uint8_t digest[static FILE_DIGEST_LEN])
{
	const struct record wanted = record_of(object, DIGEST_UNKNOWN);
	struct entry *set = set_of(table, object);
	struct record record;

	for (size_t i = 0; i < WAYS; i++) {
		if (!read_entry(&set[i], &record) || record.inode != wanted.inode || record.device != wanted.device)
			continue;
		if (record.size != wanted.size || record.mtime != wanted.mtime || record.ctime != wanted.ctime)
			continue;
		memcpy(digest, record.digest, FILE_DIGEST_LEN);
		return (enum digest_state)record.state;
	}
	return DIGEST_UNKNOWN;
}

void digest_table_await(struct digest_table *table, const struct file_object *object)
{
	const struct record record = record_of(object, DIGEST_AWAITED);

	write_entry(place_of(table, object), &record);
}

void digest_table_set(struct digest_table *table, const struct file_object *object,
		      const uint8_t digest[static FILE_DIGEST_LEN])
{
	struct record record = record_of(object, DIGEST_KNOWN);

	memcpy(record.digest, digest, FILE_DIGEST_LEN);
	write_entry(place_of(table, object), &record);
}

void digest_table_forget(struct digest_table *table, const struct file_object *object)
{
	static const struct record nothing;
	struct entry *set = set_of(table, object);
	struct record record;

	for (size_t i = 0; i < WAYS; i++)
		if (read_entry(&set[i], &record) && record.inode == object->inode && record.device == object->device)
			write_entry(&set[i], &nothing);
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The steering table: the kernel's maps of flows (steering_flow.h) and what we keep beside each. A flow's number
 * is its slot. Slots are given out in turn, so that one that was given back rests as long as possible: a program that
 * still runs on another CPU may look at it.
 */
#ifndef DISC_STEERING_TABLE_H
#define DISC_STEERING_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>
#include <uthash.h>

#include "steering_flow.h"
#include "steering_held.h"
#include "tcp_state.h"

struct steering_flow {
	struct packet_tuple tuple;
	uint32_t number;
	uint64_t asked; /* when the owner last wanted something, nanoseconds of CLOCK_MONOTONIC */
	struct held_queue queue;
	bool is_ending; /* released: nobody's any more, but known to the kernel for a while */
	uint64_t ended; /* when, as <asked> */
	TAILQ_ENTRY(steering_flow) ending;
	void *owner;     /* hears when all is acknowledged; NULL: nobody does */
	bool is_reached; /* the owner has not heard of it yet */
	TAILQ_ENTRY(steering_flow) reached;
	UT_hash_handle hh;      /* by <tuple> */
	struct flow_slot *slot; /* memory shared with the kernel: see the functions below */
};

struct steering_table {
	int flows, labels; /* maps, owned by the program */
	struct flow_slot *slots;
	struct steering_flow **by_number;
	struct steering_flow *by_tuple; /* what the map <flows> says, without a system call */
	uint32_t *free;                 /* a ring of numbers */
	uint32_t free_first, free_count;
	uint32_t max;
};

/* <flows>, <labels> and <slots> are descriptors of maps for <max> flows, which stay the caller's. Returns 0, or -1 with
 * errno. */
int steering_table_open(struct steering_table *table, int flows, int labels, int slots, uint32_t max);

/* All flows are gone by then. */
void steering_table_close(struct steering_table *table);

/* Names the flow as the client's packets do. */
void steering_tuple_of(const struct tcp_state *flow, struct packet_tuple *tuple);

/* The other way; all but family, addresses and ports is 0. */
void steering_tuple_state(const struct packet_tuple *tuple, struct tcp_state *flow);

/* Returns the flow, or NULL with errno ENOENT. No system call. */
struct steering_flow *steering_table_find(const struct steering_table *table, const struct packet_tuple *tuple);

/* Makes a flow that is held from now on. Returns it; it belongs to the table. NULL with errno: ENOSPC, the table is
 * full, or ENOMEM. */
struct steering_flow *steering_table_add(struct steering_table *table, const struct packet_tuple *tuple);

/* Forgets what was seen of the client, for a flow that begins anew. */
void steering_table_forget_seen(struct steering_flow *flow);

/* The kernel does not know the flow any longer; <flow> is freed. Its queue is empty. */
void steering_table_remove(struct steering_table *table, struct steering_flow *flow);

static inline enum flow_action flow_action(const struct steering_flow *flow)
{
	return (enum flow_action)__atomic_load_n(&flow->slot->action, __ATOMIC_ACQUIRE);
}

/* Whether the client was seen to acknowledge all that the node was to send. */
static inline bool flow_is_acknowledged(const struct steering_flow *flow)
{
	const struct flow_slot *slot = flow->slot;

	return slot->armed && slot->any && (int32_t)(slot->acknowledged - slot->end) >= 0;
}

/* Changes <flow>'s action. Returns false if it is another one than <from>. */
static inline bool flow_action_change(struct steering_flow *flow, enum flow_action from, enum flow_action to)
{
	uint32_t expected = from;

	return __atomic_compare_exchange_n(&flow->slot->action, &expected, (uint32_t)to, false, __ATOMIC_ACQ_REL,
					   __ATOMIC_ACQUIRE);
}

/* Sets it, whatever the kernel makes of it at the same time. */
static inline void flow_action_set(struct steering_flow *flow, enum flow_action action)
{
	while (!flow_action_change(flow, flow_action(flow), action))
		;
}

/* Whether all that was held has been put back or dropped. */
static inline bool flow_is_drained(const struct steering_flow *flow)
{
	return __atomic_load_n(&flow->slot->held, __ATOMIC_ACQUIRE) == flow->slot->drained;
}

static inline void slot_drained_add(struct flow_slot *slot, uint32_t packets)
{
	__atomic_store_n(&slot->drained, slot->drained + packets, __ATOMIC_RELEASE);
}

#endif

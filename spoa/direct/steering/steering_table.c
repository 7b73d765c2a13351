/* SPDX-License-Identifier: GPL-2.0-or-later */
#define HASH_NONFATAL_OOM 1 /* before uthash.h: steering_table_add() checks */

#include "steering_table.h"

#include <arpa/inet.h>
#include <assert.h>
#include <bpf/bpf.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

static size_t slots_size(const struct steering_table *table)
{
	return (size_t)table->max * sizeof(struct flow_slot);
}

int steering_table_open(struct steering_table *table, int flows, int labels, int slots, uint32_t max)
{
	void *memory;

	*table = (struct steering_table){.flows = flows, .labels = labels, .max = max, .free_count = max};
	memory = mmap(NULL, slots_size(table), PROT_READ | PROT_WRITE, MAP_SHARED, slots, 0);
	if (memory == MAP_FAILED)
		return -1;
	table->slots = memory;
	table->by_number = calloc(max, sizeof(struct steering_flow *));
	table->free = malloc(max * sizeof(*table->free));
	if (!table->by_number || !table->free) {
		steering_table_close(table);
		errno = ENOMEM;
		return -1;
	}
	for (uint32_t i = 0; i < max; i++)
		table->free[i] = i;
	return 0;
}

void steering_table_close(struct steering_table *table)
{
	if (table->slots)
		(void)munmap(table->slots, slots_size(table));
	free(table->by_number);
	free(table->free);
	*table = (struct steering_table){0};
}

void steering_tuple_of(const struct tcp_state *flow, struct packet_tuple *tuple)
{
	size_t len = flow->family == 4 ? 4 : 16;

	memset(tuple, 0, sizeof(*tuple));
	memcpy(tuple->source, flow->remote.address, len);
	memcpy(tuple->destination, flow->local.address, len);
	tuple->source_port = htons(flow->remote.port);
	tuple->destination_port = htons(flow->local.port);
	tuple->family = flow->family;
}

void steering_tuple_state(const struct packet_tuple *tuple, struct tcp_state *flow)
{
	*flow = (struct tcp_state){.family = (uint8_t)tuple->family};
	memcpy(flow->remote.address, tuple->source, sizeof(flow->remote.address));
	memcpy(flow->local.address, tuple->destination, sizeof(flow->local.address));
	flow->remote.port = ntohs(tuple->source_port);
	flow->local.port = ntohs(tuple->destination_port);
}

struct steering_flow *steering_table_find(const struct steering_table *table, const struct packet_tuple *tuple)
{
	struct steering_flow *flow;

	HASH_FIND(hh, table->by_tuple, tuple, sizeof(*tuple), flow);
	if (!flow)
		errno = ENOENT;
	return flow;
}

static void give_back(struct steering_table *table, uint32_t number)
{
	table->free[(table->free_first + table->free_count) % table->max] = number;
	table->free_count++;
}

void steering_table_forget_seen(struct steering_flow *flow)
{
	struct flow_slot *slot = flow->slot;

	slot->any = 0;
	slot->acknowledged = slot->window = slot->timestamp = slot->timestamp_echo = 0;
	slot->sequence_end = slot->tcp_flags = slot->window_sequence = 0;
	slot->packets = slot->bytes = slot->last = 0;
}

struct steering_flow *steering_table_add(struct steering_table *table, const struct packet_tuple *tuple)
{
	struct steering_flow *flow;
	uint32_t number;
	int error;

	if (!table->free_count) {
		errno = ENOSPC;
		return NULL;
	}
	flow = calloc(1, sizeof(*flow));
	if (!flow)
		return NULL;
	number = table->free[table->free_first];
	*flow = (struct steering_flow){.tuple = *tuple, .number = number, .slot = &table->slots[number]};
	held_queue_init(&flow->queue);
	/* What the kernel counts in <held>, and <drained>, go on: a program may just be holding a packet of the flow
	 * that was here before. */
	flow->slot->generation++;
	flow->slot->label = 0;
	flow->slot->armed = 0;
	flow->slot->forwarded = FORWARDED_NOTHING;
	steering_table_forget_seen(flow);
	flow_action_set(flow, FLOW_HOLD);
	HASH_ADD(hh, table->by_tuple, tuple, sizeof(flow->tuple), flow);
	if (!flow->hh.tbl) {
		free(flow);
		errno = ENOMEM;
		return NULL;
	}
	if (bpf_map_update_elem(table->flows, tuple, &number, BPF_NOEXIST) < 0) {
		error = errno == E2BIG ? ENOSPC : errno;
		HASH_DEL(table->by_tuple, flow);
		free(flow);
		errno = error;
		return NULL;
	}
	table->free_first = (table->free_first + 1) % table->max;
	table->free_count--;
	table->by_number[number] = flow;
	return flow;
}

/* Whether a flow but <except> has the label. Looks through the table: labels are hardly ever shared. */
static bool is_label_shared(const struct steering_table *table, const struct flow_label *label, uint32_t except)
{
	for (uint32_t i = 0; i < table->max; i++) {
		const struct steering_flow *flow = table->by_number[i];

		if (flow && i != except && flow->slot->label == label->label &&
		    memcmp(flow->tuple.source, label->source, sizeof(label->source)) == 0)
			return true;
	}
	return false;
}

/* The label names other flows as soon as <flow>, or the last of those that share it, is gone. */
static void free_label(const struct steering_table *table, const struct steering_flow *flow)
{
	struct flow_label label = {.label = flow->slot->label};
	uint32_t number;

	if (label.label == 0)
		return;
	memcpy(label.source, flow->tuple.source, sizeof(label.source));
	if (bpf_map_lookup_elem(table->labels, &label, &number) < 0)
		return;
	if (number == flow->number || (number == STEERING_AMBIGUOUS && !is_label_shared(table, &label, flow->number)))
		(void)bpf_map_delete_elem(table->labels, &label);
}

void steering_table_remove(struct steering_table *table, struct steering_flow *flow)
{
	assert(!flow->queue.first);
	(void)bpf_map_delete_elem(table->flows, &flow->tuple);
	HASH_DEL(table->by_tuple, flow);
	free_label(table, flow);
	flow_action_set(flow, FLOW_PASS);
	table->by_number[flow->number] = NULL;
	give_back(table, flow->number);
	free(flow);
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Held packets: queues of what the kernel handed over while a flow was held, and how a packet is put back onto the
 * interface on which it came. A packet that is put back must be valid again: a checksum that the sender left to its
 * hardware, or that was merged on receipt, is named as such to the kernel.
 */
#ifndef DISC_STEERING_HELD_H
#define DISC_STEERING_HELD_H

#include <stddef.h>
#include <stdint.h>

#include "steering_flow.h"

#define HELD_FLOW_BYTES_MAX (256u << 10) /* of one flow */
#define HELD_ALL_BYTES_MAX (64u << 20)   /* of all together */

struct held_entry;

struct held_queue {
	struct held_entry *first, **last;
	size_t bytes;
};

struct held_injector {
	int fd;              /* AF_PACKET, sends only */
	size_t bytes;        /* in all queues */
	uint64_t reinjected; /* packets that were put back */
	uint64_t lost;       /* packets for which there was no room */
};

/* Needs CAP_NET_RAW and CAP_NET_ADMIN; sending later needs neither. Returns 0, or -1 with errno. */
int held_injector_open(struct held_injector *injector);
void held_injector_close(struct held_injector *injector);

/* Puts one packet back at once. It is marked STEERING_MARK. What the kernel does not take is lost, as on a full
 * wire. */
void held_inject(struct held_injector *injector, const struct held_packet *packet);

void held_queue_init(struct held_queue *queue);

/* Appends a copy of <packet>. Returns 0, or -1 without room: it counts as lost. */
int held_queue_append(struct held_injector *injector, struct held_queue *queue, const struct held_packet *packet);

/* Put all back, in order, or drop all. Return their number; the queue is empty then. */
uint32_t held_queue_inject(struct held_injector *injector, struct held_queue *queue);
uint32_t held_queue_drop(struct held_injector *injector, struct held_queue *queue);

#endif

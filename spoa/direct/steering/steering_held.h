/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Held packets: queues of what the kernel handed over while a flow was held, and how a packet is put back onto the
 * interface on which it came. A packet that is put back must be valid again: a checksum that the sender left to its
 * hardware, or that was merged on receipt, is named as such to the kernel.
 */
#ifndef DISC_STEERING_HELD_H
#define DISC_STEERING_HELD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "byte_queue.h"
#include "steering_flow.h"

#define HELD_FLOW_BYTES_MAX (256u << 10) /* of one flow */
#define HELD_ALL_BYTES_MAX (64u << 20)   /* of all together */

struct held_entry;

/* A TCP segment of a held packet. */
struct held_segment {
	uint32_t sequence, acknowledged; /* <acknowledged> without flag ACK: 0 */
	uint8_t flags;                   /* RFC 9293 3.1 */
	const uint8_t *payload;          /* in the packet */
	size_t len;
};

#define HELD_FLAG_FIN 1u
#define HELD_FLAG_SYN 2u
#define HELD_FLAG_RST 4u
#define HELD_FLAG_PSH 8u
#define HELD_FLAG_ACK 16u

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

/* Reads the TCP segment of <packet>. Returns false if it has none that is whole, or if its checksum is wrong: then our own
 * stack would drop it. */
bool held_read(const struct held_packet *packet, struct held_segment *segment);

/* Whether <packet> only acknowledges, and says nothing that the next one would not say again. */
bool held_is_acknowledgement(const struct held_packet *packet);

void held_queue_init(struct held_queue *queue);

/* Appends a copy of <packet>. Returns 0, or -1 without room: it counts as lost. */
int held_queue_append(struct held_injector *injector, struct held_queue *queue, const struct held_packet *packet);

/* Drops acknowledgements, puts back RSTs, and keeps what else is in the queue. Returns how many have left. */
uint32_t held_queue_sift(struct held_injector *injector, struct held_queue *queue);

/* Drops acknowledgements, and moves the client's bytes from <*sequence> on to <input>, at most <max>: as far as packets have
 * right checksums, follow each other and say nothing else. Moves <*sequence>. Returns how many packets have left. */
uint32_t held_queue_collect(struct held_injector *injector, struct held_queue *queue, uint32_t *sequence,
			    struct byte_queue *input, size_t max);

/* Put all back, in order, or drop all. Return their number; the queue is empty then. */
uint32_t held_queue_inject(struct held_injector *injector, struct held_queue *queue);
uint32_t held_queue_drop(struct held_injector *injector, struct held_queue *queue);

#endif

/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "steering_held.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_packet.h>
#include <linux/virtio_net.h>
#include <net/ethernet.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#define SEND_BUFFER (8 << 20)
#define TCP_HEADER_MIN 20u
#define TCP_CHECKSUM 16u /* offset in the TCP header */
#define TCP_FLAG_CWR 0x80

struct held_entry {
	struct held_entry *next;
	struct held_packet packet; /* data follows */
};

int held_injector_open(struct held_injector *injector)
{
	int one = 1, size = SEND_BUFFER;
	uint32_t mark = STEERING_MARK;
	/* Protocol 0: nothing is received. */
	int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	*injector = (struct held_injector){.fd = fd};
	if (fd < 0)
		return -1;
	if (setsockopt(fd, SOL_PACKET, PACKET_VNET_HDR, &one, sizeof(one)) == 0 &&
	    setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof(size)) == 0 &&
	    setsockopt(fd, SOL_SOCKET, SO_MARK, &mark, sizeof(mark)) == 0)
		return 0;
	held_injector_close(injector);
	return -1;
}

void held_injector_close(struct held_injector *injector)
{
	int error = errno;

	if (injector->fd >= 0)
		(void)close(injector->fd);
	injector->fd = -1;
	errno = error;
}

/* --- checksums: RFC 1071, the pseudo header of RFC 9293 3.1 and RFC 8200 8.1 --- */

static uint32_t sum_bytes(uint32_t sum, const uint8_t *bytes, size_t len)
{
	for (size_t i = 0; i + 1 < len; i += 2)
		sum += (uint32_t)(bytes[i] << 8 | bytes[i + 1]);
	return len % 2 ? sum + (uint32_t)(bytes[len - 1] << 8) : sum;
}

static uint16_t fold(uint32_t sum)
{
	sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)((sum & 0xffff) + (sum >> 16));
}

static bool is_ipv4(const struct held_packet *packet)
{
	return packet->data[12] == 0x08 && packet->data[13] == 0x00;
}

/* The bytes of the TCP segment: what is behind the IP packet's end is Ethernet's padding. */
static uint32_t segment_len(const struct held_packet *packet)
{
	const uint8_t *ip = packet->data + ETHER_HDR_LEN;
	uint32_t end;

	if (packet->gso_size)
		return packet->len - packet->tcp_offset;
	end = is_ipv4(packet) ? ETHER_HDR_LEN + (uint32_t)(ip[2] << 8 | ip[3])
			      : ETHER_HDR_LEN + 40u + (uint32_t)(ip[4] << 8 | ip[5]);
	if (end > packet->len || end < packet->tcp_offset)
		end = packet->len;
	return end - packet->tcp_offset;
}

static uint16_t pseudo_header_sum(const struct held_packet *packet, uint32_t segment)
{
	const uint8_t *ip = packet->data + ETHER_HDR_LEN;
	uint32_t sum = IPPROTO_TCP + (segment & 0xffff) + (segment >> 16);

	return fold(is_ipv4(packet) ? sum_bytes(sum, ip + 12, 8) : sum_bytes(sum, ip + 8, 32));
}

/* Whether the packet has a whole TCP header. */
static bool has_header(const struct held_packet *packet)
{
	return packet->tcp_offset && packet->len >= packet->tcp_offset + TCP_HEADER_MIN;
}

/* A checksum that is left to the hardware holds the pseudo header's sum; a packet that was merged always does. A wrong
 * one stays wrong: its receiver drops it. */
static bool is_checksum_left(const struct held_packet *packet)
{
	const uint8_t *tcp = packet->data + packet->tcp_offset;
	uint32_t segment = segment_len(packet);
	uint16_t pseudo = pseudo_header_sum(packet, segment);
	uint16_t field = (uint16_t)(tcp[TCP_CHECKSUM] << 8 | tcp[TCP_CHECKSUM + 1]);

	if (packet->gso_size)
		return true;
	return field == pseudo && fold(sum_bytes(pseudo, tcp, segment)) != 0xffff;
}

static void describe(const struct held_packet *packet, struct virtio_net_hdr *header)
{
	const uint8_t *tcp = packet->data + packet->tcp_offset;

	*header = (struct virtio_net_hdr){.gso_type = VIRTIO_NET_HDR_GSO_NONE};
	if (!has_header(packet) || !is_checksum_left(packet))
		return;
	header->flags = VIRTIO_NET_HDR_F_NEEDS_CSUM;
	header->csum_start = (uint16_t)packet->tcp_offset;
	header->csum_offset = TCP_CHECKSUM;
	if (!packet->gso_size)
		return;
	header->gso_type = is_ipv4(packet) ? VIRTIO_NET_HDR_GSO_TCPV4 : VIRTIO_NET_HDR_GSO_TCPV6;
	if (tcp[13] & TCP_FLAG_CWR)
		header->gso_type |= VIRTIO_NET_HDR_GSO_ECN;
	header->gso_size = (uint16_t)packet->gso_size;
	header->hdr_len = (uint16_t)(packet->tcp_offset + (uint32_t)(tcp[12] >> 4) * 4u);
}

static bool is_checksum_right(const struct held_packet *packet)
{
	uint32_t segment = segment_len(packet);

	return is_checksum_left(packet) || fold(sum_bytes(pseudo_header_sum(packet, segment),
							  packet->data + packet->tcp_offset, segment)) == 0xffff;
}

static uint32_t load_u32(const uint8_t *at)
{
	return (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
}

bool held_read(const struct held_packet *packet, struct held_segment *segment)
{
	const uint8_t *tcp = packet->data + packet->tcp_offset;
	uint32_t len, header;

	if (!has_header(packet))
		return false;
	len = segment_len(packet);
	header = (uint32_t)(tcp[12] >> 4) * 4u;
	if (header < TCP_HEADER_MIN || header > len || !is_checksum_right(packet))
		return false;
	*segment = (struct held_segment){
		.sequence = load_u32(tcp + 4), .flags = tcp[13], .payload = tcp + header, .len = len - header};
	if (segment->flags & HELD_FLAG_ACK)
		segment->acknowledged = load_u32(tcp + 8);
	return true;
}

bool held_is_acknowledgement(const struct held_packet *packet)
{
	const uint8_t *tcp = packet->data + packet->tcp_offset;

	return has_header(packet) && !(tcp[13] & (HELD_FLAG_FIN | HELD_FLAG_SYN | HELD_FLAG_RST)) &&
	       segment_len(packet) <= (uint32_t)(tcp[12] >> 4) * 4u;
}

void held_inject(struct held_injector *injector, const struct held_packet *packet)
{
	struct virtio_net_hdr header;
	struct sockaddr_ll to = {.sll_family = AF_PACKET, .sll_ifindex = (int)packet->interface};
	struct iovec parts[2] = {
		{.iov_base = &header, .iov_len = sizeof(header)},
		{.iov_base = (void *)(uintptr_t)packet->data, .iov_len = packet->len},
	};
	struct msghdr message = {.msg_name = &to, .msg_namelen = sizeof(to), .msg_iov = parts, .msg_iovlen = 2};

	describe(packet, &header);
	memcpy(&to.sll_protocol, packet->data + 12, sizeof(to.sll_protocol));
	if (sendmsg(injector->fd, &message, MSG_DONTWAIT) < 0)
		injector->lost++;
	else
		injector->reinjected++;
}

/* --- queues --- */

void held_queue_init(struct held_queue *queue)
{
	*queue = (struct held_queue){.last = &queue->first};
}

int held_queue_append(struct held_injector *injector, struct held_queue *queue, const struct held_packet *packet)
{
	struct held_entry *entry = NULL;

	if (queue->bytes + packet->len <= HELD_FLOW_BYTES_MAX && injector->bytes + packet->len <= HELD_ALL_BYTES_MAX)
		entry = malloc(sizeof(*entry) + packet->len);
	if (!entry) {
		injector->lost++;
		return -1;
	}
	entry->next = NULL;
	memcpy(&entry->packet, packet, sizeof(*packet));
	memcpy(entry->packet.data, packet->data, packet->len);
	*queue->last = entry;
	queue->last = &entry->next;
	queue->bytes += packet->len;
	injector->bytes += packet->len;
	return 0;
}

static uint32_t empty(struct held_injector *injector, struct held_queue *queue, bool put_back)
{
	struct held_entry *entry = queue->first, *next;
	uint32_t count = 0;

	injector->bytes -= queue->bytes;
	held_queue_init(queue);
	for (; entry; entry = next, count++) {
		next = entry->next;
		if (put_back)
			held_inject(injector, &entry->packet);
		free(entry);
	}
	return count;
}

static bool is_reset(const struct held_packet *packet)
{
	return has_header(packet) && packet->data[packet->tcp_offset + 13] & HELD_FLAG_RST;
}

/* Takes the entry at <at> out of <queue>. */
static void take_out(struct held_injector *injector, struct held_queue *queue, struct held_entry **at)
{
	struct held_entry *entry = *at;

	*at = entry->next;
	if (!entry->next)
		queue->last = at;
	queue->bytes -= entry->packet.len;
	injector->bytes -= entry->packet.len;
	free(entry);
}

uint32_t held_queue_sift(struct held_injector *injector, struct held_queue *queue)
{
	struct held_entry **at = &queue->first, *entry;
	uint32_t count = 0;

	while ((entry = *at)) {
		bool resets = is_reset(&entry->packet);

		if (!resets && !held_is_acknowledgement(&entry->packet)) {
			at = &entry->next;
			continue;
		}
		if (resets)
			held_inject(injector, &entry->packet);
		take_out(injector, queue, at);
		count++;
	}
	return count;
}

/* Moves the bytes of <packet> to <input> if they are the next ones. Returns how many; 0: they are not, or say more. */
static size_t collect(const struct held_packet *packet, uint32_t sequence, struct byte_queue *input, size_t max)
{
	struct held_segment segment;

	if (!held_read(packet, &segment) || (segment.flags & ~HELD_FLAG_PSH) != HELD_FLAG_ACK ||
	    segment.sequence != sequence || segment.len > max || !byte_queue_reserve(input, segment.len))
		return 0;
	byte_queue_append(input, segment.payload, segment.len);
	return segment.len;
}

uint32_t held_queue_collect(struct held_injector *injector, struct held_queue *queue, uint32_t *sequence,
			    struct byte_queue *input, size_t max)
{
	struct held_entry **at = &queue->first, *entry;
	bool follows = true;
	uint32_t count = 0;

	while ((entry = *at)) {
		size_t len = 0;

		if (!held_is_acknowledgement(&entry->packet)) {
			if (follows)
				len = collect(&entry->packet, *sequence, input, max);
			follows = len > 0;
			if (!follows) {
				at = &entry->next;
				continue;
			}
		}
		*sequence += (uint32_t)len;
		max -= len;
		take_out(injector, queue, at);
		count++;
	}
	return count;
}

uint32_t held_queue_inject(struct held_injector *injector, struct held_queue *queue)
{
	return empty(injector, queue, true);
}

uint32_t held_queue_drop(struct held_injector *injector, struct held_queue *queue)
{
	return empty(injector, queue, false);
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Packets as programs on tc see them: finds the TCP header behind IPv4 (RFC 791) or IPv6 with its extension headers
 * (RFC 8200), on Ethernet. Compiled for BPF only; all is inlined, loops are bounded. Reads by bpf_skb_load_bytes(), so
 * that it does not matter which part of a packet is linear.
 */
#ifndef DISC_PACKET_BPF_H
#define DISC_PACKET_BPF_H

#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/tcp.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "packet_tuple.h"

#define PACKET_EXTENSIONS_MAX 8 /* extension headers that are walked */

enum packet_kind {
	PACKET_OTHER,    /* nothing for us */
	PACKET_TCP,      /* <tuple>, <tcp> and <payload> hold */
	PACKET_FRAGMENT, /* of IPv4, perhaps of a TCP segment */
	/* of IPv6, perhaps TCP, but its header is in another fragment or too far: <tuple.source> and <label> hold */
	PACKET_HIDDEN,
};

struct packet {
	struct packet_tuple tuple;
	struct tcphdr tcp;
	__u32 label;      /* of IPv6, network order; 0: none */
	__u32 tcp_offset; /* from the Ethernet header */
	__u32 payload;    /* bytes behind the TCP header */
	__u32 end;        /* of the IP packet, from the Ethernet header: padding does not count */
};

static __always_inline enum packet_kind packet_read_tcp(struct __sk_buff *skb, struct packet *packet)
{
	__u32 header;

	if (bpf_skb_load_bytes(skb, packet->tcp_offset, &packet->tcp, sizeof(packet->tcp)) < 0)
		return PACKET_OTHER;
	packet->tuple.source_port = packet->tcp.source;
	packet->tuple.destination_port = packet->tcp.dest;
	/* What was merged on receipt may be longer than a 16-bit length field tells. */
	if (skb->gso_segs > 1)
		packet->end = skb->len;
	header = packet->tcp_offset + packet->tcp.doff * 4u;
	packet->payload = packet->end > header ? packet->end - header : 0;
	return PACKET_TCP;
}

static __always_inline enum packet_kind packet_read_ipv4(struct __sk_buff *skb, struct packet *packet)
{
	struct iphdr ip = {0};

	if (bpf_skb_load_bytes(skb, ETH_HLEN, &ip, sizeof(ip)) < 0 || ip.version != 4 || ip.protocol != IPPROTO_TCP)
		return PACKET_OTHER;
	if (ip.frag_off & bpf_htons(0x3fff)) /* offset, or more to come */
		return PACKET_FRAGMENT;
	packet->tuple.family = PACKET_IPV4;
	packet->tuple.source[0] = ip.saddr;
	packet->tuple.destination[0] = ip.daddr;
	packet->tcp_offset = ETH_HLEN + ip.ihl * 4u;
	packet->end = ETH_HLEN + bpf_ntohs(ip.tot_len);
	return packet_read_tcp(skb, packet);
}

static __always_inline int packet_is_extension(__u8 header)
{
	return header == IPPROTO_HOPOPTS || header == IPPROTO_ROUTING || header == IPPROTO_DSTOPTS;
}

static __always_inline enum packet_kind packet_walk_extensions(struct __sk_buff *skb, struct packet *packet, __u8 next)
{
	__u8 extension[4] = {0}; /* next header, length; of a fragment header: offset and flags */
	__u32 offset = packet->tcp_offset;
	int i;

	/* Unrolled: with CAP_BPF alone the verifier does not follow the loop's counter. */
#pragma unroll
	for (i = 0; i < PACKET_EXTENSIONS_MAX; i++) {
		if (next == IPPROTO_TCP) {
			packet->tcp_offset = offset;
			return packet_read_tcp(skb, packet);
		}
		if (next != IPPROTO_FRAGMENT && !packet_is_extension(next))
			return PACKET_OTHER;
		if (bpf_skb_load_bytes(skb, offset, extension, sizeof(extension)) < 0)
			return PACKET_OTHER;
		if (next == IPPROTO_FRAGMENT) {
			next = extension[0];
			if (extension[2] || extension[3] & 0xf8) /* not the first */
				return next == IPPROTO_TCP || packet_is_extension(next) ? PACKET_HIDDEN : PACKET_OTHER;
			/* Without a label the other fragments cannot follow the first: they stay together. */
			if (extension[3] & 1 && !packet->label)
				return PACKET_HIDDEN;
			offset += 8;
		} else {
			next = extension[0];
			offset += (extension[1] + 1u) * 8u;
		}
	}
	return PACKET_HIDDEN;
}

static __always_inline enum packet_kind packet_read_ipv6(struct __sk_buff *skb, struct packet *packet)
{
	struct ipv6hdr ip = {0};

	if (bpf_skb_load_bytes(skb, ETH_HLEN, &ip, sizeof(ip)) < 0 || ip.version != 6)
		return PACKET_OTHER;
	packet->tuple.family = PACKET_IPV6;
	__builtin_memcpy(packet->tuple.source, &ip.saddr, sizeof(packet->tuple.source));
	__builtin_memcpy(packet->tuple.destination, &ip.daddr, sizeof(packet->tuple.destination));
	packet->label = bpf_htonl((ip.flow_lbl[0] & 0x0fu) << 16 | ip.flow_lbl[1] << 8 | ip.flow_lbl[2]);
	packet->tcp_offset = ETH_HLEN + sizeof(ip);
	packet->end = packet->tcp_offset + bpf_ntohs(ip.payload_len);
	return packet_walk_extensions(skb, packet, ip.nexthdr);
}

/* Fills <packet>, which is zeroed. Tagged packets belong to an interface of their own. */
static __always_inline enum packet_kind packet_read(struct __sk_buff *skb, struct packet *packet)
{
	if (skb->vlan_present && skb->vlan_tci & 0x0fff)
		return PACKET_OTHER;
	if (skb->protocol == bpf_htons(ETH_P_IP))
		return packet_read_ipv4(skb, packet);
	if (skb->protocol == bpf_htons(ETH_P_IPV6))
		return packet_read_ipv6(skb, packet);
	return PACKET_OTHER;
}

#endif

/* SPDX-License-Identifier: GPL-2.0-or-later */
/* "Packet too big" for the steering program: routers on the way to a client send it to the VIP, so it comes to us, but
 * the sender that must hear of it is the node (RFC 1191, RFC 8201). The message holds the packet that was too big,
 * which names the flow. */
#ifndef DISC_TOO_BIG_BPF_H
#define DISC_TOO_BIG_BPF_H

#include "packet.bpf.h"

#define TOO_BIG_IPV4 0x0304 /* type and code: destination unreachable, fragmentation needed (RFC 792) */
#define TOO_BIG_IPV6 0x0200 /* RFC 4443 3.2 */
#define ICMP_HEADER 8u

/* <tuple> becomes that of the client's packets, ports from those at <offset> of the packet that we, or a clone,
 * sent. */
static __always_inline int too_big_ports(struct __sk_buff *skb, struct packet_tuple *tuple, __u32 offset)
{
	__u16 ports[2] = {0};

	if (bpf_skb_load_bytes(skb, offset, ports, sizeof(ports)) < 0)
		return -1;
	tuple->destination_port = ports[0];
	tuple->source_port = ports[1];
	return 0;
}

static __always_inline int too_big_ipv4(struct __sk_buff *skb, struct packet_tuple *tuple)
{
	struct iphdr ip = {0};
	__u32 offset;
	__u16 type = 0;

	if (bpf_skb_load_bytes(skb, ETH_HLEN, &ip, sizeof(ip)) < 0 || ip.version != 4 || ip.protocol != IPPROTO_ICMP ||
	    ip.frag_off & bpf_htons(0x3fff))
		return -1;
	offset = ETH_HLEN + ip.ihl * 4u;
	if (bpf_skb_load_bytes(skb, offset, &type, sizeof(type)) < 0 || type != bpf_htons(TOO_BIG_IPV4))
		return -1;
	offset += ICMP_HEADER;
	if (bpf_skb_load_bytes(skb, offset, &ip, sizeof(ip)) < 0 || ip.version != 4 || ip.protocol != IPPROTO_TCP)
		return -1;
	tuple->family = PACKET_IPV4;
	tuple->source[0] = ip.daddr;
	tuple->destination[0] = ip.saddr;
	return too_big_ports(skb, tuple, offset + ip.ihl * 4u);
}

static __always_inline int too_big_ipv6(struct __sk_buff *skb, struct packet_tuple *tuple)
{
	struct ipv6hdr ip = {0};
	__u32 offset = ETH_HLEN + sizeof(ip);
	__u16 type = 0;

	if (bpf_skb_load_bytes(skb, ETH_HLEN, &ip, sizeof(ip)) < 0 || ip.version != 6 || ip.nexthdr != IPPROTO_ICMPV6)
		return -1;
	if (bpf_skb_load_bytes(skb, offset, &type, sizeof(type)) < 0 || type != bpf_htons(TOO_BIG_IPV6))
		return -1;
	offset += ICMP_HEADER;
	if (bpf_skb_load_bytes(skb, offset, &ip, sizeof(ip)) < 0 || ip.version != 6 || ip.nexthdr != IPPROTO_TCP)
		return -1;
	tuple->family = PACKET_IPV6;
	__builtin_memcpy(tuple->source, &ip.daddr, sizeof(tuple->source));
	__builtin_memcpy(tuple->destination, &ip.saddr, sizeof(tuple->destination));
	return too_big_ports(skb, tuple, offset + sizeof(ip));
}

/* Fills <tuple>, which is zeroed. Returns 0, or -1 if the packet is nothing of the kind. */
static __always_inline int too_big_read(struct __sk_buff *skb, struct packet_tuple *tuple)
{
	if (skb->protocol == bpf_htons(ETH_P_IP))
		return too_big_ipv4(skb, tuple);
	return skb->protocol == bpf_htons(ETH_P_IPV6) ? too_big_ipv6(skb, tuple) : -1;
}

#endif

// SPDX-License-Identifier: GPL-2.0-or-later
/* The egress guard's program: see egress_guard.h. */
#include <linux/bpf.h>

#include "packet.bpf.h"

#include <linux/pkt_cls.h>

#include "egress_guard_address.h"

/* Sized before loading. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1);
	__type(key, struct egress_guard_address);
	__type(value, __u8);
} guarded SEC(".maps");

__u64 dropped = 0;

SEC("tc")
int disc_guard(struct __sk_buff *skb)
{
	struct egress_guard_address source = {0};
	struct packet packet = {0};

	if (packet_read(skb, &packet) != PACKET_TCP || !(packet.tcp.fin || packet.tcp.rst))
		return TC_ACT_UNSPEC;
	__builtin_memcpy(source.words, packet.tuple.source, sizeof(source.words));
	source.family = packet.tuple.family;
	if (!bpf_map_lookup_elem(&guarded, &source))
		return TC_ACT_UNSPEC;
	__sync_fetch_and_add(&dropped, 1);
	return TC_ACT_SHOT;
}

char egress_guard_license[] SEC("license") = "GPL";

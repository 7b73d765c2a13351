// SPDX-License-Identifier: GPL-2.0-or-later
/* The steering program on tc clsact: disc_steer_in where clients' packets arrive, disc_steer_out where the LB's leave.
 * The maps and the rule that keeps packets in order are described in steering_flow.h, what it is for in
 * steering.h.
 *
 * A packet that is put back is written to the interface on which it came, marked; disc_steer_out sends it to the node
 * or turns it round, and it comes in again.
 */
#include <linux/bpf.h>

#include "packet.bpf.h"

#include <linux/pkt_cls.h>

#include "steering_flow.h"
#include "too_big.bpf.h"

/* Sizes are set before loading. For 262144 flows <slots> takes 27 MB and the tables 8 MB at once; a flow in <flows> or
 * <labels> takes its memory when it comes. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 1);
	__type(key, struct packet_tuple);
	__type(value, __u32);
} flows SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 1);
	__type(key, struct flow_label);
	__type(value, __u32);
} labels SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct flow_slot);
} slots SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 8 << 20);
} held SEC(".maps");

struct steering_totals totals = {0};

static __always_inline void count(__u64 *counter)
{
	__sync_fetch_and_add(counter, 1);
}

/* --- which flow --- */

static __always_inline struct flow_slot *find_by_tuple(const struct packet_tuple *tuple, __u32 *number)
{
	__u32 *found = bpf_map_lookup_elem(&flows, tuple);

	if (!found)
		return NULL;
	*number = *found;
	return bpf_map_lookup_elem(&slots, number);
}

static __always_inline struct flow_slot *find_by_label(const struct packet *packet, __u32 *number)
{
	struct flow_label key = {0};
	__u32 *found;

	if (!packet->label) /* RFC 6437 3: not labelled, no flow */
		return NULL;
	__builtin_memcpy(key.source, packet->tuple.source, sizeof(key.source));
	key.label = packet->label;
	found = bpf_map_lookup_elem(&labels, &key);
	if (!found || *found == STEERING_AMBIGUOUS)
		return NULL;
	*number = *found;
	return bpf_map_lookup_elem(&slots, number);
}

static __always_inline void learn_label(struct flow_slot *slot, __u32 number, const struct packet *packet)
{
	struct flow_label key = {0};
	__u32 *found;

	if (!packet->label || packet->label == slot->label)
		return;
	__builtin_memcpy(key.source, packet->tuple.source, sizeof(key.source));
	if (slot->label) {
		key.label = slot->label;
		found = bpf_map_lookup_elem(&labels, &key);
		/* Who shares it cannot tell whether it is the last: it is kept until the flow ends. */
		if (found && *found == STEERING_AMBIGUOUS)
			return;
		if (found && *found == number)
			bpf_map_delete_elem(&labels, &key);
	}
	key.label = packet->label;
	slot->label = packet->label;
	if (bpf_map_update_elem(&labels, &key, &number, BPF_NOEXIST) == 0)
		return;
	found = bpf_map_lookup_elem(&labels, &key);
	if (found && *found != number)
		*found = STEERING_AMBIGUOUS;
}

/* --- what is seen of the client --- */

static __always_inline int is_after(__u32 a, __u32 b)
{
	return (__s32)(a - b) > 0;
}

static __always_inline __u32 newest(__u32 known, __u32 value)
{
	return known && is_after(known, value) ? known : value;
}

#define OPTIONS_MAX 8 /* options that are looked at, padding included, until the timestamps are found */

/* Returns how long the option is at <offset>, or 0 if it is the last to look at. RFC 7323 3.2. */
static __always_inline __u32 record_option(struct __sk_buff *skb, struct flow_slot *slot, __u32 offset)
{
	__u32 values[2] = {0};
	__u8 option[2] = {0};

	if (bpf_skb_load_bytes(skb, offset, option, sizeof(option)) < 0)
		return 0;
	if (option[0] == 1)
		return 1;
	if (option[0] != 8)
		return option[0] == 0 ? 0 : option[1];
	if (option[1] == 10 && bpf_skb_load_bytes(skb, offset + 2, values, sizeof(values)) == 0) {
		slot->timestamp = newest(slot->timestamp, bpf_ntohl(values[0]));
		slot->timestamp_echo = newest(slot->timestamp_echo, bpf_ntohl(values[1]));
	}
	return 0;
}

static __always_inline void record_timestamps(struct __sk_buff *skb, struct flow_slot *slot,
					      const struct packet *packet)
{
	__u32 offset = packet->tcp_offset + sizeof(packet->tcp), end = packet->tcp_offset + packet->tcp.doff * 4u;
	__u32 len = 1;
	int i;

#pragma unroll /* as in packet.bpf.h */
	for (i = 0; i < OPTIONS_MAX; i++) {
		if (len != 0 && offset + 10 <= end) {
			len = record_option(skb, slot, offset);
			offset += len;
		}
	}
}

/* Whether a packet tells the window anew (RFC 9293 3.10.7.4), or another one overtook it: as Linux' TCP decides, which
 * is the one that a takeover speaks for. */
static __always_inline int is_window_new(const struct flow_slot *slot, __u32 acknowledged, __u32 sequence, __u32 window)
{
	return !slot->any || is_after(acknowledged, slot->acknowledged) || is_after(sequence, slot->window_sequence) ||
	       (sequence == slot->window_sequence && (window > slot->window || !window));
}

static __always_inline void record_tcp(struct __sk_buff *skb, struct flow_slot *slot, const struct packet *packet)
{
	__u32 acknowledged = bpf_ntohl(packet->tcp.ack_seq), sequence = bpf_ntohl(packet->tcp.seq);
	__u32 end = sequence + packet->payload + packet->tcp.syn + packet->tcp.fin;
	__u32 window = bpf_ntohs(packet->tcp.window);

	slot->tcp_flags |= ((const __u8 *)&packet->tcp)[13];
	if (!packet->tcp.ack) /* a RST at most: nothing else in it counts */
		return;
	if (!slot->any || !is_after(slot->acknowledged, acknowledged)) {
		if (is_window_new(slot, acknowledged, sequence, window)) {
			slot->window = window;
			slot->window_sequence = sequence;
		}
		record_timestamps(skb, slot, packet);
		slot->acknowledged = acknowledged;
	}
	if (!slot->any || is_after(end, slot->sequence_end))
		slot->sequence_end = end;
	slot->any = 1;
}

/* --- where it goes --- */

static __always_inline int redirect(const struct flow_slot *slot)
{
	struct bpf_redir_neigh node = {0};

	node.nh_family = slot->family;
	__builtin_memcpy(node.ipv6_nh, slot->node, sizeof(node.ipv6_nh));
	count(&totals.redirected);
	return (int)bpf_redirect_neigh(slot->interface, &node, sizeof(node), 0);
}

static __always_inline int copy_to_ring(struct __sk_buff *skb, struct flow_slot *slot, __u32 number, __u32 tcp_offset,
					__u32 len, const __u32 capacity)
{
	struct held_packet *record = bpf_ringbuf_reserve(&held, sizeof(*record) + capacity, 0);
	__u32 last = len - 1;

	if (!record)
		return -1;
	/* The compiler knows that it is below, the verifier sees it only if asked again here; that of Linux 6.1 learns both
	 * bounds from one comparison only. */
	asm volatile("" : "+r"(last));
	if (last >= capacity || bpf_skb_load_bytes(skb, 0, record->data, last + 1) < 0) {
		bpf_ringbuf_discard(record, 0);
		return -1;
	}
	record->number = number;
	record->generation = slot->generation;
	record->interface = skb->ifindex;
	record->len = len;
	record->gso_size = skb->gso_segs > 1 ? skb->gso_size : 0;
	record->tcp_offset = tcp_offset;
	__sync_fetch_and_add(&slot->held, 1);
	bpf_ringbuf_submit(record, 0);
	return 0;
}

/* <is_shared>: the node gets the packet too. If it did not hear the last acknowledgement it would soon repeat its last
 * segments, with an old timestamp, beside the connection that has returned. */
static __always_inline int hold(struct __sk_buff *skb, struct flow_slot *slot, __u32 number, __u32 tcp_offset,
				int is_shared)
{
	__u32 len = skb->len;
	int result = -1;

	if (len <= HELD_SMALL)
		result = copy_to_ring(skb, slot, number, tcp_offset, len, HELD_SMALL);
	else if (len <= HELD_MEDIUM)
		result = copy_to_ring(skb, slot, number, tcp_offset, len, HELD_MEDIUM);
	else if (len <= HELD_LARGE)
		result = copy_to_ring(skb, slot, number, tcp_offset, len, HELD_LARGE);
	count(result == 0 ? &totals.held : &totals.hold_overflows);
	return is_shared && result == 0 ? redirect(slot) : TC_ACT_SHOT;
}

/* Whether a packet is one whose loss the next one makes good: the node may have no connection yet. */
static __always_inline int is_replaceable(const struct packet *packet, enum packet_kind kind)
{
	return kind == PACKET_TCP && (packet->tcp.rst || (!packet->payload && !packet->tcp.syn && !packet->tcp.fin));
}

static __always_inline void change(struct flow_slot *slot, __u32 from, __u32 to)
{
	(void)__sync_val_compare_and_swap(&slot->action, from, to);
}

/* What the client has acknowledged by now may say that the node has its connection, or is done with it: returns whether
 * the latter. */
static __always_inline int advance(struct flow_slot *slot)
{
	if (!slot->any)
		return 0;
	if (slot->action == FLOW_PROVE && is_after(slot->acknowledged, slot->begin))
		change(slot, FLOW_PROVE, FLOW_REDIRECT);
	if (!slot->armed || is_after(slot->end, slot->acknowledged))
		return 0;
	change(slot, FLOW_REDIRECT, FLOW_HOLD);
	return 1;
}

static __always_inline void note_forwarded(struct flow_slot *slot, const struct packet *packet, enum packet_kind kind)
{
	__u32 end = bpf_ntohl(packet->tcp.seq) + packet->payload + packet->tcp.fin;

	if (kind != PACKET_TCP)
		slot->forwarded = FORWARDED_HIDDEN;
	else if ((!packet->payload && !packet->tcp.fin) || packet->tcp.syn)
		return;
	else if (slot->forwarded == FORWARDED_NOTHING || is_after(end, slot->forwarded_end))
		slot->forwarded_end = end;
	if (slot->forwarded == FORWARDED_NOTHING)
		slot->forwarded = FORWARDED_KNOWN;
}

static __always_inline struct flow_slot *find(const struct packet *packet, enum packet_kind kind, __u32 *number)
{
	if (kind == PACKET_TCP)
		return find_by_tuple(&packet->tuple, number);
	return kind == PACKET_HIDDEN ? find_by_label(packet, number) : NULL;
}

static __always_inline int is_held(const struct flow_slot *slot, __u32 action, int is_put_back,
				   const struct packet *packet, enum packet_kind kind)
{
	if (action == FLOW_PROVE)
		return !is_replaceable(packet, kind);
	return action == FLOW_HOLD || (!is_put_back && slot->held != slot->drained);
}

static __always_inline int is_sent_on(__u32 action)
{
	return action == FLOW_REDIRECT || action == FLOW_PROVE;
}

static __always_inline void record(struct __sk_buff *skb, struct flow_slot *slot, __u32 number,
				   const struct packet *packet, enum packet_kind kind)
{
	if (kind == PACKET_TCP) {
		learn_label(slot, number, packet);
		record_tcp(skb, slot, packet);
	}
	__sync_fetch_and_add(&slot->packets, 1);
	__sync_fetch_and_add(&slot->bytes, skb->len);
	slot->last = bpf_ktime_get_ns();
}

/* What is no packet of a flow may be about one: the node must hear of it. */
static __always_inline int steer_other(struct __sk_buff *skb)
{
	struct packet_tuple tuple = {0};
	struct flow_slot *slot;
	__u32 number = 0;

	if (too_big_read(skb, &tuple) < 0)
		return TC_ACT_UNSPEC;
	slot = find_by_tuple(&tuple, &number);
	return slot && is_sent_on(slot->action) ? redirect(slot) : TC_ACT_UNSPEC;
}

SEC("tc")
int disc_steer_in(struct __sk_buff *skb)
{
	int is_put_back = skb->mark == STEERING_MARK;
	struct packet packet = {0};
	struct flow_slot *slot;
	enum packet_kind kind;
	__u32 number = 0, action;
	int is_done = 0;

	if (is_put_back)
		skb->mark = 0;
	kind = packet_read(skb, &packet);
	if (kind == PACKET_OTHER)
		return steer_other(skb);
	slot = find(&packet, kind, &number);
	if (!slot) {
		if (kind == PACKET_FRAGMENT || kind == PACKET_HIDDEN)
			count(&totals.fragments);
		return TC_ACT_UNSPEC;
	}
	if (!is_put_back)
		record(skb, slot, number, &packet, kind);
	if (!is_put_back && kind == PACKET_TCP)
		is_done = advance(slot);
	action = slot->action;
	if (is_held(slot, action, is_put_back, &packet, kind))
		return hold(skb, slot, number, kind == PACKET_TCP ? packet.tcp_offset : 0,
			    is_done && action == FLOW_HOLD && !packet.tcp.rst && is_replaceable(&packet, kind));
	if (!is_sent_on(action))
		return TC_ACT_UNSPEC;
	note_forwarded(slot, &packet, kind);
	return redirect(slot);
}

/* A packet that is put back goes to the node from here, before the system call that put it back returns. */
static __always_inline int turn_round(struct __sk_buff *skb)
{
	struct packet packet = {0};
	enum packet_kind kind = packet_read(skb, &packet);
	struct flow_slot *slot;
	__u32 number = 0;

	slot = find(&packet, kind, &number);
	if (!slot || !is_sent_on(slot->action))
		return (int)bpf_redirect(skb->ifindex, BPF_F_INGRESS);
	skb->mark = 0;
	note_forwarded(slot, &packet, kind);
	return redirect(slot);
}

SEC("tc")
int disc_steer_out(struct __sk_buff *skb)
{
	struct packet packet = {0};
	struct packet_tuple tuple = {0};
	struct flow_slot *slot;
	__u32 number = 0;

	if (skb->mark == STEERING_MARK)
		return turn_round(skb);
	if (packet_read(skb, &packet) != PACKET_TCP)
		return TC_ACT_UNSPEC;
	/* The client's packets name the flow. */
	__builtin_memcpy(tuple.source, packet.tuple.destination, sizeof(tuple.source));
	__builtin_memcpy(tuple.destination, packet.tuple.source, sizeof(tuple.destination));
	tuple.source_port = packet.tuple.destination_port;
	tuple.destination_port = packet.tuple.source_port;
	tuple.family = packet.tuple.family;
	slot = find_by_tuple(&tuple, &number);
	if (!slot || slot->action == FLOW_PASS)
		return TC_ACT_UNSPEC;
	count(&totals.muted);
	return TC_ACT_SHOT;
}

char steering_license[] SEC("license") = "GPL";

/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What one host (a network namespace) spends in its kernel on packets that it receives, and the system calls of a few
 * processes; loaded by kernel_meter.c. Only what is said below is counted: no timers, no hard interrupts, no queues. */
#include <linux/bpf.h>

#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>

#include "kernel_meter.h"

/* The few fields of the kernel's structures that are read, found by BTF. */
#define NET_RX_SOFTIRQ 3 /* of enum in linux/interrupt.h: part of /proc/softirqs */
#define OF_KERNEL __attribute__((preserve_access_index))
struct ns_common {
	unsigned int inum;
} OF_KERNEL;
struct net {
	struct ns_common ns;
} OF_KERNEL;
typedef struct {
	struct net *net;
} OF_KERNEL possible_net_t;
struct net_device {
	possible_net_t nd_net;
} OF_KERNEL;
struct sk_buff {
	struct net_device *dev;
} OF_KERNEL;

const volatile __u32 host;                         /* the network namespace, by inode number */
const volatile __u64 pid_device, pid_inode;        /* the namespace that <watched> are process numbers of */
const volatile __u32 watched[METER_PROCESSES_MAX]; /* 0: none */
const volatile __u32 own;                          /* the first <own> of them are the host's */

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct meter_figures);
} figures SEC(".maps");

static struct meter_figures *figures_here(void)
{
	__u32 first = 0;

	return bpf_map_lookup_elem(&figures, &first);
}

/* The current process's place in <watched>, or METER_PROCESSES_MAX. In interrupts: that of the one interrupted. */
static __u32 current_place(void)
{
	struct bpf_pidns_info info;
	__u32 place;

	if (bpf_get_ns_current_pid_tgid(pid_device, pid_inode, &info, sizeof(info)) != 0)
		return METER_PROCESSES_MAX;
	for (place = 0; place < METER_PROCESSES_MAX; place++) {
		if (watched[place] && watched[place] == info.tgid)
			break;
	}
	return place;
}

/* Books the time since the last packet was begun. */
static void book(struct meter_figures *here, __u64 now)
{
	if (!here->began)
		return;
	if (current_place() < own)
		here->own_ns += now - here->began;
	else
		here->other_ns += now - here->began;
	here->began = 0;
}

/* The kernel takes in packets in a softirq, one behind the other: one ends where the next one begins. */
SEC("raw_tp/softirq_entry")
int meter_enter(struct bpf_raw_tracepoint_args *context)
{
	struct meter_figures *here = figures_here();

	if (here && context->args[0] == NET_RX_SOFTIRQ) {
		here->taking_in = 1;
		here->began = 0;
	}
	return 0;
}

SEC("raw_tp/netif_receive_skb")
int meter_packet(struct bpf_raw_tracepoint_args *context)
{
	struct meter_figures *here = figures_here();
	struct sk_buff *skb = (struct sk_buff *)context->args[0];
	__u64 now = bpf_ktime_get_ns();

	if (!here || !here->taking_in)
		return 0;
	book(here, now);
	if (BPF_CORE_READ(skb, dev, nd_net.net, ns.inum) == host) {
		here->began = now;
		here->packets++;
	}
	return 0;
}

SEC("raw_tp/softirq_exit")
int meter_exit(struct bpf_raw_tracepoint_args *context)
{
	struct meter_figures *here = figures_here();

	if (here && context->args[0] == NET_RX_SOFTIRQ) {
		book(here, bpf_ktime_get_ns());
		here->taking_in = 0;
	}
	return 0;
}

SEC("raw_tp/sys_enter")
int meter_call(struct bpf_raw_tracepoint_args *context)
{
	struct meter_figures *here = figures_here();
	__u32 place = current_place();

	(void)context;
	if (here && place < METER_PROCESSES_MAX)
		here->calls[place]++;
	return 0;
}

char meter_license[] SEC("license") = "GPL";

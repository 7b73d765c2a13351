/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What kernel_meter.bpf.c counts, on each CPU. */
#ifndef DISC_KERNEL_METER_H
#define DISC_KERNEL_METER_H

#include <linux/types.h>

#define METER_PROCESSES_MAX 8

struct meter_figures {
	__u64 taking_in; /* not 0: in the softirq that takes in packets */
	__u64 began;     /* when the packet that is being taken in was begun, 0: none of the host */
	__u64 own_ns;    /* spent while a process of the host was the current one, whose CPU time has it */
	__u64 other_ns;  /* spent otherwise */
	__u64 packets;   /* taken in */
	__u64 calls[METER_PROCESSES_MAX];
};

#endif

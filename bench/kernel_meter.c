/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Counts what this host's kernel does, while it runs: kernel_meter OWN PID...
 *
 * "This host" is the network namespace of this program. Counted are
 *   own_ns, other_ns  time that the receiving softirq spends on packets of this host's interfaces: steering, forwarding,
 *                     TCP with what it sends in answer, waking the reader. It passes in whatever process the CPU is in by chance: own_ns
 *                     while that is one of the first OWN of PID..., which has it in its CPU time already, other_ns otherwise
 *   packets           so taken in
 *   calls             system calls of each PID
 * Not counted: timers, hard interrupts, moving packets from queue to queue. BPF programs' run times (BPF_ENABLE_STATS) are kept by the kernel
 * as long as this program runs, kernel.bpf_stats_enabled stays as it was. Prints "ready", then the figures for each line that it reads, and ends
 * with its input.
 */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "kernel_meter.h"
#include "kernel_meter.skel.h"

static int fail(const char *what, int error)
{
	fprintf(stderr, "kernel_meter: %s: %s\n", what, strerror(error));
	return 1;
}

static int describe(struct kernel_meter_bpf *meter, int argc, char **argv)
{
	struct stat host, pids;

	if (stat("/proc/self/ns/net", &host) < 0 || stat("/proc/self/ns/pid", &pids) < 0)
		return -1;
	meter->rodata->host = (__u32)host.st_ino;
	meter->rodata->pid_device = pids.st_dev;
	meter->rodata->pid_inode = pids.st_ino;
	meter->rodata->own = (__u32)atoi(argv[1]);
	for (int i = 2; i < argc; i++)
		meter->rodata->watched[i - 2] = (__u32)atoi(argv[i]);
	return 0;
}

static int show(const struct kernel_meter_bpf *meter, int processes)
{
	int cpus = libbpf_num_possible_cpus();
	struct meter_figures *each, sum = {0};
	const __u32 first = 0;

	if (cpus < 0)
		return fail("CPUs", -cpus);
	each = calloc((size_t)cpus, sizeof(*each));
	if (!each || bpf_map_lookup_elem(bpf_map__fd(meter->maps.figures), &first, each) < 0)
		return fail("figures", ENOMEM);
	for (int cpu = 0; cpu < cpus; cpu++) {
		sum.own_ns += each[cpu].own_ns;
		sum.other_ns += each[cpu].other_ns;
		sum.packets += each[cpu].packets;
		for (int i = 0; i < processes; i++)
			sum.calls[i] += each[cpu].calls[i];
	}
	free(each);
	printf("own_ns=%llu other_ns=%llu packets=%llu calls=", sum.own_ns, sum.other_ns, sum.packets);
	for (int i = 0; i < processes; i++)
		printf("%s%llu", i ? "," : "", sum.calls[i]);
	printf("\n");
	fflush(stdout);
	return 0;
}

int main(int argc, char **argv)
{
	struct kernel_meter_bpf *meter;
	char line[16];
	int error;

	if (argc < 3 || argc - 2 > METER_PROCESSES_MAX) {
		fprintf(stderr, "usage: kernel_meter OWN PID...\n");
		return 1;
	}
	if (bpf_enable_stats(BPF_STATS_RUN_TIME) < 0)
		return fail("BPF statistics", errno);
	meter = kernel_meter_bpf__open();
	if (!meter || describe(meter, argc, argv) < 0)
		return fail("kernel_meter.bpf", errno);
	error = kernel_meter_bpf__load(meter);
	if (!error)
		error = kernel_meter_bpf__attach(meter);
	if (error)
		return fail("kernel_meter.bpf (the kernel needs BTF, CONFIG_DEBUG_INFO_BTF)", -error);
	printf("ready\n");
	fflush(stdout);
	while (fgets(line, sizeof(line), stdin)) {
		if (show(meter, argc - 2) != 0)
			return 1;
	}
	kernel_meter_bpf__destroy(meter);
	return 0;
}

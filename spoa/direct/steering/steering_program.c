/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "steering_program.h"

#include <bpf/libbpf.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "capabilities.h"
#include "traffic_filter.h"

#include "steering.skel.h" /* uses what is above */

static int check_capabilities(char *error, size_t error_size)
{
	char missing[128], ignored[32];
	int result = capabilities_have("cap_sys_admin", ignored, sizeof(ignored));

	result = capabilities_have(result == 0 ? "cap_net_admin cap_net_raw" : "cap_bpf cap_net_admin cap_net_raw",
				   missing, sizeof(missing));
	if (result < 0)
		(void)snprintf(error, error_size, "steering needs %s", missing);
	return result;
}

static int find_interfaces(struct steering_program *program, const char *const *names, char *error, size_t error_size)
{
	for (; *names; names++) {
		if (program->interface_count == STEERING_INTERFACES_MAX) {
			(void)snprintf(error, error_size, "steering takes no more than %d interfaces",
				       STEERING_INTERFACES_MAX);
			return -1;
		}
		program->interfaces[program->interface_count] = traffic_interface(*names, error, error_size);
		if (program->interfaces[program->interface_count] == 0)
			return -1;
		program->interface_count++;
	}
	if (program->interface_count)
		return 0;
	(void)snprintf(error, error_size, "steering needs an interface on which clients' packets come in");
	return -1;
}

static int fail(char *error, size_t error_size, const char *what)
{
	(void)snprintf(error, error_size, "steering: %s: %s", what, strerror(errno));
	return -1;
}

static int load(struct steering_program *program, uint32_t max, char *error, size_t error_size)
{
	struct steering_bpf *skeleton;

	traffic_filter_log();
	skeleton = program->skeleton = steering_bpf__open();
	if (!skeleton)
		return fail(error, error_size, "cannot read the program for the kernel");
	if (bpf_map__set_max_entries(skeleton->maps.flows, max) < 0 ||
	    bpf_map__set_max_entries(skeleton->maps.labels, max) < 0 ||
	    bpf_map__set_max_entries(skeleton->maps.slots, max) < 0)
		return fail(error, error_size, "cannot size the table");
	if (steering_bpf__load(skeleton) < 0)
		return fail(error, error_size,
			    "the kernel does not take the program (Linux 6.1 or newer with CONFIG_BPF_SYSCALL and "
			    "CONFIG_NET_CLS_BPF is needed)");
	program->in = traffic_program_number(bpf_program__fd(skeleton->progs.disc_steer_in));
	program->out = traffic_program_number(bpf_program__fd(skeleton->progs.disc_steer_out));
	program->flows = bpf_map__fd(skeleton->maps.flows);
	program->labels = bpf_map__fd(skeleton->maps.labels);
	program->slots = bpf_map__fd(skeleton->maps.slots);
	program->held = bpf_map__fd(skeleton->maps.held);
	program->totals = &skeleton->bss->totals;
	return 0;
}

int steering_program_open(struct steering_program *program, const char *const *names, uint32_t max, char *error,
			  size_t error_size)
{
	*program = (struct steering_program){.flows = -1, .labels = -1, .slots = -1, .held = -1};
	if (check_capabilities(error, error_size) < 0 || find_interfaces(program, names, error, error_size) < 0)
		return -1;
	return load(program, max, error, error_size);
}

int steering_program_attach(struct steering_program *program, char *error, size_t error_size)
{
	int in = bpf_program__fd(program->skeleton->progs.disc_steer_in);
	int out = bpf_program__fd(program->skeleton->progs.disc_steer_out);

	/* The guard first: no packet is steered while our own stack may still speak. */
	for (size_t i = 0; i < program->interface_count; i++)
		if (traffic_filter_attach(program->interfaces[i], TRAFFIC_EGRESS, TRAFFIC_FILTER_STEERING, out, error,
					  error_size) < 0)
			return -1;
	for (size_t i = 0; i < program->interface_count; i++)
		if (traffic_filter_attach(program->interfaces[i], TRAFFIC_INGRESS, TRAFFIC_FILTER_STEERING, in, error,
					  error_size) < 0)
			return -1;
	return 0;
}

void steering_program_close(struct steering_program *program)
{
	for (size_t i = 0; i < program->interface_count; i++) {
		if (program->in != 0)
			traffic_filter_detach(program->interfaces[i], TRAFFIC_INGRESS, TRAFFIC_FILTER_STEERING,
					      program->in);
		if (program->out != 0)
			traffic_filter_detach(program->interfaces[i], TRAFFIC_EGRESS, TRAFFIC_FILTER_STEERING,
					      program->out);
	}
	if (program->skeleton)
		steering_bpf__destroy(program->skeleton);
	*program = (struct steering_program){0};
}

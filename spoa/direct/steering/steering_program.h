/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The steering program (steering.bpf.c) in the kernel: loaded, and attached to the interfaces of clients. */
#ifndef DISC_STEERING_PROGRAM_H
#define DISC_STEERING_PROGRAM_H

#include <stddef.h>
#include <stdint.h>

#include "steering_flow.h"

#define STEERING_INTERFACES_MAX 64

struct steering_bpf;

struct steering_program {
	struct steering_bpf *skeleton;
	uint32_t in, out;                     /* numbers of its two parts, 0 before they are loaded */
	int flows, labels, slots, held;       /* maps, descriptors that belong to <skeleton> */
	const struct steering_totals *totals; /* what the kernel counts, shared memory */
	unsigned interfaces[STEERING_INTERFACES_MAX];
	size_t interface_count;
};

/* Finds the interfaces <names> (NULL-terminated) and loads the program with a table for <max> flows. Returns 0, or -1
 * with a sentence in <error>: a missing capability, interface or feature of the kernel. <program> must be closed in
 * either case. */
int steering_program_open(struct steering_program *program, const char *const *names, uint32_t max, char *error,
			  size_t error_size);

/* Attaches it, in place of an earlier one. Returns 0, or -1 with a sentence in <error>. */
int steering_program_attach(struct steering_program *program, char *error, size_t error_size);

/* Detaches it, unless another has taken its place, and unloads it. */
void steering_program_close(struct steering_program *program);

#endif

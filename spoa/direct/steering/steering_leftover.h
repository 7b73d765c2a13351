/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Left-overs: flows that a steering of another process, which may be dead, has in the kernel, found through the filters
 * that are still attached to this network's interfaces. */
#ifndef DISC_STEERING_LEFTOVER_H
#define DISC_STEERING_LEFTOVER_H

#include <stddef.h>
#include <stdint.h>

#include "steering_flow.h"

struct steering_leftover {
	struct packet_tuple tuple;
	struct flow_slot slot;
};

/* Copies what filters on any interface still steer. Returns an array, which the caller frees, and its length in
 * <*count>; NULL if there is nothing. Maps of other programs can be opened with CAP_SYS_ADMIN only; without it this is
 * said in the log, and nothing found. */
struct steering_leftover *steering_leftover_find(size_t *count);

/* Detaches filters of ours, other processes' too, except the programs <in> and <out>. */
void steering_leftover_detach(uint32_t in, uint32_t out);

#endif

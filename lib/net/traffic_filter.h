/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Traffic filters: BPF programs on tc clsact of an interface. They stay when the process that attached them is gone,
 * until it or the next one comes and puts its own in their place; a handle tells ours from others'. Needs
 * CAP_NET_ADMIN.
 */
#ifndef DISC_TRAFFIC_FILTER_H
#define DISC_TRAFFIC_FILTER_H

#include <stddef.h>
#include <stdint.h>

enum traffic_filter {
	TRAFFIC_FILTER_STEERING = 0xd15c, /* their handles: see `tc filter show dev IF ingress` */
	TRAFFIC_FILTER_GUARD = 0xd15d,
};

enum traffic_direction { TRAFFIC_INGRESS, TRAFFIC_EGRESS };

/* Finds interface <name>, which must be Ethernet or look like it. Returns its index, or 0 with a sentence in
 * <error>. */
unsigned traffic_interface(const char *name, char *error, size_t error_size);

/* Attaches the program <program_fd> in place of whatever has this handle there. Returns 0, or -1 with a sentence in
 * <error>. */
int traffic_filter_attach(unsigned interface, enum traffic_direction direction, enum traffic_filter filter,
			  int program_fd, char *error, size_t error_size);

/* Returns the number of the program that is attached with this handle, or 0. */
uint32_t traffic_filter_find(unsigned interface, enum traffic_direction direction, enum traffic_filter filter);

/* Detaches the filter if it is <program>, a number as above; 0: whatever it is. */
void traffic_filter_detach(unsigned interface, enum traffic_direction direction, enum traffic_filter filter,
			   uint32_t program);

/* Returns the number of the program <program_fd>, or 0. */
uint32_t traffic_program_number(int program_fd);

/* From here on libbpf's messages go to the log, as debug messages. */
void traffic_filter_log(void);

#endif

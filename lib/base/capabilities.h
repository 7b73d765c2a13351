/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Capabilities (capabilities(7)): what a process needs at a stage of its life, and how it gives up all others. A set is
 * written as names with spaces between, for instance "cap_net_admin cap_net_bind_service". */
#ifndef DISC_CAPABILITIES_H
#define DISC_CAPABILITIES_H

#include <stddef.h>

/* Returns 0 if the calling thread has all of <set> effective, or -1 with the names of those missing in <missing>,
 * terminated and cut if too long. A name that the kernel does not know counts as missing. */
int capabilities_have(const char *set, char *missing, size_t missing_size);

/* Gives up, for good, whatever is not in <set>: permitted, effective, inheritable, ambient, and for later programs too
 * (bounding set, no_new_privs). What the thread has not got it does not get. Concerns the calling thread and those that
 * it makes later: call it before the first. Returns 0, or -1 with a sentence in <error>. */
int capabilities_keep(const char *set, char *error, size_t error_size);

#endif

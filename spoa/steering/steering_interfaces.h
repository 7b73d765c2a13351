/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Between steering.c and steering_route.c: the interfaces on which clients' packets come in. */
#ifndef DISC_STEERING_INTERFACES_H
#define DISC_STEERING_INTERFACES_H

#include <stddef.h>

struct steering;

/* Returns their indexes, which belong to <steering>, and their number in <*count>. */
const unsigned *steering_interfaces(const struct steering *steering, size_t *count);

#endif

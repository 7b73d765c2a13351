/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Node: the running disc-backend - its sockets, the table of tickets, a control loop and the fetch workers.
 *
 *   worker 0: control server <--- result queue ---+
 *       |                                         |
 *       +--offers--> ticket table --offers--> worker 1..N: fetch servers --> file source,
 *                                                                        or origin
 */
#ifndef DISC_NODE_H
#define DISC_NODE_H

#include "node_config.h"

/* Opens every socket of <config>, serves until a signal and the drain that follows it; at SIGHUP reads <file> again (NULL: does
 * not). <config> is dropped. Returns 0, or -1 (logged) if it could not start. */
int node_run(const char *file, struct node_config *config);

#endif

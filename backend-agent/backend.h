/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Backend: the running node - its sockets, the table of tickets, a control loop and the fetch workers.
 *
 *   worker 0: control server <--- result queue ---+
 *       |                                         |
 *       +--offers--> ticket table --offers--> worker 1..N: fetch servers --> file source,
 *                                                                        or origin
 */
#ifndef DISC_BACKEND_H
#define DISC_BACKEND_H

#include "backend_config.h"

/* Opens every socket of <config>, serves until a signal and the drain that follows it. Returns 0, or -1 (logged) if it
 * could not start. */
int backend_run(const struct backend_config *config);

#endif

/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Fetch connection: HTTP/1.1 on one accepted socket - reading, keep-alive, pipelining, timeouts.
 *
 *   +-------------------------(response sent, kept alive)-------------------------+
 *   v                                                                             |
 * IDLE --(first byte)--> READING --(head)--> [ASKING] -------> [WAITING] -----> SENDING --(last response)--> LINGERING
 *                                            the origin        for the offer                                     |
 *                                                                                                                v
 *                                                                                                              closed
 *
 * Every state may end in closed: the peer went away, a timeout, a transfer that broke.
 */
#ifndef DISC_FETCH_CONNECTION_H
#define DISC_FETCH_CONNECTION_H

#include "address.h"
#include "fetch_server.h"

/* Serves the accepted, non-blocking socket <fd>, of which it takes ownership in every case, until it ends.
 * Returns 0, or -1 when memory is exhausted. */
int fetch_connection_open(struct fetch_service *service, int fd, const struct address *peer);

/* Closes all connections of <service>: only those that have no request under way, or with <force> every one. */
void fetch_connections_close(struct fetch_service *service, bool force);

#endif

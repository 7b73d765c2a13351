/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Fetch server: one worker's share of the fetch hop. All workers accept from the same listening sockets. */
#ifndef DISC_FETCH_SERVER_H
#define DISC_FETCH_SERVER_H

#include "fetch_service.h"

struct fetch_server;

/* Begins to accept on the <count> listening sockets <listeners>, which stay the caller's, on service->loop. <service>
 * is copied; its loop, limits, content, tickets, results, draining and direct are set. <idle> is called once a drain
 * has come to its end. Returns the server, or NULL when memory is exhausted. */
struct fetch_server *fetch_server_start(const struct fetch_service *service, const int *listeners, size_t count,
					void (*idle)(void *context), void *context);

/* Finishes: for as long as a ticket may wait, connections are still accepted and tickets declined, because HAProxy does
 * not know yet; then nothing is accepted, idle connections are closed, and when the last one is gone idle() is
 * called. */
void fetch_server_drain(struct fetch_server *server);

/* Closes what is left and frees <server>. */
void fetch_server_stop(struct fetch_server *server);

#endif

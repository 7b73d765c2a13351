/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Fetch server: one worker's share of the fetch hop. All workers accept from the same listening sockets. */
#ifndef DISC_FETCH_SERVER_H
#define DISC_FETCH_SERVER_H

#include <ev.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "clone_set.h"
#include "fetch_answer.h"
#include "log_limit.h"
#include "result_queue.h"
#include "ticket_table.h"

/* Limits of the fetch hop, from the configuration. Times in seconds, sizes in bytes. */
struct fetch_limits {
	double keep_alive_timeout; /* without a request under way */
	double header_timeout;     /* from the first byte of a request to the end of its head */
	double send_timeout;       /* without the peer taking a byte of a response */
	double ticket_wait;        /* for the offer of a ticket */
	size_t max_header_size;    /* of one request's head */
	size_t max_connections;    /* of the worker */
	int send_buffer;           /* SO_SNDBUF; 0: the kernel's own tuning */
};

struct fetch_connection;

/* What all connections of one worker's fetch hop share. */
struct fetch_service {
	struct ev_loop *loop;
	struct fetch_limits limits;
	const struct fetch_content *content;
	struct http_source *origin; /* NULL: content->files are served */
	struct ticket_table *tickets;
	struct result_queue *results;
	const _Atomic bool *draining;  /* tickets are declined, connections are not kept alive */
	struct direct_service *direct; /* NULL: no body is announced as direct */
	struct clone_set *clones;      /* of this worker, if there is <direct> */
	struct ticket_mailbox mailbox;
	struct fetch_connection *connections; /* all that are open */
	size_t count, sending;                /* of them; with a response under way */
	struct log_limit bad_proofs;
	void (*closed)(void *context); /* a connection went away */
	void *context;
};

struct fetch_server;

/* Begins to accept on the <count> listening sockets <listeners>, which stay the caller's, on service->loop. <service>
 * is copied; its loop, limits, content (held), tickets, results, draining and direct are set. <idle> is called once a drain
 * has come to its end. Returns the server, or NULL when memory is exhausted. */
struct fetch_server *fetch_server_start(const struct fetch_service *service, const int *listeners, size_t count,
					void (*idle)(void *context), void *context);

/* Serves what comes from now on by <limits> (but for ticket_wait, which stays) and from <content>, which is held and must be of the
 * same kind, files or an origin. */
void fetch_server_change(struct fetch_server *server, const struct fetch_limits *limits,
			 const struct fetch_content *content);

/* Finishes: for as long as a ticket may wait, connections are still accepted and tickets declined, because HAProxy does
 * not know yet; then nothing is accepted, idle connections are closed, and when the last one is gone idle() is
 * called. */
void fetch_server_drain(struct fetch_server *server);

/* Closes what is left and frees <server>. */
void fetch_server_stop(struct fetch_server *server);

#endif

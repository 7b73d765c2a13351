/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Admin endpoint of a program, over HTTP (libmicrohttpd, a thread of its own): GET /metrics (Prometheus) and GET
 * /health (200 "ok", or 503 "draining"). Never carries a secret; meant for a management network or loopback. */
#ifndef DISC_ADMIN_H
#define DISC_ADMIN_H

#include <stddef.h>

#include "address.h"
#include "metrics.h"

struct admin;

struct admin_source {
	struct metric *metrics;
	size_t count;
	int (*draining)(void *context); /* non-zero: /health answers 503 */
	void *context;
};

/* Listens on <address>. What <source> points to must outlive the endpoint. Returns it, or NULL with errno set. */
struct admin *admin_start(const struct address *address, const struct admin_source *source);

/* Closes the endpoint; <admin> may be NULL. */
void admin_stop(struct admin *admin);

#endif

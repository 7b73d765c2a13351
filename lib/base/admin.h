/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Admin endpoint of a program, over HTTP (libmicrohttpd, a thread of its own): GET /metrics (Prometheus), GET /health (200
 * "ok", or 503 "draining"), and the program's own pages. Never carries a secret; meant for a management network or
 * loopback. */
#ifndef DISC_ADMIN_H
#define DISC_ADMIN_H

#include <stddef.h>

#include "address.h"
#include "metrics.h"

struct admin;

/* One argument of a page's query, decoded; valid during the call. */
struct admin_argument {
	const char *name, *value; /* <value> is empty if there is none */
};

/* A page of the program's own. */
struct admin_page {
	const char *path; /* "/explain" */
	const char *type; /* its Content-Type */
	/* Renders the page, in the endpoint's thread. Returns its terminated text, to be freed by the endpoint, or NULL when
	 * memory is exhausted. <*status> is 200, and may be changed. */
	char *(*render)(void *context, const struct admin_argument *arguments, size_t count, unsigned *status);
};

struct admin_source {
	struct metric *metrics;
	size_t count;
	int (*draining)(void *context); /* non-zero: /health answers 503 */
	void *context;                  /* of draining() and the pages */
	const struct admin_page *pages; /* <page_count> of them */
	size_t page_count;              /* one may take the place of /metrics or /health */
};

/* Listens on <address>. What <source> points to must outlive the endpoint. Returns it, or NULL with errno set. */
struct admin *admin_start(const struct address *address, const struct admin_source *source);

/* Closes the endpoint; <admin> may be NULL. */
void admin_stop(struct admin *admin);

#endif

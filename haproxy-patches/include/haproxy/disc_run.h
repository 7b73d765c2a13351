/*
 * include/haproxy/disc_run.h
 * Records on their way from a node's socket to a client's one.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef _HAPROXY_DISC_RUN_H
#define _HAPROXY_DISC_RUN_H

#include <inttypes.h>

struct disc_hop;
struct pipe;

/* What still has to go out of a grant's records, in this order: the bytes in the pipe, those in
 * memory, those which the hop's socket holds.
 */
struct disc_run {
	struct pipe *pipe;      /* or NULL */
	char *area;             /* or NULL */
	uint32_t at, end;       /* bytes of <area> that are to be sent */
	uint32_t missing;       /* bytes in the socket of <hop> */
	struct disc_hop *hop;   /* NULL if there are none */
};

uint32_t disc_run_left(const struct disc_run *run);
int disc_run_pull(struct disc_run *run, int fd, int may_splice, int may_copy);
int disc_run_rescue(struct disc_run *run, int fd);
void disc_run_release(struct disc_run *run);

#endif /* _HAPROXY_DISC_RUN_H */

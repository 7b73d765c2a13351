/*
 * include/haproxy/disc_lend.h
 * Lending of client connections to DiSC's agent: functions.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef _HAPROXY_DISC_LEND_H
#define _HAPROXY_DISC_LEND_H

#include <haproxy/buf-t.h>
#include <haproxy/disc_lend-t.h>

struct connection;
struct disc_lease;

int disc_lend_configured(void);
int disc_lend_ready(const struct connection *conn);
void disc_lend(struct connection *conn, struct disc_lease *lease);
void disc_lend_switch(int on);
void disc_lend_abandon(struct disc_lease *lease);
void disc_lend_show(struct buffer *out);
int disc_lend_show_next(struct buffer *out, struct disc_lend_place *place);

#endif /* _HAPROXY_DISC_LEND_H */

/*
 * include/haproxy/disc_handoff.h
 * Handoff of client connections to DiSC's agent: functions.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef _HAPROXY_DISC_HANDOFF_H
#define _HAPROXY_DISC_HANDOFF_H

#include <haproxy/buf-t.h>
#include <haproxy/disc_handoff-t.h>

struct connection;
struct disc_lease;

int disc_handoff_configured(void);
int disc_handoff_ready(const struct connection *conn);
void disc_park(struct connection *conn, struct disc_lease *lease);
void disc_handoff_switch(int on);
void disc_handoff_abandon(struct disc_lease *lease);
void disc_handoff_show(struct buffer *out);
int disc_handoff_show_next(struct buffer *out, struct disc_handoff_place *place);

#endif /* _HAPROXY_DISC_HANDOFF_H */

/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Clone report: what a clone tells its agent (doc/protocol.md, section 3). Each posts one message to the outbox; one
 * that is lost for want of memory is logged there, and the agent's own timeouts cover it. */
#ifndef DISC_CLONE_REPORT_H
#define DISC_CLONE_REPORT_H

#include "clone.h"

/* There will be no clone, for <reason>; <contradicts>: because another body was announced to HAProxy. */
void clone_report_reply(const struct clone *clone, const char *reason, bool contradicts);

/* <bytes> of records were acknowledged. */
void clone_report_progress(const struct clone *clone, uint64_t bytes);

/* <len> bytes, at most CONTROL_CLIENT_DATA_MAX, behind the clone->received ones before. Returns 0, or -1 when memory is
 * exhausted. */
int clone_report_client_data(const struct clone *clone, const uint8_t *data, size_t len);

void clone_report_drained(const struct clone *clone);

/* Returns 0, or -1 when memory is exhausted. */
int clone_report_handback(const struct clone *clone, const struct tcp_frozen *frozen);

void clone_report_gone(const struct clone *clone, enum control_gone_cause cause, uint64_t bytes, const char *reason);

/* Also counts the outcome. */
void clone_report_result(const struct clone *clone, enum control_outcome outcome, const char *reason);

#endif

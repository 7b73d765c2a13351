/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Counters, gauges and histograms of disc-spoa. This table is the only list of their names; those of each node are made from the
 * configuration. A label is part of a metric's name, as metrics.h takes it. */
#ifndef DISC_SPOA_METRICS_H
#define DISC_SPOA_METRICS_H

#include <pthread.h>

#include "completion_cause.h"
#include "metrics.h"
#include "pass_reason.h"
#include "spop_frame.h"

#define SPOA_METRIC_TABLE(X)                                                                                           \
	X(CONNECTIONS, GAUGE, "disc_spoa_connections", "SPOP connections that are open")                               \
	X(CONNECTIONS_TOTAL, COUNTER, "disc_spoa_connections_total", "SPOP connections that were accepted")            \
	X(CONNECTIONS_REFUSED, COUNTER, "disc_spoa_connections_refused_total",                                         \
	  "SPOP connections over max-connections")                                                                     \
	X(HEALTH_CHECKS, COUNTER, "disc_spoa_health_checks_total", "health checks of HAProxy that were answered")      \
	X(NOTIFIES, COUNTER, "disc_spoa_notifies_total", "NOTIFY frames received")                                     \
	X(ACKS, COUNTER, "disc_spoa_acks_total", "ACK frames queued as answers")                                       \
	X(OFFERS, COUNTER, "disc_spoa_offers_total", "offloads offered to a node")                                     \
	X(OFFERS_LOST, COUNTER, "disc_spoa_offers_lost_total", "offers whose node went away before their result")      \
	X(RESULTS_SEALED, COUNTER, "disc_spoa_results_total{outcome=\"sealed\"}", "results that nodes reported")       \
	X(RESULTS_DECLINED, COUNTER, "disc_spoa_results_total{outcome=\"declined\"}", "results that nodes reported")   \
	X(RESULTS_ABORTED, COUNTER, "disc_spoa_results_total{outcome=\"aborted\"}", "results that nodes reported")     \
	X(RESULTS_EXPIRED, COUNTER, "disc_spoa_results_total{outcome=\"expired\"}", "results that nodes reported")     \
	X(RESULTS_FAILED, COUNTER, "disc_spoa_results_total{outcome=\"failed\"}", "results that nodes reported")       \
	X(CHANGED, COUNTER, "disc_spoa_changed_objects_total",                                                         \
	  "bodies that broke off because their object was written while it was sent")                                  \
	X(SEALED_RECORDS, COUNTER, "disc_spoa_sealed_records_total", "TLS records sealed, as nodes reported")          \
	X(SEALED_BYTES, COUNTER, "disc_spoa_sealed_bytes_total", "bytes of plaintext sealed, as nodes reported")       \
	X(HANDOFFS, GAUGE, "disc_spoa_handoffs", "client connections that HAProxy has parked now")                     \
	X(HANDOFFS_TOTAL, COUNTER, "disc_spoa_handoffs_total", "client connections that HAProxy parked")               \
	X(CLONES, COUNTER, "disc_spoa_clones_total", "connections that were handed off to a node")                     \
	X(CLONES_FAILED, COUNTER, "disc_spoa_clones_failed_total", "handoffs that the node refused or did not answer") \
	X(HANDOFF_TIME, HISTOGRAM, "disc_spoa_handoff_seconds",                                                        \
	  "time from when HAProxy parked a connection until it was sent to a node")                                    \
	X(FREEZE_TIME, HISTOGRAM, "disc_spoa_freeze_seconds",                                                          \
	  "of it, for holding the flow, freezing the socket and making it mute")                                       \
	X(HANDBACK_TIME, HISTOGRAM, "disc_spoa_handback_seconds",                                                      \
	  "time to make a socket live again and to let its packets through, when a connection returns")                \
	X(HANDOFFS_REFUSED, COUNTER, "disc_spoa_handoffs_refused_total",                                               \
	  "client connections that were not taken: HAProxy goes on by the splice path")                                \
	X(HANDOFFS_RETURNED, COUNTER, "disc_spoa_handoffs_returned_total",                                             \
	  "connections that HAProxy got back with all bytes written")                                                  \
	X(HANDOFFS_RECALLED, COUNTER, "disc_spoa_handoffs_recalled_total",                                             \
	  "connections recalled from nodes before the end of their bodies")                                            \
	X(HANDOFFS_ABANDONED, COUNTER, "disc_spoa_handoffs_abandoned_total", "parked connections that HAProxy closed") \
	X(HANDOFFS_LOST_CLIENT, COUNTER, "disc_spoa_handoffs_lost_total{cause=\"client\"}",                            \
	  "connections that were lost")                                                                                \
	X(HANDOFFS_LOST_NODE, COUNTER, "disc_spoa_handoffs_lost_total{cause=\"node\"}", "connections that were lost")  \
	X(HANDOFFS_LOST_AGENT, COUNTER, "disc_spoa_handoffs_lost_total{cause=\"agent\"}",                              \
	  "connections that were lost")                                                                                \
	X(BREAKERS_OPEN, GAUGE, "disc_spoa_breakers_open", "routes that the direct path is kept from after failures")  \
	X(TRACKING_JUDGES, GAUGE, "disc_spoa_tracking_judges",                                                         \
	  "1: connection tracking on this host keeps connections from being handed off")                               \
	X(TRACKING_EXEMPTED, COUNTER, "disc_spoa_tracking_exempted_total",                                             \
	  "connections that connection tracking was told not to judge, because they were handed off")                  \
	X(CERTIFICATE_END, GAUGE, "disc_spoa_certificate_expiry_timestamp_seconds",                                    \
	  "when the certificate of the control channels, or its CA's, ends; 0: there is none")                         \
	X(DNS_LOOKUPS, COUNTER, "disc_spoa_dns_lookups_total", "names of pools that were resolved, or tried to be")    \
	X(DNS_FAILURES, COUNTER, "disc_spoa_dns_failures_total",                                                       \
	  "of these, those without an answer that can be used: the nodes known before stay")                           \
	X(DNS_STALE, GAUGE, "disc_spoa_dns_stale", "names of pools whose last lookup had no answer that can be used")  \
	X(DNS_IGNORED, GAUGE, "disc_spoa_dns_records_ignored",                                                         \
	  "records that get no offloads, because their pools have max-nodes")                                          \
	X(NODES_UNREACHABLE, GAUGE, "disc_spoa_nodes_unreachable",                                                     \
	  "nodes with an address that clients' packets cannot be sent to")                                             \
	X(LEFTOVERS, COUNTER, "disc_spoa_leftovers_total", "flows of an earlier process, whose clients were reset")    \
	X(STEERING_FLOWS, GAUGE, "disc_spoa_steering_flows", "flows that are held or sent to nodes")                   \
	X(STEERING_REDIRECTED, COUNTER, "disc_spoa_steering_redirected_total", "packets sent to nodes")                \
	X(STEERING_HELD, COUNTER, "disc_spoa_steering_held_total", "packets held")                                     \
	X(STEERING_OVERFLOWS, COUNTER, "disc_spoa_steering_overflows_total",                                           \
	  "packets dropped for lack of room to hold them")                                                             \
	X(STEERING_REINJECTED, COUNTER, "disc_spoa_steering_reinjected_total",                                         \
	  "packets let through after having been held")                                                                \
	X(STEERING_MUTED, COUNTER, "disc_spoa_steering_muted_total", "packets of this host that were kept back")       \
	X(STEERING_FRAGMENTS, COUNTER, "disc_spoa_steering_fragments_total",                                           \
	  "fragments seen on the clients' interfaces")

enum spoa_metric {
#define SPOA_METRIC_ENUM(id, kind, name, help) SPOA_##id,
	SPOA_METRIC_TABLE(SPOA_METRIC_ENUM)
#undef SPOA_METRIC_ENUM
#define SPOA_PASS_ENUM(id, word) SPOA_PASS_##id,
		PASS_REASON_TABLE(SPOA_PASS_ENUM)
#undef SPOA_PASS_ENUM
#define SPOA_CAUSE_ENUM(id, word) SPOA_COMPLETED_##id,
			COMPLETION_CAUSE_TABLE(SPOA_CAUSE_ENUM)
#undef SPOA_CAUSE_ENUM
#define SPOA_STATUS_ENUM(id, code, text) SPOA_DISCONNECT_##id,
				SPOP_STATUS_TABLE(SPOA_STATUS_ENUM)
#undef SPOA_STATUS_ENUM
					SPOA_METRIC_COUNT
};

#define SPOA_METRICS_NODES 64u /* places for nodes; NODE_MAX */

struct spoa_metrics {
	struct metric *
		all; /* SPOA_METRIC_COUNT of them, then five of each node; those of places without a node have no name */
	size_t count;
	pthread_mutex_t names; /* of nodes: they come and go, while the admin's thread renders */
};

/* Makes the table, with the places of the first <node_count> nodes named so. Returns 0, or -1 when memory is exhausted. */
int spoa_metrics_init(struct spoa_metrics *metrics, const char *const *node_names, size_t node_count);
void spoa_metrics_release(struct spoa_metrics *metrics);

/* Gives the place <index> to the node <name>, whose values begin with 0; NULL: to none. Returns 0, or -1 when memory is
 * exhausted: nothing is changed then. */
int spoa_metrics_name_node(struct spoa_metrics *metrics, size_t index, const char *name);

/* As metrics_render(), while places may be named. */
char *spoa_metrics_render(struct spoa_metrics *metrics);

static inline void spoa_metrics_add(struct spoa_metrics *metrics, enum spoa_metric id, int64_t delta)
{
	metric_add(&metrics->all[id], delta);
}

static inline void spoa_metrics_observe_since(struct spoa_metrics *metrics, enum spoa_metric id, double since)
{
	metric_observe_since(&metrics->all[id], since);
}

static inline void spoa_metrics_count_pass(struct spoa_metrics *metrics, enum pass_reason reason)
{
	metric_add(&metrics->all[SPOA_PASS_NO_LEASE + (size_t)reason], 1);
}

static inline void spoa_metrics_count_completion(struct spoa_metrics *metrics, enum completion_cause cause)
{
	metric_add(&metrics->all[SPOA_COMPLETED_UNFIT + (size_t)cause], 1);
}

void spoa_metrics_count_disconnect(struct spoa_metrics *metrics, enum spop_status status);

/* Of node <index>: workers whose control channel to it is up; offloads offered and not ended; requests that were its own
 * and went elsewhere because it had max-offloads; workers that it told that it drains; channels lost and offloads failed. */
struct metric *spoa_metrics_node_up(struct spoa_metrics *metrics, size_t index);
struct metric *spoa_metrics_node_active(struct spoa_metrics *metrics, size_t index);
struct metric *spoa_metrics_node_spills(struct spoa_metrics *metrics, size_t index);
struct metric *spoa_metrics_node_draining(struct spoa_metrics *metrics, size_t index);
struct metric *spoa_metrics_node_failures(struct spoa_metrics *metrics, size_t index);

#endif

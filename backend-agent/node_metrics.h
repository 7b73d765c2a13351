/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Counters, gauges and histograms of disc-backend; this table is the one place that lists them. */
#ifndef DISC_NODE_METRICS_H
#define DISC_NODE_METRICS_H

#include <stdbool.h>

#include "control.h"
#include "metrics.h"

#define NODE_METRIC_TABLE(X)                                                                                           \
	X(CONNECTIONS, GAUGE, "disc_backend_fetch_connections", "Fetch connections that are open")                     \
	X(CONNECTIONS_TOTAL, COUNTER, "disc_backend_fetch_connections_total", "Fetch connections that were accepted")  \
	X(FETCHES, COUNTER, "disc_backend_fetches_total", "Requests on the fetch hop that were answered")              \
	X(FETCH_FAULTS, COUNTER, "disc_backend_fetch_faults_total",                                                    \
	  "Requests on the fetch hop that could not be read")                                                          \
	X(OFFLOADS_ACTIVE, GAUGE, "disc_backend_offloads_active", "Sealed bodies under way")                           \
	X(FIRST_RECORD_SPLICE, HISTOGRAM, "disc_backend_first_record_seconds{path=\"splice\"}",                        \
	  "Time from a request until the kernel took its body's first record")                                         \
	X(FIRST_RECORD_DIRECT, HISTOGRAM, "disc_backend_first_record_seconds{path=\"direct\"}",                        \
	  "Time from a request until the kernel took its body's first record")                                         \
	X(OFFERS, COUNTER, "disc_backend_offers_total", "Offers received on control channels")                         \
	X(OFFERS_WAITING, GAUGE, "disc_backend_offers_waiting", "Offers that wait for their fetch")                    \
	X(OFFERS_REFUSED, COUNTER, "disc_backend_offers_refused_total", "Offers dropped: ticket used, or table full")  \
	X(SEALED, COUNTER, "disc_backend_offloads_total{outcome=\"sealed\"}", "Offloads by how they ended")            \
	X(DECLINED, COUNTER, "disc_backend_offloads_total{outcome=\"declined\"}", "Offloads by how they ended")        \
	X(ABORTED, COUNTER, "disc_backend_offloads_total{outcome=\"aborted\"}", "Offloads by how they ended")          \
	X(EXPIRED, COUNTER, "disc_backend_offloads_total{outcome=\"expired\"}", "Offloads by how they ended")          \
	X(FAILED, COUNTER, "disc_backend_offloads_total{outcome=\"failed\"}", "Offloads by how they ended")            \
	X(TICKETS_UNKNOWN, COUNTER, "disc_backend_tickets_unknown_total",                                              \
	  "Fetches whose ticket nobody offered in time")                                                               \
	X(TICKETS_REUSED, COUNTER, "disc_backend_tickets_reused_total", "Fetches refused: ticket used before")         \
	X(BYTES_SEALED, COUNTER, "disc_backend_sealed_bytes_total", "Plaintext bytes that were sealed")                \
	X(BYTES_CLEAR, COUNTER, "disc_backend_clear_bytes_total",                                                      \
	  "Bytes of bodies sealed by grants that were sent to the load balancer to be sealed there")                   \
	X(GRANTS, COUNTER, "disc_backend_grants_total", "Grants that were answered")                                   \
	X(GRANTS_REFUSED, COUNTER, "disc_backend_grants_refused_total",                                                \
	  "Fetch connections closed for a grant that was not proven or did not fit")                                   \
	X(BYTES_PLAIN, COUNTER, "disc_backend_plain_bytes_total", "Body bytes that were sent as they are")             \
	X(FILES_CHANGED, COUNTER, "disc_backend_broken_transfers_total",                                               \
	  "Transfers broken off: object changed or unreadable")                                                        \
	X(DIGESTS, COUNTER, "disc_backend_digests_total", "Digests of files that were computed")                       \
	X(DIGESTS_DISCARDED, COUNTER, "disc_backend_digests_discarded_total",                                          \
	  "Digests that were given up since their file changed meanwhile, or could not be read")                       \
	X(DIGEST_BYTES, COUNTER, "disc_backend_digest_bytes_total", "Bytes of files that were read for their digests") \
	X(ORIGIN_REQUESTS, COUNTER, "disc_backend_origin_requests_total", "Requests sent to the origin")               \
	X(ORIGIN_FAULTS, COUNTER, "disc_backend_origin_faults_total", "Requests that the origin did not answer well")  \
	X(CERTIFICATE_END, GAUGE, "disc_backend_certificate_expiry_timestamp_seconds",                                 \
	  "When the certificate of the control channels, or its CA's, ends")                                           \
	X(CLONES, GAUGE, "disc_backend_direct_clones", "Clients' connections that are on this node")                   \
	X(DIRECT_BYTES, COUNTER, "disc_backend_direct_bytes_total", "Bytes of records given to clients' connections")  \
	X(DIRECT_CLIENT_BYTES, COUNTER, "disc_backend_direct_client_bytes_total",                                      \
	  "Bytes that clients sent meanwhile, passed to agents")                                                       \
	X(HANDOFFS, COUNTER, "disc_backend_handoffs_total{result=\"restored\"}", "Connections that agents handed off") \
	X(HANDOFFS_REFUSED, COUNTER, "disc_backend_handoffs_total{result=\"refused\"}",                                \
	  "Connections that agents handed off")                                                                        \
	X(UNCLAIMED, COUNTER, "disc_backend_direct_unclaimed_total",                                                   \
	  "Bodies sent on the fetch hop since no agent handed their connection off")                                   \
	X(UNREACHABLE, COUNTER, "disc_backend_direct_unreachable_total",                                               \
	  "Bodies not sent directly since this node has no route to the client")                                       \
	X(HANDED_BACK, COUNTER, "disc_backend_handbacks_total", "Connections that were given back")                    \
	X(RELEASED, COUNTER, "disc_backend_releases_total", "Connections that agents have taken back by themselves")   \
	X(GONE_CLIENT, COUNTER, "disc_backend_direct_gone_total{cause=\"client\"}",                                    \
	  "Clones with nothing to give back")                                                                          \
	X(GONE_NODE, COUNTER, "disc_backend_direct_gone_total{cause=\"node\"}", "Clones with nothing to give back")    \
	X(GONE_RECALLED, COUNTER, "disc_backend_direct_gone_total{cause=\"recalled\"}",                                \
	  "Clones with nothing to give back")                                                                          \
	X(GUARD_DROPPED, COUNTER, "disc_backend_direct_guard_dropped_total",                                           \
	  "Packets with FIN or RST from a virtual address that were kept from clients")                                \
	X(CHANNELS, GAUGE, "disc_backend_control_channels", "Control channels that are open")                          \
	X(CHANNEL_FAULTS, COUNTER, "disc_backend_control_faults_total", "Control channels closed for a peer's fault")

enum node_metric {
#define NODE_METRIC_ENUM(id, kind, name, help) NODE_##id,
	NODE_METRIC_TABLE(NODE_METRIC_ENUM)
#undef NODE_METRIC_ENUM
		NODE_METRIC_COUNT
};

/* One of each for the whole process. */
extern struct metric node_metrics[NODE_METRIC_COUNT];

static inline void node_metrics_add(enum node_metric id, int64_t delta)
{
	metric_add(&node_metrics[id], delta);
}

/* The histogram of when the first records of bodies leave that are announced for the direct path, or for the splice path. */
static inline struct metric *node_metrics_first_record(bool direct)
{
	return &node_metrics[direct ? NODE_FIRST_RECORD_DIRECT : NODE_FIRST_RECORD_SPLICE];
}

/* Counts an offload that ended. */
void node_metrics_add_outcome(enum control_outcome outcome);

/* Returns the present value. */
int64_t node_metric_value(enum node_metric id);

#endif

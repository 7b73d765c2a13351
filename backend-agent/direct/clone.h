/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Clone: a client's connection on this node, and the sealed body that goes out on it (doc/direct-path.md).
 *
 *   WAITING --hand_off()--> TRANSMITTING --(all is written)--> WRITTEN --(tail fits: Drained)--> DRAINED
 *      |                          |                               |                               ^   |
 *      |                          +----------------+--------------+                               |   | recall()
 *      |                                           | recall()                                     |   v
 *      |                                       RECALLED --(tail fits: Drained)--------------------+ RETURNING
 *      |                                                                                              |
 *      |                                                    ended <--(Handback)-----------------------+
 *      +--> ended (HandoffReply)     ended (release()): from WRITTEN usually     ended (Gone): from every state
 *      +--> ended (recalled, channel lost, no Handoff in time): nothing was sealed, the body goes back to its announcer
 *
 * The agent sees the client's last acknowledgement before this node would, takes the connection back and releases the
 * clone. "Tail fits", for the other ways: the client has acknowledged all but TCP_SEND_TAIL_MAX bytes; in WRITTEN the
 * client has sent something besides, or has acknowledged all for a while and the agent says nothing. However a clone ends, the socket says nothing to the client, its keys are wiped, and the offer's Result
 * follows. A clone belongs to one loop. Every function below may end it: <ended> is called and the clone must not be
 * used afterwards.
 */
#ifndef DISC_CLONE_H
#define DISC_CLONE_H

#include <ev.h>
#include <stdbool.h>
#include <stdint.h>
#include <uthash.h>

#include "agent_outbox.h"
#include "connection_tracking.h"
#include "direct_settings.h"
#include "result_queue.h"
#include "sealed_body.h"
#include "tcp_freeze.h"
#include "ticket.h"

enum clone_state {
	CLONE_WAITING,
	CLONE_TRANSMITTING,
	CLONE_WRITTEN,
	CLONE_RECALLED,
	CLONE_DRAINED,
	CLONE_RETURNING,
	CLONE_ENDED
};

struct clone;

/* Where the body was announced: the fetch hop, whose answer is still open. */
struct clone_announcer {
	/* WAITING is over, and so is the announcer's part in it. <body> is NULL if the agent has disposed of the
	 * connection; else none came, nothing was sealed, and <body>, which is the callee's now, is to be sent on the
	 * fetch hop. */
	void (*settled)(void *context, struct sealed_body *body);
	void *context;
};

/* What a clone is made for. */
struct clone_terms {
	struct ticket ticket;
	uint64_t channel; /* of the agent */
	struct clone_announcer announcer;
};

/* What all clones of one loop share. */
struct clone_shared {
	struct ev_loop *loop;
	const struct direct_settings *settings;
	struct agent_outbox *outbox;
	struct result_queue *results;
	struct tcp_frozen *frozen; /* for the one that is being frozen */
	struct connection_tracking *tracking;
	/* <clone> has ended: forget it and free() it. */
	void (*ended)(void *context, struct clone *clone);
	void *context;
};

struct clone {
	uint32_t magic;
	const struct clone_shared *shared;
	struct ticket ticket;
	uint64_t channel;                 /* of the agent */
	struct clone_announcer announcer; /* none once settled() was called */
	enum clone_state state;
	double since;                            /* when it entered the state, see ticket_clock() */
	struct sealed_body *body;                /* owned; NULL once all of it is written */
	uint64_t records, sealed;                /* of the body: records sealed, and the plaintext in them */
	bool changed;                            /* its object was written while it was sent */
	int fd;                                  /* -1 while WAITING */
	struct connection_tracking_flow tracked; /* family 0: connection tracking was not told of it */
	bool client_closed;                      /* the client sends nothing more */
	struct tcp_frozen *kept;                 /* a connection that an older clone still has here */
	ev_timer again;                          /* looks whether it still does */
	unsigned attempts;
	ev_io reader, writer;
	ev_timer poll;         /* until the tail fits */
	size_t polled;         /* bytes unacknowledged at the last look */
	uint64_t inherited;    /* bytes of the Handoff's send queue */
	bool waits_for_more;   /* its unsent bytes leave with what is written next */
	uint64_t written;      /* bytes of records that the socket took */
	uint64_t acknowledged; /* of <inherited> and <written> together */
	double advanced;       /* when <acknowledged> last grew, or nothing was outstanding */
	uint64_t reported;     /* bytes of the last Progress */
	uint64_t received;     /* bytes of ClientData */
	UT_hash_handle hh;     /* of clone_set, by ticket */
};

/* Makes a clone in WAITING for <body>, which it then owns. Returns it, or NULL when memory is
 * exhausted; <body> is the caller's then. */
struct clone *clone_new(const struct clone_shared *shared, const struct clone_terms *terms, struct sealed_body *body);

/* The connection came: restores it and begins to transmit, or posts why it cannot. <announced> bytes of records are what HAProxy was
 * told of: nothing is sent of a body that has others. */
void clone_hand_off(struct clone *clone, const struct tcp_frozen *frozen, uint64_t announced);

/* The agent wants the connection back, or with <discard> nothing more of it. Before Drained: nothing more is written,
 * and Drained follows; the agent then holds the client's packets and recalls once more, so that none of them is
 * lost. */
void clone_recall(struct clone *clone, bool discard);

/* The agent has the connection back: the client has acknowledged all. */
void clone_release(struct clone *clone);

/* Ends it at once: the agent, or this node, is no longer there for it. <cause> and <reason> are posted. */
void clone_drop(struct clone *clone, enum control_gone_cause cause, enum control_outcome outcome, const char *reason);

/* The agent's channel is closed: no Handoff or Recall can come any more. */
void clone_channel_lost(struct clone *clone);

/* The announcer is gone, for <why>: a clone that still waits for its connection is dropped, and does not call back. */
void clone_cancel(struct clone *clone, const char *why);

/* The body's source has more, or has failed. */
void clone_fed(struct clone *clone);

/* To be called every 250 ms: progress, silence of the client, waits that are over. */
void clone_tick(struct clone *clone, double now);

#endif

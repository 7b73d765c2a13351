/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Machine: what one handoff does next. An event goes in, the new state and a few actions come out; no I/O, no clock and
 * no memory. handoff.c makes events of messages and timers and carries out the actions in their order.
 *
 *   state         usual way on                               other ways on
 *   OFFERED       PARKED: WAITING                            no PARKED in time: ended
 *   WAITING       short tail, hold, Handoff: AWAY            unfit: COMPLETING, or refused if no node can continue
 *   AWAY          the client has all: returned               refused by the node: COMPLETING; recall: RECALLING;
 *                                                            Drained: RETURNING; the node has client data: GATHERING
 *   GATHERING     the client data come: returned             they do not: RECALLING
 *   RECALLING     Drained: RETURNING                         the client has all: returned
 *   RETURNING     Handback, all is written: returned         Handback, not all is: COMPLETING
 *   TAKING_OVER   seated: COMPLETING                         no node can continue: lost
 *   COMPLETING    all is written: returned                   no node can continue: lost
 *   DISCARDING    the node has dropped it: ended
 *
 * From AWAY to RETURNING a node that is gone or silent leads to TAKING_OVER, and ABANDON to DISCARDING; elsewhere
 * ABANDON ends the handoff at once. HAProxy gets exactly one of RETURNED, LOST and REFUSED unless it has abandoned the
 * handoff. Refused: nobody has touched the connection, it was not taken, and HAProxy goes on by the splice path.
 *
 * Where the client's connection is:
 *   WAITING, COMPLETING                 at HAProxy's socket, live
 *   AWAY, RECALLING, DISCARDING         at the node, or about to be
 *   GATHERING, RETURNING, TAKING_OVER   nowhere: the socket is a closed placeholder, packets are held
 *
 * An action that asks is the last of its step, and its outcome is the next event. The table in machine.c answers every
 * event in every state. A new way back is a row there; a state in which a handoff waits for the next agent is a column. struct machine has no pointer between two events, so that it can be kept.
 */
#ifndef DISC_MACHINE_H
#define DISC_MACHINE_H

#include <stdbool.h>
#include <stdint.h>

#include "completion_cause.h"
#include "handoff_message.h"

#define HANDOFF_STATE_TABLE(X)        \
	X(OFFERED, "offered")         \
	X(WAITING, "waiting")         \
	X(AWAY, "away")               \
	X(GATHERING, "gathering")     \
	X(RECALLING, "recalling")     \
	X(RETURNING, "returning")     \
	X(TAKING_OVER, "taking over") \
	X(COMPLETING, "completing")   \
	X(DISCARDING, "discarding")   \
	X(ENDED, "ended")

enum handoff_state {
#define HANDOFF_STATE_ENUM(name, text) HANDOFF_##name,
	HANDOFF_STATE_TABLE(HANDOFF_STATE_ENUM)
#undef HANDOFF_STATE_ENUM
		HANDOFF_STATE_COUNT
};

#define HANDOFF_EVENT_TABLE(X)                                                        \
	/* HAProxy */                                                                 \
	X(PARKED)  /* bytes: of all records; continuable */                           \
	X(DECLINE) /* its connection did not get here */                              \
	X(RECALL)  /* the connection is to come back before the end */                \
	X(ABANDON) /* it has closed the connection, or is gone */                     \
	/* the node */                                                                \
	X(REJECTED)     /* HANDOFF_REPLY: it cannot transmit, <why> */                \
	X(CONTRADICTED) /* HANDOFF_REPLY: HAProxy was told of another body */         \
	X(PROGRESS)     /* bytes that the client has acknowledged */                  \
	X(CLIENT_DATA)                                                                \
	X(DRAINED)                                                                    \
	X(HANDBACK)    /* bytes: of the records written */                            \
	X(GONE_CLIENT) /* bytes acknowledged; it has given the client up, <why> */    \
	X(GONE_NODE)   /* bytes acknowledged; it has dropped the connection, <why> */ \
	X(RESULT)                                                                     \
	X(NODE_LOST)   /* its channel is closed */                                    \
	X(NODE_DRAINS) /* and another node could make the continuation */             \
	/* this agent */                                                              \
	X(ACKNOWLEDGED) /* the client has all records; held since it said so */       \
	X(AGENT_DRAINS)                                                               \
	X(AGENT_ENDS)                                                                 \
	X(TIMER)        /* the one that was set last */                               \
	X(COLLECTED)    /* all that may be under way is here again */                 \
	X(CONTINUED)    /* the continuation is written */                             \
	X(UNWRITABLE)   /* the continuation cannot be written, <why> */               \
	X(NODES_FAILED) /* no node can make the continuation, <why> */

enum handoff_event {
#define HANDOFF_EVENT_ENUM(name) EVENT_##name,
	HANDOFF_EVENT_TABLE(HANDOFF_EVENT_ENUM)
#undef HANDOFF_EVENT_ENUM
		EVENT_COUNT
};

/* Actions that ask. */
#define HANDOFF_QUESTION_TABLE(X)                                                            \
	X(LOOK)             /* is the connection fit to be handed off? */                    \
	X(FIND)             /* is there a node that can make the continuation? */            \
	X(HAND)             /* hold, freeze, redirect, Handoff */                            \
	X(UNDO)             /* hold; puts back what HAND froze */                            \
	X(RETURN)           /* seats the connection as the client is known to have it */     \
	X(KEEP)             /* the client's data, until HAProxy has the connection again */  \
	X(RECALL)           /* Recall, while packets still go to the node */                 \
	X(HOLD_AND_RECALL)  /* hold, Recall: the node freezes */                             \
	X(LET_AND_RECALL)   /* the client's packets to the node again, Recall */             \
	X(RESTORE)          /* puts back what the node gave back */                          \
	X(HOLD_AND_RESTORE) /* the same, hold before */                                      \
	X(HOLD_AND_DISCARD) /* hold, Recall with discard */                                  \
	X(JUDGE_LATE)       /* nothing was heard of the client for long: was it reached? */  \
	X(JUDGE_GONE)       /* the node has given the client up: was it reached? */          \
	X(PLAN)             /* hold; how the connection goes on here */                      \
	X(COLLECT)          /* begins to collect what may be under way, from another node */ \
	X(SEAT)             /* seats the connection here, with what was collected */         \
	X(CONTINUE)         /* begins to write the continuation, or goes on behind what was collected */

/* What becomes of them. */
#define HANDOFF_OUTCOME_TABLE(X)                                                                 \
	X(OK)     /* bytes, of PLAN and SEAT: of the records up to which all is known */         \
	X(FAILED) /* <why> */                                                                    \
	X(NO_MEMORY)                                                                             \
	X(NOT_YET)      /* LOOK, HAND, RETURN: nothing has changed; try again soon */            \
	X(TOO_LATE)     /* the same, and it has been looked at for long enough */                \
	X(UNFIT)        /* LOOK, HAND: this connection cannot be handed off */                   \
	X(LEAVING)      /* LOOK: the node is down, or drains while a replica is there */         \
	X(NO_ROUTE)     /* LOOK, HAND: packets cannot be sent to the node */                     \
	X(NO_CLIENT)    /* LOOK, HAND: it is gone. RETURN: it acknowledges too much */           \
	X(PARKED_TWICE) /* LOOK */                                                               \
	X(NOBODY)       /* FIND */                                                               \
	X(NOT_HELD)     /* the flow's packets */                                                 \
	X(NOT_SENT)     /* the message to the node */                                            \
	X(NO_ROOM)      /* COLLECT: other takeovers collect too much */                          \
	X(NOTHING)      /* COLLECT: nothing can be under way */                                  \
	X(REACHED)      /* JUDGE_LATE, JUDGE_GONE: the client has bytes of the node's */         \
	X(SLOW)         /* JUDGE_LATE: the client lives, and has had no reason to acknowledge */ \
	X(UNREACHED)                                                                             \
	X(LONG)     /* KEEP: much more than HAProxy will read soon */                            \
	X(TOO_LONG) /* KEEP: more than is kept */

enum handoff_outcome {
#define HANDOFF_OUTCOME_ENUM(name) OUTCOME_##name,
	HANDOFF_OUTCOME_TABLE(HANDOFF_OUTCOME_ENUM)
#undef HANDOFF_OUTCOME_ENUM
		OUTCOME_COUNT
};

/* Actions that do not. */
#define HANDOFF_ORDER_TABLE(X)                                                      \
	X(SET_TIMER) /* step->timer */                                              \
	X(STOP_TIMER)                                                               \
	X(SEND_RECALL)   /* to the node, if that is possible */                     \
	X(SEND_DISCARD)  /* Recall with discard, the same */                        \
	X(SEND_RELEASE)  /* Release, the same; it may be late */                    \
	X(TAKE)          /* lets HAProxy know that the connection may change */     \
	X(NOTE_PROGRESS) /* event->bytes; PROGRESS to HAProxy */                    \
	X(TELL_PROGRESS) /* what the client has acknowledged of the continuation */ \
	X(COUNT_FAILURE) /* of the route, step->why */                              \
	X(COUNT_SUCCESS) /* of the route */                                         \
	X(COUNT_RECALL)                                                             \
	X(COUNT_COMPLETION) /* step->cause */                                       \
	X(NOTE_TAKEOVER)    /* step->why */                                         \
	X(NOTE_LOSS)        /* step->loss, step->why and step->more */              \
	X(RESET)            /* the client, wherever its connection is */            \
	X(TELL_REFUSED)                                                             \
	X(TELL_RETURNED)                                                            \
	X(TELL_LOST) /* step->loss */                                               \
	X(END)       /* step->how; the last */

enum handoff_action {
	ACTION_NONE,
#define HANDOFF_ACTION_ENUM(name) ACTION_##name,
	HANDOFF_QUESTION_TABLE(HANDOFF_ACTION_ENUM) HANDOFF_ORDER_TABLE(HANDOFF_ACTION_ENUM)
#undef HANDOFF_ACTION_ENUM
		ACTION_COUNT
};

enum handoff_timer {
	TIMER_LINGER,   /* PARKED may still be under way */
	TIMER_POLL,     /* look again */
	TIMER_REPLY,    /* of the node */
	TIMER_LATE,     /* the client should have acknowledged something */
	TIMER_GATHER,   /* the client data should be here */
	TIMER_TURN,     /* another takeover may have ended */
	TIMER_PROGRESS, /* again and again */
};

struct machine {
	enum handoff_state state;
	enum handoff_action asked; /* its outcome is the next event; ACTION_NONE: any other event is */
	bool met;                  /* the node has shown that it has the connection */
	bool continuable;          /* another node can make a continuation of it */
	bool node_gone;            /* the node does not wait for a Handoff any more */
	bool draining, recalled;   /* by this agent, by HAProxy: the connection must not leave any more */
	bool taken;                /* TAKE was done */
	uint64_t ciphertext;       /* bytes of all records */
	uint64_t from;             /* the continuation's first byte of them */
	enum completion_cause cause;
	const char *why; /* while PLAN or JUDGE_GONE is asked: the reason */
};

struct machine_event {
	enum handoff_event event;
	const char *wrong; /* a node's message contradicts what is known, as this text says; NULL: it does not */
	const char *why;   /* outlives the handling of the event */
	uint64_t bytes;
	bool continuable;
};

struct machine_outcome {
	enum handoff_outcome outcome;
	const char *why; /* outlives the handling of the event */
	uint64_t bytes;
};

enum machine_verdict {
	MACHINE_ACTS,       /* the state may be another one */
	MACHINE_IGNORES,    /* it came too late, or does not matter: nothing changes */
	MACHINE_FAULT,      /* the node must not have sent it: close its channel for step->fault; nothing changes */
	MACHINE_IMPOSSIBLE, /* a defect of this program; nothing changes */
};

#define MACHINE_ACTIONS_MAX 8

struct machine_step {
	enum machine_verdict verdict;
	const char *fault;
	enum handoff_state before;
	unsigned count;
	enum handoff_action actions[MACHINE_ACTIONS_MAX];
	/* Parameters of actions. */
	enum handoff_timer timer;
	enum handoff_loss loss;
	enum completion_cause cause;
	const char *why, *more; /* <more> may be NULL */
	const char *how;
};

/* Feeds <event> to <machine>, which is all zero at first (OFFERED). Returns what is to be done. */
struct machine_step machine_step(struct machine *machine, const struct machine_event *event);

/* The same with the outcome of the action that <machine> asked. */
struct machine_step machine_answer(struct machine *machine, const struct machine_outcome *outcome);

const char *handoff_state_text(enum handoff_state state);

#endif

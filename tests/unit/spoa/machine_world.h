/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Machine world: a handoff's machine beside what its actions do to the client's connection, to HAProxy and to the node.
 * Each step is checked: an answer to HAProxy is given once and is true, nobody touches a connection that HAProxy may
 * still go on with, and no connection is left without an owner. */
#ifndef DISC_MACHINE_WORLD_H
#define DISC_MACHINE_WORLD_H

#include "machine.h"

enum place {
	PLACE_NONE,    /* not parked yet */
	PLACE_HAPROXY, /* as it was parked */
	PLACE_FROZEN,  /* HAProxy's socket is a placeholder */
	PLACE_HERE,    /* live again, this agent writes */
	PLACE_RESET,
};

struct world {
	struct machine machine;
	enum place place;
	bool abandoned, taken, ended;
	bool node_has, node_told; /* the connection; to drop it */
	bool collecting, writing; /* a continuation is under way */
	bool written;             /* all records are on the connection, or were */
	bool answered;            /* HAProxy */
	bool timer;
	uint64_t planned; /* bytes of the records from which on a takeover goes on */
	/* Called with each action carried out, and each question answered by OK; may be NULL. */
	void (*watch)(struct world *world, enum handoff_action action);
};

/* Bytes of all records, and of some of them. */
#define WORLD_ALL 10
#define WORLD_PART 4

/* Whether <event> can happen at all now, whatever the node does. */
bool world_allows(const struct world *world, enum handoff_event event);

/* Whether <outcome> is one of <question>'s, as the mover promises. */
bool world_may_answer(enum handoff_action question, enum handoff_outcome outcome);

/* Feeds <event>, which is allowed, and checks what follows. Returns the verdict. */
enum machine_verdict world_feed(struct world *world, const struct machine_event *event);

/* The same with an outcome of the question asked. */
void world_answer(struct world *world, enum handoff_outcome outcome, uint64_t bytes);

const char *event_name(enum handoff_event event);
const char *action_name(enum handoff_action action);
const char *outcome_name(enum handoff_outcome outcome);

#endif

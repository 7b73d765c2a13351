/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the tests of channels share: throw-away certificates, and two ends of a channel on one loop. */
#ifndef CHANNEL_FIXTURE_H
#define CHANNEL_FIXTURE_H

#include <ev.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "address.h"
#include "channel.h"

#define PATIENCE_S 90.0 /* a condition that does not come true by then fails the test */

/* Makes certificates with the openssl program in a new folder and stores its path in <folder>:
 *   ca, other-ca             two CAs
 *   agent, node              of ca, by the dNSName "agent.test" or "node.test"
 *   wrong, cn, mail          of ca, but by dNSName "wrong.test", by subject only, by mail address "node.test"
 *   expired                  of ca, by "node.test", ended yesterday
 *   stranger                 of other-ca, by "node.test"
 * each NAME.pem and NAME.key. Returns 0, or -1. */
int certificates_make(char folder[static 64]);
void certificates_remove(const char *folder);

/* The same around a group of tests (cmocka), in this folder. */
extern char certificate_folder[64];
int certificates_set_up(void **state);
int certificates_tear_down(void **state);

/* Credentials of <name> in <folder> that trust <ca>. Fails the test if they do not load. */
struct channel_tls *credentials(const char *folder, const char *ca, const char *name);

/* One end of a channel and what happened to it. */
struct end {
	struct channel *channel; /* NULL when closed */
	bool opened;
	char peer_name[64];
	int closed; /* how often closed() was called */
	bool departed;
	char reason[512];
	size_t frames, bytes;
	void (*on_opened)(struct end *end);
	void (*on_frame)(struct end *end, const uint8_t *frame, size_t len);
	void *data;
};

extern const struct channel_handlers end_handlers;

/* A listening socket whose connections become channels. */
struct acceptor {
	struct ev_loop *loop;
	ev_io watcher;
	int fd;
	struct address address; /* where it listens, with the port it got */
	struct channel_tls *tls;
	const char *const *names;
	struct end *end; /* of the next connection */
};

/* Listens on <where> ("127.0.0.1:0", "unix:..."). Fails the test if it cannot. */
void acceptor_open(struct acceptor *acceptor, struct ev_loop *loop, const char *where, struct channel_tls *tls,
		   const char *const *names, struct end *end);
void acceptor_close(struct acceptor *acceptor);

/* A blocking connection to <acceptor> that is no channel. Returns its descriptor. */
int connect_raw(const struct acceptor *acceptor);

/* Runs <loop> until <condition> holds for <data>. Fails the test when patience ends, naming <what>. */
void run_until(struct ev_loop *loop, bool (*condition)(void *), void *data, const char *what);

bool end_is_open(void *end);
bool end_is_closed(void *end);

#endif

/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Network namespaces for tests: nameless, held by a descriptor alone, so that the kernel removes them, and all that is
 * in them, when the test's process ends in whatever way. IPv6 addresses are usable at once (no duplicate detection),
 * "lo" is up, and TCP uses reno.
 *
 *   struct netns client, lb;
 *   netns_make(&client); netns_make(&lb);
 *   netns_link(&client, "eth0", &lb, "eth0");
 *   netns_do(&client, "ip address add 192.0.2.1/24 dev eth0");
 *   netns_enter(&client); fd = socket(...); netns_leave();
 *
 * A socket stays in the namespace in which it was made. Functions return 0, or -1 with a line on stderr, unless noted.
 * Needs CAP_SYS_ADMIN and CAP_NET_ADMIN, and iproute2.
 */
#ifndef NETNS_H
#define NETNS_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

struct netns {
	int fd;
};

/* Whether namespaces can be made here; otherwise <why> (a buffer of <size> bytes) says what is missing: skip the
 * test. */
bool netns_usable(char *why, size_t size);

int netns_make(struct netns *netns);
void netns_release(struct netns *netns);

/* Connects two namespaces, which may be the same, by a veth pair; both ends are up, without addresses. */
int netns_link(const struct netns *a, const char *name_a, const struct netns *b, const char *name_b);

/* Moves the calling thread into <netns>; netns_leave() brings it back to where the process began. Not nested. */
int netns_enter(const struct netns *netns);
int netns_leave(void);

/* Runs a shell command inside; -1 if its status is not 0. */
int netns_do(const struct netns *netns, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Calls <function>(<context>) inside. Returns what it returns, or -1. */
int netns_call(const struct netns *netns, int (*function)(void *context), void *context);

/* Starts a child inside that ends with <function>'s result as its status. Returns its process id, which the caller
 * reaps. It is killed when the calling thread ends. */
pid_t netns_spawn(const struct netns *netns, int (*function)(void *context), void *context);

#endif

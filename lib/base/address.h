/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Socket addresses as operators write them: "192.0.2.1:7443", "[2001:db8::1]:7443", "name:7443", "*:8080",
 * "unix:/run/disc/spoa.sock". "*" is every IPv4 address, "[::]" every IPv6 and, as Linux has it by default, IPv4
 * one. */
#ifndef DISC_ADDRESS_H
#define DISC_ADDRESS_H

#include <stddef.h>
#include <sys/socket.h>

#define ADDRESS_TEXT_MAX 128

struct address {
	struct sockaddr_storage storage;
	socklen_t len;
};

/* Reads <text>. Names are resolved, so call it at start-up only, never on a loop. On failure returns -1 and stores in
 * <*why> a static text; returns 0 otherwise. */
int address_parse(struct address *address, const char *text, const char **why);

/* Writes <address> to <text> as address_parse() would read it, terminated, cut if too long. Returns <text>. */
const char *address_format(const struct address *address, char text[static ADDRESS_TEXT_MAX]);

/* Opens a non-blocking, close-on-exec listening socket on <address>; TCP ones with SO_REUSEADDR. For a UNIX socket a
 * stale file that nobody listens on is replaced, one in use is an error, and the file gets <mode> (for instance 0660).
 * Returns the descriptor, which the caller owns, or -1 with errno set. */
int address_listen(const struct address *address, int backlog, unsigned mode);

/* As address_listen(), for a UNIX socket of kind SOCK_SEQPACKET. */
int address_listen_packets(const struct address *address, int backlog, unsigned mode);

#endif

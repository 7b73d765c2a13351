/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Four hosts for tests of TCP handoff, network namespaces of this process that vanish with it:
 *
 *   CLIENT ---- ROUTER ---- HOST_A     the VIP is on HOST_A and HOST_B; ROUTER sends its packets where vip_route() says
 *                    \----- HOST_B     and nowhere at first
 *
 * veth, IPv4 and IPv6, reno. Every wait ends after PATIENCE_MS and then fails the test.
 */
#ifndef HANDOFF_NETWORK_H
#define HANDOFF_NETWORK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PATIENCE_MS 20000

enum host { CLIENT, ROUTER, HOST_A, HOST_B, HOSTS };

/* How the server's socket sees the client. */
enum family { IPV4, IPV6, IPV4_MAPPED, FAMILIES };
extern const char *const family_names[FAMILIES];

/* Whether this process may make namespaces and sockets in repair mode at all. */
bool network_allowed(void);

/* Makes the hosts. Returns 0, or -1 with a line on stderr. */
int network_make(void);
void network_remove(void);

/* From now on sockets are made on <host>. */
void host_enter(enum host host);

/* Runs a command with <host>'s network; fails the test unless it succeeds. */
__attribute__((format(printf, 2, 3))) void host_run(enum host host, const char *format, ...);

/* Packets to the VIP go to <host>; with ROUTER they are lost. */
void vip_route(enum host host);

/* Whether a RST of HOST_A's or HOST_B's own stack is lost. While a connection is moved its packets may find no socket
 * for a moment, the longer the busier the machine; steering and the egress guard see to that where they run. */
void hosts_reset_nobody(bool nobody);

/* Whether packets to the client arrive there, or are lost in ROUTER. */
void client_reachable(bool reachable);

/* A connection from CLIENT to the VIP on HOST_A. Both sockets are non-blocking, without Nagle's algorithm. */
struct line {
	int client, server;
	uint64_t client_wrote, client_read, server_wrote, server_read; /* bytes of the streams so far */
};

/* Opens it, packets to the VIP going to HOST_A then. */
void line_open(struct line *line, enum family family);

/* The same with a client whose SO_RCVBUF is <receive_buffer> bytes. */
void line_open_small(struct line *line, enum family family, int receive_buffer);
void line_close(struct line *line);

/* Both streams are a known sequence of bytes: these write the next <len> bytes, or read and compare them.
 * line_*_write() wants them to fit in the send buffer. */
void line_client_write(struct line *line, size_t len);
void line_server_write(struct line *line, size_t len);
void line_client_read(struct line *line, size_t len);
void line_server_read(struct line *line, size_t len);

/* Reads the end of the stream. */
void line_client_read_end(struct line *line);
void line_server_read_end(struct line *line);

/* Waits until the server's socket has that much to read, that much or nothing unacknowledged. */
void server_has_unread(const struct line *line, size_t len);
void server_has_unacknowledged(const struct line *line, size_t len);
void server_all_acknowledged(const struct line *line);

/* A TCP segment from the VIP. */
struct segment {
	uint8_t flags; /* RFC 9293 3.1 */
	bool stamped;
	uint32_t sequence, timestamp;
	size_t len;
};

/* Watches what enters ROUTER from <host>. Returns a descriptor that the caller closes. */
int watch_open(enum host host);

/* Takes the next TCP segment; waits for one up to <milliseconds>. Returns whether one came. */
bool watch_next(int watch, struct segment *segment, int milliseconds);

#endif

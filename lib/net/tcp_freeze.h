/* SPDX-License-Identifier: GPL-2.0-or-later */
/* TCP freeze and restore: an established connection leaves one socket and goes on in another, through Linux' TCP_REPAIR
 * (needs CAP_NET_ADMIN; binding a port below 1024 CAP_NET_BIND_SERVICE). All calls are system calls that never block.
 *
 *   the LB's descriptor:
 *     LIVE --tcp_freeze()--> FROZEN --tcp_disconnect()--> PLACEHOLDER --tcp_fast_forward()--> STAGED --tcp_go()--> LIVE
 *   the node's:
 *     a new socket --tcp_restore()--> STAGED --tcp_go()--> LIVE --tcp_freeze()--> FROZEN --close()
 *
 * A socket in FROZEN, PLACEHOLDER or STAGED drops what comes and answers nothing, and close() of it says nothing to the
 * peer. A PLACEHOLDER is closed: it has no timers, no queues, and the kernel finds it for no packet; so packets of the
 * connection must not reach this host's stack, which would answer with a RST. FROZEN and STAGED with bytes under way have
 * the kernel's retransmission timer, so call tcp_disconnect(), tcp_go() or close() at once, within milliseconds. Any other
 * transition is a bug. A failed call leaves the socket mute; close it, or tcp_reset() the peer.
 */
#ifndef DISC_TCP_FREEZE_H
#define DISC_TCP_FREEZE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tcp_state.h"

struct tcp_frozen {
	struct tcp_state state;
	size_t send_len, receive_len;          /* bytes in the queues */
	uint8_t send_queue[TCP_SEND_TAIL_MAX]; /* ends at state.send_next; its last state.unsent bytes never left */
	uint8_t receive_queue[TCP_RECEIVE_TAIL_MAX]; /* unread input, ends at state.receive_next (before a FIN) */
};

/* What failed: a static text that names the call, for instance "setsockopt(TCP_REPAIR_WINDOW)", and its errno. E2BIG
 * from "send queue" or "receive queue": more than a handoff carries. ENOTCONN from "state": neither ESTABLISHED nor
 * CLOSE_WAIT; EBUSY: it is frozen, or a placeholder, which only tcp_read_flow() and tcp_freeze() notice. EINVAL from "MSS": too small a one to be restored. */
struct tcp_fault {
	const char *call;
	int error;
};

/* The queues of a connection, where they are longer than struct tcp_frozen has room for: both end at the state's
 * send_next and receive_next. The bytes stay the caller's. */
struct tcp_queues {
	const uint8_t *send;
	size_t send_len;
	const uint8_t *receive;
	size_t receive_len;
};

/* Fills family, scope and endpoints of <flow> from the live socket <fd>, and TCP_STATE_PEER_CLOSED if it holds by now;
 * everything else is 0. Returns 0, or -1 with <*fault>: EBUSY from "state", ENOTCONN from "getpeername()", EINVAL
 * from "MSS". */
int tcp_read_flow(int fd, struct tcp_state *flow, struct tcp_fault *fault);

/* Returns in <*len> the bytes of the send queue of the live socket <fd> that the peer has not acknowledged. Returns 0
 * or -1 with errno. */
int tcp_unacknowledged(int fd, size_t *len);

/* The same of the bytes that have not left yet. */
int tcp_unsent(int fd, size_t *len);

/* LIVE -> FROZEN: mutes <fd> and reads all of it into <frozen>. Steer the flow away first. Returns 0, or -1 with
 * <*fault>: then the socket is live again if it could be (with E2BIG and ENOTCONN it always is). */
int tcp_freeze(int fd, struct tcp_frozen *frozen, struct tcp_fault *fault);

/* The same of a live socket whose <flow> tcp_read_flow() gave just before: endpoints are not asked for again. */
int tcp_freeze_flow(int fd, const struct tcp_state *flow, struct tcp_frozen *frozen, struct tcp_fault *fault);

/* FROZEN -> LIVE, as if nothing had been: what came meanwhile was dropped, and nothing is said of it. Returns 0, or -1
 * with <*fault>. */
int tcp_thaw(int fd, struct tcp_fault *fault);

/* PLACEHOLDER -> STAGED: the same descriptor, which other processes may hold too, gets the state
 * <frozen>: the sent part of the send queue as already sent, unread input readable. Returns 0, or -1 with <*fault>. */
int tcp_fast_forward(int fd, const struct tcp_frozen *frozen, struct tcp_fault *fault);

/* As tcp_fast_forward(), with queues of any length (buffers are forced to take them). */
int tcp_fast_forward_queues(int fd, const struct tcp_state *state, const struct tcp_queues *queues,
			    struct tcp_fault *fault);

/* Makes a new non-blocking, close-on-exec socket in STAGED with the state <frozen>, bound to its local address (which
 * this host must have: EADDRNOTAVAIL otherwise). <congestion>: name of a congestion control, NULL: the system's.
 * <send_buffer>: bytes of SO_SNDBUF, forced; 0: the system's. Returns the descriptor, which the caller owns, or -1 with
 * <*fault>. */
int tcp_restore(const struct tcp_frozen *frozen, const char *congestion, int send_buffer, struct tcp_fault *fault);

/* STAGED -> LIVE: unmutes and writes what <frozen> holds as unsent; with <more> that waits for what is sent next, so that both
 * leave in one packet, or for tcp_push(). Packets must reach this socket by now. The peer is asked for an acknowledgement
 * (the kernel's window probe) if part of the queue has left before, or the peer's window is shut: otherwise what is
 * sent now makes it answer, and the caller sends something. With TCP_STATE_PEER_CLOSED the socket's reading side is shut, so that its
 * reader sees the end. Returns 0, or -1 with <*fault>. */
int tcp_go(int fd, const struct tcp_frozen *frozen, bool more, struct tcp_fault *fault);

/* Lets leave what waits for more; the socket has TCP_NODELAY afterwards. Returns 0, or -1 with <*fault>. */
int tcp_push(int fd, struct tcp_fault *fault);

/* tcp_go() in parts, for what must happen between them. tcp_resume(): the socket hears again and says nothing, for a
 * packet that is dropped on this host would be taken for congestion. tcp_probe(): asks the peer for an acknowledgement,
 * of what is under way and with its window. tcp_write_unsent(): says what is unsent. The last two want a socket whose
 * packets leave. */
int tcp_resume(int fd, const struct tcp_state *state, struct tcp_fault *fault);
int tcp_probe(int fd, struct tcp_fault *fault);
int tcp_write_unsent(int fd, const struct tcp_state *state, const struct tcp_queues *queues, struct tcp_fault *fault);

/* Any state -> no connection, in all processes that have the descriptor: a live socket's peer gets a RST, a mute one
 * says nothing. FROZEN becomes PLACEHOLDER. Returns 0, or -1 with <*fault>. */
int tcp_disconnect(int fd, struct tcp_fault *fault);

/* Closes <fd>, live or mute, without a word to the peer, whatever its queues hold: the connection goes on elsewhere. */
void tcp_close_mute(int fd);

/* Tells the peer that the connection of <state> is lost: a RST with the sequence number <send_next> (RFC 9293 3.10.7.4
 * wants it to be the peer's RCV.NXT), from a socket of its own that is gone afterwards; needs the local address on this
 * host and no other socket on this connection. Returns 0, or -1 with <*fault>. */
int tcp_reset(const struct tcp_state *state, uint32_t send_next, struct tcp_fault *fault);

/* Whether the kernel and our capabilities allow all this: tries it on a socket of its own. Returns 0, or -1 with
 * <*fault>. To be called at the start, before there are other threads: it loads the program that mutes sockets, if this
 * process may (CAP_BPF). Without it muting works too, but the kernel compiles a filter for every socket. */
int tcp_repair_check(struct tcp_fault *fault);

#endif

/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tcp_freeze.h"

#include <assert.h>
#include <bpf/bpf.h>
#include <errno.h>
#include <linux/bpf.h>
#include <linux/filter.h>
#include <linux/sockios.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <poll.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#ifndef TCPI_OPT_USEC_TS
#define TCPI_OPT_USEC_TS 64
#endif

/* Values of tcpi_state: net/tcp_states.h is not exported. */
enum kernel_state {
	KERNEL_ESTABLISHED = 1,
	KERNEL_CLOSE_WAIT = 8,
};

/* TCP options: RFC 9293 3.2, RFC 2018, RFC 7323. */
enum option_code {
	OPTION_MSS = 2,
	OPTION_SCALING = 3,
	OPTION_SACK = 4,
	OPTION_TIMESTAMPS = 8,
};

#define MAXSEG_MIN 88      /* what TCP_MAXSEG takes at least */
#define MAXSEG_MAX 32767   /* what TCP_MAXSEG takes at most; loopback has more */
#define CHUNK 16384u       /* bytes written into a queue at once */
#define ROOM_EXTRA 65536   /* bytes of a socket's buffer beyond what is put into it */
#define SEGMENT_HEAD 1024u /* what the kernel adds to a segment in a buffer, at most */
#define SEGMENT_MIN 48u    /* bytes of a segment that a small window allows, at least */

static int fail(struct tcp_fault *fault, const char *call, int error)
{
	*fault = (struct tcp_fault){.call = call, .error = error};
	return -1;
}

static int set_int(int fd, int level, int option, int value)
{
	return setsockopt(fd, level, option, &value, sizeof(value));
}

static int set_sequence(int fd, int queue, uint32_t sequence)
{
	if (set_int(fd, IPPROTO_TCP, TCP_REPAIR_QUEUE, queue) < 0)
		return -1;
	return setsockopt(fd, IPPROTO_TCP, TCP_QUEUE_SEQ, &sequence, sizeof(sequence));
}

static int get_u32(int fd, int option, uint32_t *value)
{
	socklen_t len = sizeof(*value);

	return getsockopt(fd, IPPROTO_TCP, option, value, &len);
}

/* --- the mute filter: drops all that comes --- */

/* One for all sockets; a filter of the old kind is compiled anew for each. -1: this process may not load programs. */
static int mute_program = -1;

static void load_mute_program(void)
{
	const struct bpf_insn drop[] = {{.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_0},
					{.code = BPF_JMP | BPF_EXIT}};

	if (mute_program < 0)
		mute_program = bpf_prog_load(BPF_PROG_TYPE_SOCKET_FILTER, "disc_mute", "GPL", drop, 2, NULL);
}

static int mute(int fd)
{
	struct sock_filter drop = {.code = BPF_RET | BPF_K, .k = 0};
	struct sock_fprog program = {.len = 1, .filter = &drop};

	if (mute_program >= 0)
		return set_int(fd, SOL_SOCKET, SO_ATTACH_BPF, mute_program);
	return setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof(program));
}

static int unmute(int fd)
{
	return set_int(fd, SOL_SOCKET, SO_DETACH_FILTER, 0);
}

static bool is_mute(int fd)
{
	socklen_t len = sizeof(int);
	int repair = 0;

	return getsockopt(fd, IPPROTO_TCP, TCP_REPAIR, &repair, &len) == 0 && repair == 1;
}

/* --- addresses --- */

static bool take_address(struct tcp_state *state, struct tcp_endpoint *endpoint, const struct sockaddr_storage *address)
{
	const struct sockaddr_in *v4 = (const struct sockaddr_in *)address;
	const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)address;

	if (address->ss_family == AF_INET) {
		state->family = 4;
		memcpy(endpoint->address, &v4->sin_addr, 4);
		endpoint->port = ntohs(v4->sin_port);
		return true;
	}
	if (address->ss_family != AF_INET6)
		return false;
	endpoint->port = ntohs(v6->sin6_port);
	if (IN6_IS_ADDR_V4MAPPED(&v6->sin6_addr)) {
		state->family = 4;
		memcpy(endpoint->address, v6->sin6_addr.s6_addr + 12, 4);
		return true;
	}
	state->family = 6;
	memcpy(endpoint->address, &v6->sin6_addr, 16);
	return true;
}

/* The address in the form that <domain> of the socket wants: IPv4 is mapped for AF_INET6. Returns its length. */
static socklen_t give_address(const struct tcp_state *state, const struct tcp_endpoint *endpoint, int domain,
			      struct sockaddr_storage *address)
{
	struct sockaddr_in *v4 = (struct sockaddr_in *)address;
	struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)address;

	memset(address, 0, sizeof(*address));
	address->ss_family = (sa_family_t)domain;
	if (domain == AF_INET) {
		v4->sin_port = htons(endpoint->port);
		memcpy(&v4->sin_addr, endpoint->address, 4);
		return sizeof(*v4);
	}
	v6->sin6_port = htons(endpoint->port);
	v6->sin6_scope_id = state->scope;
	if (state->family == 6) {
		memcpy(&v6->sin6_addr, endpoint->address, 16);
	} else {
		memset(v6->sin6_addr.s6_addr + 10, 0xff, 2);
		memcpy(v6->sin6_addr.s6_addr + 12, endpoint->address, 4);
	}
	return sizeof(*v6);
}

/* Of a socket that is made for connections of <family>. */
static int domain_of(uint8_t family)
{
	return family == 6 ? AF_INET6 : AF_INET;
}

/* What a handoff puts into a socket's queues. */
static struct tcp_queues queues_of(const struct tcp_frozen *frozen)
{
	return (struct tcp_queues){.send = frozen->send_queue,
				   .send_len = frozen->send_len,
				   .receive = frozen->receive_queue,
				   .receive_len = frozen->receive_len};
}

static int read_addresses(int fd, struct tcp_state *state, struct tcp_fault *fault)
{
	struct sockaddr_storage address;
	socklen_t len = sizeof(address);

	if (getsockname(fd, (struct sockaddr *)&address, &len) < 0)
		return fail(fault, "getsockname()", errno);
	if (!take_address(state, &state->local, &address))
		return fail(fault, "getsockname()", EAFNOSUPPORT);
	len = sizeof(address);
	if (getpeername(fd, (struct sockaddr *)&address, &len) < 0)
		return fail(fault, "getpeername()", errno);
	if (!take_address(state, &state->remote, &address))
		return fail(fault, "getpeername()", EAFNOSUPPORT);
	if (state->family == 6)
		state->scope = ((struct sockaddr_in6 *)&address)->sin6_scope_id;
	return 0;
}

/* --- freeze --- */

/* Whether the reading side is shut: in CLOSE_WAIT, and after a handoff of a half-closed connection, which is
 * ESTABLISHED then. */
static bool peer_has_closed(int fd)
{
	struct pollfd one = {.fd = fd, .events = POLLRDHUP};

	return poll(&one, 1, 0) == 1 && (one.revents & POLLRDHUP);
}

static int read_info(int fd, struct tcp_state *state, struct tcp_fault *fault)
{
	struct tcp_info info = {0};
	socklen_t len = sizeof(info), keepalive_len = sizeof(int);
	int keepalive = 0;

	if (getsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &keepalive, &keepalive_len) < 0)
		return fail(fault, "getsockopt(SO_KEEPALIVE)", errno);
	if (getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &len) < 0)
		return fail(fault, "getsockopt(TCP_INFO)", errno);
	if (info.tcpi_state != KERNEL_ESTABLISHED && info.tcpi_state != KERNEL_CLOSE_WAIT)
		return fail(fault, "state", ENOTCONN);
	state->flags |= info.tcpi_options & (TCPI_OPT_TIMESTAMPS | TCPI_OPT_SACK | TCPI_OPT_WSCALE | TCPI_OPT_ECN);
	if (info.tcpi_options & TCPI_OPT_USEC_TS)
		state->flags |= TCP_STATE_MICROSECONDS;
	if (info.tcpi_state == KERNEL_CLOSE_WAIT)
		state->flags |= TCP_STATE_PEER_CLOSED;
	if (keepalive)
		state->flags |= TCP_STATE_KEEPALIVE;
	if (state->flags & TCP_STATE_SCALING) {
		state->send_scale = info.tcpi_snd_wscale;
		state->receive_scale = info.tcpi_rcv_wscale;
	}
	return 0;
}

/* Of a live socket this is what segments carry by now, of a frozen one what the peer takes. */
static int read_mss(int fd, struct tcp_state *state, struct tcp_fault *fault)
{
	uint32_t mss;

	if (get_u32(fd, TCP_MAXSEG, &mss) < 0)
		return fail(fault, "getsockopt(TCP_MAXSEG)", errno);
	state->mss = (uint16_t)mss;
	return mss < MAXSEG_MIN ? fail(fault, "MSS", EINVAL) : 0;
}

int tcp_read_flow(int fd, struct tcp_state *flow, struct tcp_fault *fault)
{
	memset(flow, 0, sizeof(*flow));
	if (is_mute(fd))
		return fail(fault, "state", EBUSY);
	if (read_addresses(fd, flow, fault) < 0 || read_mss(fd, flow, fault) < 0)
		return -1;
	if (peer_has_closed(fd))
		flow->flags = TCP_STATE_PEER_CLOSED;
	return 0;
}

/* Copies <len> bytes of the queue that is selected. Returns 0 or -1 with <*fault>. */
static int peek(int fd, uint8_t *queue, size_t len, size_t room, const char *name, struct tcp_fault *fault)
{
	ssize_t got;

	if (len > room)
		return fail(fault, name, E2BIG);
	if (!len)
		return 0;
	got = recv(fd, queue, len, MSG_PEEK | MSG_DONTWAIT);
	if (got < 0)
		return fail(fault, name, errno);
	return (size_t)got == len ? 0 : fail(fault, name, EIO);
}

static int read_receive_side(int fd, struct tcp_frozen *frozen, struct tcp_fault *fault)
{
	struct tcp_state *state = &frozen->state;
	struct tcp_repair_window window;
	socklen_t len = sizeof(window);
	int queued;

	if (set_int(fd, IPPROTO_TCP, TCP_REPAIR_QUEUE, TCP_RECV_QUEUE) < 0)
		return fail(fault, "setsockopt(TCP_REPAIR_QUEUE)", errno);
	if (get_u32(fd, TCP_QUEUE_SEQ, &state->receive_next) < 0)
		return fail(fault, "getsockopt(TCP_QUEUE_SEQ)", errno);
	if (ioctl(fd, SIOCINQ, &queued) < 0)
		return fail(fault, "ioctl(SIOCINQ)", errno);
	frozen->receive_len = (size_t)queued;
	if (peek(fd, frozen->receive_queue, frozen->receive_len, TCP_RECEIVE_TAIL_MAX, "receive queue", fault) < 0)
		return -1;
	if (getsockopt(fd, IPPROTO_TCP, TCP_REPAIR_WINDOW, &window, &len) < 0)
		return fail(fault, "getsockopt(TCP_REPAIR_WINDOW)", errno);
	state->window_update_seq = window.snd_wl1;
	state->send_window = window.snd_wnd;
	state->max_window = window.max_window;
	state->receive_window = window.rcv_wnd;
	state->receive_window_seq = window.rcv_wup;
	if (get_u32(fd, TCP_TIMESTAMP, &state->timestamp) < 0)
		return fail(fault, "getsockopt(TCP_TIMESTAMP)", errno);
	return 0;
}

/* Last, and what was not sent last of all. The socket stays in TCP_SEND_QUEUE, where the kernel transmits nothing. */
static int read_send_side(int fd, struct tcp_frozen *frozen, struct tcp_fault *fault)
{
	int queued, unsent;

	if (set_int(fd, IPPROTO_TCP, TCP_REPAIR_QUEUE, TCP_SEND_QUEUE) < 0)
		return fail(fault, "setsockopt(TCP_REPAIR_QUEUE)", errno);
	if (get_u32(fd, TCP_QUEUE_SEQ, &frozen->state.send_next) < 0)
		return fail(fault, "getsockopt(TCP_QUEUE_SEQ)", errno);
	if (ioctl(fd, SIOCOUTQ, &queued) < 0)
		return fail(fault, "ioctl(SIOCOUTQ)", errno);
	frozen->send_len = (size_t)queued;
	if (peek(fd, frozen->send_queue, frozen->send_len, TCP_SEND_TAIL_MAX, "send queue", fault) < 0)
		return -1;
	if (ioctl(fd, SIOCOUTQNSD, &unsent) < 0)
		return fail(fault, "ioctl(SIOCOUTQNSD)", errno);
	frozen->state.unsent = (uint32_t)unsent;
	return 0;
}

int tcp_unacknowledged(int fd, size_t *len)
{
	int queued;

	if (ioctl(fd, SIOCOUTQ, &queued) < 0)
		return -1;
	*len = (size_t)queued;
	return 0;
}

int tcp_unsent(int fd, size_t *len)
{
	int queued;

	if (ioctl(fd, SIOCOUTQNSD, &queued) < 0)
		return -1;
	*len = (size_t)queued;
	return 0;
}

int tcp_thaw(int fd, struct tcp_fault *fault)
{
	if (set_int(fd, IPPROTO_TCP, TCP_REPAIR, TCP_REPAIR_OFF_NO_WP) < 0)
		return fail(fault, "setsockopt(TCP_REPAIR)", errno);
	if (set_int(fd, SOL_SOCKET, SO_REUSEADDR, 1) < 0) /* leaving repair mode cleared it */
		return fail(fault, "setsockopt(SO_REUSEADDR)", errno);
	return unmute(fd) < 0 ? fail(fault, "setsockopt(SO_DETACH_FILTER)", errno) : 0;
}

/* What changes is read when nothing can change it any more, the rest is in <flow>. */
static int read_frozen(int fd, struct tcp_frozen *frozen, struct tcp_fault *fault)
{
	if (read_info(fd, &frozen->state, fault) < 0 || read_mss(fd, &frozen->state, fault) < 0 ||
	    read_receive_side(fd, frozen, fault) < 0)
		return -1;
	return read_send_side(fd, frozen, fault);
}

int tcp_freeze_flow(int fd, const struct tcp_state *flow, struct tcp_frozen *frozen, struct tcp_fault *fault)
{
	struct tcp_fault of_thaw;

	frozen->send_len = frozen->receive_len = 0;
	frozen->state = *flow;
	if (mute(fd) < 0)
		return fail(fault, "setsockopt(SO_ATTACH_FILTER)", errno);
	if (set_int(fd, IPPROTO_TCP, TCP_REPAIR, TCP_REPAIR_ON) < 0) {
		int error = errno;

		return unmute(fd) < 0 ? fail(fault, "setsockopt(SO_DETACH_FILTER)", errno)
				      : fail(fault, "setsockopt(TCP_REPAIR)", error);
	}
	if (read_frozen(fd, frozen, fault) < 0) {
		(void)tcp_thaw(fd, &of_thaw); /* <*fault> has the cause already */
		return -1;
	}
	return 0;
}

int tcp_freeze(int fd, struct tcp_frozen *frozen, struct tcp_fault *fault)
{
	struct tcp_state flow;

	if (tcp_read_flow(fd, &flow, fault) < 0)
		return fault->error == ENOTCONN ? fail(fault, "state", ENOTCONN) : -1;
	return tcp_freeze_flow(fd, &flow, frozen, fault);
}

/* --- making a connection in repair mode --- */

static int put_queue(int fd, int queue, const uint8_t *bytes, size_t len, const char *name, struct tcp_fault *fault)
{
	if (!len)
		return 0;
	if (set_int(fd, IPPROTO_TCP, TCP_REPAIR_QUEUE, queue) < 0)
		return fail(fault, "setsockopt(TCP_REPAIR_QUEUE)", errno);
	while (len) {
		ssize_t put = send(fd, bytes, len < CHUNK ? len : CHUNK, MSG_DONTWAIT | MSG_NOSIGNAL);

		if (put < 0)
			return fail(fault, name, errno);
		bytes += put;
		len -= (size_t)put;
	}
	return 0;
}

static int set_options(int fd, const struct tcp_state *state)
{
	struct tcp_repair_opt options[4];
	size_t count = 0;

	options[count++] = (struct tcp_repair_opt){OPTION_MSS, state->mss};
	if (state->flags & TCP_STATE_SCALING)
		options[count++] = (struct tcp_repair_opt){OPTION_SCALING,
							   state->send_scale | (uint32_t)state->receive_scale << 16};
	if (state->flags & TCP_STATE_SACK)
		options[count++] = (struct tcp_repair_opt){OPTION_SACK, 0};
	if (state->flags & TCP_STATE_TIMESTAMPS)
		options[count++] = (struct tcp_repair_opt){OPTION_TIMESTAMPS, 0};
	return setsockopt(fd, IPPROTO_TCP, TCP_REPAIR_OPTIONS, options, (socklen_t)(count * sizeof(options[0])));
}

/* A little later than the dump, never earlier; bit 0 tells the kernel the unit. */
static int set_timestamp(int fd, const struct tcp_state *state)
{
	bool microseconds = (state->flags & TCP_STATE_MICROSECONDS) != 0;
	uint32_t timestamp = state->timestamp + (microseconds ? 4000 : 4);

	timestamp = (timestamp & ~1u) | (microseconds ? 1 : 0);
	return setsockopt(fd, IPPROTO_TCP, TCP_TIMESTAMP, &timestamp, sizeof(timestamp));
}

/* The timestamp comes before connect(): from then on the socket may answer, and a wrong one poisons the peer's PAWS for
 * good. */
static int connect_repaired(int fd, const struct tcp_state *state, bool again, struct tcp_fault *fault)
{
	struct sockaddr_storage address;
	int domain = domain_of(state->family);
	socklen_t len = sizeof(domain);

	/* HAProxy's socket may be an IPv6 one with an IPv4 connection; of our own the domain is known. */
	if (again && state->family == 4 && getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &len) < 0)
		return fail(fault, "getsockopt(SO_DOMAIN)", errno);
	len = give_address(state, &state->local, domain, &address);
	if (bind(fd, (struct sockaddr *)&address, len) < 0 && !(again && errno == EINVAL))
		return fail(fault, "bind()", errno);
	if ((state->flags & TCP_STATE_TIMESTAMPS) && set_timestamp(fd, state) < 0)
		return fail(fault, "setsockopt(TCP_TIMESTAMP)", errno);
	/* IP_OPTIONS makes the kernel compute the MSS anew for IPv4 only; this does it for IPv6 too. */
	if (set_int(fd, IPPROTO_TCP, TCP_MAXSEG, state->mss < MAXSEG_MAX ? state->mss : MAXSEG_MAX) < 0)
		return fail(fault, "setsockopt(TCP_MAXSEG)", errno);
	len = give_address(state, &state->remote, domain, &address);
	if (connect(fd, (struct sockaddr *)&address, len) < 0)
		return fail(fault, "connect()", errno);
	return set_options(fd, state) < 0 ? fail(fault, "setsockopt(TCP_REPAIR_OPTIONS)", errno) : 0;
}

/* Bytes of a segment: to a peer with a small window half the window at most. */
static size_t segment_of(const struct tcp_state *state)
{
	if (state->max_window / 2 >= state->mss)
		return state->mss;
	return state->max_window / 2 > SEGMENT_MIN ? state->max_window / 2 : SEGMENT_MIN;
}

/* Bytes of a send buffer that <len> bytes of a send queue take, segments' heads included. */
static int send_room(const struct tcp_state *state, size_t len)
{
	return (int)(len + (len / segment_of(state) + 1) * SEGMENT_HEAD + ROOM_EXTRA);
}

/* Raises the buffer <option> (SO_SNDBUF or SO_RCVBUF) of <fd> to <room> bytes at least. One that could change by itself
 * can again afterwards, as far as the kernel knows SO_BUF_LOCK (5.14). */
static int raise_buffer(int fd, int option, int room, struct tcp_fault *fault)
{
	int now, locks;
	socklen_t len = sizeof(now), locks_len = sizeof(locks);
	bool known;

	if (getsockopt(fd, SOL_SOCKET, option, &now, &len) < 0)
		return fail(fault, "getsockopt(buffer size)", errno);
	if (now >= room)
		return 0;
	known = getsockopt(fd, SOL_SOCKET, SO_BUF_LOCK, &locks, &locks_len) == 0;
	if (set_int(fd, SOL_SOCKET, option == SO_SNDBUF ? SO_SNDBUFFORCE : SO_RCVBUFFORCE, room) < 0)
		return fail(fault, option == SO_SNDBUF ? "setsockopt(SO_SNDBUFFORCE)" : "setsockopt(SO_RCVBUFFORCE)",
			    errno);
	return known && set_int(fd, SOL_SOCKET, SO_BUF_LOCK, locks) < 0 ? fail(fault, "setsockopt(SO_BUF_LOCK)", errno)
									: 0;
}

/* Makes room for queues that are longer than a socket's buffers may be by now. One segment fits into any. */
static int make_room(int fd, const struct tcp_state *state, const struct tcp_queues *queues, struct tcp_fault *fault)
{
	if (queues->send_len > segment_of(state) &&
	    raise_buffer(fd, SO_SNDBUF, send_room(state, queues->send_len), fault) < 0)
		return -1;
	if (queues->receive_len > TCP_RECEIVE_TAIL_MAX &&
	    raise_buffer(fd, SO_RCVBUF, (int)queues->receive_len + ROOM_EXTRA, fault) < 0)
		return -1;
	return 0;
}

/* The send window that a restored connection begins with; <sent> bytes of its queue are under way.
 *
 * Linux predicts the headers of what comes next (pred_flags of tcp_finish_connect()), and a connection that is made in
 * repair mode predicts a window of 0, whatever TCP_REPAIR_WINDOW says afterwards: an acknowledgement that shuts the
 * window matches, and then the kernel does not read the window and goes on with the one that was restored. The first
 * acknowledgement that tells another window ends that. So the client is never given cause to shut its window in its
 * first acknowledgement: one byte of the window stays free. If all of it is under way nothing more may be sent before
 * that acknowledgement anyway, and a window of 0 is what is predicted. */
static uint32_t first_window(const struct tcp_state *state, size_t sent)
{
	return sent >= state->send_window ? 0 : state->send_window - 1;
}

/* Gives <fd>, closed and in repair mode, the state. <again>: it had a connection before, and is bound. */
static int seat(int fd, const struct tcp_state *state, const struct tcp_queues *queues, bool again,
		struct tcp_fault *fault)
{
	struct tcp_repair_window window = {.snd_wl1 = state->window_update_seq,
					   .snd_wnd = first_window(state, queues->send_len - state->unsent),
					   .max_window = state->max_window,
					   .rcv_wnd = state->receive_window,
					   .rcv_wup = state->receive_window_seq};

	assert(state->unsent <= queues->send_len);
	if (set_sequence(fd, TCP_SEND_QUEUE, state->send_next - (uint32_t)queues->send_len) < 0 ||
	    set_sequence(fd, TCP_RECV_QUEUE, state->receive_next - (uint32_t)queues->receive_len) < 0)
		return fail(fault, "setsockopt(TCP_QUEUE_SEQ)", errno);
	if (connect_repaired(fd, state, again, fault) < 0 || make_room(fd, state, queues, fault) < 0)
		return -1;
	if (put_queue(fd, TCP_RECV_QUEUE, queues->receive, queues->receive_len, "send(receive queue)", fault) < 0 ||
	    put_queue(fd, TCP_SEND_QUEUE, queues->send, queues->send_len - state->unsent, "send(send queue)", fault) <
		    0)
		return -1;
	if (setsockopt(fd, IPPROTO_TCP, TCP_REPAIR_WINDOW, &window, sizeof(window)) < 0)
		return fail(fault, "setsockopt(TCP_REPAIR_WINDOW)", errno);
	if (state->family == 4 && setsockopt(fd, IPPROTO_IP, IP_OPTIONS, NULL, 0) < 0)
		return fail(fault, "setsockopt(IP_OPTIONS)", errno);
	return 0;
}

int tcp_disconnect(int fd, struct tcp_fault *fault)
{
	struct sockaddr none = {.sa_family = AF_UNSPEC};
	int swallowed;
	socklen_t len = sizeof(swallowed);

	if (connect(fd, &none, sizeof(none)) < 0)
		return fail(fault, "connect(AF_UNSPEC)", errno);
	if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &swallowed, &len) < 0) /* ECONNABORTED, of the line above */
		return fail(fault, "getsockopt(SO_ERROR)", errno);
	return 0;
}

int tcp_fast_forward_queues(int fd, const struct tcp_state *state, const struct tcp_queues *queues,
			    struct tcp_fault *fault)
{
	return seat(fd, state, queues, true, fault);
}

int tcp_fast_forward(int fd, const struct tcp_frozen *frozen, struct tcp_fault *fault)
{
	const struct tcp_queues queues = queues_of(frozen);

	return tcp_fast_forward_queues(fd, &frozen->state, &queues, fault);
}

/* A mute socket of <family> without a connection. Returns it or -1 with <*fault>. */
static int open_mute(uint8_t family, struct tcp_fault *fault)
{
	int fd = socket(domain_of(family), SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	int failed = 0;

	if (fd < 0)
		return fail(fault, "socket()", errno);
	if (mute(fd) < 0)
		failed = fail(fault, "setsockopt(SO_ATTACH_FILTER)", errno);
	else if (set_int(fd, IPPROTO_TCP, TCP_REPAIR, TCP_REPAIR_ON) < 0)
		failed = fail(fault, "setsockopt(TCP_REPAIR)", errno);
	if (failed) {
		close(fd);
		return -1;
	}
	return fd;
}

static int prepare_clone(int fd, const char *congestion, int send_buffer, struct tcp_fault *fault)
{
	struct linger reset = {.l_onoff = 1,
			       .l_linger = 0}; /* a clone has no FIN to say: the connection goes on elsewhere */

	if (congestion && setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, congestion, (socklen_t)strlen(congestion)) < 0)
		return fail(fault, "setsockopt(TCP_CONGESTION)", errno);
	if (send_buffer > 0 && set_int(fd, SOL_SOCKET, SO_SNDBUFFORCE, send_buffer) < 0)
		return fail(fault, "setsockopt(SO_SNDBUFFORCE)", errno);
	if (setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset)) < 0)
		return fail(fault, "setsockopt(SO_LINGER)", errno);
	return set_int(fd, IPPROTO_TCP, TCP_NODELAY, 1) < 0 ? fail(fault, "setsockopt(TCP_NODELAY)", errno) : 0;
}

int tcp_restore(const struct tcp_frozen *frozen, const char *congestion, int send_buffer, struct tcp_fault *fault)
{
	const struct tcp_queues queues = queues_of(frozen);
	int fd = open_mute(frozen->state.family, fault);

	if (fd < 0)
		return -1;
	if (prepare_clone(fd, congestion, send_buffer, fault) < 0 ||
	    seat(fd, &frozen->state, &queues, false, fault) < 0) {
		close(fd);
		return -1;
	}
	return fd;
}

/* STAGED -> LIVE. <off>: TCP_REPAIR_OFF, with a window probe, or TCP_REPAIR_OFF_NO_WP. */
static int unmute_and_hear(int fd, const struct tcp_state *state, int off, struct tcp_fault *fault)
{
	if (unmute(fd) < 0)
		return fail(fault, "setsockopt(SO_DETACH_FILTER)", errno);
	if (set_int(fd, IPPROTO_TCP, TCP_REPAIR, off) < 0)
		return fail(fault, "setsockopt(TCP_REPAIR)", errno);
	if (set_int(fd, SOL_SOCKET, SO_REUSEADDR, 1) < 0) /* leaving repair mode cleared it */
		return fail(fault, "setsockopt(SO_REUSEADDR)", errno);
	if ((state->flags & TCP_STATE_KEEPALIVE) && set_int(fd, SOL_SOCKET, SO_KEEPALIVE, 1) < 0)
		return fail(fault, "setsockopt(SO_KEEPALIVE)", errno);
	if ((state->flags & TCP_STATE_PEER_CLOSED) && shutdown(fd, SHUT_RD) < 0)
		return fail(fault, "shutdown(SHUT_RD)", errno);
	return 0;
}

int tcp_resume(int fd, const struct tcp_state *state, struct tcp_fault *fault)
{
	return unmute_and_hear(fd, state, TCP_REPAIR_OFF_NO_WP, fault);
}

/* Repair mode is left with a probe; it changes nothing else for a live socket, which goes on hearing and sending. */
int tcp_probe(int fd, struct tcp_fault *fault)
{
	if (set_int(fd, IPPROTO_TCP, TCP_REPAIR, TCP_REPAIR_ON) < 0 ||
	    set_int(fd, IPPROTO_TCP, TCP_REPAIR, TCP_REPAIR_OFF) < 0)
		return fail(fault, "setsockopt(TCP_REPAIR)", errno);
	return set_int(fd, SOL_SOCKET, SO_REUSEADDR, 1) < 0 ? fail(fault, "setsockopt(SO_REUSEADDR)", errno) : 0;
}

static int write_unsent(int fd, const struct tcp_state *state, const struct tcp_queues *queues, bool more,
			struct tcp_fault *fault)
{
	size_t unsent = state->unsent;
	ssize_t put;

	if (!unsent)
		return 0;
	put = send(fd, queues->send + queues->send_len - unsent, unsent,
		   MSG_DONTWAIT | MSG_NOSIGNAL | (more ? MSG_MORE : 0));
	if (put < 0)
		return fail(fault, "send(unsent)", errno);
	return (size_t)put < unsent ? fail(fault, "send(unsent)", ENOBUFS) : 0;
}

int tcp_write_unsent(int fd, const struct tcp_state *state, const struct tcp_queues *queues, struct tcp_fault *fault)
{
	return write_unsent(fd, state, queues, false, fault);
}

int tcp_go(int fd, const struct tcp_frozen *frozen, bool more, struct tcp_fault *fault)
{
	const struct tcp_queues queues = queues_of(frozen);
	const struct tcp_state *state = &frozen->state;
	/* What is unsent is answered anyway, unless the window takes nothing. */
	bool is_answered = frozen->send_len == state->unsent && state->send_window;

	if (unmute_and_hear(fd, state, is_answered ? TCP_REPAIR_OFF_NO_WP : TCP_REPAIR_OFF, fault) < 0)
		return -1;
	return write_unsent(fd, state, &queues, more, fault);
}

int tcp_push(int fd, struct tcp_fault *fault)
{
	return set_int(fd, IPPROTO_TCP, TCP_NODELAY, 1) < 0 ? fail(fault, "setsockopt(TCP_NODELAY)", errno) : 0;
}

/* A close() in repair mode disconnects without a word. A socket that takes no repair mode is closed already, or a
 * listening one. */
void tcp_close_mute(int fd)
{
	(void)set_int(fd, IPPROTO_TCP, TCP_REPAIR, TCP_REPAIR_ON);
	(void)close(fd);
}

int tcp_reset(const struct tcp_state *state, uint32_t send_next, struct tcp_fault *fault)
{
	struct linger reset = {.l_onoff = 1, .l_linger = 0};
	const struct tcp_queues empty = {.send_len = 0};
	struct tcp_state last = *state;
	int fd = open_mute(state->family, fault), result = -1;

	if (fd < 0)
		return -1;
	last.send_next = send_next;
	last.unsent = 0;
	if (setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset)) < 0)
		(void)fail(fault, "setsockopt(SO_LINGER)", errno);
	else if (seat(fd, &last, &empty, false, fault) == 0)
		result = set_int(fd, IPPROTO_TCP, TCP_REPAIR, TCP_REPAIR_OFF_NO_WP) < 0
				 ? fail(fault, "setsockopt(TCP_REPAIR)", errno)
				 : 0;
	close(fd); /* says RST when all went well, else nothing */
	return result;
}

int tcp_repair_check(struct tcp_fault *fault)
{
	int fd, result = 0;

	load_mute_program();
	fd = open_mute(4, fault);
	if (fd < 0)
		return -1;
	if (set_sequence(fd, TCP_SEND_QUEUE, 1) < 0)
		result = fail(fault, "setsockopt(TCP_QUEUE_SEQ)", errno);
	close(fd);
	return result;
}

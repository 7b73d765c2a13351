/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "handoff_network.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_packet.h>
#include <linux/sockios.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <netinet/in.h>
#include <netinet/ip.h>
#include <netinet/ip6.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "tcp_freeze.h"

#define VIP4 "192.0.2.1"
#define VIP6 "2001:db8::1"
#define COMMAND_MAX 512
#define BUFFER 1048576 /* of the sockets, so that a test may write what it likes */

const char *const family_names[FAMILIES] = {[IPV4] = "IPv4", [IPV6] = "IPv6", [IPV4_MAPPED] = "IPv4-mapped"};

static int original = -1, namespaces[HOSTS] = {-1, -1, -1, -1};

/* --- the network --- */

bool network_allowed(void)
{
	struct tcp_fault fault;

	return geteuid() == 0 && tcp_repair_check(&fault) == 0;
}

static int run(const char *format, va_list arguments)
{
	char command[COMMAND_MAX];
	int len = vsnprintf(command, sizeof(command), format, arguments);

	if (len < 0 || (size_t)len >= sizeof(command))
		return -1;
	if (system(command) == 0)
		return 0;
	fprintf(stderr, "failed: %s\n", command);
	return -1;
}

__attribute__((format(printf, 2, 3))) static int run_on(enum host host, const char *format, ...)
{
	va_list arguments;
	int result;

	if (setns(namespaces[host], CLONE_NEWNET) < 0)
		return -1;
	va_start(arguments, format);
	result = run(format, arguments);
	va_end(arguments);
	return result;
}

static int namespace_make(enum host host)
{
	static const char *const settings =
		"cd /proc/sys/net && echo reno >ipv4/tcp_congestion_control && "
		"echo 1 >ipv4/tcp_no_metrics_save && echo 0 >ipv4/conf/all/rp_filter && "
		"echo 0 >ipv4/conf/default/rp_filter && echo 1 >ipv4/ip_forward && "
		"echo 0 >ipv6/conf/all/accept_dad && echo 0 >ipv6/conf/default/accept_dad && "
		"echo 1 >ipv6/conf/all/forwarding && ip link set lo up";

	if (unshare(CLONE_NEWNET) < 0)
		return -1;
	/* Without O_CLOEXEC: ip reads it through /proc. */
	namespaces[host] = open("/proc/self/ns/net", O_RDONLY);
	return namespaces[host] < 0 ? -1 : run_on(host, "%s", settings);
}

/* A wire between ROUTER and <host>; the router has .1 and the host .2 of network <host>. */
static int wire_make(enum host host)
{
	unsigned number = (unsigned)host + 1;

	if (run_on(ROUTER, "ip link add host%u type veth peer name uplink netns /proc/%d/fd/%d", number, getpid(),
		   namespaces[host]) < 0 ||
	    run_on(ROUTER,
		   "ip address add 10.77.%u.1/24 dev host%u && ip address add fd77:%u::1/64 dev host%u nodad && ip "
		   "link set host%u up",
		   number, number, number, number, number) < 0)
		return -1;
	/* A short RTO of the client's: what it sends while the connection is away is lost in these tests. */
	return run_on(host,
		      "ip address add 10.77.%u.2/24 dev uplink && ip address add fd77:%u::2/64 dev uplink nodad && "
		      "ip link set uplink up && ip route add default via 10.77.%u.1 rto_min 10ms && "
		      "ip -6 route add default via fd77:%u::1 rto_min 10ms",
		      number, number, number, number);
}

int network_make(void)
{
	original = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
	if (original < 0)
		return -1;
	for (enum host host = CLIENT; host < HOSTS; host++) {
		if (namespace_make(host) < 0)
			return -1;
	}
	if (wire_make(CLIENT) < 0 || wire_make(HOST_A) < 0 || wire_make(HOST_B) < 0)
		return -1;
	for (enum host host = HOST_A; host <= HOST_B; host++) {
		if (run_on(host, "ip address add " VIP4 "/32 dev lo && ip address add " VIP6 "/128 dev lo nodad") < 0)
			return -1;
	}
	return run_on(ROUTER, "ip route add blackhole " VIP4 " && ip -6 route add blackhole " VIP6);
}

void network_remove(void)
{
	for (enum host host = CLIENT; host < HOSTS; host++) {
		if (namespaces[host] >= 0)
			close(namespaces[host]);
		namespaces[host] = -1;
	}
	if (original >= 0 && setns(original, CLONE_NEWNET) == 0)
		close(original);
	original = -1;
}

void host_enter(enum host host)
{
	assert_int_equal(setns(namespaces[host], CLONE_NEWNET), 0);
}

void host_run(enum host host, const char *format, ...)
{
	va_list arguments;

	host_enter(host);
	va_start(arguments, format);
	assert_int_equal(run(format, arguments), 0);
	va_end(arguments);
}

void vip_route(enum host host)
{
	unsigned number = (unsigned)host + 1;

	if (host == ROUTER)
		host_run(ROUTER, "ip route replace blackhole " VIP4 " && ip -6 route replace blackhole " VIP6);
	else
		host_run(ROUTER,
			 "ip route replace " VIP4 " via 10.77.%u.2 && ip -6 route replace " VIP6 " via fd77:%u::2",
			 number, number);
}

void hosts_reset_nobody(bool nobody)
{
	const char *rule = nobody ? "nft add table inet moving && "
				    "nft 'add chain inet moving out { type filter hook output priority 0 ; }' && "
				    "nft 'add rule inet moving out tcp flags rst drop'"
				  : "nft delete table inet moving";

	host_run(HOST_A, "%s", rule);
	host_run(HOST_B, "%s", rule);
}

void client_reachable(bool reachable)
{
	const char *verb = reachable ? "del" : "add";

	host_run(ROUTER, "ip route %s blackhole 10.77.1.2 && ip -6 route %s blackhole fd77:1::2", verb, verb);
}

/* --- a connection --- */

static void set(int fd, int level, int option, int value)
{
	assert_int_equal(setsockopt(fd, level, option, &value, sizeof(value)), 0);
}

/* Waits for <events> on <fd>. */
static void await(int fd, short events)
{
	struct pollfd one = {.fd = fd, .events = events};

	assert_int_equal(poll(&one, 1, PATIENCE_MS), 1);
}

/* A socket that a test leaves behind does not go on sending in the next one. */
static void end_at_once(int fd)
{
	struct linger reset = {.l_onoff = 1, .l_linger = 0};

	assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset)), 0);
}

static socklen_t vip_address(int domain, const char *text, uint16_t port, struct sockaddr_storage *address)
{
	memset(address, 0, sizeof(*address));
	address->ss_family = (sa_family_t)domain;
	if (domain == AF_INET) {
		struct sockaddr_in *v4 = (struct sockaddr_in *)address;

		v4->sin_port = htons(port);
		assert_int_equal(inet_pton(domain, text, &v4->sin_addr), 1);
		return sizeof(*v4);
	}
	struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)address;

	v6->sin6_port = htons(port);
	assert_int_equal(inet_pton(domain, text, &v6->sin6_addr), 1);
	return sizeof(*v6);
}

/* A listening socket on HOST_A; stores the port it got. */
static int listen_on(enum family family, uint16_t *port)
{
	struct sockaddr_storage address;
	int domain = family == IPV4 ? AF_INET : AF_INET6;
	socklen_t len = vip_address(domain, family == IPV4 ? VIP4 : family == IPV6 ? VIP6 : "::", 0, &address);
	int fd;

	host_enter(HOST_A);
	fd = socket(domain, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_true(fd >= 0);
	set(fd, SOL_SOCKET, SO_REUSEADDR, 1);
	if (family != IPV4)
		set(fd, IPPROTO_IPV6, IPV6_V6ONLY, family == IPV6);
	assert_int_equal(bind(fd, (struct sockaddr *)&address, len), 0);
	assert_int_equal(listen(fd, 1), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &len), 0);
	*port = ntohs(family == IPV4 ? ((struct sockaddr_in *)&address)->sin_port
				     : ((struct sockaddr_in6 *)&address)->sin6_port);
	return fd;
}

void line_open(struct line *line, enum family family)
{
	line_open_small(line, family, 0);
}

void line_open_small(struct line *line, enum family family, int receive_buffer)
{
	struct sockaddr_storage address;
	int domain = family == IPV6 ? AF_INET6 : AF_INET;
	uint16_t port;
	int listener = listen_on(family, &port);
	socklen_t len = vip_address(domain, family == IPV6 ? VIP6 : VIP4, port, &address);

	memset(line, 0, sizeof(*line));
	vip_route(HOST_A);
	host_enter(CLIENT);
	line->client = socket(domain, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	assert_true(line->client >= 0);
	if (receive_buffer > 0)
		set(line->client, SOL_SOCKET, SO_RCVBUF, receive_buffer);
	assert_true(connect(line->client, (struct sockaddr *)&address, len) == 0 || errno == EINPROGRESS);
	await(listener, POLLIN);
	line->server = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	assert_true(line->server >= 0);
	await(line->client, POLLOUT);
	close(listener);
	end_at_once(line->client);
	end_at_once(line->server);
	set(line->client, IPPROTO_TCP, TCP_NODELAY, 1);
	set(line->server, IPPROTO_TCP, TCP_NODELAY, 1);
	set(line->client, SOL_SOCKET, SO_SNDBUF, BUFFER);
	set(line->server, SOL_SOCKET, SO_SNDBUF, BUFFER);
}

void line_close(struct line *line)
{
	if (line->server >= 0)
		close(line->server);
	if (line->client >= 0)
		close(line->client);
	line->server = line->client = -1;
}

/* --- its two streams --- */

/* The byte at <position> of a stream; no period that a lost or doubled segment could hide in. */
static uint8_t stream_byte(uint64_t position, uint64_t stream)
{
	uint64_t mixed = (position + stream * 0x9e3779b97f4a7c15u) * 0xd6e8feb86659fd93u;

	return (uint8_t)(mixed >> 56 ^ mixed >> 32);
}

static void stream_write(int fd, uint64_t *position, uint64_t stream, size_t len)
{
	uint8_t *bytes = malloc(len);
	ssize_t put;

	assert_non_null(bytes);
	for (size_t i = 0; i < len; i++)
		bytes[i] = stream_byte(*position + i, stream);
	put = send(fd, bytes, len, MSG_NOSIGNAL | MSG_DONTWAIT);
	if (put != (ssize_t)len)
		fail_msg("send(): %zd of %zu bytes: %s", put, len, strerror(errno));
	free(bytes);
	*position += len;
}

static void stream_read(int fd, uint64_t *position, uint64_t stream, size_t len)
{
	uint8_t bytes[16384];

	while (len) {
		await(fd, POLLIN);
		ssize_t got = recv(fd, bytes, len < sizeof(bytes) ? len : sizeof(bytes), MSG_DONTWAIT);

		assert_true(got > 0);
		for (ssize_t i = 0; i < got; i++)
			assert_int_equal(bytes[i], stream_byte((*position)++, stream));
		len -= (size_t)got;
	}
}

static void stream_read_end(int fd)
{
	uint8_t byte;

	await(fd, POLLIN);
	assert_int_equal(recv(fd, &byte, 1, MSG_DONTWAIT), 0);
}

void line_client_write(struct line *line, size_t len)
{
	stream_write(line->client, &line->client_wrote, 1, len);
}

void line_server_write(struct line *line, size_t len)
{
	stream_write(line->server, &line->server_wrote, 2, len);
}

void line_client_read(struct line *line, size_t len)
{
	stream_read(line->client, &line->client_read, 2, len);
}

void line_server_read(struct line *line, size_t len)
{
	stream_read(line->server, &line->server_read, 1, len);
}

void line_client_read_end(struct line *line)
{
	stream_read_end(line->client);
}

void line_server_read_end(struct line *line)
{
	stream_read_end(line->server);
}

/* The kernel tells no event for these two: looks again each millisecond. */
static void until_queue_is(int fd, unsigned long request, size_t len)
{
	int queued = -1;

	for (int i = 0; i < PATIENCE_MS; i++) {
		assert_int_equal(ioctl(fd, request, &queued), 0);
		if ((size_t)queued == len)
			return;
		assert_int_equal(poll(NULL, 0, 1), 0);
	}
	fail_msg("the queue has %d bytes instead of %zu", queued, len);
}

void server_has_unread(const struct line *line, size_t len)
{
	until_queue_is(line->server, SIOCINQ, len);
}

void server_has_unacknowledged(const struct line *line, size_t len)
{
	until_queue_is(line->server, SIOCOUTQ, len);
}

void server_all_acknowledged(const struct line *line)
{
	server_has_unacknowledged(line, 0);
}

/* --- what passes --- */

int watch_open(enum host host)
{
	struct sockaddr_ll address = {.sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_ALL)};
	char name[IF_NAMESIZE];
	int fd;

	host_enter(ROUTER);
	assert_true(snprintf(name, sizeof(name), "host%u", (unsigned)host + 1) > 0);
	address.sll_ifindex = (int)if_nametoindex(name);
	assert_true(address.sll_ifindex > 0);
	fd = socket(AF_PACKET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	assert_true(fd >= 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	return fd;
}

/* Looks for the timestamp option (RFC 7323 3.2) in <len> bytes of options. */
static void read_timestamp(struct segment *segment, const uint8_t *option, size_t len)
{
	while (len >= 2 && *option != TCPOPT_EOL) {
		size_t size = *option == TCPOPT_NOP ? 1 : option[1];

		if (*option == TCPOPT_TIMESTAMP && size == TCPOLEN_TIMESTAMP && len >= size) {
			memcpy(&segment->timestamp, option + 2, 4);
			segment->timestamp = ntohl(segment->timestamp);
			segment->stamped = true;
		}
		if (!size || size > len)
			return;
		option += size;
		len -= size;
	}
}

static bool parse(const uint8_t *packet, size_t len, struct segment *segment)
{
	const struct ip *v4 = (const struct ip *)packet;
	const struct ip6_hdr *v6 = (const struct ip6_hdr *)packet;
	size_t at = v4->ip_v == 4 ? v4->ip_hl * 4u : sizeof(*v6);
	uint8_t protocol = v4->ip_v == 4 ? v4->ip_p : v6->ip6_nxt;
	struct tcphdr header;

	if (protocol != IPPROTO_TCP || len < at + sizeof(header))
		return false;
	memcpy(&header, packet + at, sizeof(header));
	memset(segment, 0, sizeof(*segment));
	segment->flags = header.th_flags;
	segment->sequence = ntohl(header.th_seq);
	segment->len =
		(v4->ip_v == 4 ? ntohs(v4->ip_len) : sizeof(*v6) + ntohs(v6->ip6_plen)) - at - header.th_off * 4u;
	if (len >= at + header.th_off * 4u)
		read_timestamp(segment, packet + at + sizeof(header), header.th_off * 4u - sizeof(header));
	return true;
}

bool watch_next(int watch, struct segment *segment, int milliseconds)
{
	_Alignas(8) uint8_t packet[256]; /* headers are enough */
	struct pollfd one = {.fd = watch, .events = POLLIN};

	while (poll(&one, 1, milliseconds) == 1) {
		struct sockaddr_ll from;
		socklen_t from_len = sizeof(from);
		ssize_t got =
			recvfrom(watch, packet, sizeof(packet), MSG_DONTWAIT, (struct sockaddr *)&from, &from_len);

		if (got >= (ssize_t)sizeof(struct ip) && from.sll_pkttype != PACKET_OUTGOING &&
		    parse(packet, (size_t)got, segment))
			return true;
	}
	return false;
}

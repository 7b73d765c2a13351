/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "raw_packet.h"

#include <arpa/inet.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define RECEIVE_BUFFER (16 << 20)
#define PACKET_MAX 66000

/* --- building --- */

struct builder {
	uint8_t bytes[4096];
	size_t len;
};

static void put(struct builder *builder, const void *bytes, size_t len)
{
	memcpy(builder->bytes + builder->len, bytes, len);
	builder->len += len;
}

static void put_u8(struct builder *builder, unsigned value)
{
	builder->bytes[builder->len++] = (uint8_t)value;
}

static void put_u16(struct builder *builder, unsigned value)
{
	put_u8(builder, value >> 8);
	put_u8(builder, value);
}

static void put_u32(struct builder *builder, uint32_t value)
{
	put_u16(builder, value >> 16);
	put_u16(builder, value);
}

static uint16_t checksum(uint32_t sum, const uint8_t *bytes, size_t len)
{
	for (size_t i = 0; i < len; i++)
		sum += (uint32_t)bytes[i] << (i % 2 ? 0 : 8);
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)sum;
}

static void set_u16(uint8_t *at, uint16_t value)
{
	at[0] = (uint8_t)(value >> 8);
	at[1] = (uint8_t)value;
}

static const struct tcp_endpoint *from_of(const struct raw_packet *packet)
{
	return packet->reverse ? &packet->flow->local : &packet->flow->remote;
}

static const struct tcp_endpoint *to_of(const struct raw_packet *packet)
{
	return packet->reverse ? &packet->flow->remote : &packet->flow->local;
}

static void build_tcp(struct builder *tcp, const struct raw_packet *packet)
{
	size_t ip_len = packet->flow->family == 4 ? 4 : 16;
	bool stamped = packet->timestamp != 0;
	uint32_t pseudo;

	put_u16(tcp, from_of(packet)->port);
	put_u16(tcp, to_of(packet)->port);
	put_u32(tcp, packet->seq);
	put_u32(tcp, packet->ack);
	put_u8(tcp, stamped ? 8u << 4 : 5u << 4);
	put_u8(tcp, packet->flags);
	put_u16(tcp, packet->window);
	put_u32(tcp, 0);
	if (stamped) {
		put_u32(tcp, 0x0101080a);
		put_u32(tcp, packet->timestamp);
		put_u32(tcp, packet->timestamp_echo);
	}
	for (size_t i = 0; i < packet->payload; i++)
		put_u8(tcp, (unsigned)(packet->seq + i));
	pseudo = checksum(IPPROTO_TCP + (uint32_t)tcp->len, from_of(packet)->address, ip_len);
	pseudo = checksum(pseudo, to_of(packet)->address, ip_len);
	set_u16(tcp->bytes + 16, (uint16_t)(~checksum(pseudo, tcp->bytes, tcp->len) ^ (packet->damaged ? 0x55 : 0)));
}

static void build_ipv4(struct builder *builder, const struct raw_packet *packet, const struct builder *tcp)
{
	size_t start = builder->len;

	put_u16(builder, 0x4500);
	put_u16(builder, (unsigned)(20 + tcp->len));
	put_u16(builder, 7);
	put_u16(builder, packet->fragment == 1 ? 0x2000 : packet->fragment == 2 ? 0x0100 : 0x4000);
	put_u8(builder, 61); /* no default of anyone */
	put_u8(builder, IPPROTO_TCP);
	put_u16(builder, 0);
	put(builder, from_of(packet)->address, 4);
	put(builder, to_of(packet)->address, 4);
	set_u16(builder->bytes + start + 10, (uint16_t)~checksum(0, builder->bytes + start, 20));
	put(builder, tcp->bytes, tcp->len);
}

/* Eight bytes of an extension header that wants nothing: PadN fills the rest. */
static void put_options(struct builder *builder, unsigned next)
{
	static const uint8_t padding[6] = {1, 4};

	put_u8(builder, next);
	put_u8(builder, 0);
	put(builder, padding, sizeof(padding));
}

/* Returns the first header's number. */
static unsigned build_extensions(struct builder *chain, const struct raw_packet *packet)
{
	static const uint8_t routing[6] = {253}; /* an experiment (RFC 4727), with nothing left to visit */
	unsigned last = IPPROTO_TCP;

	if (packet->fragment) {
		put_u8(chain, IPPROTO_TCP);
		put_u8(chain, 0);
		put_u16(chain, packet->fragment == 1 ? 1 : 64 << 3);
		put_u32(chain, 7);
		return IPPROTO_FRAGMENT;
	}
	if (packet->extension == RAW_NONE)
		return last;
	if (packet->extension == RAW_LONG_CHAIN) {
		for (int i = 0; i < 8; i++)
			put_options(chain, IPPROTO_DSTOPTS);
		put_options(chain, last);
		return IPPROTO_DSTOPTS;
	}
	put_options(chain, IPPROTO_ROUTING);
	put_u8(chain, IPPROTO_DSTOPTS);
	put_u8(chain, 0);
	put(chain, routing, sizeof(routing));
	put_options(chain, last);
	return IPPROTO_HOPOPTS;
}

static void build_ipv6(struct builder *builder, const struct raw_packet *packet, const struct builder *tcp)
{
	struct builder chain = {.len = 0};
	unsigned first = build_extensions(&chain, packet);

	put_u32(builder, 6u << 28 | packet->label);
	put_u16(builder, (unsigned)(chain.len + tcp->len));
	put_u8(builder, first);
	put_u8(builder, 61);
	put(builder, from_of(packet)->address, 16);
	put(builder, to_of(packet)->address, 16);
	put(builder, chain.bytes, chain.len);
	put(builder, tcp->bytes, tcp->len);
}

/* --- sending --- */

static int mac_of(const struct netns *netns, const char *name, uint8_t mac[static 6], int *interface)
{
	struct ifreq request = {0};
	int fd, result;

	if (netns_enter(netns) < 0)
		return -1;
	(void)snprintf(request.ifr_name, sizeof(request.ifr_name), "%s", name);
	*interface = (int)if_nametoindex(name);
	fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	result = ioctl(fd, SIOCGIFHWADDR, &request);
	memcpy(mac, request.ifr_hwaddr.sa_data, 6);
	(void)close(fd);
	return netns_leave() < 0 ? -1 : result;
}

static int socket_in(const struct netns *netns, int domain, int type, int protocol)
{
	int fd, size = RECEIVE_BUFFER;

	if (netns_enter(netns) < 0)
		return -1;
	fd = socket(domain, type | SOCK_CLOEXEC, protocol);
	if (fd >= 0)
		(void)setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size));
	if (netns_leave() < 0 && fd >= 0) {
		(void)close(fd);
		return -1;
	}
	return fd;
}

int raw_sender_open(struct raw_sender *sender, const struct netns *netns, const char *name, const struct netns *to,
		    const char *to_name)
{
	int ignored;

	sender->fd = -1;
	if (mac_of(to, to_name, sender->to_mac, &ignored) < 0 ||
	    mac_of(netns, name, sender->own_mac, &sender->interface) < 0)
		return -1;
	sender->fd = socket_in(netns, AF_PACKET, SOCK_RAW, 0);
	return sender->fd < 0 ? -1 : 0;
}

void raw_sender_close(struct raw_sender *sender)
{
	if (sender->fd >= 0)
		(void)close(sender->fd);
	sender->fd = -1;
}

static void build(struct builder *builder, const struct raw_packet *packet)
{
	struct builder tcp = {.len = 0};

	build_tcp(&tcp, packet);
	if (packet->flow->family == 4)
		build_ipv4(builder, packet, &tcp);
	else
		build_ipv6(builder, packet, &tcp);
}

static int transmit(const struct raw_sender *sender, unsigned family, const struct builder *packet)
{
	struct sockaddr_ll to = {
		.sll_family = AF_PACKET,
		.sll_ifindex = sender->interface,
		.sll_protocol = htons(family == 4 ? ETH_P_IP : ETH_P_IPV6),
	};
	struct builder frame = {.len = 0};

	put(&frame, sender->to_mac, 6);
	put(&frame, sender->own_mac, 6);
	put_u16(&frame, family == 4 ? ETH_P_IP : ETH_P_IPV6);
	put(&frame, packet->bytes, packet->len);
	return sendto(sender->fd, frame.bytes, frame.len, 0, (struct sockaddr *)&to, sizeof(to)) < 0 ? -1 : 0;
}

int raw_send(const struct raw_sender *sender, const struct raw_packet *packet)
{
	struct builder builder = {.len = 0};

	build(&builder, packet);
	return transmit(sender, packet->flow->family, &builder);
}

int raw_send_too_big(const struct raw_sender *sender, const struct tcp_state *flow)
{
	bool v4 = flow->family == 4;
	struct raw_packet cause = {.flow = flow, .reverse = true, .flags = 0x10};
	struct raw_packet carrier = {.flow = flow};
	struct builder message = {.len = 0}, packet = {.len = 0};
	uint32_t sum;

	put_u16(&message, v4 ? 0x0304 : 0x0200);
	put_u16(&message, 0);
	put_u32(&message, 1300);
	build(&message, &cause);
	sum = checksum(0, message.bytes, message.len);
	if (!v4) {
		sum = checksum(sum + IPPROTO_ICMPV6 + (uint32_t)message.len, flow->remote.address, 16);
		sum = checksum(sum, flow->local.address, 16);
	}
	set_u16(message.bytes + 2, (uint16_t)~sum);
	if (v4)
		build_ipv4(&packet, &carrier, &message);
	else
		build_ipv6(&packet, &carrier, &message);
	/* Another protocol, and the IPv4 header's checksum after it. */
	packet.bytes[v4 ? 9 : 6] = v4 ? IPPROTO_ICMP : IPPROTO_ICMPV6;
	if (v4) {
		set_u16(packet.bytes + 10, 0);
		set_u16(packet.bytes + 10, (uint16_t)~checksum(0, packet.bytes, 20));
	}
	return transmit(sender, flow->family, &packet);
}

/* --- watching --- */

int raw_watch_wire(struct raw_watcher *watcher, const struct netns *netns, const char *name)
{
	struct sockaddr_ll on = {.sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_ALL)};
	uint8_t ignored[6];

	*watcher = (struct raw_watcher){.fd = -1, .kind = RAW_WIRE};
	if (mac_of(netns, name, ignored, &on.sll_ifindex) < 0)
		return -1;
	watcher->fd = socket_in(netns, AF_PACKET, SOCK_RAW, 0);
	if (watcher->fd < 0)
		return -1;
	return bind(watcher->fd, (struct sockaddr *)&on, sizeof(on));
}

int raw_watch_stack(struct raw_watcher *watcher, const struct netns *netns, int family)
{
	watcher->kind = family == 4 ? RAW_STACK4 : RAW_STACK6;
	watcher->fd = socket_in(netns, family == 4 ? AF_INET : AF_INET6, SOCK_RAW, IPPROTO_TCP);
	return watcher->fd < 0 ? -1 : 0;
}

void raw_watcher_close(struct raw_watcher *watcher)
{
	if (watcher->fd >= 0)
		(void)close(watcher->fd);
	watcher->fd = -1;
}

static bool read_tcp(const uint8_t *tcp, size_t len, struct raw_seen *seen)
{
	if (len < 20)
		return false;
	seen->source_port = (uint16_t)(tcp[0] << 8 | tcp[1]);
	seen->port = (uint16_t)(tcp[2] << 8 | tcp[3]);
	seen->seq = (uint32_t)tcp[4] << 24 | (uint32_t)tcp[5] << 16 | (uint32_t)tcp[6] << 8 | tcp[7];
	seen->flags = tcp[13];
	return true;
}

static bool read_ipv6(const uint8_t *ip, size_t len, struct raw_seen *seen)
{
	size_t offset = 40;
	uint8_t next = ip[6];

	while (next != IPPROTO_TCP && offset + 8 <= len) {
		if (next == IPPROTO_FRAGMENT && (ip[offset + 2] || ip[offset + 3] & 0xf8)) {
			seen->fragment = true;
			return ip[offset] == IPPROTO_TCP;
		}
		if (next != IPPROTO_FRAGMENT && next != IPPROTO_HOPOPTS && next != IPPROTO_ROUTING &&
		    next != IPPROTO_DSTOPTS)
			return false;
		next = ip[offset];
		offset += 8;
	}
	return next == IPPROTO_TCP && offset < len && read_tcp(ip + offset, len - offset, seen);
}

static bool read_packet(const struct raw_watcher *watcher, const uint8_t *bytes, size_t len, struct raw_seen *seen)
{
	const uint8_t *ip = bytes + (watcher->kind == RAW_WIRE ? 14 : 0);

	memset(seen, 0, sizeof(*seen));
	if (watcher->kind == RAW_STACK6)
		return read_tcp(bytes, len, seen);
	if (len < 34)
		return false;
	if (watcher->kind == RAW_WIRE)
		memcpy(seen->source_mac, bytes + 6, 6);
	len -= (size_t)(ip - bytes);
	seen->hop_limit = ip[ip[0] >> 4 == 6 ? 7 : 8];
	seen->too_big = ip[0] >> 4 == 6 ? ip[6] == IPPROTO_ICMPV6 && ip[40] == 2 : ip[9] == IPPROTO_ICMP && ip[20] == 3;
	if (seen->too_big)
		return true;
	if (ip[0] >> 4 == 6)
		return len >= 40 && read_ipv6(ip, len, seen);
	return ip[0] >> 4 == 4 && ip[9] == IPPROTO_TCP &&
	       read_tcp(ip + (ip[0] & 15) * 4, len - (size_t)(ip[0] & 15) * 4, seen);
}

static int64_t milliseconds_now(void)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

int raw_next(const struct raw_watcher *watcher, struct raw_seen *seen, int milliseconds)
{
	static uint8_t bytes[PACKET_MAX];
	struct pollfd readable = {.fd = watcher->fd, .events = POLLIN};
	struct sockaddr_ll from = {0};
	socklen_t from_len = sizeof(from);
	int64_t end = milliseconds_now() + milliseconds, left;
	ssize_t len;

	for (left = milliseconds; left >= 0; left = end - milliseconds_now()) {
		if (poll(&readable, 1, (int)left) <= 0)
			continue;
		from_len = sizeof(from);
		len = recvfrom(watcher->fd, bytes, sizeof(bytes), MSG_DONTWAIT, (struct sockaddr *)&from, &from_len);
		if (len < 0 || (watcher->kind == RAW_WIRE && from.sll_pkttype == PACKET_OUTGOING))
			continue;
		if (read_packet(watcher, bytes, (size_t)len, seen))
			return 0;
	}
	return -1;
}

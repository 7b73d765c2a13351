/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "connection_tracking.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/netfilter/nf_conntrack_common.h>
#include <linux/netfilter/nf_conntrack_tcp.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_conntrack.h>
#include <linux/netlink.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define SYSCTL_FOLDER "/proc/sys/net/netfilter/nf_conntrack_"
#define ORIGINAL_DESTINATION 80 /* SO_ORIGINAL_DST and IP6T_SO_ORIGINAL_DST of linux/netfilter_ipv[46] */
#define ENTRY_TIMEOUT_S 432000u /* the kernel's own default for established connections */
#define HEAD_LEN ((uint32_t)sizeof(struct nlattr))
#define REQUEST_MAX 512
#define ANSWER_MAX 1024

struct request {
	_Alignas(struct nlmsghdr) uint8_t bytes[REQUEST_MAX];
	uint32_t len;
};

/* --- the host --- */

/* Reads a number of at most 20 digits. Returns it, or -1. */
static long read_setting(const char *path)
{
	char text[24];
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);

	if (fd >= 0)
		(void)close(fd);
	if (n <= 0)
		return -1;
	text[n] = '\0';
	return strtol(text, NULL, 10);
}

static bool is_liberal(void)
{
	return read_setting(SYSCTL_FOLDER "tcp_be_liberal") > 0;
}

bool connection_tracking_is_active(void)
{
	/* The kernel shows these files whether anything is tracked or not; a host that tracks knows some connection. */
	return read_setting(SYSCTL_FOLDER "count") > 0;
}

bool connection_tracking_was_active(struct connection_tracking *tracking, double now)
{
	if (now >= tracking->until) {
		tracking->active = connection_tracking_is_active();
		tracking->until = now + CONNECTION_TRACKING_KEPT_S;
	}
	return tracking->active;
}

void connection_tracking_look(struct connection_tracking_host *host)
{
	host->active = connection_tracking_is_active();
	host->liberal = is_liberal();
	host->loose = read_setting(SYSCTL_FOLDER "tcp_loose") != 0;
}

/* --- requests to the kernel --- */

static void request_add(struct request *request, uint16_t type, const void *value, uint32_t len)
{
	struct nlattr *attribute = (struct nlattr *)(request->bytes + request->len);

	attribute->nla_type = type;
	attribute->nla_len = (uint16_t)(HEAD_LEN + len);
	if (len)
		memcpy((uint8_t *)attribute + HEAD_LEN, value, len);
	request->len += (HEAD_LEN + len + 3U) & ~3U;
}

/* Returns where the nest begins, for request_close(). */
static uint32_t request_open(struct request *request, uint16_t type)
{
	uint32_t start = request->len;

	request_add(request, (uint16_t)(type | NLA_F_NESTED), NULL, 0);
	return start;
}

static void request_close(struct request *request, uint32_t start)
{
	((struct nlattr *)(request->bytes + start))->nla_len = (uint16_t)(request->len - start);
}

static void request_begin(struct request *request, uint16_t type, uint16_t flags, uint8_t family)
{
	struct nlmsghdr *header = (struct nlmsghdr *)request->bytes;
	struct nfgenmsg *message = NLMSG_DATA(header);

	memset(request, 0, sizeof(*request));
	header->nlmsg_type = (uint16_t)(NFNL_SUBSYS_CTNETLINK << 8 | type);
	header->nlmsg_flags = (uint16_t)(NLM_F_REQUEST | NLM_F_ACK | flags);
	message->nfgen_family = family == 6 ? AF_INET6 : AF_INET;
	message->version = NFNETLINK_V0;
	request->len = NLMSG_SPACE(sizeof(*message));
}

static void request_add_tuple(struct request *request, uint16_t type, uint8_t family, const struct tcp_endpoint *from,
			      const struct tcp_endpoint *to)
{
	const uint32_t len = family == 6 ? 16 : 4;
	const uint16_t from_port = htons(from->port), to_port = htons(to->port);
	const uint8_t protocol = IPPROTO_TCP;
	uint32_t tuple = request_open(request, type), part = request_open(request, CTA_TUPLE_IP);

	request_add(request, family == 6 ? CTA_IP_V6_SRC : CTA_IP_V4_SRC, from->address, len);
	request_add(request, family == 6 ? CTA_IP_V6_DST : CTA_IP_V4_DST, to->address, len);
	request_close(request, part);
	part = request_open(request, CTA_TUPLE_PROTO);
	request_add(request, CTA_PROTO_NUM, &protocol, sizeof(protocol));
	request_add(request, CTA_PROTO_SRC_PORT, &from_port, sizeof(from_port));
	request_add(request, CTA_PROTO_DST_PORT, &to_port, sizeof(to_port));
	request_close(request, part);
	request_close(request, tuple);
}

/* Exempts both directions; <state> of enum tcp_conntrack, or 0 to leave it. */
static void request_add_exemption(struct request *request, uint8_t state)
{
	const struct nf_ct_tcp_flags liberal = {.flags = IP_CT_TCP_FLAG_BE_LIBERAL, .mask = IP_CT_TCP_FLAG_BE_LIBERAL};
	const uint32_t timeout = htonl(ENTRY_TIMEOUT_S);
	uint32_t info = request_open(request, CTA_PROTOINFO), tcp = request_open(request, CTA_PROTOINFO_TCP);

	if (state)
		request_add(request, CTA_PROTOINFO_TCP_STATE, &state, sizeof(state));
	request_add(request, CTA_PROTOINFO_TCP_FLAGS_ORIGINAL, &liberal, sizeof(liberal));
	request_add(request, CTA_PROTOINFO_TCP_FLAGS_REPLY, &liberal, sizeof(liberal));
	request_close(request, tcp);
	request_close(request, info);
	request_add(request, CTA_TIMEOUT, &timeout, sizeof(timeout));
}

/* Returns 0, or -1 with errno: ENOENT, the kernel does not know the connection. */
static int read_answer(const struct connection_tracking *tracking)
{
	_Alignas(struct nlmsghdr) uint8_t answer[ANSWER_MAX];
	const struct nlmsghdr *header = (const struct nlmsghdr *)answer;

	for (;;) {
		/* The kernel has answered within send(). */
		ssize_t n = recv(tracking->netlink, answer, sizeof(answer), MSG_DONTWAIT);

		if (n < 0)
			return -1;
		if (!NLMSG_OK(header, (size_t)n) || header->nlmsg_type != NLMSG_ERROR ||
		    header->nlmsg_len < NLMSG_LENGTH(sizeof(struct nlmsgerr))) {
			errno = EPROTO;
			return -1;
		}
		if (header->nlmsg_seq != tracking->sequence)
			continue; /* of a request whose answer could not be read in its time */
		errno = -((const struct nlmsgerr *)NLMSG_DATA(header))->error;
		return errno == 0 ? 0 : -1;
	}
}

static int request_send(struct connection_tracking *tracking, struct request *request)
{
	struct nlmsghdr *header = (struct nlmsghdr *)request->bytes;

	if (tracking->netlink < 0) {
		errno = EPROTONOSUPPORT;
		return -1;
	}
	header->nlmsg_len = request->len;
	header->nlmsg_seq = ++tracking->sequence;
	if (send(tracking->netlink, request->bytes, request->len, 0) < 0)
		return -1;
	return read_answer(tracking);
}

static int request_exemption(struct connection_tracking *tracking, uint8_t family, const struct tcp_endpoint *client,
			     const struct tcp_endpoint *site)
{
	struct request request;

	request_begin(&request, IPCTNL_MSG_CT_NEW, 0, family);
	request_add_tuple(&request, CTA_TUPLE_ORIG, family, client, site);
	request_add_exemption(&request, 0);
	return request_send(tracking, &request);
}

/* --- connections --- */

/* Returns its family, 4 or 6 (an IPv4-mapped address is IPv4), or 0. */
static uint8_t read_endpoint(const struct sockaddr_storage *address, struct tcp_endpoint *endpoint)
{
	const struct sockaddr_in *v4 = (const struct sockaddr_in *)address;
	const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)address;

	memset(endpoint, 0, sizeof(*endpoint));
	if (address->ss_family == AF_INET) {
		memcpy(endpoint->address, &v4->sin_addr, 4);
		endpoint->port = ntohs(v4->sin_port);
		return 4;
	}
	if (address->ss_family != AF_INET6)
		return 0;
	endpoint->port = ntohs(v6->sin6_port);
	if (IN6_IS_ADDR_V4MAPPED(&v6->sin6_addr)) {
		memcpy(endpoint->address, v6->sin6_addr.s6_addr + 12, 4);
		return 4;
	}
	memcpy(endpoint->address, &v6->sin6_addr, 16);
	return 6;
}

/* Returns their family, or 0 if <fd> is not connected. */
static uint8_t read_endpoints(int fd, struct tcp_endpoint *client, struct tcp_endpoint *site)
{
	struct sockaddr_storage local = {.ss_family = AF_UNSPEC}, remote = {.ss_family = AF_UNSPEC};
	socklen_t local_len = sizeof(local), remote_len = sizeof(remote);
	uint8_t family;

	if (getsockname(fd, (struct sockaddr *)&local, &local_len) < 0 ||
	    getpeername(fd, (struct sockaddr *)&remote, &remote_len) < 0)
		return 0;
	family = read_endpoint(&local, site);
	return family == read_endpoint(&remote, client) ? family : 0;
}

enum connection_tracking_fate connection_tracking_exempt(struct connection_tracking *tracking, int fd)
{
	struct sockaddr_storage original = {.ss_family = AF_UNSPEC};
	struct tcp_endpoint client, site, destination;
	socklen_t len = sizeof(original);
	uint8_t family = read_endpoints(fd, &client, &site);
	int error;

	if (!family)
		return CONNECTION_UNTRACKED;
	if (getsockopt(fd, family == 6 ? IPPROTO_IPV6 : IPPROTO_IP, ORIGINAL_DESTINATION, &original, &len) < 0)
		return CONNECTION_UNTRACKED;
	if (read_endpoint(&original, &destination) != family ||
	    memcmp(destination.address, site.address, sizeof(site.address)) != 0 || destination.port != site.port)
		return CONNECTION_TRANSLATED;
	if (request_exemption(tracking, family, &client, &site) == 0)
		return CONNECTION_EXEMPT;
	error = errno;
	if (error == ENOENT || is_liberal())
		return error == ENOENT ? CONNECTION_UNTRACKED : CONNECTION_EXEMPT;
	errno = error;
	return CONNECTION_JUDGED;
}

int connection_tracking_add(struct connection_tracking *tracking, const struct tcp_state *state)
{
	const uint32_t status = htonl(IPS_CONFIRMED | IPS_SEEN_REPLY | IPS_ASSURED);
	struct request request;

	request_begin(&request, IPCTNL_MSG_CT_NEW, NLM_F_CREATE, state->family);
	request_add_tuple(&request, CTA_TUPLE_ORIG, state->family, &state->remote, &state->local);
	request_add_tuple(&request, CTA_TUPLE_REPLY, state->family, &state->local, &state->remote);
	request_add(&request, CTA_STATUS, &status, sizeof(status));
	request_add_exemption(&request, TCP_CONNTRACK_ESTABLISHED);
	return request_send(tracking, &request);
}

void connection_tracking_remove(struct connection_tracking *tracking, const struct connection_tracking_flow *flow)
{
	struct request request;

	request_begin(&request, IPCTNL_MSG_CT_DELETE, 0, flow->family);
	request_add_tuple(&request, CTA_TUPLE_ORIG, flow->family, &flow->client, &flow->site);
	(void)request_send(tracking, &request);
}

/* --- life --- */

void connection_tracking_open(struct connection_tracking *tracking)
{
	tracking->netlink = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_NETFILTER);
	tracking->sequence = 0;
	tracking->active = false;
	tracking->until = 0;
}

void connection_tracking_close(struct connection_tracking *tracking)
{
	if (tracking->netlink >= 0)
		(void)close(tracking->netlink);
	tracking->netlink = -1;
}

int connection_tracking_works(struct connection_tracking *tracking)
{
	/* No connection has these ends. */
	const struct tcp_endpoint nobody = {.address = {127, 0, 0, 1}, .port = 1};

	if (request_exemption(tracking, 4, &nobody, &nobody) == 0 || errno == ENOENT)
		return 0;
	return -1;
}

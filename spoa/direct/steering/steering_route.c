/* SPDX-License-Identifier: GPL-2.0-or-later */
/* How a node is reached: asked of the kernel by rtnetlink(7), one question and one answer each. */
#include <errno.h>
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "steering.h"

#define ANSWER_MAX 8192
#define ANSWER_SECONDS 1 /* the kernel answers at once; never wait for ever */

struct question {
	struct nlmsghdr header;
	union {
		struct rtmsg route;
		struct ndmsg neighbour;
		uint8_t room[128];
	} body;
};

struct answer {
	_Alignas(struct nlmsghdr) uint8_t bytes[ANSWER_MAX];
};

static const void *ip_of(const struct address *address, size_t *len)
{
	if (address->storage.ss_family == AF_INET) {
		*len = sizeof(struct in_addr);
		return &((const struct sockaddr_in *)&address->storage)->sin_addr;
	}
	*len = sizeof(struct in6_addr);
	return &((const struct sockaddr_in6 *)&address->storage)->sin6_addr;
}

static void question_begin(struct question *question, uint16_t type, uint16_t flags, size_t body)
{
	memset(question, 0, sizeof(*question));
	question->header.nlmsg_len = NLMSG_LENGTH((uint32_t)body);
	question->header.nlmsg_type = type;
	question->header.nlmsg_flags = (uint16_t)(NLM_F_REQUEST | flags);
}

static void question_add(struct question *question, uint16_t type, const void *value, size_t len)
{
	struct rtattr *attribute = (void *)((uint8_t *)question + NLMSG_ALIGN(question->header.nlmsg_len));

	attribute->rta_type = type;
	attribute->rta_len = (uint16_t)RTA_LENGTH(len);
	memcpy(RTA_DATA(attribute), value, len);
	question->header.nlmsg_len =
		(uint32_t)(NLMSG_ALIGN(question->header.nlmsg_len) + RTA_ALIGN(attribute->rta_len));
}

/* Returns the answer's header, which lies in <answer>, or NULL with errno: what the kernel says is wrong. An
 * acknowledgement comes as a header of type NLMSG_ERROR. */
static const struct nlmsghdr *ask(const struct question *question, struct answer *answer)
{
	struct timeval patience = {.tv_sec = ANSWER_SECONDS};
	const struct nlmsghdr *header = (const void *)answer->bytes;
	const struct nlmsgerr *fault = NLMSG_DATA(header);
	int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
	ssize_t got = -1;
	int error;

	if (fd < 0)
		return NULL;
	if (setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience)) == 0 &&
	    send(fd, question, question->header.nlmsg_len, 0) >= 0)
		got = recv(fd, answer->bytes, sizeof(answer->bytes), 0);
	error = errno;
	(void)close(fd);
	errno = error;
	if (got < 0)
		return NULL;
	errno = EPROTO;
	if (!NLMSG_OK(header, (size_t)got))
		return NULL;
	if (header->nlmsg_type != NLMSG_ERROR)
		return header;
	if (header->nlmsg_len < NLMSG_LENGTH(sizeof(*fault)))
		return NULL;
	errno = -fault->error;
	return fault->error == 0 ? header : NULL;
}

/* --- routes --- */

struct route_answer {
	unsigned interface;
	int type; /* RTN_UNICAST, ... */
	bool gateway;
};

static int ask_route(const struct address *node, struct route_answer *found)
{
	struct question question;
	struct answer answer;
	const struct nlmsghdr *header;
	const struct rtmsg *route;
	const struct rtattr *attribute;
	size_t len, rest;
	const void *ip = ip_of(node, &len);
	uint32_t scope =
		node->storage.ss_family == AF_INET6 ? ((const struct sockaddr_in6 *)&node->storage)->sin6_scope_id : 0;

	question_begin(&question, RTM_GETROUTE, 0, sizeof(question.body.route));
	question.body.route.rtm_family = (uint8_t)node->storage.ss_family;
	question.body.route.rtm_dst_len = (uint8_t)(len * 8);
	question_add(&question, RTA_DST, ip, len);
	if (scope != 0)
		question_add(&question, RTA_OIF, &scope, sizeof(scope));
	header = ask(&question, &answer);
	if (!header)
		return -1;
	route = NLMSG_DATA(header);
	*found = (struct route_answer){.type = route->rtm_type};
	rest = RTM_PAYLOAD(header);
	for (attribute = RTM_RTA(route); RTA_OK(attribute, rest); attribute = RTA_NEXT(attribute, rest)) {
		if (attribute->rta_type == RTA_OIF)
			memcpy(&found->interface, RTA_DATA(attribute), sizeof(found->interface));
		if (attribute->rta_type == RTA_GATEWAY || attribute->rta_type == RTA_VIA)
			found->gateway = true;
	}
	return 0;
}

enum property { PROPERTY_FLAGS, PROPERTY_MTU, PROPERTY_TYPE };

/* Returns the property of interface <name>, or -1 with errno. */
static int interface_property(const char *name, enum property property)
{
	static const unsigned long calls[] = {SIOCGIFFLAGS, SIOCGIFMTU, SIOCGIFHWADDR};
	struct ifreq request = {0};
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), result;

	if (fd < 0)
		return -1;
	(void)snprintf(request.ifr_name, sizeof(request.ifr_name), "%s", name);
	result = ioctl(fd, calls[property], &request);
	(void)close(fd);
	if (result < 0)
		return -1;
	if (property == PROPERTY_FLAGS)
		return (unsigned short)request.ifr_flags;
	return property == PROPERTY_MTU ? request.ifr_mtu : request.ifr_hwaddr.sa_family;
}

static int refuse(char *error, size_t error_size, const struct address *node, const char *why, const char *interface)
{
	struct address bare = *node;
	char text[ADDRESS_TEXT_MAX], *port;

	port = strrchr(address_format(&bare, text), ':');
	if (port)
		*port = '\0';
	(void)snprintf(error, error_size, "node %s: %s%s", text, why, interface);
	return -1;
}

/* The clients' interface with the largest MTU: what comes in there must go out to the node. */
static int clients_mtu(const struct steering *steering, char name[static IF_NAMESIZE])
{
	char other[IF_NAMESIZE];
	const unsigned *interfaces;
	size_t count;
	int largest = 0;

	interfaces = steering_interfaces(steering, &count);
	for (size_t i = 0; i < count; i++) {
		int mtu = if_indextoname(interfaces[i], other) ? interface_property(other, PROPERTY_MTU) : 0;

		if (mtu > largest) {
			largest = mtu;
			memcpy(name, other, IF_NAMESIZE);
		}
	}
	return largest;
}

static int check_interface(struct steering *steering, const struct address *node, struct steering_route *route,
			   char *error, size_t error_size)
{
	const char *name = route->interface_name;
	char clients[IF_NAMESIZE] = "", why[128];
	int wanted = clients_mtu(steering, clients);
	int flags = interface_property(name, PROPERTY_FLAGS), mtu = interface_property(name, PROPERTY_MTU);

	if (flags < 0 || mtu < 0)
		return refuse(error, error_size, node, "cannot ask for the state of interface ", name);
	if (interface_property(name, PROPERTY_TYPE) != ARPHRD_ETHER)
		return refuse(error, error_size, node, "is reached through an interface that is not Ethernet: ", name);
	if (!(flags & IFF_UP) || !(flags & IFF_RUNNING))
		return refuse(error, error_size, node, "is reached through an interface that is down: ", name);
	route->mtu = (unsigned)mtu;
	if (mtu >= wanted)
		return 0;
	(void)snprintf(why, sizeof(why), "interface %s to it has MTU %d, smaller than %d of the clients' interface ",
		       name, mtu, wanted);
	return refuse(error, error_size, node, why, clients);
}

int steering_route_find(struct steering *steering, const struct address *node, struct steering_route *route,
			char *error, size_t error_size)
{
	struct route_answer found = {0};

	memset(route, 0, sizeof(*route));
	route->node = *node;
	if (node->storage.ss_family != AF_INET && node->storage.ss_family != AF_INET6)
		return refuse(error, error_size, node, "not an IP address", "");
	if (ask_route(node, &found) < 0)
		return refuse(error, error_size, node, "no route to it: ", strerror(errno));
	if (found.type != RTN_UNICAST)
		return refuse(error, error_size, node,
			      found.type == RTN_LOCAL ? "is an address of this host" : "is no address of a single host",
			      "");
	if (!if_indextoname(found.interface, route->interface_name))
		return refuse(error, error_size, node, "no interface leads to it", "");
	route->interface = found.interface;
	if (found.gateway)
		return refuse(error, error_size, node, "is reached only through a gateway, on interface ",
			      route->interface_name);
	return check_interface(steering, node, route, error, error_size);
}

/* --- neighbours --- */

/* Lets the kernel resolve the address, as if it had a packet for it. */
static void request_neighbour(const struct steering_route *route)
{
	struct question question;
	struct answer answer;
	size_t len;
	const void *ip = ip_of(&route->node, &len);

	question_begin(&question, RTM_NEWNEIGH, NLM_F_CREATE | NLM_F_ACK, sizeof(question.body.neighbour));
	question.body.neighbour.ndm_family = (uint8_t)route->node.storage.ss_family;
	question.body.neighbour.ndm_ifindex = (int)route->interface;
	question.body.neighbour.ndm_flags = NTF_USE;
	question_add(&question, NDA_DST, ip, len);
	/* Without an answer the next packet for the node does the same. */
	(void)ask(&question, &answer);
}

/* Stores the entry's state (NUD_...). Returns 0, or -1 with errno: ENOENT, nobody has asked for it yet. */
static int ask_neighbour(const struct steering_route *route, unsigned *state)
{
	struct question question;
	struct answer answer;
	const struct nlmsghdr *header;
	size_t len;
	const void *ip = ip_of(&route->node, &len);

	question_begin(&question, RTM_GETNEIGH, 0, sizeof(question.body.neighbour));
	question.body.neighbour.ndm_family = (uint8_t)route->node.storage.ss_family;
	question.body.neighbour.ndm_ifindex = (int)route->interface;
	question_add(&question, NDA_DST, ip, len);
	header = ask(&question, &answer);
	if (!header)
		return -1;
	*state = ((const struct ndmsg *)NLMSG_DATA(header))->ndm_state;
	return 0;
}

enum steering_neighbour steering_route_neighbour(const struct steering_route *route)
{
	unsigned state = NUD_NONE;
	bool exists = ask_neighbour(route, &state) == 0 || errno != ENODEV;

	/* A stale one, too: it may have gone away since, and clients' packets should not be the first to find out. */
	if (!(state & (NUD_REACHABLE | NUD_DELAY | NUD_PROBE | NUD_INCOMPLETE | NUD_PERMANENT | NUD_NOARP)))
		request_neighbour(route);
	if (!exists || (state & NUD_FAILED))
		return STEERING_NEIGHBOUR_SILENT;
	return state & ~(unsigned)NUD_INCOMPLETE ? STEERING_NEIGHBOUR_ANSWERS : STEERING_NEIGHBOUR_UNKNOWN;
}

bool steering_route_usable(const struct steering_route *route)
{
	unsigned state = NUD_NONE;
	bool exists = ask_neighbour(route, &state) == 0 || errno != ENODEV;

	if (state == NUD_NONE)
		request_neighbour(route);
	return exists && !(state & NUD_FAILED);
}

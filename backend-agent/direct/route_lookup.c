/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "route_lookup.h"

#include <errno.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <stdbool.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define ANSWER_MAX 4096

struct question {
	struct nlmsghdr header;
	struct rtmsg route;
	uint8_t attributes[2 * RTA_SPACE(16)];
};

static void add_address(struct question *question, unsigned short type, const uint8_t *address, size_t len)
{
	struct rtattr *attribute = (struct rtattr *)((uint8_t *)question + NLMSG_ALIGN(question->header.nlmsg_len));

	attribute->rta_type = type;
	attribute->rta_len = (unsigned short)RTA_LENGTH(len);
	memcpy(RTA_DATA(attribute), address, len);
	question->header.nlmsg_len = NLMSG_ALIGN(question->header.nlmsg_len) + (uint32_t)RTA_SPACE(len);
}

static void read_metrics(struct route_found *found, const struct rtattr *metrics)
{
	const struct rtattr *metric = RTA_DATA(metrics);
	unsigned left = (unsigned)RTA_PAYLOAD(metrics);

	for (; RTA_OK(metric, left); metric = RTA_NEXT(metric, left))
		if (metric->rta_type == RTAX_MTU)
			memcpy(&found->mtu, RTA_DATA(metric), sizeof(found->mtu));
}

/* Reads the kernel's answer. Returns 0, or -1 with errno. */
static int read_answer(const struct nlmsghdr *header, unsigned len, struct route_found *found)
{
	const struct rtattr *attribute;
	unsigned left;

	if (!NLMSG_OK(header, len)) {
		errno = EPROTO;
		return -1;
	}
	if (header->nlmsg_type == NLMSG_ERROR) {
		errno = -((const struct nlmsgerr *)NLMSG_DATA(header))->error;
		return -1;
	}
	*found = (struct route_found){0, 0};
	attribute = RTM_RTA((const struct rtmsg *)NLMSG_DATA(header));
	left = (unsigned)RTM_PAYLOAD(header);
	for (; RTA_OK(attribute, left); attribute = RTA_NEXT(attribute, left)) {
		if (attribute->rta_type == RTA_OIF)
			memcpy(&found->interface, RTA_DATA(attribute), sizeof(found->interface));
		else if (attribute->rta_type == RTA_METRICS)
			read_metrics(found, attribute);
	}
	if (found->interface == 0)
		errno = ENETUNREACH;
	return found->interface != 0 ? 0 : -1;
}

static int ask(const struct question *question, struct route_found *found)
{
	_Alignas(struct nlmsghdr) uint8_t answer[ANSWER_MAX];
	int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE), result = -1, error;
	ssize_t n = -1;

	if (fd < 0)
		return -1;
	if (send(fd, question, question->header.nlmsg_len, 0) == (ssize_t)question->header.nlmsg_len)
		n = recv(fd, answer, sizeof(answer), MSG_DONTWAIT); /* the kernel has answered within send() */
	if (n >= 0)
		result = read_answer((const struct nlmsghdr *)answer, (unsigned)n, found);
	error = errno;
	close(fd);
	errno = error;
	return result;
}

int route_lookup(uint8_t family, const uint8_t *destination, const uint8_t *source, struct route_found *found)
{
	size_t len = family == 6 ? 16 : 4;
	struct question question = {
		.header = {.nlmsg_len = NLMSG_LENGTH(sizeof(struct rtmsg)),
			   .nlmsg_type = RTM_GETROUTE,
			   .nlmsg_flags = NLM_F_REQUEST,
			   .nlmsg_seq = 1},
		.route = {.rtm_family = family == 6 ? AF_INET6 : AF_INET, .rtm_dst_len = (unsigned char)(8 * len)},
	};

	add_address(&question, RTA_DST, destination, len);
	if (source) {
		question.route.rtm_src_len = (unsigned char)(8 * len);
		add_address(&question, RTA_SRC, source, len);
	}
	return ask(&question, found);
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "traffic_filter.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "log.h"

#define PRIORITY 1

__attribute__((format(printf, 2, 0))) static int log_message(enum libbpf_print_level level, const char *format,
							     va_list arguments)
{
	char *text, *line, *rest;
	int len;

	(void)level;
	if (!log_enabled(LOG_LEVEL_DEBUG))
		return 0;
	len = vasprintf(&text, format, arguments);
	if (len < 0)
		return len;
	/* The verifier's opinion comes as one message. */
	for (line = strtok_r(text, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest))
		log_debug("%s", line);
	free(text);
	return len;
}

void traffic_filter_log(void)
{
	(void)libbpf_set_print(log_message);
}

unsigned traffic_interface(const char *name, char *error, size_t error_size)
{
	struct ifreq request = {0};
	unsigned interface = if_nametoindex(name);
	int fd, failed;

	if (interface == 0 || strlen(name) >= sizeof(request.ifr_name)) {
		(void)snprintf(error, error_size, "there is no interface %s", name);
		return 0;
	}
	memcpy(request.ifr_name, name, strlen(name));
	fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	failed = fd < 0 || ioctl(fd, SIOCGIFHWADDR, &request) < 0;
	if (failed)
		(void)snprintf(error, error_size, "interface %s: %s", name, strerror(errno));
	if (fd >= 0)
		(void)close(fd);
	if (failed)
		return 0;
	if (request.ifr_hwaddr.sa_family != ARPHRD_ETHER) {
		(void)snprintf(error, error_size, "interface %s is not Ethernet", name);
		return 0;
	}
	return interface;
}

/* libbpf refuses structures with anything but zeros behind what it knows, their padding too: they are filled in
 * place. */
static void set_hook(struct bpf_tc_hook *hook, unsigned interface, enum traffic_direction direction)
{
	memset(hook, 0, sizeof(*hook));
	hook->sz = sizeof(*hook);
	hook->ifindex = (int)interface;
	hook->attach_point = direction == TRAFFIC_INGRESS ? BPF_TC_INGRESS : BPF_TC_EGRESS;
}

static void set_options(struct bpf_tc_opts *options, enum traffic_filter filter)
{
	memset(options, 0, sizeof(*options));
	options->sz = sizeof(*options);
	options->handle = filter;
	options->priority = PRIORITY;
}

int traffic_filter_attach(unsigned interface, enum traffic_direction direction, enum traffic_filter filter,
			  int program_fd, char *error, size_t error_size)
{
	struct bpf_tc_hook hook;
	struct bpf_tc_opts options;
	char name[IF_NAMESIZE] = "";
	int result;

	set_hook(&hook, interface, direction);
	set_options(&options, filter);
	result = bpf_tc_hook_create(&hook);
	(void)if_indextoname(interface, name);
	if (result < 0 && result != -EEXIST) {
		(void)snprintf(error, error_size, "interface %s: cannot add clsact: %s%s", name, strerror(-result),
			       result == -ENOENT || result == -EOPNOTSUPP ? " (a kernel without CONFIG_NET_SCH_INGRESS)"
									  : "");
		return -1;
	}
	options.prog_fd = program_fd;
	options.flags = BPF_TC_F_REPLACE;
	result = bpf_tc_attach(&hook, &options);
	if (result < 0) {
		(void)snprintf(error, error_size, "interface %s: cannot attach a filter: %s%s", name, strerror(-result),
			       result == -ENOENT || result == -EOPNOTSUPP ? " (a kernel without CONFIG_NET_CLS_BPF)"
									  : "");
		return -1;
	}
	return 0;
}

uint32_t traffic_filter_find(unsigned interface, enum traffic_direction direction, enum traffic_filter filter)
{
	struct bpf_tc_hook hook;
	struct bpf_tc_opts options;

	set_hook(&hook, interface, direction);
	set_options(&options, filter);
	return bpf_tc_query(&hook, &options) < 0 ? 0 : options.prog_id;
}

void traffic_filter_detach(unsigned interface, enum traffic_direction direction, enum traffic_filter filter,
			   uint32_t program)
{
	struct bpf_tc_hook hook;
	struct bpf_tc_opts options;
	uint32_t attached = traffic_filter_find(interface, direction, filter);
	int result;

	if (!attached || (program != 0 && program != attached))
		return;
	set_hook(&hook, interface, direction);
	set_options(&options, filter);
	result = bpf_tc_detach(&hook, &options);
	if (result < 0)
		log_warning("interface %u: cannot detach a filter: %s", interface, strerror(-result));
}

uint32_t traffic_program_number(int program_fd)
{
	struct bpf_prog_info information = {0};
	uint32_t len = sizeof(information);

	return bpf_obj_get_info_by_fd(program_fd, &information, &len) < 0 ? 0 : information.id;
}

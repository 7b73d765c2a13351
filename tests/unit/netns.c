/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "netns.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#define OWN_NAMESPACE "/proc/thread-self/ns/net"
#define COMMAND_MAX 1024

static int home = -1; /* where the process began */

static int complain(const char *what)
{
	(void)fprintf(stderr, "netns: %s: %s\n", what, strerror(errno));
	return -1;
}

static int remember_home(void)
{
	if (home < 0)
		home = open(OWN_NAMESPACE, O_RDONLY | O_CLOEXEC);
	return home < 0 ? complain("cannot open " OWN_NAMESPACE) : 0;
}

bool netns_usable(char *why, size_t size)
{
	struct netns netns;

	if (geteuid() != 0) {
		(void)snprintf(why, size, "network namespaces need root");
		return false;
	}
	if (netns_make(&netns) < 0) {
		(void)snprintf(why, size, "no network namespaces here: %s", strerror(errno));
		return false;
	}
	if (netns_do(&netns, "ip link add probe0 type veth peer name probe1 2>&1") < 0) {
		(void)snprintf(why, size, "no iproute2, or no veth in this kernel");
		netns_release(&netns);
		return false;
	}
	netns_release(&netns);
	return true;
}

static int set_up(const struct netns *netns)
{
	return netns_do(netns,
			"ip link set lo up && cd /proc/sys/net && echo 0 >ipv6/conf/default/accept_dad && "
			"echo 0 >ipv6/conf/default/accept_ra && echo 0 >ipv6/conf/default/router_solicitations && "
			"echo reno >ipv4/tcp_congestion_control");
}

int netns_make(struct netns *netns)
{
	netns->fd = -1;
	if (remember_home() < 0)
		return -1;
	if (unshare(CLONE_NEWNET) < 0)
		return complain("cannot make a network namespace");
	netns->fd = open(OWN_NAMESPACE, O_RDONLY | O_CLOEXEC);
	if (netns->fd < 0)
		(void)complain("cannot hold a network namespace");
	if (netns_leave() < 0 || netns->fd < 0 || set_up(netns) < 0) {
		netns_release(netns);
		return -1;
	}
	return 0;
}

void netns_release(struct netns *netns)
{
	if (netns->fd >= 0)
		(void)close(netns->fd);
	netns->fd = -1;
}

int netns_link(const struct netns *a, const char *name_a, const struct netns *b, const char *name_b)
{
	if (netns_do(a, "ip link add %s type veth peer name %s netns /proc/%ld/fd/%d && ip link set %s up", name_a,
		     name_b, (long)getpid(), b->fd, name_a) < 0)
		return -1;
	return netns_do(b, "ip link set %s up", name_b);
}

int netns_enter(const struct netns *netns)
{
	if (remember_home() < 0)
		return -1;
	return setns(netns->fd, CLONE_NEWNET) < 0 ? complain("cannot enter a namespace") : 0;
}

int netns_leave(void)
{
	return setns(home, CLONE_NEWNET) < 0 ? complain("cannot leave a namespace") : 0;
}

struct command {
	const char *text;
};

static int run_command(void *context)
{
	const struct command *command = context;

	(void)execl("/bin/sh", "sh", "-c", command->text, (char *)NULL);
	return 127;
}

int netns_do(const struct netns *netns, const char *format, ...)
{
	char text[COMMAND_MAX];
	struct command command = {.text = text};
	va_list arguments;
	int len, status = -1;
	pid_t child;

	va_start(arguments, format);
	len = vsnprintf(text, sizeof(text), format, arguments);
	va_end(arguments);
	if (len < 0 || (size_t)len >= sizeof(text)) {
		errno = E2BIG;
		return complain("command too long");
	}
	child = netns_spawn(netns, run_command, &command);
	if (child < 0)
		return -1;
	while (waitpid(child, &status, 0) < 0)
		if (errno != EINTR)
			return complain("waitpid()");
	if (status == 0)
		return 0;
	(void)fprintf(stderr, "netns: status %d from: %s\n", status, text);
	return -1;
}

int netns_call(const struct netns *netns, int (*function)(void *context), void *context)
{
	int result;

	if (netns_enter(netns) < 0)
		return -1;
	result = function(context);
	return netns_leave() < 0 ? -1 : result;
}

pid_t netns_spawn(const struct netns *netns, int (*function)(void *context), void *context)
{
	pid_t parent = getpid(), child = fork();

	if (child < 0)
		return complain("fork()");
	if (child > 0)
		return child;
	/* The parent may have ended before the request to die with it. */
	if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 || getppid() != parent || netns_enter(netns) < 0)
		_exit(126);
	_exit(function(context));
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "service_manager.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

/* Writes the address that <text> names, "/path" or "@name" of an abstract socket, to <address>. Returns its length, or 0 if
 * it is neither. */
static socklen_t read_socket(struct sockaddr_un *address, const char *text)
{
	size_t len = strlen(text);

	if ((text[0] != '/' && text[0] != '@') || len < 2 || len >= sizeof(address->sun_path))
		return 0;
	memset(address, 0, sizeof(*address));
	address->sun_family = AF_UNIX;
	memcpy(address->sun_path, text, len);
	if (text[0] == '@')
		address->sun_path[0] = '\0';
	return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len);
}

int service_notify(const char *state)
{
	const char *text = getenv("NOTIFY_SOCKET");
	struct sockaddr_un address;
	socklen_t len;
	ssize_t sent;
	int fd, error;

	if (!text || text[0] == '\0')
		return 0;
	len = read_socket(&address, text);
	if (!len) {
		errno = EINVAL;
		return -1;
	}
	fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -1;
	sent = sendto(fd, state, strlen(state), MSG_NOSIGNAL, (struct sockaddr *)&address, len);
	error = errno;
	(void)close(fd);
	errno = error;
	return sent < 0 ? -1 : 0;
}

/* Returns the number that the variable <name> is, or -1 if it is not set or no number. */
static long long read_number(const char *name)
{
	const char *text = getenv(name);
	char *end;
	long long value;

	if (!text || text[0] < '0' || text[0] > '9')
		return -1;
	errno = 0;
	value = strtoll(text, &end, 10);
	return errno || *end != '\0' ? -1 : value;
}

double service_watchdog_s(void)
{
	long long us = read_number("WATCHDOG_USEC");

	if (us <= 0 || (getenv("WATCHDOG_PID") && read_number("WATCHDOG_PID") != getpid()))
		return 0.;
	return (double)us / 1e6;
}

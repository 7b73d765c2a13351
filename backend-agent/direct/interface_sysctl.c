/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "interface_sysctl.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PATH_LEN_MAX 128

long interface_sysctl(uint8_t family, const char *interface, const char *setting)
{
	char path[PATH_LEN_MAX], text[24];
	int fd, len = snprintf(path, sizeof(path), "/proc/sys/net/ipv%u/conf/%s/%s", family, interface, setting);
	ssize_t n;

	if (len < 0 || (size_t)len >= sizeof(path)) {
		errno = ENAMETOOLONG;
		return -1;
	}
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -1;
	n = read(fd, text, sizeof(text) - 1);
	close(fd);
	if (n <= 0) {
		errno = EIO;
		return -1;
	}
	text[n] = '\0';
	return strtol(text, NULL, 10);
}

const char *interface_sysctl_command(char text[static INTERFACE_SYSCTL_COMMAND_MAX], uint8_t family,
				     const char *interface, const char *setting, int value)
{
	/* sysctl(8) takes dots for separators, unless the first separator is a slash. */
	char separator = strchr(interface, '.') ? '/' : '.';

	(void)snprintf(text, INTERFACE_SYSCTL_COMMAND_MAX, "sysctl -w net%cipv%u%cconf%c%s%c%s=%d", separator, family,
		       separator, separator, interface, separator, setting, value);
	return text;
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "address.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

static const char unix_prefix[] = "unix:";

static int refuse(const char **why, const char *text)
{
	*why = text;
	return -1;
}

static int parse_unix(struct address *address, const char *path, const char **why)
{
	struct sockaddr_un *un = (struct sockaddr_un *)&address->storage;
	size_t len = strlen(path);

	if (!len)
		return refuse(why, "the path of the UNIX socket is empty");
	if (len >= sizeof(un->sun_path))
		return refuse(why, "the path of the UNIX socket is longer than 107 bytes");
	un->sun_family = AF_UNIX;
	memcpy(un->sun_path, path, len + 1);
	address->len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len + 1);
	return 0;
}

static bool port_is_valid(const char *text)
{
	unsigned long port = 0;

	if (*text == '\0')
		return false;
	for (; *text != '\0'; text++) {
		if (*text < '0' || *text > '9')
			return false;
		port = port * 10 + (unsigned long)(*text - '0');
		if (port > UINT16_MAX)
			return false;
	}
	return true;
}

/* Copies the host part of <text> to <host> (<size> bytes), without brackets, and returns where the port begins; NULL
 * and <*why> if the text has another form. */
static const char *split_host(char *host, size_t size, bool *bracketed, const char *text, const char **why)
{
	const char *end, *colon;

	*bracketed = text[0] == '[';
	if (*bracketed) {
		text++;
		end = strchr(text, ']');
		if (!end || end[1] != ':') {
			*why = "an IPv6 address is written [ADDRESS]:PORT";
			return NULL;
		}
		colon = end + 1;
	} else {
		end = colon = strchr(text, ':');
		if (!colon) {
			*why = "the port is missing: ADDRESS:PORT";
			return NULL;
		}
	}
	if (end == text) {
		*why = "the address before the port is empty; * means every IPv4 address";
		return NULL;
	}
	if ((size_t)(end - text) >= size) {
		*why = "the host name is too long";
		return NULL;
	}
	memcpy(host, text, (size_t)(end - text));
	host[end - text] = '\0';
	return colon + 1;
}

int address_parse(struct address *address, const char *text, const char **why)
{
	struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV};
	struct addrinfo *found = NULL;
	const char *port;
	char host[NI_MAXHOST];
	bool bracketed;
	int error;

	memset(address, 0, sizeof(*address));
	if (strncmp(text, unix_prefix, sizeof(unix_prefix) - 1) == 0)
		return parse_unix(address, text + sizeof(unix_prefix) - 1, why);

	port = split_host(host, sizeof(host), &bracketed, text, why);
	if (!port)
		return -1;
	if (!port_is_valid(port))
		return refuse(why, "the port is no number from 0 to 65535");
	if (bracketed) {
		hints.ai_family = AF_INET6;
		hints.ai_flags |= AI_NUMERICHOST;
	} else if (strcmp(host, "*") == 0) {
		hints.ai_family = AF_INET;
		hints.ai_flags |= AI_PASSIVE;
	}
	error = getaddrinfo(hints.ai_flags & AI_PASSIVE ? NULL : host, port, &hints, &found);
	if (error != 0)
		return refuse(why, bracketed ? "there is no IPv6 address between the brackets" : gai_strerror(error));
	if (found->ai_addrlen > sizeof(address->storage)) {
		freeaddrinfo(found);
		return refuse(why, "the address is of an unknown kind");
	}
	memcpy(&address->storage, found->ai_addr, found->ai_addrlen);
	address->len = found->ai_addrlen;
	freeaddrinfo(found);
	return 0;
}

const char *address_format(const struct address *address, char text[static ADDRESS_TEXT_MAX])
{
	const struct sockaddr_un *un = (const struct sockaddr_un *)&address->storage;
	char host[NI_MAXHOST], port[NI_MAXSERV];
	int printed;

	if (address->storage.ss_family == AF_UNIX) {
		size_t path_offset = offsetof(struct sockaddr_un, sun_path);
		/* The address of an unbound peer has no path at all. */
		int len = address->len > path_offset ? (int)strnlen(un->sun_path, address->len - path_offset) : 0;

		printed = snprintf(text, ADDRESS_TEXT_MAX, "%s%.*s", unix_prefix, len, un->sun_path);
	} else if (getnameinfo((const struct sockaddr *)&address->storage, address->len, host, sizeof(host), port,
			       sizeof(port), NI_NUMERICHOST | NI_NUMERICSERV) == 0) {
		printed = snprintf(text, ADDRESS_TEXT_MAX, address->storage.ss_family == AF_INET6 ? "[%s]:%s" : "%s:%s",
				   host, port);
	} else {
		printed = snprintf(text, ADDRESS_TEXT_MAX, "unknown address");
	}
	if (printed < 0)
		text[0] = '\0';
	return text;
}

/* Removes the file of a UNIX socket on which nobody listens any more. Returns 0, also if there is none, or -1 with
 * errno EADDRINUSE. */
static int remove_stale_socket(const struct sockaddr_un *un, socklen_t len)
{
	struct stat status;
	int probe, refused;

	if (lstat(un->sun_path, &status) < 0)
		return 0;
	if (!S_ISSOCK(status.st_mode)) {
		errno = EADDRINUSE;
		return -1;
	}
	probe = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (probe < 0)
		return -1;
	refused = connect(probe, (const struct sockaddr *)un, len) < 0 && errno == ECONNREFUSED;
	(void)close(probe);
	if (!refused) {
		errno = EADDRINUSE;
		return -1;
	}
	return unlink(un->sun_path);
}

static int bind_unix(int fd, const struct address *address, unsigned mode)
{
	const struct sockaddr_un *un = (const struct sockaddr_un *)&address->storage;

	if (remove_stale_socket(un, address->len) < 0 || bind(fd, (const struct sockaddr *)un, address->len) < 0)
		return -1;
	/* Before listen() nobody can connect, whatever mode the file was born with. */
	return chmod(un->sun_path, (mode_t)mode);
}

static int bind_inet(int fd, const struct address *address)
{
	const int on = 1;

	if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) < 0)
		return -1;
	return bind(fd, (const struct sockaddr *)&address->storage, address->len);
}

static int listen_on(const struct address *address, int kind, int backlog, unsigned mode)
{
	int family = address->storage.ss_family;
	int fd = socket(family, kind | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	int bound;

	if (fd < 0)
		return -1;
	bound = family == AF_UNIX ? bind_unix(fd, address, mode) : bind_inet(fd, address);
	if (bound < 0 || listen(fd, backlog) < 0) {
		int error = errno;

		(void)close(fd);
		errno = error;
		return -1;
	}
	return fd;
}

int address_listen(const struct address *address, int backlog, unsigned mode)
{
	return listen_on(address, SOCK_STREAM, backlog, mode);
}

int address_listen_packets(const struct address *address, int backlog, unsigned mode)
{
	return listen_on(address, SOCK_SEQPACKET, backlog, mode);
}

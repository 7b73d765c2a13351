/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * copying_origin PORT FOLDER: a plain HTTP/1.1 server that sends files from memory, 256 KB at a time, as disc-backend
 * sends sealed bodies.
 *
 * Why not disc-backend's own plain bodies: they go out by sendfile(), and on a loopback the pages of the page cache
 * then travel through the load balancer itself, which spares it to free what it received. No network does that, so a
 * floor measured that way would be lower than any load balancer can get.
 *
 * For benchmarks on a loopback alone: it knows GET, trusts its client, and serves only plain names in one folder.
 */
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

enum { BLOCK = 256 * 1024, REQUEST_MAX = 4096, NAME_MAX_LENGTH = 64 };

struct file {
	char name[NAME_MAX_LENGTH];
	const char *bytes;
	size_t size;
	struct file *next;
};

struct peer {
	int fd;
	char request[REQUEST_MAX + 1];
	size_t request_length;
	char head[256];
	size_t head_length, head_sent;
	const struct file *file; /* NULL: no body under way */
	size_t sent;
};

static struct file *files;
static int folder, loop;

static void die(const char *what)
{
	perror(what);
	exit(1);
}

/* Opens the file on its first request and keeps it. Returns NULL if there is none. */
static const struct file *find_file(const char *name)
{
	struct file *file;
	struct stat st;
	void *bytes;
	int fd;

	for (file = files; file != NULL; file = file->next)
		if (strcmp(file->name, name) == 0)
			return file;
	fd = strchr(name, '/') == NULL ? openat(folder, name, O_RDONLY | O_CLOEXEC) : -1;
	if (fd < 0)
		return NULL;
	if (fstat(fd, &st) != 0 || st.st_size <= 0)
		die(name);
	bytes = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE | MAP_POPULATE, fd, 0);
	file = calloc(1, sizeof(*file));
	if (bytes == MAP_FAILED || file == NULL)
		die(name);
	close(fd);
	snprintf(file->name, sizeof(file->name), "%s", name);
	file->bytes = bytes;
	file->size = (size_t)st.st_size;
	file->next = files;
	files = file;
	return file;
}

static void close_peer(struct peer *peer)
{
	close(peer->fd);
	free(peer);
}

static void begin_answer(struct peer *peer)
{
	char name[NAME_MAX_LENGTH] = "";
	int length;

	peer->file = sscanf(peer->request, "GET /%63[^ ?]", name) == 1 ? find_file(name) : NULL;
	/* Without a body it is also what HAProxy's health check gets. */
	length = snprintf(peer->head, sizeof(peer->head), "HTTP/1.1 %s\r\nContent-Length: %zu\r\n\r\n",
			  peer->file != NULL ? "200 OK" : "404 Not Found", peer->file != NULL ? peer->file->size : 0);
	peer->head_length = (size_t)length;
	peer->head_sent = peer->sent = peer->request_length = 0;
}

/* Returns false if the peer is gone. */
static bool send_answer(struct peer *peer)
{
	while (peer->head_sent < peer->head_length || (peer->file != NULL && peer->sent < peer->file->size)) {
		size_t left = peer->file != NULL ? peer->file->size - peer->sent : 0;
		struct iovec pieces[2] = {
			{peer->head + peer->head_sent, peer->head_length - peer->head_sent},
			{peer->file != NULL ? (char *)(uintptr_t)peer->file->bytes + peer->sent : NULL,
			 left < BLOCK ? left : BLOCK},
		};
		struct msghdr message = {.msg_iov = pieces, .msg_iovlen = 2};
		ssize_t sent = sendmsg(peer->fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);

		if (sent < 0)
			return errno == EAGAIN;
		if ((size_t)sent < pieces[0].iov_len) {
			peer->head_sent += (size_t)sent;
			continue;
		}
		peer->sent += (size_t)sent - pieces[0].iov_len;
		peer->head_sent = peer->head_length;
	}
	return true;
}

/* Returns false if the peer is gone. */
static bool receive_request(struct peer *peer)
{
	ssize_t got =
		recv(peer->fd, peer->request + peer->request_length, REQUEST_MAX - peer->request_length, MSG_DONTWAIT);

	if (got <= 0)
		return got < 0 && errno == EAGAIN;
	peer->request_length += (size_t)got;
	peer->request[peer->request_length] = '\0';
	if (strstr(peer->request, "\r\n\r\n") == NULL)
		return peer->request_length < REQUEST_MAX;
	begin_answer(peer);
	return true;
}

static void accept_peer(int listener)
{
	struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLET};
	struct peer *peer = calloc(1, sizeof(*peer));
	int yes = 1;

	if (peer == NULL)
		die("memory");
	peer->fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	event.data.ptr = peer;
	if (peer->fd < 0 || setsockopt(peer->fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof(yes)) != 0 ||
	    epoll_ctl(loop, EPOLL_CTL_ADD, peer->fd, &event) != 0)
		die("accept");
}

static int open_listener(const char *port)
{
	struct sockaddr_in address = {
		.sin_family = AF_INET,
		.sin_port = htons((uint16_t)strtoul(port, NULL, 10)),
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK),
	};
	struct epoll_event event = {.events = EPOLLIN};
	int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (listener < 0 || bind(listener, (struct sockaddr *)&address, sizeof(address)) != 0 ||
	    listen(listener, 1024) != 0 || epoll_ctl(loop, EPOLL_CTL_ADD, listener, &event) != 0)
		die("listen");
	return listener;
}

int main(int count, char **words)
{
	struct epoll_event events[64];
	int listener;

	if (count != 3) {
		fputs("usage: copying_origin PORT FOLDER\n", stderr);
		return 1;
	}
	folder = open(words[2], O_PATH | O_DIRECTORY | O_CLOEXEC);
	loop = epoll_create1(EPOLL_CLOEXEC);
	if (folder < 0 || loop < 0)
		die(words[2]);
	listener = open_listener(words[1]);
	for (;;) {
		int ready = epoll_wait(loop, events, 64, -1);

		for (int i = 0; i < ready; i++) {
			struct peer *peer = events[i].data.ptr;

			if (peer == NULL)
				accept_peer(listener);
			else if (!receive_request(peer) || !send_answer(peer))
				close_peer(peer);
		}
	}
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A wire between two hosts that loses, delays and reorders packets, in user space, for kernels without netem.
 *
 *   lossy_wire [--loss PERCENT] [--reorder PERCENT] [--delay MS] [--queue PACKETS] [--seed NUMBER] NETNS INTERFACE
 * NETNS INTERFACE
 *
 * Makes one TAP interface in each of the two network namespaces (paths, as /run/netns/NAME) and carries Ethernet frames
 * between them; a TAP has no offloads, so what is lost is a packet of the wire, never a batch of 64 KB. Each direction
 * delays by --delay (0), loses --loss (0), delays --reorder (0) of the rest by half as much again plus 1 ms, so that
 * others overtake, and holds at most --queue (1000) frames, losing those that come then. The same --seed (1) makes the
 * same choices. Stays in the second namespace, where its process is found. Prints "ready" when both interfaces are
 * there, and on TERM one line of counts per direction. Exit 0: ended by TERM; 1: usage, or something failed.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#define FRAME_MAX 9216
#define QUEUE_MAX 100000
#define BATCH 64 /* frames read before others are looked at */
#define NS_PER_MS 1000000

struct frame {
	int64_t due; /* CLOCK_MONOTONIC, ns */
	uint64_t order;
	size_t len;
	uint8_t *bytes;
};

/* Frames on their way from one end to the other: a binary heap, the next one due first. */
struct direction {
	int from, to;
	struct frame *frames;
	size_t count;
	uint64_t passed, lost, reordered, overflowed;
};

struct wire {
	double loss, reorder; /* 0 to 1 */
	int64_t delay;        /* ns */
	size_t queue;
	uint64_t random, order;
	struct direction directions[2];
};

static volatile sig_atomic_t ended;

static void end(int number)
{
	(void)number;
	ended = 1;
}

static int fail(const char *what)
{
	fprintf(stderr, "lossy_wire: %s: %s\n", what, strerror(errno));
	return -1;
}

static int64_t now(void)
{
	struct timespec time;

	if (clock_gettime(CLOCK_MONOTONIC, &time) < 0)
		abort();
	return (int64_t)time.tv_sec * 1000 * NS_PER_MS + time.tv_nsec;
}

/* Whether something of probability <p> happens now (xorshift64). */
static bool happens(struct wire *wire, double p)
{
	wire->random ^= wire->random << 13;
	wire->random ^= wire->random >> 7;
	wire->random ^= wire->random << 17;
	return (double)(wire->random >> 11) / (double)(1ull << 53) < p;
}

/* --- the heap --- */

static bool earlier(const struct frame *a, const struct frame *b)
{
	return a->due != b->due ? a->due < b->due : a->order < b->order;
}

static void swap(struct frame *a, struct frame *b)
{
	struct frame third = *a;

	*a = *b;
	*b = third;
}

static void push(struct direction *direction, struct frame frame)
{
	size_t at = direction->count++;

	direction->frames[at] = frame;
	while (at > 0 && earlier(&direction->frames[at], &direction->frames[(at - 1) / 2])) {
		swap(&direction->frames[at], &direction->frames[(at - 1) / 2]);
		at = (at - 1) / 2;
	}
}

static struct frame pop(struct direction *direction)
{
	struct frame first = direction->frames[0];
	size_t at = 0;

	direction->frames[0] = direction->frames[--direction->count];
	for (;;) {
		size_t least = at;

		for (size_t child = 2 * at + 1; child <= 2 * at + 2 && child < direction->count; child++) {
			if (earlier(&direction->frames[child], &direction->frames[least]))
				least = child;
		}
		if (least == at)
			return first;
		swap(&direction->frames[at], &direction->frames[least]);
		at = least;
	}
}

/* --- frames --- */

static int take(struct wire *wire, struct direction *direction, const uint8_t *bytes, size_t len)
{
	struct frame frame = {.due = now() + wire->delay, .order = wire->order++, .len = len};

	if (happens(wire, wire->loss)) {
		direction->lost++;
		return 0;
	}
	if (direction->count == wire->queue) {
		direction->overflowed++;
		return 0;
	}
	if (happens(wire, wire->reorder)) {
		frame.due += wire->delay / 2 + NS_PER_MS;
		direction->reordered++;
	}
	frame.bytes = malloc(len);
	if (!frame.bytes)
		return fail("memory");
	memcpy(frame.bytes, bytes, len);
	push(direction, frame);
	return 0;
}

/* Reads what is there, up to BATCH frames. */
static int receive(struct wire *wire, struct direction *direction)
{
	uint8_t bytes[FRAME_MAX];

	for (int i = 0; i < BATCH; i++) {
		ssize_t got = read(direction->from, bytes, sizeof(bytes));

		if (got < 0)
			return errno == EAGAIN || errno == EIO ? 0 : fail("read"); /* EIO: the interface is down */
		if (take(wire, direction, bytes, (size_t)got) < 0)
			return -1;
	}
	return 0;
}

/* Sends what is due. */
static void deliver(struct direction *direction)
{
	while (direction->count > 0 && direction->frames[0].due <= now()) {
		struct frame frame = pop(direction);

		if (write(direction->to, frame.bytes, frame.len) == (ssize_t)frame.len)
			direction->passed++;
		else
			direction->lost++; /* the interface is down */
		free(frame.bytes);
	}
}

static int carry(struct wire *wire)
{
	struct pollfd ends[2];
	sigset_t waiting;

	if (sigprocmask(SIG_SETMASK, NULL, &waiting) < 0 || sigdelset(&waiting, SIGTERM) < 0)
		return fail("sigprocmask");
	for (int i = 0; i < 2; i++)
		ends[i] = (struct pollfd){.fd = wire->directions[i].from, .events = POLLIN};
	while (!ended) {
		int64_t next = INT64_MAX, time = now();
		struct timespec wait;

		for (int i = 0; i < 2; i++) {
			if (wire->directions[i].count > 0 && wire->directions[i].frames[0].due < next)
				next = wire->directions[i].frames[0].due;
		}
		next = next < time ? 0 : next - time;
		wait = (struct timespec){.tv_sec = next / (1000 * NS_PER_MS), .tv_nsec = next % (1000 * NS_PER_MS)};
		if (ppoll(ends, 2, &wait, &waiting) < 0 && errno != EINTR)
			return fail("ppoll");
		for (int i = 0; i < 2; i++) {
			if (receive(wire, &wire->directions[i]) < 0)
				return -1;
			deliver(&wire->directions[i]);
		}
	}
	return 0;
}

/* --- the ends --- */

static int open_end(const char *netns, const char *name)
{
	struct ifreq request = {.ifr_flags = IFF_TAP | IFF_NO_PI};
	int where = open(netns, O_RDONLY | O_CLOEXEC), fd;

	if (where < 0 || setns(where, CLONE_NEWNET) < 0)
		return fail(netns);
	close(where);
	fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0)
		return fail("/dev/net/tun");
	if (strlen(name) >= sizeof(request.ifr_name)) {
		errno = ENAMETOOLONG;
		return fail(name);
	}
	strcpy(request.ifr_name, name);
	return ioctl(fd, TUNSETIFF, &request) < 0 ? fail(name) : fd;
}

static int open_wire(struct wire *wire, char **ends)
{
	int a = open_end(ends[0], ends[1]), b;

	if (a < 0)
		return -1;
	b = open_end(ends[2], ends[3]);
	if (b < 0)
		return -1;
	wire->directions[0] = (struct direction){.from = a, .to = b};
	wire->directions[1] = (struct direction){.from = b, .to = a};
	for (int i = 0; i < 2; i++) {
		wire->directions[i].frames = calloc(wire->queue, sizeof(struct frame));
		if (!wire->directions[i].frames)
			return fail("memory");
	}
	return 0;
}

static int usage(void)
{
	fprintf(stderr,
		"usage: lossy_wire [--loss PERCENT] [--reorder PERCENT] [--delay MS] [--queue PACKETS] [--seed NUMBER] "
		"NETNS INTERFACE NETNS INTERFACE\n");
	return 1;
}

/* Reads the options. Returns the index of the first other argument, or 0. */
static int read_options(struct wire *wire, int argc, char **argv)
{
	int i;

	for (i = 1; i + 1 < argc && strncmp(argv[i], "--", 2) == 0; i += 2) {
		char *rest;
		double value = strtod(argv[i + 1], &rest);

		if (*rest || value < 0)
			return 0;
		if (strcmp(argv[i], "--loss") == 0 && value <= 100)
			wire->loss = value / 100;
		else if (strcmp(argv[i], "--reorder") == 0 && value <= 100)
			wire->reorder = value / 100;
		else if (strcmp(argv[i], "--delay") == 0 && value <= 10000)
			wire->delay = (int64_t)(value * NS_PER_MS);
		else if (strcmp(argv[i], "--queue") == 0 && value >= 1 && value <= QUEUE_MAX)
			wire->queue = (size_t)value;
		else if (strcmp(argv[i], "--seed") == 0 && value >= 1)
			wire->random = (uint64_t)value * 0x9e3779b97f4a7c15u;
		else
			return 0;
	}
	return i;
}

int main(int argc, char **argv)
{
	struct wire wire = {.queue = 1000, .random = 0x9e3779b97f4a7c15u};
	struct sigaction action = {.sa_handler = end};
	sigset_t blocked;
	int first = read_options(&wire, argc, argv), result;

	if (first == 0 || argc - first != 4)
		return usage();
	/* TERM comes only while carry() waits, so that none is missed. */
	if (sigemptyset(&blocked) < 0 || sigaddset(&blocked, SIGTERM) < 0 ||
	    sigprocmask(SIG_BLOCK, &blocked, NULL) < 0 || sigaction(SIGTERM, &action, NULL) < 0) {
		(void)fail("signals");
		return 1;
	}
	if (open_wire(&wire, argv + first) < 0)
		return 1;
	printf("ready\n");
	fflush(stdout);
	result = carry(&wire);
	for (int i = 0; i < 2; i++) {
		struct direction *direction = &wire.directions[i];

		printf("%s: passed %lu, lost %lu, reordered %lu, overflowed %lu\n", argv[first + 1 + 2 * i],
		       (unsigned long)direction->passed, (unsigned long)direction->lost,
		       (unsigned long)direction->reordered, (unsigned long)direction->overflowed);
		while (direction->count > 0)
			free(pop(direction).bytes);
		free(direction->frames);
	}
	return result < 0 ? 1 : 0;
}

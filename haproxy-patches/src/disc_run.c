/*
 * src/disc_run.c
 * Records on their way from a node's socket to a client's one.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include <haproxy/api.h>
#include <haproxy/disc_run.h>
#include <haproxy/global.h>
#include <haproxy/pipe.h>

/* Returns how many bytes of <run> still have to be sent. */
uint32_t disc_run_left(const struct disc_run *run)
{
	return (run->pipe ? run->pipe->data : 0) + run->end - run->at + run->missing;
}

#if defined(USE_LINUX_SPLICE)
/* Moves bytes from socket <fd> to the pipe of <run>. Returns how many, 0 if there are none, no
 * room, or no pipe.
 */
static int disc_run_splice(struct disc_run *run, int fd)
{
	int total = 0, ret;

	if (!run->pipe && (pipes_used >= global.maxpipes || !(run->pipe = get_pipe())))
		return 0;
	while (run->missing) {
		ret = splice(fd, NULL, run->pipe->prod, NULL, run->missing, SPLICE_F_MOVE|SPLICE_F_NONBLOCK);
		if (ret < 0 && errno == EINTR)
			continue;
		if (ret <= 0)
			break;
		run->pipe->data += ret;
		run->missing -= ret;
		total += ret;
	}
	return total;
}
#endif

/* Copies bytes from socket <fd> to the memory of <run>. Returns how many, 0 if there are none,
 * or -1 if memory is short.
 */
static int disc_run_copy(struct disc_run *run, int fd)
{
	int total = 0, ret;

	if (run->at == run->end)
		run->at = run->end = 0;
	if (run->missing) {
		char *area = realloc(run->area, run->end + run->missing);

		if (!area)
			return -1;
		run->area = area;
	}
	while (run->missing) {
		ret = recv(fd, run->area + run->end, run->missing, MSG_DONTWAIT);
		if (ret < 0 && errno == EINTR)
			continue;
		if (ret <= 0)
			break;
		run->end += ret;
		run->missing -= ret;
		total += ret;
	}
	return total;
}

/* Moves what it can of the missing bytes of <run> from socket <fd> to where they can be sent
 * from, by splicing if <may_splice> is set, to memory if <may_copy> is and they cannot be
 * spliced. Returns how many it moved, or -1 if memory is short.
 */
int disc_run_pull(struct disc_run *run, int fd, int may_splice, int may_copy)
{
	int total = 0, ret;

#if defined(USE_LINUX_SPLICE)
	if (may_splice && run->at == run->end)
		total = disc_run_splice(run, fd);
#endif
	/* without a pipe there is no other way */
	if (run->missing && (may_copy || !run->pipe)) {
		ret = disc_run_copy(run, fd);
		if (ret < 0)
			return -1;
		total += ret;
	}
	return total;
}

/* Called before socket <fd>, which holds all missing bytes of <run>, is closed: copies them.
 * Returns 1, or 0 if they are lost.
 */
int disc_run_rescue(struct disc_run *run, int fd)
{
	int ret = disc_run_copy(run, fd);

	run->hop = NULL;
	return ret >= 0 && !run->missing;
}

/* Forgets <run>. */
void disc_run_release(struct disc_run *run)
{
	if (run->pipe)
		put_pipe(run->pipe);
	free(run->area);
	memset(run, 0, sizeof(*run));
}

/*
 * src/disc_lowat.c
 * Being woken up for large amounts of data only, not for each segment.
 *
 * Records cost nothing to forward but the system calls, and a node which seals them
 * does not run ahead of us as one which only sends a file does. So while a body made
 * of records is received, the server's socket only reports data once many bytes have
 * come in. Two things must not happen: a socket which waits for more than what is
 * left, and data waiting because their source is slow. So the mark follows what is
 * left and is back to one byte at the end, and a task lowers it if nothing came for
 * DISC_LOWAT_STALL milliseconds, which makes the kernel report what is there.
 *
 * The client's transport layer drives this, since it knows what is still to be sent:
 * what is left to be received is less by what is held in between. The server's mux knows
 * nothing of it, so the socket may be closed at any time.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <sys/socket.h>

#include <haproxy/api.h>
#include <haproxy/disc_lowat.h>
#include <haproxy/fd.h>
#include <haproxy/list.h>
#include <haproxy/pool.h>
#include <haproxy/task.h>
#include <haproxy/ticks.h>

#define DISC_LOWAT       (256 * 1024)
#define DISC_LOWAT_START (256 * 1024) /* less comes in one or two pieces anyway */
#define DISC_LOWAT_MIN   (32 * 1024)  /* not worth a system call below */
#define DISC_LOWAT_STALL 5

DECLARE_STATIC_POOL(pool_head_disc_lowat, "disc_lowat", sizeof(struct disc_lowat));

static THREAD_LOCAL struct list disc_lowat_list;
static THREAD_LOCAL struct task *disc_lowat_task;

static void disc_lowat_set(struct disc_lowat *lowat, int mark)
{
	if (mark == lowat->mark)
		return;
	/* the number may be that of another descriptor by now */
	if (_HA_ATOMIC_LOAD(&fdtab[lowat->fd].generation) != lowat->generation)
		lowat->mark = 1;
	else if (setsockopt(lowat->fd, SOL_SOCKET, SO_RCVLOWAT, &mark, sizeof(mark)) == 0)
		lowat->mark = mark;
}

/* Lowers the mark of all sockets of this thread without progress. */
static struct task *disc_lowat_check(struct task *t, void *context, unsigned int state)
{
	struct disc_lowat *lowat;
	int raised = 0;

	list_for_each_entry(lowat, &disc_lowat_list, list) {
		if (now_ms - lowat->date >= DISC_LOWAT_STALL)
			disc_lowat_set(lowat, 1);
		raised |= lowat->mark > 1;
	}
	t->expire = raised ? tick_add(now_ms, MS_TO_TICKS(DISC_LOWAT_STALL)) : TICK_ETERNITY;
	return t;
}

/* Sets the mark for <left> bytes still to come, which just made progress. */
static void disc_lowat_raise(struct disc_lowat *lowat, uint64_t left)
{
	lowat->date = now_ms;
	disc_lowat_set(lowat, left < DISC_LOWAT ? left : DISC_LOWAT);
	if (!tick_isset(disc_lowat_task->expire))
		task_schedule(disc_lowat_task, tick_add(now_ms, MS_TO_TICKS(DISC_LOWAT_STALL)));
}

/* Starts for the <left> bytes still to come from socket <fd>, which belongs to this
 * thread. Returns what has to be told about progress, at the latest when all is received,
 * and to be freed, or NULL if it is not worth it or if memory is short.
 */
struct disc_lowat *disc_lowat_new(int fd, uint64_t left)
{
	struct disc_lowat *lowat;

	if (left < DISC_LOWAT_START)
		return NULL;
	if (!disc_lowat_task) {
		disc_lowat_task = task_new_here();
		if (!disc_lowat_task)
			return NULL;
		disc_lowat_task->process = disc_lowat_check;
		LIST_INIT(&disc_lowat_list);
	}
	lowat = pool_alloc(pool_head_disc_lowat);
	if (!lowat)
		return NULL;
	lowat->fd = fd;
	lowat->generation = _HA_ATOMIC_LOAD(&fdtab[fd].generation);
	lowat->mark = 1;
	LIST_APPEND(&disc_lowat_list, &lowat->list);
	disc_lowat_raise(lowat, left);
	return lowat;
}

/* To be called when data were received, at least <left> bytes being still to come. Frees
 * <*lowat> if these are few. It may be NULL.
 */
void disc_lowat_progress(struct disc_lowat **lowat, uint64_t left)
{
	if (!*lowat)
		return;
	if (left < DISC_LOWAT_MIN)
		disc_lowat_free(lowat);
	else
		disc_lowat_raise(*lowat, left);
}

/* Ends it for any reason. <*lowat> may be NULL, and is afterwards. */
void disc_lowat_free(struct disc_lowat **lowat)
{
	if (!*lowat)
		return;
	disc_lowat_set(*lowat, 1);
	LIST_DELETE(&(*lowat)->list);
	pool_free(pool_head_disc_lowat, *lowat);
	*lowat = NULL;
}

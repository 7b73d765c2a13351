/*
 * src/fd_park.c
 * Taking a descriptor out of the pollers while another process uses it.
 *
 * A descriptor that is passed to another process (SCM_RIGHTS) and stays open here has to
 * leave the poller at once: the file stays in the epoll set as long as any process holds
 * it, and its events would be reported here even after close(). fd_stop_both() is not
 * enough, as it only stops the processing of events.
 *
 * Nothing here is specific to sockets, nor does fd.c need a hook: this uses nothing but
 * what fd.h declares.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <haproxy/api.h>
#include <haproxy/fd.h>
#include <haproxy/fd_park.h>
#include <haproxy/global.h>

void sock_conn_iocb(int fd);

/* Removes <fd> from the poller of the calling thread, which must be the only one that is
 * allowed to use it, and reports no event of it until one is wanted after fd_unpark().
 * Nobody must be subscribed to it. What it was ready for is remembered.
 */
void fd_park(int fd)
{
	fd_stop_both(fd);
	/* an update which is still pending would register a descriptor that may be
	 * edge-triggered, whether events are wanted or not
	 */
	_HA_ATOMIC_AND(&fdtab[fd].state, ~FD_ET_POSSIBLE);
	/* others hold it: it has to be removed by hand, also when it is closed */
	_HA_ATOMIC_OR(&fdtab[fd].state, FD_CLONED);
	if (cur_poller.clo)
		cur_poller.clo(fd);
	_HA_ATOMIC_AND(&polled_mask[fd].poll_recv, ~ti->ltid_bit);
	_HA_ATOMIC_AND(&polled_mask[fd].poll_send, ~ti->ltid_bit);
}

/* Allows <fd>, which fd_park() was called for, to be polled again. The poller learns of it
 * when an event is wanted. It stays FD_CLONED, since a copy of it may still be on its way.
 */
void fd_unpark(int fd)
{
	/* as in fd_insert() */
	if ((global.tune.options & GTUNE_FD_ET) && fdtab[fd].iocb == sock_conn_iocb)
		_HA_ATOMIC_OR(&fdtab[fd].state, FD_ET_POSSIBLE);
}

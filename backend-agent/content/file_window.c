/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "file_window.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

/* What this thread may look at. The handler reads it, which interrupts nobody but the thread itself. */
static _Thread_local struct {
	uint8_t *volatile begin, *volatile end; /* NULL: nothing */
	volatile sig_atomic_t missed;
} looked_at;

static pthread_mutex_t handler_lock = PTHREAD_MUTEX_INITIALIZER;
static struct sigaction former;

/* Puts zeros from the page of <address> to the end of the window. The system call is safe here: the signal comes from an
 * access of this very thread, which is inside no function of the C library. */
static bool put_zeros(uint8_t *address)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	uint8_t *first = address - (uintptr_t)address % page;

	return mmap(first, (size_t)(looked_at.end - first), PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1,
		    0) != MAP_FAILED;
}

static void on_bus_error(int signal_number, siginfo_t *info, void *context)
{
	uint8_t *address = info->si_addr;
	int saved = errno;

	(void)context;
	if (info->si_code > 0 && address >= looked_at.begin && address < looked_at.end && put_zeros(address)) {
		looked_at.missed = 1;
		errno = saved;
		return;
	}
	/* Not ours: the access happens again, and what was there before decides. */
	(void)sigaction(signal_number, &former, NULL);
}

/* Looks each time: others may have set a handler of theirs, and a thread may have blocked the signal, which then kills the
 * process. Returns 0, or -1 with errno set. */
static int install_handler(void)
{
	struct sigaction action = {.sa_sigaction = on_bus_error, .sa_flags = SA_SIGINFO}, now;
	sigset_t bus;
	int result;

	sigemptyset(&action.sa_mask);
	sigemptyset(&bus);
	(void)sigaddset(&bus, SIGBUS);
	result = pthread_sigmask(SIG_UNBLOCK, &bus, NULL);
	if (result != 0) {
		errno = result;
		return -1;
	}
	(void)pthread_mutex_lock(&handler_lock);
	result = sigaction(SIGBUS, NULL, &now);
	if (result == 0 && now.sa_sigaction != on_bus_error) {
		former = now;
		result = sigaction(SIGBUS, &action, NULL);
	}
	(void)pthread_mutex_unlock(&handler_lock);
	return result;
}

static int open_window(struct file_window *window, int fd, uint64_t offset)
{
	uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);
	void *at;

	file_window_close(window);
	if (install_handler() < 0)
		return -1;
	offset -= offset % page;
	at = mmap(NULL, FILE_WINDOW_LEN, PROT_READ, MAP_SHARED, fd, (off_t)offset);
	if (at == MAP_FAILED)
		return -1;
	/* Only the pace of reading ahead. */
	(void)madvise(at, FILE_WINDOW_LEN, MADV_SEQUENTIAL);
	*window = (struct file_window){.at = at, .len = FILE_WINDOW_LEN, .offset = offset};
	return 0;
}

const uint8_t *file_window_look(struct file_window *window, int fd, uint64_t offset, size_t len)
{
	if ((!window->at || offset < window->offset || offset + len > window->offset + window->len) &&
	    open_window(window, fd, offset) < 0)
		return NULL;
	looked_at.missed = 0;
	looked_at.begin = window->at;
	looked_at.end = window->at + window->len;
	return window->at + (offset - window->offset);
}

bool file_window_is_whole(struct file_window *window)
{
	bool whole = !looked_at.missed;

	looked_at.begin = looked_at.end = NULL;
	/* Zeros stay where they were put. */
	if (!whole)
		file_window_close(window);
	return whole;
}

void file_window_close(struct file_window *window)
{
	if (window->at)
		(void)munmap(window->at, window->len);
	window->at = NULL;
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "stderr_capture.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

int stderr_capture_begin(struct stderr_capture *capture)
{
	(void)fflush(stderr);
	capture->saved = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 10);
	capture->file = memfd_create("stderr", MFD_CLOEXEC);
	/* Appending is what keeps writes of several threads apart on a memfd, as they are on a file or a pipe. */
	if (capture->saved < 0 || capture->file < 0 || fcntl(capture->file, F_SETFL, O_APPEND) < 0)
		return -1;
	return dup2(capture->file, STDERR_FILENO) < 0 ? -1 : 0;
}

long stderr_capture_end(struct stderr_capture *capture, char *text, size_t size)
{
	ssize_t len;

	(void)fflush(stderr);
	if (dup2(capture->saved, STDERR_FILENO) < 0)
		return -1;
	len = pread(capture->file, text, size - 1, 0);
	text[len < 0 ? 0 : len] = '\0';
	(void)close(capture->saved);
	(void)close(capture->file);
	return len;
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Reads what the code under test writes to stderr. */
#ifndef STDERR_CAPTURE_H
#define STDERR_CAPTURE_H

#include <stddef.h>

struct stderr_capture {
	int saved; /* the real stderr */
	int file;  /* what stands in its place */
};

/* From here on stderr goes to a file without a name. Returns 0, or -1. */
int stderr_capture_begin(struct stderr_capture *capture);

/* Gives stderr back and writes to <text> (<size> bytes, terminated) what came meanwhile. Returns its length, or -1. */
long stderr_capture_end(struct stderr_capture *capture, char *text, size_t size);

#endif

/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Text stream: a text of unknown length, written with stdio into memory. */
#ifndef DISC_TEXT_STREAM_H
#define DISC_TEXT_STREAM_H

#include <stddef.h>
#include <stdio.h>

struct text_stream {
	FILE *out; /* write here; faults stick to it and are looked at once, when the stream is closed */
	char *text;
	size_t len;
};

/* Begins a text. Returns 0, or -1 when memory is exhausted; there is nothing to close then. */
int text_stream_open(struct text_stream *stream);

/* Ends the text. Returns it, terminated and to be freed, or NULL when memory was exhausted. */
char *text_stream_close(struct text_stream *stream);

#endif

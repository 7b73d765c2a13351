/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "text_stream.h"

#include <stdbool.h>
#include <stdlib.h>

int text_stream_open(struct text_stream *stream)
{
	*stream = (struct text_stream){.text = NULL};
	stream->out = open_memstream(&stream->text, &stream->len);
	return stream->out ? 0 : -1;
}

char *text_stream_close(struct text_stream *stream)
{
	bool failed = ferror(stream->out) != 0;

	if (fclose(stream->out) == 0 && !failed)
		return stream->text;
	free(stream->text);
	return NULL;
}

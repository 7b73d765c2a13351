/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Fetch answer: what a request is answered with - method, path, preconditions and range against the file source, or an
 * origin's answer. It decides nothing about how the bytes travel. */
#ifndef DISC_FETCH_ANSWER_H
#define DISC_FETCH_ANSWER_H

#include "body_source.h"
#include "content_type.h"
#include "fetch_request.h"
#include "file_source.h"
#include "http_source.h"
#include "response_head.h"

/* What answers are made from; shared by all threads, never changed: another configuration has another one. */
struct fetch_content {
	const struct http_source_settings *origin; /* NULL: files, by the following three */
	struct file_source *files;
	struct content_types *types;
	const char *const *index; /* file names, NULL-terminated */
	/* One user more, and one less, who may be the last; NULL: it stays for as long as the program. */
	void (*hold)(void *owner);
	void (*drop)(void *owner);
	void *owner;
};

static inline void fetch_content_hold(const struct fetch_content *content)
{
	if (content->hold)
		content->hold(content->owner);
}

static inline void fetch_content_drop(const struct fetch_content *content)
{
	if (content->hold)
		content->drop(content->owner);
}

struct fetch_answer {
	int status;
	struct file_object object; /* open if bytes of it follow (then <length> of them from <offset>), or for HEAD */
	uint64_t offset, length; /* the body's place in the object; offset of an origin's 206: from its Content-Range */
	struct body_source *source; /* owned; NULL: <object> is the source */
	bool has_body;              /* bytes of <object> or <source> are to be sent */
	bool has_length;            /* <length> is known */
	bool is_pinned;             /* the body cannot become another one while it is sent */
	bool has_text;              /* otherwise: a line of text naming the status is */
	const char *content_type;   /* belongs to the content types */
	char etag[FILE_ETAG_MAX];   /* empty: no validators */
	time_t last_modified;
	bool has_range;
	uint64_t range_size;              /* bytes of the whole file */
	char *location;                   /* owned; NULL: none */
	const struct origin_head *origin; /* an origin's own head, which belongs to <source>; NULL: none */
};

/* Fills <answer> for <request> at the time <now>. The caller gives it back with fetch_answer_release(). Opens a file;
 * reads nothing of it. */
void fetch_answer_init(struct fetch_answer *answer, const struct fetch_content *content,
		       const struct fetch_request *request, time_t now);

/* Fills <answer> with what the origin answered to a request (<head_only>: for HEAD). Takes over the answered
 * <stream>. */
void fetch_answer_init_origin(struct fetch_answer *answer, struct http_stream *stream, bool head_only);

/* Fills <answer> with nothing but <status> and its line of text, for a request that could not be read. */
void fetch_answer_init_status(struct fetch_answer *answer, int status);

/* Closes the file and frees the source, if they are still the answer's, and frees all else. */
void fetch_answer_release(struct fetch_answer *answer);

/* Fills <head> with what <answer> says; its texts stay the answer's. */
void fetch_answer_describe(const struct fetch_answer *answer, struct response_head *head);

/* Writes the line of text of an answer that has one, terminated, to <text>. Returns its length in bytes. */
#define FETCH_ANSWER_TEXT_MAX 64
size_t fetch_answer_text(const struct fetch_answer *answer, char text[static FETCH_ANSWER_TEXT_MAX]);

#endif

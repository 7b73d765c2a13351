/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "config_scan.h"

#include <stdbool.h>
#include <string.h>

#define DEPTH_MAX 16

struct scan {
	FILE *in;
	int line;              /* of the character read last */
	int opened[DEPTH_MAX]; /* lines of the braces that are open */
	int depth;
};

static int next(struct scan *scan)
{
	int character = getc(scan->in);

	if (character == '\n')
		scan->line++;
	return character;
}

static int peek(struct scan *scan)
{
	return ungetc(getc(scan->in), scan->in);
}

static void skip_line(struct scan *scan)
{
	int character;

	do {
		character = next(scan);
	} while (character != '\n' && character != EOF);
}

/* Skips a quoted string; one that is not closed libconfuse reports by itself. */
static void skip_string(struct scan *scan, int quote)
{
	int character;

	while ((character = next(scan)) != quote && character != EOF) {
		if (character == '\\')
			(void)next(scan);
	}
}

/* Skips to behind the end of a comment that began with slash and star. Returns false if there is none. */
static bool skip_comment(struct scan *scan)
{
	int before = 0, character;

	while ((character = next(scan)) != EOF) {
		if (before == '*' && character == '/')
			return true;
		before = character;
	}
	return false;
}

/* Comments begin only where a word could: "http://host" is one word. */
static bool ends_word(int character)
{
	return strchr(" \t\r\n={}()+,\"'", character) != NULL;
}

const char *config_scan(FILE *in, int *line)
{
	struct scan scan = {.in = in, .line = 1};
	bool at_word = true;
	int character;

	while ((character = next(&scan)) != EOF) {
		*line = scan.line;
		/* Behind a comment a word can begin as before it. */
		if (at_word && (character == '#' || (character == '/' && peek(&scan) == '/'))) {
			skip_line(&scan);
			continue;
		}
		if (at_word && character == '/' && peek(&scan) == '*') {
			(void)next(&scan);
			if (!skip_comment(&scan))
				return "the comment that begins here is not closed";
			continue;
		}
		if (character == '"' || character == '\'') {
			skip_string(&scan, character);
		} else if (character == '{') {
			if (scan.depth == DEPTH_MAX)
				return "too many braces inside each other";
			scan.opened[scan.depth++] = scan.line;
		} else if (character == '}' && scan.depth > 0) {
			scan.depth--;
		}
		at_word = ends_word(character);
	}
	if (scan.depth == 0)
		return NULL;
	*line = scan.opened[scan.depth - 1];
	return "the brace that opens here is not closed";
}

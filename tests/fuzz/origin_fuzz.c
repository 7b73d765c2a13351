/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Any head of an origin's answer: what goes on is whole lines of names and values without a control character, never
 * one of the connection's or of DiSC's own, and never more than there is room for. */
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "origin_head.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(int holds)
{
	if (!holds)
		abort();
}

static void check_line(const char *line, size_t len)
{
	static const char *const never[] = {"Disc-Body:", "Content-Length:", "Transfer-Encoding:", "Connection:"};
	const char *colon = memchr(line, ':', len);

	require(colon && colon > line);
	for (size_t i = 0; i < len; i++)
		require((unsigned char)line[i] >= ' ' || line[i] == '\t');
	for (size_t i = 0; i < sizeof(never) / sizeof(never[0]); i++)
		require(strncasecmp(line, never[i], strlen(never[i])) != 0);
}

static void check_fields(const struct origin_head *head)
{
	const char *at = head->fields, *end;

	if (!at)
		return;
	require(head->fields_len <= ORIGIN_HEAD_FIELDS_MAX && strlen(at) == head->fields_len);
	for (; *at != '\0'; at = end + 2) {
		end = strstr(at, "\r\n");
		require(end != NULL);
		check_line(at, (size_t)(end - at));
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	enum origin_head_status status = ORIGIN_HEAD_INCOMPLETE;
	struct origin_head head = {.status = 0};
	const char *text = (const char *)data;

	while (status == ORIGIN_HEAD_INCOMPLETE && size) {
		const char *end = memchr(text, '\n', size);
		size_t len = end ? (size_t)(end + 1 - text) : size;

		status = origin_head_take(&head, text, len);
		text += len;
		size -= len;
	}
	if (status == ORIGIN_HEAD_REFUSED)
		require(head.fault != NULL);
	if (status == ORIGIN_HEAD_COMPLETE) {
		require(head.status >= 200 && head.status <= 599 && strlen(head.reason) < sizeof(head.reason));
		check_fields(&head);
	}
	origin_head_release(&head);
	return 0;
}

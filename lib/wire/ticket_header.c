/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "ticket_header.h"

#include <stdlib.h>
#include <string.h>

static const char between[] = "; proof=";

_Static_assert(TICKET_HEADER_LEN == TICKET_TEXT_LEN + sizeof(between) - 1 + PROOF_TEXT_LEN, "length of the value");

static char *append_line(char *at, struct text_span line)
{
	if (line.len)
		memcpy(at, line.data, line.len);
	at[line.len] = '\n';
	return at + line.len + 1;
}

char *ticket_header_proven_text(const struct ticket *ticket, const struct proven_request *request, size_t *len)
{
	char name[TICKET_TEXT_LEN + 1];
	const struct text_span lines[] = {{name, TICKET_TEXT_LEN}, request->method,   request->target,
					  request->range,          request->if_range, request->if_match};
	const size_t count = sizeof(lines) / sizeof(lines[0]);
	char *text, *at;

	ticket_format(name, ticket);
	*len = count;
	for (size_t i = 0; i < count; i++)
		*len += lines[i].len;
	text = at = malloc(*len + 1);
	if (!text)
		return NULL;
	for (size_t i = 0; i < count; i++)
		at = append_line(at, lines[i]);
	*at = '\0';
	return text;
}

bool ticket_header_prove(struct ticket_header *header, const uint8_t key[static PROOF_KEY_LEN],
			 const struct proven_request *request)
{
	size_t len;
	char *text = ticket_header_proven_text(&header->ticket, request, &len);
	bool done = text && proof_compute(&header->proof, key, PROOF_OF_REQUEST, text, len);

	free(text);
	return done;
}

void ticket_header_format(char text[static TICKET_HEADER_LEN + 1], const struct ticket_header *header)
{
	ticket_format(text, &header->ticket);
	memcpy(text + TICKET_TEXT_LEN, between, sizeof(between) - 1);
	proof_format(text + TICKET_TEXT_LEN + sizeof(between) - 1, &header->proof);
}

bool ticket_header_parse(struct ticket_header *header, const char *text, size_t len)
{
	const size_t proof_at = TICKET_TEXT_LEN + sizeof(between) - 1;

	return len == TICKET_HEADER_LEN && ticket_parse(&header->ticket, text, TICKET_TEXT_LEN) &&
	       memcmp(text + TICKET_TEXT_LEN, between, sizeof(between) - 1) == 0 &&
	       proof_parse(&header->proof, text + proof_at, len - proof_at);
}

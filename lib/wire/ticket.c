/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "ticket.h"

#include <errno.h>
#include <string.h>
#include <sys/random.h>

static const char digits[] = "0123456789abcdef";

/* Of one thread, which has no fork() behind it: bytes for several tickets, each used once. */
static _Thread_local struct {
	uint8_t bytes[32 * TICKET_LEN];
	size_t left;
} spare;

static int fill_spare(void)
{
	size_t filled = 0;

	while (filled < sizeof(spare.bytes)) {
		ssize_t got = getrandom(spare.bytes + filled, sizeof(spare.bytes) - filled, 0);

		if (got < 0 && errno != EINTR)
			return -1;
		if (got > 0)
			filled += (size_t)got;
	}
	spare.left = sizeof(spare.bytes);
	return 0;
}

int ticket_generate(struct ticket *ticket)
{
	uint8_t *bytes;

	if (!spare.left && fill_spare() < 0)
		return -1;
	spare.left -= TICKET_LEN;
	bytes = spare.bytes + spare.left;
	memcpy(ticket->bytes, bytes, TICKET_LEN);
	memset(bytes, 0, TICKET_LEN);
	return 0;
}

void ticket_format(char text[static TICKET_TEXT_LEN + 1], const struct ticket *ticket)
{
	for (size_t i = 0; i < TICKET_LEN; i++) {
		text[2 * i] = digits[ticket->bytes[i] >> 4];
		text[2 * i + 1] = digits[ticket->bytes[i] & 15];
	}
	text[TICKET_TEXT_LEN] = '\0';
}

static int digit_value(char digit)
{
	if (digit >= '0' && digit <= '9')
		return digit - '0';
	if (digit >= 'a' && digit <= 'f')
		return digit - 'a' + 10;
	return -1;
}

bool ticket_parse(struct ticket *ticket, const char *text, size_t len)
{
	if (len != TICKET_TEXT_LEN)
		return false;
	for (size_t i = 0; i < TICKET_LEN; i++) {
		int high = digit_value(text[2 * i]), low = digit_value(text[2 * i + 1]);

		if (high < 0 || low < 0)
			return false;
		ticket->bytes[i] = (uint8_t)(high << 4 | low);
	}
	return true;
}

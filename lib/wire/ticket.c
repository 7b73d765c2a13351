/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "ticket.h"

#include <errno.h>
#include <sys/random.h>

static const char digits[] = "0123456789abcdef";

int ticket_generate(struct ticket *ticket)
{
	size_t filled = 0;

	while (filled < TICKET_LEN) {
		ssize_t got = getrandom(ticket->bytes + filled, TICKET_LEN - filled, 0);

		if (got < 0 && errno != EINTR)
			return -1;
		if (got > 0)
			filled += (size_t)got;
	}
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

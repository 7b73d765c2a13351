/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Ticket: 128-bit random, single-use name of one offloaded response; written as 32 lower-case hexadecimal digits. */
#ifndef DISC_TICKET_H
#define DISC_TICKET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define TICKET_LEN 16
#define TICKET_TEXT_LEN 32

struct ticket {
	uint8_t bytes[TICKET_LEN];
};

/* Draws <ticket> from the kernel's random source. Returns 0, or -1 with errno set. */
int ticket_generate(struct ticket *ticket);

/* Writes <ticket> to <text> as TICKET_TEXT_LEN digits and a terminating zero. */
void ticket_format(char text[static TICKET_TEXT_LEN + 1], const struct ticket *ticket);

/* Reads <len> characters of <text>, which need not be terminated. Returns true, or false if they are not exactly
 * TICKET_TEXT_LEN lower-case hexadecimal digits. */
bool ticket_parse(struct ticket *ticket, const char *text, size_t len);

#endif

/* SPDX-License-Identifier: GPL-2.0-or-later */
/* IP address: a numeric address without port, for instance a virtual one, or a client's. */
#ifndef DISC_IP_ADDRESS_H
#define DISC_IP_ADDRESS_H

#include <stddef.h>
#include <stdint.h>

#define IP_ADDRESS_TEXT_MAX 46 /* INET6_ADDRSTRLEN */

struct ip_address {
	uint8_t family;      /* 4 or 6; 0: none */
	uint8_t address[16]; /* network order; IPv4 in the first 4, the others 0 */
};

/* Reads the <len> bytes at <text>, a numeric IPv4 or IPv6 address (RFC 4291 2.2). Returns 0; or -1, and <*address> has
 * family 0. */
int ip_address_parse(struct ip_address *address, const char *text, size_t len);

/* Writes <address> as text. Returns <text>, which is empty for family 0. */
const char *ip_address_format(const struct ip_address *address, char text[static IP_ADDRESS_TEXT_MAX]);

#endif

/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Client addresses and the networks (CIDR, RFC 4632 and RFC 4291 2.3) that routes match them with. An IPv4 address that
 * comes as IPv4-mapped IPv6 (a dual-stack listener) counts as IPv4. */
#ifndef DISC_CLIENT_NETWORK_H
#define DISC_CLIENT_NETWORK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CLIENT_ADDRESS_TEXT_MAX 46 /* INET6_ADDRSTRLEN */

enum client_family {
	CLIENT_UNKNOWN = 0, /* HAProxy had none, for instance behind a UNIX socket: no network holds it */
	CLIENT_IPV4,
	CLIENT_IPV6,
};

struct client_address {
	enum client_family family;
	uint8_t bytes[16]; /* network order; the first 4 of them for CLIENT_IPV4 */
};

struct client_network {
	struct client_address base;
	unsigned bits;
};

/* Sets <address> from 4 or 16 bytes in network order; any other <len> makes it CLIENT_UNKNOWN. */
void client_address_set(struct client_address *address, const uint8_t *bytes, size_t len);

/* Writes <address> in numbers, terminated; an empty text for CLIENT_UNKNOWN. Returns <text>. */
const char *client_address_format(const struct client_address *address, char text[static CLIENT_ADDRESS_TEXT_MAX]);

/* Reads "192.0.2.0/24", "2001:db8::/32" or a single address. On failure returns -1 and stores a static text in <*why>;
 * returns 0 otherwise. */
int client_network_parse(struct client_network *network, const char *text, const char **why);

bool client_network_holds(const struct client_network *network, const struct client_address *address);

#endif

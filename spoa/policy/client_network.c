/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "client_network.h"

#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>

static const uint8_t ipv4_mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

void client_address_set(struct client_address *address, const uint8_t *bytes, size_t len)
{
	memset(address, 0, sizeof(*address));
	if (len == 16 && memcmp(bytes, ipv4_mapped, sizeof(ipv4_mapped)) == 0) {
		bytes += sizeof(ipv4_mapped);
		len = 4;
	}
	if (len != 4 && len != 16)
		return;
	address->family = len == 4 ? CLIENT_IPV4 : CLIENT_IPV6;
	memcpy(address->bytes, bytes, len);
}

const char *client_address_format(const struct client_address *address, char text[static CLIENT_ADDRESS_TEXT_MAX])
{
	int family = address->family == CLIENT_IPV6 ? AF_INET6 : AF_INET;

	if (address->family == CLIENT_UNKNOWN || !inet_ntop(family, address->bytes, text, CLIENT_ADDRESS_TEXT_MAX))
		text[0] = '\0';
	return text;
}

/* True if the first <bits> bits of <a> and <b> are the same. */
static bool same_prefix(const uint8_t *a, const uint8_t *b, unsigned bits)
{
	unsigned whole = bits / 8, rest = bits % 8;

	if (memcmp(a, b, whole) != 0)
		return false;
	return !rest || (a[whole] ^ b[whole]) >> (8 - rest) == 0;
}

static bool has_bits_behind(const struct client_network *network, unsigned width)
{
	for (unsigned bit = network->bits; bit < width; bit++)
		if (network->base.bytes[bit / 8] >> (7 - bit % 8) & 1)
			return true;
	return false;
}

static int parse_address(struct client_address *address, const char *text)
{
	uint8_t bytes[16];

	if (inet_pton(AF_INET, text, bytes) == 1)
		client_address_set(address, bytes, 4);
	else if (inet_pton(AF_INET6, text, bytes) == 1)
		client_address_set(address, bytes, 16);
	else
		return -1;
	return 0;
}

int client_network_parse(struct client_network *network, const char *text, const char **why)
{
	char host[CLIENT_ADDRESS_TEXT_MAX];
	const char *slash = strchr(text, '/');
	size_t len = slash ? (size_t)(slash - text) : strlen(text);

	memset(network, 0, sizeof(*network));
	*why = "not an IPv4 or IPv6 address in numbers";
	if (len >= sizeof(host))
		return -1;
	memcpy(host, text, len);
	host[len] = '\0';
	if (parse_address(&network->base, host) < 0)
		return -1;
	unsigned width = network->base.family == CLIENT_IPV4 ? 32 : 128;
	network->bits = width;
	if (slash) {
		char *end;
		*why = "the prefix length behind '/' is not a number in the range of this address family";
		if (slash[1] < '0' || slash[1] > '9')
			return -1;
		unsigned long bits = strtoul(slash + 1, &end, 10);
		if (*end || bits > width)
			return -1;
		network->bits = (unsigned)bits;
	}
	*why = "the address has bits set behind the prefix length";
	return has_bits_behind(network, width) ? -1 : 0;
}

bool client_network_holds(const struct client_network *network, const struct client_address *address)
{
	if (address->family == CLIENT_UNKNOWN || address->family != network->base.family)
		return false;
	return same_prefix(network->base.bytes, address->bytes, network->bits);
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "ip_address.h"

#include <arpa/inet.h>
#include <string.h>

int ip_address_parse(struct ip_address *address, const char *text, size_t len)
{
	char terminated[IP_ADDRESS_TEXT_MAX];

	memset(address, 0, sizeof(*address));
	if (len >= sizeof(terminated))
		return -1;
	memcpy(terminated, text, len);
	terminated[len] = '\0';
	if (inet_pton(AF_INET, terminated, address->address) == 1)
		address->family = 4;
	else if (inet_pton(AF_INET6, terminated, address->address) == 1)
		address->family = 6;
	return address->family != 0 ? 0 : -1;
}

const char *ip_address_format(const struct ip_address *address, char text[static IP_ADDRESS_TEXT_MAX])
{
	if (address->family == 0 ||
	    !inet_ntop(address->family == 6 ? AF_INET6 : AF_INET, address->address, text, IP_ADDRESS_TEXT_MAX))
		text[0] = '\0';
	return text;
}

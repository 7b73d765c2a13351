/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "node_template.h"

#include <netinet/in.h>
#include <string.h>

void node_record_set(struct node_record *record, const uint8_t *bytes, size_t len)
{
	struct address *address = &record->addresses[len == 16];
	struct sockaddr_in *v4 = (struct sockaddr_in *)&address->storage;
	struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)&address->storage;

	memset(address, 0, sizeof(*address));
	if (len == 16) {
		v6->sin6_family = AF_INET6;
		memcpy(&v6->sin6_addr, bytes, len);
		address->len = sizeof(*v6);
	} else {
		v4->sin_family = AF_INET;
		memcpy(&v4->sin_addr, bytes, len);
		address->len = sizeof(*v4);
	}
}

int node_record_compare(const struct node_record *left, const struct node_record *right)
{
	for (size_t family = 0; family < 2; family++) {
		int order = memcmp(&left->addresses[family].storage, &right->addresses[family].storage,
				   sizeof(left->addresses[family].storage));

		if (order)
			return order;
	}
	return (int)left->port - (int)right->port;
}

static struct address with_port(const struct address *host, uint16_t port)
{
	struct address address = *host;

	if (address.storage.ss_family == AF_INET6)
		((struct sockaddr_in6 *)&address.storage)->sin6_port = htons(port);
	else
		((struct sockaddr_in *)&address.storage)->sin_port = htons(port);
	return address;
}

struct node *node_template_make(const struct node_template *template, const struct node_record *record, size_t index)
{
	const struct address *host = &record->addresses[template->prefer_ipv6];
	struct address fetch;
	char name[ADDRESS_TEXT_MAX];
	struct node *node;

	if (!host->len)
		host = &record->addresses[!template->prefer_ipv6];
	fetch = with_port(host, record->port ? record->port : template->fetch_port);
	node = node_new(address_format(&fetch, name), template->certificate_name, "", index);
	if (!node)
		return NULL;
	node->by_address = true;
	node->fetch = fetch;
	node->control = with_port(host, template->control_port);
	if (template->direct)
		memcpy(node->direct, record->addresses, sizeof(node->direct));
	node->weight = template->weight;
	node->max_offloads = template->max_offloads;
	return node;
}

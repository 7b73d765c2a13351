/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Node template: what the nodes of a pool have in common whose addresses DNS has. Pure: a record in, a node out. */
#ifndef DISC_NODE_TEMPLATE_H
#define DISC_NODE_TEMPLATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "address.h"
#include "node_pool.h"

/* Constant once it is read. */
struct node_template {
	const char *dns;  /* absolute name, without a dot at its end */
	bool service;     /* SRV records of <dns>, each with the port of a fetch server; else A and AAAA records */
	bool prefer_ipv6; /* of a name with addresses of both families those of IPv6 are connected to */
	bool direct;      /* packets of clients can be sent to these addresses */
	const char *certificate_name; /* dNSName that the certificate of each node must bear */
	uint16_t control_port;
	uint16_t fetch_port; /* without <service> */
	size_t max_nodes;
	unsigned weight; /* as struct node has them */
	int64_t max_offloads;
};

/* One node, as DNS has it. All zero but for these fields: two are the same one if their bytes are. */
struct node_record {
	struct address addresses[2]; /* IPv4 and IPv6, with port 0; <len> 0: none. One at least */
	uint16_t port;               /* of its fetch server; 0: the template has it */
};

/* Sets the address of <record> that is of the family of <bytes>: 4 bytes of IPv4, or 16 of IPv6. */
void node_record_set(struct node_record *record, const uint8_t *bytes, size_t len);

/* Order of records, the same for the same records, whatever the order in which DNS has them: < 0, 0 or > 0. */
int node_record_compare(const struct node_record *left, const struct node_record *right);

/* Makes the node of <record>, named as its fetch address is written. Returns it with one user, or NULL when memory is exhausted. */
struct node *node_template_make(const struct node_template *template, const struct node_record *record, size_t index);

#endif

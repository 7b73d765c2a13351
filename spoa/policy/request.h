/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Request: what HAProxy tells about one request in a NOTIFY (doc/protocol.md section 1). Its texts and the lease point
 * into the frame and are valid as long as that is. */
#ifndef DISC_REQUEST_H
#define DISC_REQUEST_H

#include <stdbool.h>

#include "client_network.h"
#include "control.h"
#include "spop_frame.h"

struct request {
	struct control_text method, host, target; /* empty if HAProxy sent none */
	struct control_text path;                 /* <target> up to its query */
	struct client_address client; /* as HAProxy was told, perhaps by a proxy in front: policy goes by it */
	struct client_address peer;   /* other end of the TCP connection: the direct path goes by it */
	const uint8_t *lease;         /* TX state in wire form, NULL if HAProxy has no lease */
	size_t lease_len;
	bool has_lease; /* HAProxy has one, though it may have come with a wrong type */
	bool has_lease_id;
	uint64_t lease_id;
	bool direct;   /* the client's connection can be handed off */
	bool mistyped; /* an argument that is known came with another type */
};

/* Reads the first message of a NOTIFY's <payload>; further ones are only checked for their form. Arguments are told
 * apart by name, unknown ones and nulls are skipped. Returns true, or false if the payload is malformed. */
bool request_read(struct request *request, struct spop_slice payload);

/* Sets <target> and the <path> that follows from it. */
void request_set_target(struct request *request, struct control_text target);

#endif

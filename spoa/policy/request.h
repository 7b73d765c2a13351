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
	struct control_text group;                /* trust group of the client's connection; empty: none yet */
	struct control_text path;                 /* <target> up to its query */
	struct client_address client; /* as HAProxy was told, perhaps by a proxy in front: policy goes by it */
	struct client_address peer;   /* other end of the TCP connection: the direct path goes by it */
	const uint8_t *lease;         /* TX state in wire form, NULL if HAProxy has no lease */
	size_t lease_len;
	bool has_lease; /* HAProxy has one, though it may have come with a wrong type */
	bool has_lease_id;
	uint64_t lease_id;
	bool direct;               /* the client's connection can be handed off */
	bool mistyped;             /* an argument that is known came with another type */
	struct spop_slice payload; /* the whole message, for request_argument(); empty: there are no other arguments */
};

/* An argument's value as text. */
struct request_text {
	struct control_text text; /* of a string or bytes: in the frame; of others: in <buffer> */
	char buffer[CLIENT_ADDRESS_TEXT_MAX];
};

enum request_argument {
	REQUEST_ARGUMENT_THERE,
	REQUEST_ARGUMENT_NULL,    /* HAProxy had no value for it, a field that the request does not have, say */
	REQUEST_ARGUMENT_UNKNOWN, /* HAProxy's message has no argument of this name */
};

/* Finds the argument <name>, known here or not, of the first message; of several the last one that is not null. <value>
 * is set if it is there: integers in decimal, "true" or "false", addresses in numbers. */
enum request_argument request_argument(const struct request *request, const char *name, struct request_text *value);

/* Reads the first message of a NOTIFY's <payload>; further ones are only checked for their form. Arguments are told
 * apart by name, unknown ones and nulls are skipped. Returns true, or false if the payload is malformed. */
bool request_read(struct request *request, struct spop_slice payload);

/* Sets <target> and the <path> that follows from it. */
void request_set_target(struct request *request, struct control_text target);

#endif

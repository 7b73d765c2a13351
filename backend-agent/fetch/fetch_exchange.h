/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Fetch exchange: one request and its response. Joins the request's ticket with the offer, checks the request's proof
 * with the offer's key, chooses how the body travels, and tells the agent how the offload ended.
 *
 *   begin() --> [ASKING] ----> [WAITING] -----> SENDING --> end()
 *              the origin     for the offer \     ^
 *                                            --> OPEN, if the body is announced as direct:
 *                                                until its clone needs no connection any more
 *
 * Stages in brackets are left out where there is nothing to wait for. Every stage may end(), or become FAILED.
 */
#ifndef DISC_FETCH_EXCHANGE_H
#define DISC_FETCH_EXCHANGE_H

#include "announcement.h"
#include "fetch_server.h"
#include "fetch_transfer.h"

enum fetch_exchange_stage {
	FETCH_EXCHANGE_ENDED,   /* or not begun: it holds nothing */
	FETCH_EXCHANGE_ASKING,  /* the origin: began() will be called */
	FETCH_EXCHANGE_WAITING, /* for the offer: began() will be called, unless give_up() comes first */
	FETCH_EXCHANGE_OPEN,    /* the transfer can be sent; whether the body follows depends on its clone */
	FETCH_EXCHANGE_SENDING, /* the transfer can be sent, whole */
	FETCH_EXCHANGE_FAILED,  /* out of memory: close the connection */
};

struct fetch_exchange {
	struct fetch_service *service;
	enum fetch_exchange_stage stage;
	const struct fetch_content *content; /* held: what <answer> is made from; NULL: nothing */
	struct fetch_answer answer;
	struct fetch_transfer transfer;
	bool head_only; /* HEAD: no text behind the head */
	bool http_1_0;
	bool keep_alive;      /* the connection may be used again afterwards */
	bool endless_request; /* its body is chunked: what comes behind it cannot be told from it */
	bool chunked;         /* the response's body is, though its length is known */
	double begun;         /* by metric_clock() */
	bool has_ticket;
	struct ticket ticket;
	char *target; /* with a ticket: the request's, owned */
	/* With a ticket, until its offer came: the proof of the request, and its text, owned (ticket_header.h). */
	struct proof proof;
	char *proven_text; /* NULL: no proof can be right */
	size_t proven_len;
	char announcement[ANNOUNCEMENT_TEXT_MAX]; /* value of Disc-Body; empty: there is none */
	struct ticket_waiter waiter;
	/* The origin's, which is asked in ASKING; afterwards the one behind answer.source while answer.origin is set. */
	struct http_stream *stream;
	uint64_t channel; /* of the offer: it gets the outcome of a sealed body */
	/* ASKING or WAITING is over: see <stage>. */
	void (*began)(void *context);
	/* The transfer was starved, and the body's source has more, or has failed. */
	void (*fed)(void *context);
	void *context;
};

/* Begins the exchange for <request>, of which nothing is kept; set service, began, fed and context before. <stage> says
 * what comes next. Every exchange that began is ended with fetch_exchange_end(). */
void fetch_exchange_begin(struct fetch_exchange *exchange, const struct fetch_request *request, bool keep_alive);

/* Begins one that answers <status> to a request that could not be read; the connection closes afterwards. */
void fetch_exchange_begin_status(struct fetch_exchange *exchange, int status);

/* Whether bytes of the connection are grants for the exchange (grant.h), until the last one. */
bool fetch_exchange_takes_grants(const struct fetch_exchange *exchange);

/* Takes a grant. Returns NULL, and there is something to send; or why it is refused, a static text: end the exchange with
 * FETCH_TRANSFER_MISGRANTED, and close the connection. */
const char *fetch_exchange_take_grant(struct fetch_exchange *exchange, const uint8_t wire[static GRANT_WIRE_LEN]);

/* In WAITING: the wait for the offer is over. Sets up the ordinary response. */
void fetch_exchange_give_up(struct fetch_exchange *exchange);

/* Ends the exchange and frees what it holds: with FETCH_TRANSFER_DONE the response was sent whole, with any other
 * status it was broken off for <why> (a static text). Reports the outcome to the agent. */
void fetch_exchange_end(struct fetch_exchange *exchange, enum fetch_transfer_status status, const char *why);

#endif

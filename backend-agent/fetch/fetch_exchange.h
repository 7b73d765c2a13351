/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Fetch exchange: one request and its response. Joins the request's ticket with the offer, checks the request's proof
 * with the offer's key, chooses how the body travels, and tells the agent how the offload ended.
 *
 *   begin() --> READY ---------------------------------> end()
 *          \--> ASKING --(answer came: began() with READY or WAITING)
 *          \--> WAITING --(offer came: began())--------> end()
 *                        \-(give_up(): READY)----------/
 */
#ifndef DISC_FETCH_EXCHANGE_H
#define DISC_FETCH_EXCHANGE_H

#include "announcement.h"
#include "fetch_server.h"
#include "fetch_transfer.h"

enum fetch_exchange_status {
	FETCH_EXCHANGE_READY,   /* exchange->transfer can be sent */
	FETCH_EXCHANGE_ASKING,  /* the origin: began() will be called, unless end() comes first */
	FETCH_EXCHANGE_WAITING, /* for the offer: began() will be called, unless give_up() or end() comes first */
	FETCH_EXCHANGE_FAILED,  /* out of memory: close the connection */
};

struct fetch_exchange {
	struct fetch_service *service;
	struct fetch_answer answer;
	struct fetch_transfer transfer;
	bool head_only; /* HEAD: no text behind the head */
	bool http_1_0;
	bool keep_alive; /* the connection may be used again afterwards */
	bool has_ticket;
	struct ticket ticket;
	char *target; /* with a ticket: the request's, owned */
	/* With a ticket, until its offer came: the proof of the request, and its text, owned (ticket_header.h). */
	struct proof proof;
	char *proven_text; /* NULL: no proof can be right */
	size_t proven_len;
	char announcement[ANNOUNCEMENT_TEXT_MAX]; /* value of Disc-Body; empty: there is none */
	struct ticket_waiter waiter;
	bool waiting;
	bool has_clone;               /* the body was announced as direct, and its clone waits for a connection */
	struct http_stream *stream;   /* of the origin, until its answer came */
	struct http_stream *answered; /* afterwards: the one behind answer.source while answer.origin is set */
	uint64_t channel;             /* of the offer: it gets the outcome of a sealed body */
	/* What begin() could not tell yet is known: READY, FAILED, or after ASKING also WAITING. */
	void (*began)(void *context, enum fetch_exchange_status status);
	/* The transfer was starved, and the body's source has more, or has failed. */
	void (*fed)(void *context);
	void *context;
};

/* Begins the exchange for <request>, of which nothing is kept; set service, began, fed and context before. Every
 * exchange that began is ended with fetch_exchange_end(), whatever begin() returned. */
enum fetch_exchange_status fetch_exchange_begin(struct fetch_exchange *exchange, const struct fetch_request *request,
						bool keep_alive);

/* Begins one that answers <status> to a request that could not be read; the connection closes afterwards. */
enum fetch_exchange_status fetch_exchange_begin_status(struct fetch_exchange *exchange, int status);

/* The wait for the offer is over: sets up the ordinary response. Returns READY or FAILED. */
enum fetch_exchange_status fetch_exchange_give_up(struct fetch_exchange *exchange);

/* Ends the exchange and frees what it holds: with FETCH_TRANSFER_DONE the response was sent whole, with any other
 * status it was broken off for <why> (a static text). Reports the outcome to the agent. */
void fetch_exchange_end(struct fetch_exchange *exchange, enum fetch_transfer_status status, const char *why);

#endif

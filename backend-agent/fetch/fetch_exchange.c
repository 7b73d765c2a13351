/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "fetch_exchange.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "file_body.h"
#include "log.h"
#include "node_metrics.h"
#include "secret.h"

#define NO_MEMORY "out of memory"
#define TOO_SHORT "the body is shorter than the agent's splice-min"

static void report(struct fetch_exchange *exchange, uint64_t channel, enum control_outcome outcome, const char *reason)
{
	struct offload_result result = {
		.ticket = exchange->ticket,
		.channel = channel,
		.outcome = outcome,
		.reason = reason,
	};

	if (exchange->transfer.kind == FETCH_BODY_SEALED) {
		result.records = sealed_body_records(exchange->transfer.sealed);
		result.bytes = sealed_body_bytes(exchange->transfer.sealed);
		result.changed = sealed_body_has_changed(exchange->transfer.sealed);
	} else if (exchange->transfer.kind == FETCH_BODY_GRANTED) {
		struct granted_body_count count = granted_body_count(exchange->transfer.granted);

		result.records = count.records;
		result.bytes = count.bytes;
		result.changed = count.changed;
	}
	node_metrics_add_outcome(outcome);
	result_queue_push(exchange->service->results, &result);
}

/* <offer>, which may be NULL, was taken out unused and stays so: it is wiped. */
static void drop_offer(struct fetch_exchange *exchange, struct ticket_offer *offer, const char *reason)
{
	if (!offer)
		return;
	report(exchange, offer->terms.channel, CONTROL_OUTCOME_DECLINED, reason);
	ticket_table_release(exchange->service->tickets, offer);
}

/* The same, and the response promises it; the request was proven. */
static void decline(struct fetch_exchange *exchange, struct ticket_offer *offer, const char *reason)
{
	struct announcement none = {.kind = ANNOUNCEMENT_NONE, .ticket = exchange->ticket};

	/* Without memory for a proof there is no promise: the response is an ordinary one. */
	(void)announcement_format(exchange->announcement, &none, offer->state.proof_key);
	drop_offer(exchange, offer, reason);
}

/* Returns why <exchange> is not to be offloaded, NULL if it is. */
static const char *reason_to_decline(const struct fetch_exchange *exchange)
{
	const struct fetch_answer *answer = &exchange->answer;
	struct timespec now;

	if (atomic_load_explicit(exchange->service->draining, memory_order_relaxed))
		return "the node is draining";
	if (!answer->has_body)
		return "the response has no body of a file";
	if (answer->status != 200 && answer->status != 206)
		return "the origin's status is neither 200 nor 206";
	if (!answer->has_length)
		return "the origin does not tell the body's length";
	if (!answer->is_pinned)
		return "the origin gives no strong validator";
	if (answer->origin && answer->status == 206 &&
	    (!answer->origin->has_range || answer->origin->range_length != answer->length))
		return "the origin does not tell which bytes of its object the body is";
	if (answer->length > (uint64_t)RECORD_COUNT_MAX * RECORD_PLAIN_MAX)
		return "the body needs more records than one lease may seal";
	if (!answer->origin &&
	    (clock_gettime(CLOCK_REALTIME, &now) < 0 || !file_object_is_settled(&answer->object, &now)))
		return "the file was written only now";
	return NULL;
}

/* Returns why no grants are taken for the answer, NULL if they are. */
static const char *reason_to_refuse_grants(const struct fetch_exchange *exchange, const struct ticket_offer *offer)
{
	if (offer->terms.continuation.etag.len)
		return "a continuation is not sealed by grants";
	if (exchange->http_1_0)
		return "HTTP/1.0 has no chunks for the answers to grants";
	return exchange->endless_request ? "the request's length is not known, grants cannot follow it" : NULL;
}

/* A body of unknown length: HTTP/1.0 knows only the end of the connection for it. */
static bool is_chunked(const struct fetch_exchange *exchange)
{
	return exchange->answer.has_body && !exchange->answer.has_length && !exchange->http_1_0;
}

/* Formats the head, with the text behind it if there is one, and begins the transfer with it. */
static int begin_transfer(struct fetch_exchange *exchange, uint64_t content_length)
{
	char bytes[RESPONSE_HEAD_MAX + FETCH_ANSWER_TEXT_MAX];
	struct response_head head;
	size_t len;

	fetch_answer_describe(&exchange->answer, &head);
	head.date = time(NULL);
	head.chunked = is_chunked(exchange) || exchange->chunked;
	head.close = !exchange->keep_alive;
	head.keep_alive = exchange->keep_alive && exchange->http_1_0;
	head.announcement = exchange->announcement[0] != '\0' ? exchange->announcement : NULL;
	if (content_length)
		head.content_length = content_length;
	if (exchange->chunked)
		head.has_content_length = false;
	len = response_head_format(bytes, RESPONSE_HEAD_MAX, &head);
	if (!len)
		return -1;
	if (exchange->answer.has_text && !exchange->head_only)
		len += fetch_answer_text(&exchange->answer, bytes + len);
	return fetch_transfer_init(&exchange->transfer, bytes, len);
}

/* Relays the body of the answer's source, which is the transfer's afterwards. Returns 0, or -1 if memory is exhausted. */
static int relay(struct fetch_exchange *exchange)
{
	struct relayed_body *body = relayed_body_new(exchange->answer.source, is_chunked(exchange));

	if (!body)
		return -1;
	exchange->answer.source = NULL;
	exchange->answer.origin = NULL;
	fetch_transfer_set_relayed(&exchange->transfer, body);
	return 0;
}

static void respond_plainly(struct fetch_exchange *exchange)
{
	struct fetch_answer *answer = &exchange->answer;

	exchange->stage = FETCH_EXCHANGE_FAILED;
	if (answer->has_body && !answer->has_length && exchange->http_1_0)
		exchange->keep_alive = false;
	if (begin_transfer(exchange, 0) < 0 || (answer->has_body && answer->source && relay(exchange) < 0))
		return;
	if (answer->has_body && !exchange->transfer.relayed)
		fetch_transfer_set_plain(&exchange->transfer, &answer->object, answer->offset, answer->length);
	exchange->stage = FETCH_EXCHANGE_SENDING;
}

/* Whether another node may go on with this body, and seal its records again. A replica knows the object by its entity
 * tag alone, so it must be a strong one. An origin may give every resource the same. */
static bool can_continue(const struct fetch_answer *answer)
{
	return !answer->origin && answer->etag[0] == '"';
}

/* Returns why the continuation is not sealed for <offer>, NULL if it is. Its keys and nonces may have sealed these
 * bytes before, so it must be the very same ones: an entity tag is unique per resource only, and an origin may give
 * every resource the same one. */
static const char *reason_to_refuse_continuation(const struct fetch_exchange *exchange,
						 const struct ticket_continuation *continuation)
{
	const struct fetch_answer *answer = &exchange->answer;

	if (answer->origin)
		return "a body of an HTTP origin is never sealed a second time";
	if (!can_continue(answer))
		return "the file has no strong entity tag: its body is never sealed a second time";
	if (!text_span_equals(continuation->target, exchange->target))
		return "the continuation of another target was offered";
	if (answer->status != 206 || answer->offset != continuation->offset || answer->length != continuation->length ||
	    !text_span_equals(continuation->etag, answer->etag))
		return "this is not the continuation that was offered";
	return NULL;
}

/* Returns why the answer is not sealed for <offer>, NULL if it is. A continuation is sealed however short it is. */
static const char *reason_to_refuse(const struct fetch_exchange *exchange, const struct ticket_offer *offer)
{
	const char *reason = reason_to_decline(exchange);

	if (reason)
		return reason;
	if (offer->state.use == TX_USE_GRANTS)
		reason = reason_to_refuse_grants(exchange, offer);
	if (reason)
		return reason;
	if (offer->terms.continuation.etag.len)
		return reason_to_refuse_continuation(exchange, &offer->terms.continuation);
	return exchange->answer.length < offer->terms.splice_min ? TOO_SHORT : NULL;
}

static void on_clone_fed(void *clone)
{
	clone_fed(clone);
}

static void on_body_fed(void *context)
{
	struct fetch_exchange *exchange = context;

	exchange->fed(exchange->context);
}

/* The clone waits no more. */
static void on_settled(void *context, struct sealed_body *body)
{
	struct fetch_exchange *exchange = context;

	exchange->stage = FETCH_EXCHANGE_SENDING;
	if (!body) {
		fetch_transfer_close(&exchange->transfer);
	} else {
		if (exchange->stream)
			http_stream_redirect(exchange->stream, on_body_fed, exchange);
		fetch_transfer_set_chunk(&exchange->transfer, body);
	}
	exchange->fed(exchange->context);
}

/* Hands <body> to a clone, if this node, the agent and the body are fit for it. Returns false if not: <body> stays the
 * caller's. */
static bool make_clone(struct fetch_exchange *exchange, const struct ticket_offer *offer, struct sealed_body *body)
{
	const struct fetch_answer *answer = &exchange->answer;
	struct clone_terms terms = {
		.ticket = exchange->ticket, .channel = offer->terms.channel, .announcer = {on_settled, exchange}};
	struct clone *clone;

	if (!exchange->service->clones || exchange->http_1_0 || offer->terms.direct_min == 0 ||
	    answer->length < offer->terms.direct_min)
		return false;
	if (!answer->origin && !can_continue(answer)) {
		log_debug("fetch: the file has no strong entity tag: its body is not sent directly");
		return false;
	}
	if (!clone_set_reaches(exchange->service->clones, &offer->terms.client))
		return false;
	clone = clone_set_add(exchange->service->clones, &terms, body);
	if (!clone)
		return false;
	if (answer->origin)
		http_stream_redirect(exchange->stream, on_clone_fed, clone);
	return true;
}

/* Writes the announcement of <body>, proven under the key of <offer>. Returns 0, or -1 if it cannot be proven. */
static int write_announcement(struct fetch_exchange *exchange, const struct ticket_offer *offer,
			      const struct sealed_body *body, enum announcement_kind kind)
{
	const struct record_layout *layout = sealed_body_layout(body);
	const struct fetch_answer *answer = &exchange->answer;
	const struct announcement announcement = {
		.kind = kind,
		.ticket = exchange->ticket,
		.seq = offer->state.seq,
		.records = layout->records,
		.length = layout->length,
		.status = (unsigned)answer->status,
		.first = answer->offset,
		.etag = can_continue(answer) ? answer->etag : NULL,
	};

	return announcement_format(exchange->announcement, &announcement, offer->state.proof_key) ? 0 : -1;
}

/* <body> was made for <offer>: announces it. Both are taken over. */
static void announce(struct fetch_exchange *exchange, struct ticket_offer *offer, struct sealed_body *body)
{
	struct fetch_answer *answer = &exchange->answer;
	bool has_clone = make_clone(exchange, offer, body);
	int begun;

	exchange->stage = has_clone ? FETCH_EXCHANGE_OPEN : FETCH_EXCHANGE_SENDING;
	exchange->chunked = has_clone;
	exchange->channel = offer->terms.channel;
	sealed_body_time_first(body, node_metrics_first_record(has_clone), exchange->begun);
	begun = write_announcement(exchange, offer, body, has_clone ? ANNOUNCEMENT_DIRECT : ANNOUNCEMENT_SPLICE);
	if (begun == 0)
		begun = begin_transfer(exchange, sealed_body_layout(body)->ciphertext);
	/* It is the body's now. */
	answer->source = NULL;
	answer->origin = NULL;
	if (begun < 0 && !has_clone) {
		exchange->stage = FETCH_EXCHANGE_FAILED;
		sealed_body_free(body);
		drop_offer(exchange, offer, NO_MEMORY);
		return;
	}
	ticket_table_release(exchange->service->tickets, offer);
	if (begun < 0) {
		exchange->stage = FETCH_EXCHANGE_FAILED;
		clone_set_cancel(exchange->service->clones, &exchange->ticket, NO_MEMORY);
	} else if (has_clone) {
		fetch_transfer_set_open(&exchange->transfer);
	} else {
		/* No other node continues a body on the splice path. */
		sealed_body_allow_view(body);
		fetch_transfer_set_sealed(&exchange->transfer, body);
		node_metrics_add(NODE_OFFLOADS_ACTIVE, 1);
	}
}

/* The same of a body for grants. */
static int write_announcement_of_grants(struct fetch_exchange *exchange, const struct ticket_offer *offer,
					struct granted_body *body)
{
	const struct fetch_answer *answer = &exchange->answer;
	const struct announcement announcement = {
		.kind = ANNOUNCEMENT_GRANTS,
		.ticket = exchange->ticket,
		.length = answer->length,
		.status = (unsigned)answer->status,
		.first = answer->offset,
		.etag = can_continue(answer) ? answer->etag : NULL,
		.ready = granted_body_ready(body),
	};

	return announcement_format(exchange->announcement, &announcement, offer->state.proof_key) ? 0 : -1;
}

static void announce_grants(struct fetch_exchange *exchange, struct ticket_offer *offer, struct granted_body *body)
{
	int begun = write_announcement_of_grants(exchange, offer, body);

	exchange->stage = FETCH_EXCHANGE_SENDING;
	exchange->chunked = true;
	exchange->channel = offer->terms.channel;
	if (begun == 0)
		begun = begin_transfer(exchange, 0);
	/* It is the body's now. */
	exchange->answer.source = NULL;
	exchange->answer.origin = NULL;
	if (begun < 0) {
		exchange->stage = FETCH_EXCHANGE_FAILED;
		granted_body_free(body);
		drop_offer(exchange, offer, NO_MEMORY);
		return;
	}
	ticket_table_release(exchange->service->tickets, offer);
	fetch_transfer_set_granted(&exchange->transfer, body);
	node_metrics_add(NODE_OFFLOADS_ACTIVE, 1);
}

/* Makes the body that <offer> is for, from the answer's source, and announces it. Both are taken over with RECORD_OK. */
static enum record_error make_body(struct fetch_exchange *exchange, struct ticket_offer *offer)
{
	struct fetch_answer *answer = &exchange->answer;
	struct granted_body *granted;
	struct sealed_body *sealed;
	enum record_error error;

	if (offer->state.use == TX_USE_GRANTS) {
		error = granted_body_new(&granted, answer->source, answer->length, &offer->state, &exchange->ticket);
		if (error == RECORD_OK)
			announce_grants(exchange, offer, granted);
		return error;
	}
	error = sealed_body_new(&sealed, answer->source, answer->length, &offer->state);
	if (error == RECORD_OK)
		announce(exchange, offer, sealed);
	return error;
}

/* Whether the request bears the proof that only those who hold the offer's key can compute. Its text is not needed
 * afterwards. */
static bool is_proven(struct fetch_exchange *exchange, const struct ticket_offer *offer)
{
	struct proof right;
	bool proven = exchange->proven_text &&
		      proof_compute(&right, offer->state.proof_key, PROOF_OF_REQUEST, exchange->proven_text,
				    exchange->proven_len) &&
		      proof_equal(&right, &exchange->proof);

	secret_wipe(&right, sizeof(right));
	free(exchange->proven_text);
	exchange->proven_text = NULL;
	return proven;
}

static void warn_bad_proof(struct fetch_exchange *exchange, const struct ticket_offer *offer)
{
	struct fetch_service *service = exchange->service;
	char note[LOG_LIMIT_NOTE_MAX], ticket[TICKET_TEXT_LEN + 1];

	ticket_format(ticket, &exchange->ticket);
	if (log_limit_allow(&service->bad_proofs, ev_now(service->loop), note))
		log_warning("lease %" PRIu64 ", ticket %.8s: the proof of a fetch is wrong, its body is not sealed%s",
			    offer->terms.lease_id, ticket, note);
}

/* The offer is here: announce records, or decline if they cannot be made. The offer is given back in every case. */
static void respond_sealed(struct fetch_exchange *exchange, struct ticket_offer *offer)
{
	struct fetch_answer *answer = &exchange->answer;
	const char *reason;
	enum record_error error = RECORD_NO_MEMORY;

	if (!is_proven(exchange, offer)) {
		warn_bad_proof(exchange, offer);
		drop_offer(exchange, offer, "the proof of the fetch is wrong");
		respond_plainly(exchange);
		return;
	}
	reason = reason_to_refuse(exchange, offer);
	if (!reason) {
		/* A file whose time says too little, and whose digest lets another node seal its records again: whatever is
		 * done to it, it is not what was digested any more. */
		answer->object.pins_ctime = answer->object.has_digest && !answer->object.mtime.tv_nsec &&
					    (offer->terms.direct_min || offer->terms.continuation.etag.len);
		if (!answer->source)
			answer->source = file_body_new(&answer->object, answer->offset, answer->length);
		if (answer->source)
			error = make_body(exchange, offer);
		if (error == RECORD_OK)
			return;
		reason = record_error_text(error);
	}
	decline(exchange, offer, reason);
	respond_plainly(exchange);
}

/* The offer that the exchange waited for came. */
static void on_offer(struct ticket_waiter *waiter, struct ticket_offer *offer)
{
	struct fetch_exchange *exchange = waiter->context;

	respond_sealed(exchange, offer);
	exchange->began(exchange->context);
}

/* Every answer with a ticket needs the offer, also one that will not be sealed: "none" is the promise of the exchange
 * that took it out. So a fetch that came first waits in either case. */
static void join_ticket(struct fetch_exchange *exchange)
{
	struct ticket_offer *offer;

	exchange->waiter = (struct ticket_waiter){
		.ticket = exchange->ticket,
		.mailbox = &exchange->service->mailbox,
		.call = on_offer,
		.context = exchange,
	};
	switch (ticket_table_claim(exchange->service->tickets, &exchange->waiter, &offer, ticket_clock())) {
	case TICKET_CLAIM_JOINED:
		respond_sealed(exchange, offer);
		return;
	case TICKET_CLAIM_WAITING:
		exchange->stage = FETCH_EXCHANGE_WAITING;
		return;
	case TICKET_CLAIM_USED:
		node_metrics_add(NODE_TICKETS_REUSED, 1);
		break;
	case TICKET_CLAIM_REFUSED:
		log_warning("too many tickets wait or are remembered: an offload is not served (offload.max-waiting)");
		break;
	}
	respond_plainly(exchange);
}

static void reset(struct fetch_exchange *exchange)
{
	exchange->transfer = (struct fetch_transfer){.plain = {.object = {.fd = -1}}};
	exchange->head_only = exchange->http_1_0 = exchange->keep_alive = exchange->has_ticket = false;
	exchange->endless_request = exchange->chunked = false;
	exchange->announcement[0] = '\0';
	exchange->target = NULL;
	exchange->proven_text = NULL;
	exchange->stream = NULL;
	exchange->channel = 0;
	exchange->begun = metric_clock();
	exchange->content = NULL;
	exchange->stage = FETCH_EXCHANGE_FAILED;
}

/* The response is known; decide how to transfer its body. */
static void respond(struct fetch_exchange *exchange)
{
	if (exchange->has_ticket)
		join_ticket(exchange);
	else
		respond_plainly(exchange);
}

/* The origin's stream got on. */
static void on_stream(void *context)
{
	struct fetch_exchange *exchange = context;
	struct http_stream *stream = exchange->stream;

	if (exchange->stage != FETCH_EXCHANGE_ASKING) {
		exchange->fed(exchange->context);
		return;
	}
	switch (http_stream_state(stream)) {
	case HTTP_STREAM_ASKING:
		return;
	case HTTP_STREAM_ANSWERED:
		fetch_answer_init_origin(&exchange->answer, stream, exchange->head_only);
		break;
	case HTTP_STREAM_FAILED:
		fetch_answer_init_status(&exchange->answer, http_stream_failure_status(stream));
		body_source_free(http_stream_body(stream));
		exchange->stream = NULL;
		break;
	}
	log_debug("origin answered: %d, %llu bytes", exchange->answer.status,
		  (unsigned long long)exchange->answer.length);
	respond(exchange);
	exchange->began(exchange->context);
}

static void ask_origin(struct fetch_exchange *exchange, const struct fetch_request *request)
{
	/* For an end that comes before the answer. */
	fetch_answer_init_status(&exchange->answer, 503);
	exchange->stream = http_source_fetch(exchange->service->origin, request, on_stream, exchange);
	if (exchange->stream)
		exchange->stage = FETCH_EXCHANGE_ASKING;
}

/* Keeps what the offer will be compared with. Returns false if memory is exhausted. */
static bool keep_claim(struct fetch_exchange *exchange, const struct fetch_request *request)
{
	const struct proven_request proven = {
		.method = {request->method_name, strlen(request->method_name)},
		.target = request->target,
		.range = request->range,
		.if_range = request->conditions.if_range,
		.if_match = request->conditions.if_match,
	};

	exchange->target = strndup(request->target.data, request->target.len);
	exchange->proof = request->ticket.proof;
	if (exchange->target && !request->ambiguous)
		exchange->proven_text = ticket_header_proven_text(&exchange->ticket, &proven, &exchange->proven_len);
	return exchange->target && (exchange->proven_text || request->ambiguous);
}

void fetch_exchange_begin(struct fetch_exchange *exchange, const struct fetch_request *request, bool keep_alive)
{
	reset(exchange);
	exchange->head_only = request->method == FETCH_HEAD;
	exchange->http_1_0 = request->http_minor == 0;
	exchange->endless_request = request->chunked_body;
	exchange->keep_alive = keep_alive;
	exchange->has_ticket = request->has_ticket;
	exchange->ticket = request->ticket.ticket;
	node_metrics_add(NODE_FETCHES, 1);
	if (request->has_ticket && !keep_claim(exchange, request)) {
		fetch_answer_init_status(&exchange->answer, 503);
		return;
	}
	exchange->content = exchange->service->content;
	fetch_content_hold(exchange->content);
	if (exchange->service->origin) {
		log_debug("fetch %.*s%s", (int)request->target.len, request->target.data,
			  request->has_ticket ? " with a ticket" : "");
		if (request->method != FETCH_OTHER && !request->has_more_fields) {
			ask_origin(exchange, request);
			return;
		}
		fetch_answer_init_status(&exchange->answer, request->method == FETCH_OTHER ? 405 : 431);
		respond(exchange);
		return;
	}
	fetch_answer_init(&exchange->answer, exchange->content, request, time(NULL));
	log_debug("fetch %.*s%s: %d, %llu bytes", (int)request->target.len, request->target.data,
		  request->has_ticket ? " with a ticket" : "", exchange->answer.status,
		  (unsigned long long)exchange->answer.length);
	respond(exchange);
}

void fetch_exchange_begin_status(struct fetch_exchange *exchange, int status)
{
	reset(exchange);
	fetch_answer_init_status(&exchange->answer, status);
	respond_plainly(exchange);
}

bool fetch_exchange_takes_grants(const struct fetch_exchange *exchange)
{
	return exchange->stage == FETCH_EXCHANGE_SENDING && exchange->transfer.kind == FETCH_BODY_GRANTED &&
	       granted_body_is_open(exchange->transfer.granted);
}

const char *fetch_exchange_take_grant(struct fetch_exchange *exchange, const uint8_t wire[static GRANT_WIRE_LEN])
{
	return granted_body_take(exchange->transfer.granted, wire);
}

void fetch_exchange_give_up(struct fetch_exchange *exchange)
{
	struct ticket_offer *offer =
		ticket_table_withdraw(exchange->service->tickets, &exchange->waiter, ticket_clock());

	/* The offer raced with the timeout: it is used. */
	if (offer) {
		respond_sealed(exchange, offer);
		return;
	}
	node_metrics_add(NODE_TICKETS_UNKNOWN, 1);
	respond_plainly(exchange);
}

static void report_sealed(struct fetch_exchange *exchange, enum fetch_transfer_status status, const char *why)
{
	enum control_outcome outcome = CONTROL_OUTCOME_ABORTED;

	if (status == FETCH_TRANSFER_DONE) {
		outcome = CONTROL_OUTCOME_SEALED;
		why = "";
	} else if (status == FETCH_TRANSFER_BROKEN || status == FETCH_TRANSFER_MISGRANTED) {
		outcome = CONTROL_OUTCOME_FAILED;
	}
	node_metrics_add(NODE_OFFLOADS_ACTIVE, -1);
	report(exchange, exchange->channel, outcome, why);
}

/* What was sealed for nothing counts too. */
static void count_bytes(const struct fetch_exchange *exchange, enum fetch_transfer_status status)
{
	struct granted_body_count count;

	switch (exchange->transfer.kind) {
	case FETCH_BODY_SEALED:
		node_metrics_add(NODE_BYTES_SEALED, (int64_t)sealed_body_bytes(exchange->transfer.sealed));
		break;
	case FETCH_BODY_GRANTED:
		count = granted_body_count(exchange->transfer.granted);
		node_metrics_add(NODE_BYTES_SEALED, (int64_t)count.bytes);
		node_metrics_add(NODE_BYTES_CLEAR, (int64_t)count.clear);
		node_metrics_add(NODE_GRANTS, (int64_t)count.grants);
		break;
	case FETCH_BODY_NONE:
	case FETCH_BODY_OPEN:
	case FETCH_BODY_PLAIN:
	case FETCH_BODY_RELAYED:
		node_metrics_add(NODE_BYTES_PLAIN, (int64_t)exchange->transfer.sent);
		break;
	}
	if (status == FETCH_TRANSFER_BROKEN)
		node_metrics_add(NODE_FILES_CHANGED, 1);
	if (status == FETCH_TRANSFER_MISGRANTED)
		node_metrics_add(NODE_GRANTS_REFUSED, 1);
}

void fetch_exchange_end(struct fetch_exchange *exchange, enum fetch_transfer_status status, const char *why)
{
	switch (exchange->stage) {
	case FETCH_EXCHANGE_ASKING:
		body_source_free(http_stream_body(exchange->stream));
		break;
	case FETCH_EXCHANGE_WAITING:
		drop_offer(exchange,
			   ticket_table_withdraw(exchange->service->tickets, &exchange->waiter, ticket_clock()),
			   "the fetch went away");
		break;
	case FETCH_EXCHANGE_OPEN:
		clone_set_cancel(exchange->service->clones, &exchange->ticket, "the fetch went away");
		break;
	case FETCH_EXCHANGE_ENDED:
	case FETCH_EXCHANGE_SENDING:
	case FETCH_EXCHANGE_FAILED:
		break;
	}
	exchange->stage = FETCH_EXCHANGE_ENDED;
	count_bytes(exchange, status);
	if (exchange->transfer.kind == FETCH_BODY_SEALED || exchange->transfer.kind == FETCH_BODY_GRANTED)
		report_sealed(exchange, status, why);
	fetch_transfer_release(&exchange->transfer);
	fetch_answer_release(&exchange->answer);
	if (exchange->content)
		fetch_content_drop(exchange->content);
	exchange->content = NULL;
	free(exchange->target);
	exchange->target = NULL;
	free(exchange->proven_text);
	exchange->proven_text = NULL;
}

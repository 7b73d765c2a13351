/*
 * src/flt_disc.c
 * The filter of the proxies with rules "disc-lease" or "disc-follow".
 *
 * No keyword declares it: a proxy with such rules, its own or those of its defaults
 * section, gets it when the configuration was checked. All others never meet it. It
 * brings http_disc.c and http_follow.c to the places where they act:
 *
 *    request                                    response
 *    before WAIT_HTTP, PROCESS_FE, PROCESS_BE   before WAIT_HTTP: fields are checked and
 *      (a backend's too): a client's Disc-        removed, or the request is sent again
 *      fields are removed                       before PROCESS: a reference is followed
 *    before INNER, and http_headers: the        http_headers: last checks, the mux gets
 *      request is kept, its ticket checked        to know that records follow
 *
 * It looks at no payload, so that fast-forwarding and splicing go on.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <haproxy/api.h>
#include <haproxy/channel.h>
#include <haproxy/disc_stats.h>
#include <haproxy/errors.h>
#include <haproxy/filters.h>
#include <haproxy/flt_disc.h>
#include <haproxy/http_ana.h>
#include <haproxy/http_disc.h>
#include <haproxy/http_follow.h>
#include <haproxy/http_htx.h>
#include <haproxy/htx.h>
#include <haproxy/listener-t.h>
#include <haproxy/pool.h>
#include <haproxy/proxy.h>
#include <haproxy/sc_strm.h>
#include <haproxy/stconn.h>
#include <haproxy/stream.h>
#include <haproxy/task.h>
#include <haproxy/ticks.h>

DECLARE_STATIC_POOL(pool_head_disc_stream, "disc_stream", sizeof(struct disc_stream));

static struct flt_ops flt_disc_ops;

/* analysers of the request before which a client's fields may have to be removed: a
 * stream upgraded from TCP has none before the backend's
 */
#define FLT_DISC_AN_CLEAN  (AN_REQ_WAIT_HTTP | AN_REQ_HTTP_PROCESS_FE | AN_REQ_HTTP_PROCESS_BE)

/* Returns our filter of stream <s>, or NULL. */
static struct filter *flt_disc_filter(const struct stream *s)
{
	struct filter *filter;

	list_for_each_entry(filter, &s->strm_flt.filters, list) {
		if (FLT_OPS(filter) == &flt_disc_ops)
			return filter;
	}
	return NULL;
}

/* Returns our filter of stream <s>, which is known to have it. */
static struct filter *flt_disc_own(const struct stream *s)
{
	struct filter *filter = flt_disc_filter(s);

	ALREADY_CHECKED(filter);
	return filter;
}

/* Returns what DiSC knows about <s>, or NULL. */
struct disc_stream *flt_disc_find(const struct stream *s)
{
	struct filter *filter = flt_disc_filter(s);

	return filter ? filter->ctx : NULL;
}

/*
 * Life of the filter
 */

/* Called for the frontend's filter when the stream is created, and for the backend's one
 * when it is chosen: there is one instance a stream, which knows the rules of both.
 * Returns 1 if <filter> is this one, 0 if there is one already, or -1 on failure.
 */
static int flt_disc_attach(struct stream *s, struct filter *filter)
{
	const unsigned int rules = (uintptr_t)FLT_CONF(filter);
	struct disc_stream *ds = flt_disc(s);

	if (ds) {
		if ((rules & ~ds->rules) & FLT_DISC_LEASE)
			flt_disc_own(s)->pre_analyzers |= FLT_DISC_AN_CLEAN;
		ds->rules |= rules;
		return 0;
	}
	ds = pool_zalloc(pool_head_disc_stream);
	if (!ds)
		return -1;
	ds->rules = rules;
	filter->ctx = ds;
	filter->pre_analyzers = FLT_DISC_AN_CLEAN | AN_REQ_HTTP_INNER | AN_RES_WAIT_HTTP;
	s->strm_flt.flags |= STRM_FLT_FL_DISC;
	return 1;
}

/* Called when <s> ends: what is left of a lease is given up. */
static void flt_disc_detach(struct stream *s, struct filter *filter)
{
	struct disc_stream *ds = filter->ctx;

	disc_stats_count(s);
	if (ds->txn)
		http_disc_release(s);
	if (ds->follow)
		http_follow_release(s);
	pool_free(pool_head_disc_stream, ds);
	filter->ctx = NULL;
	/* STRM_FLT_FL_DISC stays: SPOE's buffers are released, and to be wiped, after this */
}

/* Called when the analysis of a response begins: the first one, or the one to a request
 * sent again. Always returns 1.
 */
static int flt_disc_start_analyze(struct stream *s, struct filter *filter, struct channel *chn)
{
	if (chn->flags & CF_ISRESP)
		filter->pre_analyzers |= AN_RES_WAIT_HTTP;
	return 1;
}

/* Called when the analysis of a channel is over. A backend's filters are about to be
 * removed, but what we know is wanted until the log was written. Always returns 1.
 */
static int flt_disc_end_analyze(struct stream *s, struct filter *filter, struct channel *chn)
{
	if (chn->flags & CF_ISRESP) {
		http_disc_count(s);
		filter->flags &= ~FLT_FL_IS_BACKEND_FILTER;
	}
	return 1;
}

/* Called when a timer of <s> has expired, thus before "option contstats" counts. */
static void flt_disc_check_timeouts(struct stream *s, struct filter *filter)
{
	http_disc_count(s);
}

/* Called by the rule that wants the reference in the response of <s> to be followed, and
 * yields then: it is done as soon as the analyser has come back.
 */
void flt_disc_follow(struct stream *s)
{
	flt_disc_own(s)->pre_analyzers |= AN_RES_HTTP_PROCESS_BE;
	/* the first server has nothing more to say, and its failure must not end the stream */
	s->scb->flags &= ~SC_FL_ERROR;
	s->res.flags &= ~CF_READ_TIMEOUT;
	task_wakeup(s->task, TASK_WOKEN_MSG);
}

/* Makes <s> leave the filters of its backend, but for ours: it goes on in another one. */
static void flt_disc_leave_backend(struct stream *s, struct filter *filter)
{
	const unsigned int of_backend = filter->flags & FLT_FL_IS_BACKEND_FILTER;

	filter->flags &= ~FLT_FL_IS_BACKEND_FILTER;
	flt_stream_release(s, 1);
	filter->flags |= of_backend;
}

/* Makes the filters of <s> forget the first request and its response, since there will be
 * others in another backend. To be called before that one is set.
 */
void flt_disc_restart(struct stream *s)
{
	struct filter *own = flt_disc_own(s);
	struct filter *filter;

	list_for_each_entry(filter, &strm_flt(s)->filters, list) {
		unregister_data_filter(s, &s->req, filter);
		unregister_data_filter(s, &s->res, filter);
		FLT_OFF(filter, &s->req) = FLT_OFF(filter, &s->res) = 0;
	}
	FLT_STRM_OFF(s, &s->req) = FLT_STRM_OFF(s, &s->res) = 0;
	flt_disc_leave_backend(s, own);
	own->pre_analyzers |= AN_REQ_HTTP_INNER | AN_RES_WAIT_HTTP;
}

/*
 * Requests
 */

/* Returns the message in <chn> if it begins with a block of type <type>, otherwise NULL. */
static struct htx *flt_disc_message(struct channel *chn, enum htx_blk_type type)
{
	struct htx *htx = htxbuf(&chn->buf);

	if ((htx->flags & (HTX_FL_PARSING_ERROR | HTX_FL_PROCESSING_ERROR)) ||
	    htx_is_empty(htx) || htx_get_first_type(htx) != type)
		return NULL;
	return htx;
}

/* Called before analyser <an_bit> of the request. Always returns 1. */
static int flt_disc_pre_request(struct stream *s, struct filter *filter, unsigned int an_bit)
{
	struct disc_stream *ds = filter->ctx;
	struct htx *htx = IS_HTX_STRM(s) ? flt_disc_message(&s->req, HTX_BLK_REQ_SL) : NULL;

	if (!htx)
		return 1;
	if (an_bit == AN_REQ_HTTP_INNER) {
		/* Resuming begins with the filter that stopped. Ours stops a response whose
		 * request is sent again, so it has to be the first one for the others.
		 */
		LIST_DEL_INIT(&filter->list);
		LIST_INSERT(&s->strm_flt.filters, &filter->list);
		http_follow_save_request(s, htx);
	}
	else {
		if (ds->rules & FLT_DISC_LEASE)
			http_disc_clean_headers(htx);
		filter->pre_analyzers &= ~FLT_DISC_AN_CLEAN; /* the next ones are ours */
	}
	return 1;
}

/*
 * Responses
 */

/* Returns the position of start line number <n> of <htx>, counted from 0, or -1. */
static int32_t flt_disc_head(const struct htx *htx, int n)
{
	int32_t pos;

	for (pos = htx_get_head(htx); pos != -1; pos = htx_get_next(htx, pos)) {
		if (htx_get_blk_type(htx_get_blk(htx, pos)) == HTX_BLK_RES_SL && n-- == 0)
			break;
	}
	return pos;
}

/* Checks all heads of responses in <htx>, as they came from the server: the analyser takes
 * interim ones and the final one in one go. Returns 1 if they may be processed, 0 if one
 * of them must not be forwarded, or -1 on failure.
 */
static int flt_disc_check_heads(struct stream *s, struct disc_stream *ds, struct htx *htx)
{
	int first = 0, n, interim, ret = 1;

	while (flt_disc_head(htx, first) != htx->first)
		first++;
	n = first;
	do {
		int status;

		/* positions change when a field is added, numbers do not */
		htx->first = flt_disc_head(htx, n++);
		status = http_get_stline(htx)->info.res.status;
		interim = status < 200 && status != 101;
		if ((ds->rules & FLT_DISC_LEASE) && !http_disc_check_response(s, htx))
			ret = 0;
		else if (ds->rules & FLT_DISC_FOLLOW) {
			http_follow_remove_locations(s, htx);
			if (interim)
				http_follow_remove_references(htx);
			else {
				http_follow_clean_response(s, htx);
				ret = http_follow_merge(s, htx) ? 1 : -1;
			}
		}
	} while (ret == 1 && interim && flt_disc_head(htx, n) != -1);
	htx->first = flt_disc_head(htx, first);
	return ret;
}

/* Called while there is no head of a response for <s>: waits for it, like the analyser,
 * unless it will never come. Returns 1 if the analyser is to be called, otherwise 0.
 */
static int flt_disc_wait_response(struct stream *s)
{
	if (!(s->scb->flags & (SC_FL_ERROR | SC_FL_EOS | SC_FL_ABRT_DONE)) && !(s->res.flags & CF_READ_TIMEOUT) &&
	    !sc_ep_test(s->scf, SE_FL_ERR_PENDING)) {
		channel_dont_close(&s->res);
		s->scb->flags |= SC_FL_RCV_ONCE;
		return 0;
	}
	if (http_disc_may_replay(s)) {
		if (co_data(&s->res))
			return 0; /* an interim response, which goes first */
		if (http_disc_replay_failed(s))
			return 1; /* to wait for the next one */
	}
	/* The client can not send the second request again, as it may do with its own one on a
	 * connection kept alive: it gets an error.
	 */
	if (http_follow_done(s))
		s->flags &= ~SF_SRV_REUSED;
	return 1;
}

/* Makes the server's mux receive on, which waited for the headers of the response of <s>
 * to be looked at.
 */
static void flt_disc_resume_recv(struct stream *s)
{
	struct stconn *sc = s->scb;
	const struct connection *conn = sc_conn(sc);

	if (conn && conn->mux && (sc->wait_event.events & SUB_RETRY_RECV)) {
		conn->mux->unsubscribe(sc, SUB_RETRY_RECV, &sc->wait_event);
		tasklet_wakeup(sc->wait_event.tasklet);
	}
}

/* Called before http_wait_for_response(). Returns 1 if it is to be called, otherwise 0. */
static int flt_disc_pre_response(struct stream *s, struct disc_stream *ds)
{
	struct htx *htx = htxbuf(&s->res.buf);
	int awaited, ret;

	if ((htx->flags & HTX_FL_PARSING_ERROR) && http_disc_replay_failed(s))
		return 1;
	if (htx->flags & (HTX_FL_PARSING_ERROR | HTX_FL_PROCESSING_ERROR))
		return 1;
	if (htx_is_empty(htx) || htx->first == -1)
		return flt_disc_wait_response(s);
	if (htx_get_first_type(htx) != HTX_BLK_RES_SL)
		return 1;
	awaited = flt_disc_awaits_response(s);
	ret = flt_disc_check_heads(s, ds, htx);
	if (awaited && !flt_disc_awaits_response(s))
		flt_disc_resume_recv(s);
	if (ret == 0 && !http_disc_replay(s))
		htx->flags |= HTX_FL_PARSING_ERROR;
	else if (ret < 0)
		htx->flags |= HTX_FL_PROCESSING_ERROR;
	return 1;
}

/* Called before analyser <an_bit> of <chn>. Returns 1 to go on with it, or 0 to wait. */
static int flt_disc_pre_analyze(struct stream *s, struct filter *filter, struct channel *chn, unsigned int an_bit)
{
	if (!(chn->flags & CF_ISRESP))
		return flt_disc_pre_request(s, filter, an_bit);
	if (an_bit == AN_RES_WAIT_HTTP)
		return flt_disc_pre_response(s, filter->ctx);
	/* if a rule wants it. The new backend's filters must not take this for their response:
	 * they are behind this one in the list that is being walked.
	 */
	return !http_follow_replay(s);
}

/* Called when an interim response is forwarded, there will be another one. */
static void flt_disc_http_reset(struct stream *s, struct filter *filter, struct http_msg *msg)
{
	filter->pre_analyzers |= AN_RES_WAIT_HTTP;
}

/* Called when all rules were applied to the headers of <msg>. Returns 1 if it may be
 * forwarded, 0 if its request is sent again instead, or -1 if it must be replaced by an error.
 */
static int flt_disc_http_headers(struct stream *s, struct filter *filter, struct http_msg *msg)
{
	struct disc_stream *ds = filter->ctx;
	struct htx *htx = htxbuf(&msg->chn->buf);
	int ret;

	if (!(msg->chn->flags & CF_ISRESP)) {
		http_follow_save_cookies(s, htx);
		http_follow_save_host(s, htx);
		if ((ds->rules & FLT_DISC_LEASE) && !objt_applet(s->target))
			http_disc_forward_request(s, htx);
		else if (ds->rules & FLT_DISC_LEASE)
			flt_disc_replied(s);
		return 1;
	}
	if (ds->rules & FLT_DISC_FOLLOW)
		http_follow_remove_references(htx);
	if ((ds->rules & FLT_DISC_FOLLOW) && !http_follow_accept_response(s, htx)) {
		http_follow_forget_request(s);
		return -1;
	}
	ret = http_disc_accept_response(s, htx) ? 1 : -1;
	if (ret < 0 && http_disc_replay(s))
		return 0; /* its response may have a reference */
	if (ds->rules & FLT_DISC_FOLLOW)
		http_follow_forget_request(s);
	if (ret < 0)
		http_disc_fail_response(s);
	return ret;
}

static struct flt_ops flt_disc_ops = {
	.attach                = flt_disc_attach,
	.detach                = flt_disc_detach,
	.check_timeouts        = flt_disc_check_timeouts,
	.channel_start_analyze = flt_disc_start_analyze,
	.channel_pre_analyze   = flt_disc_pre_analyze,
	.channel_end_analyze   = flt_disc_end_analyze,
	.http_headers          = flt_disc_http_headers,
	.http_reset            = flt_disc_http_reset,
};

/*
 * What has to be called by HAProxy itself
 */

/* Called when the request of <s> is about to be sent again, for whatever reason. */
void flt_disc_retry(struct stream *s)
{
	flt_disc_own(s)->pre_analyzers |= AN_RES_WAIT_HTTP;
	http_disc_retry(s);
	http_follow_retry(s);
}

#ifdef USE_OPENSSL_WOLFSSL
/* Called when HAProxy itself is about to answer, in place of a server. */
void flt_disc_replied(struct stream *s)
{
	http_disc_replied(s);
}

/* Called when <s> is about to be shut down for reason <why> (SF_ERR_*). */
void flt_disc_shutdown(struct stream *s, int why)
{
	http_disc_shutdown(s, why);
}

/* Called when a message of <size> bytes at <area>, which was encoded for an agent, will not be
 * sent.
 */
void flt_disc_unsent(struct stream *s, const void *area, size_t size)
{
	http_disc_unsent(s, area, size);
}

/* Returns non-zero if the request of <s> left with a ticket, and it is not known yet whether
 * records follow the headers of its response.
 */
int flt_disc_awaits_response(const struct stream *s)
{
	const struct disc_txn *disc = http_disc_txn(s);

	return disc && disc->ticket[0] && !(disc->flags & DISC_TF_ANNOUNCED);
}
#endif

/* Called before the body of a response is looked at. Returns 1 if there is nothing to be
 * done with it, since its end depends on the agent (direct path), otherwise 0.
 */
int flt_disc_hold_response(struct stream *s)
{
	http_disc_count(s);
	return http_disc_hold_response(s);
}

/* Returns how much of the <max> bytes that the response channel of <s> has room for may
 * be received.
 */
size_t flt_disc_limit_recv(const struct stream *s, size_t max)
{
	return http_follow_limit_recv(s, max);
}

/*
 * Configuration
 */

/* Returns the FLT_DISC_* of the rules in <px>. */
static unsigned int flt_disc_rules(const struct proxy *px)
{
	const struct act_rule *rule;
	unsigned int rules = 0;

	list_for_each_entry(rule, &px->http_req_rules, list) {
		if (http_disc_is_rule(rule))
			rules |= FLT_DISC_LEASE;
	}
	list_for_each_entry(rule, &px->http_res_rules, list) {
		if (http_follow_is_rule(rule))
			rules |= FLT_DISC_FOLLOW;
	}
	return rules;
}

/* Returns non-zero if response rules of <px> wait for the body, which only helps those that
 * look at it. The rules "tcp-response content" do, if they have time for it.
 */
static int flt_disc_waits_for_body(const struct proxy *px)
{
	const struct act_rule *rule;

	if (tick_isset(px->tcp_rep.inspect_delay) && !LIST_ISEMPTY(&px->tcp_rep.inspect_rules))
		return 1;
	list_for_each_entry(rule, &px->http_res_rules, list) {
		if (rule->kw && strcmp(rule->kw->kw, "wait-for-body") == 0)
			return 1;
	}
	return 0;
}

/* Attaches the filter to <px> if it has rules, or its defaults section has. It is not done
 * earlier because a cache and compression are only implicit in a proxy without other
 * filters, which looks at the payload as this one does not. Returns ERR_*.
 */
static int flt_disc_check_proxy(struct proxy *px)
{
	const unsigned int rules = flt_disc_rules(px) | (px->defpx ? flt_disc_rules(px->defpx) : 0);
	struct bind_conf *bind_conf;
	struct flt_conf *fconf;

	if (flt_disc_waits_for_body(px) || (px->defpx && flt_disc_waits_for_body(px->defpx)))
		px->options2 |= PR_O2_DISC_BODY;
	if (!rules || px->mode != PR_MODE_HTTP)
		return ERR_NONE;
	fconf = calloc(1, sizeof(*fconf));
	if (!fconf) {
		ha_alert("config : %s '%s' : out of memory.\n", proxy_type_str(px), px->id);
		return ERR_ALERT | ERR_FATAL;
	}
	fconf->id = "disc";
	fconf->ops = &flt_disc_ops;
	fconf->conf = (void *)(uintptr_t)rules;
	fconf->flags = FLT_CFG_FL_HTX;
	LIST_INSERT(&px->filter_configs, &fconf->list);

	/* as for any proxy with filters */
	if (px->cap & PR_CAP_FE) {
		px->fe_req_ana |= AN_REQ_FLT_START_FE | AN_REQ_FLT_XFER_DATA | AN_REQ_FLT_END;
		px->fe_rsp_ana |= AN_RES_FLT_START_FE | AN_RES_FLT_XFER_DATA | AN_RES_FLT_END;
		list_for_each_entry(bind_conf, &px->conf.bind, by_fe)
			bind_conf->analysers |= px->fe_req_ana;
	}
	if (px->cap & PR_CAP_BE) {
		px->be_req_ana |= AN_REQ_FLT_START_BE | AN_REQ_FLT_XFER_DATA | AN_REQ_FLT_END;
		px->be_rsp_ana |= AN_RES_FLT_START_BE | AN_RES_FLT_XFER_DATA | AN_RES_FLT_END;
	}
	return (rules & FLT_DISC_LEASE) ? http_disc_check_proxy(px) : ERR_NONE;
}

REGISTER_POST_PROXY_CHECK(flt_disc_check_proxy);

/*
 * src/http_follow.c
 * Fetching the body that a response refers to from another backend.
 *
 * An application answers with headers and a reference to the body instead of the
 * body. "http-response disc-follow" keeps its headers, then has the stream
 * process another request, without body, in another backend, as if it had been
 * routed there. This resembles an L7 retry, but is none: nothing failed, it is not
 * counted as one, it does not depend on "retry-on", and it happens only once per
 * transaction so that there is no loop.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <haproxy/action.h>
#include <haproxy/api.h>
#include <haproxy/arg.h>
#include <haproxy/backend.h>
#include <haproxy/cfgparse.h>
#include <haproxy/channel.h>
#include <haproxy/dynbuf.h>
#include <haproxy/errors.h>
#include <haproxy/filters.h>
#include <haproxy/flt_disc.h>
#include <haproxy/http.h>
#include <haproxy/http_ana.h>
#include <haproxy/http_disc.h>
#include <haproxy/http_follow.h>
#include <haproxy/http_htx.h>
#include <haproxy/http_reference.h>
#include <haproxy/http_rules.h>
#include <haproxy/htx.h>
#include <haproxy/log.h>
#include <haproxy/pool.h>
#include <haproxy/proxy.h>
#include <haproxy/queue.h>
#include <haproxy/sample.h>
#include <haproxy/sc_strm.h>
#include <haproxy/server.h>
#include <haproxy/stconn.h>
#include <haproxy/stream.h>
#include <haproxy/tools.h>
#include <haproxy/vars.h>

DECLARE_STATIC_POOL(pool_head_http_follow, "http_follow", sizeof(struct http_follow));

/* bytes that the second response's own headers may always have */
#define FOLLOW_ROOM 4096

/* bytes of a refused reference that are logged */
#define FOLLOW_LOGGED 200

/* bytes that are kept of a host's name, or of a location */
#define FOLLOW_TEXT 260

/* arguments of a rule */
struct follow_rule {
	char *be_name;
	struct proxy *be;
	struct lf_expr path;
	struct ist prefix;      /* the path must start with this */
	struct ist *keep;       /* names of fields to keep, NULL-terminated; NULL = all */
};

/* fields by which an application refers to a body */
static const struct ist follow_references[] = {
	IST("x-accel-redirect"), IST("backend-content-length"), IST("backend-ip"), IST("backend-port"),
};

/* fields that belong to a connection or to the body which the application does not
 * send: the node's ones count
 */
static const struct ist follow_not_kept[] = {
	IST("connection"), IST("keep-alive"), IST("proxy-connection"), IST("transfer-encoding"), IST("te"),
	IST("trailer"), IST("upgrade"), IST("content-length"), IST("content-range"), IST("content-encoding"),
	IST("content-md5"), IST("digest"), IST("content-digest"), IST("repr-digest"), IST("accept-ranges"),
	IST("etag"), IST("last-modified"), IST("date"), IST("server"),
};

/* fields of the client's request which describe its connection or its body, or make
 * no sense for the second request
 */
static const struct ist follow_not_replayed[] = {
	IST("connection"), IST("keep-alive"), IST("proxy-connection"), IST("transfer-encoding"), IST("te"),
	IST("trailer"), IST("upgrade"), IST("content-length"), IST("content-type"), IST("content-encoding"),
	IST("content-md5"), IST("digest"), IST("content-digest"), IST("expect"),
};

/* Returns non-zero if field <name> of a request is a condition (RFC 9110 13.1, and those of
 * WebDAV) or a range.
 */
static int follow_is_conditional(const struct ist name)
{
	return istmatchi(name, ist("if-")) || isteqi(name, ist("if")) || isteqi(name, ist("range"));
}

static int follow_listed(const struct ist name, const struct ist *list, size_t count)
{
	size_t i;

	for (i = 0; i < count; i++) {
		if (isteqi(name, list[i]))
			return 1;
	}
	return 0;
}

#define FOLLOW_LISTED(name, list) follow_listed(name, list, sizeof(list) / sizeof(*list))

/* Removes all fields called <name> from <htx>. */
static void follow_remove(struct htx *htx, const struct ist name)
{
	struct http_hdr_ctx ctx = { .blk = NULL };

	while (http_find_header(htx, name, &ctx, 1))
		http_remove_header(htx, &ctx);
}

/* Releases what <s> holds. */
void http_follow_release(struct stream *s)
{
	struct disc_stream *ds = flt_disc(s);

	ALREADY_CHECKED(ds);
	b_free(&ds->follow->request);
	b_free(&ds->follow->kept);
	free(ds->follow->area);
	pool_free(pool_head_http_follow, ds->follow);
	ds->follow = NULL;
}

/* Copies the client's header fields from <htx> to <follow>: cookies if <cookies>, otherwise
 * all others that the second request may have. Conditions and ranges are about the body
 * only if the application had to read it; of any other method they were its own to judge
 * (RFC 9110 13.1, 14.2). On failure nothing is kept at all.
 */
static void follow_copy_request(struct http_follow *follow, struct htx *htx, int cookies)
{
	const enum http_meth_t meth = http_get_stline(htx)->info.req.meth;
	const int reads = meth == HTTP_METH_GET || meth == HTTP_METH_HEAD;
	struct htx *saved = htx_from_buf(&follow->request);
	int32_t pos;

	for (pos = htx_get_first(htx); pos != -1; pos = htx_get_next(htx, pos)) {
		struct htx_blk *blk = htx_get_blk(htx, pos);
		enum htx_blk_type type = htx_get_blk_type(blk);
		struct ist name;

		if (type == HTX_BLK_EOH)
			break;
		if (type != HTX_BLK_HDR)
			continue;
		name = htx_get_blk_name(htx, blk);
		if (FOLLOW_LISTED(name, follow_not_replayed) || istmatch(name, ist("disc-")) ||
		    !isteqi(name, ist("cookie")) != !cookies || (!reads && follow_is_conditional(name)))
			continue;
		if (!htx_add_header(saved, name, htx_get_blk_value(htx, blk))) {
			b_free(&follow->request);
			return;
		}
	}
	htx_to_buf(saved, &follow->request);
}

/* Keeps the client's header fields of request <htx>, as the rules left them, in case its
 * response refers to a body: only if it goes to a backend with a trusted server, by way
 * of a proxy with a rule. On failure such a response will be refused.
 */
void http_follow_save_request(struct stream *s, struct htx *htx)
{
	struct disc_stream *ds = flt_disc(s);

	ALREADY_CHECKED(ds);
	if (!(ds->rules & FLT_DISC_FOLLOW) || !(s->be->options2 & PR_O2_DISC_TRUST) || ds->follow)
		return;
	ds->follow = pool_zalloc(pool_head_http_follow);
	if (!ds->follow || b_alloc(&ds->follow->request, DB_UNLIKELY) == NULL)
		return;
	htx_reset(htx_from_buf(&ds->follow->request));
	follow_copy_request(ds->follow, htx, 0);
}

/* Does the same for the cookies, once HAProxy has removed its own one from request <htx>.
 * The other fields that it has added meanwhile are to be added to the second request, too.
 */
void http_follow_save_cookies(struct stream *s, struct htx *htx)
{
	struct http_follow *follow = http_follow(s);

	if (follow && !(follow->flags & FOLLOW_F_DONE) && follow->request.size)
		follow_copy_request(follow, htx, 1);
}

/* Copies the beginning of <text> behind what <follow> has in its area. Returns the copy, or
 * an empty one if there is no room. The next one is written over it unless it is counted.
 */
static struct ist follow_keep_text(struct http_follow *follow, const struct ist text)
{
	struct ist copy = ist2(follow->area + follow->area_used, 0);

	istcat(&copy, isttrim(text, FOLLOW_TEXT), global.tune.bufsize - follow->area_used);
	return copy;
}

/* Keeps the name by which request <htx>, which is about to be sent, asks for the body. */
void http_follow_save_host(struct stream *s, struct htx *htx)
{
	struct http_follow *follow = http_follow(s);
	struct http_hdr_ctx ctx = { .blk = NULL };

	if (!http_follow_done(s) || !http_find_header(htx, ist("host"), &ctx, 1))
		return;
	follow->sent_host = follow_keep_text(follow, ctx.value);
	follow->area_used += follow->sent_host.len;
}

/* Removes references from response headers <htx>: clients never see any. */
void http_follow_remove_references(struct htx *htx)
{
	size_t i;

	for (i = 0; i < sizeof(follow_references) / sizeof(*follow_references); i++)
		follow_remove(htx, follow_references[i]);
}

/* Fills <site> with where the body of <follow> is fetched. */
static void follow_site(const struct http_follow *follow, struct http_reference_site *site)
{
	site->prefix = follow->prefix;
	site->hosts[0] = follow->host;
	site->hosts[1] = follow->sent_host;
}

/* Removes from response headers <htx>, as they came from the server, what would lead the
 * client to where the body of <s> is fetched. If it redirects there, it will be refused.
 * To be called if a "disc-follow" rule concerns <s>.
 */
void http_follow_remove_locations(struct stream *s, struct htx *htx)
{
	struct http_follow *follow = http_follow(s);
	const int status = http_get_stline(htx)->info.res.status;
	struct http_reference_site site;
	struct htx_blk *blk;

	if (!http_follow_done(s))
		return;
	follow_site(follow, &site);
	follow->flags &= ~FOLLOW_F_REDIRECTED;
	for (blk = htx_get_blk(htx, htx->first); blk && htx_get_blk_type(blk) != HTX_BLK_EOH; ) {
		struct ist name = htx_get_blk_name(htx, blk);
		struct ist value = htx_get_blk_value(htx, blk);

		if (htx_get_blk_type(blk) != HTX_BLK_HDR ||
		    !http_reference_leads_inside(&site, name, value, HTTP_REFERENCE_BY_NODE)) {
			blk = htx_get_next_blk(htx, blk);
			continue;
		}
		if (isteqi(name, ist("location")) && status >= 300 && status < 400 && status != 304) {
			follow->flags |= FOLLOW_F_REDIRECTED;
			follow->location = follow_keep_text(follow, iststop(value, '?'));
		}
		blk = htx_remove_blk(htx, blk);
	}
}

/* Removes references from response headers <htx> as they came from the server,
 * unless this one may send some. To be called if a "disc-follow" rule concerns <s>.
 */
void http_follow_clean_response(struct stream *s, struct htx *htx)
{
	const struct server *srv = objt_server(s->target);

	if (http_follow_done(s) || !srv || !(srv->flags & SRV_F_DISC_TRUST))
		http_follow_remove_references(htx);
}

/* Copies the fields of <htx> that the rule keeps. Returns 1, or 0 on failure. */
static int follow_keep_headers(struct http_follow *follow, const struct follow_rule *rule, struct htx *htx)
{
	struct http_reference_site site;
	struct htx *kept;
	int32_t pos;

	if (b_alloc(&follow->kept, DB_UNLIKELY) == NULL)
		return 0;
	kept = htx_from_buf(&follow->kept);
	htx_reset(kept);
	follow->prefix = rule->prefix;
	follow_site(follow, &site);
	for (pos = htx_get_first(htx); pos != -1; pos = htx_get_next(htx, pos)) {
		struct htx_blk *blk = htx_get_blk(htx, pos);
		enum htx_blk_type type = htx_get_blk_type(blk);
		const struct ist *keep = rule->keep;
		struct ist name;

		if (type == HTX_BLK_EOH)
			break;
		if (type != HTX_BLK_HDR)
			continue;
		name = htx_get_blk_name(htx, blk);
		if (FOLLOW_LISTED(name, follow_not_kept) || istmatch(name, ist("x-accel-")) ||
		    istmatch(name, ist("disc-")) || FOLLOW_LISTED(name, follow_references))
			continue;
		while (keep && isttest(*keep) && !isteqi(*keep, name))
			keep++;
		if (keep && !isttest(*keep))
			continue;
		if (http_reference_leads_inside(&site, name, htx_get_blk_value(htx, blk), HTTP_REFERENCE_BY_APPLICATION))
			continue;
		if (!htx_add_header(kept, name, htx_get_blk_value(htx, blk)))
			return 0;
	}
	htx_to_buf(kept, &follow->kept);
	return 1;
}

/* Notes that the response of stream <s> is refused because of <reference>, which is one to
 * backend <be> or comes from there. This does not count against the server, since clients
 * may cause it. The log shows the beginning of the reference, without query.
 */
static void follow_note_refusal(struct stream *s, const struct proxy *be, const struct ist reference, const char *why)
{
	const struct server *srv = objt_server(s->target);
	struct ist path = iststop(reference, '?');
	struct buffer *text = get_trash_chunk();

	dump_text(text, path.ptr, MIN(path.len, FOLLOW_LOGGED));
	send_log(s->be, LOG_ERR, "disc-follow: response from server %s/%s refused: %s: \"%.*s\" in backend %s.\n",
	         s->be->id, srv ? srv->id : "<NOSRV>", why, (int)b_data(text), b_orig(text), be->id);
	if (!(s->flags & SF_ERR_MASK))
		s->flags |= SF_ERR_PRXCOND;
	if (!(s->flags & SF_FINST_MASK))
		s->flags |= SF_FINST_H;
	stream_inc_http_fail_ctr(s);
}

/* Refuses the response of stream <s>, whose reference to a body in backend <be> cannot be
 * followed: the client gets a 502.
 */
static enum act_return follow_refuse(struct stream *s, const struct proxy *be, const struct ist reference, const char *why)
{
	follow_note_refusal(s, be, reference, why);
	s->txn->status = 502;
	http_reply_and_close(s, s->txn->status, http_error_message(s));
	return ACT_RET_ABRT;
}

/* Returns 1 if response <htx> of <s>, to which all rules were applied, may go to the client,
 * or 0 if it redirected to where the body was fetched and no rule has said where else.
 */
int http_follow_accept_response(struct stream *s, struct htx *htx)
{
	struct http_follow *follow = http_follow(s);
	struct http_hdr_ctx ctx = { .blk = NULL };

	if (!follow || !(follow->flags & FOLLOW_F_REDIRECTED) || http_get_stline(htx)->info.res.status < 200 ||
	    http_find_header(htx, ist("location"), &ctx, 1))
		return 1;
	follow_note_refusal(s, follow->be, follow->location, "it redirects to a location of its own");
	s->txn->status = 0; /* none was sent: the filter's error makes it 502 */
	return 0;
}

/* The client of <s> is gone, and "option abortonclose" is set or its connection failed:
 * nobody waits for the body. Ends as if this had been noticed while waiting for the response.
 */
static enum act_return follow_give_up(struct stream *s)
{
	struct server *srv = objt_server(s->target);

	_HA_ATOMIC_INC(&s->sess->fe->fe_counters.cli_aborts);
	_HA_ATOMIC_INC(&s->be->be_counters.cli_aborts);
	if (s->sess->listener && s->sess->listener->counters)
		_HA_ATOMIC_INC(&s->sess->listener->counters->cli_aborts);
	if (srv)
		_HA_ATOMIC_INC(&srv->counters.cli_aborts);
	s->txn->status = 400;
	if (!(s->flags & SF_ERR_MASK))
		s->flags |= SF_ERR_CLICL;
	if (!(s->flags & SF_FINST_MASK))
		s->flags |= SF_FINST_H;
	http_reply_and_close(s, s->txn->status, http_error_message(s));
	return ACT_RET_ABRT;
}

/* Action "disc-follow": decides, and has http_follow_replay() called, which does it. The
 * rules go on with the second response. They go on at once if the response carries no reference; a reference which cannot be
 * followed ends in an error, since there is no body to send.
 */
static enum act_return follow_action(struct act_rule *rule, struct proxy *px,
                                     struct session *sess, struct stream *s, int flags)
{
	struct follow_rule *args = rule->arg.act.p[0];
	struct http_follow *follow = http_follow(s);
	const struct server *srv = objt_server(s->target);
	struct htx *htx = htxbuf(&s->res.buf);
	struct buffer *reference;
	const char *why = NULL;
	struct ist path;
	enum act_return ret = ACT_RET_CONT;

	if (http_follow_done(s))
		return ACT_RET_CONT; /* the body itself */
	if (!srv || !(srv->flags & SRV_F_DISC_TRUST))
		return ACT_RET_CONT; /* its references were removed */

	reference = alloc_trash_chunk();
	if (!reference)
		return follow_refuse(s, args->be, IST_NULL, "out of memory");
	reference->data = build_logline(s, reference->area, reference->size, &args->path);
	if (!reference->data)
		goto leave;
	path = ist2(reference->area, reference->data);

	if (s->txn->status != 200 && s->txn->status != 206)
		why = "its status is neither 200 nor 206";
	else if (s->txn->meth == HTTP_METH_CONNECT || (s->txn->flags & TX_CON_WANT_TUN))
		why = "the client asked for a tunnel";
	else if (s->txn->req.msg_state != HTTP_MSG_DONE)
		why = "the request is still being sent, or the stream is being closed";
	else if (!follow || !b_data(&follow->request))
		why = "the request was not kept";
	else if (!follow->area && !(follow->area = malloc(global.tune.bufsize)))
		why = "out of memory";
	else if (!http_reference_normalize(path, follow->area, global.tune.bufsize, &follow->path))
		why = "its reference is no valid path";
	else if (!http_reference_is_below(follow->path, args->prefix))
		why = "its reference is outside of the prefix";
	else if (!follow_keep_headers(follow, args, htx))
		why = "out of memory";
	else if (htx_used_space(htxbuf(&follow->kept)) + FOLLOW_ROOM > global.tune.bufsize - global.tune.maxrewrite)
		why = "its header fields are too large to be kept";
	else {
		follow->be = args->be;
		follow->area_used = follow->path.len;
		follow->flags |= FOLLOW_F_WANTED;
		flt_disc_follow(s);
		ret = ACT_RET_YIELD;
	}
	if (why)
		ret = follow_refuse(s, args->be, path, why);
	else if (flags & ACT_OPT_FINAL)
		ret = follow_give_up(s);
 leave:
	free_trash_chunk(reference);
	return ret;
}

/* Builds the second request into the empty buffer of <s>'s request channel. Returns
 * 1, or 0 on failure.
 */
static int follow_build_request(struct stream *s, struct http_follow *follow)
{
	const unsigned int ver_11 = s->txn->req.flags & HTTP_MSGF_VER_11;
	const unsigned int flags = HTX_SL_F_XFER_LEN | HTX_SL_F_BODYLESS | (ver_11 ? HTX_SL_F_VER_11 : 0);
	struct htx *saved = htxbuf(&follow->request);
	int head = s->txn->meth == HTTP_METH_HEAD;
	struct htx *htx;
	struct htx_sl *sl;
	int32_t pos;

	if (b_alloc(&s->req.buf, DB_CHANNEL) == NULL)
		return 0;
	htx = htx_from_buf(&s->req.buf);
	htx_reset(htx);
	sl = htx_add_stline(htx, HTX_BLK_REQ_SL, flags, head ? ist("HEAD") : ist("GET"), follow->path,
	                    ver_11 ? ist("HTTP/1.1") : ist("HTTP/1.0"));
	if (!sl)
		return 0;
	sl->info.req.meth = s->txn->meth = head ? HTTP_METH_HEAD : HTTP_METH_GET;
	for (pos = htx_get_head(saved); pos != -1; pos = htx_get_next(saved, pos)) {
		struct htx_blk *blk = htx_get_blk(saved, pos);
		struct ist name, value;

		if (htx_get_blk_type(blk) != HTX_BLK_HDR)
			continue;
		name = htx_get_blk_name(saved, blk);
		value = htx_get_blk_value(saved, blk);
		if (!htx_add_header(htx, name, value))
			return 0;
		if (isteqi(name, ist("host"))) {
			follow->host = follow_keep_text(follow, value);
			follow->area_used += follow->host.len;
		}
	}
	if (!htx_add_endof(htx, HTX_BLK_EOH))
		return 0;
	htx->flags |= HTX_FL_EOM;
	htx_to_buf(htx, &s->req.buf);
	return 1;
}

/* Leaves the application's server and backend. Its connection may be reused if the
 * response was received completely. Returns 1, or 0 on failure.
 */
static int follow_leave_backend(struct stream *s)
{
	struct server *srv = objt_server(s->target);

	if (srv && (s->flags & SF_CURR_SESS)) {
		s->flags &= ~SF_CURR_SESS;
		_HA_ATOMIC_DEC(&srv->cur_sess);
	}
	if (sc_reset_endp(s->scb) < 0)
		return 0;
	sess_change_server(s, NULL);
	if (may_dequeue_tasks(srv, s->be))
		process_srv_queue(srv);
	s->target = NULL;
	sockaddr_free(&s->scb->dst);

	flt_disc_restart(s);
	if (s->flags & SF_BE_ASSIGNED)
		_HA_ATOMIC_DEC(&s->be->beconn);
	s->flags &= ~(SF_BE_ASSIGNED | SF_DIRECT | SF_ASSIGNED | SF_SRV_REUSED | SF_SRV_REUSED_ANTICIPATED |
	              SF_FORCE_PRST | SF_IGNORE_PRST | SF_REDISP | SF_CONN_EXP);
	return 1;
}

/* Drops the application's response from channel <res>, but for interim responses which
 * are on their way to the client.
 */
static void follow_drop_response(struct channel *res)
{
	res->to_forward = 0;
	if (!co_data(res))
		b_reset(&res->buf);
	else {
		struct htx *htx = htxbuf(&res->buf);

		htx_truncate(htx, co_data(res));
		htx->flags &= HTX_FL_FRAGMENTED;
		htx->first = -1; /* nothing to be analysed */
	}
}

/* Puts channels, stream connector and transaction of <s> back to where a request
 * was just received.
 */
static void follow_reset_stream(struct stream *s)
{
	struct channel *req = &s->req;
	struct channel *res = &s->res;
	struct http_txn *txn = s->txn;

	s->scb->flags &= ~(SC_FL_ERROR | SC_FL_EOI | SC_FL_EOS | SC_FL_ABRT_DONE | SC_FL_ABRT_WANTED |
	                   SC_FL_SHUT_DONE | SC_FL_SHUT_WANTED | SC_FL_NOLINGER | SC_FL_NOHALF);
	s->scf->flags &= ~(SC_FL_ABRT_DONE | SC_FL_ABRT_WANTED);
	s->scb->state = SC_ST_INI;
	s->scb->ioto = TICK_ETERNITY;
	s->tunnel_timeout = TICK_ETERNITY;
	s->conn_err_type = STRM_ET_NONE;
	s->conn_exp = TICK_ETERNITY;
	s->conn_retries = 0;

	follow_drop_response(res);
	res->total = s->logs.bytes_out;
	res->analysers &= AN_RES_FLT_END;
	res->analyse_exp = TICK_ETERNITY;
	res->flags &= ~(CF_READ_TIMEOUT | CF_READ_EVENT);

	b_free(&req->buf);
	co_set_data(req, 0);
	req->to_forward = 0;
	req->analysers &= AN_REQ_FLT_END;
	req->analyse_exp = TICK_ETERNITY;
	req->flags &= ~(CF_WRITE_TIMEOUT | CF_WROTE_DATA | CF_AUTO_CONNECT);
	req->flags |= CF_READ_EVENT;

	b_free(&txn->l7_buffer);
	txn->flags &= ~(TX_L7_RETRY | TX_D_L7_RETRY | TX_CK_MASK | TX_SCK_MASK);
	txn->flags |= TX_CACHEABLE | TX_CACHE_COOK; /* as for any GET */
	txn->cookie_first_date = txn->cookie_last_date = 0;
	txn->req.flags = (txn->req.flags & HTTP_MSGF_VER_11) | HTTP_MSGF_XFER_LEN | HTTP_MSGF_BODYLESS;
	txn->req.msg_state = HTTP_MSG_BODY;
	txn->rsp.flags = 0;
	txn->rsp.msg_state = HTTP_MSG_RPBEFORE;
	txn->status = txn->server_status = -1;

	s->logs.t_queue = s->logs.t_connect = s->logs.t_data = -1;
	s->logs.prx_queue_pos = s->logs.srv_queue_pos = 0;
	s->current_rule = s->current_rule_list = NULL;
	if (!LIST_ISEMPTY(&s->vars_reqres.head))
		vars_prune(&s->vars_reqres, s->sess, s);
	vars_init_head(&s->vars_reqres, SCOPE_REQ);
}

/* Forgets what an agent told about the first request: it must not be taken for its
 * word about the second one.
 */
static void follow_forget_agent(struct stream *s)
{
	static const char *names[] = { "txn.disc.action", "txn.disc.server", "txn.disc.ticket", "txn.disc.node",
	                               "txn.disc.reason", "txn.disc.unused_lease", "txn.disc.error" };
	struct sample smp;
	int i;

	memset(&smp, 0, sizeof(smp));
	smp_set_owner(&smp, s->be, s->sess, s, SMP_OPT_FINAL);
	for (i = 0; i < sizeof(names) / sizeof(*names); i++)
		vars_unset_by_name_ifexist(names[i], strlen(names[i]), &smp);
}

/* Makes a new request of <s> of what was kept, and lets it enter the other backend.
 * Returns 1, or 0 on failure.
 */
static int follow_restart(struct stream *s)
{
	struct disc_stream *ds = flt_disc(s);
	struct http_follow *follow;

	ALREADY_CHECKED(ds);
	follow = ds->follow;
	if (ds->txn)
		http_disc_release(s); /* another request, another lease */
	if (!follow_leave_backend(s))
		return 0;
	follow_forget_agent(s);
	follow_reset_stream(s);
	if (!follow_build_request(s, follow) || !stream_set_backend(s, follow->be))
		return 0;
	b_free(&follow->request);
	return 1;
}

/* To be called before the response rules of <s> are evaluated: if one of them decided to
 * fetch the body elsewhere, the stream has a new request to process in another backend
 * from here on, and there is nothing to be analysed. On failure the client gets a 500.
 * Returns 1 in both cases, or 0 if no rule decided so.
 */
int http_follow_replay(struct stream *s)
{
	struct http_follow *follow = http_follow(s);
	struct session *sess = s->sess;

	if (!follow || (follow->flags & (FOLLOW_F_WANTED|FOLLOW_F_DONE)) != FOLLOW_F_WANTED)
		return 0;
	follow->flags |= FOLLOW_F_DONE;
	if (!follow_restart(s)) {
		_HA_ATOMIC_INC(&sess->fe->fe_counters.internal_errors);
		_HA_ATOMIC_INC(&s->be->be_counters.internal_errors);
		if (sess->listener && sess->listener->counters)
			_HA_ATOMIC_INC(&sess->listener->counters->internal_errors);
		if (objt_server(s->target))
			_HA_ATOMIC_INC(&__objt_server(s->target)->counters.internal_errors);
		s->txn->status = 500;
		if (!(s->flags & SF_ERR_MASK))
			s->flags |= SF_ERR_INTERNAL;
		http_set_term_flags(s);
		http_reply_and_close(s, s->txn->status, http_error_message(s));
		s->scb->flags |= SC_FL_NOLINGER;
		s->current_rule = s->current_rule_list = NULL;
	}
	s->txn->rsp.msg_state = HTTP_MSG_RPBEFORE;
	task_wakeup(s->task, TASK_WOKEN_MSG);
	return 1;
}

/* Returns how much of the <max> bytes that the response channel of <s> has room for
 * may be received: the application's fields will be merged with what comes in.
 */
size_t http_follow_limit_recv(const struct stream *s, size_t max)
{
	const struct http_follow *follow = http_follow(s);
	size_t kept;

	if (!follow || (follow->flags & (FOLLOW_F_DONE|FOLLOW_F_MERGED)) != FOLLOW_F_DONE || !b_data(&follow->kept))
		return max;
	kept = htx_used_space(htxbuf(&follow->kept));
	return MAX(max > kept ? max - kept : 0, MIN(max, FOLLOW_ROOM));
}

/* Returns non-zero if response <htx> is made of several ranges: its Content-Type tells
 * how.
 */
static int follow_has_several_ranges(struct htx *htx)
{
	struct http_hdr_ctx ctx = { .blk = NULL };

	return http_get_stline(htx)->info.res.status == 206 && http_find_header(htx, ist("content-type"), &ctx, 1) &&
	       istmatchi(ctx.value, ist("multipart/byteranges"));
}

/* Merges the application's fields into <htx>, the headers of the response to the
 * second request: they replace those of the same name, except cookies and links,
 * which add up. An error of the node only gets the cookies. Does nothing for other
 * responses. Returns 1, or 0 if there is not enough room.
 */
int http_follow_merge(struct stream *s, struct htx *htx)
{
	struct http_follow *follow = http_follow(s);
	const int error = http_get_stline(htx)->info.res.status >= 400;
	struct htx *kept;
	int several;
	int32_t pos;
	int pass;

	if (!follow || (follow->flags & (FOLLOW_F_DONE|FOLLOW_F_MERGED)) != FOLLOW_F_DONE || !b_data(&follow->kept))
		return 1;
	follow->flags |= FOLLOW_F_MERGED;
	kept = htxbuf(&follow->kept);
	several = follow_has_several_ranges(htx);
	/* remove first, then add, since a name may appear several times */
	for (pass = 0; pass < 2; pass++) {
		for (pos = htx_get_head(kept); pos != -1; pos = htx_get_next(kept, pos)) {
			struct htx_blk *blk = htx_get_blk(kept, pos);
			struct ist name;
			int adds;

			if (htx_get_blk_type(blk) != HTX_BLK_HDR)
				continue;
			name = htx_get_blk_name(kept, blk);
			adds = isteqi(name, ist("set-cookie"));
			if (error && !adds)
				continue;
			if (several && isteqi(name, ist("content-type")))
				continue;
			adds = adds || isteqi(name, ist("link"));
			if (pass == 0 && !adds)
				follow_remove(htx, name);
			else if (pass == 1 && !http_add_header(htx, name, htx_get_blk_value(kept, blk)))
				return 0;
		}
	}
	return 1;
}

/*
 * Configuration
 */

static void follow_release_rule(struct act_rule *rule)
{
	struct follow_rule *args = rule->arg.act.p[0];
	struct ist *keep;

	if (!args)
		return;
	for (keep = args->keep; keep && isttest(*keep); keep++)
		istfree(keep);
	free(args->keep);
	istfree(&args->prefix);
	lf_expr_deinit(&args->path);
	free(args->be_name);
	free(args);
	rule->arg.act.p[0] = NULL;
}

/* Resolves the backend of a rule. Returns 1, or 0 with a text in <err>. */
static int follow_check_rule(struct act_rule *rule, struct proxy *px, char **err)
{
	struct follow_rule *args = rule->arg.act.p[0];

	args->be = proxy_be_by_name(args->be_name);
	if (!args->be) {
		memprintf(err, "'disc-follow' in [%s:%d] refers to unknown backend '%s'",
		          rule->conf.file, rule->conf.line, args->be_name);
		return 0;
	}
	if (args->be->mode != PR_MODE_HTTP) {
		memprintf(err, "'disc-follow' in [%s:%d] refers to backend '%s', which is not in HTTP mode",
		          rule->conf.file, rule->conf.line, args->be_name);
		return 0;
	}
	if (!isttest(args->prefix)) {
		args->prefix = istdup(ist("/"));
		if (!isttest(args->prefix)) {
			memprintf(err, "out of memory");
			return 0;
		}
		ha_warning("config : %s '%s' : 'disc-follow' in [%s:%d] has no 'prefix': servers with 'disc-trust' "
		           "may refer to everything in backend '%s' (say \"prefix /\" if they may).\n",
		           proxy_type_str(px), px->id, rule->conf.file, rule->conf.line, args->be_name);
	}
	return 1;
}

/* Splits the comma-delimited list <text> of field names. Returns it terminated by
 * IST_NULL, or NULL on failure.
 */
static struct ist *follow_parse_keep(const char *text)
{
	struct ist list = ist(text);
	struct ist *keep;
	size_t i, count = 2;

	for (i = 0; i < list.len; i++)
		count += list.ptr[i] == ',';
	keep = calloc(count, sizeof(*keep));
	for (i = 0; keep && list.len; ) {
		struct ist name = iststop(list, ',');

		list = istadv(list, MIN(name.len + 1, list.len));
		while (name.len && *name.ptr == ' ')
			name = istnext(name);
		while (name.len && name.ptr[name.len - 1] == ' ')
			name.len--;
		name = istdup(name);
		if (!isttest(name)) {
			while (i > 0)
				istfree(&keep[--i]);
			free(keep);
			return NULL;
		}
		ist2bin_lc(name.ptr, name);
		if (name.len)
			keep[i++] = name;
		else
			istfree(&name);
	}
	return keep;
}

/* Parses "disc-follow <backend> [ path <fmt> ] [ prefix <path> ] [ keep <names> ]" */
static enum act_parse_ret follow_parse_rule(const char **args, int *orig_arg, struct proxy *px,
                                            struct act_rule *rule, char **err)
{
	struct follow_rule *follow = calloc(1, sizeof(*follow));
	const char *path = "%[res.fhdr(x-accel-redirect)]", *prefix = NULL;
	int arg = *orig_arg;
	int cap = 0;

	rule->action = ACT_CUSTOM;
	rule->action_ptr = follow_action;
	rule->check_ptr = follow_check_rule;
	rule->release_ptr = follow_release_rule;
	rule->arg.act.p[0] = follow;
	if (!follow)
		goto memory;
	lf_expr_init(&follow->path);

	if (!*args[arg] || strcmp(args[arg], "if") == 0 || strcmp(args[arg], "unless") == 0) {
		memprintf(err, "expects the name of a backend");
		goto fail;
	}
	follow->be_name = strdup(args[arg++]);

	while (*args[arg] && strcmp(args[arg], "if") != 0 && strcmp(args[arg], "unless") != 0) {
		if (!*args[arg + 1]) {
			memprintf(err, "'%s' expects an argument", args[arg]);
			goto fail;
		}
		if (strcmp(args[arg], "path") == 0)
			path = args[arg + 1];
		else if (strcmp(args[arg], "prefix") == 0)
			prefix = args[arg + 1];
		else if (strcmp(args[arg], "keep") == 0) {
			if (follow->keep) {
				memprintf(err, "'keep' may only be given once");
				goto fail;
			}
			follow->keep = follow_parse_keep(args[arg + 1]);
			if (!follow->keep)
				goto memory;
		}
		else {
			memprintf(err, "expects 'path', 'prefix', 'keep', 'if' or 'unless', but got '%s'", args[arg]);
			goto fail;
		}
		arg += 2;
	}

	if (prefix && *prefix != '/') {
		memprintf(err, "'prefix' must start with a slash");
		goto fail;
	}
	follow->prefix = prefix ? istdup(ist(prefix)) : IST_NULL;
	if (!follow->be_name || (prefix && !isttest(follow->prefix)))
		goto memory;

	px->conf.args.ctx = ARGC_HRS;
	if (px->cap & PR_CAP_FE)
		cap |= SMP_VAL_FE_HRS_HDR;
	if (px->cap & PR_CAP_BE)
		cap |= SMP_VAL_BE_HRS_HDR;
	if (!parse_logformat_string(path, px, &follow->path, LOG_OPT_HTTP, cap, err))
		goto fail;
	*orig_arg = arg;
	return ACT_RET_PRS_OK;

 memory:
	memprintf(err, "out of memory");
 fail:
	follow_release_rule(rule);
	return ACT_RET_PRS_ERR;
}

/* Parses "disc-redispatch", the name that "disc-follow" had. */
static enum act_parse_ret follow_parse_old_name(const char **args, int *orig_arg, struct proxy *px,
                                                struct act_rule *rule, char **err)
{
	memprintf(err, "'disc-redispatch' is called 'disc-follow' now, with the same arguments");
	return ACT_RET_PRS_ERR;
}

/* Returns non-zero if <rule> is "disc-follow". */
int http_follow_is_rule(const struct act_rule *rule)
{
	return rule->action_ptr == follow_action;
}

static struct action_kw_list follow_res_actions = {
	.kw = {
		{ "disc-follow",     follow_parse_rule,     0 },
		{ "disc-redispatch", follow_parse_old_name, 0 },
		{ NULL, NULL }
	}
};

INITCALL1(STG_REGISTER, http_res_keywords_register, &follow_res_actions);

/* Parses server keyword "disc-trust". */
static int follow_parse_trust(char **args, int *cur_arg, struct proxy *px, struct server *newsrv, char **err)
{
	newsrv->flags |= SRV_F_DISC_TRUST;
	if (!(global.mode & MODE_STARTING)) /* "add server" */
		HA_ATOMIC_OR(&px->options2, PR_O2_DISC_TRUST);
	return 0;
}

/* Parses server keyword "no-disc-trust". */
static int follow_parse_no_trust(char **args, int *cur_arg, struct proxy *px, struct server *newsrv, char **err)
{
	newsrv->flags &= ~SRV_F_DISC_TRUST;
	return 0;
}

static struct srv_kw_list follow_srv_kws = { "DISC", { }, {
	{ "disc-trust",    follow_parse_trust,    0, 1, 1 }, /* this server may refer to bodies elsewhere */
	{ "no-disc-trust", follow_parse_no_trust, 0, 1, 1 },
	{ NULL, NULL, 0 },
}};

INITCALL1(STG_REGISTER, srv_register_keywords, &follow_srv_kws);

/* Notes for the backend of <srv> whether this one is trusted. Returns ERR_NONE. */
static int follow_check_server(struct server *srv)
{
	if (srv->flags & SRV_F_DISC_TRUST)
		srv->proxy->options2 |= PR_O2_DISC_TRUST;
	return ERR_NONE;
}

REGISTER_POST_SERVER_CHECK(follow_check_server);

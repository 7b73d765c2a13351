/*
 * src/disc_rest.c
 * The rest of a body whose node is gone, by an ordinary request to another server.
 *
 * The request is the one that the node got, without ticket and conditions, for a range of the
 * object with the entity tag that the node has proven (RFC 9110 13.1.1, 14.2). Any server of
 * the backend may answer it. What it answers is only taken if it is exactly that range of
 * that object. One other server is tried.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <stdlib.h>
#include <string.h>

#include <haproxy/api.h>
#include <haproxy/applet.h>
#include <haproxy/backend.h>
#include <haproxy/connection.h>
#include <haproxy/disc_hop.h>
#include <haproxy/disc_rest.h>
#include <haproxy/dynbuf.h>
#include <haproxy/http_client.h>
#include <haproxy/http_htx.h>
#include <haproxy/htx.h>
#include <haproxy/proxy-t.h>
#include <haproxy/server-t.h>
#include <haproxy/stream.h>
#include <haproxy/tools.h>

/* Returns 1 if <srv> is where <s> fetched from, whatever server that was: one without an address of
 * its own connects to the one that "set-dst" has set.
 */
static int disc_rest_is_own(const struct stream *s, const struct server *srv)
{
	const struct sockaddr_storage *dst = s->scb->dst;

	return srv == objt_server(s->target) ||
	       (dst && ipcmp(dst, &srv->addr, 0) == 0 && get_host_port(dst) == srv->svc_port);
}

/* Returns a server of <s>'s backend which is not its own and may be asked over plain TCP, or NULL. */
static struct server *disc_rest_server(const struct stream *s)
{
	struct server *srv;

	for (srv = s->be->srv; srv; srv = srv->next) {
		if (disc_rest_is_own(s, srv) || !srv_currently_usable(srv) || srv->xprt != xprt_get(XPRT_RAW) || srv->pp_opts)
			continue;
		if (is_inet_addr(&srv->addr) && is_addr(&srv->addr))
			return srv;
	}
	return NULL;
}

static void disc_rest_remove(struct htx *htx, const char *name)
{
	struct http_hdr_ctx ctx = { .blk = NULL };

	while (http_find_header(htx, ist(name), &ctx, 1))
		http_remove_header(htx, &ctx);
}

/* Makes <rest>'s request from <request>. Returns 1, or 0 if this fails. */
static int disc_rest_make_request(struct disc_rest *rest, const struct buffer *request)
{
	static const char *const conditions[] = {
		"disc-ticket", "range", "if-range", "if-match", "if-none-match", "if-modified-since", "if-unmodified-since",
	};
	struct buffer *buf = &rest->hc->req.buf;
	struct htx *htx;
	char range[64];
	int i;

	if (!b_alloc(buf, DB_CHANNEL) || b_size(buf) != b_size(request))
		return 0;
	memcpy(b_orig(buf), b_orig(request), b_size(request));
	b_set_data(buf, b_size(buf));
	htx = htxbuf(buf);
	for (i = 0; i < sizeof(conditions) / sizeof(conditions[0]); i++)
		disc_rest_remove(htx, conditions[i]);
	snprintf(range, sizeof(range), "bytes=%llu-%llu", (unsigned long long)rest->first, (unsigned long long)rest->last);
	return (htx->flags & HTX_FL_EOM) && http_add_header(htx, ist("range"), ist(range)) &&
	       http_add_header(htx, ist("if-match"), ist(rest->etag));
}

/* Returns the value of the only header <name> of the answer, or an empty one. */
static struct ist disc_rest_header(const struct httpclient *hc, const char *name)
{
	const struct http_hdr *hdr;
	struct ist value = IST_NULL;

	for (hdr = hc->res.hdrs; hdr && isttest(hdr->n); hdr++) {
		if (!isteqi(hdr->n, ist(name)))
			continue;
		if (isttest(value))
			return IST_NULL;
		value = hdr->v;
	}
	return value;
}

static void disc_rest_fail(struct disc_rest *rest, const char *why)
{
	disc_hop_break(rest->hop, why);
}

/* The headers of the answer are there. */
static void disc_rest_headers(struct httpclient *hc)
{
	struct disc_rest *rest = hc->caller;
	char range[64];
	size_t len;

	if (!rest)
		return;
	len = snprintf(range, sizeof(range), "bytes %llu-%llu/", (unsigned long long)rest->first, (unsigned long long)rest->last);
	if (hc->res.status != 206 || !isteq(disc_rest_header(hc, "etag"), ist(rest->etag)) ||
	    istlen(disc_rest_header(hc, "content-encoding")) ||
	    !istmatch(disc_rest_header(hc, "content-range"), ist2(range, len)))
		disc_rest_fail(rest, "no other server has the rest of it");
	else
		rest->accepted = 1;
}

static void disc_rest_payload(struct httpclient *hc)
{
	struct disc_rest *rest = hc->caller;

	if (rest && rest->accepted)
		disc_hop_rest_came(rest->hop);
}

static void disc_rest_end(struct httpclient *hc)
{
	struct disc_rest *rest = hc->caller;

	if (rest && b_data(&hc->res.buf) < rest->left)
		disc_rest_fail(rest, "the rest of it broke off");
}

/* Asks another server than that of <s> for the bytes from <first> to <last>, both included, of
 * the object that the HTX message <request> asked for, if it has <etag>. Returns what belongs
 * to this, to be started and to be freed, or NULL if there is no such server or this fails.
 */
struct disc_rest *disc_rest_new(struct stream *s, const struct buffer *request, const char *etag, uint64_t first, uint64_t last)
{
	struct server *srv = disc_rest_server(s);
	struct disc_rest *rest;

	if (!srv || !b_data(request) || !etag || first > last)
		return NULL;
	rest = calloc(1, sizeof(*rest));
	if (!rest)
		return NULL;
	rest->first = first;
	rest->last = last;
	rest->left = last - first + 1;
	rest->etag = strdup(etag);
	/* the address of the server counts, not the URL's */
	rest->hc = httpclient_new(rest, HTTP_METH_GET, ist("http://rest/"));
	if (!rest->etag || !rest->hc || !sockaddr_alloc(&rest->hc->dst, &srv->addr, sizeof(srv->addr)))
		goto fail;
	set_host_port(rest->hc->dst, srv->svc_port);
	if (!disc_rest_make_request(rest, request))
		goto fail;
	httpclient_set_timeout(rest->hc, s->be->timeout.server);
	rest->hc->ops.res_headers = disc_rest_headers;
	rest->hc->ops.res_payload = disc_rest_payload;
	rest->hc->ops.res_end = disc_rest_end;
	return rest;

 fail:
	disc_rest_free(rest);
	return NULL;
}

/* Sends the request of <rest>, what is answered is for <hop>. */
void disc_rest_start(struct disc_rest *rest, struct disc_hop *hop)
{
	rest->hop = hop;
	if (!httpclient_start(rest->hc))
		disc_rest_fail(rest, "the rest of it cannot be asked for");
}

/* Returns how many bytes may be taken now. */
size_t disc_rest_ready(const struct disc_rest *rest)
{
	return rest->accepted ? MIN(b_data(&rest->hc->res.buf), rest->left) : 0;
}

/* Moves up to <count> bytes to <buf>. Returns how many. */
size_t disc_rest_take(struct disc_rest *rest, struct buffer *buf, size_t count)
{
	struct httpclient *hc = rest->hc;
	size_t ret = b_force_xfer(buf, &hc->res.buf, MIN(MIN(count, disc_rest_ready(rest)), b_room(buf)));

	rest->left -= ret;
	if (ret && !b_data(&hc->res.buf)) {
		b_free(&hc->res.buf);
		if (hc->appctx)
			appctx_wakeup(hc->appctx);
	}
	return ret;
}

/* Nobody wants it any more. */
void disc_rest_free(struct disc_rest *rest)
{
	if (!rest)
		return;
	if (rest->hc) {
		rest->hc->caller = NULL;
		httpclient_stop_and_destroy(rest->hc);
	}
	free(rest->etag);
	free(rest);
}

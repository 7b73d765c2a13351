/*
 * src/http_disc.c
 * DiSC in an HTTP transaction: who gets a lease, which headers travel, and which
 * announced bodies may reach the client.
 *
 * Order of events, by flt_disc.c:
 *  - http_disc_take_lease(): rule "disc-lease"
 *  - http_disc_forward_request(): all request rules were applied, the request is
 *    about to leave with its ticket, or the lease is given up
 *  - http_disc_retry(): the request leaves another time, without ticket; because DiSC
 *    failed (http_disc_replay()) or for another reason
 *  - http_disc_check_response(): headers just came in from the server
 *  - http_disc_accept_response(): all response rules were applied; from here on
 *    the mux knows by HTX_SL_F_DISC that records follow
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <netinet/in.h>
#include <sys/socket.h>

#include <haproxy/api.h>
#include <haproxy/channel.h>
#include <haproxy/check.h>
#include <haproxy/connection.h>
#include <haproxy/disc_h1.h>
#include <haproxy/disc_h2.h>
#include <haproxy/disc_lease.h>
#include <haproxy/disc_handoff.h>
#include <haproxy/filters.h>
#include <haproxy/flt_disc.h>
#include <haproxy/global.h>
#include <haproxy/h1_htx.h>
#include <haproxy/http.h>
#include <haproxy/http_ana-t.h>
#include <haproxy/http_disc.h>
#include <haproxy/http_follow.h>
#include <haproxy/http_htx.h>
#include <haproxy/htx.h>
#include <haproxy/log.h>
#include <haproxy/pool.h>
#include <haproxy/queue.h>
#include <haproxy/proxy-t.h>
#include <haproxy/sample.h>
#include <haproxy/server.h>
#include <haproxy/sc_strm.h>
#include <haproxy/session-t.h>
#include <haproxy/stats.h>
#include <haproxy/stream.h>
#include <haproxy/ticks.h>
#include <haproxy/tools.h>
#include <haproxy/vars.h>
#include <haproxy/xprt_disc.h>

DECLARE_STATIC_POOL(pool_head_disc_txn, "disc_txn", sizeof(struct disc_txn));

int disc_configured = 0;
int disc_enabled = 1;
int disc_h2_enabled = 1;
struct disc_counters disc_counters;

/*
 * Statistics, per frontend (show stat typed, Prometheus) and for the process
 */
enum {
	DISC_ST_LEASES,
	DISC_ST_REFUSED,
	DISC_ST_ACCEPTED,
	DISC_ST_DIRECT,
	DISC_ST_RETURNED,
	DISC_ST_UNKNOWN,
	DISC_ST_REJECTED,
	DISC_ST_RECORDS,
	DISC_ST_BYTES,
	DISC_ST_H2_STREAMS,
	DISC_ST_H2_BYTES,
	DISC_ST_H2_GRANTS,
	DISC_ST_H2_VOID,

	DISC_ST_STATS_COUNT /* must be the last member of the enum */
};

static struct stat_col disc_stats[] = {
	[DISC_ST_LEASES]   = { .name = "disc_leases",
	                       .desc = "Total number of leases taken" },
	[DISC_ST_REFUSED]  = { .name = "disc_refused",
	                       .desc = "Total number of requests which could get no lease" },
	[DISC_ST_ACCEPTED] = { .name = "disc_accepted",
	                       .desc = "Total number of leases accepted: responses whose records another host emitted" },
	[DISC_ST_DIRECT]   = { .name = "disc_direct",
	                       .desc = "Total number of these responses whose records took the direct path" },
	[DISC_ST_RETURNED] = { .name = "disc_returned",
	                       .desc = "Total number of leases which nobody used" },
	[DISC_ST_UNKNOWN]  = { .name = "disc_unknown",
	                       .desc = "Total number of leases with an unknown fate" },
	[DISC_ST_REJECTED] = { .name = "disc_rejected",
	                       .desc = "Total number of wrong announcements" },
	[DISC_ST_RECORDS]  = { .name = "disc_records",
	                       .desc = "Total number of records passed through" },
	[DISC_ST_BYTES]    = { .name = "disc_bytes",
	                       .desc = "Total number of plaintext bytes in the records passed through" },
	[DISC_ST_H2_STREAMS] = { .name = "disc_h2_streams",
	                       .desc = "Total number of responses to HTTP/2 clients whose records another host emitted" },
	[DISC_ST_H2_BYTES] = { .name = "disc_h2_bytes",
	                       .desc = "Total number of plaintext bytes of these responses that were passed through" },
	[DISC_ST_H2_GRANTS] = { .name = "disc_h2_grants",
	                       .desc = "Total number of grants given for these responses" },
	[DISC_ST_H2_VOID]  = { .name = "disc_h2_void",
	                       .desc = "Total number of grants whose records were not used" },
};

static struct disc_counters disc_fe_counters;

static int disc_fill_stats(void *data, struct field *stats, unsigned int *selected_field)
{
	struct disc_counters *counters = data;
	unsigned int current_field = (selected_field != NULL ? *selected_field : 0);

	for (; current_field < DISC_ST_STATS_COUNT; current_field++) {
		struct field metric = { 0 };

		switch (current_field) {
		case DISC_ST_LEASES:   metric = mkf_u64(FN_COUNTER, counters->leases); break;
		case DISC_ST_REFUSED:  metric = mkf_u64(FN_COUNTER, counters->refused); break;
		case DISC_ST_ACCEPTED: metric = mkf_u64(FN_COUNTER, counters->accepted); break;
		case DISC_ST_DIRECT:   metric = mkf_u64(FN_COUNTER, counters->direct); break;
		case DISC_ST_RETURNED: metric = mkf_u64(FN_COUNTER, counters->returned); break;
		case DISC_ST_UNKNOWN:  metric = mkf_u64(FN_COUNTER, counters->unknown); break;
		case DISC_ST_REJECTED: metric = mkf_u64(FN_COUNTER, counters->rejected); break;
		case DISC_ST_RECORDS:  metric = mkf_u64(FN_COUNTER, counters->records); break;
		case DISC_ST_BYTES:    metric = mkf_u64(FN_COUNTER, counters->bytes); break;
		case DISC_ST_H2_STREAMS: metric = mkf_u64(FN_COUNTER, counters->h2_streams); break;
		case DISC_ST_H2_BYTES: metric = mkf_u64(FN_COUNTER, counters->h2_bytes); break;
		case DISC_ST_H2_GRANTS: metric = mkf_u64(FN_COUNTER, counters->h2_grants); break;
		case DISC_ST_H2_VOID:  metric = mkf_u64(FN_COUNTER, counters->h2_void); break;
		}
		stats[current_field] = metric;
		if (selected_field != NULL)
			break;
	}
	return 1;
}

static struct stats_module disc_stats_module = {
	.name          = "disc",
	.fill_stats    = disc_fill_stats,
	.stats         = disc_stats,
	.stats_count   = DISC_ST_STATS_COUNT,
	.counters      = &disc_fe_counters,
	.counters_size = sizeof(disc_fe_counters),
	.domain_flags  = MK_STATS_PROXY_DOMAIN(STATS_PX_CAP_FE),
	.clearable     = 1,
};

INITCALL1(STG_REGISTER, stats_register_module, &disc_stats_module);

/* adds <n> to counter <name> of the process and of the frontend of stream <s> */
#define DISC_COUNT(s, name, n) do {                                                    \
		struct disc_counters *__fe =                                           \
			EXTRA_COUNTERS_GET((s)->sess->fe->extra_counters_fe,           \
			                   &disc_stats_module);                        \
		_HA_ATOMIC_ADD(&disc_counters.name, (n));                              \
		_HA_ATOMIC_ADD(&__fe->name, (n));                                      \
	} while (0)

/*
 * Leases
 */

/* Returns the client connection of <s> if its mux is <mux>, else NULL */
static struct connection *http_disc_mux_conn(const struct stream *s, const char *mux)
{
	struct connection *conn = objt_conn(s->sess->origin);

	return (conn && conn->mux && strcmp(conn->mux->name, mux) == 0) ? conn : NULL;
}

/* Returns the client connection of <s> if its mux is the HTTP/1 one, else NULL */
static struct connection *http_disc_conn(const struct stream *s)
{
	return http_disc_mux_conn(s, "H1");
}

/* Returns the client connection of <s> if its mux is the HTTP/2 one, else NULL */
static struct connection *http_disc_h2_conn(const struct stream *s)
{
	return http_disc_mux_conn(s, "H2");
}

/* Returns non-zero if <s> holds a TX state for grants, which costs nothing to give up. */
static int http_disc_holds_state(const struct stream *s)
{
	const struct disc_txn *disc = http_disc_txn(s);

	return disc && disc->lease_id && (disc->flags & (DISC_TF_H2|DISC_TF_PASSED)) == DISC_TF_H2;
}

/* Returns the lease that transaction of <s> holds, or NULL. */
struct disc_lease *http_disc_lease(struct stream *s)
{
	struct disc_txn *disc = http_disc_txn(s);
	struct connection *conn = http_disc_conn(s);
	struct disc_lease *lease = conn ? disc_conn_lease(conn) : NULL;

	if (!disc || !disc->lease_id || !lease)
		return NULL;
	return (lease->state == DISC_LS_LEASED && lease->id == disc->lease_id) ? lease : NULL;
}

/* Returns non-zero if <s> holds a lease, or a TX state for grants. */
int http_disc_holds(struct stream *s)
{
	return http_disc_lease(s) || http_disc_holds_state(s);
}

/* Returns the TX state that the agent is to get for the request of <s>, DISC_TX_WIRE_LEN bytes
 * that stay there until it has left, or NULL.
 */
const uint8_t *http_disc_wire(struct stream *s)
{
	struct disc_txn *disc = http_disc_txn(s);
	struct disc_lease *lease = http_disc_lease(s);

	if (http_disc_holds_state(s))
		return disc->wire[0] ? disc->wire : NULL;
	return lease ? disc_lease_export(lease) : NULL;
}

/* Returns the key of proofs for <s>, which holds a lease or a TX state for grants. */
static const uint8_t *http_disc_proof_key(struct stream *s)
{
	struct disc_lease *lease = http_disc_lease(s);

	return lease ? lease->proof_key : http_disc_txn(s)->proof_key;
}

/* Returns non-zero if records sealed with what <s> holds could still be sent. */
static int http_disc_is_usable(struct stream *s)
{
	struct disc_lease *lease = http_disc_lease(s);
	struct connection *conn = http_disc_h2_conn(s);
	struct disc_h2 *h2 = conn ? disc_conn_h2(conn) : NULL;

	if (http_disc_holds_state(s))
		return h2 && disc_slots_usable(&h2->slots, http_disc_txn(s)->gen, now_ms);
	return lease && disc_lease_usable(lease, now_ms);
}

/* Sets the reason to be logged, one word. */
static void http_disc_set_reason(struct stream *s, struct ist reason)
{
	struct disc_txn *disc = http_disc_txn(s);
	size_t i, len = MIN(reason.len, DISC_REASON_LEN);

	ALREADY_CHECKED(disc);
	for (i = 0; i < len; i++) /* it may come from an agent */
		disc->reason[i] = (reason.ptr[i] > ' ' && reason.ptr[i] < 0x7f) ? reason.ptr[i] : '_';
	disc->reason[len] = 0;
}

/* Returns non-zero if <filter> limits the bandwidth: it is called with the payload, but only
 * looks at its size.
 */
static int http_disc_is_bwlim(const struct filter *filter)
{
	extern const char *bwlim_flt_id;

	return FLT_ID(filter) == bwlim_flt_id;
}

/* Returns non-zero if a filter of <s> looks at bodies: it would see records. */
static int http_disc_has_body_filter(struct stream *s)
{
	struct filter *filter;

	list_for_each_entry(filter, &strm_flt(s)->filters, list) {
		if (FLT_OPS(filter)->http_payload && !http_disc_is_bwlim(filter))
			return 1;
	}
	return 0;
}

/* Returns non-zero if a filter of <s> limits the bandwidth: it would not see what goes past the
 * stream.
 */
static int http_disc_has_bwlim(const struct stream *s)
{
	struct filter *filter;

	list_for_each_entry(filter, &strm_flt(s)->filters, list) {
		if (http_disc_is_bwlim(filter))
			return 1;
	}
	return 0;
}

/* Returns the integer value of a socket option, or 0 if <fd> has none. */
static int http_disc_sockopt(int fd, int level, int name)
{
	int value = 0;
	socklen_t len = sizeof(value);

	return getsockopt(fd, level, name, &value, &len) == 0 ? value : 0;
}

/* Returns non-zero if packets sent on the socket of <conn> bear a DSCP or a mark which were
 * set on it ("set-fc-tos", "set-fc-mark"). The two lower bits beside a DSCP are not ours: the
 * kernel sets them where both sides use ECN (RFC 3168 5).
 */
static int http_disc_is_marked(const struct connection *conn)
{
	const int fd = conn->handle.fd;

	if (http_disc_sockopt(fd, IPPROTO_IP, IP_TOS) & ~0x3)
		return 1;
#ifdef IPV6_TCLASS
	if (http_disc_sockopt(fd, IPPROTO_IPV6, IPV6_TCLASS) & ~0x3)
		return 1;
#endif
#ifdef SO_MARK
	if (http_disc_sockopt(fd, SOL_SOCKET, SO_MARK))
		return 1;
#endif
	return 0;
}

/* Returns non-zero if the records of the response of <s> have to be sent by us since others
 * would not do what is configured here: a filter may pace them, or their packets are marked.
 */
int http_disc_must_send(const struct stream *s)
{
	const struct connection *conn = http_disc_conn(s);

	return http_disc_has_bwlim(s) || (conn && conn_ctrl_ready(conn) && http_disc_is_marked(conn));
}

/* Returns non-zero if what an agent has to know of the request of <s> fits into a frame of
 * SPOP: nobody may be asked about a longer one.
 */
static int http_disc_may_ask(const struct stream *s)
{
	const struct htx *htx = htxbuf(&s->req.buf);
	const struct htx_sl *sl = http_get_stline(htx);
	struct http_hdr_ctx ctx = { .blk = NULL };
	size_t size = sl ? istlen(htx_sl_req_uri(sl)) : 0;

	while (http_find_header(htx, ist("host"), &ctx, 1))
		size += istlen(ctx.value);
	return size <= DISC_ASK_MAX;
}

/* Returns NULL if a request of stream <s> may get a lease, or the reason. */
static const char *http_disc_refusal(struct stream *s)
{
	if (!disc_enabled)
		return "off";
	if (!http_disc_conn(s) && !(disc_h2_enabled && http_disc_h2_conn(s)))
		return "mux";
	if (s->txn->meth != HTTP_METH_GET)
		return "method";
	if (!(s->txn->req.flags & HTTP_MSGF_BODYLESS) || (s->txn->req.flags & HTTP_MSGF_CONN_UPG))
		return "body";
	if (http_disc_has_body_filter(s) || (http_disc_h2_conn(s) && http_disc_has_bwlim(s)))
		return "filter";
	if ((s->sess->fe->options2 | s->be->options2) & PR_O2_DISC_BODY)
		return "wait-for-body";
	return NULL;
}

/* Returns non-zero if what waits to be sent to the client of <s>, a 103 or so,
 * will cost this request its lease.
 */
static int http_disc_is_threatened(struct stream *s)
{
	const struct disc_lease *lease = http_disc_lease(s);

	return lease && c_data(&s->res) && !disc_lease_survives_write(lease);
}

/* Notes that the lease which <s> held has ended, and how. One that is not there any more
 * ended when something was sent, or with its connection.
 */
static void http_disc_end(struct stream *s)
{
	struct disc_txn *disc = http_disc_txn(s);
	const struct connection *conn = http_disc_conn(s);
	const struct disc_lease *lease = conn ? disc_conn_lease(conn) : NULL;

	ALREADY_CHECKED(disc);
	disc->fate = DISC_LF_UNKNOWN;
	if ((disc->flags & DISC_TF_H2) || (lease && lease->id == disc->lease_id && lease->fate == DISC_LF_RETURNED))
		disc->fate = DISC_LF_RETURNED;
	if (disc->flags & DISC_TF_H2) {
		disc_wolf_wipe(disc->wire, sizeof(disc->wire));
		disc_wolf_wipe(disc->proof_key, sizeof(disc->proof_key));
	}
	disc->lease_id = 0;
	if (disc->fate == DISC_LF_RETURNED)
		DISC_COUNT(s, returned, 1);
	else
		DISC_COUNT(s, unknown, 1);
}

/* Takes a lease of <keys> for the current request of <s>, or a TX state for grants if its client
 * speaks HTTP/2. Returns NULL, or the reason why there is none.
 */
static const char *http_disc_take(struct stream *s, struct disc_txn *disc, enum disc_keys keys)
{
	struct connection *conn = http_disc_h2_conn(s);

	disc->flags &= ~DISC_TF_H2;
	if (!conn)
		return disc_conn_take_lease(http_disc_conn(s), keys, disc->lease_id);
	if (keys != DISC_KEYS_CONNECTION)
		return "keys"; /* streams share the keys in use */
	disc->flags |= DISC_TF_H2;
	return disc_conn_export(conn, disc->wire, disc->proof_key, &disc->gen);
}

/* Takes a lease of <keys> for the current request of stream <s>. Returns NULL, or the
 * reason why there is none, which was noted for the logs then.
 */
const char *http_disc_take_lease(struct stream *s, enum disc_keys keys)
{
	static uint64_t last_id;
	struct disc_stream *ds = flt_disc(s);
	struct disc_txn *disc;
	const char *why;

	if (ds && !ds->txn)
		ds->txn = pool_zalloc(pool_head_disc_txn);
	if (!ds || !ds->txn)
		return "memory";
	disc = ds->txn;
	if (http_disc_holds(s))
		return NULL; /* rule evaluated twice */
	if (disc->lease_id && !(disc->flags & DISC_TF_PASSED))
		http_disc_end(s); /* something was sent meanwhile */

	why = http_disc_refusal(s);
	if (!why && !http_disc_may_ask(s))
		why = "too-long";
	if (!why) {
		disc->lease_id = _HA_ATOMIC_ADD_FETCH(&last_id, 1);
		why = http_disc_take(s, disc, keys);
	}
	if (!why && http_disc_is_threatened(s)) {
		disc_lease_return(http_disc_lease(s), now_ms); /* nobody saw it */
		why = "pending";
	}
	if (why) {
		disc->lease_id = 0;
		http_disc_set_reason(s, ist(why));
		DISC_COUNT(s, refused, 1);
	}
	else {
		disc->reason[0] = 0;
		disc->fate = DISC_LF_OPEN;
		DISC_COUNT(s, leases, 1);
	}
	return why;
}

/* Sets <smp> to the variable <name> of <s>. Returns non-zero if it has one of type <type>. */
static int http_disc_get_var(struct stream *s, const char *name, int type, struct sample *smp)
{
	memset(smp, 0, sizeof(*smp));
	smp_set_owner(smp, s->be, s->sess, s, SMP_OPT_FINAL);
	return vars_get_by_name(name, strlen(name), smp, NULL) && smp->data.type == type;
}

/* Returns the name of the node that the agent chose for the request of <s>, which is valid as
 * long as the variable is, or "-".
 */
struct ist http_disc_node(struct stream *s)
{
	struct sample smp;

	if (!http_disc_get_var(s, "txn.disc.node", SMP_T_STR, &smp) || !b_data(&smp.data.u.str))
		return ist("-");
	return ist2(b_orig(&smp.data.u.str), b_data(&smp.data.u.str));
}

/* Returns non-zero if the agent said that nothing was and nothing will be offered to anybody
 * under the lease of <s>.
 */
static int http_disc_is_unused(struct stream *s)
{
	const struct disc_txn *disc = http_disc_txn(s);
	struct sample smp;

	return http_disc_get_var(s, "txn.disc.unused_lease", SMP_T_SINT, &smp) && smp.data.u.sint == disc->lease_id;
}

/* Ends the lease of <s>, if any, which its response does not use, for <reason> unless one
 * is known already.
 */
static void http_disc_give_up(struct stream *s, struct ist reason)
{
	struct disc_txn *disc = http_disc_txn(s);
	struct disc_lease *lease = http_disc_lease(s);

	ALREADY_CHECKED(disc);
	disc->ticket[0] = 0;
	disc->flags &= ~(DISC_TF_ANNOUNCED|DISC_TF_DIRECT);
	if (!disc->lease_id)
		return;
	if (lease && http_disc_is_unused(s))
		disc_lease_return(lease, now_ms);
	else if (lease)
		disc_lease_give_up(lease, now_ms);
	if (!disc->reason[0])
		http_disc_set_reason(s, reason);
	http_disc_end(s);
}

/* Called when HAProxy itself answers to the request of <s>: before this is sent, a lease
 * that nobody can use is taken back, and one of a response that is replaced ends.
 */
void http_disc_replied(struct stream *s)
{
	struct disc_txn *disc = http_disc_txn(s);
	struct connection *conn = http_disc_conn(s);
	struct disc_lease *lease = conn ? disc_conn_lease(conn) : NULL;

	if (!disc)
		return;
	if (!(disc->flags & DISC_TF_PASSED))
		http_disc_give_up(s, ist("ended"));
	else if (lease && lease->state == DISC_LS_ACCEPTED && lease->id == disc->lease_id)
		disc_lease_give_up(lease, now_ms);
}

/* Called when a message of <size> bytes at <area> will not reach the agent that it was
 * encoded for: if it has the TX state of the lease of <s>, which is given away once, nobody
 * got that. One which was wiped is not looked for : zeroes are found everywhere.
 */
void http_disc_unsent(struct stream *s, const void *area, size_t size)
{
	struct disc_lease *lease = http_disc_lease(s);

	if (lease && lease->exported && lease->wire[0] && my_memmem(area, size, lease->wire, sizeof(lease->wire)))
		disc_lease_unexport(lease);
}

/* Releases what <s>, for which a rule was evaluated, holds. */
void http_disc_release(struct stream *s)
{
	struct disc_stream *ds = flt_disc(s);

	ALREADY_CHECKED(ds);
	if (!(ds->txn->flags & DISC_TF_PASSED))
		http_disc_give_up(s, ist("ended"));
	if (ds->txn->body)
		disc_h2s_release(ds->txn->body);
	disc_wolf_wipe(ds->txn->proof_key, sizeof(ds->txn->proof_key));
	b_free(&ds->txn->request);
	ha_free(&ds->txn->claim);
	ha_free(&ds->txn->etag);
	pool_free(pool_head_disc_txn, ds->txn);
	ds->txn = NULL;
}

/*
 * Requests
 */

/* Removes all header fields whose name starts with "disc-" from <htx>: only this
 * process and its servers may set them.
 */
void http_disc_clean_headers(struct htx *htx)
{
	struct http_hdr_ctx ctx = { .blk = NULL };

	while (http_find_pfx_header(htx, ist("disc-"), &ctx, 1))
		http_remove_header(htx, &ctx);
}

static int http_disc_is_ticket(const struct ist value)
{
	size_t i;

	for (i = 0; i < value.len; i++) {
		if (!isdigit((unsigned char)value.ptr[i]) && (value.ptr[i] < 'a' || value.ptr[i] > 'f'))
			return 0;
	}
	return value.len == DISC_TICKET_LEN;
}

/* Tells why no ticket was set: the agent's word if it gave one. */
static void http_disc_set_agent_reason(struct stream *s)
{
	struct sample smp;

	if (http_disc_get_var(s, "txn.disc.reason", SMP_T_STR, &smp))
		http_disc_set_reason(s, ist2(smp.data.u.str.area, smp.data.u.str.data));
	else
		http_disc_set_reason(s, ist("no-ticket"));
}

/* Appends a line with the field <name> of the request <htx> to <text>, an empty one if there
 * is none. Returns 1, or 0 if there are several, if its value is empty, or without room.
 */
static int http_disc_add_field(struct buffer *text, const struct htx *htx, struct ist name)
{
	struct http_hdr_ctx ctx = { .blk = NULL };
	struct ist value = IST_NULL;

	if (http_find_header(htx, name, &ctx, 1)) {
		value = http_trim_trailing_spht(http_trim_leading_spht(ctx.value));
		if (!istlen(value) || http_find_header(htx, name, &ctx, 1))
			return 0;
	}
	return chunk_istcat(text, value) && chunk_strcat(text, "\n");
}

/* Writes what the proof of the request <htx> with <ticket> covers to <text>, see DiSC's
 * doc/protocol.md: what decides which bytes the body is. Returns 1, or 0 if this cannot be
 * told in that form.
 */
static int http_disc_request_text(struct buffer *text, const struct htx *htx, struct ist ticket)
{
	const struct htx_sl *sl = http_get_stline(htx);

	chunk_reset(text);
	return chunk_strcat(text, "disc-request-2\n") && chunk_istcat(text, ticket) && chunk_strcat(text, "\n") &&
	       chunk_istcat(text, htx_sl_req_meth(sl)) && chunk_strcat(text, "\n") &&
	       chunk_istcat(text, h1_get_uri(sl)) && chunk_strcat(text, "\n") &&
	       http_disc_add_field(text, htx, ist("range")) && http_disc_add_field(text, htx, ist("if-range")) &&
	       http_disc_add_field(text, htx, ist("if-match"));
}

/* Adds the proof of the request <htx> to its <ticket>, the field at <ctx>. Returns NULL, or
 * why this was not possible.
 */
static const char *http_disc_prove_request(const uint8_t *key, struct htx *htx, struct http_hdr_ctx *ctx,
                                           struct ist ticket)
{
	struct buffer *text = get_trash_chunk();
	char proven[DISC_TICKET_LEN + sizeof("; proof=") + DISC_PROOF_LEN];
	char proof[DISC_PROOF_LEN + 1];

	if (!http_disc_request_text(text, htx, ticket))
		return "headers";
	if (!disc_proof_make(key, b_orig(text), b_data(text), proof))
		return "crypto";
	snprintf(proven, sizeof(proven), "%.*s; proof=%s", (int)ticket.len, ticket.ptr, proof);
	return http_replace_header_value(htx, ctx, ist(proven)) ? NULL : "headers";
}

/* Binds the client connection of <s> to the trust group that the agent chose, unless it is bound
 * already. Returns non-zero, or 0 if it is bound to another one.
 */
static int http_disc_bind_group(struct stream *s)
{
	struct disc_h2 *h2 = disc_conn_h2(http_disc_h2_conn(s));
	struct sample smp;

	if (!h2 || !http_disc_get_var(s, "txn.disc.group", SMP_T_STR, &smp) || !smp.data.u.str.data ||
	    smp.data.u.str.data > DISC_GROUP_LEN)
		return 0;
	if (!h2->group[0]) {
		memcpy(h2->group, smp.data.u.str.area, smp.data.u.str.data);
		h2->group[smp.data.u.str.data] = 0;
	}
	return isteq(ist(h2->group), ist2(smp.data.u.str.area, smp.data.u.str.data));
}

/* Called when all request rules were applied to <htx>: the request keeps its
 * ticket if there is exactly one and the lease still holds, and is proven. Otherwise the
 * lease is given up and the ticket removed.
 */
void http_disc_forward_request(struct stream *s, struct htx *htx)
{
	struct http_hdr_ctx ctx = { .blk = NULL }, next = { .blk = NULL };
	struct disc_txn *disc = http_disc_txn(s);
	struct disc_lease *lease = http_disc_lease(s);
	struct ist ticket = IST_NULL;
	const char *why = NULL;
	int tickets = 0;

	while (http_find_header(htx, ist("disc-ticket"), &next, 1)) {
		ctx = next;
		ticket = ctx.value;
		tickets++;
	}
	if (lease)
		disc_lease_wipe_wire(lease);
	if (http_disc_holds_state(s))
		disc_wolf_wipe(disc->wire, sizeof(disc->wire));

	if (disc && disc->lease_id) {
		if (!tickets) {
			http_disc_set_agent_reason(s);
			why = disc->reason[0] ? disc->reason : "no-ticket";
		}
		else if (tickets > 1 || !http_disc_is_ticket(ticket))
			why = "bad-ticket";
		else if (!http_disc_is_usable(s))
			why = "lost";
		else if (http_disc_holds_state(s) && !http_disc_bind_group(s))
			why = "group";
		else if (http_disc_is_threatened(s))
			why = "pending";
		else
			why = http_disc_refusal(s);
		if (tickets && !why) {
			memcpy(disc->ticket, ticket.ptr, DISC_TICKET_LEN);
			disc->ticket[DISC_TICKET_LEN] = 0;
			why = http_disc_prove_request(http_disc_proof_key(s), htx, &ctx, ist2(disc->ticket, DISC_TICKET_LEN));
		}
		if (!why) {
			disc->flags |= DISC_TF_REPLAY;
			/* keep a copy: without DiSC, the request could be served */
			s->txn->flags |= TX_L7_RETRY;
			return;
		}
		if (tickets)
			http_disc_set_reason(s, ist(why));
		http_disc_give_up(s, ist(why));
	}
	if (tickets)
		http_disc_clean_headers(htx);
}

/* Removes the ticket from the request in <buf>, if one is there. Returns by how much it is
 * smaller now.
 */
static size_t http_disc_remove_ticket(struct buffer *buf)
{
	struct htx *htx = htxbuf(buf);
	const size_t before = htx->data;

	if (htx_is_empty(htx) || htx_get_first_type(htx) != HTX_BLK_REQ_SL)
		return 0;
	http_disc_clean_headers(htx);
	return before - htx->data;
}

/* Called when the request of <s> is about to be sent again, wherever it is: gives the lease
 * up and removes the ticket.
 */
void http_disc_retry(struct stream *s)
{
	struct disc_txn *disc = http_disc_txn(s);
	struct buffer *copy = &s->txn->l7_buffer;
	size_t less;

	if (!disc)
		return;
	http_disc_give_up(s, ist("retry"));
	disc->flags &= ~DISC_TF_REPLAY;
	b_free(&disc->request);
	s->txn->rsp.flags = 0;
	s->txn->rsp.msg_state = HTTP_MSG_RPBEFORE;

	less = http_disc_remove_ticket(&s->req.buf);
	if (co_data(&s->req) >= less)
		co_set_data(&s->req, co_data(&s->req) - less);
	/* its amount of data is that of the output, see do_l7_retry() */
	less = http_disc_remove_ticket(copy);
	if (b_data(copy) > less)
		b_set_data(copy, b_data(copy) - less);
}

/* Chooses where the request of <s> is sent again because DiSC failed: another server may
 * be chosen if "option redispatch" is set.
 */
static void http_disc_choose_server(struct stream *s)
{
	struct server *srv = objt_server(s->target);

	if (!srv || !(s->be->options & PR_O_REDISP) || (s->flags & SF_FORCE_PRST)) {
		s->scb->state = SC_ST_ASS;
		return;
	}
	sess_change_server(s, NULL);
	if (may_dequeue_tasks(srv, s->be))
		process_srv_queue(srv);
	sockaddr_free(&s->scb->dst);
	s->flags &= ~(SF_DIRECT | SF_ASSIGNED);
	s->scb->state = SC_ST_REQ;
}

/* Sends the request of <s> again, without ticket, if it may be and was kept. This is
 * do_l7_retry() but for what counts it as a retry, since DiSC having failed is no failure
 * of the request, and for "retries", which does not limit it. Returns 1, or 0 if the
 * response has to be processed as it is.
 */
int http_disc_replay(struct stream *s)
{
	struct disc_txn *disc = http_disc_txn(s);
	struct channel *req = &s->req;
	struct channel *res = &s->res;
	struct server *srv = objt_server(s->target);
	struct buffer *kept;
	size_t output;

	if (!http_disc_may_replay(s))
		return 0;
	kept = b_data(&disc->request) ? &disc->request : &s->txn->l7_buffer;
	if (!(s->txn->flags & TX_L7_RETRY) || !b_data(kept))
		return 0;
	if (srv && (s->flags & SF_CURR_SESS)) {
		s->flags &= ~SF_CURR_SESS;
		_HA_ATOMIC_DEC(&srv->cur_sess);
	}
	s->scf->flags &= ~(SC_FL_EOS | SC_FL_ABRT_DONE | SC_FL_ABRT_WANTED);
	req->flags &= ~(CF_WRITE_TIMEOUT | CF_WROTE_DATA);
	res->flags &= ~(CF_READ_TIMEOUT | CF_READ_EVENT);
	res->analysers &= AN_RES_FLT_END;
	s->conn_err_type = STRM_ET_NONE;
	s->flags &= ~(SF_CONN_EXP | SF_ERR_MASK | SF_FINST_MASK);
	s->conn_exp = TICK_ETERNITY;
	s->current_rule = s->current_rule_list = NULL;
	http_disc_choose_server(s);
	res->to_forward = 0;
	res->analyse_exp = TICK_ETERNITY;
	res->total = 0;

	s->scb->flags &= ~(SC_FL_ERROR | SC_FL_EOI | SC_FL_EOS | SC_FL_ABRT_DONE | SC_FL_ABRT_WANTED |
	                   SC_FL_SHUT_DONE | SC_FL_SHUT_WANTED);
	if (sc_reset_endp(s->scb) < 0) {
		s->flags |= SF_ERR_INTERNAL;
		return 0;
	}

	output = b_data(kept);
	b_free(&req->buf);
	b_set_data(kept, b_size(kept));
	b_xfer(&req->buf, kept, b_data(kept));
	co_set_data(req, output);
	http_disc_retry(s);
	http_follow_retry(s);

	b_reset(&res->buf);
	co_set_data(res, 0);
	return 1;
}

/* Called when the server of <s> has failed before the headers of its response were
 * complete: has the request sent again if it may be. Returns 1 if it will be, otherwise 0.
 */
int http_disc_replay_failed(struct stream *s)
{
	const struct connection *conn = sc_conn(s->scb);
	struct server *srv = objt_server(s->target);
	const int is_reused = s->flags & SF_SRV_REUSED;
	short why;

	/* without early data, or without a client, the analyser knows what to do */
	if ((conn && conn->err_code == CO_ER_SSL_EARLY_FAILED) || sc_ep_test(s->scf, SE_FL_ERR_PENDING))
		return 0;
	if (htxbuf(&s->res.buf)->flags & HTX_FL_PARSING_ERROR)
		why = HANA_STATUS_HTTP_HDRRSP;
	else if (s->scb->flags & SC_FL_ERROR)
		why = is_reused ? HANA_STATUS_UNKNOWN : HANA_STATUS_HTTP_READ_ERROR;
	else if (s->res.flags & CF_READ_TIMEOUT)
		why = HANA_STATUS_HTTP_READ_TIMEOUT;
	else if ((s->scb->flags & SC_FL_SHUT_DONE) && (s->scf->flags & (SC_FL_EOS | SC_FL_ABRT_DONE)))
		return 0; /* it is the client that aborted */
	else
		why = is_reused ? HANA_STATUS_UNKNOWN : HANA_STATUS_HTTP_BROKEN_PIPE;
	if (!http_disc_replay(s))
		return 0;
	if (srv && why != HANA_STATUS_UNKNOWN)
		health_adjust(srv, why);
	return 1;
}

/*
 * Responses
 */

/* Reads a decimal number without sign nor leading zeros at the beginning of
 * <*in>, and skips it. Returns 1, or 0 if there is none or if it exceeds 64 bits.
 */
static int http_disc_read_number(struct ist *in, uint64_t *out)
{
	const char *start = in->ptr;
	uint64_t value = 0;

	while (in->len && isdigit((unsigned char)*in->ptr)) {
		unsigned int digit = *in->ptr - '0';

		if (value > (UINT64_MAX - digit) / 10)
			return 0;
		value = value * 10 + digit;
		*in = istnext(*in);
	}
	*out = value;
	return in->ptr != start && (*start != '0' || in->ptr == start + 1);
}

/* Skips <word> at the beginning of <*in>. Returns 1 if it was there. */
static int http_disc_skip(struct ist *in, const struct ist word)
{
	if (in->len < word.len || memcmp(in->ptr, word.ptr, word.len) != 0)
		return 0;
	*in = istadv(*in, word.len);
	return 1;
}

/* Reads an entity tag with its quotes, or nothing, at the beginning of <*in>, and skips it.
 * Returns 1, or 0 if it is malformed (RFC 9110 8.8.3), weak or too long.
 */
static int http_disc_read_etag(struct ist *in, struct ist *etag)
{
	const char *end;

	*etag = ist2(in->ptr, 0);
	if (!in->len || *in->ptr != '"')
		return 1;
	end = memchr(in->ptr + 1, '"', in->len - 1);
	if (!end || end + 1 - in->ptr > DISC_ETAG_LEN)
		return 0;
	etag->len = end + 1 - in->ptr;
	*in = istadv(*in, etag->len);
	return 1;
}

/* Parses <value> of a Disc-Body header into <ann>. Its syntax is exact, see DiSC's
 * doc/protocol.md. Returns NULL, or the name of the first wrong field. What is wrong behind
 * the ticket of "none" only means that it has no proof.
 */
const char *http_disc_parse_announcement(struct ist value, struct disc_announcement *ann)
{
	const char *start = value.ptr;

	memset(ann, 0, sizeof(*ann));
	if (http_disc_skip(&value, ist("splice")))
		ann->body = DISC_BODY_SPLICE;
	else if (http_disc_skip(&value, ist("direct")))
		ann->body = DISC_BODY_DIRECT;
	else if (http_disc_skip(&value, ist("grants")))
		ann->body = DISC_BODY_GRANTS;
	else if (http_disc_skip(&value, ist("none")))
		ann->body = DISC_BODY_NONE;
	else
		return "kind";

	if (!http_disc_skip(&value, ist("; ticket=")) || value.len < DISC_TICKET_LEN)
		return "ticket";
	ann->ticket = ist2(value.ptr, DISC_TICKET_LEN);
	value = istadv(value, DISC_TICKET_LEN);
	if (!http_disc_is_ticket(ann->ticket))
		return "ticket";

	if (ann->body == DISC_BODY_SPLICE || ann->body == DISC_BODY_DIRECT) {
		if (!http_disc_skip(&value, ist("; seq=")) || !http_disc_read_number(&value, &ann->seq))
			return "seq";
		if (!http_disc_skip(&value, ist("; records=")) || !http_disc_read_number(&value, &ann->records))
			return "records";
	}
	if (ann->body != DISC_BODY_NONE) {
		if (!http_disc_skip(&value, ist("; length=")) || !http_disc_read_number(&value, &ann->length))
			return "length";
		if (!http_disc_skip(&value, ist("; status=")) || !http_disc_read_number(&value, &ann->status))
			return "status";
		if (!http_disc_skip(&value, ist("; first=")) || !http_disc_read_number(&value, &ann->first))
			return "first";
		if (!http_disc_skip(&value, ist("; etag=")) || !http_disc_read_etag(&value, &ann->etag))
			return "etag";
	}
	if (ann->body == DISC_BODY_GRANTS &&
	    (!http_disc_skip(&value, ist("; ready=")) || !http_disc_read_number(&value, &ann->ready)))
		return "ready";
	ann->text = ist2(start, value.ptr - start);
	if (http_disc_skip(&value, ist("; proof=")) && value.len == DISC_PROOF_LEN)
		ann->proof = value;
	else if (ann->body != DISC_BODY_NONE)
		return value.len > DISC_PROOF_LEN ? "syntax" : "proof";
	return NULL;
}

/* Returns non-zero if the proof of <ann> under <key> is right. */
static int http_disc_is_proven(const uint8_t *key, const struct disc_announcement *ann)
{
	struct buffer *text = get_trash_chunk();

	return isttest(ann->proof) && chunk_strcat(text, "disc-body-2\n") && chunk_istcat(text, ann->text) &&
	       disc_proof_check(key, b_orig(text), b_data(text), ann->proof.ptr);
}

/* Checks that the server's headers in <htx> announce a body of exactly <size>
 * bytes. Returns 1 or 0.
 */
static int http_disc_check_size(struct htx *htx, uint64_t size)
{
	struct http_hdr_ctx ctx = { .blk = NULL };
	uint64_t value;
	int found = 0;

	while (http_find_header(htx, ist("content-length"), &ctx, 1)) {
		struct ist text = ctx.value;

		if (found++ || !http_disc_read_number(&text, &value) || text.len || value != size)
			return 0;
	}
	return found && (http_get_stline(htx)->flags & (HTX_SL_F_CLEN|HTX_SL_F_CHNK)) == HTX_SL_F_CLEN;
}

/* Checks that the server's headers in <htx> announce a chunked body. Returns 1 or 0. */
static int http_disc_check_chunked(struct htx *htx)
{
	return (http_get_stline(htx)->flags & (HTX_SL_F_CLEN|HTX_SL_F_CHNK)) == HTX_SL_F_CHNK;
}

/* Checks that the headers <htx> of a partial response tell that its body are <length> bytes
 * from byte <first> on (RFC 9110 14.4). Returns 1 or 0.
 */
static int http_disc_check_range(struct htx *htx, uint64_t first, uint64_t length)
{
	struct http_hdr_ctx ctx = { .blk = NULL };
	uint64_t from, to;
	struct ist text;

	if (!http_find_header(htx, ist("content-range"), &ctx, 1))
		return 0;
	text = ctx.value;
	return http_disc_skip(&text, ist("bytes ")) && http_disc_read_number(&text, &from) &&
	       http_disc_skip(&text, ist("-")) && http_disc_read_number(&text, &to) && http_disc_skip(&text, ist("/")) &&
	       from == first && to >= from && to - from == length - 1 &&
	       !http_find_header(htx, ist("content-range"), &ctx, 1);
}

/* Checks that what the server's headers in <htx> tell about the object is what <ann> proves.
 * Returns NULL, or the name of what is wrong.
 */
static const char *http_disc_check_object(struct htx *htx, const struct disc_announcement *ann)
{
	struct http_hdr_ctx ctx = { .blk = NULL };
	const unsigned int status = http_get_stline(htx)->info.res.status;

	if ((status != 200 && status != 206) || ann->status != status)
		return "status";
	if (status == 200 ? ann->first != 0 : !http_disc_check_range(htx, ann->first, ann->length))
		return "first";
	if (istlen(ann->etag) && (!http_find_header(htx, ist("etag"), &ctx, 1) || !isteq(ctx.value, ann->etag)))
		return "etag";
	return NULL;
}

/* Checks announcement <ann> of records against what was leased and asked for.
 * Returns NULL with the layout noted for <s>, or the name of what is wrong.
 */
static const char *http_disc_check_records(struct stream *s, struct htx *htx, const struct disc_announcement *ann)
{
	struct disc_txn *disc = http_disc_txn(s);
	struct disc_lease *lease = http_disc_lease(s);
	struct htx_sl *sl = http_get_stline(htx);
	const char *wrong;

	if (!disc || !disc->ticket[0])
		return "unasked";
	if (!isteq(ann->ticket, ist2(disc->ticket, DISC_TICKET_LEN)))
		return "ticket";
	if (!http_disc_holds(s))
		return "lease";
	if (!http_disc_is_proven(http_disc_proof_key(s), ann))
		return "proof";
	if (!!(disc->flags & DISC_TF_H2) != (ann->body == DISC_BODY_GRANTS))
		return "kind";
	if (!http_disc_is_usable(s))
		return "lease";
	wrong = http_disc_check_object(htx, ann);
	if (wrong)
		return wrong;
	if (s->txn->meth != HTTP_METH_GET || (sl->flags & (HTX_SL_F_BODYLESS|HTX_SL_F_BODYLESS_RESP)))
		return "method";
	if (http_disc_has_body_filter(s))
		return "filter";
	if (ann->body == DISC_BODY_GRANTS) {
		if (!ann->length || ann->ready > ann->length)
			return ann->length ? "ready" : "length";
		disc->length = ann->length;
		disc->first = ann->first;
		free(disc->etag);
		disc->etag = istlen(ann->etag) ? my_strndup(ann->etag.ptr, istlen(ann->etag)) : NULL;
		disc->ready = ann->ready;
		return http_disc_check_chunked(htx) ? NULL : "content-length";
	}
	if (ann->seq != lease->seq)
		return "seq";
	if (!disc_lease_layout(lease, ann->length, &disc->records, &disc->ciphertext))
		return "length";
	if (ann->records != disc->records)
		return "records";
	if (ann->body == DISC_BODY_DIRECT && !disc_handoff_configured())
		return "agent";
	if (ann->body == DISC_BODY_DIRECT ? !http_disc_check_chunked(htx) : !http_disc_check_size(htx, disc->ciphertext))
		return "content-length";
	disc->length = ann->length;
	disc->overhead = lease->overhead;
	return NULL;
}

/* Gives the lease up because of what is wrong with an announcement, and logs it,
 * unless it only came too late for the lease, which is not the server's fault, or
 * there is no agent which hands off, which is a matter of our configuration.
 */
static void http_disc_reject(struct stream *s, const char *field)
{
	struct server *srv = objt_server(s->target);
	char word[DISC_REASON_LEN + 1];

	if (http_disc_txn(s) && (strcmp(field, "lease") == 0 || strcmp(field, "agent") == 0)) {
		http_disc_give_up(s, strcmp(field, "lease") == 0 ? ist("lost") : ist("no-agent"));
		return;
	}
	snprintf(word, sizeof(word), "bad-%s", field);
	DISC_COUNT(s, rejected, 1);
	if (http_disc_txn(s)) {
		http_disc_set_reason(s, ist(word));
		http_disc_give_up(s, ist(word));
	}
	send_log(s->be, LOG_ERR, "DiSC: wrong announcement from server %s/%s: %s; nothing of it was forwarded.\n",
	         s->be->id, srv ? srv->id : "<NOSRV>", field);
}

/* Sets Content-Length to what the client will see, in place of whatever tells how the
 * body comes from the server. Returns 1, or 0 on failure.
 */
static int http_disc_set_size(struct htx *htx, uint64_t size)
{
	struct http_hdr_ctx ctx = { .blk = NULL };
	struct htx_sl *sl;
	char text[24];

	if (!lltoa(size, text, sizeof(text)))
		return 0;
	if (http_find_header(htx, ist("content-length"), &ctx, 1))
		return http_replace_header_value(htx, &ctx, ist(text));

	while (http_find_header(htx, ist("transfer-encoding"), &ctx, 1))
		http_remove_header(htx, &ctx);
	if (!http_add_header(htx, ist("content-length"), ist(text)))
		return 0;
	sl = http_get_stline(htx);
	sl->flags = (sl->flags & ~(HTX_SL_F_XFER_ENC|HTX_SL_F_CHNK)) | HTX_SL_F_CLEN;
	return 1;
}

/* Keeps for the agent what <ann> announces of a direct body, as it was proven, and the target
 * of the request, which was kept. The body takes the splice path if this fails.
 */
static void http_disc_keep_claim(const struct stream *s, struct disc_txn *disc, const struct disc_announcement *ann)
{
	struct htx *htx = htxbuf(&s->txn->l7_buffer);
	size_t len = ann->proof.ptr + ann->proof.len - ann->text.ptr;
	struct ist target;

	ha_free(&disc->claim);
	if (htx_is_empty(htx) || htx_get_head_type(htx) != HTX_BLK_REQ_SL)
		return;
	target = htx_sl_req_uri(htx_get_blk_ptr(htx, htx_get_head_blk(htx)));
	if (!istlen(target) || istlen(target) > DISC_ASK_MAX)
		return;
	disc->claim = malloc(len + istlen(target));
	if (!disc->claim)
		return;
	memcpy(disc->claim, ann->text.ptr, len);
	memcpy(disc->claim + len, istptr(target), istlen(target));
	disc->claim_announcement = len;
	disc->claim_target = istlen(target);
}

/* Moves what was kept of the direct body of <s> to <handoff>. Returns 1, or 0 if there is
 * nothing.
 */
int http_disc_take_claim(struct stream *s, struct disc_handoff *handoff)
{
	struct disc_txn *disc = http_disc_txn(s);

	if (!disc || !disc->claim)
		return 0;
	handoff->claim = disc->claim;
	handoff->claim_announcement = disc->claim_announcement;
	handoff->claim_target = disc->claim_target;
	disc->claim = NULL;
	return 1;
}

/* Called on response headers <htx> as they came from the server: checks what they
 * announce, removes all of DiSC's headers, and puts the plaintext's size into
 * Content-Length if records follow. To be called for all responses of a proxy with a
 * "disc-lease" rule, including interim ones. Returns 1 if the response may be
 * processed, or 0 if it must not be forwarded.
 */
int http_disc_check_response(struct stream *s, struct htx *htx)
{
	struct http_hdr_ctx ctx = { .blk = NULL };
	struct disc_txn *disc = http_disc_txn(s);
	struct disc_announcement ann;
	const char *wrong = NULL;
	int status = http_get_stline(htx)->info.res.status;
	int found = 0;

	while (!wrong && http_find_header(htx, ist("disc-body"), &ctx, 1))
		wrong = found++ ? "duplicate" : http_disc_parse_announcement(ctx.value, &ann);

	if (!found) {
		if (disc && disc->ticket[0] && (status >= 200 || status == 101)) {
			http_disc_give_up(s, ist("unannounced"));
			disc->flags &= ~DISC_TF_REPLAY;
		}
	}
	else if (status < 200)
		wrong = "status";
	else if (!wrong && ann.body != DISC_BODY_NONE) {
		wrong = http_disc_check_records(s, htx, &ann);
		/* before the headers change, which may move <ann> */
		if (!wrong && ann.body == DISC_BODY_DIRECT)
			http_disc_keep_claim(s, disc, &ann);
		if (!wrong && !http_disc_set_size(htx, disc->length))
			wrong = "content-length";
		if (!wrong) {
			disc->flags |= DISC_TF_ANNOUNCED | (ann.body == DISC_BODY_DIRECT ? DISC_TF_DIRECT : 0);
			/* where the analyser does not release it: the response may still be refused */
			b_free(&disc->request);
			disc->request = s->txn->l7_buffer;
			s->txn->l7_buffer = BUF_NULL;
		}
	}
	else if (!wrong && disc && disc->ticket[0]) {
		struct disc_lease *lease = http_disc_lease(s);

		if (http_disc_holds(s) && isteq(ann.ticket, ist2(disc->ticket, DISC_TICKET_LEN)) &&
		    http_disc_is_proven(http_disc_proof_key(s), &ann)) {
			if (lease)
				disc_lease_return(lease, now_ms);
			http_disc_set_reason(s, ist("declined"));
		}
		http_disc_give_up(s, ist("unproven"));
		disc->flags &= ~DISC_TF_REPLAY;
	}

	if (wrong)
		http_disc_reject(s, wrong);
	http_disc_clean_headers(htx);
	return !wrong;
}

/* Writes the ticket of 32 hexadecimal digits in <text> to <ticket>. */
static void http_disc_decode_ticket(uint8_t ticket[DISC_TICKET_BYTES], const char *text)
{
	int i;

	for (i = 0; i < DISC_TICKET_BYTES; i++)
		ticket[i] = hex2i(text[2 * i]) << 4 | hex2i(text[2 * i + 1]);
}

/* Returns an upper bound of the size of the headers in <htx> as HTTP/1 text,
 * including those of interim responses which wait to be sent before: all make up the
 * same record.
 */
static size_t http_disc_headers_size(struct htx *htx)
{
	size_t size = 0;
	int32_t pos;

	for (pos = htx_get_head(htx); pos != -1; pos = htx_get_next(htx, pos)) {
		struct htx_blk *blk = htx_get_blk(htx, pos);
		enum htx_blk_type type = htx_get_blk_type(blk);

		if (type == HTX_BLK_DATA)
			break;
		size += htx_get_blksz(blk) + 4; /* ": " and CRLF, or those of the status line */
	}
	/* what the mux may add by itself, such as "connection: keep-alive" */
	return size + 64;
}

/* Moves the payload that is already in the response <htx> of <s>, messages of the node, and what
 * the mux has of it to <hop>. Returns 1, or 0 if something is wrong.
 */
static int http_disc_hand_over(struct stream *s, struct htx *htx, struct disc_hop *hop)
{
	const struct connection *conn = sc_conn(s->scb);
	struct disc_h1_received received;
	struct htx_blk *blk;
	int state;

	if (conn->mux->sctl(s->scb, MUX_SCTL_DISC, &received) < 0)
		return 0;
	blk = htx_get_first_blk(htx);
	while (blk) {
		if (htx_get_blk_type(blk) != HTX_BLK_DATA) {
			blk = htx_get_next_blk(htx, blk);
			continue;
		}
		if (!disc_hop_early_payload(hop, htx_get_blk_ptr(htx, blk), htx_get_blksz(blk))) {
			b_free(&received.raw);
			return 0;
		}
		blk = htx_remove_blk(htx, blk);
	}
	state = received.state == H1_MSG_DATA ? DISC_HOP_HEAD :
	        received.state == H1_MSG_CHUNK_CRLF ? DISC_HOP_CRLF : DISC_HOP_SIZE;
	return disc_hop_early(hop, state, received.left, &received.raw);
}

/* The same as http_disc_accept_response() for a body that comes by grants. Returns NULL, or what
 * is wrong.
 */
static const char *http_disc_accept_grants(struct stream *s, struct htx *htx)
{
	struct disc_txn *disc = http_disc_txn(s);
	struct connection *srv_conn = sc_conn(s->scb);
	struct htx_sl *sl = http_get_stline(htx);
	const int may_splice = (global.tune.options & GTUNE_USE_SPLICE) &&
	                       ((s->sess->fe->options2 | s->be->options2) & PR_O2_SPLIC_RTR);

	if (s->txn->status != sl->info.res.status || (s->txn->status != 200 && s->txn->status != 206))
		return "status";
	if (!http_disc_check_size(htx, disc->length))
		return "content-length";
	if (http_disc_has_body_filter(s) || http_disc_has_bwlim(s))
		return "filter";
	if (!http_disc_is_usable(s))
		return "lease";
	if ((htx->flags & HTX_FL_EOM) || !srv_conn || !srv_conn->mux || strcmp(srv_conn->mux->name, "H1") != 0)
		return "hop";
	disc->body_at = s->res.total - htx->data;
	disc->body = disc_h2s_new(s, disc, srv_conn, disc->length, disc->ready, may_splice);
	if (!disc->body)
		return "hop";
	if (!http_disc_hand_over(s, htx, disc->body->hop)) {
		disc_hop_break(disc->body->hop, "early");
		return "hop";
	}
	DISC_COUNT(s, h2_streams, 1);
	return NULL;
}

/* Called when all response rules were applied to <htx> and records may follow:
 * last checks before the mux gets it. Returns 1, also if none follow, or 0 if the response
 * must not be forwarded.
 */
int http_disc_accept_response(struct stream *s, struct htx *htx)
{
	struct disc_txn *disc = http_disc_txn(s);
	struct disc_lease *lease = http_disc_lease(s);
	struct connection *conn = http_disc_conn(s);
	struct connection *srv_conn;
	struct htx_sl *sl;
	const char *wrong = NULL;
	uint32_t body = 0;
	int32_t pos;

	if (!disc || !(disc->flags & DISC_TF_ANNOUNCED))
		return 1;
	sl = http_get_stline(htx);
	if (disc->flags & DISC_TF_H2)
		wrong = http_disc_accept_grants(s, htx);
	else if (!lease || !conn || (conn->flags & CO_FL_SSL_WAIT_HS))
		wrong = "lease";
	else if (s->txn->status != sl->info.res.status || (s->txn->status != 200 && s->txn->status != 206))
		wrong = "status";
	else if (!http_disc_check_size(htx, disc->length))
		wrong = "content-length";
	else if (http_disc_headers_size(htx) > MIN(DISC_RECORD_MAX, global.tune.bufsize))
		wrong = "headers";
	else if (http_disc_has_body_filter(s))
		wrong = "filter";
	else if (!disc_lease_accept(lease, disc->length, now_ms))
		wrong = "lease";
	if (wrong) {
		http_disc_reject(s, wrong);
		return 0;
	}
	if (disc->flags & DISC_TF_H2) {
		disc->records = 0;
		goto accepted;
	}

	for (pos = htx_get_first(htx); pos != -1; pos = htx_get_next(htx, pos)) {
		if (htx_get_blk_type(htx_get_blk(htx, pos)) == HTX_BLK_DATA)
			body += htx_get_blksz(htx_get_blk(htx, pos));
	}
	srv_conn = sc_conn(s->scb);
	lease->chunked = !!(disc->flags & DISC_TF_DIRECT);
	/* without the agent, nobody will move the connection, and the records come to us */
	if (!disc_handoff_ready(conn) || !disc->claim || http_disc_must_send(s))
		disc->flags &= ~DISC_TF_DIRECT;
	if (disc->flags & DISC_TF_DIRECT) {
		lease->direct = 1;
		http_disc_decode_ticket(lease->ticket, disc->ticket);
		DISC_COUNT(s, direct, 1);
	}
	else if (srv_conn)
		disc_conn_receive_from(conn, srv_conn, body);
	disc->body_at = s->res.total - body;
	DISC_COUNT(s, records, disc->records);
	DISC_COUNT(s, bytes, disc->length);
 accepted:
	disc->ticket[0] = 0;
	disc->flags &= ~DISC_TF_REPLAY;
	disc->flags |= DISC_TF_PASSED;
	disc->fate = DISC_LF_ACCEPTED;
	if (!disc->etag) /* else the rest of the body may be asked for anew */
		b_free(&disc->request);
	http_disc_set_reason(s, ist("-"));
	sl->flags |= HTX_SL_F_DISC;
	DISC_COUNT(s, accepted, 1);
	return 1;
}

/* Counts a grant that was opened for the body of <s>. */
void http_disc_count_grant(struct stream *s)
{
	DISC_COUNT(s, h2_grants, 1);
}

/* Counts a grant that was void. */
void http_disc_count_void(struct stream *s)
{
	DISC_COUNT(s, h2_void, 1);
}

/* Counts <records> records which were committed, and the <bytes> of plaintext beside the stream. */
void http_disc_count_records(struct stream *s, uint32_t bytes, uint32_t records)
{
	struct disc_txn *disc = http_disc_txn(s);

	ALREADY_CHECKED(disc);
	disc->bypassed += bytes;
	disc->records += records;
	DISC_COUNT(s, records, records);
	DISC_COUNT(s, bytes, bytes);
	DISC_COUNT(s, h2_bytes, bytes);
}

/* Counts the response of <s>, which can neither be forwarded nor be asked for again, as
 * http_process_res_common() does with a bad one. The client will get a 502.
 */
void http_disc_fail_response(struct stream *s)
{
	struct server *srv = objt_server(s->target);

	s->logs.t_data = -1;
	s->txn->status = 0; /* none was sent: the filter's error makes it 502 */
	stream_inc_http_fail_ctr(s);
	_HA_ATOMIC_INC(&s->be->be_counters.failed_resp);
	if (srv) {
		_HA_ATOMIC_INC(&srv->counters.failed_resp);
		health_adjust(srv, HANA_STATUS_HTTP_RSP);
	}
	s->scb->flags |= SC_FL_NOLINGER;
}

/* The response of <s>, accepted as direct, takes the splice path instead. */
void http_disc_not_direct(struct stream *s)
{
	struct disc_txn *disc = http_disc_txn(s);

	if (!disc || !(disc->flags & DISC_TF_DIRECT))
		return;
	disc->flags &= ~DISC_TF_DIRECT;
}

/* Returns the lease that the direct response of <s> was accepted for, or NULL. */
static const struct disc_lease *http_disc_direct_lease(const struct stream *s)
{
	const struct disc_txn *disc = http_disc_txn(s);
	const struct connection *conn;
	const struct disc_lease *lease;

	if (!disc || (disc->flags & (DISC_TF_PASSED|DISC_TF_DIRECT)) != (DISC_TF_PASSED|DISC_TF_DIRECT))
		return NULL;
	conn = http_disc_conn(s);
	lease = conn ? disc_conn_lease(conn) : NULL;
	return (lease && lease->id == disc->lease_id) ? lease : NULL;
}

/* Called when <s> is about to be shut down for reason <why> (SF_ERR_*): by an administrator,
 * with its server, or with the process. If records are to follow, the client's connection is
 * given up at once: these may come from another host, or wait in a pipe for a client which
 * does not read, so that the end of the server's connection does not end the stream.
 */
void http_disc_shutdown(struct stream *s, int why)
{
	const struct disc_txn *disc = http_disc_txn(s);
	const struct connection *conn = http_disc_conn(s);
	const struct disc_lease *lease = conn ? disc_conn_lease(conn) : NULL;

	if (disc && disc->body && disc->body->hop) {
		if (!(s->flags & SF_ERR_MASK))
			s->flags |= why;
		s->scf->flags |= SC_FL_ERROR;
		return;
	}
	if (!disc || !(disc->flags & DISC_TF_PASSED) || !lease || lease->id != disc->lease_id ||
	    lease->state < DISC_LS_ACCEPTED)
		return;
	/* without its server a body on the direct path goes on: the agent sees to that */
	if (lease->direct && why != SF_ERR_KILLED)
		return;
	if (!(s->flags & SF_ERR_MASK))
		s->flags |= why;
	s->scf->flags |= SC_FL_ERROR;
}

/* Called before the body of the response of <s> is looked at. If it takes the direct path,
 * an error or the silence of the server has no consequences: the agent tells how it ends,
 * and when all of it was written, it ends even if the server cannot tell so any more.
 * Returns 1 if there is nothing but to wait for the agent, or 0 if the body is to be
 * processed.
 */
int http_disc_hold_response(struct stream *s)
{
	const struct disc_txn *disc = http_disc_txn(s);
	const struct disc_lease *lease = http_disc_direct_lease(s);
	struct channel *res = &s->res;
	struct http_msg *msg = &s->txn->rsp;
	struct htx *htx;

	if (!disc || !lease)
		return 0;
	if ((s->scb->flags & SC_FL_ERROR) || (res->flags & CF_READ_TIMEOUT)) {
		sc_abort(s->scb);
		s->scb->flags &= ~SC_FL_ERROR;
		res->flags &= ~CF_READ_TIMEOUT;
	}
	if (disc_conn_is_direct(http_disc_conn(s))) {
		htx = htxbuf(&res->buf);
		/* complete, broken, or without its client: as any other one */
		if ((htx->flags & (HTX_FL_EOM | HTX_FL_PARSING_ERROR | HTX_FL_PROCESSING_ERROR)) ||
		    msg->msg_state >= HTTP_MSG_ENDING || (s->scf->flags & SC_FL_SHUT_DONE) ||
		    (res->to_forward == CHN_INFINITE_FORWARD && (s->scb->flags & SC_FL_EOI)))
			return 0;
		msg->msg_state = HTTP_MSG_DATA;
		if (!res->to_forward || res->to_forward == CHN_INFINITE_FORWARD) {
			c_adv(res, htx->data - co_data(res));
			if (global.tune.options & GTUNE_USE_FAST_FWD)
				channel_htx_forward_forever(res, htx);
		}
		else
			res->flags |= CF_WAKE_WRITE;
		channel_dont_close(res);
		return 1;
	}
	if (lease->acked != disc->ciphertext || msg->msg_state >= HTTP_MSG_ENDING ||
	    !(s->scb->flags & (SC_FL_EOS | SC_FL_ABRT_DONE)) || !channel_alloc_buffer(res, &s->buffer_wait))
		return 0;
	htx = htx_from_buf(&res->buf);
	if (!(htx->flags & HTX_FL_EOM) && htx_add_endof(htx, HTX_BLK_EOT))
		htx->flags |= HTX_FL_EOM;
	htx_to_buf(htx, &res->buf);
	return 0;
}

/* Converts <total>, the bytes that the response channel of <s> has seen, to what
 * it would have seen without DiSC, so that counters and logs do not depend on the
 * path taken. Never returns less than what was counted already.
 */
static unsigned long long http_disc_plain_total(const struct stream *s, const struct disc_txn *disc,
                                                unsigned long long total)
{
	unsigned long long counted = s->logs.bytes_out;
	unsigned long long body, rest;

	if (disc->flags & DISC_TF_H2)
		return MAX(total + disc->bypassed, counted);
	if (!(disc->flags & DISC_TF_PASSED) || total <= disc->body_at)
		return MAX(total, counted);
	if (disc->flags & DISC_TF_DIRECT) {
		const struct disc_lease *lease = http_disc_direct_lease(s);

		if (!lease)
			return MAX(disc->body_at, counted);
		body = lease->acked;
	}
	else
		body = total - disc->body_at;
	if (body >= disc->ciphertext)
		return MAX(disc->body_at + disc->length, counted);
	rest = body % (DISC_RECORD_MAX + disc->overhead);
	body = body / (DISC_RECORD_MAX + disc->overhead) * DISC_RECORD_MAX;
	rest = rest > disc->overhead ? rest - disc->overhead : 0;
	return MAX(disc->body_at + MIN(body + rest, disc->length), counted);
}

/* Makes the response channel of <s> count what it would have received without DiSC, before
 * somebody looks at it. May be called any number of times.
 */
void http_disc_count(struct stream *s)
{
	struct disc_txn *disc = http_disc_txn(s);
	unsigned long long plain;

	if (!disc || !(disc->flags & DISC_TF_PASSED))
		return;
	plain = http_disc_plain_total(s, disc, s->res.total + disc->hidden);
	disc->hidden += s->res.total - plain;
	s->res.total = plain;
}

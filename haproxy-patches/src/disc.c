/*
 * src/disc.c
 * DiSC: keywords of the configuration and of the stats socket, sample fetches.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <sys/socket.h>
#include <syslog.h>

#include <haproxy/action.h>
#include <haproxy/api.h>
#include <haproxy/applet.h>
#include <haproxy/chunk.h>
#include <haproxy/cli.h>
#include <haproxy/connection.h>
#include <haproxy/disc_h2.h>
#include <haproxy/disc_lease.h>
#include <haproxy/disc_handoff.h>
#include <haproxy/disc_stats.h>
#include <haproxy/errors.h>
#include <haproxy/http_disc.h>
#include <haproxy/http_rules.h>
#include <haproxy/proxy.h>
#include <haproxy/sample.h>
#include <haproxy/session-t.h>
#include <haproxy/ssl_sock.h>
#include <haproxy/stream.h>
#include <haproxy/tools.h>
#include <haproxy/xprt_disc.h>

/*
 * http-request disc-lease
 */

#ifdef USE_OPENSSL_WOLFSSL
/* Always goes on: without a lease, the request is processed as if there were no rule. */
static enum act_return disc_action_lease(struct act_rule *rule, struct proxy *px,
                                         struct session *sess, struct stream *s, int flags)
{
	http_disc_take_lease(s, (uintptr_t)rule->arg.act.p[0]);
	return ACT_RET_CONT;
}

/* Returns non-zero if <rule> is "disc-lease". */
int http_disc_is_rule(const struct act_rule *rule)
{
	return rule->action_ptr == disc_action_lease;
}
#endif

/* Parses "disc-lease [keys connection|response]". */
static enum act_parse_ret disc_parse_lease(const char **args, int *orig_arg, struct proxy *px,
                                           struct act_rule *rule, char **err)
{
#ifdef USE_OPENSSL_WOLFSSL
	enum disc_keys keys = DISC_KEYS_CONNECTION;

	if (strcmp(args[*orig_arg], "keys") == 0) {
		const char *which = args[*orig_arg + 1];

		if (strcmp(which, "response") == 0)
			keys = DISC_KEYS_RESPONSE;
		else if (strcmp(which, "connection") != 0) {
			memprintf(err, "'keys' expects 'connection' or 'response', but got '%s'", which);
			return ACT_RET_PRS_ERR;
		}
		*orig_arg += 2;
	}
	if (*args[*orig_arg] && strcmp(args[*orig_arg], "if") != 0 && strcmp(args[*orig_arg], "unless") != 0) {
		memprintf(err, "expects 'keys', 'if' or 'unless', but got '%s'", args[*orig_arg]);
		return ACT_RET_PRS_ERR;
	}
	disc_configured = 1;
	rule->action = ACT_CUSTOM;
	rule->action_ptr = disc_action_lease;
	rule->arg.act.p[0] = (void *)(uintptr_t)keys;
	return ACT_RET_PRS_OK;
#else
	memprintf(err, "needs an HAProxy built with wolfSSL (USE_OPENSSL_WOLFSSL=1), this one is not");
	return ACT_RET_PRS_ERR;
#endif
}

#ifdef USE_OPENSSL_WOLFSSL
/* Tells which settings contradict the rules "disc-lease" of <px>. Returns ERR_*. */
int http_disc_check_proxy(const struct proxy *px)
{
	if (global_ssl.hard_max_record && global_ssl.hard_max_record < DISC_RECORD_MAX) {
		ha_warning("config : %s '%s' : no 'disc-lease' rule will get a lease, since 'tune.ssl.hard-maxrecord' is %u : "
		           "the records of a lease are of %u bytes.\n", proxy_type_str(px), px->id,
		           global_ssl.hard_max_record, DISC_RECORD_MAX);
		return ERR_WARN;
	}
	if (global_ssl.max_record && global_ssl.max_record < DISC_RECORD_MAX)
		ha_notice("config : %s '%s' : 'tune.ssl.maxrecord' does not apply to bodies served by means of 'disc-lease', "
		          "whose records are of %u bytes.\n", proxy_type_str(px), px->id, DISC_RECORD_MAX);
	return ERR_NONE;
}
#endif

static struct action_kw_list disc_req_actions = {
	.kw = {
		{ "disc-lease", disc_parse_lease, 0 },
		{ NULL, NULL }
	}
};

INITCALL1(STG_REGISTER, http_req_keywords_register, &disc_req_actions);

#ifdef USE_OPENSSL_WOLFSSL

/*
 * Sample fetches
 */

static struct disc_txn *disc_smp_txn(const struct sample *smp)
{
	return smp->strm ? http_disc_txn(smp->strm) : NULL;
}

static void disc_smp_set_str(struct sample *smp, const char *str)
{
	smp->data.type = SMP_T_STR;
	smp->data.u.str.area = (char *)str;
	smp->data.u.str.data = strlen(str);
	smp->data.u.str.size = 0;
	smp->flags = SMP_F_CONST | SMP_F_VOL_TEST;
}

/* disc_lease: binary, the TX state leased for this request, once */
static int disc_fetch_lease(const struct arg *args, struct sample *smp, const char *kw, void *private)
{
	const uint8_t *wire = smp->strm ? http_disc_wire(smp->strm) : NULL;

	if (!wire)
		return 0;
	smp->data.type = SMP_T_BIN;
	smp->data.u.str.area = (char *)wire;
	smp->data.u.str.data = DISC_TX_WIRE_LEN;
	smp->data.u.str.size = 0;
	smp->flags = SMP_F_CONST | SMP_F_VOL_TEST;
	return 1;
}

/* disc_lease_id: integer, number of this request's lease */
static int disc_fetch_lease_id(const struct arg *args, struct sample *smp, const char *kw, void *private)
{
	struct disc_txn *disc = disc_smp_txn(smp);

	if (!disc || !disc->lease_id)
		return 0;
	smp->data.type = SMP_T_SINT;
	smp->data.u.sint = disc->lease_id;
	smp->flags = SMP_F_VOL_TEST;
	return 1;
}

/* disc_state: string, state of the client connection's lease, or what became of this
 * request's one
 */
static int disc_fetch_state(const struct arg *args, struct sample *smp, const char *kw, void *private)
{
	struct disc_lease *lease = disc_conn_lease(smp->sess ? objt_conn(smp->sess->origin) : NULL);
	struct disc_txn *disc = disc_smp_txn(smp);

	if (smp->strm && http_disc_holds(smp->strm))
		disc_smp_set_str(smp, disc_lease_state_str(DISC_LS_LEASED));
	else if (lease && lease->state != DISC_LS_NONE)
		disc_smp_set_str(smp, disc_lease_state_str(lease->state));
	else
		disc_smp_set_str(smp, disc_lease_fate_str(disc ? disc->fate : DISC_LF_OPEN));
	return 1;
}

static const char *disc_path_str(const struct disc_txn *disc)
{
	if (!disc || !(disc->flags & DISC_TF_PASSED))
		return "proxy";
	return (disc->flags & DISC_TF_DIRECT) ? "direct" : "splice";
}

static const char *disc_reason_str(const struct disc_txn *disc)
{
	if (!disc)
		return "not-asked";
	return disc->reason[0] ? disc->reason : "pending";
}

/* disc_path: string, how the body of this response travels */
static int disc_fetch_path(const struct arg *args, struct sample *smp, const char *kw, void *private)
{
	disc_smp_set_str(smp, disc_path_str(disc_smp_txn(smp)));
	return 1;
}

/* disc_reason: string, why this response's body is not made of records */
static int disc_fetch_reason(const struct arg *args, struct sample *smp, const char *kw, void *private)
{
	disc_smp_set_str(smp, disc_reason_str(disc_smp_txn(smp)));
	return 1;
}

/* disc_log: string, what a log line says of this response: four fields in one, for each
 * expression of a log format costs a short response a third of a microsecond
 */
static int disc_fetch_log(const struct arg *args, struct sample *smp, const char *kw, void *private)
{
	struct disc_txn *disc = disc_smp_txn(smp);
	struct buffer *line;
	struct ist node;

	if (!disc) {
		disc_smp_set_str(smp, "path=proxy node=- records=0 reason=not-asked");
		return 1;
	}
	node = http_disc_node(smp->strm);
	line = get_trash_chunk();
	chunk_printf(line, "path=%s node=%.*s records=%llu reason=%s", disc_path_str(disc), (int)istlen(node), istptr(node),
	             (disc->flags & DISC_TF_PASSED) ? (unsigned long long)disc->records : 0, disc_reason_str(disc));
	smp->data.type = SMP_T_STR;
	smp->data.u.str = *line;
	smp->flags = SMP_F_VOL_TEST;
	return 1;
}

/* disc_direct: boolean, the client's connection could be handed off to the agent, and nothing
 * is configured that only we can do to its packets
 */
static int disc_fetch_direct(const struct arg *args, struct sample *smp, const char *kw, void *private)
{
	struct connection *conn = smp->sess ? objt_conn(smp->sess->origin) : NULL;

	smp->data.type = SMP_T_BOOL;
	smp->data.u.sint = conn && disc_handoff_ready(conn) && !(smp->strm && http_disc_must_send(smp->strm));
	smp->flags = SMP_F_VOL_TEST;
	return 1;
}

/* disc_peer: address of the other end of the client's TCP connection, whatever a PROXY
 * header or "set-src" made of the client's address. Fails if the connection could not be
 * handed off.
 */
static int disc_fetch_peer(const struct arg *args, struct sample *smp, const char *kw, void *private)
{
	struct connection *conn = smp->sess ? objt_conn(smp->sess->origin) : NULL;
	struct sockaddr_storage peer;
	socklen_t len = sizeof(peer);

	if (!conn || !conn_ctrl_ready(conn) || (conn->flags & CO_FL_FDLESS) || !disc_handoff_ready(conn) ||
	    getpeername(conn->handle.fd, (struct sockaddr *)&peer, &len) == -1)
		return 0;
	if (peer.ss_family == AF_INET) {
		smp->data.type = SMP_T_IPV4;
		smp->data.u.ipv4 = ((struct sockaddr_in *)&peer)->sin_addr;
	}
	else if (peer.ss_family == AF_INET6) {
		smp->data.type = SMP_T_IPV6;
		smp->data.u.ipv6 = ((struct sockaddr_in6 *)&peer)->sin6_addr;
	}
	else
		return 0;
	smp->flags = SMP_F_VOL_SESS;
	return 1;
}

/* disc_records: integer, records that this response's body is made of */
static int disc_fetch_records(const struct arg *args, struct sample *smp, const char *kw, void *private)
{
	struct disc_txn *disc = disc_smp_txn(smp);

	smp->data.type = SMP_T_SINT;
	smp->data.u.sint = (disc && (disc->flags & DISC_TF_PASSED)) ? disc->records : 0;
	smp->flags = SMP_F_VOL_TEST;
	return 1;
}

/* disc_group: string, the trust group of the nodes that may have this connection's keys, empty
 * if it is not bound to one
 */
static int disc_fetch_group(const struct arg *args, struct sample *smp, const char *kw, void *private)
{
	const struct disc_h2 *h2 = disc_conn_h2(smp->sess ? objt_conn(smp->sess->origin) : NULL);

	disc_smp_set_str(smp, h2 ? h2->group : "");
	return 1;
}

static struct sample_fetch_kw_list disc_fetches = {ILH, {
	{ "disc_direct",   disc_fetch_direct,   0, NULL, SMP_T_BOOL, SMP_USE_L5CLI },
	{ "disc_group",    disc_fetch_group,    0, NULL, SMP_T_STR,  SMP_USE_L5CLI },
	{ "disc_lease",    disc_fetch_lease,    0, NULL, SMP_T_BIN,  SMP_USE_L5CLI },
	{ "disc_lease_id", disc_fetch_lease_id, 0, NULL, SMP_T_SINT, SMP_USE_L5CLI },
	{ "disc_log",      disc_fetch_log,      0, NULL, SMP_T_STR,  SMP_USE_L5CLI },
	{ "disc_path",     disc_fetch_path,     0, NULL, SMP_T_STR,  SMP_USE_L5CLI },
	{ "disc_peer",     disc_fetch_peer,     0, NULL, SMP_T_ADDR, SMP_USE_L5CLI },
	{ "disc_reason",   disc_fetch_reason,   0, NULL, SMP_T_STR,  SMP_USE_L5CLI },
	{ "disc_records",  disc_fetch_records,  0, NULL, SMP_T_SINT, SMP_USE_L5CLI },
	{ "disc_state",    disc_fetch_state,    0, NULL, SMP_T_STR,  SMP_USE_L5CLI },
	{ /* END */ },
}};

INITCALL1(STG_REGISTER, sample_register_fetches, &disc_fetches);

/*
 * Stats socket
 */

/* "disc on" and "disc off": leases under way are not affected. */
static int disc_cli_switch(char **args, char *payload, struct appctx *appctx, void *private)
{
	int on = strcmp(args[1], "on") == 0;

	if (!cli_has_level(appctx, ACCESS_LVL_ADMIN))
		return 1;
	if (on && !disc_configured)
		return cli_err(appctx, "No \"disc-lease\" rule is configured.\n");
	HA_ATOMIC_STORE(&disc_enabled, on);
	return cli_msg(appctx, LOG_INFO, on ? "DiSC is on: requests may get leases.\n"
	                                    : "DiSC is off: no new lease is taken.\n");
}

/* "disc direct on" and "disc direct off": what is handed off comes back. */
static int disc_cli_switch_direct(char **args, char *payload, struct appctx *appctx, void *private)
{
	int on = strcmp(args[2], "on") == 0;

	if (!cli_has_level(appctx, ACCESS_LVL_ADMIN))
		return 1;
	if (!disc_handoff_configured())
		return cli_err(appctx, "No \"disc-socket\" is configured.\n");
	disc_handoff_switch(on);
	return cli_msg(appctx, LOG_INFO, on ? "The direct path is on: connections may be handed off.\n"
	                                    : "The direct path is off: what is handed off is recalled, bodies take the splice path.\n");
}

/* "disc h2 on" and "disc h2 off": streams under way are not affected. */
static int disc_cli_switch_h2(char **args, char *payload, struct appctx *appctx, void *private)
{
	int on = strcmp(args[2], "on") == 0;

	if (!cli_has_level(appctx, ACCESS_LVL_ADMIN))
		return 1;
	HA_ATOMIC_STORE(&disc_h2_enabled, on);
	return cli_msg(appctx, LOG_INFO, on ? "Bodies for HTTP/2 clients may be made of nodes' records.\n"
	                                    : "HTTP/2 clients are served by HAProxy alone; streams under way go on.\n");
}

/* "show disc": one "name: value" a line, then one line for each HTTP/2 stream whose body comes by
 * grants, and for each connection handed off
 */
struct disc_show_ctx {
	int counted;                    /* everything but the connections is out */
	uint64_t body;                  /* the HTTP/2 stream to be listed next */
	struct disc_handoff_place place;   /* the connection to be listed next */
};

static int disc_cli_parse_show(char **args, char *payload, struct appctx *appctx, void *private)
{
	struct disc_show_ctx *ctx = applet_reserve_svcctx(appctx, sizeof(*ctx));

	memset(ctx, 0, sizeof(*ctx));
	return 0;
}

static void disc_cli_append_counters(void)
{
	const struct disc_counters *c = &disc_counters;

	chunk_appendf(&trash, "configured: %s\n", disc_configured ? "yes" : "no");
	chunk_appendf(&trash, "disc: %s\n", disc_enabled ? "on" : "off");
	chunk_appendf(&trash, "leases: %lld\n", HA_ATOMIC_LOAD(&c->leases));
	chunk_appendf(&trash, "refused: %lld\n", HA_ATOMIC_LOAD(&c->refused));
	chunk_appendf(&trash, "accepted: %lld\n", HA_ATOMIC_LOAD(&c->accepted));
	chunk_appendf(&trash, "direct: %lld\n", HA_ATOMIC_LOAD(&c->direct));
	chunk_appendf(&trash, "returned: %lld\n", HA_ATOMIC_LOAD(&c->returned));
	chunk_appendf(&trash, "unknown: %lld\n", HA_ATOMIC_LOAD(&c->unknown));
	chunk_appendf(&trash, "rejected: %lld\n", HA_ATOMIC_LOAD(&c->rejected));
	chunk_appendf(&trash, "poisoned: %u\n", HA_ATOMIC_LOAD(&disc_poisoned));
	chunk_appendf(&trash, "records: %lld\n", HA_ATOMIC_LOAD(&c->records));
	chunk_appendf(&trash, "bytes: %lld\n", HA_ATOMIC_LOAD(&c->bytes));
	disc_stats_show(&trash);
	chunk_appendf(&trash, "h2: %s\n", disc_h2_enabled ? "on" : "off");
	chunk_appendf(&trash, "h2_streams: %lld\n", HA_ATOMIC_LOAD(&c->h2_streams));
	chunk_appendf(&trash, "h2_bytes: %lld\n", HA_ATOMIC_LOAD(&c->h2_bytes));
	chunk_appendf(&trash, "h2_grants: %lld\n", HA_ATOMIC_LOAD(&c->h2_grants));
	chunk_appendf(&trash, "h2_void: %lld\n", HA_ATOMIC_LOAD(&c->h2_void));
	disc_handoff_show(&trash);
}

/* Returns 1 once everything is out, or 0 to be called again when there is room. */
static int disc_cli_show(struct appctx *appctx)
{
	struct disc_show_ctx *ctx = appctx->svcctx;
	struct disc_handoff_place next;

	chunk_reset(&trash);
	if (!ctx->counted) {
		disc_cli_append_counters();
		if (applet_putchk(appctx, &trash) == -1)
			return 0;
		ctx->counted = 1;
	}

	while (1) {
		uint64_t body = ctx->body;

		chunk_reset(&trash);
		if (!disc_h2_show_next(&trash, &body))
			break;
		if (applet_putchk(appctx, &trash) == -1)
			return 0;
		ctx->body = body;
	}
	while (1) {
		next = ctx->place;
		chunk_reset(&trash);
		if (!disc_handoff_show_next(&trash, &next))
			return 1;
		if (applet_putchk(appctx, &trash) == -1)
			return 0;
		ctx->place = next;
	}
}

static struct cli_kw_list disc_cli_kws = {{ },{
	{ { "disc", "on", NULL },   "disc on                                 : let requests get DiSC leases again", disc_cli_switch, NULL, NULL, NULL, ACCESS_LVL_ADMIN },
	{ { "disc", "off", NULL },  "disc off                                : take no new DiSC lease, responses under way go on", disc_cli_switch, NULL, NULL, NULL, ACCESS_LVL_ADMIN },
	{ { "disc", "direct", "on", NULL },  "disc direct on                          : let connections be handed off to DiSC's agent again", disc_cli_switch_direct, NULL, NULL, NULL, ACCESS_LVL_ADMIN },
	{ { "disc", "direct", "off", NULL }, "disc direct off                         : hand off no more connections, and recall those which are", disc_cli_switch_direct, NULL, NULL, NULL, ACCESS_LVL_ADMIN },
	{ { "disc", "h2", "on", NULL },  "disc h2 on                              : let nodes seal bodies for HTTP/2 clients again", disc_cli_switch_h2, NULL, NULL, NULL, ACCESS_LVL_ADMIN },
	{ { "disc", "h2", "off", NULL }, "disc h2 off                             : let no nodes seal bodies for HTTP/2 clients", disc_cli_switch_h2, NULL, NULL, NULL, ACCESS_LVL_ADMIN },
	{ { "show", "disc", NULL }, "show disc                               : report DiSC's state and counters", disc_cli_parse_show, disc_cli_show, NULL },
	{{},}
}};

INITCALL1(STG_REGISTER, cli_register_kw, &disc_cli_kws);

#endif /* USE_OPENSSL_WOLFSSL */

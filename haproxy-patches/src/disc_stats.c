/*
 * src/disc_stats.c
 * What became of the responses of proxies with DiSC's rules, for "show disc" and for
 * Prometheus: how many took which path, how many bytes these were, and why the others did
 * not; and what sending them ourselves costs on this machine, from which the status page
 * estimates what was saved.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <time.h>
#include <unistd.h>

#include <haproxy/api.h>
#include <haproxy/chunk.h>
#include <haproxy/connection.h>
#include <haproxy/disc_lease.h>
#include <haproxy/disc_stats.h>
#include <haproxy/errors.h>
#include <haproxy/global.h>
#include <haproxy/http_ana-t.h>
#include <haproxy/http_disc.h>
#include <haproxy/net_helper.h>
#include <haproxy/openssl-compat.h>
#include <haproxy/session-t.h>
#include <haproxy/stats.h>
#include <haproxy/thread.h>
#include <haproxy/tools.h>
#include <haproxy/xprt_disc.h>

#include <wolfssl/wolfcrypt/aes.h>

#if defined(USE_PROMEX)
#include <promex/promex.h>
#endif

enum { DISC_PATH_SPLICE, DISC_PATH_DIRECT, DISC_PATH_PROXY, DISC_PATHS };
enum { DISC_PROTO_H1, DISC_PROTO_H2, DISC_PROTO_H3, DISC_PROTOS };

static const char *disc_path_names[DISC_PATHS]   = { "splice", "direct", "proxy" };
static const char *disc_proto_names[DISC_PROTOS] = { "h1", "h2", "h3" };

static struct {
	ullong responses;
	ullong bytes;           /* headers included, before encryption */
} disc_paths[DISC_PATHS * DISC_PROTOS]; /* a path's protocols follow each other */

/* Words of disc_reason. An agent may have others than we know of: they are added as they are
 * met, as long as there is room.
 */
#define DISC_REASONS_MAX 64

static struct {
	char word[DISC_REASON_LEN + 1];
	ullong responses;
} disc_reasons[DISC_REASONS_MAX] = {
	/* those of an ordinary day, so that their rates are right from the first one on */
	{ .word = "not-asked" }, { .word = "declined" }, { .word = "mux" }, { .word = "method" },
	{ .word = "off" }, { .word = "suite" }, { .word = "policy" }, { .word = "no-route" },
	{ .word = "rollout" }, { .word = "no-node" }, { .word = "agent-error" }, { .word = "ended" },
	{ .word = "unannounced" }, { .word = "retry" }, { .word = "backoff" }, { .word = "budget" },
};
static uint disc_reason_count = 16;
static ullong disc_reason_other;
__decl_thread(static HA_SPINLOCK_T disc_reason_lock);

/* bytes that a second of CPU copies and encrypts, see disc_stats_measure(); 0 if that is not known */
static ullong disc_proxy_rate;

/*
 * Counting
 */

/* Returns the protocol of the client of <s>. */
static int disc_stats_proto(const struct stream *s)
{
	const struct connection *conn = objt_conn(s->sess->origin);

	if (!conn || !conn->mux)
		return DISC_PROTO_H1;
	return strcmp(conn->mux->name, "H2") == 0 ? DISC_PROTO_H2 :
	       strcmp(conn->mux->name, "QUIC") == 0 ? DISC_PROTO_H3 : DISC_PROTO_H1;
}

/* Returns the entry of <word> among the first <count> reasons, or -1. */
static int disc_stats_find_reason(const char *word, uint count)
{
	uint i;

	for (i = 0; i < count; i++) {
		if (strcmp(disc_reasons[i].word, word) == 0)
			return i;
	}
	return -1;
}

/* Counts a response that we sent ourselves because of <word>. */
static void disc_stats_count_reason(const char *word)
{
	/* what is below the count is never changed again */
	int i = disc_stats_find_reason(word, HA_ATOMIC_LOAD(&disc_reason_count));

	if (i < 0) {
		HA_SPIN_LOCK(OTHER_LOCK, &disc_reason_lock);
		i = disc_stats_find_reason(word, disc_reason_count);
		if (i < 0 && disc_reason_count < DISC_REASONS_MAX) {
			i = disc_reason_count;
			strlcpy2(disc_reasons[i].word, word, sizeof(disc_reasons[i].word));
			HA_ATOMIC_STORE(&disc_reason_count, i + 1);
		}
		HA_SPIN_UNLOCK(OTHER_LOCK, &disc_reason_lock);
	}
	if (i < 0)
		_HA_ATOMIC_INC(&disc_reason_other);
	else
		_HA_ATOMIC_INC(&disc_reasons[i].responses);
}

/* Called when <s>, which has our filter, ends: counts its response, if it had one. */
void disc_stats_count(const struct stream *s)
{
	const struct disc_txn *disc = http_disc_txn(s);
	int path = DISC_PATH_PROXY;
	int proto;

	if (!s->txn || s->txn->status < 200)
		return;
	if (disc && (disc->flags & DISC_TF_PASSED))
		path = (disc->flags & DISC_TF_DIRECT) ? DISC_PATH_DIRECT : DISC_PATH_SPLICE;
	else
		disc_stats_count_reason(!disc ? "not-asked" : disc->reason[0] ? disc->reason : "ended");
	proto = disc_stats_proto(s);
	_HA_ATOMIC_INC(&disc_paths[path * DISC_PROTOS + proto].responses);
	_HA_ATOMIC_ADD(&disc_paths[path * DISC_PROTOS + proto].bytes, s->logs.bytes_out);
}

/* Appends what was counted to <out>, one "<name>: <value>" per line, for "show disc". */
void disc_stats_show(struct buffer *out)
{
	uint count = HA_ATOMIC_LOAD(&disc_reason_count);
	uint i;

	for (i = 0; i < DISC_PATHS * DISC_PROTOS; i++) {
		const char *path = disc_path_names[i / DISC_PROTOS], *proto = disc_proto_names[i % DISC_PROTOS];

		chunk_appendf(out, "responses %s %s: %llu\n", path, proto, HA_ATOMIC_LOAD(&disc_paths[i].responses));
		chunk_appendf(out, "bytes %s %s: %llu\n", path, proto, HA_ATOMIC_LOAD(&disc_paths[i].bytes));
	}
	for (i = 0; i < count; i++) {
		ullong responses = HA_ATOMIC_LOAD(&disc_reasons[i].responses);

		if (responses)
			chunk_appendf(out, "reason %s: %llu\n", disc_reasons[i].word, responses);
	}
	if (HA_ATOMIC_LOAD(&disc_reason_other))
		chunk_appendf(out, "reason other: %llu\n", HA_ATOMIC_LOAD(&disc_reason_other));
	chunk_appendf(out, "proxy-rate: %llu\n", disc_proxy_rate);
}

/*
 * What it costs to send a body oneself
 */

#define DISC_MEASURE_RECORDS 256

/* Copies a record in, encrypts it and copies it out, <records> times: what splice() and the
 * direct path spare us. <number> is the last nonce that was used; the key protects nothing.
 * Returns 1, or 0 on failure.
 */
static int disc_stats_carry(Aes *aes, uint8_t *record, const int pipe[2], uint32_t *number, int records)
{
	uint8_t iv[12] = { 0 }, tag[16];

	while (records--) {
		write_n32(iv + 8, ++*number);
		if (write(pipe[1], record, DISC_RECORD_MAX) != DISC_RECORD_MAX ||
		    read(pipe[0], record, DISC_RECORD_MAX) != DISC_RECORD_MAX ||
		    wc_AesGcmEncrypt(aes, record, record, DISC_RECORD_MAX, iv, sizeof(iv), tag, sizeof(tag), NULL, 0) != 0)
			return 0;
	}
	return 1;
}

/* Returns how many bytes a second of CPU carries with <aes> and <pipe>, or 0 on failure. */
static ullong disc_stats_rate(Aes *aes, uint8_t *record, const int pipe[2])
{
	uint64_t key[2] = { ha_random64(), ha_random64() };
	struct timespec from, to;
	uint32_t number = 0;
	ullong ns;

	if (wc_AesGcmSetKey(aes, (const byte *)key, sizeof(key)) != 0 ||
	    !disc_stats_carry(aes, record, pipe, &number, DISC_MEASURE_RECORDS / 8) || /* until caches are warm */
	    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &from) == -1 ||
	    !disc_stats_carry(aes, record, pipe, &number, DISC_MEASURE_RECORDS) ||
	    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &to) == -1)
		return 0;
	ns = (to.tv_sec - from.tv_sec) * 1000000000ULL + to.tv_nsec - from.tv_nsec;
	return ns ? DISC_MEASURE_RECORDS * DISC_RECORD_MAX * 1000000000ULL / ns : 0;
}

/* Measures disc_proxy_rate, with AES-128-GCM, which takes this process some milliseconds.
 * Only if a rule "disc-lease" exists, and before it serves. Always returns ERR_NONE: without
 * this number, there is no estimate.
 */
static int disc_stats_measure(void)
{
	uint8_t *record;
	int pipe_fd[2];
	Aes aes;

	if (!disc_configured || (global.mode & MODE_CHECK) || pipe(pipe_fd) == -1)
		return ERR_NONE;
	record = calloc(1, DISC_RECORD_MAX);
	if (record && wc_AesInit(&aes, NULL, INVALID_DEVID) == 0) {
		disc_proxy_rate = disc_stats_rate(&aes, record, pipe_fd);
		wc_AesFree(&aes);
	}
	free(record);
	close(pipe_fd[0]);
	close(pipe_fd[1]);
	return ERR_NONE;
}

REGISTER_POST_CHECK(disc_stats_measure);

/*
 * Prometheus
 */

#if defined(USE_PROMEX)

enum {
	DISC_MX_RESPONSES,
	DISC_MX_BYTES,
	DISC_MX_PROXIED,
	DISC_MX_REJECTED,
	DISC_MX_POISONED,
	DISC_MX_RATE,

	DISC_MX_COUNT /* must be the last member of the enum */
};

/* Returns 1 with <metric> and <desc> set for <id>, or -1 if there is none. */
static int disc_promex_metric_info(unsigned int id, struct promex_metric *metric, struct ist *desc)
{
	static const struct { const char *name, *desc; enum promex_mt_type type; } metrics[DISC_MX_COUNT] = {
		[DISC_MX_RESPONSES] = { "responses_total", "Responses by the path that their bodies took and by the client's protocol.", PROMEX_MT_COUNTER },
		[DISC_MX_BYTES]     = { "bytes_total", "Bytes of these responses before encryption.", PROMEX_MT_COUNTER },
		[DISC_MX_PROXIED]   = { "proxied_total", "Responses that HAProxy sent itself, by the reason.", PROMEX_MT_COUNTER },
		[DISC_MX_REJECTED]  = { "rejected_total", "Wrong announcements of servers.", PROMEX_MT_COUNTER },
		[DISC_MX_POISONED]  = { "poisoned_total", "Connections closed in the middle of records.", PROMEX_MT_COUNTER },
		[DISC_MX_RATE]      = { "proxy_bytes_per_second", "Bytes that one second of CPU copies in, encrypts (AES-128-GCM) and copies out, measured at the start.", PROMEX_MT_GAUGE },
	};

	if (id >= DISC_MX_COUNT)
		return -1;
	*metric = (struct promex_metric){ .n = ist(metrics[id].name), .type = metrics[id].type, .flags = PROMEX_FL_MODULE_METRIC };
	*desc = ist(metrics[id].desc);
	return 1;
}

/* A time series is its number, counted from 1. Returns NULL when there is none any more. */
static void *disc_promex_series(unsigned int id, uintptr_t number)
{
	const uintptr_t last = id == DISC_MX_RESPONSES || id == DISC_MX_BYTES ? DISC_PATHS * DISC_PROTOS :
	                       id == DISC_MX_PROXIED ? HA_ATOMIC_LOAD(&disc_reason_count) + 1 : 1;

	return number <= last ? (void *)number : NULL;
}

static void *disc_promex_start_ts(void *unused, unsigned int id)
{
	return disc_configured ? disc_promex_series(id, 1) : NULL;
}

static void *disc_promex_next_ts(void *unused, void *metric_ctx, unsigned int id)
{
	return disc_promex_series(id, (uintptr_t)metric_ctx + 1);
}

/* Sets labels and value of the time series <metric_ctx> of <id>. Returns 1, or -1 if there
 * is none.
 */
static int disc_promex_fill_ts(void *unused, void *metric_ctx, unsigned int id, struct promex_label *labels, struct field *field)
{
	const uintptr_t i = (uintptr_t)metric_ctx - 1;

	switch (id) {
	case DISC_MX_RESPONSES:
	case DISC_MX_BYTES:
		labels[0] = (struct promex_label){ .name = ist("path"), .value = ist(disc_path_names[i / DISC_PROTOS]) };
		labels[1] = (struct promex_label){ .name = ist("protocol"), .value = ist(disc_proto_names[i % DISC_PROTOS]) };
		*field = mkf_u64(FN_COUNTER, id == DISC_MX_BYTES ? HA_ATOMIC_LOAD(&disc_paths[i].bytes) :
		                                                   HA_ATOMIC_LOAD(&disc_paths[i].responses));
		return 1;
	case DISC_MX_PROXIED:
		labels[0].name = ist("reason");
		/* the last one is of what had no room; the number of the others may have risen meanwhile */
		labels[0].value = i < HA_ATOMIC_LOAD(&disc_reason_count) ? ist(disc_reasons[i].word) : ist("other");
		*field = mkf_u64(FN_COUNTER, i < HA_ATOMIC_LOAD(&disc_reason_count) ? HA_ATOMIC_LOAD(&disc_reasons[i].responses) :
		                                                                      HA_ATOMIC_LOAD(&disc_reason_other));
		return 1;
	case DISC_MX_REJECTED:
		*field = mkf_u64(FN_COUNTER, HA_ATOMIC_LOAD(&disc_counters.rejected));
		return 1;
	case DISC_MX_POISONED:
		*field = mkf_u64(FN_COUNTER, HA_ATOMIC_LOAD(&disc_poisoned));
		return 1;
	case DISC_MX_RATE:
		*field = mkf_u64(FN_GAUGE, disc_proxy_rate);
		return 1;
	}
	return -1;
}

static struct promex_module disc_promex_module = {
	.name        = IST("disc"),
	.metric_info = disc_promex_metric_info,
	.start_ts    = disc_promex_start_ts,
	.next_ts     = disc_promex_next_ts,
	.fill_ts     = disc_promex_fill_ts,
	.nb_metrics  = DISC_MX_COUNT,
};

INITCALL1(STG_REGISTER, promex_register_module, &disc_promex_module);

#endif /* USE_PROMEX */

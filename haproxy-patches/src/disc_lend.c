/*
 * src/disc_lend.c
 * Lending of client connections to DiSC's agent.
 *
 * On the direct path, the records of a response are written by another host, on the
 * client's own TCP connection. For this the agent which runs beside us, and which has
 * the privileges for it, gets the connection's descriptor over a UNIX socket and moves
 * the connection there and back. All we do is to hand it out and to wait: the agent
 * tells that it is back, how far it got, or that it is lost. Before it touches the
 * connection it tells that too, so that we can go on with one which it left alone.
 *
 * Each thread has its own connection to the agent ("lender"), so that answers reach
 * the thread which owns the client's connection. Locks are only there for "show disc".
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <import/eb64tree.h>
#include <haproxy/api.h>
#include <haproxy/cfgparse.h>
#include <haproxy/chunk.h>
#include <haproxy/connection.h>
#include <haproxy/disc_lease.h>
#include <haproxy/disc_lend.h>
#include <haproxy/errors.h>
#include <haproxy/fd.h>
#include <haproxy/global.h>
#include <haproxy/http_disc.h>
#include <haproxy/list.h>
#include <haproxy/log.h>
#include <haproxy/net_helper.h>
#include <haproxy/pool.h>
#include <haproxy/sc_strm.h>
#include <haproxy/stconn.h>
#include <haproxy/stream.h>
#include <haproxy/task.h>
#include <haproxy/thread.h>
#include <haproxy/ticks.h>
#include <haproxy/tools.h>
#include <haproxy/xprt_disc.h>

#define DISC_LEND_RETRY 1000 /* milliseconds between two attempts to reach the agent */

DECLARE_STATIC_POOL(pool_head_disc_loan, "disc_loan", sizeof(struct disc_loan));

struct disc_lender {
	int fd;                         /* -1 without agent */
	int down;                       /* it went away, or was never reached */
	int recall;                     /* what is lent has to be recalled */
	unsigned int lent;              /* loans which are not abandoned */
	uint64_t last_id;
	struct eb_root loans;
	struct list queue;              /* loans with a message to be sent, oldest first */
	struct task *task;              /* connects again, recalls */
	__decl_thread(HA_SPINLOCK_T lock); /* on <loans> */
} THREAD_ALIGNED(64);

static char *disc_lend_path;            /* NULL: nothing is ever lent */
static struct disc_lender disc_lenders[MAX_THREADS];
static int disc_lenders_down;           /* how many are */
static int disc_lend_warned;            /* the first failed attempt was logged */
static int disc_lend_on = 1;            /* "disc direct on|off" */

static struct disc_lender *disc_lender_get(void)
{
	return &disc_lenders[tid];
}

/* Returns non-zero if there is an agent that connections can be lent to, once it runs. */
int disc_lend_configured(void)
{
	return disc_lend_path != NULL;
}

/* Returns non-zero if <conn>, which belongs to this thread, could be lent now. */
int disc_lend_ready(const struct connection *conn)
{
	return disc_lend_path && HA_ATOMIC_LOAD(&disc_lend_on) && disc_lender_get()->fd != -1 && conn->ctrl &&
	       (conn->ctrl->fam->sock_family == AF_INET || conn->ctrl->fam->sock_family == AF_INET6);
}

/*
 * Loans
 */

static void disc_loan_free(struct disc_lender *lender, struct disc_loan *loan)
{
	HA_SPIN_LOCK(OTHER_LOCK, &lender->lock);
	eb64_delete(&loan->node);
	HA_SPIN_UNLOCK(OTHER_LOCK, &lender->lock);
	LIST_DEL_INIT(&loan->queue);
	if (loan->conn)
		HA_ATOMIC_DEC(&lender->lent);
	if (loan->lease)
		loan->lease->loan = NULL;
	pool_free(pool_head_disc_loan, loan);
}

/* Returns the stream connector which waits for <conn>, or NULL. */
static struct stconn *disc_loan_sc(const struct connection *conn)
{
	return (conn->mux && conn->mux->get_first_sc) ? conn->mux->get_first_sc(conn) : NULL;
}

/* The client got <bytes> of the records: this is what "timeout client" is about. */
static void disc_loan_progress(struct disc_loan *loan, uint64_t bytes)
{
	struct disc_lease *lease = loan->lease;
	struct stconn *sc = disc_loan_sc(loan->conn);

	if (bytes <= lease->acked || bytes > lease->ciphertext)
		return;
	lease->acked = bytes;
	if (sc && tick_isset(sc_ep_fsb(sc)))
		sc_ep_report_blocked_send(sc, 1);
}

/* Returns the stream whose response <conn> was lent for, or NULL. */
static struct stream *disc_loan_strm(const struct connection *conn)
{
	struct stconn *sc = disc_loan_sc(conn);

	return sc ? sc_strm(sc) : NULL;
}

/* <loan> is over, and <conn> with it will be what was decided before. It may be
 * released here.
 */
static void disc_loan_wake(struct connection *conn)
{
	struct stream *s = disc_loan_strm(conn);

	/* the analysers look at the connection, whatever else happens */
	if (s)
		task_wakeup(s->task, TASK_WOKEN_MSG);
	if (conn->mux && conn->mux->wake)
		conn->mux->wake(conn);
}

/* The connection of <loan> is back, all records are written. */
static void disc_loan_returned(struct disc_lender *lender, struct disc_loan *loan)
{
	struct connection *conn = loan->conn;

	disc_loan_free(lender, loan);
	disc_conn_returned(conn);
	disc_loan_wake(conn);
}

/* The connection of <loan> must be closed without a word, <cause> is to blame. */
static void disc_loan_lost(struct disc_lender *lender, struct disc_loan *loan, enum disc_lend_cause cause)
{
	struct connection *conn = loan->conn;
	struct stream *s = disc_loan_strm(conn);

	disc_loan_free(lender, loan);
	disc_conn_lost(conn);
	if (s && !(s->flags & SF_ERR_MASK))
		s->flags |= SF_FINST_D |
			(cause == DISC_LOST_CLIENT ? SF_ERR_CLICL : cause == DISC_LOST_NODE ? SF_ERR_SRVCL : SF_ERR_INTERNAL);
	disc_loan_wake(conn);
}

/* Nobody will write the records to <conn>, nor did: they come from the server. */
static void disc_lend_fall_back(struct connection *conn)
{
	struct stream *s = disc_loan_strm(conn);

	if (s)
		http_disc_not_direct(s);
	disc_conn_refused(conn);
}

/* The connection of <loan> is as we lent it, and nobody else has it. */
static void disc_loan_refused(struct disc_lender *lender, struct disc_loan *loan)
{
	struct connection *conn = loan->conn;

	disc_loan_free(lender, loan);
	disc_lend_fall_back(conn);
	disc_loan_wake(conn);
}

/*
 * The connection to the agent
 */

/* The agent could not be reached because of <why>, or is gone if this is NULL. Only
 * the first attempt which fails is logged, whatever the number of threads.
 */
static void disc_lender_set_down(struct disc_lender *lender, const char *why)
{
	if (!lender->down) {
		lender->down = 1;
		HA_ATOMIC_INC(&disc_lenders_down);
	}
	if (why && !HA_ATOMIC_XCHG(&disc_lend_warned, 1))
		send_log(NULL, LOG_WARNING, "DiSC: lending socket %s cannot be reached: %s; trying again every second.\n",
		         disc_lend_path, why);
}

static void disc_lender_set_up(struct disc_lender *lender)
{
	if (!lender->down)
		return;
	lender->down = 0;
	if (HA_ATOMIC_SUB_FETCH(&disc_lenders_down, 1))
		return;
	HA_ATOMIC_STORE(&disc_lend_warned, 0);
	send_log(NULL, LOG_NOTICE, "DiSC: lending socket %s is reached by all threads.\n", disc_lend_path);
}

/* The connection to the agent is to be closed because of <why>, or because the agent
 * has closed it if this is NULL. All it had said was read in that case, so that we go
 * on with the connections which it had not touched. The others are lost.
 */
static void disc_lender_close(struct disc_lender *lender, const char *why)
{
	struct eb64_node *node;
	int lost = 0, refused = 0;

	fd_delete(lender->fd);
	lender->fd = -1;
	while ((node = eb64_first(&lender->loans))) {
		struct disc_loan *loan = container_of(node, struct disc_loan, node);

		if (loan->state == DISC_LOAN_ABANDONED)
			disc_loan_free(lender, loan);
		else if (loan->state == DISC_LOAN_QUEUED || (loan->state == DISC_LOAN_LENT && !why)) {
			disc_loan_refused(lender, loan);
			refused++;
		}
		else {
			disc_loan_lost(lender, loan, DISC_LOST_AGENT);
			lost++;
		}
	}
	send_log(NULL, LOG_WARNING, "DiSC: lending socket %s closed: %s; %d connections were lent and are lost, %d take the splice path.\n",
	         disc_lend_path, why ? why : "the agent is gone", lost, refused);
	disc_lender_set_down(lender, NULL);
	task_schedule(lender->task, tick_add(now_ms, MS_TO_TICKS(DISC_LEND_RETRY)));
}

/* Processes message <msg> of <len> bytes. Returns 1, or 0 if it is malformed. */
static int disc_lender_process(struct disc_lender *lender, const char *msg, size_t len)
{
	static const char zero[7];
	struct eb64_node *node;
	struct disc_loan *loan;
	uint64_t bytes = 0;
	uint8_t type;

	if (len < DISC_LEND_HEADER || msg[0] != DISC_LEND_VERSION || memcmp(msg + 2, zero, 6) != 0)
		return 0;
	type = msg[1];
	if (len != DISC_LEND_HEADER + (type == DISC_LEND_LOST ? 16 : type == DISC_LEND_PROGRESS ? 8 : 0))
		return 0;
	if (type == DISC_LEND_LOST &&
	    (msg[24] < DISC_LOST_CLIENT || msg[24] > DISC_LOST_AGENT || memcmp(msg + 25, zero, 7) != 0))
		return 0;
	if (len > DISC_LEND_HEADER)
		bytes = read_n64(msg + DISC_LEND_HEADER);

	node = eb64_lookup(&lender->loans, read_n64(msg + 8));
	loan = node ? container_of(node, struct disc_loan, node) : NULL;
	if (loan && loan->state == DISC_LOAN_QUEUED)
		return 0; /* it knows nothing of it yet */

	if (type < DISC_LEND_RETURNED || type > DISC_LEND_REFUSED)
		return 0;
	if (!loan)
		return 1; /* abandoned meanwhile */
	if (loan->state == DISC_LOAN_ABANDONED) {
		if (type != DISC_LEND_PROGRESS && type != DISC_LEND_TAKEN)
			disc_loan_free(lender, loan);
		return 1;
	}

	switch (type) {
	case DISC_LEND_TAKEN:
		loan->state = DISC_LOAN_TAKEN;
		break;
	case DISC_LEND_PROGRESS:
		disc_loan_progress(loan, bytes);
		break;
	case DISC_LEND_RETURNED:
		disc_loan_returned(lender, loan);
		break;
	case DISC_LEND_LOST:
		disc_loan_progress(loan, bytes);
		disc_loan_lost(lender, loan, msg[24]);
		break;
	case DISC_LEND_REFUSED:
		if (loan->state == DISC_LOAN_TAKEN)
			return 0;
		disc_loan_refused(lender, loan);
		break;
	}
	return 1;
}

/* Reads what the agent says. Returns 0 if the connection was closed. An error is told
 * before what is still to be read, once.
 */
static int disc_lender_recv(struct disc_lender *lender)
{
	char msg[DISC_LEND_MSG_MAX + 1];
	ssize_t len;
	int max = 100;

	while (lender->fd != -1 && max--) {
		len = recv(lender->fd, msg, sizeof(msg), MSG_DONTWAIT);
		if (len < 0 && (errno == EINTR || errno == ECONNRESET))
			continue;
		if (len < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
			fd_cant_recv(lender->fd);
			return 1;
		}
		if (len <= 0) {
			disc_lender_close(lender, len ? strerror(errno) : NULL);
			return 0;
		}
		if (!disc_lender_process(lender, msg, len)) {
			if (lender->fd != -1)
				disc_lender_close(lender, "malformed message");
			return 0;
		}
	}
	return lender->fd != -1;
}

/* Sends the message that <loan> waits to send. Returns what sendmsg() did. */
static ssize_t disc_loan_send(const struct disc_lender *lender, const struct disc_loan *loan)
{
	union {
		struct cmsghdr hdr;
		char buf[CMSG_SPACE(sizeof(int))];
	} control;
	char buf[DISC_LEND_MSG_MAX] = { DISC_LEND_VERSION };
	struct iovec iov = { .iov_base = buf, .iov_len = DISC_LEND_HEADER };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };

	buf[1] = (loan->state == DISC_LOAN_QUEUED) ? DISC_LEND_LEND : DISC_LEND_ABANDON;
	write_n64(buf + 8, loan->node.key);
	if (loan->state == DISC_LOAN_QUEUED) {
		memcpy(buf + DISC_LEND_HEADER, loan->lease->ticket, DISC_TICKET_BYTES);
		write_n64(buf + DISC_LEND_HEADER + DISC_TICKET_BYTES, loan->lease->ciphertext);
		iov.iov_len = DISC_LEND_MSG_MAX;

		memset(&control, 0, sizeof(control));
		control.hdr.cmsg_level = SOL_SOCKET;
		control.hdr.cmsg_type = SCM_RIGHTS;
		control.hdr.cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(&control.hdr), &loan->conn->handle.fd, sizeof(int));
		msg.msg_control = &control;
		msg.msg_controllen = sizeof(control.buf);
	}
	return sendmsg(lender->fd, &msg, MSG_DONTWAIT | MSG_NOSIGNAL);
}

/* Asks for all connections back. Returns what send() did. */
static ssize_t disc_lender_send_recall(const struct disc_lender *lender)
{
	static const char buf[DISC_LEND_HEADER] = { DISC_LEND_VERSION, DISC_LEND_RECALL };

	return send(lender->fd, buf, sizeof(buf), MSG_DONTWAIT | MSG_NOSIGNAL);
}

/* Called when a message could not be sent, for errno. Waits until the socket takes more,
 * unless the agent is gone.
 */
static void disc_lender_wait(struct disc_lender *lender)
{
	if (errno == EPIPE || errno == ECONNRESET || errno == ENOTCONN)
		fd_stop_send(lender->fd);
	else {
		fd_cant_send(lender->fd);
		fd_want_send(lender->fd);
	}
}

/* Sends what is queued as far as the socket takes it. If the agent is gone, reading
 * will tell.
 */
static void disc_lender_flush(struct disc_lender *lender)
{
	struct disc_loan *loan, *back;

	list_for_each_entry_safe(loan, back, &lender->queue, queue) {
		if (disc_loan_send(lender, loan) < 0) {
			disc_lender_wait(lender);
			return;
		}
		LIST_DEL_INIT(&loan->queue);
		if (loan->state == DISC_LOAN_QUEUED)
			loan->state = DISC_LOAN_LENT;
		else
			disc_loan_free(lender, loan);
	}
	if (HA_ATOMIC_LOAD(&lender->recall)) {
		if (disc_lender_send_recall(lender) < 0) {
			disc_lender_wait(lender);
			return;
		}
		HA_ATOMIC_STORE(&lender->recall, 0);
	}
	fd_stop_send(lender->fd);
}

static void disc_lender_iocb(int fd)
{
	struct disc_lender *lender = fdtab[fd].owner;

	if (fd_send_ready(fd) && fd_send_active(fd))
		disc_lender_flush(lender);
	disc_lender_recv(lender);
}

/* Connects this thread to the agent. Returns 0, or what errno says. */
static int disc_lender_connect(struct disc_lender *lender)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	int err = 0;

	if (fd == -1)
		return errno;
	strlcpy2(addr.sun_path, disc_lend_path, sizeof(addr.sun_path));
	if (fd >= global.maxsock)
		err = EMFILE;
	else if (connect(fd, (struct sockaddr *)&addr, sizeof(addr)) == -1)
		err = errno;
	if (err) {
		close(fd);
		return err;
	}
	lender->fd = fd;
	fd_insert(fd, lender, disc_lender_iocb, tgid, ti->ltid_bit);
	fd_want_recv(fd);
	return 0;
}

static struct task *disc_lender_task(struct task *t, void *context, unsigned int state)
{
	struct disc_lender *lender = context;
	int err;

	t->expire = TICK_ETERNITY;
	if (lender->fd != -1) {
		disc_lender_flush(lender);
		return t;
	}
	HA_ATOMIC_STORE(&lender->recall, 0);
	err = disc_lender_connect(lender);
	if (!err) {
		disc_lender_set_up(lender);
		return t;
	}
	disc_lender_set_down(lender, strerror(err));
	t->expire = tick_add(now_ms, MS_TO_TICKS(DISC_LEND_RETRY));
	return t;
}

static int disc_lender_init(void)
{
	struct disc_lender *lender = disc_lender_get();

	lender->fd = -1;
	lender->loans = EB_ROOT;
	LIST_INIT(&lender->queue);
	HA_SPIN_INIT(&lender->lock);
	if (!disc_lend_path)
		return 1;
	lender->task = task_new_here();
	if (!lender->task)
		return 0;
	lender->task->process = disc_lender_task;
	lender->task->context = lender;
	task_wakeup(lender->task, TASK_WOKEN_INIT);
	return 1;
}

REGISTER_PER_THREAD_INIT(disc_lender_init);

/*
 * What the transport layer calls
 */

/* Lends <conn>, whose socket nobody uses from now on and on which the records accepted
 * for <lease> have to be written. If this is impossible, we will pass them ourselves.
 */
void disc_lend(struct connection *conn, struct disc_lease *lease)
{
	struct disc_lender *lender = disc_lender_get();
	struct disc_loan *loan;

	loan = disc_lend_ready(conn) ? pool_zalloc(pool_head_disc_loan) : NULL;
	if (!loan) {
		disc_lend_fall_back(conn);
		return;
	}
	loan->conn = conn;
	loan->lease = lease;
	loan->date = now_ms;
	loan->node.key = ++lender->last_id;
	lease->loan = loan;
	LIST_APPEND(&lender->queue, &loan->queue);
	HA_ATOMIC_INC(&lender->lent);
	HA_SPIN_LOCK(OTHER_LOCK, &lender->lock);
	eb64_insert(&lender->loans, &loan->node);
	HA_SPIN_UNLOCK(OTHER_LOCK, &lender->lock);
	/* if the agent does not read any more, the socket tells, and what it did say */
	disc_lender_flush(lender);
}

/* Called when the connection lent for <lease> is about to be closed by us. */
void disc_lend_abandon(struct disc_lease *lease)
{
	struct disc_lender *lender = disc_lender_get();
	struct disc_loan *loan = lease->loan;

	if (loan->state == DISC_LOAN_QUEUED) {
		disc_loan_free(lender, loan);
		return;
	}
	HA_SPIN_LOCK(OTHER_LOCK, &lender->lock);
	loan->state = DISC_LOAN_ABANDONED;
	loan->conn = NULL;
	loan->lease = NULL;
	HA_SPIN_UNLOCK(OTHER_LOCK, &lender->lock);
	HA_ATOMIC_DEC(&lender->lent);
	lease->loan = NULL;
	LIST_APPEND(&lender->queue, &loan->queue);
	/* if the agent is gone, the socket will tell */
	if (lender->fd != -1)
		disc_lender_flush(lender);
}

/* Called from any thread: connections may be lent if <on> is set, else those which are
 * come back.
 */
void disc_lend_switch(int on)
{
	int i;

	HA_ATOMIC_STORE(&disc_lend_on, on);
	for (i = 0; !on && i < global.nbthread; i++) {
		HA_ATOMIC_STORE(&disc_lenders[i].recall, 1);
		task_wakeup(disc_lenders[i].task, TASK_WOKEN_OTHER);
	}
}

/* Appends to <out> how many threads reach the agent and how much is lent. */
void disc_lend_show(struct buffer *out)
{
	int i, agents = 0, lent = 0;

	if (!disc_lend_path) {
		chunk_appendf(out, "lending: not configured\n");
		return;
	}
	for (i = 0; i < global.nbthread; i++) {
		agents += HA_ATOMIC_LOAD(&disc_lenders[i].fd) != -1;
		lent += HA_ATOMIC_LOAD(&disc_lenders[i].lent);
	}
	chunk_appendf(out, "lending: %d of %d threads reach the agent, %d connections are lent%s\n", agents, global.nbthread, lent,
	              HA_ATOMIC_LOAD(&disc_lend_on) ? "" : ", switched off");
}

/* Appends to <out> a line about the first loan from <place> on, which is moved behind
 * it. Any thread may call it again later, whatever has become of the loans meanwhile.
 * Returns 1, or 0 if there is none.
 */
int disc_lend_show_next(struct buffer *out, struct disc_lend_place *place)
{
	struct sockaddr_storage src;
	char client[INET6_ADDRSTRLEN];
	ullong acked, length;
	uint32_t date;

	while (place->thread < global.nbthread) {
		struct disc_lender *lender = &disc_lenders[place->thread];
		struct disc_loan *loan = NULL;
		struct connection *conn = NULL;
		struct eb64_node *node;

		HA_SPIN_LOCK(OTHER_LOCK, &lender->lock);
		node = eb64_lookup_ge(&lender->loans, place->loan);
		if (node) {
			place->loan = node->key + 1;
			loan = container_of(node, struct disc_loan, node);
			conn = loan->conn;
		}
		if (conn) {
			/* these stay as long as the loan is not abandoned, which takes the lock */
			if (conn->src)
				src = *conn->src;
			else
				memset(&src, 0, sizeof(src));
			date = loan->date;
			acked = loan->lease->acked;
			length = loan->lease->ciphertext;
		}
		HA_SPIN_UNLOCK(OTHER_LOCK, &lender->lock);

		if (!node) {
			place->thread++;
			place->loan = 0;
		}
		else if (conn) {
			if (addr_to_str(&src, client, sizeof(client)) <= 0)
				strlcpy2(client, "?", sizeof(client));
			chunk_appendf(out, "lent: thread=%d loan=%llu client=%s:%d age=%dms acked=%llu of=%llu\n", place->thread + 1,
			              (ullong)place->loan - 1, client, get_host_port(&src), MAX((int)(now_ms - date), 0), acked, length);
			return 1;
		}
	}
	return 0;
}

/*
 * Configuration
 */

/* Parses "disc-socket <path>" in the global section. */
static int disc_lend_parse(char **args, int section_type, struct proxy *curpx, const struct proxy *defpx,
                           const char *file, int line, char **err)
{
	const struct sockaddr_un *addr = NULL;

	if (too_many_args(1, args, err, NULL))
		return -1;
	if (!*args[1] || *args[1] != '/' || strlen(args[1]) >= sizeof(addr->sun_path)) {
		memprintf(err, "'%s' expects the absolute path of the agent's socket, of at most %d characters", args[0],
		          (int)sizeof(addr->sun_path) - 1);
		return -1;
	}
	if (disc_lend_path) {
		memprintf(err, "'%s' already specified", args[0]);
		return -1;
	}
	disc_lend_path = strdup(args[1]);
	if (!disc_lend_path) {
		memprintf(err, "'%s': out of memory", args[0]);
		return -1;
	}
	return 0;
}

static struct cfg_kw_list disc_lend_kws = {ILH, {
	{ CFG_GLOBAL, "disc-socket", disc_lend_parse },
	{ 0, NULL, NULL },
}};

INITCALL1(STG_REGISTER, cfg_register_keywords, &disc_lend_kws);

/* Each thread uses one more descriptor. */
static int disc_lend_reserve(void)
{
	if (disc_lend_path)
		global.maxsock += global.nbthread;
	return ERR_NONE;
}

REGISTER_POST_CHECK(disc_lend_reserve);

static void disc_lend_deinit(void)
{
	ha_free(&disc_lend_path);
}

REGISTER_POST_DEINIT(disc_lend_deinit);

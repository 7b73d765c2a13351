/*
 * src/disc_handoff.c
 * Handoff of client connections to DiSC's agent.
 *
 * On the direct path, the records of a response are written by another host, on the
 * client's own TCP connection. For this the agent which runs beside us, and which has
 * the privileges for it, gets the connection's descriptor over a UNIX socket and moves
 * the connection there and back. All we do is to hand it out and to wait: the agent
 * tells that it is back, how far it got, or that it is lost. Before it touches the
 * connection it notes that in memory which we share, so that we can go on with one which
 * it left alone.
 *
 * Each thread has its own connection to the agent ("agent"), so that answers reach
 * the thread which owns the client's connection. Locks are only there for "show disc".
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <import/eb64tree.h>
#include <haproxy/api.h>
#include <haproxy/cfgparse.h>
#include <haproxy/chunk.h>
#include <haproxy/connection.h>
#include <haproxy/disc_lease.h>
#include <haproxy/disc_handoff.h>
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

#define DISC_AGENT_RETRY 1000 /* milliseconds between two attempts to reach the agent */

DECLARE_STATIC_POOL(pool_head_disc_handoff, "disc_parked", sizeof(struct disc_handoff));

struct disc_agent {
	int fd;                         /* -1 without agent */
	int down;                       /* it went away, or was never reached */
	int recall;                     /* what is handed off has to be recalled */
	unsigned int parked;              /* handoffs which are not abandoned */
	uint64_t last_id;
	struct eb_root handoffs;
	struct list queue;              /* handoffs with a message to be sent, oldest first */
	uint64_t *places;               /* shared with the agent: numbers of handoffs that were taken; NULL without agent */
	uint32_t *free_places;          /* those that no handoff has */
	uint32_t free_count;
	struct task *task;              /* connects again, recalls */
	__decl_thread(HA_SPINLOCK_T lock); /* on <handoffs> */
} THREAD_ALIGNED(64);

static char *disc_handoff_path;            /* NULL: nothing is ever handed off */
static struct disc_agent disc_agents[MAX_THREADS];
static int disc_agents_down;           /* how many are */
static int disc_handoff_warned;            /* the first failed attempt was logged */
static int disc_handoff_on = 1;            /* "disc direct on|off" */

static struct disc_agent *disc_agent_get(void)
{
	return &disc_agents[tid];
}

/* Returns non-zero if there is an agent that connections can be handed off to, once it runs. */
int disc_handoff_configured(void)
{
	return disc_handoff_path != NULL;
}

/* Returns non-zero if <conn>, which belongs to this thread, could be handed off now. */
int disc_handoff_ready(const struct connection *conn)
{
	return disc_handoff_path && HA_ATOMIC_LOAD(&disc_handoff_on) && disc_agent_get()->fd != -1 && conn->ctrl &&
	       (conn->ctrl->fam->sock_family == AF_INET || conn->ctrl->fam->sock_family == AF_INET6);
}

/*
 * Handoffs
 */

static void disc_handoff_free(struct disc_agent *agent, struct disc_handoff *handoff)
{
	HA_SPIN_LOCK(OTHER_LOCK, &agent->lock);
	eb64_delete(&handoff->node);
	HA_SPIN_UNLOCK(OTHER_LOCK, &agent->lock);
	LIST_DEL_INIT(&handoff->queue);
	if (handoff->conn)
		HA_ATOMIC_DEC(&agent->parked);
	if (handoff->lease)
		handoff->lease->handoff = NULL;
	agent->free_places[agent->free_count++] = handoff->place;
	ha_free(&handoff->claim);
	pool_free(pool_head_disc_handoff, handoff);
}

/* Returns the stream connector which waits for <conn>, or NULL. */
static struct stconn *disc_handoff_sc(const struct connection *conn)
{
	return (conn->mux && conn->mux->get_first_sc) ? conn->mux->get_first_sc(conn) : NULL;
}

/* The client got <bytes> of the records: this is what "timeout client" is about. */
static void disc_handoff_progress(struct disc_handoff *handoff, uint64_t bytes)
{
	struct disc_lease *lease = handoff->lease;
	struct stconn *sc = disc_handoff_sc(handoff->conn);

	if (bytes <= lease->acked || bytes > lease->ciphertext)
		return;
	lease->acked = bytes;
	if (sc && tick_isset(sc_ep_fsb(sc)))
		sc_ep_report_blocked_send(sc, 1);
}

/* Returns the stream whose response <conn> was handed off for, or NULL. */
static struct stream *disc_handoff_strm(const struct connection *conn)
{
	struct stconn *sc = disc_handoff_sc(conn);

	return sc ? sc_strm(sc) : NULL;
}

/* <handoff> is over, and <conn> with it will be what was decided before. It may be
 * released here.
 */
static void disc_handoff_wake(struct connection *conn)
{
	struct stream *s = disc_handoff_strm(conn);

	/* the analysers look at the connection, whatever else happens */
	if (s)
		task_wakeup(s->task, TASK_WOKEN_MSG);
	if (conn->mux && conn->mux->wake)
		conn->mux->wake(conn);
}

/* The connection of <handoff> is back, all records are written. */
static void disc_handoff_returned(struct disc_agent *agent, struct disc_handoff *handoff)
{
	struct connection *conn = handoff->conn;

	disc_handoff_free(agent, handoff);
	disc_conn_returned(conn);
	disc_handoff_wake(conn);
}

/* The connection of <handoff> must be closed without a word, <cause> is to blame. */
static void disc_handoff_lost(struct disc_agent *agent, struct disc_handoff *handoff, enum disc_lost_cause cause)
{
	struct connection *conn = handoff->conn;
	struct stream *s = disc_handoff_strm(conn);

	disc_handoff_free(agent, handoff);
	disc_conn_lost(conn);
	if (s && !(s->flags & SF_ERR_MASK))
		s->flags |= SF_FINST_D |
			(cause == DISC_LOST_CLIENT ? SF_ERR_CLICL : cause == DISC_LOST_NODE ? SF_ERR_SRVCL : SF_ERR_INTERNAL);
	disc_handoff_wake(conn);
}

/* Nobody will write the records to <conn>, nor did: they come from the server. */
static void disc_handoff_fall_back(struct connection *conn)
{
	struct stream *s = disc_handoff_strm(conn);

	if (s)
		http_disc_not_direct(s);
	disc_conn_refused(conn);
}

/* The connection of <handoff> is as we handed it off, and nobody else has it. */
static void disc_handoff_refused(struct disc_agent *agent, struct disc_handoff *handoff)
{
	struct connection *conn = handoff->conn;

	disc_handoff_free(agent, handoff);
	disc_handoff_fall_back(conn);
	disc_handoff_wake(conn);
}

/*
 * The connection to the agent
 */

/* Returns non-zero if the agent may have touched the connection of <handoff>, which was sent
 * to it.
 */
static int disc_handoff_taken(const struct disc_agent *agent, const struct disc_handoff *handoff)
{
	return HA_ATOMIC_LOAD(&agent->places[handoff->place]) == handoff->node.key;
}

/* Makes the memory that is shared with the next agent. An earlier one may still have its
 * own. Returns its descriptor, or -1.
 */
static int disc_places_new(struct disc_agent *agent)
{
	const size_t size = DISC_PLACES * sizeof(*agent->places);
	int fd = memfd_create("disc", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	void *area;
	int i;

	if (fd == -1)
		return -1;
	if (ftruncate(fd, size) == -1 || fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) == -1)
		goto fail;
	if (!agent->free_places)
		agent->free_places = malloc(DISC_PLACES * sizeof(*agent->free_places));
	area = agent->free_places ? mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0) : MAP_FAILED;
	if (area == MAP_FAILED)
		goto fail;
	agent->places = area;
	/* those which were used last come first: little of the memory is ever touched */
	for (i = 0; i < DISC_PLACES; i++)
		agent->free_places[i] = DISC_PLACES - 1 - i;
	agent->free_count = DISC_PLACES;
	return fd;

 fail:
	close(fd);
	return -1;
}

static void disc_places_free(struct disc_agent *agent)
{
	if (agent->places)
		munmap(agent->places, DISC_PLACES * sizeof(*agent->places));
	agent->places = NULL;
}

/* The agent could not be reached because of <why>, or is gone if this is NULL. Only
 * the first attempt which fails is logged, whatever the number of threads.
 */
static void disc_agent_set_down(struct disc_agent *agent, const char *why)
{
	if (!agent->down) {
		agent->down = 1;
		HA_ATOMIC_INC(&disc_agents_down);
	}
	if (why && !HA_ATOMIC_XCHG(&disc_handoff_warned, 1))
		send_log(NULL, LOG_WARNING, "DiSC: handoff socket %s cannot be reached: %s; trying again every second.\n",
		         disc_handoff_path, why);
}

static void disc_agent_set_up(struct disc_agent *agent)
{
	if (!agent->down)
		return;
	agent->down = 0;
	if (HA_ATOMIC_SUB_FETCH(&disc_agents_down, 1))
		return;
	HA_ATOMIC_STORE(&disc_handoff_warned, 0);
	send_log(NULL, LOG_NOTICE, "DiSC: handoff socket %s is reached by all threads.\n", disc_handoff_path);
}

/* The connection to the agent is to be closed because of <why>, or because the agent
 * has closed it if this is NULL. All it had said was read in that case, so that we go
 * on with the connections which it had not touched. The others are lost.
 */
static void disc_agent_close(struct disc_agent *agent, const char *why)
{
	struct eb64_node *node;
	int lost = 0, refused = 0;

	fd_delete(agent->fd);
	agent->fd = -1;
	while ((node = eb64_first(&agent->handoffs))) {
		struct disc_handoff *handoff = container_of(node, struct disc_handoff, node);

		if (handoff->state == DISC_HANDOFF_ABANDONED)
			disc_handoff_free(agent, handoff);
		else if (handoff->state == DISC_HANDOFF_QUEUED || (!why && !disc_handoff_taken(agent, handoff))) {
			disc_handoff_refused(agent, handoff);
			refused++;
		}
		else {
			disc_handoff_lost(agent, handoff, DISC_LOST_AGENT);
			lost++;
		}
	}
	disc_places_free(agent);
	send_log(NULL, LOG_WARNING, "DiSC: handoff socket %s closed: %s; %d connections were handed off and are lost, %d take the splice path.\n",
	         disc_handoff_path, why ? why : "the agent is gone", lost, refused);
	disc_agent_set_down(agent, NULL);
	task_schedule(agent->task, tick_add(now_ms, MS_TO_TICKS(DISC_AGENT_RETRY)));
}

/* Processes message <msg> of <len> bytes. Returns 1, or 0 if it is malformed. */
static int disc_agent_process(struct disc_agent *agent, const char *msg, size_t len)
{
	static const char zero[7];
	struct eb64_node *node;
	struct disc_handoff *handoff;
	uint64_t bytes = 0;
	uint8_t type;

	if (len < DISC_MSG_HEADER || msg[0] != DISC_MSG_VERSION || memcmp(msg + 2, zero, 6) != 0)
		return 0;
	type = msg[1];
	if (len != DISC_MSG_HEADER + (type == DISC_MSG_LOST ? 16 : type == DISC_MSG_PROGRESS ? 8 : 0))
		return 0;
	if (type == DISC_MSG_LOST &&
	    (msg[24] < DISC_LOST_CLIENT || msg[24] > DISC_LOST_AGENT || memcmp(msg + 25, zero, 7) != 0))
		return 0;
	if (len > DISC_MSG_HEADER)
		bytes = read_n64(msg + DISC_MSG_HEADER);

	node = eb64_lookup(&agent->handoffs, read_n64(msg + 8));
	handoff = node ? container_of(node, struct disc_handoff, node) : NULL;
	if (handoff && handoff->state == DISC_HANDOFF_QUEUED)
		return 0; /* it knows nothing of it yet */

	if (type != DISC_MSG_RETURNED && type != DISC_MSG_LOST && type != DISC_MSG_PROGRESS && type != DISC_MSG_REFUSED)
		return 0;
	if (!handoff)
		return 1; /* abandoned meanwhile */
	if (handoff->state == DISC_HANDOFF_ABANDONED) {
		if (type != DISC_MSG_PROGRESS)
			disc_handoff_free(agent, handoff);
		return 1;
	}

	switch (type) {
	case DISC_MSG_PROGRESS:
		disc_handoff_progress(handoff, bytes);
		break;
	case DISC_MSG_RETURNED:
		disc_handoff_returned(agent, handoff);
		break;
	case DISC_MSG_LOST:
		disc_handoff_progress(handoff, bytes);
		disc_handoff_lost(agent, handoff, msg[24]);
		break;
	case DISC_MSG_REFUSED:
		if (disc_handoff_taken(agent, handoff))
			return 0;
		disc_handoff_refused(agent, handoff);
		break;
	}
	return 1;
}

/* Reads what the agent says. Returns 0 if the connection was closed. An error is told
 * before what is still to be read, once.
 */
static int disc_agent_recv(struct disc_agent *agent)
{
	char msg[DISC_MSG_MAX + 1];
	ssize_t len;
	int max = 100;

	while (agent->fd != -1 && max--) {
		len = recv(agent->fd, msg, sizeof(msg), MSG_DONTWAIT);
		if (len < 0 && (errno == EINTR || errno == ECONNRESET))
			continue;
		if (len < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
			fd_cant_recv(agent->fd);
			return 1;
		}
		if (len <= 0) {
			disc_agent_close(agent, len ? strerror(errno) : NULL);
			return 0;
		}
		if (!disc_agent_process(agent, msg, len)) {
			if (agent->fd != -1)
				disc_agent_close(agent, "malformed message");
			return 0;
		}
	}
	return agent->fd != -1;
}

/* Sends <msg> to the agent, with a copy of descriptor <fd>. Returns what sendmsg() did. */
static ssize_t disc_agent_send_fd(const struct disc_agent *agent, struct msghdr *msg, int fd)
{
	union {
		struct cmsghdr hdr;
		char buf[CMSG_SPACE(sizeof(int))];
	} control;

	memset(&control, 0, sizeof(control));
	control.hdr.cmsg_level = SOL_SOCKET;
	control.hdr.cmsg_type = SCM_RIGHTS;
	control.hdr.cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(&control.hdr), &fd, sizeof(int));
	msg->msg_control = &control;
	msg->msg_controllen = sizeof(control.buf);
	return sendmsg(agent->fd, msg, MSG_DONTWAIT | MSG_NOSIGNAL);
}

/* Sends the message that <handoff> waits to send. Returns what sendmsg() did. */
static ssize_t disc_handoff_send(const struct disc_agent *agent, const struct disc_handoff *handoff)
{
	char buf[DISC_MSG_PARKED_LEN] = { DISC_MSG_VERSION, DISC_MSG_ABANDON };
	struct iovec iov[2] = { { .iov_base = buf, .iov_len = DISC_MSG_HEADER } };
	struct msghdr msg = { .msg_iov = iov, .msg_iovlen = 1 };

	write_n64(buf + 8, handoff->node.key);
	if (handoff->state != DISC_HANDOFF_QUEUED)
		return sendmsg(agent->fd, &msg, MSG_DONTWAIT | MSG_NOSIGNAL);

	buf[1] = DISC_MSG_PARKED;
	memcpy(buf + 16, handoff->lease->ticket, DISC_TICKET_BYTES);
	write_n64(buf + 32, handoff->lease->ciphertext);
	write_n16(buf + 40, handoff->claim_announcement);
	write_n16(buf + 42, handoff->claim_target);
	write_n32(buf + 44, handoff->place);
	iov[0].iov_len = DISC_MSG_PARKED_LEN;
	iov[1].iov_base = handoff->claim;
	iov[1].iov_len = handoff->claim_announcement + handoff->claim_target;
	msg.msg_iovlen = 2;
	return disc_agent_send_fd(agent, &msg, handoff->conn->handle.fd);
}

/* Asks for all connections back. Returns what send() did. */
static ssize_t disc_agent_send_recall(const struct disc_agent *agent)
{
	static const char buf[DISC_MSG_HEADER] = { DISC_MSG_VERSION, DISC_MSG_RECALL };

	return send(agent->fd, buf, sizeof(buf), MSG_DONTWAIT | MSG_NOSIGNAL);
}

/* Called when a message could not be sent, for errno. Waits until the socket takes more,
 * unless the agent is gone.
 */
static void disc_agent_wait(struct disc_agent *agent)
{
	if (errno == EPIPE || errno == ECONNRESET || errno == ENOTCONN)
		fd_stop_send(agent->fd);
	else {
		fd_cant_send(agent->fd);
		fd_want_send(agent->fd);
	}
}

/* Sends what is queued as far as the socket takes it. If the agent is gone, reading
 * will tell.
 */
static void disc_agent_flush(struct disc_agent *agent)
{
	struct disc_handoff *handoff, *back;

	list_for_each_entry_safe(handoff, back, &agent->queue, queue) {
		if (disc_handoff_send(agent, handoff) < 0) {
			disc_agent_wait(agent);
			return;
		}
		LIST_DEL_INIT(&handoff->queue);
		if (handoff->state == DISC_HANDOFF_QUEUED) {
			handoff->state = DISC_HANDOFF_SENT;
			ha_free(&handoff->claim);
		}
		else
			disc_handoff_free(agent, handoff);
	}
	if (HA_ATOMIC_LOAD(&agent->recall)) {
		if (disc_agent_send_recall(agent) < 0) {
			disc_agent_wait(agent);
			return;
		}
		HA_ATOMIC_STORE(&agent->recall, 0);
	}
	fd_stop_send(agent->fd);
}

static void disc_agent_iocb(int fd)
{
	struct disc_agent *agent = fdtab[fd].owner;

	if (fd_send_ready(fd) && fd_send_active(fd))
		disc_agent_flush(agent);
	disc_agent_recv(agent);
}

/* Shares the places with the agent which this thread has just connected to. Returns 0, or what
 * errno says.
 */
static int disc_agent_send_places(struct disc_agent *agent)
{
	char buf[DISC_MSG_HEADER] = { DISC_MSG_VERSION, DISC_MSG_PLACES };
	struct iovec iov = { .iov_base = buf, .iov_len = sizeof(buf) };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };
	int fd = disc_places_new(agent);
	int err = 0;

	if (fd == -1)
		return errno ? errno : ENOMEM;
	if (disc_agent_send_fd(agent, &msg, fd) < 0) {
		err = errno;
		disc_places_free(agent);
	}
	close(fd);
	return err;
}

/* Connects this thread to the agent. Returns 0, or what errno says. */
static int disc_agent_connect(struct disc_agent *agent)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	int err = 0;

	if (fd == -1)
		return errno;
	strlcpy2(addr.sun_path, disc_handoff_path, sizeof(addr.sun_path));
	if (fd >= global.maxsock)
		err = EMFILE;
	else if (connect(fd, (struct sockaddr *)&addr, sizeof(addr)) == -1)
		err = errno;
	if (err) {
		close(fd);
		return err;
	}
	agent->fd = fd;
	err = disc_agent_send_places(agent);
	if (err) {
		agent->fd = -1;
		close(fd);
		return err;
	}
	fd_insert(fd, agent, disc_agent_iocb, tgid, ti->ltid_bit);
	fd_want_recv(fd);
	return 0;
}

static struct task *disc_agent_task(struct task *t, void *context, unsigned int state)
{
	struct disc_agent *agent = context;
	int err;

	t->expire = TICK_ETERNITY;
	if (agent->fd != -1) {
		disc_agent_flush(agent);
		return t;
	}
	HA_ATOMIC_STORE(&agent->recall, 0);
	err = disc_agent_connect(agent);
	if (!err) {
		disc_agent_set_up(agent);
		return t;
	}
	disc_agent_set_down(agent, strerror(err));
	t->expire = tick_add(now_ms, MS_TO_TICKS(DISC_AGENT_RETRY));
	return t;
}

static int disc_agent_init(void)
{
	struct disc_agent *agent = disc_agent_get();

	agent->fd = -1;
	agent->handoffs = EB_ROOT;
	LIST_INIT(&agent->queue);
	HA_SPIN_INIT(&agent->lock);
	if (!disc_handoff_path)
		return 1;
	agent->task = task_new_here();
	if (!agent->task)
		return 0;
	agent->task->process = disc_agent_task;
	agent->task->context = agent;
	task_wakeup(agent->task, TASK_WOKEN_INIT);
	return 1;
}

REGISTER_PER_THREAD_INIT(disc_agent_init);

/*
 * What the transport layer calls
 */

/* Hands off <conn>, whose socket nobody uses from now on and on which the records accepted
 * for <lease> have to be written. If this is impossible, we will pass them ourselves.
 */
void disc_park(struct connection *conn, struct disc_lease *lease)
{
	struct disc_agent *agent = disc_agent_get();
	struct disc_handoff *handoff = NULL;
	struct stream *s;

	if (disc_handoff_ready(conn) && agent->free_count)
		handoff = pool_zalloc(pool_head_disc_handoff);
	s = handoff ? disc_handoff_strm(conn) : NULL;
	if (!s || !http_disc_take_claim(s, handoff)) {
		pool_free(pool_head_disc_handoff, handoff);
		disc_handoff_fall_back(conn);
		return;
	}
	handoff->place = agent->free_places[--agent->free_count];
	HA_ATOMIC_STORE(&agent->places[handoff->place], 0);
	handoff->conn = conn;
	handoff->lease = lease;
	handoff->date = now_ms;
	handoff->node.key = ++agent->last_id;
	lease->handoff = handoff;
	LIST_APPEND(&agent->queue, &handoff->queue);
	HA_ATOMIC_INC(&agent->parked);
	HA_SPIN_LOCK(OTHER_LOCK, &agent->lock);
	eb64_insert(&agent->handoffs, &handoff->node);
	HA_SPIN_UNLOCK(OTHER_LOCK, &agent->lock);
	/* if the agent does not read any more, the socket tells, and what it did say */
	disc_agent_flush(agent);
}

/* Called when the connection handed off for <lease> is about to be closed by us. */
void disc_handoff_abandon(struct disc_lease *lease)
{
	struct disc_agent *agent = disc_agent_get();
	struct disc_handoff *handoff = lease->handoff;

	if (handoff->state == DISC_HANDOFF_QUEUED) {
		disc_handoff_free(agent, handoff);
		return;
	}
	HA_SPIN_LOCK(OTHER_LOCK, &agent->lock);
	handoff->state = DISC_HANDOFF_ABANDONED;
	handoff->conn = NULL;
	handoff->lease = NULL;
	HA_SPIN_UNLOCK(OTHER_LOCK, &agent->lock);
	HA_ATOMIC_DEC(&agent->parked);
	lease->handoff = NULL;
	LIST_APPEND(&agent->queue, &handoff->queue);
	/* if the agent is gone, the socket will tell */
	if (agent->fd != -1)
		disc_agent_flush(agent);
}

/* Called from any thread: connections may be handed off if <on> is set, else those which are
 * come back.
 */
void disc_handoff_switch(int on)
{
	int i;

	HA_ATOMIC_STORE(&disc_handoff_on, on);
	for (i = 0; !on && i < global.nbthread; i++) {
		HA_ATOMIC_STORE(&disc_agents[i].recall, 1);
		task_wakeup(disc_agents[i].task, TASK_WOKEN_OTHER);
	}
}

/* Appends to <out> how many threads reach the agent and how much is handed off. */
void disc_handoff_show(struct buffer *out)
{
	int i, agents = 0, parked = 0;

	if (!disc_handoff_path) {
		chunk_appendf(out, "handoff: not configured\n");
		return;
	}
	for (i = 0; i < global.nbthread; i++) {
		agents += HA_ATOMIC_LOAD(&disc_agents[i].fd) != -1;
		parked += HA_ATOMIC_LOAD(&disc_agents[i].parked);
	}
	chunk_appendf(out, "handoff: %d of %d threads reach the agent, %d connections are parked%s\n", agents, global.nbthread, parked,
	              HA_ATOMIC_LOAD(&disc_handoff_on) ? "" : ", switched off");
}

/* Appends to <out> a line about the first handoff from <place> on, which is moved behind
 * it. Any thread may call it again later, whatever has become of the handoffs meanwhile.
 * Returns 1, or 0 if there is none.
 */
int disc_handoff_show_next(struct buffer *out, struct disc_handoff_place *place)
{
	struct sockaddr_storage src;
	char client[INET6_ADDRSTRLEN];
	ullong acked, length;
	uint32_t date;

	while (place->thread < global.nbthread) {
		struct disc_agent *agent = &disc_agents[place->thread];
		struct disc_handoff *handoff = NULL;
		struct connection *conn = NULL;
		struct eb64_node *node;

		HA_SPIN_LOCK(OTHER_LOCK, &agent->lock);
		node = eb64_lookup_ge(&agent->handoffs, place->handoff);
		if (node) {
			place->handoff = node->key + 1;
			handoff = container_of(node, struct disc_handoff, node);
			conn = handoff->conn;
		}
		if (conn) {
			/* these stay as long as the handoff is not abandoned, which takes the lock */
			if (conn->src)
				src = *conn->src;
			else
				memset(&src, 0, sizeof(src));
			date = handoff->date;
			acked = handoff->lease->acked;
			length = handoff->lease->ciphertext;
		}
		HA_SPIN_UNLOCK(OTHER_LOCK, &agent->lock);

		if (!node) {
			place->thread++;
			place->handoff = 0;
		}
		else if (conn) {
			if (addr_to_str(&src, client, sizeof(client)) <= 0)
				strlcpy2(client, "?", sizeof(client));
			chunk_appendf(out, "parked: thread=%d handoff=%llu client=%s:%d age=%dms acked=%llu of=%llu\n", place->thread + 1,
			              (ullong)place->handoff - 1, client, get_host_port(&src), MAX((int)(now_ms - date), 0), acked, length);
			return 1;
		}
	}
	return 0;
}

/*
 * Configuration
 */

/* Parses "disc-socket <path>" in the global section. */
static int disc_handoff_parse(char **args, int section_type, struct proxy *curpx, const struct proxy *defpx,
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
	if (disc_handoff_path) {
		memprintf(err, "'%s' already specified", args[0]);
		return -1;
	}
	disc_handoff_path = strdup(args[1]);
	if (!disc_handoff_path) {
		memprintf(err, "'%s': out of memory", args[0]);
		return -1;
	}
	return 0;
}

static struct cfg_kw_list disc_handoff_kws = {ILH, {
	{ CFG_GLOBAL, "disc-socket", disc_handoff_parse },
	{ 0, NULL, NULL },
}};

INITCALL1(STG_REGISTER, cfg_register_keywords, &disc_handoff_kws);

/* Each thread uses one more descriptor. */
static int disc_handoff_reserve(void)
{
	if (disc_handoff_path)
		global.maxsock += global.nbthread;
	return ERR_NONE;
}

REGISTER_POST_CHECK(disc_handoff_reserve);

static void disc_handoff_deinit(void)
{
	ha_free(&disc_handoff_path);
}

REGISTER_POST_DEINIT(disc_handoff_deinit);

/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "digester.h"

#include <wolfssl/options.h>

#include <wolfssl/wolfcrypt/sha256.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "digest_attribute.h"
#include "digest_table.h"
#include "log.h"
#include "node_metrics.h"

#define QUEUE_MAX 1024u
#define CHUNK (128u * 1024)
#define CHUNKS_BETWEEN_LOOKS 64 /* at whether the file has changed meanwhile */
#define DEPTH_MAX 64
#define PATH_SIZE 4096u
#define WALK_AGAIN_S 3600
/* How old a change must be so that a further one has another time, and one outside the attribute's window
 * (DIGEST_ATTRIBUTE_WINDOW_NS): some ticks, or what the coarsest filesystems need. */
#define SETTLED_NS 25000000
_Static_assert(SETTLED_NS > DIGEST_ATTRIBUTE_WINDOW_NS, "a change behind the digest would pass for its attribute's");
#define SETTLED_COARSE_NS 3000000000
/* The kernel's lowest priority for I/O; glibc has no name for it. */
#define IOPRIO_IDLE (3 << 13)
#define IOPRIO_THIS_THREAD 1

struct wanted {
	struct wanted *next;
	char path[];
};

struct digester {
	struct digester_settings settings;
	struct digest_table *table;
	pthread_t thread;
	pthread_mutex_t lock; /* of what follows; workers only try to take it */
	pthread_cond_t wake;
	struct wanted *first, **last;
	unsigned queued;
	bool stopping;
	/* of the thread alone */
	int watcher;     /* inotify; -1: attributes cannot be written */
	bool complained; /* the log says why digests stay in memory */
	bool walked;     /* at least once */
	uint64_t files, bytes, in_memory;
	int64_t ahead_ns; /* time that reading should have taken and did not */
	uint8_t chunk[CHUNK];
};

static int64_t clock_ns(clockid_t clock)
{
	struct timespec now;

	(void)clock_gettime(clock, &now);
	return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

/* --- other threads --- */

/* Returns false if there is no room, or the queue is being used. */
static bool enqueue(struct digester *digester, const char *path)
{
	struct wanted *wanted;
	bool done = false;

	if (pthread_mutex_trylock(&digester->lock) != 0)
		return false;
	if (digester->queued < QUEUE_MAX && (wanted = malloc(sizeof(*wanted) + strlen(path) + 1))) {
		strcpy(wanted->path, path);
		wanted->next = NULL;
		*digester->last = wanted;
		digester->last = &wanted->next;
		digester->queued++;
		(void)pthread_cond_signal(&digester->wake);
		done = true;
	}
	pthread_mutex_unlock(&digester->lock);
	return done;
}

/* Looks into memory, then at the file. */
static enum digest_state look(struct digester *digester, struct file_object *object)
{
	enum digest_state state = digest_table_find(digester->table, object, object->digest);
	struct timespec now;

	if (state != DIGEST_UNKNOWN || clock_gettime(CLOCK_REALTIME, &now) < 0)
		return state;
	switch (digest_attribute_read(object, &now, object->digest)) {
	case DIGEST_ATTRIBUTE_GOOD:
		digest_table_set(digester->table, object, object->digest);
		return DIGEST_KNOWN;
	case DIGEST_ATTRIBUTE_FRESH:
		return DIGEST_AWAITED;
	case DIGEST_ATTRIBUTE_NONE:
		break;
	}
	return DIGEST_UNKNOWN;
}

/* For file_source_open(). */
static void find(void *context, const char *path, struct file_object *object)
{
	struct digester *digester = context;
	enum digest_state state = look(digester, object);

	object->has_digest = state == DIGEST_KNOWN;
	if (state != DIGEST_UNKNOWN)
		return;
	/* First: the thread may have the digest before this one runs on. */
	digest_table_await(digester->table, object);
	if (!enqueue(digester, path))
		digest_table_forget(digester->table, object);
}

/* --- pace --- */

/* Waits until <ns> from now, or the end. Returns false at the end. */
static bool rest(struct digester *digester, int64_t ns)
{
	int64_t until = clock_ns(CLOCK_MONOTONIC) + ns;
	const struct timespec at = {.tv_sec = until / 1000000000, .tv_nsec = until % 1000000000};
	bool stopping;

	pthread_mutex_lock(&digester->lock);
	while (!digester->stopping && clock_ns(CLOCK_MONOTONIC) < until)
		(void)pthread_cond_timedwait(&digester->wake, &digester->lock, &at);
	stopping = digester->stopping;
	pthread_mutex_unlock(&digester->lock);
	return !stopping;
}

/* <len> bytes were read since <began>: keeps to the rate. Returns false at the end. */
static bool keep_pace(struct digester *digester, size_t len, int64_t began)
{
	int64_t due = (int64_t)((double)len * 1e9 / (double)digester->settings.rate);

	digester->ahead_ns += due - (clock_ns(CLOCK_MONOTONIC) - began);
	if (digester->ahead_ns < 0)
		digester->ahead_ns = 0;
	/* A rest has its price, too: not after every chunk. */
	if (digester->ahead_ns < 20000000)
		return true;
	began = clock_ns(CLOCK_MONOTONIC);
	if (!rest(digester, digester->ahead_ns))
		return false;
	digester->ahead_ns -= clock_ns(CLOCK_MONOTONIC) - began;
	return true;
}

/* --- one file --- */

enum digesting {
	DIGESTING_DONE,
	DIGESTING_CHANGED, /* the file changed meanwhile, or could not be read: not now */
	DIGESTING_STOPPED,
};

/* Waits until a further change of <object> must show. The kernel stamps files with the coarse clock, which is several milliseconds
 * behind the fine one on a virtual machine that was kept waiting: so that one says how old the last change is. */
static enum digesting await_settled(struct digester *digester, const struct file_object *object)
{
	int64_t ctime = (int64_t)object->ctime.tv_sec * 1000000000 + object->ctime.tv_nsec;
	int64_t margin = object->ctime.tv_nsec ? SETTLED_NS : SETTLED_COARSE_NS;
	int64_t age;

	/* Of the future: the clock was set back, or is another host's. */
	if (clock_ns(CLOCK_REALTIME) < ctime)
		return DIGESTING_CHANGED;
	while ((age = clock_ns(CLOCK_REALTIME_COARSE) - ctime) < margin)
		if (!rest(digester, margin - age))
			return DIGESTING_STOPPED;
	return DIGESTING_DONE;
}

static enum digesting read_all(struct digester *digester, const struct file_object *object, wc_Sha256 *sha)
{
	uint64_t offset = 0;

	for (unsigned chunks = 0; offset < object->size; chunks++) {
		int64_t began = clock_ns(CLOCK_MONOTONIC);
		ssize_t n = pread(object->fd, digester->chunk, CHUNK, (off_t)offset);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0 || wc_Sha256Update(sha, digester->chunk, (word32)n) != 0)
			return DIGESTING_CHANGED;
		offset += (uint64_t)n;
		digester->bytes += (uint64_t)n;
		node_metrics_add(NODE_DIGEST_BYTES, n);
		if (!keep_pace(digester, (size_t)n, began))
			return DIGESTING_STOPPED;
		if (chunks % CHUNKS_BETWEEN_LOOKS == CHUNKS_BETWEEN_LOOKS - 1 && !file_object_untouched(object))
			return DIGESTING_CHANGED;
	}
	return DIGESTING_DONE;
}

static enum digesting compute(struct digester *digester, struct file_object *object)
{
	enum digesting result = DIGESTING_CHANGED;
	wc_Sha256 sha;

	if (wc_InitSha256(&sha) != 0)
		return DIGESTING_CHANGED;
	if (file_object_untouched(object))
		result = read_all(digester, object, &sha);
	if (result == DIGESTING_DONE && (wc_Sha256Final(&sha, object->digest) != 0 || !file_object_untouched(object)))
		result = DIGESTING_CHANGED;
	wc_Sha256Free(&sha);
	return result;
}

/* Whether somebody has written to a watched file. */
static bool was_written(const struct digester *digester)
{
	char events[sizeof(struct inotify_event) + 256] __attribute__((aligned(8)));
	bool written = false;

	while (read(digester->watcher, events, sizeof(events)) > 0)
		/* The end of a watch, also of an earlier one, is no write. */
		written |= (((struct inotify_event *)(void *)events)->mask & (IN_MODIFY | IN_Q_OVERFLOW)) != 0;
	return written;
}

static void complain(struct digester *digester, const char *why)
{
	if (!digester->complained)
		log_notice("files.etag: digests are kept in memory only, and computed again after a restart: %s", why);
	digester->complained = true;
}

/* Keeps the digest with the watched file. Writing it moves the change time, so that this says nothing of what was done
 * since the last look, nor of what is done in the same tick: the watch tells of both. */
static enum digesting keep(struct digester *digester, struct file_object *object)
{
	enum digesting result;

	if (digest_attribute_write(object, object->digest) < 0) {
		if (errno == EBUSY)
			return DIGESTING_CHANGED;
		complain(digester, strerror(errno));
		digester->in_memory++;
	}
	result = await_settled(digester, object);
	if (was_written(digester))
		result = DIGESTING_CHANGED;
	if (result == DIGESTING_CHANGED)
		digest_attribute_remove(object);
	return result;
}

static int watch(const struct digester *digester, const struct file_object *object)
{
	char path[64];

	if (digester->watcher < 0)
		return -1;
	(void)snprintf(path, sizeof(path), "/proc/self/fd/%d", object->fd);
	return inotify_add_watch(digester->watcher, path, IN_MODIFY);
}

/* Returns false at the end. */
static bool digest(struct digester *digester, const char *path, struct file_object *object)
{
	struct file_object asked = *object;
	enum digesting result = await_settled(digester, object);
	int watched = watch(digester, object);

	if (result == DIGESTING_DONE)
		result = compute(digester, object);
	if (result == DIGESTING_DONE && watched >= 0)
		result = keep(digester, object);
	else if (result == DIGESTING_DONE)
		digester->in_memory++;
	if (watched >= 0) {
		(void)inotify_rm_watch(digester->watcher, watched);
		(void)was_written(digester);
	}
	if (result == DIGESTING_DONE) {
		digest_table_set(digester->table, object, object->digest);
		digester->files++;
		node_metrics_add(NODE_DIGESTS, 1);
		log_debug("files.etag: %s: %" PRIu64 " bytes were read for its digest", path, object->size);
	} else {
		digest_table_forget(digester->table, &asked);
		if (result == DIGESTING_CHANGED)
			node_metrics_add(NODE_DIGESTS_DISCARDED, 1);
	}
	return result != DIGESTING_STOPPED;
}

/* <path> was asked for, or met on the walk. Returns false at the end. */
static bool look_at(struct digester *digester, const char *path, bool asked)
{
	struct file_object object;
	enum digest_state state;
	bool goes_on = true;

	if (file_source_open_plainly(digester->settings.files, path, &object) != FILE_OK)
		return true;
	state = look(digester, &object);
	if (state == DIGEST_UNKNOWN || (asked && state == DIGEST_AWAITED))
		goes_on = digest(digester, path, &object);
	file_object_close(&object);
	return goes_on;
}

/* --- the thread --- */

/* Takes the next file that was asked for off the queue; the caller frees it. NULL: there is none. */
static struct wanted *take(struct digester *digester)
{
	struct wanted *wanted = digester->first;

	if (!wanted)
		return NULL;
	digester->first = wanted->next;
	if (!digester->first)
		digester->last = &digester->first;
	digester->queued--;
	return wanted;
}

/* All files that were asked for. Returns false at the end. */
static bool serve_queue(struct digester *digester)
{
	for (;;) {
		struct wanted *wanted;
		bool goes_on;

		pthread_mutex_lock(&digester->lock);
		goes_on = !digester->stopping;
		wanted = goes_on ? take(digester) : NULL;
		pthread_mutex_unlock(&digester->lock);
		if (!wanted)
			return goes_on;
		goes_on = look_at(digester, wanted->path, true);
		free(wanted);
		if (!goes_on)
			return false;
	}
}

static bool walk(struct digester *digester, int folder, char path[static PATH_SIZE], size_t len, int depth);

/* Returns false at the end. */
static bool walk_entry(struct digester *digester, int folder, const char *name, char path[static PATH_SIZE], size_t len,
		       int depth)
{
	size_t name_len = strlen(name);
	struct stat st;
	int fd;

	if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0 || len + name_len + 2 > PATH_SIZE)
		return true;
	if (fstatat(folder, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return true;
	memcpy(path + len, name, name_len + 1);
	if (S_ISREG(st.st_mode))
		return look_at(digester, path, false) && serve_queue(digester);
	if (!S_ISDIR(st.st_mode) || depth == DEPTH_MAX)
		return true;
	fd = openat(folder, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return true;
	memcpy(path + len + name_len, "/", 2);
	return walk(digester, fd, path, len + name_len + 1, depth + 1);
}

/* Looks at all files of <folder>, which is closed, named <path>. Returns false at the end. */
static bool walk(struct digester *digester, int folder, char path[static PATH_SIZE], size_t len, int depth)
{
	DIR *entries = fdopendir(folder);
	struct dirent *entry;
	bool goes_on = true;

	if (!entries) {
		(void)close(folder);
		return true;
	}
	while (goes_on && digester->in_memory < DIGEST_TABLE_MAX / 2 && (entry = readdir(entries)))
		goes_on = walk_entry(digester, folder, entry->d_name, path, len, depth);
	(void)closedir(entries);
	return goes_on;
}

static bool walk_all(struct digester *digester)
{
	uint64_t files = digester->files, bytes = digester->bytes;
	int64_t began = clock_ns(CLOCK_MONOTONIC);
	char path[PATH_SIZE] = "";
	int root = file_source_open_root(digester->settings.files);

	if (root >= 0 && !walk(digester, root, path, 0, 0))
		return false;
	if (digester->files != files || !digester->walked)
		log_notice("files.etag: all folders were walked: %" PRIu64 " digests of %" PRIu64
			   " bytes were computed in %.1f s",
			   digester->files - files, digester->bytes - bytes,
			   (double)(clock_ns(CLOCK_MONOTONIC) - began) / 1e9);
	digester->walked = true;
	return true;
}

static bool await_more(struct digester *digester, int64_t until)
{
	const struct timespec at = {.tv_sec = until / 1000000000, .tv_nsec = until % 1000000000};
	bool stopping;

	pthread_mutex_lock(&digester->lock);
	while (!digester->stopping && !digester->first && clock_ns(CLOCK_MONOTONIC) < until)
		(void)pthread_cond_timedwait(&digester->wake, &digester->lock, &at);
	stopping = digester->stopping;
	pthread_mutex_unlock(&digester->lock);
	return !stopping;
}

/* Best effort: failure costs others some of their time. */
static void take_last_place(void)
{
	(void)setpriority(PRIO_PROCESS, (id_t)gettid(), 19);
	(void)syscall(SYS_ioprio_set, IOPRIO_THIS_THREAD, 0, IOPRIO_IDLE);
}

static void *run(void *context)
{
	struct digester *digester = context;
	int64_t next;

	take_last_place();
	do {
		if (!walk_all(digester))
			return NULL;
		next = clock_ns(CLOCK_MONOTONIC) + WALK_AGAIN_S * (int64_t)1000000000;
		while (clock_ns(CLOCK_MONOTONIC) < next)
			if (!await_more(digester, next) || !serve_queue(digester))
				return NULL;
	} while (true);
}

/* Signals are for the main thread. Returns 0 or an error number. */
static int start_thread(struct digester *digester)
{
	sigset_t all, before;
	int error;

	(void)sigfillset(&all);
	(void)pthread_sigmask(SIG_SETMASK, &all, &before);
	error = pthread_create(&digester->thread, NULL, run, digester);
	(void)pthread_sigmask(SIG_SETMASK, &before, NULL);
	return error;
}

static void digester_free(struct digester *digester)
{
	struct wanted *wanted;

	file_source_set_digests(digester->settings.files, NULL, NULL);
	while ((wanted = take(digester)))
		free(wanted);
	if (digester->watcher >= 0)
		(void)close(digester->watcher);
	(void)pthread_cond_destroy(&digester->wake);
	(void)pthread_mutex_destroy(&digester->lock);
	digest_table_free(digester->table);
	free(digester);
}

struct digester *digester_start(const struct digester_settings *settings)
{
	struct digester *digester = calloc(1, sizeof(*digester));
	pthread_condattr_t monotonic;
	int error;

	if (!digester)
		return NULL;
	digester->table = digest_table_new();
	if (!digester->table) {
		free(digester);
		return NULL;
	}
	digester->settings = *settings;
	digester->last = &digester->first;
	(void)pthread_condattr_init(&monotonic);
	(void)pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
	(void)pthread_cond_init(&digester->wake, &monotonic);
	(void)pthread_condattr_destroy(&monotonic);
	(void)pthread_mutex_init(&digester->lock, NULL);
	digester->watcher = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
	if (digester->watcher < 0)
		complain(digester, strerror(errno));
	file_source_set_digests(settings->files, find, digester);
	error = start_thread(digester);
	if (!error)
		return digester;
	digester_free(digester);
	errno = error;
	return NULL;
}

void digester_serve(struct digester *digester, struct file_source *files)
{
	file_source_set_digests(files, find, digester);
}

void digester_stop(struct digester *digester)
{
	if (!digester)
		return;
	pthread_mutex_lock(&digester->lock);
	digester->stopping = true;
	(void)pthread_cond_signal(&digester->wake);
	pthread_mutex_unlock(&digester->lock);
	(void)pthread_join(digester->thread, NULL);
	digester_free(digester);
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What files.etag = "digest" costs: CPU time to compute digests, and CPU time to open a file with and without them, taking
 * turns.
 *
 *   digests FOLDER
 *
 * FOLDER, on the file system to be measured, must be empty; it holds 1 GB then.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "digester.h"
#include "log.h"
#include "node_metrics.h"

#define BYTES 1000000000u
#define CHUNK 1000000u
#define OPENS 200000
#define ROUNDS 3
#define UNBOUNDED ((uint64_t)1 << 40)

static double seconds(clockid_t clock)
{
	struct timespec now;

	(void)clock_gettime(clock, &now);
	return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static void fail(const char *what)
{
	perror(what);
	exit(EXIT_FAILURE);
}

static void make_file(const char *folder, const char *name, size_t bytes)
{
	static char chunk[CHUNK];
	char path[4096];
	int fd;

	(void)snprintf(path, sizeof(path), "%s/%s", folder, name);
	fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd < 0)
		fail(path);
	for (size_t done = 0, n; done < bytes; done += n) {
		arc4random_buf(chunk, sizeof(chunk));
		n = bytes - done < CHUNK ? bytes - done : CHUNK;
		if (write(fd, chunk, n) != (ssize_t)n)
			fail(path);
	}
	if (close(fd) < 0)
		fail(path);
}

/* Opens <name>, and returns whether its digest is known. */
static bool open_once(const struct file_source *files, const char *name)
{
	char etag[FILE_ETAG_MAX];
	struct file_object object;

	if (file_source_open(files, name, &object) != FILE_OK)
		fail(name);
	file_object_etag(&object, etag);
	file_object_close(&object);
	return object.has_digest;
}

static void measure_opens(const struct file_source *files, const char *with)
{
	double began = seconds(CLOCK_THREAD_CPUTIME_ID);

	for (int i = 0; i < OPENS; i++)
		(void)open_once(files, "small");
	printf("open and close, entity tag by %s: %.2f us\n", with,
	       (seconds(CLOCK_THREAD_CPUTIME_ID) - began) * 1e6 / OPENS);
}

static struct digester *start(struct file_source *files)
{
	const struct digester_settings settings = {files, UNBOUNDED};
	struct digester *digester = digester_start(&settings);

	if (!digester)
		fail("digester");
	return digester;
}

int main(int argc, char **argv)
{
	struct file_source *files = argc == 2 ? file_source_new(argv[1]) : NULL;
	struct digester *digester;
	double cpu, wall;

	if (!files)
		fail("usage: digests FOLDER");
	log_open("digests", LOG_TARGET_STDERR, LOG_LEVEL_WARNING);
	make_file(argv[1], "large", BYTES);
	make_file(argv[1], "small", 1000);
	cpu = seconds(CLOCK_PROCESS_CPUTIME_ID);
	wall = seconds(CLOCK_MONOTONIC);
	digester = start(files);
	while (!open_once(files, "large") || !open_once(files, "small"))
		(void)usleep(20000);
	printf("digest: %.2f s of CPU time, %.2f s in all, for %lld bytes\n", seconds(CLOCK_PROCESS_CPUTIME_ID) - cpu,
	       seconds(CLOCK_MONOTONIC) - wall, (long long)node_metric_value(NODE_DIGEST_BYTES));
	for (int i = 0; i < ROUNDS; i++) {
		measure_opens(files, "digest");
		digester_stop(digester);
		measure_opens(files, "time");
		/* The attribute is older than a second by now, and is read once. */
		digester = start(files);
		while (!open_once(files, "small"))
			(void)usleep(20000);
	}
	digester_stop(digester);
	file_source_free(files);
	return 0;
}

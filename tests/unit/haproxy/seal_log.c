/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "seal_log.h"

#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define KEY_AND_NONCE 41 /* "<16 hex> <24 hex>" */
#define DIGEST_AT 42
#define DIGEST_LEN 16
#define SEAL_LEN (DIGEST_AT + DIGEST_LEN)

struct seal {
	char text[SEAL_LEN + 1]; /* without the program's name */
};

static int log_fd = -1;
static size_t total;

static void give_up(const char *what)
{
	perror(what);
	exit(1);
}

void seal_log_start(char **arguments)
{
	char name[] = "/tmp/disc-seals-XXXXXX";
	const char *given = getenv("DISC_SEAL_LOG");

	if (given) {
		log_fd = open(given, O_RDWR | O_CLOEXEC);
		if (log_fd < 0 || unlink(given) < 0)
			give_up(given);
		return;
	}
	if (mkstemp(name) < 0)
		give_up(name);
	if (setenv("DISC_SEAL_LOG", name, 1) < 0)
		give_up("DISC_SEAL_LOG");
	execv("/proc/self/exe", arguments);
	give_up("/proc/self/exe");
}

static int compare(const void *a, const void *b)
{
	return memcmp(((const struct seal *)a)->text, ((const struct seal *)b)->text, SEAL_LEN);
}

/* Returns the seals of the log, to be freed by the caller, and their number. */
static struct seal *read_seals(size_t *count)
{
	struct stat log;
	FILE *file;
	struct seal *seals;
	char line[256];

	if (fstat(log_fd, &log) < 0 || lseek(log_fd, 0, SEEK_SET) < 0)
		give_up("seal log");
	seals = calloc((size_t)log.st_size / SEAL_LEN + 1, sizeof(*seals));
	file = fdopen(dup(log_fd), "r");
	if (!seals || !file)
		give_up("seal log");
	for (*count = 0; fgets(line, sizeof(line), file); (*count)++) {
		if (strlen(line) < SEAL_LEN) {
			(void)fprintf(stderr, "not a seal: %s\n", line);
			exit(1);
		}
		memcpy(seals[*count].text, line, SEAL_LEN);
	}
	if (fclose(file) != 0 || ftruncate(log_fd, 0) < 0)
		give_up("seal log");
	return seals;
}

size_t seal_log_count_reuses(void)
{
	size_t count, reuses = 0;
	struct seal *seals = read_seals(&count);

	qsort(seals, count, sizeof(*seals), compare);
	for (size_t i = 1; i < count; i++) {
		bool same_nonce = memcmp(seals[i].text, seals[i - 1].text, KEY_AND_NONCE) == 0;

		if (!same_nonce || memcmp(seals[i].text, seals[i - 1].text, SEAL_LEN) == 0)
			continue;
		reuses++;
		(void)fprintf(stderr, "used for two plaintexts: key and nonce %.*s\n", KEY_AND_NONCE, seals[i].text);
	}
	free(seals);
	total += count;
	return reuses;
}

size_t seal_log_total(void)
{
	return total;
}

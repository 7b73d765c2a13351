/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Proof recorder: writes down the proof key of every lease that HAProxy takes, so that fake_node can be a node that lies
 * with a valid proof (doc/protocol.md, section 4). Only HAProxy's recorder flavour is linked with it, for tests.
 *
 * It is linked with -Wl,--wrap=disc_wolf_random, which HAProxy calls for proof keys alone. With DISC_PROOF_LOG set, every
 * key appends one line of 32 hexadecimal digits to that file before the lease exists. Without it nothing is done. A line
 * that cannot be written ends the program.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define KEY_LEN 16

static int log_fd = -1;

static void give_up(const char *what)
{
	fprintf(stderr, "proof recorder: %s: %s\n", what, strerror(errno));
	abort();
}

/* Before main(), so that a later chroot() or change of user does not matter. */
__attribute__((constructor)) static void recorder_open(void)
{
	const char *file = getenv("DISC_PROOF_LOG");

	if (file == NULL || *file == '\0')
		return;
	log_fd = open(file, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
	if (log_fd < 0)
		give_up(file);
	/* Out of the way of programs that close or reuse the low descriptors. */
	int high = fcntl(log_fd, F_DUPFD_CLOEXEC, 200);
	if (high >= 0) {
		close(log_fd);
		log_fd = high;
	}
}

static void record_key(const uint8_t key[static KEY_LEN])
{
	static const char digits[] = "0123456789abcdef";
	char line[2 * KEY_LEN + 1];
	ssize_t done;

	for (size_t i = 0; i < KEY_LEN; i++) {
		line[2 * i] = digits[key[i] >> 4];
		line[2 * i + 1] = digits[key[i] & 15];
	}
	line[2 * KEY_LEN] = '\n';
	do
		done = write(log_fd, line, sizeof(line));
	while (done < 0 && errno == EINTR);
	if (done != (ssize_t)sizeof(line))
		give_up("write");
}

int __real_disc_wolf_random(void *ssl, uint8_t *out, size_t len);
int __wrap_disc_wolf_random(void *ssl, uint8_t *out, size_t len);

int __wrap_disc_wolf_random(void *ssl, uint8_t *out, size_t len)
{
	int ok = __real_disc_wolf_random(ssl, out, len);

	if (ok && log_fd >= 0) {
		if (len != KEY_LEN) {
			errno = EINVAL;
			give_up("length of a proof key");
		}
		record_key(out);
	}
	return ok;
}

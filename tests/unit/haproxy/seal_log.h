/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the seal recorder (tests/lab/seal_recorder.c), which this program is linked with, wrote down. */
#ifndef SEAL_LOG_H
#define SEAL_LOG_H

#include <stddef.h>

/* First thing in main(): has every seal recorded. The recorder reads its environment before main(), so the program
 * executes itself once more. Returns only when seals are being recorded; ends the program if that cannot be. */
void seal_log_start(char **arguments);

/* Returns how many seals used a (key, nonce) for another plaintext than one before did, since the last call, and
 * forgets them all. Says which on stderr. */
size_t seal_log_count_reuses(void);

/* Seals recorded by all calls so far: a test that saw none proved nothing. */
size_t seal_log_total(void);

#endif

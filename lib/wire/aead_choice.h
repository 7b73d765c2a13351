/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Which library seals: chosen once, at the start of the program, for each cipher. */
#ifndef DISC_AEAD_CHOICE_H
#define DISC_AEAD_CHOICE_H

#include <stdbool.h>

#include "aead.h"

enum aead_setting { AEAD_SETTING_AUTO, AEAD_SETTING_WOLFCRYPT, AEAD_SETTING_IPSEC_MB };

/* Reads "auto", "wolfcrypt" or "ipsec-mb". Returns false for anything else. */
bool aead_setting_parse(enum aead_setting *setting, const char *text);

/* Chooses for all threads: call it before the first key is expanded. AUTO seals some records with each library and takes
 * the faster one; wolfCrypt, if the difference is small, or if ipsec-mb is not there or gives other bytes. Takes a few
 * milliseconds. Returns NULL, or why ipsec-mb cannot be used as <setting> demands, a static text; wolfCrypt is chosen
 * then. */
const char *aead_choose(enum aead_setting setting);

/* The library that was chosen for <cipher>: wolfCrypt before aead_choose(). */
enum aead_library aead_chosen(enum aead_cipher cipher);

#define AEAD_CHOICE_TEXT_MAX 400

/* Writes to <text> which library seals with which cipher and why, for a log. Returns <text>. */
const char *aead_choice_format(char text[static AEAD_CHOICE_TEXT_MAX]);

/* Gigabytes a second that <library>, which must be available, seals with <cipher> in records of <len> bytes of plaintext,
 * at most 16384, with <trailer> as in aead_seal() and not in place: the best of several short runs. 0 if it cannot be
 * measured. */
double aead_speed(enum aead_library library, enum aead_cipher cipher, size_t len, uint8_t trailer);

#endif

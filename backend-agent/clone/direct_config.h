/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The section "direct" of disc-backend.conf: its schema, and its checks. */
#ifndef DISC_DIRECT_CONFIG_H
#define DISC_DIRECT_CONFIG_H

#include <confuse.h>

#include "direct_settings.h"

extern cfg_opt_t direct_config_options[];

/* Reads the <section> to <settings>; its texts stay the section's. Returns the number of faults, each of which was
 * written to stderr. <settings> is to be released in every case. */
int direct_config_check(struct direct_settings *settings, cfg_t *section);

/* Frees what <settings>, which may be all zero, holds. */
void direct_config_release(struct direct_settings *settings);

#endif

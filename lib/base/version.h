/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The version that both programs report, on the command line and to each other. */
#ifndef DISC_VERSION_H
#define DISC_VERSION_H

#define DISC_VERSION "0.1.0"

#endif

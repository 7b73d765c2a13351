/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef DISC_VERSION_H
#define DISC_VERSION_H

#define DISC_VERSION "0.1.0"

#endif

/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Interface sysctl: numbers below /proc/sys/net/ipv4/conf and ipv6/conf (ip-sysctl in the kernel's documentation). */
#ifndef DISC_INTERFACE_SYSCTL_H
#define DISC_INTERFACE_SYSCTL_H

#include <stdint.h>

/* Reads <setting> of <interface> ("all" too) for <family>, 4 or 6. Returns it, or -1 with errno set: ENOENT, there is
 * no such interface or setting. */
long interface_sysctl(uint8_t family, const char *interface, const char *setting);

#define INTERFACE_SYSCTL_COMMAND_MAX 128

/* Writes the command that sets it to <value>, terminated, to <text>. Returns <text>. */
const char *interface_sysctl_command(char text[static INTERFACE_SYSCTL_COMMAND_MAX], uint8_t family,
				     const char *interface, const char *setting, int value);

#endif

/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a program says to the service manager that started it: the datagrams of sd_notify(3), without libsystemd. Without
 * such a manager ($NOTIFY_SOCKET is not set) nothing is said, which is no fault. */
#ifndef DISC_SERVICE_MANAGER_H
#define DISC_SERVICE_MANAGER_H

#define SERVICE_READY "READY=1"
#define SERVICE_RELOADING "RELOADING=1" /* until the next SERVICE_READY */
#define SERVICE_STOPPING "STOPPING=1"
#define SERVICE_ALIVE "WATCHDOG=1"

/* Sends <state>: "NAME=VALUE" lines, separated by line feeds. Never blocks. Returns 0, also without a manager; or -1 with
 * errno set if it has an address that cannot be reached. */
int service_notify(const char *state);

/* Returns the seconds within which the manager wants a SERVICE_ALIVE from this process ($WATCHDOG_USEC, and $WATCHDOG_PID
 * if it is set), or 0 if it wants none. */
double service_watchdog_s(void);

#endif

/*
 * include/haproxy/fd_park.h
 * Taking a descriptor out of the pollers while another process uses it.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef _HAPROXY_FD_PARK_H
#define _HAPROXY_FD_PARK_H

void fd_park(int fd);
void fd_unpark(int fd);

#endif /* _HAPROXY_FD_PARK_H */

# SPDX-License-Identifier: GPL-2.0-or-later
# An origin for nodes that front a server: nginx over TCP ($ORIGIN_PORT) and a UNIX socket ($LAB/origin.sock), which serves
# the suite's files, and under some prefixes answers that cannot be offloaded. Never the system's service.
# shellcheck shell=bash

origin_start() {
	mkdir -p "$LAB/nginx"
	rm -f "$LAB/origin.sock"
	template "$E2E_DIR/origin.conf.in" >"$LAB/origin.conf"
	process_start origin "$(PATH=$PATH:/usr/sbin command -v nginx)" -p "$LAB/nginx" -e stderr -c "$LAB/origin.conf"
	process_ready origin port_open "$ORIGIN_PORT" "$ORIGIN_ADDRESS"
}

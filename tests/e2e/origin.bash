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

# Instead of the lab's own, with files: what stands between the nodes and the origin alternates.
node_config() {
	local fetch=${1^^}_FETCH control=${1^^}_CONTROL certificate=${1^^}_CERTIFICATE address=${1^^}_ADDRESS
	if [ "$1" = n1 ]; then
		ORIGIN_FIELD="url = \"http://$ORIGIN_ADDRESS:$ORIGIN_PORT\""
	else
		ORIGIN_FIELD="unix = \"$LAB/origin.sock\""
	fi
	NODE_ADDRESS=${!address} FETCH=${!fetch} CONTROL=${!control} CERTIFICATE=${!certificate} template "$E2E_DIR/disc-backend.conf.in" |
		sed "s|^files .*|origin { $ORIGIN_FIELD timeout = 5.0 }|"
}

# origin_lab_start [NAME=VALUE]...: as lab_start, with nodes that front the origin.
origin_lab_start() {
	lab_prepare "$@"
	origin_start
	node_start n1
	node_start n2
	spoa_start
	haproxy_start
	nodes_alive
}

# SPDX-License-Identifier: GPL-2.0-or-later
# The haproxy.cfg that operators start from, with nodes that a DNS server has.
# shellcheck shell=bash

load "$E2E_DIR/helper"
load "$E2E_DIR/dns"

setup_file() {
	if command -v knotd >/dev/null; then
		DNS_LAB_CONFIG=$ROOT/haproxy.cfg dns_lab_start nodes.lab.test 'fetch-port = @N1_FETCH@' 2
	fi
}

teardown_file() {
	[ -z "${LAB:-}" ] || lab_stop
}

# status_has NODE TEXT...: the status page's line of a node has all of these.
status_has() {
	local nodes word
	nodes=$(curl -sS "http://$LAB_ADDRESS:$ADMIN_PORT/disc/status?format=json" | grep -F "$(node_name "$1")")
	for word in "${@:2}"; do
		[[ $nodes == *"$word"* ]] || not_seen "$word" "$nodes"
	done
}

# range_comes NODE: ten bytes, once HAProxy's server of that backend has the record.
range_comes() {
	fetch "/10m?range$1" -r 0-9
	[ "$status" = 206 ]
}

@test "haproxy -c accepts it without a warning, with nodes by DNS" {
	[ -n "${LAB:-}" ] || skip "knot is not installed"
	run "$DISC_BIN_HAPROXY" -c -f "$ROOT/haproxy.cfg"
	equal "exit status" "$status" 0
	not grep -E 'WARNING|ALERT' <<<"$output"
}

@test "bodies come from the address that disc-spoa says, and the status page shows the nodes that DNS has" {
	local node name
	[ -n "${LAB:-}" ] || skip "knot is not installed"
	mode=splice
	for node in n1 n2; do
		dns_has "$node"
		name=$(node_name "$node")
		wait_until dns_node_is "$node" up
		wait_until status_has "$node" '"state": "up"' '"status": "UP"'
		fetch "/10m?$node"
		cmp "$body" "$SUITE/www/10m"
		wait_for_line "$LAB/haproxy.log" "nodes/by-address .*\"GET /10m\\?$node HTTP.* path=splice node=$name "
		# Too short to be asked about: from HAProxy's own server of this name.
		wait_until range_comes "$node"
		wait_for_line "$LAB/haproxy.log" "unasked/n[0-9]+ .*/10m\\?range$node HTTP.* path=proxy "
	done
	not status_has n1 '"status": "UP"'
}

# SPDX-License-Identifier: GPL-2.0-or-later
# Clients of HTTP/2, whose bodies come from nodes that a DNS server has, by address: when such a node dies the rest comes from another one.
# shellcheck shell=bash

load "$E2E_DIR/helper"
load "$E2E_DIR/dns"

setup_file() {
	if command -v knotd >/dev/null; then
		dns_lab_start nodes.lab.test 'fetch-port = @N1_FETCH@' 2
	fi
}

teardown_file() {
	[ -z "${LAB:-}" ] || lab_stop
}

@test "h2: the node dies, and the rest comes from the other one that DNS has" {
	local i=0
	[ -n "${LAB:-}" ] || skip "knot is not installed"
	mode=h2
	# HAProxy's first server is n1, and this is the one that dies: the rest must not be asked for there.
	wait_until servers_up 1
	dns_has n1 n2
	wait_until dns_node_is n2 up
	wait_until servers_up 2
	until
		fetch "/$((++i))?path=/100k" --http2
		equal server "$(logged server)" by-address
		[ "$(logged node)" = "$(node_name n1)" ]
	do
		at_most "paths of which none is n1's" "$i" 50
	done
	h2_client_in_background --rcvbuf 8192 "get:/$i?path=/100m" data:300000 "touch:$WORK/reading" "wait:$WORK/go" all
	wait_until test -e "$WORK/reading"
	process_stop n1 KILL
	: >"$WORK/go"
	tls_client_wait
	equal "exit status" "$client_status" 0
	streams_whole 1 100m
	grep -aE 'broke off after [1-9][0-9]* of 104857600 bytes: .* Another server is asked for the rest' "$LAB/haproxy.log"
	node_start n1
}

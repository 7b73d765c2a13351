# SPDX-License-Identifier: GPL-2.0-or-later
# Nodes and agent die and come back while many clients transfer: whatever arrives is true, however far it came, everything
# works afterwards, and no nonce was used twice.
# flavours: asan recorder
# keys response: splice
# shellcheck shell=bash

load "$E2E_DIR/helper"

setup_file() {
	lab_start threads=2 workers=2
}

teardown_file() {
	lab_stop
}

# transfers VERSION: 60 of them, 8 at a time, in the background; $transfers_pid.
transfers() {
	local targets=() i
	new_id
	many=$WORK/many.$id
	mkdir -p "$many"
	for ((i = 1; i <= 60; i++)); do
		targets+=(-o "$many/$i" "$(url "/10m?n=$i")")
	done
	curl_site --parallel --parallel-max 8 --limit-rate 40M -w '%{http_code}\n' -H "X-Id: $id" $1 "${targets[@]}" \
		>"$many/results" 2>/dev/null 3>&- &
	transfers_pid=$!
}

# what_came_is_true: each file is 10m, or a beginning of it; error pages are no bodies of 10m and come with another status.
what_came_is_true() {
	local file size whole=0
	for file in "$many"/[0-9]*; do
		size=$(stat -c %s "$file")
		if head -c 400 "$file" | grep -aq '<html>'; then
			continue
		fi
		cmp -n "$size" "$file" "$SUITE/www/10m" || { not_seen "$file is a beginning of 10m" "other bytes"; return 1; }
		[ "$size" -lt 10485760 ] || whole=$((whole + 1))
		at_most "size" "$size" 10485760
	done
	# Otherwise nothing was tried at all.
	at_least "whole bodies" "$whole" 5
}

# Kills the process of that name in the middle of something, and starts it again.
kill_and_restart() {
	local lines
	lines=$(wc -l <"$LAB/haproxy.log")
	process_stop "$1" KILL
	"$2" ${3:-}
	# Something happened since, so that the next death falls into other transfers.
	wait_until eval '[ "$(wc -l <"$LAB/haproxy.log")" -gt '"$lines"' ] || ! kill -0 '"$transfers_pid"
}

chaos() {
	local round
	transfers "$1"
	# long: nodes and agent die three times each under load (once)
	for round in $(seq "$(long 1 3)"); do
		kill_and_restart n1 node_start n1
		kill_and_restart disc-spoa spoa_start
		kill_and_restart n2 node_start n2
	done
	wait "$transfers_pid" || :
	what_came_is_true
	nodes_alive
	# Bodies whose node died were completed by the load balancer.
	[ "$mode" != direct ] || egress_mark
	wait_until served_as_mode
}

# A request may still meet a connection that was kept to a dead process.
served_as_mode() {
	site_serves && path_is_as_mode
}

@test_each_mode "nodes and agent die by turns under load, TLS 1.3" {
	chaos --tlsv1.3
}

@test_each_mode "nodes and agent die by turns under load, TLS 1.2" {
	chaos "--tlsv1.2 --tls-max 1.2"
}

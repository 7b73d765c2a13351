# SPDX-License-Identifier: GPL-2.0-or-later
# The nodes of a pool are those that a DNS server has for a name: they come and go while bodies are under way, and nothing is lost.
# shellcheck shell=bash

load "$E2E_DIR/helper"
load "$E2E_DIR/dns"

setup_file() {
	command -v knotd >/dev/null || return 0
	if [ -n "${lab_network:-}" ]; then
		dns_lab_start nodes.lab.test 'fetch-port = @N1_FETCH@' 2
	else
		dns_lab_start nodes.lab.test 'fetch-port = @N1_FETCH@' 3
	fi
}

teardown_file() {
	[ -z "${LAB:-}" ] || lab_stop
}

# dns_wanted: skips the test where there is no DNS server.
dns_wanted() {
	[ -n "${LAB:-}" ] || skip "knot is not installed"
}

@test_each_path "a node that leaves is drained, one that joins is used" {
	dns_wanted
	dns_has n1
	fetch /100k
	path_is "$mode"
	equal node "$(logged node)" "$(node_name n1)"
	tls_client_in_background get:/100m send final body:100000 "touch:$WORK/reads" "wait:$WORK/go" rest
	wait_until test -e "$WORK/reads"
	dns_has n2
	wait_until dns_node_is n2 up
	local long=$id
	for i in 1 2 3; do
		fetch "/100k?$i"
		cmp "$body" "$SUITE/www/100k"
		path_is "$mode"
		equal node "$(logged node)" "$(node_name n2)"
	done
	dns_node_is n1 up
	equal "channels of n1" "$(metric "disc_spoa_node_up{node=\"$(node_name n1)\"}")" "$SPOA_WORKERS"
	: >"$WORK/go"
	tls_client_wait
	equal "exit status" "$client_status" 0
	client_said "^body 104857600 $(sum_of 100m)$"
	path_is "$mode" "$long"
	equal node "$(logged node "$long")" "$(node_name n1)"
	wait_for_line "$LAB/disc-spoa.log" "node $(node_name n1) left the configuration, and has nothing under way: its channel is closed"
	dns_has n1 n2
	wait_until dns_node_is n1 up
}

# lookups_failed COUNT: lookups that failed since the agent began.
lookups_failed() {
	[ "$(metric disc_spoa_dns_failures_total)" -gt "$1" ]
}

@test_each_path "without an answer, or with one without records, nodes stay" {
	local failed lookups
	dns_wanted
	dns_has n1 n2
	failed=$(metric disc_spoa_dns_failures_total)
	process_signal knot STOP
	wait_until lookups_failed "$failed"
	equal "stale names" "$(metric disc_spoa_dns_stale)" 1
	wait_for_line "$LAB/disc-spoa.log" "^<4>pool files: nodes.lab.test cannot be resolved: .*; its 2 nodes stay"
	fetch /100k
	path_is "$mode"
	process_signal knot CONT
	wait_for_line "$LAB/disc-spoa.log" "^<5>pool files: nodes.lab.test is resolved again"
	lookups=$(metric disc_spoa_dns_lookups_total)
	dns_set ""
	wait_until looked_up "$((lookups + 2))"
	equal "stale names" "$(metric disc_spoa_dns_stale)" 0
	fetch "/100k?empty"
	path_is "$mode"
	dns_set "$(dns_records n1 n2)"
}

looked_up() {
	[ "$(metric disc_spoa_dns_lookups_total)" -ge "$1" ]
}

@test "an answer whose address HAProxy does not have is served as if DiSC were not there" {
	dns_wanted
	mode=splice
	dns_has n1 n2
	# HAProxy has its own servers of the same name, and finds the same node by its address.
	wait_until servers_up 2
	for i in 1 2 3 4 5 6; do
		fetch "/100k?address=none&$i"
		equal status "$status" 200
		cmp "$body" "$SUITE/www/100k"
		equal action "$(logged action)" offload
		[[ $(logged server) == n* ]] || not_seen "a server of HAProxy's own" "$(logged server)"
		path_is splice
	done
}

@test "a node that DNS has and that does not answer costs no request" {
	dns_wanted
	mode=splice
	dns_has n1
	# Nobody listens there.
	dns_set "$(dns_records n1)
nodes 1 A 127.0.0.9"
	wait_for_line "$LAB/disc-spoa.log" "node 127.0.0.9:$N1_FETCH .* cannot be reached"
	for i in 1 2 3 4; do
		fetch "/100k?$i"
		cmp "$body" "$SUITE/www/100k"
		path_is splice
		equal node "$(logged node)" "$(node_name n1)"
	done
	dns_has n1 n2
}

@test "operators see names: -t, /explain and metrics" {
	dns_wanted
	dns_has n1 n2
	"$DISC_BIN_SPOA" -t -c "$LAB/disc-spoa.conf" | tail -n 1 >"$WORK/summary"
	grep -q '0 nodes in 1 pools, and up to 20 that DNS has for nodes.lab.test;' "$WORK/summary" || not_seen "the name" "$(<"$WORK/summary")"
	"$DISC_BIN_SPOA" -c "$LAB/disc-spoa.conf" -e 'GET https://splice.lab.test/x' >"$WORK/explained"
	grep -q 'pool "files": its nodes are those that DNS has for "nodes.lab.test", at most 20' "$WORK/explained"
	curl -sS -G --data-urlencode 'request=GET https://splice.lab.test/x' "http://$LAB_ADDRESS:$SPOA_ADMIN/explain" >"$WORK/explained"
	grep -q 'its nodes are those that DNS has for "nodes.lab.test", at most 20; now 2' "$WORK/explained" ||
		not_seen "the name" "$(<"$WORK/explained")"
	grep -q "HAProxy connects to this address" "$WORK/explained"
}

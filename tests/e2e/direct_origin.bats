# SPDX-License-Identifier: GPL-2.0-or-later
# Bodies of an HTTP origin on the direct path. An origin may give other bytes the same entity tag, so that only the node that has
# the answer can continue it: where a file's body is continued, this one ends visibly, or stays where it is.
# shellcheck shell=bash

load "$E2E_DIR/helper"
# shellcheck source-path=SCRIPTDIR
source "$E2E_DIR/origin.bash"
# shellcheck source-path=SCRIPTDIR
source "$E2E_DIR/handed_off.bash"

setup_file() {
	lab_network=1
	origin_lab_start
}

@test "a node that is killed, an origin with one tag for all, a path rewritten behind the agent's back: a broken transfer" {
	local version lost
	lost=$(metric 'disc_spoa_handoffs_lost_total{cause="node"}')
	for version in "" --tls12; do
		node_start_if_ended
		# The agent knows it as /same-tag/100m; a replica would get other bytes there under the tag that it asks for.
		reads_slowly "/same-tag/100m?path=/same-tag/twin-100m" $version
		process_signal "$node" KILL
		process_wait "$node"
		touch "$WORK/go"
		tls_client_wait
		seals_checked
		equal "exit status" "$client_status" 4
		client_said "^cut "
	done
	equal "connections lost by the node" $(($(metric 'disc_spoa_handoffs_lost_total{cause="node"}') - lost)) 2
	wait_for_line "$LAB/disc-spoa.log" 'is lost by the node .*never sealed a second time'
}

@test "a node that drains keeps the body and finishes it" {
	reads_slowly /100m
	process_signal "$node" TERM
	wait_until says "node $node drains"
	touch "$WORK/go"
	tls_client_wait
	equal "exit status" "$client_status" 0
	client_said "^body 104857600 $(sum_of 100m)$"
	wait_until process_ended "$node"
	process_wait "$node"
}

@test "disc direct off: the body stays at its node, new ones are spliced" {
	reads_slowly /100m
	haproxy_cli 'disc direct off'
	fetch /100k
	body_is 100k
	path_is splice
	touch "$WORK/go"
	tls_client_wait
	haproxy_cli 'disc direct on'
	equal "exit status" "$client_status" 0
	client_said "^body 104857600 $(sum_of 100m)$"
	client_said "^body 102400 $(sum_of 100k)$"
}

@test "nodes that cannot restore connections: the transfer breaks visibly, then bodies are spliced" {
	local i
	log_mark=$(($(wc -l <"$LAB/disc-spoa.log") + 1))
	vip del
	for i in 1 2 3; do
		tls_client get:/10m send response
		client_said "^cut "
	done
	vip add
	wait_until says 'handoffs failed in a row, its bodies take the splice path for'
	tls_client get:/10m send response
	client_said "^body 10485760 $(sum_of 10m)$"
	path_is splice
	process_stop disc-spoa
	spoa_start
	nodes_alive
}

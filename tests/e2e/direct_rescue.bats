# SPDX-License-Identifier: GPL-2.0-or-later
# A connection whose node or agent goes away while it is handed off: the client gets every byte on the same connection, or sees a broken
# transfer, never a wrong byte. What the LB sends then is the rest of the body, so nothing is asserted of its egress here.
# flavours: asan recorder
# shellcheck shell=bash

load "$E2E_DIR/helper"
# shellcheck source-path=SCRIPTDIR
source "$E2E_DIR/handed_off.bash"

setup_file() {
	lab_network=1
	lab_start workers=2
	# Time stamps without a random start: only with a small one does a restored connection predict headers from its beginning on, see
	# first_window() of lib/net/tcp_freeze.c.
	on client sysctl -qw net.ipv4.tcp_timestamps=2
}

nothing_steered() {
	equal "metric disc_spoa_steering_flows" "$(metric disc_spoa_steering_flows)" 0
}

# nothing_muted: since reads_slowly, no packet of this host's own stack was dropped. The kernel would take that for congestion, and halve
# what the connection may send before it sends anything.
nothing_muted() {
	equal "packets of this host's own stack that were dropped" "$(metric disc_spoa_steering_muted_total)" "$muted_mark"
}

got_all() {
	touch "$WORK/go"
	tls_client_wait
	equal "exit status" "$client_status" 0
	client_said "^body 104857600 $(sum_of 100m)$"
	client_said "^body 102400 $(sum_of 100k)$"
}

@test "a node that is killed: a replica's bytes go on, and so does keep-alive" {
	local version
	for version in "" --tls12; do
		capture_start
		reads_slowly /100m $version
		node_is_killed
		wait_until nothing_steered
		nothing_muted
		got_all
		# The kernel of its host sends what the clone had queued.
		capture_sound --stale-host --bytes 104857600
		node_start "$node"
		nodes_alive
	done
}

# The agent takes the connection over.
node_is_killed() {
	local before
	before=$(metric 'disc_spoa_completed_total{cause="takeover"}')
	process_signal "$node" KILL
	process_wait "$node"
	wait_until has_taken_over $((before + 1))
}

has_taken_over() {
	equal "metric disc_spoa_completed_totalcause=takeover" "$(metric 'disc_spoa_completed_total{cause="takeover"}')" "$1"
}

@test "a node that is killed, a path rewritten behind the agent's back: the body of that path goes on" {
	reads_slowly "/100k?path=/100m"
	node_is_killed
	got_all
}

@test "a node that is killed, over IPv6" {
	local address=$LAB_ADDRESS6
	capture_start
	reads_slowly /100m
	node_is_killed
	got_all
	capture_sound --stale-host --bytes 104857600
}

@test "a node that is killed after it has read a request of the client's: that is served too" {
	local version before
	for version in "" --tls12; do
		rm -f "$WORK"/*
		node_start_if_ended
		before=$(nodes_have_read)
		tls_client_in_background $version get:/100m send final body:300000 get:/16385 send "touch:$WORK/reading" "wait:$WORK/go" rest \
			response get:/100k send response
		wait_until test -e "$WORK/reading"
		node=$(sed -nE 's/.* offload to node (n[12]), .*/\1/p' "$LAB/disc-spoa.log" | tail -n 1)
		wait_until a_node_has_read "$before"
		node_is_killed
		got_all
		client_said "^body 16385 $(sum_of 16385)$"
	done
}

# nodes_have_read: bytes of clients, so far.
nodes_have_read() {
	echo $(($(node_metric n1 disc_backend_direct_client_bytes_total) + $(node_metric n2 disc_backend_direct_client_bytes_total)))
}

a_node_has_read() {
	at_least "nodes_have_read" "$(nodes_have_read)" $(($1 + 1))
}

@test "a node that is killed while the client reads at full speed" {
	local before
	new_id
	curl_site --limit-rate 20M -H "X-Id: $id" -o "$WORK/out" "$(url /100m)" &
	before=$!
	wait_until test -s "$WORK/out"
	node=$(sed -nE 's/.* offload to node (n[12]), .*/\1/p' "$LAB/disc-spoa.log" | tail -n 1)
	process_signal "$node" KILL
	process_wait "$node"
	wait "$before"
	cmp "$WORK/out" "$SUITE/www/100m"
}

@test "a node that drains gives the connection back in the middle" {
	reads_slowly /100m
	process_signal "$node" TERM
	touch "$WORK/go"
	tls_client_wait
	equal "exit status" "$client_status" 0
	client_said "^body 104857600 $(sum_of 100m)$"
	wait_until process_ended "$node"
	process_wait "$node"
}

recalled_since() {
	at_least "metric disc_spoa_handoffs_recalled_total" "$(metric disc_spoa_handoffs_recalled_total)" $(($1 + 1))
}

@test "disc direct off: what is handed off comes back, new bodies are spliced; disc direct on: direct again" {
	local version before
	for version in "" --tls12; do
		capture_start
		reads_slowly /100m $version
		before=$(metric disc_spoa_handoffs_recalled_total)
		haproxy_cli 'disc direct off'
		wait_until recalled_since "$before"
		haproxy_cli 'show disc' | grep '^handoff: .*, switched off$'
		got_all
		nothing_muted
		path_is direct "$id .*/100m"
		path_is splice "$id .*/100k"
		equal end "$(logged end "$id .*/100m")" ----
		haproxy_cli 'disc direct on'
		fetch /100k
		body_is 100k
		path_is direct
		capture_sound --bytes $((104857600 + 2 * 102400))
	done
	wait_until nothing_parked
}

@test "a node without weight is no replica: what comes back is completed by the node that has the weight" {
	process_stop disc-spoa
	sed -i '/^node "n2"/,/^}/s/weight = 100/weight = 0/' "$LAB/disc-spoa.conf"
	echo $(($(wc -l <"$LAB/disc-spoa.log") + 1)) >"$LAB/spoa-log-start"
	process_start disc-spoa "$DISC_BIN_SPOA" -c "$LAB/disc-spoa.conf"
	process_ready disc-spoa port_open "$SPOP_PORT"
	nodes_alive
	reads_slowly /100m
	equal node "$node" n1
	haproxy_cli 'disc direct off'
	got_all
	path_is direct "$id .*/100m"
	equal end "$(logged end "$id .*/100m")" ----
	haproxy_cli 'disc direct on'
	process_stop disc-spoa
	spoa_start
	nodes_alive
}

@test "no replica: the client sees a broken transfer" {
	local other
	reads_slowly /100m
	other=n1
	[ "$node" = n2 ] || other=n2
	process_stop "$other"
	process_signal "$node" KILL
	process_wait "$node"
	wait_until says 'is lost by the node'
	touch "$WORK/go"
	tls_client_wait
	equal "exit status" "$client_status" 4
	client_said "^cut "
}

@test "an agent that drains completes what it has, however long its 5 seconds for results are over" {
	new_id
	curl_site --limit-rate 12M -H "X-Id: $id" -o "$WORK/out" "$(url /100m)" &
	client=$!
	wait_until test -s "$WORK/out"
	process_stop disc-spoa TERM
	wait "$client"
	cmp "$WORK/out" "$SUITE/www/100m"
	spoa_start
	nodes_alive
}

@test "a client that goes away while its connection is handed off is forgotten" {
	log_mark=$(($(wc -l <"$LAB/disc-spoa.log") + 1))
	tls_client get:/100m send final body:300000 abort
	wait_until all_threads_reach_agent
	wait_until says 'handoff .*: \(abandoned\|lost\) with'
}

@test "an agent that is killed: its successor resets the clients, and the direct path works again" {
	reads_slowly /100m
	process_signal disc-spoa KILL
	process_wait disc-spoa
	log_mark=$(($(wc -l <"$LAB/disc-spoa.log") + 1))
	spoa_start
	nodes_alive
	says '^<4>1 connections of clients were left over by an earlier process'
	touch "$WORK/go"
	tls_client_wait
	equal "exit status" "$client_status" 4
	client_said "^cut .* reset"
	tls_client get:/100k send response get:/10m send response
	equal "exit status" "$client_status" 0
	path_is direct "$id .*GET /10m"
}

# Its only connection with a client is as one that has lost nothing: what was lost only to all appearance, the kernel takes back.
like_a_new_one() {
	seen=$(on lb ss -Htino state established "( sport = $SITE_PORT )")
	[[ $seen == *" cwnd:"* && $seen != *" ssthresh:"* ]]
}

@test "a connection that no node can restore goes on here like a new one" {
	local seen before
	before=$(metric 'disc_spoa_completed_total{cause="refused"}')
	vip del
	reads_slowly /100m
	wait_until nothing_steered
	equal "bodies completed here" "$(metric 'disc_spoa_completed_total{cause="refused"}')" $((before + 1))
	wait_until like_a_new_one || { like_a_new_one || echo "$seen"; return 1; }
	vip add
	got_all
}

@test "nodes that cannot restore connections: bodies are completed from here, then spliced, then direct again" {
	local i
	log_mark=$(($(wc -l <"$LAB/disc-spoa.log") + 1))
	vip del
	for i in 1 2 3; do
		tls_client get:/10m send response get:/100k send response
		equal "exit status" "$client_status" 0
		client_said "^body 10485760 $(sum_of 10m)$"
		client_said "^body 102400 $(sum_of 100k)$"
	done
	vip add
	says "the VIP $LAB_ADDRESS is not on this node"
	says 'handoffs failed in a row, its bodies take the splice path for'
	tls_client get:/10m send response
	path_is splice
	process_stop disc-spoa
	spoa_start
	nodes_alive
	tls_client get:/10m send response
	path_is direct
}

# SPDX-License-Identifier: GPL-2.0-or-later
# What may break around the direct path: links, processes, and hosts that are not set up for it. The client gets every byte, or a
# broken transfer that it can tell; what is wrong is said in a log; a route that fails goes by splice for a while.
# See direct_rescue.bats for nodes and agents that die.
# shellcheck shell=bash

load "$E2E_DIR/helper"

lab_network=1

setup_file() {
	lab_start workers=2 direct_min=65536 direct="max-failures = 3 retry-after = 3.0 handoff-timeout = 1.0" node_direct="client-timeout = 3.0"
}

teardown_file() {
	lab_stop
}

setup() {
	local name
	mode=direct
	WORK=$BATS_TEST_TMPDIR
	unblock
	for name in n1 n2; do
		process_running $name || node_start $name
	done
	if [ -e "$LAB/wrong.conf" ]; then
		rm "$LAB/wrong.conf"
		process_stop disc-spoa
	fi
	process_running disc-spoa || spoa_start
	nodes_alive
	wait_until goes_direct
	log_mark=$(($(wc -l <"$LAB/disc-spoa.log") + 1))
	egress_mark
}

# What a test that failed in the middle left in the nodes' way.
unblock() {
	local name
	for name in n1 n2; do
		on $name nft flush ruleset
		on $name ip route replace default via 192.0.2.1
		ip -n "$LAB_NETWORK-$name" link set eth0 mtu 1500
	done
}

# On whichever node the targets go to.
goes_direct() {
	local i
	for i in 1 2 3 4; do
		fetch "/100k?settled$i"
		[[ $(logged path) == direct ]] || return 1
	done
}

# agent_has SED-SCRIPT: disc-spoa starts again with its configuration changed so; the next test's setup puts it back.
agent_has() {
	sed "$1" "$LAB/disc-spoa.conf" >"$LAB/wrong.conf"
	! process_running disc-spoa || process_stop disc-spoa
	echo $(($(wc -l <"$LAB/disc-spoa.log") + 1)) >"$LAB/spoa-log-start"
	process_start disc-spoa "$DISC_BIN_SPOA" -c "$LAB/wrong.conf"
	process_ready disc-spoa port_open "$SPOP_PORT"
}

says() {
	tail -n "+$log_mark" "$LAB/disc-spoa.log" | grep -qE -- "$1"
}

# reads_slowly: a client in the middle of 100 MB, its connection at $node.
reads_slowly() {
	rm -f "$WORK"/reading "$WORK"/go
	tls_client_in_background "$@" get:/100m send final body:300000 "touch:$WORK/reading" "wait:$WORK/go" rest get:/100k send response
	wait_until test -e "$WORK/reading"
	node=$(sed -nE 's/.* offload to node (n[12]), .*/\1/p' "$LAB/disc-spoa.log" | tail -n 1)
}

got_all() {
	touch "$WORK/go"
	tls_client_wait
	equal "exit status" "$client_status" 0
	client_said "^body 104857600 $(sum_of 100m)$"
	client_said "^body 102400 $(sum_of 100k)$"
}

# fetched TARGET FILE: intact.
fetched() {
	fetch "$1"
	equal status "$status" 200
	body_is "$2"
}

# has_no_clone NODE: asked on its own host.
has_no_clone() {
	local address=${1^^}_ADDRESS
	on "$1" timeout 10 curl -sS "http://${!address}:$NODE_ADMIN/metrics" | grep -qx 'disc_backend_direct_clones 0'
}

@test "a node that is stopped and goes on later disturbs nobody" {
	capture_start
	reads_slowly
	process_freeze "$node"
	wait_until agent_says "$node" down
	touch "$WORK/go"
	tls_client_wait
	process_signal "$node" CONT
	equal "exit status" "$client_status" 0
	client_said "^body 104857600 $(sum_of 100m)$"
	nodes_alive
	wait_until nothing_parked
	fetched "/100k?afterwards" 100k
	# Its kernel went on with what it had: the same bytes.
	capture_sound --stale-host --bytes 104857600
}

@test "a node's link is cut in the middle of a body: a replica's bytes go on" {
	capture_start
	reads_slowly
	ip -n "$LAB_NETWORK-router" link set "$node" down
	wait_until agent_says "$node" down
	got_all
	says "node $node: a client's connection is taken over"
	ip -n "$LAB_NETWORK-router" link set "$node" up
	nodes_alive
	wait_until nothing_parked
	fetched "/100k?afterwards" 100k
	# What the node had queued when its link came back were the same bytes.
	capture_sound --stale-host --bytes 104857600
}

@test "the agent is killed in the middle of a body, and started again" {
	local version
	for version in "" --tls12; do
		reads_slowly $version
		process_stop disc-spoa KILL
		spoa_start
		nodes_alive
		touch "$WORK/go"
		tls_client_wait
		equal "exit status" "$client_status" 4
		cut_or_complete 100m
		client_did_not_say 'nothing came'
		says '[1-9][0-9]* connections of clients were left over by an earlier process'
		wait_until nothing_parked
		wait_until goes_direct
	done
}

# has_steering: disc-spoa's programs are on the load balancer's interface.
has_steering() {
	on lb tc filter show dev eth0 ingress | grep -q disc_steer_in
}

@test "the agent is killed, and the next one cannot open its direct path: nothing of the first is left in the kernel" {
	reads_slowly
	process_stop disc-spoa KILL
	has_steering
	agent_has 's/interface = {"eth0"}/interface = {"nowhere0"}/'
	wait_until agent_says n1 up
	wait_until agent_says n2 up
	says 'nowhere0'
	not has_steering
	fetched /100k 100k
	path_is splice
	touch "$WORK/go"
	tls_client_wait
	equal "exit status" "$client_status" 4
	cut_or_complete 100m
}

@test "without agent the site serves, by itself" {
	process_stop disc-spoa KILL
	fetched /100k 100k
	path_is proxy
	spoa_start
	nodes_alive
	wait_until goes_direct
}

@test "HAProxy is reloaded in the middle of a body" {
	capture_start
	reads_slowly
	haproxy_reload
	fetched "/100k?of-the-new-one" 100k
	touch "$WORK/go"
	tls_client_wait
	client_said "^body 104857600 $(sum_of 100m)$"
	process_wait haproxy-old
	wait_until nothing_parked
	capture_sound --bytes 104857600
}

@test "HAProxy is killed in the middle of a body: the client learns of it, the node forgets it" {
	reads_slowly
	process_stop haproxy KILL
	wait_until metrics_are_zero
	touch "$WORK/go"
	tls_client_wait
	equal "exit status" "$client_status" 4
	cut_or_complete 100m
	haproxy_start
	nodes_alive
}

metrics_are_zero() {
	[ "$(metric disc_spoa_handoffs)" = 0 ] && [ "$(metric disc_spoa_steering_flows)" = 0 ] &&
		equal "node_metric node disc_backend_direct_clones" "$(node_metric "$node" disc_backend_direct_clones)" 0
}

@test "a node that drains gives its connections back, and ends" {
	capture_start
	reads_slowly
	process_signal "$node" TERM
	wait_until says 'handoff .*|drain'
	got_all
	process_wait "$node"
	equal "exit status of $node" "$ended_with" 0
	capture_sound --bytes 104857600
}

@test "a node that drains and has no replica finishes what it has, and ends" {
	mode=only-n1
	capture_start
	reads_slowly
	equal node "$node" n1
	process_signal n1 TERM
	wait_until says 'node n1 .*drain'
	touch "$WORK/go"
	tls_client_wait
	client_said "^body 104857600 $(sum_of 100m)$"
	process_wait n1
	equal "exit status of n1" "$ended_with" 0
	path_is direct "$id .*GET /100m"
	no_body_left_lb
	capture_sound --bytes 104857600
}

# --- hosts that are not set up for it ---

# vip add|del NODE
vip() {
	ip -n "$LAB_NETWORK-$2" address "$1" "$LAB_ADDRESS/32" dev lo
}

@test "the VIP is missing on the nodes: the bodies arrive, the route goes by splice, then direct again" {
	local i
	vip del n1
	vip del n2
	for i in 1 2 3 4 5 6; do
		fetched "/100k?$i" 100k
	done
	path_is splice
	says "node n[12]: a handoff failed: the VIP $LAB_ADDRESS is not on this node"
	says 'route direct: 3 handoffs failed in a row, its bodies take the splice path for 3 s'
	equal "open breakers" "$(metric disc_spoa_breakers_open)" 1
	vip add n1
	vip add n2
	wait_until goes_direct
	says 'route direct: the direct path works again'
	equal "open breakers" "$(metric disc_spoa_breakers_open)" 0
}

@test "a node without VIP at its start says so and is never asked" {
	process_stop n1
	process_stop n2
	vip del n1
	vip del n2
	node_start n1
	node_start n2
	nodes_alive
	grep -q "ip address add $LAB_ADDRESS/32 dev lo" "$LAB/n1.log"
	fetched "/100k?without" 100k
	path_is splice
	vip add n1
	vip add n2
	process_stop n1
	process_stop n2
}

@test "wrong ARP settings are named at the node's start" {
	process_stop n1
	on n1 sysctl -qw net.ipv4.conf.all.arp_ignore=0
	node_start n1
	grep -q 'arp_ignore' "$LAB/n1.log"
	on n1 sysctl -qw net.ipv4.conf.all.arp_ignore=1
	process_stop n1
}

@test "a node that does not answer ARP gets no connections" {
	# Nothing that the agent's channel needs: only the address that packets of clients would be sent to.
	agent_has 's/direct = {"192.0.2.11", [^}]*}/direct = {"192.0.2.77"}/; s/direct = {"192.0.2.12", [^}]*}/direct = {"192.0.2.78"}/'
	nodes_alive
	local i
	for i in 1 2 3 4 5 6; do
		fetched "/100k?$i" 100k
	done
	path_is splice
	says "node n[12] \(192\.0\.2\.7[78]\) gets no connections|a handoff failed: nothing that it sends is acknowledged"
}

# block: what nodes send to clients is lost.
block() {
	local name
	for name in n1 n2; do
		on $name nft "add table inet blocked; add chain inet blocked out { type filter hook output priority 0; };
			add rule inet blocked out ip saddr $LAB_ADDRESS drop"
	done
}

@test "a blocked way from the nodes to clients: the load balancer sends the bodies, the route goes by splice" {
	local i
	block
	handoffs_mark
	for i in 1 2 3; do
		tls_client "get:/100k?$i" send response
		equal "exit status" "$client_status" 0
		client_said "^body 102400 $(sum_of 100k)$"
	done
	says 'node n[12]: a handoff failed: nothing that it sends is acknowledged by the client'
	equal "handoffs that failed" $(($(metric disc_spoa_clones_failed_total) - failed_mark)) 3
	# For 3 s, of which the third client may have taken some to get the rest from here.
	says 'route direct: 3 handoffs failed in a row, its bodies take the splice path for 3 s'
	unblock
}

has_handed_off() {
	at_least "metric disc_spoa_clones_total" "$(metric disc_spoa_clones_total)" $((handed_mark + 1))
}

@test "a blocked way, and a node that waits for the client for less time than the agent for the node" {
	local name
	agent_has 's/handoff-timeout = 1\.0/handoff-timeout = 6.0/' # it waits for 12 s, the nodes for 1 s
	for name in n1 n2; do
		process_stop $name
		NODE_DIRECT=${NODE_DIRECT/client-timeout = 3.0/client-timeout = 1.0} node_start $name
	done
	nodes_alive
	wait_until goes_direct
	block
	handoffs_mark
	tls_client_in_background get:/100k send "wait:$WORK/go" get:/16385 send response response
	wait_until has_handed_off
	touch "$WORK/go"
	tls_client_wait
	equal "exit status" "$client_status" 0
	client_said "^body 102400 $(sum_of 100k)$"
	client_said "^body 16385 $(sum_of 16385)$"
	says 'a handoff failed: nothing that it sends is acknowledged by the client'
	says 'taken over: the client acknowledged nothing for direct.client-timeout'
	unblock
	process_stop n1
	process_stop n2
}

@test "a client that resets before it has acknowledged anything is gone, and nobody's failure" {
	agent_has 's/handoff-timeout = 1\.0/handoff-timeout = 6.0/'
	nodes_alive
	wait_until goes_direct
	block
	handoffs_mark
	tls_client_in_background get:/100k send "wait:$WORK/go" abort
	wait_until has_handed_off
	touch "$WORK/go"
	tls_client_wait
	wait_until says 'is lost by the client while away: Connection reset by peer'
	wait_until nothing_parked
	went_away 1
	unblock
}

@test "nodes without a route to the client: no connection is asked for, the bodies are spliced" {
	local name before
	before=$(($(node_metric n1 disc_backend_direct_unreachable_total) + $(node_metric n2 disc_backend_direct_unreachable_total)))
	handoffs_mark
	for name in n1 n2; do
		on $name ip route del default
	done
	routes_forgotten
	fetched "/100k?unreachable" 100k
	path_is splice
	equal "bodies that nodes found unreachable" \
		$(($(node_metric n1 disc_backend_direct_unreachable_total) + $(node_metric n2 disc_backend_direct_unreachable_total))) $((before + 1))
	cat "$LAB"/n[12].log | grep -q '^<4>direct: no route to the client .*: Network is unreachable: its bodies take the splice path'
	unblock
	went_away 0
	fetched "/100k?reachable" 100k
	path_is direct
}

@test "a node behind a smaller MTU transmits all the same" {
	ip -n "$LAB_NETWORK-n1" link set eth0 mtu 1400
	ip -n "$LAB_NETWORK-n2" link set eth0 mtu 1400
	fetched "/10m?small" 10m
	path_is direct
	unblock
}

# SPDX-License-Identifier: GPL-2.0-or-later
# A distant client, 80 ms away, with reno: what the load balancer sends after a takeover does not crawl because bytes that the node never
# sent count as lost. What is looked at is the kernel's state of the connection, no time.
# shellcheck shell=bash

load "$E2E_DIR/helper"

lab_network=1

setup_file() {
	lab_start wire="--delay 40 --queue 10000"
}

teardown_file() {
	lab_stop
}

setup() {
	mode=direct
	WORK=$BATS_TEST_TMPDIR
}

# watch_connections PID: what the load balancer's kernel knows of its connections with clients, again and again until PID has ended.
watch_connections() {
	while kill -0 "$1" 2>/dev/null; do
		on lb ss -Htino state established "( sport = $SITE_PORT )" | grep 'cwnd:' || :
		sleep 0.05
	done
}

@test "a node is killed, and nothing of what it last sent has arrived" {
	local client
	modprobe -q tcp_bbr 2>/dev/null || :
	[[ $(sysctl -n net.ipv4.tcp_available_congestion_control) == *bbr* ]] || skip "this kernel has no BBR"
	new_id
	curl_site -H "X-Id: $id" -o "$WORK/out" "$(url /10m)" 3>&- &
	client=$!
	wait_until test -s "$WORK/out"
	node=$(sed -nE 's/.* offload to node (n[12]), .*/\1/p' "$LAB/disc-spoa.log" | tail -n 1)
	on "$node" nft -f - <<<"table inet cut { chain output { type filter hook output priority 0; ip saddr $LAB_ADDRESS drop; }; }"
	process_signal "$node" KILL
	process_wait "$node"
	watch_connections "$client" >"$WORK/seen"
	wait "$client"
	cmp "$WORK/out" "$SUITE/www/10m"
	equal "takeovers" "$(metric 'disc_spoa_completed_total{cause="takeover"}')" 1
	# Something was sent again, and did not end slow start: halved from the 10 segments that it begins with, ssthresh would have one
	# digit. BBR sets it to what the path takes later on.
	grep -q ' bytes_retrans:' "$WORK/seen"
	not grep -E ' ssthresh:[0-9] ' "$WORK/seen"
}

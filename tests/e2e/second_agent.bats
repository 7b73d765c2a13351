# SPDX-License-Identifier: GPL-2.0-or-later
# A second SPOE agent beside ours, a firewall (tests/lab/waf_agent): its filter before and behind ours, asked before the lease, after the
# offer, and on events. It allows, denies, is slow, answers never, closes its connections, is down.
# shellcheck shell=bash

load "$E2E_DIR/helper"

setup_file() {
	lab_prepare config=lab.cfg+waf.cfg agent_timeout=20s
	WAF_TIMEOUT=20s template "$E2E_DIR/waf.conf.in" >"$LAB/waf.conf"
	waf_start
	lab_started
}

teardown_file() {
	lab_stop
}

setup() {
	mode=${mode:-plain}
	WORK=$BATS_TEST_TMPDIR
	[ -z "${LAB_NETWORK:-}" ] || egress_mark
	# what a case before has stopped
	process_running waf || waf_start
	process_running disc-spoa || { spoa_start && nodes_alive; }
}

# lab_started: what lab_start does once the lab is prepared.
lab_started() {
	node_start n1
	node_start n2
	spoa_start
	haproxy_start
	nodes_alive
}

waf_start() {
	rm -f "$LAB/waf-release"
	process_start waf "$LAB_TOOLS/waf_agent" --listen "$LAB_ADDRESS:$WAF_PORT" --release "$LAB/waf-release"
	process_ready waf port_open "$WAF_PORT"
}

# allowed PORT [QUERY]: the body arrives as this mode's do.
allowed() {
	local port=$1
	fetch "/100k?${2:-}"
	equal status "$status" 200
	body_is 100k
	path_is_as_mode
}

# served PORT [QUERY]: the body arrives, whether the offer was still there when the firewall had been given up or not.
served() {
	local port=$1
	fetch "/100k?${2:-}"
	equal status "$status" 200
	body_is 100k
}

# denied PORT QUERY: by the firewall; no lease is left over that makes the next body wait.
denied() {
	local port=$1
	fetch "/100k?$2"
	equal status "$status" 403
	not grep -q 'Disc-' "$headers"
	path_is proxy
}

@test_each_mode "a firewall that allows" {
	local port
	for port in "$ASKED_FIRST_PORT" "$ASKED_LAST_PORT" "$ASKED_ON_EVENTS_PORT"; do
		allowed "$port"
	done
	grep -q '^request ' "$LAB/waf.log"
	grep -q '^response ' "$LAB/waf.log"
}

@test_each_mode "a firewall that denies" {
	local port
	for port in "$ASKED_FIRST_PORT" "$ASKED_LAST_PORT" "$ASKED_ON_EVENTS_PORT"; do
		denied "$port" waf=deny
		allowed "$port"
	done
}

@test_each_mode "a firewall that denies a response whose records are announced" {
	denied "$ASKED_ON_EVENTS_PORT" response=deny
	allowed "$ASKED_ON_EVENTS_PORT"
}

@test_each_mode "bodies before and after what is denied, on one connection" {
	local port version
	for port in "$ASKED_FIRST_PORT" "$ASKED_LAST_PORT" "$ASKED_ON_EVENTS_PORT"; do
		for version in "" --tls12; do
			tls_client --port "$port" $version get:/100k send response 'get:/100k?waf=deny' send response get:/16385 send response \
				'get:/100k?response=allow' send response
			equal "exit status" "$client_status" 0
			client_said "^body 102400 $(sum_of 100k)$" 2
			client_said '^status 403'
			client_said "^body 16385 $(sum_of 16385)$"
		done
	done
	tls_client --port "$ASKED_ON_EVENTS_PORT" get:/100k send response 'get:/100k?response=deny' send response get:/16385 send response
	client_said '^status 403'
	client_said "^body 16385 $(sum_of 16385)$"
}

# slow PORT: the firewall does not answer before it was seen to be asked; the body arrives.
slow() {
	local port=$1 curl
	rm -f "$LAB/waf-release"
	new_id
	curl_site -o "$WORK/slow" -w '%{http_code}' -H "X-Id: $id" "$(url "/100k?waf=slow&id=$id")" >"$WORK/status" 3>&- &
	curl=$!
	wait_for_line "$LAB/waf.log" "^request waf=slow&id=$id\$"
	touch "$LAB/waf-release"
	wait "$curl"
	equal status "$(<"$WORK/status")" 200
	cmp "$WORK/slow" "$SUITE/www/100k"
}

@test_each_mode "a slow firewall: the request waits for it, whatever becomes of the offer meanwhile" {
	local port
	for port in "$ASKED_FIRST_PORT" "$ASKED_LAST_PORT" "$ASKED_ON_EVENTS_PORT"; do
		slow "$port"
		allowed "$port"
	done
	slow "$ASKED_FIRST_PORT"
	path_is_as_mode
}

@test_each_path "a firewall so slow that the offer expires: the body is proxied, and the next one offloaded" {
	local port=$ASKED_LAST_PORT
	fetch '/100k?waf=late'
	equal status "$status" 200
	body_is 100k
	path_is proxy
	reason_is 'unannounced|lost'
	allowed "$ASKED_LAST_PORT"
}

@test_each_mode "a firewall that closes its connections instead of answering" {
	local port
	for port in "$ASKED_FIRST_PORT" "$ASKED_LAST_PORT" "$ASKED_ON_EVENTS_PORT"; do
		allowed "$port" waf=close
		allowed "$port"
	done
	allowed "$ASKED_ON_EVENTS_PORT" response=close
}

@test_each_mode "a firewall that is down" {
	process_stop waf KILL
	allowed "$ASKED_FIRST_PORT"
	served "$ASKED_LAST_PORT"
	allowed "$ASKED_ON_EVENTS_PORT"
	waf_start
	wait_until denies_now
}

# Each of HAProxy's threads has connections of its own to the firewall, and tries at most 100 a second.
denies_now() {
	local port=$ASKED_FIRST_PORT i
	for i in 1 2 3 4 5 6 7 8; do
		fetch '/100k?waf=deny' && [ "$status" = 403 ] || return 1
	done
}

@test_each_mode "our agent is down, the firewall is not" {
	local port
	process_stop disc-spoa KILL
	for port in "$ASKED_FIRST_PORT" "$ASKED_LAST_PORT" "$ASKED_ON_EVENTS_PORT"; do
		fetch '/100k?waf=deny'
		equal status "$status" 403
		fetch /100k
		equal status "$status" 200
		body_is 100k
		path_is proxy
	done
}

@test_each_mode "a firewall that never answers: the request goes on after its timeout" {
	process_stop haproxy
	WAF_TIMEOUT=200ms template "$E2E_DIR/waf.conf.in" >"$LAB/waf.conf"
	haproxy_start
	nodes_alive
	allowed "$ASKED_FIRST_PORT" waf=never
	served "$ASKED_LAST_PORT" waf=never
	allowed "$ASKED_ON_EVENTS_PORT" waf=never
	allowed "$ASKED_ON_EVENTS_PORT" response=never
	process_stop haproxy
	WAF_TIMEOUT=20s template "$E2E_DIR/waf.conf.in" >"$LAB/waf.conf"
	haproxy_start
	nodes_alive
}

# SPDX-License-Identifier: GPL-2.0-or-later
# Rules for DiSC concern the proxies that have them. Any other one in the same process does what HAProxy without us does: header
# fields pass, nothing is allocated.
# not direct: clients without TLS
# shellcheck shell=bash

load "$E2E_DIR/helper"

setup() {
	mode=plain
	WORK=$BATS_TEST_TMPDIR
	lab_prepare config=rules_per_proxy.cfg
	process_start origin "$LAB_TOOLS/echo_origin" --listen "$LAB_ADDRESS:$ORIGIN_PORT" "Disc-Body:none; ticket=$ticket" \
		Disc-Other:x X-Accel-Redirect:/internal/x Backend-IP:192.0.2.1 \
		--interim Disc-Early:x --interim Disc-Other:x --interim X-Accel-Redirect:/internal/x --interim Backend-IP:192.0.2.1
	process_ready origin port_open "$ORIGIN_PORT"
	haproxy_start -dMno-merge # a pool for each name
}

teardown() {
	processes_sound || print_logs
	process_stop haproxy
	process_stop origin
}

ticket=00112233445566778899aabbccddeeff

# ask FRONTEND [RESPONSES]: the request's fields as the origin saw them in $WORK/asked, those of all responses in $WORK/answered.
ask() {
	timeout 20 curl -sS --unix-socket "$LAB/$1" -D "$WORK/answered" -o "$WORK/asked" -H "Disc-Ticket: $ticket" \
		-H "Disc-Body: none; ticket=$ticket" -H 'X-Accel-Redirect: /up' http://lab.test/some/path || return 1
	tr -d '\r' <"$WORK/answered" | tr '[:upper:]' '[:lower:]' >"$WORK/lower"
	equal responses "$(grep -c '^http/1.1 ' "$WORK/lower")" "${2:-2}"
	cat "$WORK/asked" "$WORK/lower"
}

# asked_with COUNT, answered_with NAME COUNT: fields that travelled up, and down in both responses together.
asked_with() {
	equal "Disc- fields of the request" "$(grep -c '^disc-' "$WORK/asked")" "$1"
	equal "X-Accel-Redirect of the request" "$(grep -c '^x-accel-redirect: /up$' "$WORK/asked")" 1
}

answered_with() {
	equal "fields $1 of the responses" "$(grep -cE "^$1" "$WORK/lower")" "$2"
}

# pool_bytes NAME: what was ever allocated of it.
pool_bytes() {
	haproxy_cli 'show pools' | sed -nE "s/.*Pool $1 .*: ([0-9]+) allocated \\(([0-9]+) bytes\\).*/\\2/p" | grep . || echo 0
}

nothing_allocated() {
	local name
	for name in "$@"; do
		equal "bytes of pool $name" "$(pool_bytes "$name")" 0
	done
}

@test "a plain frontend beside ruled ones passes all header fields both ways and allocates nothing" {
	local n
	for n in 1 2 3; do
		ask plain
		asked_with 2
		answered_with 'disc-(body|early|other): ' 4
		answered_with 'x-accel-redirect: |backend-ip: ' 4
	done
	nothing_allocated filter disc_stream disc_txn http_follow
}

@test "a leasing frontend removes Disc- fields, and passes references" {
	local frontend
	for frontend in leasing leasing-by-defaults; do
		ask "$frontend"
		asked_with 0
		answered_with 'disc-' 0
		answered_with 'x-accel-redirect: |backend-ip: ' 4
	done
	[ "$(pool_bytes disc_stream)" -gt 0 ]
	[ "$(pool_bytes disc_txn)" -gt 0 ]
	nothing_allocated http_follow
}

@test "a leasing backend behind a plain frontend removes Disc- fields" {
	ask plain-to-leasing
	asked_with 0
	answered_with 'disc-' 0
	answered_with 'x-accel-redirect: |backend-ip: ' 4
}

@test "a following frontend or backend removes references, and passes Disc- fields" {
	local frontend
	for frontend in following following-by-defaults plain-to-following; do
		ask "$frontend"
		asked_with 2
		answered_with 'disc-(body|early|other): ' 4
		answered_with 'x-accel-redirect: |backend-ip: ' 0
	done
	# No server behind them is trusted, so that no request is kept.
	nothing_allocated http_follow
}

@test "a request is kept only if it can reach a trusted server by way of a disc-follow rule" {
	ask following
	ask plain
	nothing_allocated http_follow
	ask following-to-trusted 3 # and what it refers to has an interim response of its own
	[ "$(pool_bytes http_follow)" -gt 0 ]
	answered_with 'x-accel-redirect: |backend-ip: ' 0
}

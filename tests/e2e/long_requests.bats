# SPDX-License-Identifier: GPL-2.0-or-later
# Requests above 16 KB: signed URLs, cookies, with HAProxy's tune.bufsize raised. What HAProxy accepts the node accepts; the agent is
# not asked what does not fit into an SPOP frame. "timeout processing" is longer than a client waits here, so a request that waited for
# it would fail.
# shellcheck shell=bash

load "$E2E_DIR/helper"

setup_file() {
	lab_start bufsize=65536 agent_timeout=300s
}

teardown_file() {
	lab_stop
}

# filler BYTES
filler() {
	head -c "$1" /dev/zero | tr '\0' x
}

@test_each_mode "a target that no SPOP frame can carry: served at once, without a lease, and the log says why" {
	local bytes option
	for bytes in 16384 40000; do
		for option in --tlsv1.3 "--tlsv1.2 --tls-max 1.2"; do
			fetch "/100k?first" $option
			fetch "/100k?$(filler "$bytes")" $option
			equal status "$status" 200
			body_is 100k
			path_is proxy
			[ "$mode" = plain ] || reason_is too-long
			[ "$mode" = plain ] || equal lease "$(logged lease)" -
		done
	done
}

@test_each_mode "after it others are offloaded as before" {
	fetch "/100k?$(filler 20000)"
	fetch /100k
	body_is 100k
	path_is_as_mode
}

@test_each_mode "a target that just fits is offloaded" {
	fetch "/100k?$(filler 15000)"
	equal status "$status" 200
	body_is 100k
	path_is_as_mode
}

@test_each_mode "cookies of 48 KB do not keep a body from being offloaded" {
	filler 16000 >"$WORK/cookie"
	fetch /100k -H "Cookie: a=$(<"$WORK/cookie")" -H "X-B: $(<"$WORK/cookie")" -H "X-C: $(<"$WORK/cookie")"
	equal status "$status" 200
	body_is 100k
	path_is_as_mode
}

@test_each_mode "a request as long as HAProxy takes" {
	filler 12000 >"$WORK/part"
	fetch "/100k?$(<"$WORK/part")" -H "X-A: $(<"$WORK/part")" -H "X-B: $(<"$WORK/part")" -H "X-C: $(<"$WORK/part")" \
		-H "X-D: $(<"$WORK/part")" -H "X-E: $(filler 3700)"
	equal status "$status" 200
	body_is 100k
	path_is_as_mode
}

@test "over HTTP/2, too" {
	mode=splice
	fetch "/100k?$(filler 40000)" --http2
	equal status "$status" 200
	body_is 100k
}

@test_each_mode "a message that does not fit because of its other arguments costs no waiting, and no other request" {
	# X-Large is an argument of this lab's message
	fetch /100k -H "X-Large: $(filler 20000)"
	equal status "$status" 200
	body_is 100k
	path_is proxy
	fetch /100k
	path_is_as_mode
}

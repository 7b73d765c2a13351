# SPDX-License-Identifier: GPL-2.0-or-later
# What a lease costs with "disc-lease keys response", where each response has a key generation of its own: KeyUpdates, and so
# few of them that clients which count them go on.
# flavours: asan recorder
# shellcheck shell=bash

load "$E2E_DIR/helper"

setup_file() {
	lab_start keys=response
}

teardown_file() {
	lab_stop
}

# all_answered N: the client did every step and N whole bodies of 100k came.
all_answered() {
	equal "exit status" "$client_status" 0
	equal "whole bodies" "$(grep -c "^body 102400 $(sum_of 100k)$" "$WORK/client")" "$1"
}

@test_each_path "an offloaded response costs at most two KeyUpdates, and none is sent on an idle connection" {
	tls_client get:/100k?first send response
	all_answered 1
	path_is "$mode" "$id .*first"
	# One in front of the response's headers; the one that leaves the leased generation waits for the next own data.
	equal "KeyUpdates after one response" "$(sed -n 's/^keyupdates //p' "$WORK/client")" 1
	tls_client get:/100k?first send response get:/0 send response
	all_answered 1
	equal "KeyUpdates when an own answer follows" "$(sed -n 's/^keyupdates //p' "$WORK/client")" 2
}

@test_each_path "at most 4 KeyUpdates in 1.5 s: GnuTLS closes above 8 a second" {
	local steps=() i
	for ((i = 0; i < 40; i++)); do
		steps+=(get:/100k send response)
	done
	local started=${EPOCHREALTIME/./}
	tls_client "${steps[@]}"
	local windows=$(((${EPOCHREALTIME/./} - started) / 1500000 + 1))
	all_answered 40
	local sent
	sent=$(sed -n 's/^keyupdates //p' "$WORK/client")
	at_least "sent" "$sent" 2
	at_most "KeyUpdates in $windows windows of 1.5 s" "$sent" $((4 * (windows + 1)))
	wait_for_line "$LAB/haproxy.log" "^id=$id .*path=proxy reason=budget "
}

@test_each_path "a client that takes no KeyUpdate for granted closes at the first one" {
	tls_client --no-keyupdate get:/100k?first send response
	equal "exit status" "$client_status" 6
	client_said '^refused keyupdate$'
	path_is "$mode" "$id .*first"
	tls_client --tls12 --no-keyupdate get:/100k?first send response
	all_answered 1
}

# SPDX-License-Identifier: GPL-2.0-or-later
# KeyUpdates from the client at every moment (RFC 8446 4.6.3), asking for one in return or not. Guards against two
# defects of wolfSSL 5.7.2 (a stale count added to the next write; data sent twice), and the lease's own KeyUpdates against the
# client's. What they cost with "keys response" is in keyupdate_budget.bats.
# flavours: asan recorder
# keys response: splice direct
# shellcheck shell=bash

load "$E2E_DIR/helper"

setup_file() {
	lab_start
}

teardown_file() {
	lab_stop
}

# all_answered N: the client did every step and N whole bodies of 100k came.
all_answered() {
	equal "exit status" "$client_status" 0
	equal "whole bodies" "$(grep -c "^body 102400 $(sum_of 100k)$" "$WORK/client")" "$1"
}

# first_path: the first response was long before the KeyUpdate budget ends.
first_path() {
	local id="$id .*GET /100k\\?first"
	path_is_as_mode
}

@test_each_mode "KeyUpdate before the first request" {
	local update
	for update in update update-ask; do
		tls_client $update get:/100k?first send response get:/100k send response
		all_answered 2
		first_path
	done
}

@test_each_mode "KeyUpdate between a request and its response" {
	local update
	for update in update update-ask; do
		tls_client get:/100k?first send $update response get:/100k send response
		all_answered 2
		first_path
	done
}

@test_each_mode "KeyUpdate in one write with the request, on either side of it" {
	local update
	for update in update update-ask; do
		tls_client get:/100k?first $update send $update response get:/100k send response get:/100k send response
		all_answered 3
	done
}

@test_each_mode "KeyUpdate in the middle of a body" {
	local update
	for update in update update-ask; do
		tls_client --rcvbuf 8192 get:/10m?first send final body:100000 $update body:5000000 $update rest get:/100k send \
			response get:/100k send response
		all_answered 2
		client_said "^body 10485760 $(sum_of 10m)$"
		path_is_as_mode "$id .*GET /10m\\?first"
	done
}

@test_each_mode "KeyUpdate after a body, on an idle connection" {
	local update
	for update in update update-ask; do
		tls_client get:/100k?first send response $update get:/100k send response $update get:/100k send response
		all_answered 3
		first_path
	done
}

@test_each_mode "many KeyUpdates in a row, before, during and after a body" {
	local update many
	for update in update update-ask; do
		many=$(for _ in {1..40}; do echo $update; done)
		tls_client $many get:/100k?first send response get:/100k send $many response $many get:/10m send final body:300000 \
			$many rest get:/100k send response close
		all_answered 3
		client_said "^body 10485760 $(sum_of 10m)$"
	done
}

@test_each_mode "a KeyUpdate that asks for one gets one" {
	tls_client update-ask get:/0 send response update-ask get:/0 send response get:/100k send response
	all_answered 1
	at_least "KeyUpdates of the client" "$(sed -n 's/^keyupdates //p' "$WORK/client")" 2
}

@test_each_mode "KeyUpdate while answers of every kind take turns" {
	tls_client update-ask get:/100k send update response head:/100k send update-ask response get:/0 update send response \
		get:/no-such-file send update-ask response get:/1 send update response update-ask get:/16385 send response \
		get:/100k update-ask send response close
	all_answered 2
	client_said "^body 1 $(sum_of 1)$"
	client_said "^body 16385 $(sum_of 16385)$"
	client_said '^status 404'
}

@test_each_mode "KeyUpdates between pipelined requests" {
	tls_client get:/100k get:/16385 send update-ask get:/100k get:/1 send update get:/100k send response response response \
		update response response
	all_answered 3
	client_said "^body 1 $(sum_of 1)$"
}

@test "on the plain path the server sends no KeyUpdate of its own" {
	mode=plain
	tls_client get:/100k send response get:/100k send response get:/0 send response
	all_answered 2
	equal KeyUpdates "$(sed -n 's/^keyupdates //p' "$WORK/client")" 0
}

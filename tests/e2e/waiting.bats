# SPDX-License-Identifier: GPL-2.0-or-later
# What a client does while its request waits for a node, with "option abortonclose": HAProxy then reads from the connection
# that is leased. The node waits until the test releases it, so the moment is certain.
# keys response: splice
# shellcheck shell=bash

load "$E2E_DIR/helper"

setup_file() {
	lab_start fake=1 abortonclose=1
}

teardown_file() {
	lab_stop
}

# meanwhile STEP...: done while the node holds the response back; then everything is answered. OPTIONS holds the client's,
# MORE the steps that read further answers.
meanwhile() {
	local next_id
	rm -f "$LAB/release" "$WORK/done" "$WORK/go"
	new_id
	next_id=$id
	: $((id_count--))
	tls_client_in_background ${OPTIONS:-} "get:/100k?fake=waits-for-release&id=$next_id" send "wait:$WORK/go" "$@" \
		"touch:$WORK/done" response ${MORE:-} get:/16385 send response
	equal id "$id" "$next_id"
	wait_until fake_saw "fake=waits-for-release&id=$id "
	: >"$WORK/go"
	wait_until test -e "$WORK/done"
	: >"$LAB/release"
	tls_client_wait
	equal "exit status" "$client_status" 0
	client_said "^body 102400 $(sum_of 100k)$"
	client_said "^body 16385 $(sum_of 16385)$"
}

@test_each_mode "nothing at all" {
	meanwhile
	path_is_as_mode "$id .*release&id=$id"
	OPTIONS=--tls12 meanwhile
	path_is_as_mode "$id .*release&id=$id"
}

@test_each_mode "one KeyUpdate" {
	meanwhile update
	meanwhile update-ask
}

@test_each_mode "many KeyUpdates" {
	meanwhile update update-ask update update update-ask update-ask update-ask update update update update
}

@test_each_mode "a pipelined request" {
	local version
	for version in "" --tls12; do
		MORE=response OPTIONS=$version meanwhile get:/1 send
		client_said "^body 1 $(sum_of 1)$"
	done
}

@test_each_mode "a pipelined request and KeyUpdates around it" {
	MORE=response meanwhile update-ask get:/1 send update update-ask
	client_said "^body 1 $(sum_of 1)$"
}

# Without the option it would get the body: half_close.bats.
@test_each_mode "closing its side: HAProxy gives the request up, as the option says" {
	local closing version number=0
	for version in "" --tls12; do
		for closing in "half-close" "notify half-close" "notify"; do
			: $((number++))
			rm -f "$LAB/release" "$WORK/go"
			tls_client_in_background $version "get:/100k?fake=waits-for-release&id=closes-$mode-$number" send "wait:$WORK/go" $closing response eof
			wait_until fake_saw "&id=closes-$mode-$number "
			: >"$WORK/go"
			tls_client_wait
			: >"$LAB/release"
			equal "exit status" "$client_status" 0
			client_said '^status 400 '
			client_said '^eof close_notify$'
			equal end "$(logged end)" CH--
		done
	done
}

@test_each_mode "going away: the node's work is in vain, and nothing else" {
	local version
	for version in "" --tls12; do
		rm -f "$LAB/release" "$WORK/go"
		tls_client_in_background $version "get:/100k?fake=waits-for-release&id=gone$version" send "wait:$WORK/go" abort
		wait_until fake_saw "&id=gone$version "
		: >"$WORK/go"
		tls_client_wait
		equal "exit status" "$client_status" 0
		: >"$LAB/release"
		site_serves
		path_is_as_mode
	done
}

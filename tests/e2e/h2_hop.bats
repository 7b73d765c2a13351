# SPDX-License-Identifier: GPL-2.0-or-later
# Bodies that come by grants, a node that lies about them and somebody on the fetch hop who has no key (tests/lab/grant_faults.py): what
# does not prove itself, or does not fit, closes that fetch hop alone. The stream goes on or breaks visibly, others never notice, no slot
# is sealed twice with other bytes, and no byte is wrong.
# shellcheck shell=bash

load "$E2E_DIR/helper"

setup_file() {
	# Threads drop lines of the log rather than wait for each other.
	lab_start fake=1 threads=1 server_timeout=3s
}

teardown_file() {
	lab_stop
}

setup() {
	mode=h2
	WORK=$BATS_TEST_TMPDIR
}

# faulty NAME: a body with that fault beside one of another hop, and another one afterwards on the same connection.
faulty() {
	h2_client "get:/10m?fake=$1" get:/10m?other all get:/100k?later all
	equal "exit status with $1" "$client_status" 0
	fake_saw "fake=$1 "
	stream_cut_or_whole 1 10m
	client_said "^stream 2 status 200 length 10485760 body 10485760 $(sum_of 10m) whole$"
	client_said "^stream 3 status 200 length 102400 body 102400 $(sum_of 100k) whole$"
}

# each_faulty NAME...: and then the site serves as before.
each_faulty() {
	local name
	for name; do
		faulty "$name"
	done
	seals_checked
	site_serves
	path_is_as_mode
}

@test "an attacker alters grants: the node takes none of them" {
	local field
	for field in flags stream number slot first bytes clear proof; do
		faulty "alters-grant-$field"
	done
	has_lines "$LAB/n1.log" "fetch connection of .* closed: proof: the grant is not the LB's" || has_lines "$LAB/n2.log" \
		"fetch connection of .* closed: proof: the grant is not the LB's"
	each_faulty
}

@test "an attacker replays, repeats, invents and drops grants" {
	each_faulty replays-grant repeats-grant invents-grant drops-grant
}

@test "an attacker alters what the node says" {
	each_faulty alters-message-type alters-message-payload alters-message-number alters-message-ready alters-message-proof
}

@test "an attacker replays, invents and drops what the node says, and cuts it short" {
	each_faulty replays-answer invents-report drops-answer cuts-answer
}

@test "an attacker alters what was sealed: the client notices, and nobody else" {
	h2_client "get:/10m?fake=alters-record" all || :
	[ "$client_status" != 0 ]
	stream_cut_or_whole 1 10m
	seals_checked
	site_serves
	path_is_as_mode
}

@test "a node lies about its answers, with proof" {
	each_faulty proves-other-type proves-reserved proves-other-number proves-number-before proves-long-payload proves-ready-that-falls \
		proves-ready-beyond-the-end answers-less answers-twice
}

@test "a node reports what it must not, or without end, and ends early" {
	each_faulty reports-with-payload floods-with-reports ends-early
}

@test "a node seals garbage: the client notices, and nobody else" {
	h2_client "get:/10m?fake=answers-garbage" all || :
	[ "$client_status" != 0 ]
	stream_cut_or_whole 1 10m
	seals_checked
	site_serves
}

# announced_so NAME REASON: the request is served otherwise.
announced_so() {
	h2_client "get:/100k?fake=announces-$1" get:/16385 all
	equal "exit status" "$client_status" 0
	streams_whole 1 100k
	streams_whole 1 16385
	path_is proxy "$id .*announces-$1"
	reason_is "$2" "$id .*announces-$1"
}

@test "an announcement of grants that does not fit: the request is sent again, as an ordinary one" {
	announced_so no-ready bad-ready
	announced_so signed-ready bad-ready
	announced_so ready-beyond-the-end bad-ready
	announced_so no-length bad-length
	announced_so other-ticket bad-ticket
	announced_so other-status bad-status
	seals_checked
	site_serves
	path_is_as_mode
}

# SPDX-License-Identifier: GPL-2.0-or-later
# Somebody who can listen on the fetch hop, connect to nodes, and alter, swap, replay, drop, delay and forge what passes there gains
# nothing but denial of service: no nonce is used twice, no other bytes are sealed or passed as records than were asked for. At worst
# the client gets an ordinary response, made of whatever the attacker sent, or a visibly broken one (doc/security.md).
#
# tests/lab/fake_node stands where the attacker does: "?fake=NAME" chooses the attack (tests/lab/fetch_hop_attacks.py).
# keys response: splice
# shellcheck shell=bash

load "$E2E_DIR/helper"

setup_file() {
	# Threads drop lines of the log rather than wait for each other.
	lab_start fake=1 threads=1
}

teardown_file() {
	lab_stop
}

# both_versions COMMAND...: runs it for TLS 1.3 and TLS 1.2 side by side, with $version "" and --tls12, and $tls 13 and 12.
both_versions() {
	local tls children=() child failed=0
	: $((id_count += 10))
	for tls in 13 12; do
		(
			version='' id_count=$((id_count + tls * 1000)) WORK=$WORK/$tls
			[ "$tls" = 13 ] || version=--tls12
			mkdir -p "$WORK"
			"$@"
		) 3>&- &
		children+=($!)
	done
	for child in "${children[@]}"; do
		wait "$child" || failed=1
	done
	return $failed
}

# What is sealed on the connection afterwards, at once and when leases may be taken again, repeats nothing: a second after a loss, and
# 1.5 s after KeyUpdates.
afterwards=(get:/16385 send response pause:1700 get:/100k?later send response get:/16384 send response)

# goes_on: the rest of that.
goes_on() {
	equal "exit status" "$client_status" 0
	client_said "^body 16385 $(sum_of 16385)$"
	client_said "^body 16384 $(sum_of 16384)$"
	client_said "^body 102400 $(sum_of 100k)$"
	client_did_not_say LEAKED
	path_is "$mode" "$id .*later"
}

# attack NAME REASON [SEEN [OPTION...]]: by one connection; SEEN is what the client says of the attacked response.
attack() {
	local name=$1 reason=$2 seen=${3:-"body 102400 $(sum_of 100k)"}
	tls_client $version "${@:4}" "get:/100k?pair=$tls&fake=$name" send response "${afterwards[@]}"
	sed -n 3,4p "$WORK/client" | grep -qE "^$seen$" || not_seen "of $name: $seen" "$(sed -n 3,4p "$WORK/client" | paste -sd '|')"
	goes_on
	fake_saw "pair=$tls&fake=$name fake=$name "
	reason_is "$reason" "$id .*fake=$name"
	if [ "$reason" = - ]; then
		path_is "$mode" "$id .*fake=$name"
	else
		path_is proxy "$id .*fake=$name"
	fi
}

attacked() {
	both_versions attack "$@"
	seals_checked
	site_serves
	path_is "$mode"
}

# replay NAME REASON [SEEN [FIELD]]: the second request of a connection is attacked with what the first one left, which had FIELD.
replay() {
	local name=$1 reason=$2 seen=${3:-"body 102400 $(sum_of 100k)"} first
	first="raw:GET /100k?pair=$tls&fake=$name&first HTTP/1.1\r\nHost: $(site)\r\n${4:+$4\r\n}\r\n"
	tls_client $version "$first" send response "get:/100k?pair=$tls&fake=$name&second" send response \
		"${afterwards[@]}"
	sed -n 6,7p "$WORK/client" | grep -qE "^$seen$" || not_seen "of $name: $seen" "$(sed -n 6,7p "$WORK/client" | paste -sd '|')"
	goes_on
	path_is proxy "$id .*second"
	reason_is "$reason" "$id .*second"
}

replayed() {
	both_versions replay "$@"
	seals_checked
	site_serves
	path_is "$mode"
}

# swap NAME REASON: two connections at once, whose requests or responses are mixed up.
swap() {
	local connection children=() failed=0
	for connection in a b; do
		(
			WORK=$WORK/$connection
			mkdir -p "$WORK"
			[ "$connection" = a ] || id_count=$((id_count + 500))
			swap_one "$@"
		) &
		children+=($!)
	done
	for connection in "${children[@]}"; do
		wait "$connection" || failed=1
	done
	return $failed
}

swap_one() {
	tls_client $version "get:/100k?pair=$tls${3:+&$connection}&fake=$1" send response "${afterwards[@]}"
	goes_on
	client_said "^body 102400 $(sum_of 100k)$" 2
	path_is proxy "$id .*fake=$1"
	reason_is "$2" "$id .*fake=$1"
}

# swapped NAME REASON [other-targets]
swapped() {
	both_versions swap "$@"
	seals_checked
	site_serves
	path_is "$mode"
}

# --- fetches first with HAProxy's ticket ---

# spoilt NAME: with a request whose proof is wrong: the attacker learns nothing about the lease.
spoilt() {
	attacked "$1" unannounced
	not grep "^apart $1: .*Disc-Body" "$LAB"/fake-n?.log
}

@test_each_path "stolen: the very same request, its proof included; what was sealed then is never sealed over" {
	attacked steals-ticket unannounced
}

@test_each_path "stolen: the very same request, and all of its answer is taken" {
	attacked steals-ticket-whole unannounced
}

@test_each_path "stolen: a ticket without a proof is a malformed request, which costs nothing" {
	attacked steals-ticket-unproven -
	grep -q '^apart steals-ticket-unproven: .*HTTP/1.1 400' "$LAB"/fake-n?.log
}

@test_each_path "stolen: a ticket with a proof that is none spoils it" {
	spoilt steals-ticket-with-zeros
}

@test_each_path "stolen: a ticket for another target" {
	spoilt steals-other-target
	spoilt steals-missing-target
}

@test_each_path "stolen: a ticket for another method" {
	spoilt steals-other-method
}

@test_each_path "stolen: a ticket for another range" {
	spoilt steals-other-range
}

@test_each_path "stolen: a ticket under another condition" {
	spoilt steals-other-condition
}

# --- alters HAProxy's request ---

@test_each_path "dropped: the ticket" {
	attacked drops-ticket unannounced
}

@test_each_path "forged: a ticket of the attacker's own" {
	attacked forges-ticket unannounced
}

@test_each_path "forged: the proof of the request" {
	attacked forges-request-proof unannounced
}

@test_each_path "dropped: the proof of the request" {
	attacked drops-request-proof unannounced 'status 400 .*'
}

@test_each_path "altered: the method" {
	attacked alters-method unannounced 'status 405 .*'
}

@test_each_path "altered: the target" {
	attacked alters-target unannounced "body 16384 $(sum_of 16384)"
}

@test_each_path "altered: a range that nobody asked for" {
	attacked alters-range unannounced 'status 206 length 86016'
}

@test_each_path "altered: If-Range and If-Match" {
	attacked alters-if-range unannounced
	attacked alters-if-match unannounced 'status 412 .*'
}

# altered_range NAME SEEN: of a client that asks for a part.
altered_range() {
	tls_client $version --header 'Range: bytes=0-49151' "get:/100k?pair=$tls&fake=$1" send response get:/100k?later send response \
		pause:1700 get:/100k?last send response
	equal "exit status" "$client_status" 0
	client_said "^$2"
	client_said '^status 206 length 49152$' 2
	path_is proxy "$id .*fake=$1"
	reason_is unannounced "$id .*fake=$1"
	path_is "$mode" "$id .*last"
}

@test_each_path "altered: the range that a client asked for" {
	both_versions altered_range alters-range 'status 206 length 86016'
	both_versions altered_range drops-range "body 102400 $(sum_of 100k)"
	seals_checked
}

@test_each_path "swapped: the tickets of two requests at once, for one target and for two" {
	swapped swaps-tickets bad-ticket
	swapped swaps-tickets unannounced other-targets
}

@test_each_path "replayed: an earlier request" {
	replayed replays-request unannounced
}

@test_each_path "repeated: a request, once it was answered" {
	attacked repeats-request -
	grep -q '^apart repeats-request: .*HTTP/1.1 200' "$LAB"/fake-n?.log
}

@test_each_path "delayed: a request, for longer than its offer waits" {
	attacked delays-request '-|unannounced'
}

# --- answers in the node's place ---

@test_each_path "forged: an announcement of records" {
	attacked forges-splice bad-proof
}

@test_each_path "forged: that nothing was sealed" {
	attacked forges-none unproven 'body 4 .*'
}

# --- alters the node's answer ---

@test_each_path "dropped: the announcement" {
	attacked drops-announcement unannounced 'body 4 .*'
}

@test_each_path "dropped: the response" {
	attacked drops-response retry
}

@test_each_path "claimed: that nothing was sealed, with every proof at hand" {
	attacked claims-none unproven 'body 4 .*'
	attacked claims-none-with-zeros unproven 'body 4 .*'
	attacked claims-none-with-its-proof unproven 'body 4 .*'
	attacked claims-none-with-request-proof unproven 'body 4 .*'
	replayed claims-none-with-proof-of-before unproven 'body 4 .*'
}

@test_each_path "claimed: that nothing was sealed, as the node truly said of an earlier request" {
	replayed claims-none-of-before unproven 'body 4 .*' 'If-None-Match: *'
}

# Records that pass for an ordinary body: on the direct path none come.
@test "claimed: that nothing was sealed, with the records as the body" {
	mode=splice
	attacked claims-none-with-its-proof-of-records unproven 'body (102554|102603) .*'
	attacked drops-announcement-of-records unannounced 'body (102554|102603) .*'
}

@test_each_path "swapped: the announcements of two responses at once" {
	swapped swaps-announcements bad-ticket
	swapped swaps-proofs bad-proof
}

@test "swapped: two responses at once, records included" {
	mode=splice
	swapped swaps-responses bad-ticket
}

@test_each_path "replayed: an earlier announcement" {
	replayed replays-announcement bad-ticket
	replayed replays-announcement-with-ticket bad-proof
}

@test "replayed: an earlier response, records included" {
	mode=splice
	replayed replays-response bad-ticket
}

@test_each_path "delayed: a response" {
	attacked delays-response -
}

@test_each_path "altered: a parameter of the announcement" {
	local name
	attacked alters-ticket bad-ticket
	for name in kind seq records length status first etag proof; do
		attacked "alters-$name" bad-proof
	done
}

@test_each_path "altered: the status line" {
	attacked alters-status-line bad-status
}

@test "altered: Content-Length" {
	mode=splice
	attacked alters-content-length bad-content-length
}

@test "records in another order are refused by the client's TLS, and no byte of them is delivered" {
	local version
	mode=splice
	for version in "" --tls12; do
		tls_client $version get:/100k?fake=reorders-records send response
		equal "exit status" "$client_status" 4
		client_said '^cut 0 of 102400 [0-9a-f]{64} tls-error$'
	done
	site_serves
}

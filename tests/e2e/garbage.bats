# SPDX-License-Identifier: GPL-2.0-or-later
# Garbage on every listening port: that connection is closed with a reason in the log, and nothing else happens.
# shellcheck shell=bash

load "$E2E_DIR/helper"

setup_file() {
	lab_start
}

teardown_file() {
	lab_stop
}

# throw PORT FILE [OPTION]: sends the file, waits until the peer closes; what it answers goes to $WORK/answer.
throw() {
	timeout 20 socat -t 15 - "TCP:$LAB_ADDRESS:$1${3:+,$3}" <"$2" >"$WORK/answer" 2>/dev/null || [ $? != 124 ] ||
		{ echo "port $1 kept the connection open"; return 1; }
}

# pieces: files of garbage in $WORK/garbage/.
make_garbage() {
	local dir=$WORK/garbage
	mkdir -p "$dir"
	openssl enc -aes-128-ctr -K 0102030405060708090a0b0c0d0e0f10 -iv 00000000000000000000000000000001 -nosalt \
		-in <(head -c 65536 /dev/zero) -out "$dir/random" 2>/dev/null
	head -c 100000 /dev/zero >"$dir/zeros"
	head -c 100000 /dev/zero | tr '\0' '\377' >"$dir/ones"
	head -c 1 "$dir/random" >"$dir/one-byte"
	printf 'GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n' >"$dir/http"
	printf '\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03' | cat - "$dir/random" >"$dir/client-hello"
	printf '\xff\xff\xff\xff' >"$dir/huge-length"
	printf '\x00\x00\x00\x00' >"$dir/zero-length"
	printf 'A%.0s' {1..70000} >"$dir/endless-line"
	: >"$dir/nothing"
}

# all_thrown PORT: every piece.
all_thrown() {
	local piece
	make_garbage
	for piece in "$WORK"/garbage/*; do
		throw "$1" "$piece"
	done
}

everything_works() {
	processes_sound
	mode=plain site_serves
	mode=splice
	nodes_alive
	fetch /100k
	body_is 100k
	path_is splice
}

@test "garbage on the SPOP port" {
	all_thrown "$SPOP_PORT"
	# The same line is not logged over and over: some are left out.
	wait_for_line "$LAB/disc-spoa.log" 'SPOP 127\.0\.0\.1:[0-9]+: .*: closed'
	everything_works
}

@test "malformed SPOP frames" {
	local frame
	mkdir -p "$WORK/frames"
	# NOTIFY before HELLO; HELLO whose varint never ends; HELLO with a string longer than the frame; unknown frame type;
	# a frame shorter than its header; a fragment.
	printf '\x00\x00\x00\x07\x03\x00\x00\x00\x01\x01\x01' >"$WORK/frames/notify-first"
	printf '\x00\x00\x00\x13\x01\x00\x00\x00\x01\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff' >"$WORK/frames/endless-varint"
	printf '\x00\x00\x00\x0c\x01\x00\x00\x00\x01\x00\x00\xefabcd' >"$WORK/frames/long-string"
	printf '\x00\x00\x00\x07\x77\x00\x00\x00\x01\x00\x00' >"$WORK/frames/unknown-type"
	printf '\x00\x00\x00\x03\x01\x00\x00' >"$WORK/frames/short-frame"
	printf '\x00\x00\x00\x07\x01\x00\x00\x00\x00\x00\x00' >"$WORK/frames/fragment"
	for frame in "$WORK"/frames/*; do
		throw "$SPOP_PORT" "$frame"
	done
	everything_works
}

@test "garbage on the control ports" {
	all_thrown "$N1_CONTROL"
	wait_for_line "$LAB/n1.log" 'control: peer 127\.0\.0\.1:[0-9]+ refused: ' 5
	all_thrown "$N2_CONTROL"
	everything_works
}

@test "garbage on the fetch ports" {
	all_thrown "$N1_FETCH"
	wait_for_line "$LAB/n1.log" 'fetch connection of .*: request refused with 4[0-9][0-9]: ' 3
	all_thrown "$N2_FETCH"
	everything_works
}

@test "garbage on HAProxy's port" {
	all_thrown "$SITE_PORT"
	everything_works
}

# ask NODE-PORT REQUEST-LINES...: straight to a node; the answer in $WORK/answer.
ask() {
	local port=$1
	shift
	printf '%s\r\n' "$@" '' >"$WORK/request"
	# Without a half-close, which a server may take for an abort.
	throw "$port" "$WORK/request" shut-none
}

@test "tickets that nobody offered, malformed or doubled: ordinary bodies or an error, never records" {
	local ticket
	for ticket in 00112233445566778899aabbccddeeff 00112233445566778899AABBCCDDEEFF 0011 '' "$(printf '0%.0s' {1..5000})" \
		'00112233445566778899aabbccddeef;' '../../etc/passwd'; do
		ask "$N1_FETCH" 'GET /16385 HTTP/1.1' 'Host: x' 'Connection: close' "Disc-Ticket: $ticket"
		echo "ticket \"${ticket:0:40}\": $(head -n 1 "$WORK/answer")"
		if grep -aq '^HTTP/1.1 200' "$WORK/answer"; then
			equal body "$(tail -c 16385 "$WORK/answer" | sha256sum | cut -d' ' -f1)" "$(sum_of 16385)"
			not grep -a '^Disc-Body: splice' "$WORK/answer"
		else
			grep -a '^HTTP/1.1 4' "$WORK/answer"
		fi
	done
	ask "$N1_FETCH" 'GET /16385 HTTP/1.1' 'Host: x' 'Connection: close' 'Disc-Ticket: 00112233445566778899aabbccddeeff' \
		'Disc-Ticket: 00112233445566778899aabbccddeefe'
	not grep -a '^Disc-Body: splice' "$WORK/answer"
	everything_works
}

@test "requests that could be read in two ways are refused by the fetch server" {
	ask "$N1_FETCH" 'GET /16385 HTTP/1.1' 'Host: x' 'Content-Length: 5' 'Transfer-Encoding: chunked' 'Connection: close' '' '0' ''
	grep -a '^HTTP/1.1 400' "$WORK/answer"
	ask "$N1_FETCH" 'GET /16385 HTTP/1.1' 'Host: x' 'Content-Length: 5' 'Content-Length: 6' 'Connection: close'
	grep -a '^HTTP/1.1 400' "$WORK/answer"
	ask "$N1_FETCH" 'GET /16385 HTTP/1.1' 'Host : x' 'Connection: close'
	grep -a '^HTTP/1.1 400' "$WORK/answer"
	everything_works
}

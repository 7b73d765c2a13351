# SPDX-License-Identifier: GPL-2.0-or-later
# Disc- headers belong to the fetch hop: a client's are removed before they could mean anything, a node's never leave.
# shellcheck shell=bash

load "$E2E_DIR/helper"

setup_file() {
	lab_start fake=1
}

teardown_file() {
	lab_stop
}

# asked TARGET: what of Disc- the node was asked for it, from fake_node's log.
asked() {
	wait_until fake_saw "^$1 " || return 1
	cat "$LAB"/fake-n?.log | grep "^$1 " | sed 's/.*asked: //'
}

forged=(-H 'Disc-Ticket: 00112233445566778899aabbccddeeff' -H 'disc-body: none; ticket=00112233445566778899aabbccddeeff'
	-H 'DISC-ANYTHING: x' -H 'Disc-: x')

@test_each_mode "Disc- headers of a client never reach a node" {
	local protocol target
	for protocol in --http1.1 --http1.0 --http2; do
		target="/100k?$mode$protocol"
		fetch "$target" "${forged[@]}" $protocol
		equal status "$status" 200
		body_is 100k
		no_disc_header
		if [ "$mode" != plain ]; then
			# The answer of the direct path is chunked, which HTTP/1.0 does not know. It is not for HTTP/2.
			if [ "$protocol" != --http1.1 ]; then
				path_is splice
			else
				path_is_as_mode
			fi
			# One, and HAProxy's own.
			[[ $(asked "/100k.$mode$protocol") =~ ^\[\'[Dd]isc-[Tt]icket:\ [0-9a-f]{32}\;\ proof=[0-9a-f]{32}\'\]$ ]]
			[[ $(asked "/100k.$mode$protocol") != *00112233445566778899aabbccddeeff* ]]
		else
			path_is proxy
			equal "Disc- headers" "$(asked "/100k.$mode$protocol")" "[]"
		fi
	done
}

@test_each_mode "Disc- headers in a pipelined request with odd case and spacing" {
	tls_client "raw:GET /100k?odd$mode HTTP/1.1\r\nHost: $(site)\r\nX-Id: odd-$mode\r\ndIsC-tIcKeT:00112233445566778899aabbccddeeff\r\nDisc-Ticket:   \t 00112233445566778899aabbccddeeff  \r\n\r\n" \
		get:/16385 send response response
	equal "exit status" "$client_status" 0
	client_said "^body 102400 $(sum_of 100k)$"
	client_said "^body 16385 $(sum_of 16385)$"
	client_did_not_say LEAKED
	[[ $(asked "/100k.odd$mode") != *00112233445566778899aabbccddeeff* ]]
}

@test_each_mode "a node's Disc- headers are removed from every kind of response" {
	local target
	for target in '/100k?fake=extra-disc-headers' '/0?fake=extra-disc-headers' '/no-such-file?fake=extra-disc-headers'; do
		fetch "$target"
		no_disc_header
		fetch "$target" -I
		no_disc_header
		fetch "$target" --http2
		no_disc_header
	done
}

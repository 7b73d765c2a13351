# SPDX-License-Identifier: GPL-2.0-or-later
# Several streams of one HTTP/2 connection, offloaded beside ordinary ones, in any order of arrival and end; PING, SETTINGS and
# KeyUpdate in between.
# flavours: asan recorder
# shellcheck shell=bash

load "$E2E_DIR/helper"

setup_file() {
	lab_start
}

teardown_file() {
	lab_stop
}

client_is_content() {
	equal "exit status" "$client_status" 0
}

@test_h2 "many streams at once, of all sizes, from both nodes, some of them ordinary" {
	local steps=() i
	for ((i = 0; i < 6; i++)); do
		steps+=("get:/2m?$i" "get:/100k?$i" "get:/16385?$i" "get:/1?$i" "get:/0?$i" "head:/10m?$i" "get:/none?$i")
	done
	h2_client "${steps[@]}" get:/10m all
	client_is_content
	streams_whole 6 2m
	streams_whole 6 100k
	streams_whole 6 16385
	streams_whole 6 1
	streams_whole 1 10m
	client_said '^stream [0-9]+ status 404 ' 6
	client_said '^stream [0-9]+ status 200 length 10485760 body 0 .* whole$' 6
	client_said '^keyupdates 0$'
	has_lines "$LAB/haproxy.log" "^id=$id .*path=$(h2_path) .*GET [^ ]*/10m "
}

@test_h2 "one stream after another on one connection: each is offloaded" {
	local steps=() i
	for ((i = 0; i < 30; i++)); do
		steps+=("get:/100k?$i" "stream:$((i + 1))")
	done
	h2_client "${steps[@]}"
	client_is_content
	streams_whole 30 100k
	h2_path_is 30
	client_said '^keyupdates 0$'
}

@test_h2 "PING and SETTINGS are answered at once in the middle of large bodies, and small responses overtake them" {
	h2_client get:/10m get:/10m?b data:100000 ping get:/1 data:300000 stream:3 ping initial:500000 ping get:/16385 stream:4 \
		initial:1048576 timed:/100k ping all
	client_is_content
	streams_whole 2 10m
	streams_whole 1 16385
	streams_whole 1 100k
	equal "order of streams that ended" "$(sed -nE 's/^stream ([0-9]+) .*/\1/p' "$WORK/client" | head -n 2 | paste -sd ' ')" "3 4"
}

@test_h2 "a flood of PING, SETTINGS and window updates in the middle of a body" {
	local steps=() i ping=0000080600000000000102030405060708
	for ((i = 0; i < 200; i++)); do
		steps+=("frame:$ping" frame:000000040000000000 frame:00000408000000000000000001)
	done
	h2_client get:/10m data:300000 "${steps[@]}" all
	client_is_content
	streams_whole 1 10m
}

@test_h2 "KeyUpdate from the client at every moment" {
	local update
	for update in update update-ask; do
		h2_client "$update" get:/100k "$update" stream:1 "$update" get:/10m data:1 "$update" data:100000 "$update" \
			data:1000000 "$update" "$update" data:3000000 "$update" get:/2m "$update" data:400000 "$update" all "$update" \
			get:/100k?last all
		client_is_content
		streams_whole 2 100k
		streams_whole 1 10m
		streams_whole 1 2m
	done
}

@test_h2 "an upload beside downloads" {
	h2_client get:/10m data:100000 post:300000:/16385 get:/2m all
	client_is_content
	streams_whole 1 10m
	streams_whole 1 2m
	client_said '^stream 2 status 405 '
}

@test_h2 "each suite of TLS 1.3" {
	local suite
	for suite in TLS_AES_128_GCM_SHA256 TLS_AES_256_GCM_SHA384 TLS_CHACHA20_POLY1305_SHA256; do
		h2_client --ciphers "$suite" get:/2m get:/10m all
		client_is_content
		client_said "^suite $suite$"
		streams_whole 1 2m
		streams_whole 1 10m
		h2_path_is 2
	done
}

@test_h2 "ranges of one object on several streams are its bytes" {
	h2_client range:0-4999999 get:/10m range:5000000-10485759 get:/10m all
	client_is_content
	client_said "^stream 1 status 206 length 5000000 body 5000000 $(head -c 5000000 "$SUITE/www/10m" | sha256sum | cut -d' ' -f1) whole$"
	client_said "^stream 2 status 206 length 5485760 body 5485760 $(tail -c 5485760 "$SUITE/www/10m" | sha256sum | cut -d' ' -f1) whole$"
	h2_path_is 2
}

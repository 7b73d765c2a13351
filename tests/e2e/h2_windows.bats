# SPDX-License-Identifier: GPL-2.0-or-later
# Flow control of HTTP/2 (RFC 9113 5.2, 6.9) while bodies are sealed by grants: h2_client ends with a fault if a window is exceeded by
# a byte, and waits 20 s for one that is not used.
# flavours: asan recorder
# shellcheck shell=bash

load "$E2E_DIR/helper"

setup_file() {
	lab_start
}

teardown_file() {
	lab_stop
}

# client_is_content: every step was done, and no rule was broken.
client_is_content() {
	equal "exit status" "$client_status" 0
}

@test_h2 "windows of any size, down to few bytes, never stall a body" {
	local window file
	for window in 100 1000 16374 16375 16384 65535 200000 16777216; do
		file=2m
		[ "$window" -gt 1000 ] || file=100k
		h2_client --window "$window" "get:/$file" all
		client_is_content
		streams_whole 1 "$file"
	done
}

@test_h2 "the initial window is lowered in the middle of a body, to nothing and below what is under way, and raised again" {
	h2_client --window 262144 get:/10m data:1000000 manual initial:0 quiet:60 ping auto initial:1 initial:16384 data:500000 \
		initial-now:0 initial-now:300000 settled initial:1048576 all
	client_is_content
	streams_whole 1 10m
}

@test_h2 "nothing comes beyond the connection's window, and all when it opens, in pieces of any size" {
	h2_client manual get:/10m get:/2m data:1048576 quiet:60 ping window:0:1 window:0:100 data:101 quiet:60 window:0:70000 data:70000 quiet:60 auto all
	client_is_content
	streams_whole 1 10m
	streams_whole 1 2m
}

@test_h2 "a stream whose window is used up holds no other one up" {
	h2_client --window 65535 manual get:/10m data:65535 quiet:60 auto manual get:/16385 stream:2 window:1:1000 data:1000 get:/100 \
		window:1:9 data:9 auto all
	client_is_content
	streams_whole 1 10m
	streams_whole 1 16385
	client_said '^stream 3 status 404 '
}

@test_h2 "windows are opened for many streams in turn, a record at a time" {
	local steps=() i k
	for ((i = 0; i < 40; i++)); do
		for k in 3 1 2; do
			steps+=("window:$k:16384" "window:0:16384" data:16384)
		done
	done
	h2_client --window 0 manual get:/2m get:/2m get:/2m "${steps[@]}" ping auto initial:1048576 all
	client_is_content
	streams_whole 3 2m
}

@test_h2 "a window that grows too large ends the stream or the connection, not the site" {
	# WINDOW_UPDATE of 2^31 - 1, twice at once: the first one alone is no error if the window is used up (RFC 9113 6.9.1). The client credits
	# nothing afterwards, since what reaches a socket that HAProxy has closed resets the connection, and takes the GOAWAY with it.
	local stream=0000040800000000017fffffff connection=0000040800000000007fffffff
	h2_client get:/10m data:100000 manual "frame:$stream$stream" all || :
	client_said '^stream 1 status 200 .* reset 3$' || client_said '^goaway [0-9]+ 3$'
	site_serves
	h2_client get:/10m data:100000 manual "frame:$connection$connection" all || :
	client_said '^goaway [0-9]+ 3$'
	stream_cut_or_whole 1 10m
	site_serves
}

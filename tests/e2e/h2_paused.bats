# SPDX-License-Identifier: GPL-2.0-or-later
# A client that does not read for a while: its socket is full of records, and the node is not to blame.
# flavours: asan recorder
# shellcheck shell=bash

load "$E2E_DIR/helper"

setup_file() {
	lab_start pipesize=65536 sndbuf=65536
}

teardown_file() {
	lab_stop
}

@test_h2 "a client that pauses longer than a node may take for an answer costs no grant" {
	h2_client --rcvbuf 65536 --window 16777216 get:/2m data:600000 pause:2500 data:500000 pause:2500 all
	equal "exit status" "$client_status" 0
	streams_whole 1 2m
	client_said '^keyupdates 0$'
	has_lines "$LAB/haproxy.log" "^id=$id .*path=$(h2_path) .*GET [^ ]*/2m "
}

# SPDX-License-Identifier: GPL-2.0-or-later
# The check of captures finds each fault that it looks for, and no fault in what has none: otherwise its silence elsewhere would mean
# nothing.
# flavours: recorder
# shellcheck shell=bash

# shellcheck source-path=SCRIPTDIR
source "$E2E_DIR/assertions.bash"

bats_require_minimum_version 1.5.0

SERVER=192.0.2.100

# forged FAULT: check_capture's output in $output, its status in $status.
forged() {
	"$LAB_TOOLS/forge_capture" "$1" "$BATS_TEST_TMPDIR/pcap" $SERVER 443
	run "$LAB_TOOLS/check_capture" "${@:2}" "$BATS_TEST_TMPDIR/pcap" $SERVER 443
}

# finds FAULT KIND [OPTION]: it, and nothing else.
finds() {
	forged "$1" "${@:3}"
	echo "$output"
	equal "status" "$status" 1
	equal "lines of output" "${#lines[@]}" 2
	[[ ${lines[0]} == "198.51.100.2:40000 "*" $2: "* ]]
	[[ ${lines[1]} == *", 1 faults" ]]
}

@test "a sound connection has no fault" {
	forged none --bytes 6010
	echo "$output"
	equal "status" "$status" 0
	equal "output" "$output" "capture: 1 connections, 6010 bytes of the server, 0 faults"
}

@test "a reset is found" {
	finds reset reset
}

@test "a gap is found" {
	finds gap gap
	finds gap-at-the-end gap
}

@test "other bytes in the same place are found" {
	finds content content
}

@test "bytes beyond the window are found" {
	forged window
	echo "$output"
	equal "status" "$status" 1
	[[ ${lines[0]} == *" window: "* ]]
}

@test "acknowledgements that go back, or too far, are found" {
	finds ack-back ack
	finds ack-unsent ack
}

@test "time stamps that go back, are missing or echo nothing are found" {
	finds timestamp-back timestamp
	finds timestamp-missing timestamp
	finds timestamp-echo timestamp
}

@test "acknowledgements and time stamps of a stale host may go back, nothing else" {
	forged ack-back --stale-host
	equal "status" "$status" 0
	forged timestamp-back --stale-host
	equal "status" "$status" 0
	finds content content --stale-host
	finds reset reset --stale-host
}

@test "what comes behind the end is found" {
	finds finished finished
	forged second-finish
	echo "$output"
	equal "status" "$status" 1
	[[ ${lines[0]} == *" finished: "* ]]
}

@test "a client that resets is found where it must not" {
	finds reset-by-client reset-by-client --no-client-reset
	forged reset-by-client
	equal "status" "$status" 0
}

@test "too little captured is a fault" {
	forged none --bytes 6011
	equal "status" "$status" 1
	forged none --connections 2
	equal "status" "$status" 1
}

@test "what is no capture, or only half of one, is refused" {
	run -2 "$LAB_TOOLS/check_capture" "$LAB_TOOLS/check_capture" $SERVER 443
	"$LAB_TOOLS/forge_capture" none "$BATS_TEST_TMPDIR/pcap" $SERVER 443
	# Without the three packets of the handshake.
	python3 - "$BATS_TEST_TMPDIR/pcap" <<-'CUT'
		import struct, sys
		data = open(sys.argv[1], "rb").read()
		at = 24
		for _ in range(3):
		    at += 16 + struct.unpack("<I", data[at + 8 : at + 12])[0]
		open(sys.argv[1], "wb").write(data[:24] + data[at:])
	CUT
	run -2 "$LAB_TOOLS/check_capture" "$BATS_TEST_TMPDIR/pcap" $SERVER 443
	[[ $output == *"the beginning of "*" was not captured"* ]]
}

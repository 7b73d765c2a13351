# SPDX-License-Identifier: GPL-2.0-or-later
# What passes between the site and its clients, seen where both hosts that may send are in order: in the router, before the client's
# wire. For labs with hosts of their own.
# shellcheck shell=bash

# capture_start: from now on; one at a time, so that one which a test has left behind ends.
capture_start() {
	! process_running capture || process_stop capture
	rm -f "$LAB/capture.log"
	process_start capture "$(PATH=$PATH:/usr/sbin command -v tcpdump)" -U -n -s 0 \
		-B 131072 -i client -w "$LAB/capture.pcap" "tcp port $SITE_PORT or udp port 9"
	process_ready capture grep -q '^tcpdump: listening' "$LAB/capture.log"
}

# marker_captured: what was sent before it is in the file too.
marker_captured() {
	on client bash -c "echo '$1' >/dev/udp/$LAB_ADDRESS/9" 2>/dev/null || :
	grep -aq "$1" "$LAB/capture.pcap"
}

# capture_stop: once all is written that has passed. Fails if tcpdump missed packets.
capture_stop() {
	wait_until marker_captured "end-of-capture-$BATS_TEST_NUMBER-$RANDOM"
	process_stop capture
	grep -q '^0 packets dropped by kernel' "$LAB/capture.log" || { cat "$LAB/capture.log"; return 1; }
}

# capture_sound [OPTION]...: stops it; no connection shows a trace of having been moved. Options are check_capture's.
capture_sound() {
	capture_stop
	"$LAB_TOOLS/check_capture" "$@" "$LAB/capture.pcap" "${address:-$LAB_ADDRESS}" "$SITE_PORT"
	rm "$LAB/capture.pcap"
}

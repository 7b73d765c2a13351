# SPDX-License-Identifier: GPL-2.0-or-later
# Digests on the direct path: a file whose time has whole seconds goes directly, and a replica with the same content goes on with its
# body when its node dies, whatever the replica's time. One with another content does not.
# shellcheck shell=bash

load "$E2E_DIR/helper"
# shellcheck source-path=SCRIPTDIR
source "$E2E_DIR/handed_off.bash"
# shellcheck source-path=SCRIPTDIR
source "$E2E_DIR/digests.bash"

setup_file() {
	lab_network=1
	digests_lab_start 100m 100k
}

@test "a node that is killed: a replica with another time and the same digest goes on" {
	reads_slowly /100m
	process_signal "$node" KILL
	process_wait "$node"
	touch "$WORK/go"
	tls_client_wait
	equal "exit status" "$client_status" 0
	client_said "^body 104857600 $(sum_of 100m)$"
	client_said "^body 102400 $(sum_of 100k)$"
	path_is direct
}

@test "a node that is killed: a replica with the same size and time and another content does not go on" {
	local other
	reads_slowly /100m
	[ "$node" = n1 ] && other=n2 || other=n1
	cp "$SUITE/www/twin-100m" "$WORK/twin"
	touch -r "$LAB/$other-www/100m" "$WORK/twin"
	cp -p "$WORK/twin" "$LAB/$other-www/100m"
	process_signal "$node" KILL
	process_wait "$node"
	touch "$WORK/go"
	tls_client_wait
	equal "exit status" "$client_status" 4
	client_said "^cut "
}

@test "a file that is written in place, its time being put back, while its node sends it: the node breaks off" {
	deploy "$SUITE/www/100m" written
	digested written
	reads_slowly /written
	cp "$LAB/$node-www/written" "$WORK/same"
	touch -r "$LAB/$node-www/written" "$WORK/same"
	cp -p "$WORK/same" "$LAB/$node-www/written"
	touch "$WORK/go"
	tls_client_wait
	# The other node has it untouched.
	equal "exit status" "$client_status" 0
	client_said "^body 104857600 $(sum_of 100m)$"
	says 'is taken over: the file changed during the transfer'
}

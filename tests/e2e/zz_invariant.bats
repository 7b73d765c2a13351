# SPDX-License-Identifier: GPL-2.0-or-later
# Last: invariant 1 over every seal of every test of this run, of all labs together (DESIGN 4).
# shellcheck shell=bash

load "$E2E_DIR/helper"

@test "no (key, nonce) was used for two plaintexts in this whole run" {
	local logs=("$SUITE"/seals/*)
	[ -e "${logs[0]}" ] || { not_seen "records of seals" "none: are the programs built with the seal recorder?"; return 1; }
	if grep -q DISC_SEAL_LOG "$DISC_BIN_BACKEND"; then
		check_seals --require "${logs[@]}"
	else
		# Nodes without the recorder: what HAProxy sealed is checked.
		check_seals "${logs[@]}" >"$WORK/verdict"
		not grep 'load balancer 0,' "$WORK/verdict"
	fi
}

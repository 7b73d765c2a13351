# SPDX-License-Identifier: GPL-2.0-or-later
# What every .bats file loads: the lab, clients, assertions, and what happens around each test.
# shellcheck shell=bash

# bats looks at every command, so that it can tell which one failed; for a helper this takes longer than what the helper does. Those
# that are called much or do much begin with "local - && set +T", which spares their commands that look.
# shellcheck source-path=SCRIPTDIR
source "$E2E_DIR/wait.bash"
source "$E2E_DIR/processes.bash"
source "$E2E_DIR/lab.bash"
source "$E2E_DIR/clients.bash"
source "$E2E_DIR/assertions.bash"
source "$E2E_DIR/capture.bash"

bats_require_minimum_version 1.5.0

# long SHORT WHOLE: what make test takes, and what make test-long takes. Where it is used a line "# long: WHAT" says what is short.
long() {
	if [ -n "${DISC_LONG:-}" ]; then echo "$2"; else echo "$1"; fi
}

setup() {
	mode=${mode:-plain}
	WORK=$BATS_TEST_TMPDIR
	[ -z "${LAB_NETWORK:-}" ] || egress_mark
}

teardown() {
	local failed=0
	[ -n "${BATS_TEST_COMPLETED:-}" ] || failed=1
	if [ -n "${LAB:-}" ]; then
		processes_sound || failed=1
		[ "$failed" = 0 ] || print_logs
	fi
	return "$failed"
}

# SPDX-License-Identifier: GPL-2.0-or-later
# Waiting for conditions, never for time.
# shellcheck shell=bash

PATIENCE=${PATIENCE:-15} # seconds
POLL_INTERVAL=0.02       # seconds between two looks at a condition

# wait_until COMMAND...: runs it until it succeeds; fails, and says so, when PATIENCE is over.
wait_until() {
	local end=$((SECONDS + PATIENCE))
	until "$@" >/dev/null 2>&1; do
		if [ "$SECONDS" -ge "$end" ]; then
			echo "still not so after $PATIENCE s: $*"
			return 1
		fi
		sleep "$POLL_INTERVAL"
	done
}

# wait_for_line FILE REGEX [COUNT]: until FILE has at least COUNT lines that match.
wait_for_line() {
	wait_until has_lines "$@"
}

has_lines() {
	[ "$(grep -cE -- "$2" "$1")" -ge "${3:-1}" ]
}

not() {
	! "$@"
}

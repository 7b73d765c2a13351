# SPDX-License-Identifier: GPL-2.0-or-later
# Waiting for conditions, never for time.
# shellcheck shell=bash

PATIENCE=${PATIENCE:-60} # seconds: for a machine that has much else to do
# Seconds between two looks at a condition: the longer it takes, the rarer, for each look costs the others time.
POLL_INTERVALS=(0.02 0.02 0.02 0.05 0.05 0.05 0.1 0.1 0.1 0.1 0.2)

# wait_until COMMAND...: runs it until it succeeds; fails, and says so, when PATIENCE is over.
wait_until() {
	local - && set +T
	local end=$((SECONDS + PATIENCE)) said looks=0
	until "$@" >/dev/null 2>&1; do
		if [ "$SECONDS" -ge "$end" ]; then
			said=$("$@" 2>&1 | head -n 1) || :
			not_seen "within $PATIENCE s: $*" "not so${said:+: $said}"
			return 1
		fi
		sleep "${POLL_INTERVALS[looks]}"
		[ "$looks" -ge $((${#POLL_INTERVALS[@]} - 1)) ] || looks=$((looks + 1))
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

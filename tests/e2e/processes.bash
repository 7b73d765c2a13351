# SPDX-License-Identifier: GPL-2.0-or-later
# The processes of a lab. Each run of a program has a folder of its own, with its pid and, once it has ended, its exit
# status; $LAB/running/NAME points to the folder of the one that now bears the name. Only processes started here are
# ever signalled, by their pid.
# shellcheck shell=bash

# process_start NAME COMMAND...: in the background, on its host, its output in $LAB/NAME.log.
process_start() {
	local - && set +T
	local name=$1 run
	shift
	mkdir -p "$LAB/running"
	run=$(mktemp -d "$LAB/run.$name.XXXXXX")
	[ -z "${LAB_NETWORK:-}" ] || set -- ip netns exec "$LAB_NETWORK-$(host_of "$name")" "$@"
	# The outer shell only waits for the exit status, apart from bats, whose descriptor 3 must not be kept open.
	(
		trap '' INT
		exec >>"$LAB/$name.log" 2>&1
		# HAProxy takes O_APPEND off what it logs to, and its successor would overwrite what it has written.
		[[ $name != haproxy* ]] || exec > >(exec cat) 2>&1
		"$@" </dev/null 3>&- &
		echo $! >"$run/pid.new"
		mv "$run/pid.new" "$run/pid"
		status=0
		wait $! || status=$?
		echo "$status" >"$run/exit.new"
		mv "$run/exit.new" "$run/exit"
	) >/dev/null 2>&1 </dev/null 3>&- &
	ln -sfn "$run" "$LAB/running/$name"
	wait_until test -s "$run/pid"
}

# process_rename OLD NEW: so that OLD's name is free for its successor.
process_rename() {
	mv -T "$LAB/running/$1" "$LAB/running/$2"
}

# process_ready NAME CONDITION...: waits for the condition, but not for a process that has ended.
process_ready() {
	local name=$1
	shift
	wait_until ended_or "$name" "$@"
	"$@" >/dev/null 2>&1 || {
		print_logs
		not_seen "$name is ready: $*" "it ended: $(tail -n 1 "$LAB/$name.log")"
	}
}

ended_or() {
	process_ended "$1" || "${@:2}"
}

process_pid() {
	cat "$LAB/running/$1/pid"
}

process_running() {
	[ -s "$LAB/running/$1/pid" ] && ! process_ended "$1"
}

process_ended() {
	[ -e "$LAB/running/$1/exit" ]
}

# process_status NAME: the exit status of one that has ended.
process_status() {
	cat "$LAB/running/$1/exit"
}

# process_signal NAME SIGNAL
process_signal() {
	process_running "$1" && kill -"$2" "$(process_pid "$1")"
}

# process_freeze NAME: stops it, and returns when none of its threads runs any more. The signal alone does not tell: until the thread
# that takes it gets a CPU, the others go on.
process_freeze() {
	process_signal "$1" STOP
	wait_until process_frozen "$1"
}

process_frozen() {
	local pid
	pid=$(process_pid "$1")
	! cat "/proc/$pid"/task/*/stat | sed 's/.*) //' | grep -qv '^T'
}

# process_wait NAME: until it has ended; leaves its exit status in $ended_with and no longer misses it.
process_wait() {
	wait_until process_ended "$1"
	ended_with=$(process_status "$1")
	rm "$LAB/running/$1"
}

# process_stop NAME [SIGNAL]: ends it and waits for that.
process_stop() {
	local - && set +T
	if process_running "$1"; then
		kill -CONT "$(process_pid "$1")" || :
		kill -"${2:-TERM}" "$(process_pid "$1")" || :
		if ! wait_until process_ended "$1"; then
			not_seen "$1 ends on ${2:-TERM}" "it goes on" || :
			kill -KILL "$(process_pid "$1")" || :
			process_wait "$1"
			return 1
		fi
	fi
	process_wait "$1"
}

# Names of the processes that should be running.
process_names() {
	ls "$LAB/running"
}

# Fails if a process ended that nobody stopped, or if a sanitizer or the recorder spoke in any log.
processes_sound() {
	local - && set +T
	local name sound=0
	for name in $(process_names); do
		if process_ended "$name"; then
			not_seen "$name goes on" "it ended by itself with status $(process_status "$name")" || sound=1
		fi
	done
	if grep -HE 'AddressSanitizer|LeakSanitizer|runtime error:|^(seal|proof) recorder:|FATAL: bug condition|is about to kill the process' \
		"$LAB"/*.log; then
		sound=1
	fi
	return $sound
}

# What every process of the lab logged last. All of it is kept in $DISC_TEST_LOGS.
print_logs() {
	local - && set +T
	local log kept=$DISC_TEST_LOGS/$(basename "$BATS_TEST_FILENAME" .bats).${BATS_TEST_NUMBER:-0}
	mkdir -p "$kept"
	cp "$LAB"/*.log "$kept"
	for log in "$LAB"/*.log; do
		echo "--- $(basename "$log") (last 60 of $(wc -l <"$log") lines)"
		tail -n 60 "$log" | cut -c1-400
	done
}

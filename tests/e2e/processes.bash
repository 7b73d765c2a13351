# SPDX-License-Identifier: GPL-2.0-or-later
# The processes of a lab: each has a name; $LAB/NAME.pid, $LAB/NAME.log and, once it has ended, $LAB/NAME.exit belong to it.
# Only processes started here are ever signalled, by their pid.
# shellcheck shell=bash

# process_start NAME COMMAND...: in the background, its output in $LAB/NAME.log.
process_start() {
	local name=$1
	shift
	rm -f "$LAB/$name.exit" "$LAB/$name.pid"
	# The outer shell only waits for the exit status, apart from bats, whose descriptor 3 must not be kept open.
	(
		trap '' INT
		"$@" >>"$LAB/$name.log" 2>&1 </dev/null 3>&- &
		echo $! >"$LAB/$name.pid.new"
		mv "$LAB/$name.pid.new" "$LAB/$name.pid"
		status=0
		wait $! || status=$?
		echo "$status" >"$LAB/$name.exit.new"
		mv "$LAB/$name.exit.new" "$LAB/$name.exit"
	) >/dev/null 2>&1 </dev/null 3>&- &
	wait_until test -s "$LAB/$name.pid"
}

# process_ready NAME CONDITION...: waits for the condition, but not for a process that has ended.
process_ready() {
	local name=$1
	shift
	wait_until ended_or "$name" "$@"
	"$@" >/dev/null 2>&1 || { echo "$name ended at once:"; tail -n 5 "$LAB/$name.log"; return 1; }
}

ended_or() {
	process_ended "$1" || "${@:2}"
}

process_pid() {
	cat "$LAB/$1.pid"
}

process_running() {
	[ -s "$LAB/$1.pid" ] && [ ! -e "$LAB/$1.exit" ]
}

process_ended() {
	[ -e "$LAB/$1.exit" ]
}

# process_signal NAME SIGNAL
process_signal() {
	process_running "$1" && kill -"$2" "$(process_pid "$1")"
}

# process_stop NAME [SIGNAL]: ends it and waits until it has ended. It is then no longer missed when it is gone.
process_stop() {
	local name=$1
	if process_running "$name"; then
		kill -CONT "$(process_pid "$name")" || :
		kill -"${2:-TERM}" "$(process_pid "$name")" || :
		if ! wait_until process_ended "$name"; then
			echo "$name did not end on ${2:-TERM}"
			kill -KILL "$(process_pid "$name")" || :
			wait_until process_ended "$name"
			return 1
		fi
	fi
	mv "$LAB/$name.exit" "$LAB/$name.ended"
	rm -f "$LAB/$name.pid"
}

# Names of the processes that should be running.
process_names() {
	local file
	for file in "$LAB"/*.pid; do
		[ -e "$file" ] && basename "$file" .pid
	done
	return 0
}

# Fails if a process ended that nobody stopped, or if a sanitizer spoke in any log.
processes_sound() {
	local name sound=0
	for name in $(process_names); do
		if process_ended "$name"; then
			echo "$name ended by itself with status $(cat "$LAB/$name.exit")"
			sound=1
		fi
	done
	if grep -lE 'AddressSanitizer|LeakSanitizer|runtime error:|seal recorder:|FATAL: bug condition|Thread .* is about to kill' \
		"$LAB"/*.log; then
		echo "a sanitizer or the seal recorder complained in the logs above"
		sound=1
	fi
	return $sound
}

# What every process of the lab logged last.
print_logs() {
	local log
	for log in "$LAB"/*.log; do
		echo "--- $(basename "$log") (last 60 lines of $(wc -l <"$log"))"
		tail -n 60 "$log" | cut -c1-400
	done
}

# SPDX-License-Identifier: GPL-2.0-or-later
# A lab: HAProxy, disc-spoa and two nodes on a loopback address of its own, so that labs never get in each other's way.
#
#	lab_start [NAME=VALUE]...     in setup_file; the settings are those of lab_prepare
#	lab_stop                      in teardown_file; checks every seal that was recorded
#
# The site answers for three names: plain.lab.test is served without a lease, splice.lab.test through the splice path,
# pass.lab.test gets a lease that the policy then passes; see lab.cfg.
# shellcheck shell=bash

# lab_prepare [NAME=VALUE]...: chooses address and ports and sets what the configuration files refer to; starts nothing.
lab_prepare() {
	LAB=$BATS_FILE_TMPDIR/lab
	rm -rf "$LAB"
	mkdir -p "$LAB/running"
	# All of a lab's ports are chosen at once: chosen one after another, two could be the same.
	local port_names=(SITE_PORT COMPRESSION_PORT CACHE_PORT LUA_PORT TRACE_PORT CLEAR_PORT TCP_PORT ADMIN_PORT SPOP_PORT
		N1_FETCH N1_CONTROL N2_FETCH N2_CONTROL N1_FAKE N2_FAKE ORIGIN_PORT MIDDLE_PORT STUDY_PORT RAW_PORT GUNICORN_PORT) ports i

	# Settings, each with its default.
	local -A set=(
		[config]=lab.cfg        # HAProxy configuration files, "+"-separated, tests/e2e/ unless absolute
		[fake]=                 # non-empty: HAProxy fetches through tests/lab/fake_node
		[threads]=2
		[agent_certificate]=agent.lab.test
		[n1_certificate]=n1.lab.test
		[workers]=1             # of disc-spoa and of each node
		[abortonclose]=         # non-empty: HAProxy's option abortonclose
		[min_size]=1            # bytes; smaller bodies are declined by the nodes
		[server_timeout]=10s    # HAProxy's timeout server
		[bufsize]=16384         # HAProxy's tune.bufsize
		[retries]=2             # HAProxy's retries
		[redispatch]=1          # HAProxy's option redispatch
		[maxrewrite]=1024       # HAProxy's tune.maxrewrite
		[maxrecord]=0           # HAProxy's tune.ssl.maxrecord
	)
	for i; do
		[[ -v set[${i%%=*}] ]] || { echo "unknown setting: $i"; return 1; }
		set[${i%%=*}]=${i#*=}
	done

	LAB_ADDRESS=127.$((64 + ($$ >> 16) % 64)).$((($$ >> 8) & 255)).$(($$ & 255))
	mapfile -t ports < <("$LAB_TOOLS/free_ports" "$LAB_ADDRESS" ${#port_names[@]})
	for i in "${!port_names[@]}"; do
		declare -gx "${port_names[i]}=${ports[i]}"
	done
	LAB_FAKE=${set[fake]} LAB_THREADS=${set[threads]}
	N1_SERVER=$N1_FETCH N2_SERVER=$N2_FETCH
	if [ -n "$LAB_FAKE" ]; then
		N1_SERVER=$N1_FAKE N2_SERVER=$N2_FAKE
	fi
	SERVER_TIMEOUT=${set[server_timeout]} BUFSIZE=${set[bufsize]} MAXREWRITE=${set[maxrewrite]} MAXRECORD=${set[maxrecord]}
	RETRIES=${set[retries]} REDISPATCH=${set[redispatch]}
	LAB_WORKERS=${set[workers]} LAB_ABORTONCLOSE=${set[abortonclose]}
	HAPROXY_CONFIG=${set[config]} N1_CERTIFICATE=${set[n1_certificate]} N2_CERTIFICATE=n2.lab.test
	AGENT_CERTIFICATE=${set[agent_certificate]} MIN_SIZE=${set[min_size]}
	export LAB_WORKERS
	[ -z "$LAB_ABORTONCLOSE" ] || export LAB_ABORTONCLOSE
	export SERVER_TIMEOUT BUFSIZE MAXREWRITE MAXRECORD RETRIES REDISPATCH
	export LAB LAB_ADDRESS LAB_FAKE LAB_THREADS N1_SERVER N2_SERVER HAPROXY_CONFIG AGENT_CERTIFICATE N1_CERTIFICATE N2_CERTIFICATE MIN_SIZE
	export DISC_SEAL_LOG=$SUITE/seals/$(basename "$BATS_TEST_FILENAME" .bats)
	# What the shipped haproxy.cfg wants to know.
	export DISC_CONFIG=$ROOT/config DISC_CERTIFICATE=$SUITE/tls/lab.test.pem DISC_BIND=$LAB_ADDRESS:$SITE_PORT
	export DISC_SPOA=$LAB_ADDRESS:$SPOP_PORT DISC_ADMIN=$LAB_ADDRESS:$ADMIN_PORT DISC_STATS_SOCKET=$LAB/haproxy.sock
	export DISC_NODE_1=$LAB_ADDRESS:$N1_SERVER DISC_NODE_2=$LAB_ADDRESS:$N2_SERVER
}

lab_start() {
	lab_prepare "$@"
	node_start n1
	node_start n2
	if [ -n "$LAB_FAKE" ]; then
		fake_start n1
		fake_start n2
	fi
	spoa_start
	haproxy_start
	[ "$AGENT_CERTIFICATE$N1_CERTIFICATE" != agent.lab.testn1.lab.test ] || nodes_alive
}

# node_config NAME: the configuration of n1 or n2.
node_config() {
	local fetch=${1^^}_FETCH control=${1^^}_CONTROL certificate=${1^^}_CERTIFICATE
	FETCH=${!fetch} CONTROL=${!control} CERTIFICATE=${!certificate} template "$E2E_DIR/disc-backend.conf.in"
}

# node_start NAME: n1 or n2.
node_start() {
	local fetch=${1^^}_FETCH control=${1^^}_CONTROL
	node_config "$1" >"$LAB/$1.conf"
	process_start "$1" "$DISC_BIN_BACKEND" -c "$LAB/$1.conf"
	process_ready "$1" port_open "${!fetch}"
	process_ready "$1" port_open "${!control}"
}

fake_start() {
	local fetch=${1^^}_FETCH fake=${1^^}_FAKE
	process_start "fake-$1" "$LAB_TOOLS/fake_node" --listen "$LAB_ADDRESS:${!fake}" --node "$LAB_ADDRESS:${!fetch}" \
		--release "$LAB/release"
	process_ready "fake-$1" port_open "${!fake}"
}

spoa_start() {
	: >>"$LAB/disc-spoa.log"
	# Where the log of this run of it begins.
	echo $(($(wc -l <"$LAB/disc-spoa.log") + 1)) >"$LAB/spoa-log-start"
	template "$E2E_DIR/disc-spoa.conf.in" >"$LAB/disc-spoa.conf"
	process_start disc-spoa "$DISC_BIN_SPOA" -c "$LAB/disc-spoa.conf"
	process_ready disc-spoa port_open "$SPOP_PORT"
}

# agent_says NODE up|down: what disc-spoa last logged about it.
agent_says() {
	local last
	last=$(tail -n "+$(<"$LAB/spoa-log-start")" "$LAB/disc-spoa.log" |
		grep -oE "node $1 \\([^)]*\\) (is up|is down|cannot be reached)" | tail -n 1)
	case $2 in
	up) [[ $last == *up ]] ;;
	down) [[ $last == *down || $last == *reached ]] ;;
	esac
}

# nodes_alive: waits until disc-spoa may offer to both.
nodes_alive() {
	wait_until agent_says n1 up
	wait_until agent_says n2 up
}

# haproxy_arguments: one per line.
haproxy_arguments() {
	local file
	for file in ${HAPROXY_CONFIG//+/ }; do
		[[ $file == /* ]] || file=$E2E_DIR/$file
		printf '%s\n' -f "$file"
	done
}

# haproxy_start [ARGUMENT]...
haproxy_start() {
	local arguments
	template "$E2E_DIR/spoe.conf.in" >"$LAB/spoe.conf"
	mapfile -t arguments < <(haproxy_arguments)
	process_start haproxy "$DISC_BIN_HAPROXY" -db "${arguments[@]}" "$@"
	process_ready haproxy haproxy_answers
}

# haproxy_reload: a new process takes over; the old one, now "haproxy-old", goes on until its transfers are done.
haproxy_reload() {
	process_rename haproxy haproxy-old
	haproxy_start -sf "$(process_pid haproxy-old)"
}

haproxy_answers() {
	[ "$(haproxy_cli 'show info' | sed -n 's/^Pid: //p')" = "$(process_pid haproxy)" ]
}

# haproxy_cli COMMAND: its answer.
haproxy_cli() {
	timeout 10 socat -t 10 - "UNIX-CONNECT:$LAB/haproxy.sock" <<<"$1"
}

# template FILE: replaces @NAME@ by the variable's value.
template() {
	local text name
	text=$(<"$1")
	while [[ $text =~ @([A-Z0-9_]+)@ ]]; do
		name=${BASH_REMATCH[1]}
		text=${text//"@$name@"/"${!name?not set, but in $1}"}
	done
	printf '%s\n' "$text"
}

port_open() {
	(exec 4<>"/dev/tcp/$LAB_ADDRESS/$1") 2>/dev/null
}

# lab_stop: ends every process, HAProxy first, and checks all seals of this file's lab.
lab_stop() {
	local name failed=0
	processes_sound || failed=1
	for name in $(process_names | grep '^haproxy') $(process_names | grep -v '^haproxy'); do
		process_stop "$name" || failed=1
		# Both our programs end with 0 on TERM; anything else is a fault, or a sanitizer's.
		case $name in
		disc-spoa | n1 | n2) equal "exit status of $name" "$ended_with" 0 || failed=1 ;;
		esac
	done
	processes_sound || failed=1
	seals_checked || failed=1
	[ "$failed" = 0 ] || print_logs
	return "$failed"
}

# check_seals [--require] LOG...: tests/lab/check_seals with the names that the programs under test have.
check_seals() {
	"$LAB_TOOLS/check_seals" --lb "$(basename "$DISC_BIN_HAPROXY")" --node "$(basename "$DISC_BIN_BACKEND")" "$@"
}

# Invariant 1 over everything that this file's lab did. Needs programs that were built with the recorder.
seals_checked() {
	[ -e "$DISC_SEAL_LOG" ] || return 0
	check_seals "$DISC_SEAL_LOG"
}

# SPDX-License-Identifier: GPL-2.0-or-later
# A lab: HAProxy, disc-spoa and two nodes on a loopback address of its own, so that labs never get in each other's way. With
# lab_network=1 each has a host of its own instead, and so has the client, as network namespaces (tests/lab/network): that is where
# connections can be handed to nodes.
#
#	lab_start [NAME=VALUE]...     in setup_file; the settings are those of lab_prepare
#	lab_stop                      in teardown_file; checks every seal that was recorded
#
# The site answers for these names: plain.lab.test is served without a lease, splice.lab.test through the splice path,
# direct.lab.test through the direct path where there is one, pass.lab.test gets a lease that the policy then passes; see lab.cfg.
# shellcheck shell=bash

# lab_prepare [NAME=VALUE]...: chooses address and ports and sets what the configuration files refer to; starts nothing.
lab_prepare() {
	local - && set +T
	LAB=$BATS_FILE_TMPDIR/lab
	rm -rf "$LAB"
	mkdir -p "$LAB/running" "$LAB/records"
	# All of a lab's ports are chosen at once: chosen one after another, two could be the same.
	local port_names=(SITE_PORT COMPRESSION_PORT CACHE_PORT LUA_PORT TRACE_PORT CLEAR_PORT TCP_PORT ADMIN_PORT SPOP_PORT
		N1_FETCH N1_CONTROL N2_FETCH N2_CONTROL N1_FAKE N2_FAKE ORIGIN_PORT MIDDLE_PORT STUDY_PORT RAW_PORT GUNICORN_PORT
		SPOA_ADMIN NODE_ADMIN MUTUAL_PORT CHAINED_PORT TLS_ORIGIN_PORT QUIC_PORT
		INSPECTION_PORT MARKED_PORT PACED_PORT PACED_TOGETHER_PORT PACED_BEHIND_PORT WAF_PORT ASKED_FIRST_PORT ASKED_LAST_PORT ASKED_ON_EVENTS_PORT DNS_PORT) ports i

	# Settings, each with its default.
	local -A set=(
		[config]=lab.cfg        # HAProxy configuration files, "+"-separated, tests/e2e/ unless absolute
		[agent_config]=disc-spoa.conf.in
		[routes]=               # more routes of disc-spoa, before the others
		[arguments]=            # more arguments of the SPOE message
		[fake]=                 # non-empty: HAProxy fetches through tests/lab/fake_node
		[threads]=2
		[agent_certificate]=agent.lab.test
		[n1_certificate]=n1.lab.test
		[workers]=1             # of each node, and of disc-spoa, which has one with a direct section
		[abortonclose]=         # non-empty: HAProxy's option abortonclose
		[hash]=                 # non-empty: what HAProxy proxies by itself it takes from the node that disc-spoa would choose
		[splice_min]=1          # bytes from which bodies are offloaded, but sized.lab.test's: 20000
		[direct_min]=2097152    # and from which auto.lab.test's go directly; sized.lab.test's: 100000
		[server_timeout]=10s    # HAProxy's timeout server
		[client_timeout]=30s    # and timeout client
		[agent_timeout]=5s      # of SPOE, hello and processing: long, for a machine without a free CPU
		[bufsize]=16384         # HAProxy's tune.bufsize
		[retries]=2             # HAProxy's retries
		[redispatch]=1          # HAProxy's option redispatch
		[maxrewrite]=1024       # HAProxy's tune.maxrewrite
		[pipesize]=1048576      # HAProxy's tune.pipesize
		[sndbuf]=0              # HAProxy's tune.sndbuf.client; 0: the kernel's choice
		[maxrecord]=0           # HAProxy's tune.ssl.maxrecord
		[hard_maxrecord]=       # and tune.ssl.hard-maxrecord
		[hard_stop]=60s         # HAProxy's hard-stop-after
		[keys]=${lab_keys:-${DISC_KEYS:-connection}} # HAProxy's disc-lease keys, TLS 1.3's
		[direct]=               # more fields of disc-spoa's section direct
		[node_direct]=          # and of the nodes'
		[wire]=                 # options of tests/lab/lossy_wire, the client's wire then
	)
	for i; do
		[[ -v set[${i%%=*}] ]] || { echo "unknown setting: $i"; return 1; }
		set[${i%%=*}]=${i#*=}
	done

	AGENT_CONFIG=${set[agent_config]} SPOE_ARGUMENTS=${set[arguments]} MORE_ROUTES=${set[routes]}
	export AGENT_CONFIG SPOE_ARGUMENTS MORE_ROUTES
	HAPROXY_CONFIG=${set[config]} LAB_DIRECT=${set[direct]} LAB_NODE_DIRECT=${set[node_direct]}
	LAB_WIRE=${set[wire]}
	if [ -n "${lab_network:-}" ]; then
		network_up
	else
		LAB_NETWORK=
		LAB_ADDRESS=127.$((64 + ($$ >> 16) % 64)).$((($$ >> 8) & 255)).$(($$ & 255))
		N1_ADDRESS=$LAB_ADDRESS N2_ADDRESS=$LAB_ADDRESS ORIGIN_ADDRESS=$LAB_ADDRESS
		SPOA_WORKERS=${set[workers]} SPOA_DIRECT='' N1_DIRECT='' N2_DIRECT='' NODE_DIRECT='' DIRECT_PATH=splice AUTO_PATH=splice
	fi
	export LAB_NETWORK SPOA_WORKERS LAB_ADDRESS N1_ADDRESS N2_ADDRESS ORIGIN_ADDRESS SPOA_DIRECT N1_DIRECT N2_DIRECT NODE_DIRECT DIRECT_PATH AUTO_PATH
	mapfile -t ports < <(on lb "$LAB_TOOLS/../../tools/free-ports" "$LAB_ADDRESS" ${#port_names[@]})
	for i in "${!port_names[@]}"; do
		declare -gx "${port_names[i]}=${ports[i]}"
	done
	LAB_FAKE=${set[fake]} LAB_THREADS=${set[threads]}
	[ -z "$LAB_NETWORK" ] || egress_count
	N1_SERVER=$N1_FETCH N2_SERVER=$N2_FETCH N1_SERVER_ADDRESS=$N1_ADDRESS N2_SERVER_ADDRESS=$N2_ADDRESS
	if [ -n "$LAB_FAKE" ]; then
		N1_SERVER=$N1_FAKE N2_SERVER=$N2_FAKE N1_SERVER_ADDRESS=$LAB_ADDRESS N2_SERVER_ADDRESS=$LAB_ADDRESS
	fi
	export N1_SERVER_ADDRESS N2_SERVER_ADDRESS
	SERVER_TIMEOUT=${set[server_timeout]} CLIENT_TIMEOUT=${set[client_timeout]} BUFSIZE=${set[bufsize]} MAXREWRITE=${set[maxrewrite]} PIPESIZE=${set[pipesize]} SNDBUF=${set[sndbuf]} MAXRECORD=${set[maxrecord]} HARD_STOP_AFTER=${set[hard_stop]}
	AGENT_TIMEOUT=${set[agent_timeout]} RETRIES=${set[retries]} REDISPATCH=${set[redispatch]}
	LAB_KEYS=${set[keys]}
	LAB_WORKERS=${set[workers]} LAB_ABORTONCLOSE=${set[abortonclose]} LAB_HARD_MAXRECORD=${set[hard_maxrecord]}
	N1_CERTIFICATE=${set[n1_certificate]} N2_CERTIFICATE=n2.lab.test
	AGENT_CERTIFICATE=${set[agent_certificate]} SPLICE_MIN=${set[splice_min]} DIRECT_MIN=${set[direct_min]}
	export LAB_WORKERS LAB_KEYS
	[ -z "$LAB_ABORTONCLOSE" ] || export LAB_ABORTONCLOSE
	[ -z "${set[hash]}" ] || export LAB_HASH=1
	[ -z "$LAB_HARD_MAXRECORD" ] || export LAB_HARD_MAXRECORD
	export SERVER_TIMEOUT CLIENT_TIMEOUT BUFSIZE MAXREWRITE PIPESIZE SNDBUF MAXRECORD HARD_STOP_AFTER RETRIES REDISPATCH AGENT_TIMEOUT
	export LAB LAB_ADDRESS LAB_FAKE LAB_THREADS N1_SERVER N2_SERVER HAPROXY_CONFIG AGENT_CERTIFICATE N1_CERTIFICATE N2_CERTIFICATE SPLICE_MIN DIRECT_MIN
	export DISC_SEAL_LOG=$SUITE/seals/$(basename "$BATS_TEST_FILENAME" .bats)${DISC_FLAVOUR:+.$DISC_FLAVOUR}
	export DISC_PROOF_LOG=$LAB/proofs
	: >"$DISC_PROOF_LOG"
	# What the shipped haproxy.cfg wants to know.
	export DISC_CONFIG=$ROOT/config DISC_CERTIFICATE=$SUITE/tls/lab.test.pem DISC_BIND=$LAB_ADDRESS:$SITE_PORT
	export DISC_SPOA=$LAB_ADDRESS:$SPOP_PORT DISC_ADMIN=$LAB_ADDRESS:$ADMIN_PORT DISC_STATS_SOCKET=$LAB/haproxy.sock
	export DISC_SPOA_ADMIN=$LAB_ADDRESS:$SPOA_ADMIN
	export DISC_NODE_1=$N1_SERVER_ADDRESS:$N1_SERVER DISC_NODE_2=$N2_SERVER_ADDRESS:$N2_SERVER
}

# network_up: makes the hosts, and sets what the configuration files say of the direct path.
network_up() {
	local - && set +T
	LAB_NETWORK=$LAB_RUN-$$
	IN_ORDER=1 CLIENT_WIRE=${LAB_WIRE:+$SUITE/bin/lossy_wire $LAB_WIRE} CLIENT_WIRE_LOG=$LAB/wire.out \
		"$LAB_TOOLS/network" up "$LAB_NETWORK" || return 1
	LAB_ADDRESS=192.0.2.100 LAB_ADDRESS6=2001:db8:1::100 ORIGIN_ADDRESS=192.0.2.10
	N1_ADDRESS=192.0.2.11 N2_ADDRESS=192.0.2.12
	export LAB_ADDRESS6
	HAPROXY_CONFIG+=+handoff_socket.cfg+unprivileged.cfg
	chmod o+x "$BATS_RUN_TMPDIR" # on the way to the handoff socket
	SPOA_WORKERS=1 # one loop has all connections that are handed off
	SPOA_DIRECT="direct {
	socket = \"$LAB/handoff.sock\"
	group = \"nogroup\"
	interface = {\"eth0\"}
	$LAB_DIRECT
}
admin { listen = \"@LAB_ADDRESS@:@SPOA_ADMIN@\" }"
	N1_DIRECT='fetch = "@N1_ADDRESS@:@N1_FETCH@"
	direct = {"192.0.2.11", "2001:db8:1::11"}'
	N2_DIRECT='fetch = "@N2_ADDRESS@:@N2_FETCH@"
	direct = {"192.0.2.12", "2001:db8:1::12"}'
	NODE_DIRECT="direct {
	vip = {\"$LAB_ADDRESS\", \"$LAB_ADDRESS6\"}
	interface = {\"eth0\"}
	congestion-control = \"reno\"
	$LAB_NODE_DIRECT
}
admin { listen = \"@NODE_ADDRESS@:@NODE_ADMIN@\" }"
	DIRECT_PATH=direct AUTO_PATH=auto
}

# on HOST COMMAND...: there, if the lab has hosts of its own; COMMAND is a program then.
on() {
	local host=$1
	shift
	if [ -n "${LAB_NETWORK:-}" ]; then
		ip netns exec "$LAB_NETWORK-$host" "$@"
	else
		"$@"
	fi
}

# host_of PROCESS: where it runs. Whatever is no node stands beside HAProxy.
host_of() {
	case $1 in
	n1 | n2) echo "$1" ;;
	capture) echo router ;;
	*) echo lb ;;
	esac
}

# What the LB's own stack sends to clients of the site is counted, whole IP packets.
egress_count() {
	on lb nft -f - <<-RULES
		table inet lab {
			counter egress {}
			chain output {
				type filter hook output priority 0
				ip saddr $LAB_ADDRESS tcp sport $SITE_PORT counter name egress
				ip6 saddr $LAB_ADDRESS6 tcp sport $SITE_PORT counter name egress
			}
		}
	RULES
}

# metric NAME, node_metric NODE NAME: of disc-spoa's, and of a node's; labs with hosts have them.
metric() {
	metric_at "$LAB_ADDRESS:$SPOA_ADMIN" "$1"
}

node_metric() {
	local address=${1^^}_ADDRESS
	metric_at "${!address}:$NODE_ADMIN" "$2"
}

metric_at() {
	on lb timeout 10 curl -sS "http://$1/metrics" | awk -v name="$2" '$1 == name { print $2; found = 1 } END { exit !found }'
}

# metric_sum REGEX: of disc-spoa's counters whose names, with labels, match.
metric_sum() {
	on lb timeout 10 curl -sS "http://$LAB_ADDRESS:$SPOA_ADMIN/metrics" | awk -v name="$1" '$1 ~ name { sum += $2 } END { print sum + 0 }'
}

# nothing_parked: every handoff has ended, at disc-spoa, at the nodes and in the kernel.
nothing_parked() {
	all_threads_reach_agent && [ "$(metric disc_spoa_handoffs)" = 0 ] && [ "$(metric disc_spoa_steering_flows)" = 0 ] &&
		[ "$(node_metric n1 disc_backend_direct_clones)" = 0 ] && [ "$(node_metric n2 disc_backend_direct_clones)" = 0 ]
}

# routes_forgotten: nodes remember for a second that they had a route to a client; that is over.
routes_forgotten() {
	local remembered=$((SECONDS + 1))
	wait_until second_is_over
}

second_is_over() {
	[ "$SECONDS" -gt "$remembered" ]
}

# descriptors PROCESS: how many it has open, without those of the connections from HAProxy to our programs: HAProxy keeps as many of
# them as it once needed at a time.
descriptors() {
	local pid kept before after
	pid=$(process_pid "$1")
	# Until nothing is opened or closed meanwhile: what is counted as kept must be open when all are counted.
	while before=$(ls "/proc/$pid/fd"); do
		kept=$(on "$(host_of "$1")" ss -Htnp state connected \
			"( sport = $SPOP_PORT or dport = $SPOP_PORT or sport = $N1_FETCH or dport = $N1_FETCH or sport = $N2_FETCH or dport = $N2_FETCH )" |
			grep -c "pid=$pid," || :)
		after=$(ls "/proc/$pid/fd")
		[ "$before" != "$after" ] || break
	done
	echo $(($(wc -l <<<"$after") - kept))
}

# has_descriptors PROCESS COUNT: no more of them.
has_descriptors() {
	[ "$(descriptors "$1")" -le "$2" ] || not_seen "$1 has at most $2 descriptors" "$(descriptors "$1")"
}

# egress_bytes: so many by now.
egress_bytes() {
	on lb nft list counter inet lab egress | sed -nE 's/.*bytes ([0-9]+).*/\1/p'
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
	local fetch=${1^^}_FETCH control=${1^^}_CONTROL certificate=${1^^}_CERTIFICATE address=${1^^}_ADDRESS
	NODE_ADDRESS=${!address} FETCH=${!fetch} CONTROL=${!control} CERTIFICATE=${!certificate} template "$E2E_DIR/disc-backend.conf.in"
}

# node_start NAME: n1 or n2.
node_start() {
	local fetch=${1^^}_FETCH control=${1^^}_CONTROL address=${1^^}_ADDRESS
	node_config "$1" >"$LAB/$1.conf"
	# The other library seals on n2, where there is one.
	if [ "$1" = n2 ]; then
		cp "$LAB/n2.conf" "$LAB/n2-other.conf"
		echo 'seal { library = "ipsec-mb" }' >>"$LAB/n2-other.conf"
		! "$DISC_BIN_BACKEND" -t -c "$LAB/n2-other.conf" &>/dev/null || cp "$LAB/n2-other.conf" "$LAB/n2.conf"
	fi
	process_start "$1" "$DISC_BIN_BACKEND" -c "$LAB/$1.conf"
	process_ready "$1" port_open "${!fetch}" "${!address}"
	process_ready "$1" port_open "${!control}" "${!address}"
}

fake_start() {
	local fetch=${1^^}_FETCH fake=${1^^}_FAKE address=${1^^}_ADDRESS
	process_start "fake-$1" "$LAB_TOOLS/fake_node" --listen "$LAB_ADDRESS:${!fake}" --node "${!address}:${!fetch}" \
		--release "$LAB/release" --records "$LAB/records" --proofs "$DISC_PROOF_LOG"
	process_ready "fake-$1" port_open "${!fake}"
}

spoa_start() {
	: >>"$LAB/disc-spoa.log"
	# Where the log of this run of it begins.
	echo $(($(wc -l <"$LAB/disc-spoa.log") + 1)) >"$LAB/spoa-log-start"
	template "$E2E_DIR/$AGENT_CONFIG" >"$LAB/disc-spoa.conf"
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

# nodes_alive: waits until disc-spoa may offer to both, and HAProxy may hand off to it if it can.
nodes_alive() {
	wait_until agent_says n1 up
	wait_until agent_says n2 up
	[ -z "$LAB_NETWORK" ] || wait_until all_threads_reach_agent
}

# all_threads_reach_agent: HAProxy's threads have all reached disc-spoa, and nothing is handed off.
all_threads_reach_agent() {
	haproxy_cli 'show disc' | grep -q "^handoff: $LAB_THREADS of $LAB_THREADS threads reach the agent, 0 connections are parked"
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
	local - && set +T
	local text name
	text=$(<"$1")
	while [[ $text =~ @([A-Z0-9_]+)@ ]]; do
		name=${BASH_REMATCH[1]}
		text=${text//"@$name@"/"${!name?not set, but in $1}"}
	done
	printf '%s\n' "$text"
}

# port_open PORT [ADDRESS]: something listens there.
port_open() {
	on lb bash -c "exec 4<>'/dev/tcp/${2:-$LAB_ADDRESS}/$1'" 2>/dev/null
}

# lab_stop: ends every process, HAProxy first, and checks all seals of this file's lab.
lab_stop() {
	local name failed=0
	processes_sound || failed=1
	for name in $(process_names | grep '^haproxy') $(process_names | grep -v '^haproxy'); do
		process_stop "$name" || failed=1
		# Both our programs end with 0 on TERM; anything else is a fault, or a sanitizer's.
		case $name in
		disc-spoa | n[0-9]*) equal "exit status of $name" "$ended_with" 0 || failed=1 ;;
		esac
	done
	processes_sound || failed=1
	[ -z "${LAB_NETWORK:-}" ] || "$LAB_TOOLS/network" down "$LAB_NETWORK" || failed=1
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

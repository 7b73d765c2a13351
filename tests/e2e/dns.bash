# SPDX-License-Identifier: GPL-2.0-or-later
# Labs whose nodes are those that a DNS server has: knot, on the load balancer's host. All nodes have one certificate and the same ports,
# each an address of its own; of SRV records n2 has a fetch port of its own, too. HAProxy's servers are a server-template of the same name (LAB_DNS in lab.cfg).
# shellcheck shell=bash

# dns_lab_start NAME RECORDS COUNT [BALANCE]: with the nodes n1 to nCOUNT, of which DNS has n1 alone; disc-spoa's template has the DNS name NAME
# and RECORDS, more of its fields.
dns_lab_start() {
	local i
	# A client waits while nodes come and go.
	lab_prepare agent_config=dns.conf.in client_timeout=300s server_timeout=300s ${DNS_LAB_CONFIG:+config=$DNS_LAB_CONFIG}
	DNS_NAME=$1 DNS_NODES=$3 DNS_BALANCE=${4:-path-hash}
	local second=$N2_FETCH
	for ((i = 1; i <= DNS_NODES; i++)); do
		[ -n "$LAB_NETWORK" ] || declare -gx "N${i}_ADDRESS=127.$((127 + i)).${LAB_ADDRESS#127.*.}"
		declare -gx "N${i}_FETCH=$N1_FETCH" "N${i}_CONTROL=$N1_CONTROL" "N${i}_CERTIFICATE=$N1_CERTIFICATE"
	done
	[[ $DNS_NAME != _* ]] || N2_FETCH=$second
	[ -n "$LAB_NETWORK" ] || SPOA_DIRECT="admin { listen = \"$LAB_ADDRESS:$SPOA_ADMIN\" }"
	DNS_RECORDS=$2
	LAB_DNS=$DNS_NAME
	[[ $DNS_NAME == _* ]] || LAB_DNS+=:$N1_FETCH
	# What the shipped haproxy.cfg wants to know.
	export DISC_NODES=$LAB_DNS DISC_RESOLVER=$LAB_ADDRESS:$DNS_PORT
	export DNS_BALANCE DNS_NAME DNS_NODES DNS_RECORDS LAB_DNS SPOA_DIRECT
	dns_start
	for ((i = 1; i <= DNS_NODES; i++)); do
		node_start "n$i"
	done
	spoa_start
	haproxy_start
	wait_until dns_node_is n1 up || { print_logs; return 1; }
	[ -z "$LAB_NETWORK" ] || wait_until all_threads_reach_agent
}

dns_start() {
	mkdir -p "$LAB/knot"
	cat >"$LAB/knot/knot.conf" <<-CONF
		server:
		    listen: $LAB_ADDRESS@$DNS_PORT
		    rundir: $LAB/knot
		    user: $(id -un):$(id -gn)
		    udp-workers: 1
		    tcp-workers: 1
		    background-workers: 1
		database:
		    storage: $LAB/knot
		log:
		  - target: stdout
		    any: info
		zone:
		  - domain: lab.test
		    file: $LAB/knot/zone
		    zonefile-sync: -1
		    zonefile-load: whole
		    journal-content: none
	CONF
	zone_write "$(dns_records n1)"
	process_start knot knotd -c "$LAB/knot/knot.conf"
	process_ready knot knot_control zone-status lab.test
}

knot_control() {
	knotc -c "$LAB/knot/knot.conf" -t 20 -b "$@" >/dev/null
}

# zone_write RECORDS: the zone has these lines.
zone_write() {
	serial=$(($(cat "$LAB/knot/serial" 2>/dev/null || echo 0) + 1))
	echo "$serial" >"$LAB/knot/serial"
	printf '@ 1 SOA ns root %d 3600 600 86400 0\n@ 1 NS ns\nns 1 A 127.0.0.1\n%s\n' "$serial" "$1" >"$LAB/knot/zone.new"
	mv "$LAB/knot/zone.new" "$LAB/knot/zone"
}

# dns_set RECORDS: the zone has these lines from now on.
dns_set() {
	zone_write "$1"
	knot_control zone-reload lab.test
}

# dns_records NODE...: the lines with these nodes.
dns_records() {
	local node address port
	for node; do
		address=${node^^}_ADDRESS port=${node^^}_FETCH
		case $DNS_NAME in
		_*) printf '%s 1 SRV 0 1 %d %s\n%s 1 A %s\n' "${DNS_NAME%.lab.test}" "${!port}" "$node" "$node" "${!address}" ;;
		*) printf '%s 1 A %s\n' "${DNS_NAME%.lab.test}" "${!address}" ;;
		esac
	done
}

# dns_has NODE...: DNS has these nodes from now on, and disc-spoa uses them.
dns_has() {
	dns_set "$(dns_records "$@")"
	wait_until uses_nodes "$@"
}

# uses_nodes NODE...: disc-spoa chooses among these, and no others.
uses_nodes() {
	local explained node
	explained=$(on lb timeout 10 curl -sS -G --data-urlencode "request=GET https://splice.lab.test/x" "http://$LAB_ADDRESS:$SPOA_ADMIN/explain")
	[[ $explained == *"; now $#"$'\n'* ]] || return 1
	for node; do
		[[ $explained == *" $(node_name "$node"): "* ]] || return 1
	done
}

# node_name NODE: as disc-spoa calls it.
node_name() {
	local address=${1^^}_ADDRESS port=${1^^}_FETCH
	echo "${!address}:${!port}"
}

dns_node_is() {
	agent_says "$(node_name "$1")" "$2"
}

# servers_up COUNT: of HAProxy's template.
servers_up() {
	[ "$(haproxy_cli 'show stat' | awk -F, '$1 == "nodes" && $2 ~ /^n[0-9]+$/ && $18 == "UP"' | wc -l)" = "$1" ]
}

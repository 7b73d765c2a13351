# SPDX-License-Identifier: GPL-2.0-or-later
# Twenty nodes join and leave by DNS while clients fetch: no body is lost, and each is offloaded.
# shellcheck shell=bash

load "$E2E_DIR/helper"
load "$E2E_DIR/dns"
load "$E2E_DIR/load"

setup_file() {
	if command -v knotd >/dev/null; then
		dns_lab_start nodes.lab.test 'fetch-port = @N1_FETCH@' 20 least-active
	fi
}

teardown_file() {
	[ -z "${LAB:-}" ] || lab_stop
}

# nodes FROM TO: their names, around the end.
nodes() {
	local i
	for ((i = $1; i <= $2; i++)); do
		echo "n$(((i - 1) % 20 + 1))"
	done
}

# long: rounds of twenty nodes that join and leave by DNS (5 of 40)
@test "twenty nodes join and leave under load, and nothing is lost" {
	local round first reads=$WORK/reading gone
	[ -n "${LAB:-}" ] || skip "knot is not installed"
	mode=splice
	# shellcheck disable=SC2046
	dns_has $(nodes 1 20)
	tls_client_in_background get:/100m send final body:100000 "touch:$reads" "wait:$WORK/go" rest
	wait_until test -e "$reads"
	loads
	for ((round = 0; round < $(long 5 40); round++)); do
		# Ten stay, four of them leave with the next round; sometimes all others join, or all but one leave.
		first=$((round * 4 + 1))
		case $((round % 3)) in
		0) dns_has $(nodes $first $((first + 9))) ;;
		1) dns_has "n$((first % 20 + 1))" ;;
		2) dns_has $(nodes 1 20) ;;
		esac
		# One that has left ends, and another process is there before it joins again.
		if [ $((round % 3)) = 0 ]; then
			gone=n$(((first + 10) % 20 + 1))
			wait_until has_left "$gone"
			process_stop "$gone"
			equal "exit status of $gone" "$ended_with" 0
			node_start "$gone"
		fi
		# It began before the first round, on a node that has left since.
		[ "$round" != 1 ] || : >"$WORK/go"
	done
	tls_client_wait
	equal "exit status" "$client_status" 0
	client_said "^body 104857600 $(sum_of 100m)$"
	path_is splice
	nothing_lost
	at_least "bodies that were fetched meanwhile" "$(wc -l <"$WORK/requests")" 10
	at_least "nodes that served them" "$(sed -E 's/.* node=([^ ]*) .*/\1/' "$WORK/requests" | sort -u | wc -l)" 2
}

# has_left NODE: its channel is closed.
has_left() {
	[[ $(metric_names) != *"node=\"$(node_name "$1")\""* ]]
}

metric_names() {
	on lb timeout 10 curl -sS "http://$LAB_ADDRESS:$SPOA_ADMIN/metrics"
}

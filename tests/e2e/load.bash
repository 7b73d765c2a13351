# SPDX-License-Identifier: GPL-2.0-or-later
# Clients that fetch while something changes, of whose bodies none may be lost.
# shellcheck shell=bash

# loads: clients that fetch over and over until $WORK/stop is there, each body compared; they end with the first that is wrong.
loads() {
	local client
	loading=()
	for client in 1 2 3; do
		(
			fetched=0
			# Without the lab, should the test have failed, they end too.
			while [ ! -e "$WORK/stop" ] &&
				curl_site -o "$WORK/load.$client" "$(url "/10m?load=$BATS_TEST_NUMBER")" 2>>"$WORK/lost" &&
				cmp "$WORK/load.$client" "$SUITE/www/10m" >>"$WORK/lost" 2>&1; do
				fetched=$((fetched + 1))
				echo "$fetched" >"$WORK/fetched.$client"
			done
		) 3>&- &
		loading+=($!)
	done
	for client in 1 2 3; do
		wait_until test -s "$WORK/fetched.$client"
	done
}

# nothing_lost: the clients got all bodies, and all were offloaded on this test's path.
nothing_lost() {
	touch "$WORK/stop"
	wait "${loading[@]}"
	[ ! -s "$WORK/lost" ] || not_seen "all bodies are whole" "$(head -n 3 "$WORK/lost")"
	grep "GET /10m?load=$BATS_TEST_NUMBER " "$LAB/haproxy.log" >"$WORK/requests"
	equal "bodies on another path than $mode" "$(grep -v " path=$mode " "$WORK/requests" | head -n 3)" ""
}

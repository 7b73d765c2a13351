# SPDX-License-Identifier: GPL-2.0-or-later
# What operators see of a site with the shipped configuration: the status page, its JSON, and what Prometheus reads.
# shellcheck shell=bash

load "$E2E_DIR/helper"

setup_file() {
	export DISC_SHORT=16385
	local admin='admin { listen = "@LAB_ADDRESS@:@SPOA_ADMIN@" }'
	[ -z "${lab_network:-}" ] || admin=
	lab_start config="$ROOT/haproxy.cfg" splice_min=65536 routes="$admin"
	# HAProxy, which has given up root there, asks its own socket.
	[ -z "${lab_network:-}" ] || chmod o+rw "$LAB/haproxy.sock"
}

teardown_file() {
	lab_stop
}

# admin PATH [CURL ARGUMENT]...: of HAProxy's admin address.
admin() {
	on lb timeout 20 curl -sS "${@:2}" "http://$LAB_ADDRESS:$ADMIN_PORT$1"
}

# shown EXPRESSION: what Python makes of the status as JSON, named s; paths and reasons by name.
shown() {
	admin '/disc/status?format=json' | python3 -c '
import json, sys
s = json.load(sys.stdin)
paths = {row["path"]: row for row in s["paths"]}
reasons = {row["reason"]: row["responses"] for row in s["reasons"]}
nodes = {row["name"]: row for row in s["nodes"]}
print(eval(sys.argv[1]))' "$1"
}

shows() { # EXPRESSION VALUE
	[ "$(shown "$1")" = "$2" ] || not_seen "$1 is $2" "$(shown "$1")"
}

@test_each_path "the page has every response by its path, and why the others have another" {
	local before responses proxied declined other granted
	before=$(shown "paths['$mode']['h1']")
	proxied=$(shown 'paths["proxy"]["h1"]') declined=$(shown 'reasons.get("declined", 0)') responses=$(shown 's["offload"]["all_responses"]')
	other=$(shown 'paths["not asked"]["responses"]') granted=$(shown 'paths["splice"]["h2"]')
	fetch '/10m?page'
	fetch '/10m?page-again'
	fetch '/16385?page'
	fetch '/100k?page' --http2
	fetch '/16385?page' --http2
	fetch '/100k?page' -X DELETE
	# HAProxy counts when a response has ended, a moment after its client.
	wait_until shows 's["offload"]["all_responses"]' $((responses + 6))
	shows "paths['$mode']['h1']" $((before + 2))
	shows 'paths["proxy"]["h1"]' $((proxied + 1))
	shows 'paths["not asked"]["responses"]' $((other + 1))
	# HTTP/2 has the splice path alone.
	shows 'paths["proxy"]["h2"] >= 1 and paths["direct"]["h2"] == 0' True
	shows 'paths["splice"]["h2"]' $((granted + 1))
	shows 'reasons["declined"]' $((declined + 2))
	shows 'reasons["not-asked"] >= 1' True
	shows 'sorted(reasons.values(), reverse=True) == list(reasons.values())' True
	shows 'sum(reasons.values()) + s["offload"]["responses"] == s["offload"]["all_responses"]' True
	shows 's["offload"]["byte_share"] > 0.9 and s["offload"]["response_share"] < 1' True
	shows '0 < s["offload"]["cpu_seconds_saved_estimate"] < s["offload"]["bytes"] / 1e7' True
	admin /disc/status >"$WORK/page"
	grep -qF "the node had no body to seal" "$WORK/page"
	grep -qE 'id="saved">.*estimate' "$WORK/page"
	# Nothing is fetched from elsewhere.
	not grep -E '(src|href|url)[=(]"?(https?:|//)' "$WORK/page"
}

@test_each_path "the page says what is handed off, and which node has it" {
	tls_client_in_background get:/100m send final body:100000 "touch:$WORK/reading" "wait:$WORK/go" rest
	wait_until test -e "$WORK/reading"
	if [ "$mode" = direct ]; then
		wait_until shows 's["offload"]["handed_off"]' 1
	fi
	wait_until shows 'sum(row["offloads"] for row in s["nodes"])' 1
	: >"$WORK/go"
	tls_client_wait
	equal "exit status" "$client_status" 0
	wait_until shows 'sum(row["offloads"] for row in s["nodes"]) + s["offload"]["handed_off"]' 0
}

@test_each_path "a node that drains, or is gone, is shown as such, and its failures count" {
	local failures
	failures=$(shown 'nodes["n1"]["failures"]')
	shows 'nodes["n1"]["state"] + nodes["n2"]["state"]' upup
	process_stop n1 KILL
	wait_until shows 'nodes["n1"]["state"]' down
	shows 'nodes["n2"]["state"]' up
	shows 'nodes["n1"]["failures"]' $((failures + 1))
	node_start n1
	nodes_alive
	wait_until shows 'nodes["n1"]["state"]' up
	tls_client_in_background get:/100m send final body:100000 "touch:$WORK/reading" "wait:$WORK/go" rest
	wait_until test -e "$WORK/reading"
	local node
	node=$(shown '[name for name, row in nodes.items() if row["offloads"]][0]')
	process_signal "$node" TERM
	wait_until shows "nodes['$node']['state']" draining
	: >"$WORK/go"
	tls_client_wait
	equal "exit status" "$client_status" 0
	process_wait "$node"
	node_start "$node"
	nodes_alive
}

@test "without disc-spoa the page is there, and says what it does not know" {
	process_stop disc-spoa
	shows '"cannot connect" in s["agent"]["fault"]' True
	shows 'nodes["n1"]["offloads"]' None
	admin /disc/status | grep -qF "disc-spoa: cannot connect to $LAB_ADDRESS:$SPOA_ADMIN"
	spoa_start
	nodes_alive
	wait_until haproxy_finds_agent # or the next test's bodies are not asked about
}

haproxy_finds_agent() {
	haproxy_cli 'show stat' | grep -qE '^disc-spoa,local,.*,UP,'
}

@test "HEAD, and JSON by Accept" {
	equal "content type" "$(admin /disc/status -I | tr -d '\r' | sed -n 's/^content-type: //Ip')" "text/html; charset=utf-8"
	admin /disc/status -H 'Accept: application/json' | python3 -m json.tool >"$WORK/json"
}

has_metric() { # ADDRESS REGEX
	on lb timeout 20 curl -sS "http://$1/metrics" >"$WORK/metrics"
	grep -qE "$2" "$WORK/metrics" || not_seen "a metric $2" "$(grep -E "^${2%%[^a-z_]*}" "$WORK/metrics" | head -n 3)"
}

@test_each_path "times to first records, handoffs and hand-backs are histograms" {
	fetch '/10m?timed'
	path_of '/10m\?timed' "$mode"
	has_metric "$LAB_ADDRESS:$ADMIN_PORT" "^haproxy_disc_responses_total\\{path=\"$mode\",protocol=\"h1\"\\} [1-9]"
	has_metric "$LAB_ADDRESS:$SPOA_ADMIN" '^# TYPE disc_spoa_handoff_seconds histogram'
	[ "$mode" = direct ] || return 0
	has_metric "$LAB_ADDRESS:$SPOA_ADMIN" '^disc_spoa_handoff_seconds_bucket\{le="\+Inf"\} [1-9]'
	has_metric "$LAB_ADDRESS:$SPOA_ADMIN" '^disc_spoa_handback_seconds_count [1-9]'
	wait_until first_record_counted
}

first_record_counted() {
	[ $(($(node_metric n1 'disc_backend_first_record_seconds_count{path="direct"}') +
		$(node_metric n2 'disc_backend_first_record_seconds_count{path="direct"}'))) -ge 1 ]
}

path_of() { # TARGET PATH: of its log line; this configuration captures no X-Id
	wait_for_line "$LAB/haproxy.log" "\"GET $1 HTTP.* path=$2 "
}

# look [OPTION]... STEP...: through a browser at the page. A machine without chromium has looked at its text above.
look() {
	local options=()
	while [[ $1 == --* ]]; do
		options+=("$1")
		shift
	done
	timeout 200 "$LAB_TOOLS/browser" "${options[@]}" "http://$LAB_ADDRESS:$ADMIN_PORT/disc/status" "$@"
}

# browser_wanted: skips the test where there is none, but not in make test-long, which installs it.
browser_wanted() {
	command -v chromium >/dev/null || [ -n "${DISC_LONG:-}" ] || skip "chromium is not installed"
}

text_of() { # SELECTOR
	echo "document.querySelector('$1').innerText"
}

# long: the status page in a browser (where chromium is installed)
@test "a browser shows it at a glance, refreshes it, and needs nothing from elsewhere" {
	browser_wanted
	mode=splice
	fetch '/10m?seen'
	fetch '/16385?seen'
	wait_until shows 'len(s["history"]) >= 2' True
	look "/^(> )?9\\d(\\.\\d)? %\$/.test($(text_of '#bytes .big')) && $(text_of '#bytes .big')" \
		"/^\\d+(\\.\\d+)? [MG]B of \\d+(\\.\\d+)? [MG]B/.test($(text_of '#bytes p:last-child'))" \
		"$(text_of '#saved').includes('an estimate') && $(text_of '#saved')" \
		"$(text_of '#handoffs').includes('not configured')" \
		"$(text_of '#reasons').includes('the node had no body to seal')" \
		"document.querySelectorAll('#nodes .good').length == 2" \
		"document.querySelectorAll('#paths tbody tr').length == 4" \
		"document.querySelector('#history .offloaded').getBBox().width > 100" \
		"document.querySelector('#history .offloaded').getBBox().height > 1" \
		"shot:$WORK/light.png" \
		"document.querySelector('details').open = true" \
		"document.querySelector('main').id = 'seen'" \
		"!document.querySelector('#seen') && document.querySelector('details').open" \
		"performance.getEntriesByType('resource').every(one => new URL(one.name).origin == location.origin)" \
		"document.body.className == ''"
}

@test "a browser shows it on a phone, and in the dark" {
	browser_wanted
	local looks="shot:$WORK/phone.png"
	look --width=360 --height=740 "document.documentElement.scrollWidth <= 360" \
		"document.querySelector('#bytes').getBoundingClientRect().right <= 360" \
		"parseFloat(getComputedStyle(document.body).fontSize) >= 14" \
		"getComputedStyle(document.body).backgroundColor == 'rgb(246, 247, 249)'" "$looks"
	look --width=360 --height=740 --dark "getComputedStyle(document.body).backgroundColor == 'rgb(20, 23, 26)'" \
		"getComputedStyle(document.querySelector('.card')).color == 'rgb(230, 233, 236)'" "shot:$WORK/dark.png"
}

@test "a browser says so when HAProxy is gone, and goes on when it is back" {
	browser_wanted
	local back=$WORK/back
	process_stop haproxy
	haproxy_start
	look "document.body.className == '' && document.querySelectorAll('#nodes tbody tr').length == 2" \
		"run:touch $WORK/looking; until [ -e $back ]; do sleep 0.1; done" \
		"document.body.className == 'stale'" "getComputedStyle(document.querySelector('h1'), '::after').content.includes('not refreshed')" \
		"run:touch $WORK/stale; until [ -e $back.again ]; do sleep 0.1; done" "document.body.className == ''" 3>&- &
	local browser=$!
	wait_until test -e "$WORK/looking"
	process_stop haproxy
	touch "$back"
	wait_until test -e "$WORK/stale"
	haproxy_start
	touch "$back.again"
	wait "$browser"
}

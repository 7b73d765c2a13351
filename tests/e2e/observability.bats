# SPDX-License-Identifier: GPL-2.0-or-later
# Metrics keep to Prometheus's conventions, and a Prometheus that scrapes the lab has an answer to every question of the dashboard and
# of the alerts in config/observability.
# long: dashboard and alert rules with a Prometheus that scrapes a lab (where prometheus is installed)
# shellcheck shell=bash

load "$E2E_DIR/helper"

lab_network=1

setup_file() {
	command -v promtool >/dev/null || [ -n "${DISC_LONG:-}" ] || return 0
	export DISC_SHORT=16385 NO_PROXY='*'
	lab_start config="$ROOT/haproxy.cfg" splice_min=65536
	chmod o+rw "$LAB/haproxy.sock"
	mapfile -t ports < <(on lb "$ROOT/tools/free-ports" 127.0.0.1 1)
	export PROMETHEUS=127.0.0.1:${ports[0]}
	prometheus_start
}

teardown_file() {
	[ -z "${PROMETHEUS:-}" ] || lab_stop
}

setup() {
	[ -n "${PROMETHEUS:-}" ] || skip "prometheus is not installed"
	mode=direct
	WORK=$BATS_TEST_TMPDIR
}

prometheus_start() {
	sed -e 's/_interval: 15s/_interval: 1s/' -e "s|\"127.0.0.1:8404\"|\"$LAB_ADDRESS:$ADMIN_PORT\"|" \
		-e "s|\"127.0.0.1:9901\"|\"$LAB_ADDRESS:$SPOA_ADMIN\"|" \
		-e "s|\"192.0.2.11:9902\", \"192.0.2.12:9902\"|\"$N1_ADDRESS:$NODE_ADMIN\", \"$N2_ADDRESS:$NODE_ADMIN\"|" \
		"$ROOT/config/observability/prometheus.yml" >"$LAB/prometheus.yml"
	cp "$ROOT/config/observability/alerts.yml" "$LAB/"
	process_start prometheus prometheus --config.file="$LAB/prometheus.yml" --storage.tsdb.path="$LAB/tsdb" \
		--web.listen-address="$PROMETHEUS" --log.level=warn
	process_ready prometheus asked 'count(up == 1) == 4'
}

# asked EXPRESSION: it has a value that is a number.
asked() {
	on lb timeout 20 promtool query instant "http://$PROMETHEUS" "$1" | grep -E '=> -?[0-9.e+-]+ @'
}

# On a busy machine an answer of disc-spoa can be too late.
one_is_handed_off() {
	fetch '/10m?observed'
	[ "$(metric disc_spoa_clones_total)" -gt 0 ]
}

# ways: bodies take every path.
ways() {
	local mode=direct
	wait_until one_is_handed_off
	mode=splice
	fetch '/10m?observed'
	fetch '/16385?observed'
	fetch '/100k?observed' --http2
}

@test "every metric keeps to the conventions" {
	local address
	for address in "$LAB_ADDRESS:$SPOA_ADMIN" "$N1_ADDRESS:$NODE_ADMIN"; do
		on lb timeout 20 curl -sS "http://$address/metrics" >"$WORK/metrics"
		promtool check metrics <"$WORK/metrics"
	done
	# HAProxy's own are its own matter.
	on lb timeout 20 curl -sS "http://$LAB_ADDRESS:$ADMIN_PORT/metrics" | grep -E '^(# [A-Z]+ )?haproxy_disc_' >"$WORK/metrics"
	promtool check metrics <"$WORK/metrics"
}

@test "the rules are right, fire for their fault, and not on an ordinary day" {
	promtool check config "$ROOT/config/observability/prometheus.yml"
	promtool check rules "$ROOT/config/observability/alerts.yml"
	promtool test rules "$ROOT/tests/observability/alerts.test.yml"
}

@test "every question of the dashboard has an answer" {
	local expression
	python3 - "$ROOT/config/observability/dashboard.json" >"$WORK/expressions" <<-'PYTHON'
		import json, sys
		for panel in json.load(open(sys.argv[1]))["panels"]:
		    for target in panel["targets"]:
		        print(target["expr"].replace("$__rate_interval", "5m").replace("$instance", ".*").replace("$frontend", ".*"))
	PYTHON
	[ "$(wc -l <"$WORK/expressions")" -ge 30 ]
	ways
	# Everything was scraped before: a rate needs two samples, and something in between.
	while read -r expression; do
		wait_until asked "$expression"
	done <"$WORK/expressions"
}

@test "every metric that an alert looks at is there, and none fires" {
	local name
	for name in $(grep -oE '(haproxy_disc|disc_spoa|disc_backend)_[a-z_]+' "$ROOT/config/observability/alerts.yml" | sort -u); do
		wait_until asked "count($name)"
	done
	wait_until asked 'count(ALERTS) or vector(0)'
	equal "alerts that fire" "$(on lb timeout 20 promtool query instant "http://$PROMETHEUS" 'ALERTS{alertstate="firing"}')" ""
}

@test "an alert fires when its fault is there" {
	process_stop disc-spoa KILL
	wait_until asked 'ALERTS{alertname="DiscAgentDown"}'
	spoa_start
	nodes_alive
}

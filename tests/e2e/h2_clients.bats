# SPDX-License-Identifier: GPL-2.0-or-later
# Clients that people have, over HTTP/2: several bodies at once on one connection, each with the right digest. Those that are not
# installed are skipped; make test-long installs them (tools/install-packages long).
# shellcheck shell=bash

load "$E2E_DIR/helper"

setup_file() {
	lab_start
	make_image
	cp "$LAB_TOOLS/h2_clients/page.html" "$SUITE/www/browser.$$.html"
	export BROWSER_PAGE=browser.$$.html
}

teardown_file() {
	rm -f "$SUITE/www/browser.$$.html"
	lab_stop
}

# make_image: 320 x 240 pixels of noise, as a bitmap without compression.
make_image() {
	local - && set +T
	[ ! -e "$SUITE/www/noise.bmp" ] || return 0
	{
		printf 'BM\x36\x84\x03\x00\x00\x00\x00\x00\x36\x00\x00\x00\x28\x00\x00\x00\x40\x01\x00\x00\xf0\x00\x00\x00\x01\x00\x18\x00'
		head -c 24 /dev/zero
		head -c 230400 "$SUITE/www/2m"
	} >"$SUITE/www/noise.$$"
	mv "$SUITE/www/noise.$$" "$SUITE/www/noise.bmp"
	sha256sum <"$SUITE/www/noise.bmp" | cut -d' ' -f1 >"$SUITE/sums/noise.bmp"
}

# What each client asks for at once.
names=(10m 2m 100k 200k 1 2m 16385 page.html 10m)

# digests COMMAND...: it gets the URLs behind its other arguments and prints status, size and digest of each; those are right.
digests() {
	local - && set +T
	local name urls=() expected=()
	for name in "${names[@]}"; do
		: $((++id_count))
		urls+=("$(url "/$name?n=$BATS_TEST_NUMBER-$id_count")")
		expected+=("200 $(stat -c %s "$SUITE/www/$name") $(sum_of "$name")")
	done
	timeout 100 "$@" "${urls[@]}" >"$WORK/client" 2>"$WORK/client.errors" || { cat "$WORK/client.errors"; return 1; }
	equal "statuses, sizes and digests" "$(<"$WORK/client")" "$(printf '%s\n' "${expected[@]}")"
	wait_for_line "$LAB/haproxy.log" "path=$(h2_path) .*n=$BATS_TEST_NUMBER-$id_count HTTP/2.0"
}

needs() {
	command -v "$1" >/dev/null || skip "there is no $1: tools/install-packages long"
}

@test_h2 "curl" {
	local targets=() i
	for ((i = 0; i < 12; i++)); do
		targets+=("/10m?n=$i" "/100k?n=$i" "/1?n=$i" "/2m?n=$i")
	done
	CURL_MANY="--http2 --parallel --parallel-max 48"
	fetch_many "${targets[@]}"
	many_are "${targets[@]}"
	equal connections "$connects" 1
	logged_times 12 "path=$(h2_path) .*GET [^ ]*/10m"
}

@test_h2 "nghttp" {
	local file
	for file in 10m 2m 100k; do
		timeout 60 nghttp -H ":authority: $(site)" -H "x-id: nghttp-$mode-$file" "https://$LAB_ADDRESS:$SITE_PORT/$file" >"$WORK/body" \
			2>"$WORK/client.errors"
		body=$WORK/body body_is "$file"
		id=nghttp-$mode-$file path_is "$(h2_path)"
	done
	# Windows of 65535 bytes, also of the connection, and dependencies between streams.
	timeout 60 nghttp -ns -w 16 -W 16 -H ":authority: $(site)" "https://$LAB_ADDRESS:$SITE_PORT"/{10m,2m,100k,16385} >"$WORK/client"
	equal "answers of status 200" "$(grep -c ' 200 ' "$WORK/client")" 4
}

# long: h2load with 100 connections of 32 streams and 16000 requests (20 of 8, 1000)
@test_h2 "h2load" {
	local connections streams requests
	connections=$(long 20 100) streams=$(long 8 32) requests=$(long 1000 16000)
	timeout 300 h2load -n "$requests" -c "$connections" -m "$streams" -t 1 -H ":authority: $(site)" \
		"https://$LAB_ADDRESS:$SITE_PORT/200k" >"$WORK/client" 2>&1 || { cat "$WORK/client"; return 1; }
	grep -q "requests: $requests total, .*, $requests succeeded, 0 failed, 0 errored" "$WORK/client" ||
		not_seen "$requests requests succeeded" "$(grep requests: "$WORK/client")"
	grep -q "^status codes: $requests 2xx" "$WORK/client"
	grep -q "($((requests * 204800))) data" "$WORK/client" ||
		not_seen "$((requests * 204800)) bytes of data" "$(grep traffic: "$WORK/client")"
	site_serves
	path_is_as_mode
}

@test_h2 "Node.js" {
	needs node
	digests node "$LAB_TOOLS/h2_clients/client.js" "$SUITE/tls/lab-ca.crt" "$LAB_ADDRESS"
}

@test_h2 "Python's httpx" {
	/usr/bin/python3 -c 'import httpx, h2' 2>/dev/null || skip "there is no httpx: tools/install-packages long"
	digests /usr/bin/python3 "$LAB_TOOLS/h2_clients/client.py" "$SUITE/tls/lab-ca.crt" "$LAB_ADDRESS"
}

@test_h2 "Go" {
	needs go
	[ -x "$BATS_FILE_TMPDIR/go-client" ] || HOME=$BATS_FILE_TMPDIR GOFLAGS=-mod=mod go build -o "$BATS_FILE_TMPDIR/go-client" "$LAB_TOOLS/h2_clients/client.go"
	digests "$BATS_FILE_TMPDIR/go-client" "$SUITE/tls/lab-ca.crt" "$LAB_ADDRESS"
}

@test_h2 "Java" {
	needs java
	java --list-modules 2>/dev/null | grep -q '^jdk.compiler@' || skip "this Java has no compiler: tools/install-packages long"
	printf '%s %s\n' "$LAB_ADDRESS" "$(site)" >"$WORK/hosts"
	digests java "-Djdk.net.hosts.file=$WORK/hosts" "$LAB_TOOLS/h2_clients/Client.java" "$SUITE/tls/lab-ca.crt"
}

# long: what a browser downloads beside 40 images, 1 GB (100 MB)
# browses COMMAND...: a browser shows the page at the URL behind its other arguments; all 40 images and the download are right.
browses() {
	local large count=40
	large=$(long 100m 1g)
	new_id
	id=$(tr -d - <<<"$id") # it is part of the page's address alone
	timeout 300 "$@" "$(url "/$BROWSER_PAGE?id=$id&download=$large&sum=$(sum_of "$large")&image=noise.bmp&imagesum=$(sum_of noise.bmp)&count=$count")" \
		>"$WORK/browser" 2>&1 3>&- &
	browser_pid=$!
	PATIENCE=$(long 90 250) wait_until page_has_said || browser_failed=1
	kill "$browser_pid" 2>/dev/null || :
	wait "$browser_pid" || :
	[ -z "${browser_failed:-}" ] || { tail -n 20 "$WORK/browser"; return 1; }
	equal "what the page saw" "$(tail -n "+$((log_before + 1))" "$LAB/haproxy.log" | sed -nE 's|.*/result\?([^ ]*) HTTP/.*|\1|p')" "images=$count&download=ok"
	wait_for_line "$LAB/haproxy.log" "path=$(h2_path) .*GET [^ ]*/$large HTTP/2.0"
	# The images, the download and the page came on one connection.
	equal "connections of the large body and the images" "$(tail -n "+$((log_before + 1))" "$LAB/haproxy.log" |
		grep -E "/($large|noise.bmp)" | sed -E 's/.*client=([^ ]*).*/\1/' | sort -u | wc -l)" 1
}

# page_has_said: what the page asks for at its end is logged.
page_has_said() {
	tail -n "+$((log_before + 1))" "$LAB/haproxy.log" | grep -q 'GET [^ ]*/result?'
}

mark_log() {
	log_before=$(wc -l <"$LAB/haproxy.log")
}

@test_h2 "Chromium: 40 images beside a large download" {
	needs chromium
	mark_log
	browses chromium --headless=new --no-sandbox --disable-gpu --disable-dev-shm-usage --no-first-run --disable-quic \
		--user-data-dir="$WORK/chromium" --ignore-certificate-errors --disk-cache-size=1 \
		--host-resolver-rules="MAP $(site) $LAB_ADDRESS, MAP * ~NOTFOUND"
}

@test_h2 "Firefox ESR: 40 images beside a large download" {
	needs firefox-esr
	needs certutil
	mark_log
	mkdir -p "$WORK/firefox"
	certutil -N -d "sql:$WORK/firefox" --empty-password
	certutil -A -d "sql:$WORK/firefox" -n lab -t C,, -i "$SUITE/tls/lab-ca.crt"
	cat >"$WORK/firefox/user.js" <<-PREFERENCES
		user_pref("network.dns.forceResolve", "$LAB_ADDRESS");
		user_pref("browser.shell.checkDefaultBrowser", false);
		user_pref("datareporting.policy.dataSubmissionEnabled", false);
		user_pref("app.normandy.enabled", false);
		user_pref("services.settings.server", "");
		user_pref("network.captive-portal-service.enabled", false);
		user_pref("network.connectivity-service.enabled", false);
		user_pref("network.http.http3.enable", false);
		user_pref("browser.startup.homepage_override.mstone", "ignore");
		user_pref("browser.cache.disk.enable", false);
	PREFERENCES
	HOME=$WORK browses firefox-esr --headless --no-remote --profile "$WORK/firefox"
}

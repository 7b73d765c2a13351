# SPDX-License-Identifier: GPL-2.0-or-later
# Clients, on a host of their own if the lab has hosts: every request bears a fresh X-Id, by which its line is found in HAProxy's log.
# shellcheck shell=bash

# Name of the site in this test's mode.
site() {
	echo "${mode}.lab.test"
}

# new_id: sets $id for the next request.
new_id() {
	id=$BATS_SUITE_TEST_NUMBER-$BATS_TEST_NUMBER-${mode}-$((++id_count))
}

# url PATH: at $port if it is set.
url() {
	echo "https://$(site):${port:-$SITE_PORT}$1"
}

# connect_address: where the site is asked: $address if it is set, an IPv6 address in brackets.
connect_address() {
	local to=${address:-$LAB_ADDRESS}
	[[ $to != *:* ]] || to=[$to]
	echo "$to"
}

# curl_site ARGUMENT...: curl with the lab's CA and address; bounded in time. HTTP/2 in mode h2, else HTTP/1.1, unless told otherwise.
curl_site() {
	local version=--http1.1
	[ "$mode" != h2 ] || version=--http2
	on client timeout 100 curl -sS $version --cacert "$SUITE/tls/lab-ca.crt" --max-time 90 \
		--connect-to "::$(connect_address):" "$@"
}

# fetch PATH [CURL ARGUMENT]...: one GET; leaves $id, $status, $headers (a file) and $body (a file). Fails as curl does.
fetch() {
	local - && set +T
	local path=$1
	shift
	new_id
	headers=$WORK/headers.$id body=$WORK/body.$id
	: >"$headers"
	: >"$body"
	status=$(curl_site -D "$headers" -o "$body" -w '%{http_code}' -H "X-Id: $id" "$@" "$(url "$path")")
}

# header NAME: its value in $headers; empty if it is absent.
header() {
	tr -d '\r' <"$headers" | sed -n "s/^$1: *//Ip" | tail -n 1
}

# tls_client [OPTION]... STEP...: see tests/lab/tls_client.c. Output in $WORK/client, exit status in $client_status; $id is
# one of its own for all its requests.
tls_client() {
	local - && set +T
	local options=() port=$SITE_PORT
	new_id
	while [[ ${1:-} == --* ]]; do
		case $1 in
		--port) port=$2; shift 2 ;;
		--tls12 | --no-keyupdate) options+=("$1"); shift ;;
		*) options+=("$1" "$2"); shift 2 ;;
		esac
	done
	client_status=0
	on client timeout 100 "$SUITE/bin/tls_client" --ca "$SUITE/tls/lab-ca.crt" --clock "$LAB/haproxy.sock" \
		--header "X-Id: $id" "${options[@]}" "$(site)" \
		"${address:-$LAB_ADDRESS}" "$port" "$@" >"$WORK/client" 2>"$WORK/client.errors" || client_status=$?
	cat "$WORK/client" "$WORK/client.errors"
}

# fetch_many TARGET...: GETs on one curl command, one after another on as few connections as the server allows. The i-th
# body (from 1) is in $WORK/many.$id/i; leaves $id and $connects, the number of connections. CURL_MANY holds more arguments.
fetch_many() {
	local - && set +T
	local target count=0 arguments=()
	new_id
	many=$WORK/many.$id
	mkdir -p "$many"
	for target; do
		arguments+=(-o "$many/$((++count))" "$(url "$target")")
	done
	curl_site -w '%{num_connects} %{http_code}\n' -H "X-Id: $id" ${CURL_MANY:-} "${arguments[@]}" >"$many/results"
	connects=$(awk '{ sum += $1 } END { print sum }' "$many/results")
}

# tls_client_in_background [--tls12] and tls_client_wait: the same in two parts, for what is to happen in the middle.
tls_client_in_background() {
	local options=()
	if [ "$1" = --tls12 ]; then
		options=("$1")
		shift
	fi
	new_id
	on client timeout 100 "$SUITE/bin/tls_client" --ca "$SUITE/tls/lab-ca.crt" --header "X-Id: $id" --rcvbuf 8192 "${options[@]}" \
		"$(site)" "${address:-$LAB_ADDRESS}" "$SITE_PORT" "$@" >"$WORK/client" 2>"$WORK/client.errors" 3>&- &
	client_pid=$!
}

tls_client_wait() {
	client_status=0
	wait "$client_pid" || client_status=$?
	cat "$WORK/client" "$WORK/client.errors"
}

# h2_client [OPTION]... STEP...: see tests/lab/h2_client.c. Output in $WORK/client, exit status in $client_status; $id is one of its own
# for all its requests.
h2_client() {
	local - && set +T
	local options=()
	new_id
	h2_options "$@"
	shift ${#options[@]}
	client_status=0
	on client timeout 100 "$SUITE/bin/h2_client" --ca "$SUITE/tls/lab-ca.crt" --header "X-Id: $id" "${options[@]}" "$(site)" \
		"${address:-$LAB_ADDRESS}" "${port:-$SITE_PORT}" "$@" >"$WORK/client" 2>"$WORK/client.errors" || client_status=$?
	cat "$WORK/client" "$WORK/client.errors"
}

# h2_options ARGUMENT...: sets $options to those before the steps.
h2_options() {
	while [[ ${1:-} == --* ]]; do
		case $1 in
		--no-keyupdate) options+=("$1"); shift ;;
		*) options+=("$1" "$2"); shift 2 ;;
		esac
	done
}

# h2_client_in_background [OPTION]... STEP...: the same, for what is to happen in the middle; tls_client_wait waits for it.
h2_client_in_background() {
	local options=()
	new_id
	h2_options "$@"
	shift ${#options[@]}
	on client timeout 100 "$SUITE/bin/h2_client" --ca "$SUITE/tls/lab-ca.crt" --header "X-Id: $id" "${options[@]}" "$(site)" \
		"${address:-$LAB_ADDRESS}" "${port:-$SITE_PORT}" "$@" >"$WORK/client" 2>"$WORK/client.errors" 3>&- &
	client_pid=$!
}

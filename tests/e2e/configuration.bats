# SPDX-License-Identifier: GPL-2.0-or-later
# Wrong configuration of each program: a message with file, line and field, exit 1, nothing started.
# shellcheck shell=bash

load "$E2E_DIR/helper"

setup_file() {
	lab_prepare
}

setup() {
	mode=plain
	WORK=$BATS_TEST_TMPDIR
	node_config n1 >"$WORK/disc-backend.conf"
	template "$E2E_DIR/disc-spoa.conf.in" >"$WORK/disc-spoa.conf"
}

teardown() {
	:
}

# program_of FILE
program_of() {
	case $1 in
	disc-spoa*) echo "$DISC_BIN_SPOA" ;;
	disc-backend*) echo "$DISC_BIN_BACKEND" ;;
	esac
}

# faulty FILE SED FIELD [REGEX]: with the file changed so, both a check and a start end with 1 and a message about FIELD that
# bears the number of the changed line.
faulty() {
	local file=$WORK/$1 line status arguments
	cp "$file" "$file.good"
	sed -i -E "$2" "$file"
	not cmp -s "$file" "$file.good" || { not_seen "$2 changes the file" "it does nothing"; return 1; }
	line=$(diff "$file.good" "$file" | sed -nE 's/^[0-9,]+[acd]([0-9]+).*/\1/p' | head -n 1)
	for arguments in -t ""; do
		status=0
		timeout 20 "$(program_of "$1")" $arguments -c "$file" >"$WORK/out" 2>&1 </dev/null || status=$?
		cat "$WORK/out"
		equal "exit status of $1 $arguments" "$status" 1
		grep -E "^$file:[0-9]+: .*${3}" "$WORK/out"
		[ -z "${4:-}" ] || grep -E -- "$4" "$WORK/out"
	done
	[ -n "${ANY_LINE:-}" ] || grep -E "^$file:$line: " "$WORK/out" || not_seen "a message about line $line" "$(head -n 1 "$WORK/out")"
	cp "$file.good" "$file"
}

@test "the labs' own configurations pass the check" {
	local file
	for file in disc-spoa.conf disc-backend.conf; do
		timeout 20 "$(program_of $file)" -t -c "$WORK/$file"
	done
}

# understood PROGRAM FILE: the last line of a check.
understood() {
	timeout 20 "$1" -t -c "$2" | tail -n 1
}

@test "a check ends with a line of what was understood" {
	local file=$WORK/disc-spoa.conf node=$WORK/disc-backend.conf
	equal "disc-spoa" "$(understood "$DISC_BIN_SPOA" "$file")" \
		"disc-spoa: 8 routes, 7 of them offload; 2 nodes in 3 pools; no direct path: there is no section direct"
	sed -i 's/^\tfetch = .*//; s/^\tname = /\tfetch = "192.0.2.1:80"\n\tdirect = {"192.0.2.1"}\n&/' "$file"
	echo 'direct { interface = {"lo"} max-flows = 99 }' >>"$file"
	equal "disc-spoa" "$(understood "$DISC_BIN_SPOA" "$file")" \
		'disc-spoa: 8 routes, 7 of them offload; 2 nodes in 3 pools; no direct path: no route has path "direct" or "auto"'
	sed -i '/^route "all"/,/^}/s/"splice"/"auto"/' "$file"
	equal "disc-spoa" "$(understood "$DISC_BIN_SPOA" "$file")" \
		"disc-spoa: 8 routes, 7 of them offload; 2 nodes in 3 pools; direct path: on 1 routes, up to 99 connections at a time"
	equal "disc-backend" "$(understood "$DISC_BIN_BACKEND" "$node")" \
		"disc-backend: files below $SUITE/www; fetch on $N1_ADDRESS:$N1_FETCH; control on $N1_ADDRESS:$N1_CONTROL for agent.lab.test; no direct path: there is no section direct"
	sed -i 's/^files .*/origin { url = "http:\/\/127.0.0.1:81" }/; s/"agent.lab.test"/"a", "b"/' "$node"
	echo 'direct { vip = {"192.0.2.9", "2001:db8::9"} interface = {"lo"} }' >>"$node"
	equal "disc-backend" "$(understood "$DISC_BIN_BACKEND" "$node")" \
		"disc-backend: origin http://127.0.0.1:81/; fetch on $N1_ADDRESS:$N1_FETCH; control on $N1_ADDRESS:$N1_CONTROL for a, b; direct path from 192.0.2.9, 2001:db8::9"
}

@test "no file, an unreadable file, no arguments" {
	local program
	for program in "$DISC_BIN_SPOA" "$DISC_BIN_BACKEND"; do
		run -1 timeout 20 "$program" -t -c "$WORK/no-such-file"
		[[ $output == *"$WORK/no-such-file"* ]]
		run -1 timeout 20 "$program" -t -c "$WORK"
		[[ $output == *"$WORK"* ]]
		run timeout 20 "$program" --no-such-option
		[ "$status" -ne 0 ]
		[ "$status" -ne 124 ]
	done
}

@test "the size from which bodies are offloaded is the same wherever it is shipped" {
	local size
	size=$(sed -nE 's/^splice-min = ([0-9]+).*/\1/p' "$ROOT/config/disc-spoa.conf")
	at_least "bytes" "${size:-0}" 1
	grep -E "presetenv DISC_SHORT +$size " "$ROOT/haproxy.cfg"
	grep -E "define DEFAULT_SPLICE_MIN $size\$" "$ROOT/spoa/spoa_config.c"
	grep -E "Default $size, " "$ROOT/doc/man/disc-spoa.conf.5"
	grep -E "^spliced_from=$size " "$ROOT/tools/transfer-table"
	size=$(sed -nE 's/^h2-min = ([0-9]+).*/\1/p' "$ROOT/config/disc-spoa.conf")
	at_least "bytes for HTTP/2" "${size:-0}" 1
	grep -E "presetenv DISC_SHORT_H2 +$size " "$ROOT/haproxy.cfg"
	grep -E "define DEFAULT_H2_MIN $size\$" "$ROOT/spoa/spoa_config.c"
	grep -E "Default $size, " "$ROOT/doc/man/disc-spoa.conf.5"
	grep -E "^granted_from=$size " "$ROOT/tools/transfer-table"
}

@test "disc-backend: wrong fields" {
	faulty disc-backend.conf 's/^workers = .*/workers = 0/' workers
	faulty disc-backend.conf 's/^workers = .*/workers = many/' workers
	faulty disc-backend.conf 's/listen = \{"[^"]*"\}/listen = {"nonsense:port"}/' listen
	faulty disc-backend.conf 's/ticket-wait = .*/ticket-wait = -1.0 }/' ticket-wait
	faulty disc-backend.conf 's/ticket-wait = .*/min-size = 65536 }/' min-size 'splice-min in disc-spoa.conf'
	faulty disc-backend.conf 's|root = ".*"|root = "/no/such/folder"|' root /no/such/folder
	faulty disc-backend.conf 's|ca = ".*"|ca = "/no/such/ca"|' ca /no/such/ca
	faulty disc-backend.conf 's/^offload/oflfoad/' oflfoad
	faulty disc-backend.conf 's/ticket-wait/ticket-wiat/' ticket-wiat
}

@test "disc-spoa: wrong fields" {
	faulty disc-spoa.conf 's/^workers = .*/workers = 0/' workers
	faulty disc-spoa.conf 's/^splice-min = .*/splice-min = 0/' splice-min
	faulty disc-spoa.conf 's/direct-min = 100000/direct-min = many/' direct-min
	faulty disc-spoa.conf 's/spop \{ listen = .*/spop { listen = {"nonsense:port"} }/' listen
	faulty disc-spoa.conf 's/balance = .*/balance = "by-chance"/' balance by-chance
	faulty disc-spoa.conf 's/nodes = \{ "n1", "n2" \}/nodes = {"n1", "n3"}/' nodes n3
	faulty disc-spoa.conf 's/action = "pass"/action = "perhaps"/' action perhaps
	faulty disc-spoa.conf 's/path = "splice"/path = "direct-ish"/' path direct-ish
	faulty disc-spoa.conf 's|key = ".*"|key = "/no/such/key"|' key /no/such/key
	faulty disc-spoa.conf 's/^pool/puddle/' puddle
}

@test "a key that does not belong to the certificate, and a file that is no certificate" {
	local file
	for file in disc-backend.conf disc-spoa.conf; do
		ANY_LINE=1 faulty $file 's|key = ".*"|key = "'"$SUITE"'/tls/stranger.lab.test.key"|' '' 'stranger.lab.test.key|key'
		ANY_LINE=1 faulty $file 's|certificate = ".*"|certificate = "'"$SUITE"'/www/1"|' '' 'www/1'
	done
}

@test "an address in use: said, and nothing is left running" {
	local file
	exec 5< <(exec "$LAB_TOOLS/hold_port" "$LAB_ADDRESS" "$N1_FETCH" 3>&-)
	holder=$!
	read -r -u 5 -t 10
	run -1 timeout 20 "$DISC_BIN_BACKEND" -c "$WORK/disc-backend.conf"
	kill "$holder"
	[[ $output == *"$N1_FETCH"* ]]
	[[ $output == *[Aa]ddress*in\ use* ]]
}

# haproxy_refuses REGEX RULES...: in a frontend.
haproxy_refuses() {
	local regex=$1 binary=${HAPROXY:-$DISC_BIN_HAPROXY}
	shift
	{
		printf 'defaults\n\tmode http\n\ttimeout client 1s\n\ttimeout server 1s\n\ttimeout connect 1s\n'
		printf 'frontend f\n\tbind unix@%s/socket\n' "$WORK"
		printf '\t%s\n' "$@"
	} >"$WORK/haproxy.cfg"
	run -1 "$binary" -c -f "$WORK/haproxy.cfg"
	grep -E "haproxy.cfg:[0-9]+\].*$regex" <<<"$output"
}

@test "HAProxy: wrong uses of disc-lease" {
	haproxy_refuses 'disc-lease' 'http-request disc-lease now'
	haproxy_refuses 'disc-lease' 'http-response disc-lease'
	haproxy_refuses 'disc-lease' 'tcp-request content disc-lease'
	haproxy_refuses 'disc_no_such' 'http-request set-header X %[disc_no_such]'
}

@test "HAProxy: wrong uses of disc-follow and disc-trust" {
	haproxy_refuses 'disc-follow.*expects the name of a backend' 'http-response disc-follow'
	haproxy_refuses 'disc-follow.*expects the name of a backend' 'http-response disc-follow if TRUE'
	haproxy_refuses "refers to unknown backend 'nowhere'" 'http-response disc-follow nowhere prefix /internal/'
	haproxy_refuses "refers to backend 'b', which is not in HTTP mode" 'http-response disc-follow b prefix /' 'backend b' 'mode tcp'
	haproxy_refuses "disc-follow.*'prefix' must start with a slash" 'http-response disc-follow b prefix internal/' 'backend b'
	haproxy_refuses "disc-follow.*'prefix' expects an argument" 'http-response disc-follow b prefix' 'backend b'
	haproxy_refuses "disc-follow.*'keep' may only be given once" 'http-response disc-follow b prefix / keep A keep B' 'backend b'
	haproxy_refuses "disc-follow.*got 'to'" 'http-response disc-follow b to /' 'backend b'
	haproxy_refuses 'disc-follow.*disc_no_such' 'http-response disc-follow b prefix / path %[disc_no_such]' 'backend b'
	haproxy_refuses 'disc-follow' 'http-request disc-follow b' 'backend b'
	haproxy_refuses "'disc-redispatch' is called 'disc-follow' now" 'http-response disc-redispatch b prefix /' 'backend b'
	haproxy_refuses 'disc-trust' 'disc-trust'
}

@test "HAProxy: a disc-follow without prefix is warned about, one with any prefix is not" {
	local rule
	for rule in 'b' 'b prefix /'; do
		printf '%s\n' 'defaults' 'mode http' 'timeout client 1s' 'timeout server 1s' 'timeout connect 1s' \
			"frontend f" "bind unix@$WORK/socket" "http-response disc-follow $rule" 'default_backend b' 'backend b' >"$WORK/haproxy.cfg"
		run -0 "$DISC_BIN_HAPROXY" -c -f "$WORK/haproxy.cfg"
		if [ "$rule" = b ]; then
			grep "frontend 'f' : 'disc-follow' in .*haproxy.cfg:8. has no 'prefix'.* everything in backend 'b'" <<<"$output"
		else
			not grep WARNING <<<"$output"
		fi
	done
}

@test "HAProxy built with OpenSSL refuses disc-lease and says why" {
	[ -x "${DISC_BIN_HAPROXY_OPENSSL:-}" ] || skip "no HAProxy built with OpenSSL: DISC_BIN_HAPROXY_OPENSSL is \"${DISC_BIN_HAPROXY_OPENSSL:-}\""
	HAPROXY=$DISC_BIN_HAPROXY_OPENSSL haproxy_refuses 'disc-lease.*wolfSSL|wolfSSL.*disc-lease' 'http-request disc-lease'
	# And otherwise it is an ordinary HAProxy.
	printf 'defaults\n\tmode http\n\ttimeout client 1s\nfrontend f\n\tbind unix@%s/socket\n\thttp-request return status 200\n' \
		"$WORK" >"$WORK/good.cfg"
	"$DISC_BIN_HAPROXY_OPENSSL" -c -f "$WORK/good.cfg"
}

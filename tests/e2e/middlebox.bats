# SPDX-License-Identifier: GPL-2.0-or-later
# Middlebox compatibility of TLS 1.3 (RFC 8446, D.4): a server sends change_cipher_spec once to a client whose ClientHello has a
# session id. Erlang's clients, OTP 25, do not connect otherwise. Over QUIC it is forbidden (RFC 9001, 8.4). And no renegotiation.
# shellcheck shell=bash

load "$E2E_DIR/helper"

setup_file() {
	lab_start config=lab.cfg+quic.cfg
}

teardown_file() {
	lab_stop
}

# s_client OPTION...: one request; $messages is what OpenSSL logs of the handshake.
s_client() {
	messages=$WORK/messages
	new_id
	rm -f "$messages"
	on client timeout 20 openssl s_client -connect "$(connect_address):$SITE_PORT" -servername "$(site)" -CAfile "$SUITE/tls/lab-ca.crt" \
		-verify_return_error -ign_eof -msg -msgfile "$messages" "$@" >"$WORK/s_client" 2>&1 \
		< <(printf 'GET /100k HTTP/1.1\r\nHost: %s\r\nX-Id: %s\r\nConnection: close\r\n\r\n' "$(site)" "$id") ||
		{ head -c 4000 "$WORK/s_client"; return 1; }
	grep -aq '^HTTP/1.1 200 ' "$WORK/s_client" || { echo "no answer:"; head -c 4000 "$WORK/s_client"; return 1; }
}

# from_server: the names of the server's messages, in their order. OpenSSL logs a received change_cipher_spec by its record header
# alone, which begins with 14.
from_server() {
	awk '/^<<< .*RecordHeader/ { header = 1; next }
		header && $1 == "14" { printf "ChangeCipherSpec " }
		/^<<< .*Handshake/ { printf "%s ", $NF }
		{ header = 0 }' "$messages"
}

# sends_ccs COUNT
sends_ccs() {
	equal "change_cipher_spec from the server, of: $(from_server)" "$(from_server | grep -o ChangeCipherSpec | wc -l)" "$1"
}

@test_each_mode "one change_cipher_spec, behind ServerHello" {
	s_client -tls1_3
	sends_ccs 1
	[[ $(from_server) == "ServerHello ChangeCipherSpec EncryptedExtensions "* ]]
	path_is_as_mode
}

@test_each_mode "one change_cipher_spec, behind HelloRetryRequest" {
	s_client -tls1_3 -groups X448:P-256
	sends_ccs 1
	[[ $(from_server) == "ServerHello ChangeCipherSpec ServerHello EncryptedExtensions "* ]]
	path_is_as_mode
}

@test_each_mode "one change_cipher_spec when a session is resumed" {
	s_client -tls1_3 -sess_out "$WORK/session"
	s_client -tls1_3 -sess_in "$WORK/session"
	grep -q '^Reused, TLSv1.3' "$WORK/s_client"
	sends_ccs 1
	path_is_as_mode
}

@test_each_mode "no change_cipher_spec for a client that does not ask for it" {
	s_client -tls1_3 -no_middlebox
	sends_ccs 0
	path_is_as_mode
	s_client -tls1_3 -no_middlebox -groups X448:P-256
	sends_ccs 0
	path_is_as_mode
}

@test_each_mode "TLS 1.2 is as it was" {
	s_client -tls1_2
	sends_ccs 1
	path_is_as_mode
}

@test_each_mode "an Erlang client gets the right bytes over TLS 1.3" {
	local name
	for name in 100k 10m; do
		new_id
		on client timeout 60 "$LAB_TOOLS/erlang_client" "$LAB_ADDRESS" "$SITE_PORT" "$(site)" "/$name" "$id" "$SUITE/tls/lab-ca.crt" \
			>"$WORK/erlang" 2>&1 || { cat "$WORK/erlang"; return 1; }
		equal "what Erlang got" "$(<"$WORK/erlang")" "200 tlsv1.3 $(stat -c %s "$SUITE/www/$name") $(sum_of "$name")"
		path_is_as_mode
	done
}

# Renegotiation would change keys under a lease, and costs the server a handshake each time.
@test "a TLS 1.2 client cannot renegotiate" {
	mode=plain
	mkfifo "$WORK/in"
	timeout 60 openssl s_client -connect "$(connect_address):$SITE_PORT" -servername plain.lab.test -tls1_2 -msg \
		<"$WORK/in" >"$WORK/s_client" 2>&1 3>&- &
	local client=$! in
	exec {in}>"$WORK/in"
	wait_for_line "$WORK/s_client" '^New, TLSv1.2'
	grep -q '^Secure Renegotiation IS supported' "$WORK/s_client" # RFC 5746, all the same
	echo R >&"$in"
	wait_for_line "$WORK/s_client" '^<<< .*Alert'
	exec {in}>&-
	wait "$client" || :
	equal "ServerHellos" "$(grep -c '^<<< .*ServerHello$' "$WORK/s_client")" 1
}

@test "a QUIC client gets the right bytes" {
	mode=plain
	new_id
	mkdir "$WORK/got"
	timeout 30 gtlsclient -q --exit-on-all-streams-close --download "$WORK/got" "$LAB_ADDRESS" "$QUIC_PORT" \
		"https://plain.lab.test/100k" >"$WORK/quic" 2>&1 || { cat "$WORK/quic"; return 1; }
	body=$WORK/got/100k
	body_is 100k
}

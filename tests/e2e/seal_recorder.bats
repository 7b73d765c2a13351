# SPDX-License-Identifier: GPL-2.0-or-later
# The seal recorder and check_seals themselves: that they see every way of sealing, and that they can fail.
# flavours: recorder
# shellcheck shell=bash

load "$E2E_DIR/helper"

setup_file() {
	export SEAL_TWICE=$BATS_FILE_TMPDIR/seal_twice
	local wolfssl=$DISC_BUILD/wolfssl symbol wraps=() libraries=()
	while read -r symbol; do
		wraps+=("-Wl,--wrap=$symbol")
	done <"$LAB_TOOLS/seal_recorder.symbols"
	[ ! -e /usr/include/intel-ipsec-mb.h ] || libraries=(-lIPSec_MB)
	gcc -std=c11 -D_GNU_SOURCE -O1 -pthread -I"$ROOT/lib/base" -I"$ROOT/lib/wire" -I"$wolfssl/include" "${wraps[@]}" -o "$SEAL_TWICE" \
		"$LAB_TOOLS"/seal_{twice,recorder}.c "$ROOT"/lib/{wire/record,wire/record_layout,wire/tx_state,base/secret}.c \
		"$ROOT"/lib/wire/aead*.c "$wolfssl/lib/libwolfssl.a" "${libraries[@]}" -lm
}

# sealed HOW [same]: runs seal_twice with a log of its own, $log.
sealed() {
	log=$WORK/$1.seals
	DISC_SEAL_LOG=$log "$SEAL_TWICE" "$@"
}

# own_seals: how many are in $log, without those with which ipsec-mb is compared with wolfCrypt before it is used.
own_seals() {
	local all of_choice=0
	all=$(wc -l <"$log")
	if [[ $log == *-mb.seals ]]; then
		DISC_SEAL_LOG=$WORK/choice "$SEAL_TWICE" choice-mb
		of_choice=$(wc -l <"$WORK/choice")
		rm "$WORK/choice"
	fi
	echo $((all - of_choice))
}

ways() {
	local status=0
	echo record{13,12,-chacha}{,-in-place} aes aes-counter chacha-pieces
	(unset DISC_SEAL_LOG; "$SEAL_TWICE" record13-mb) || status=$?
	[ "$status" -eq 3 ] || echo record{13,12,-chacha}{,-in-place}-mb
}

@test "two plaintexts under one nonce are found, in every way of sealing" {
	local way status
	for way in $(ways); do
		sealed "$way"
		equal "seals of $way" "$(own_seals)" 2
		status=0
		"$LAB_TOOLS/check_seals" "$log" >"$WORK/verdict" || status=$?
		cat "$WORK/verdict"
		equal "exit status for $way" "$status" 1
		grep -q '^REUSED key' "$WORK/verdict"
	done
}

@test "one plaintext sealed twice is no reuse, and opening is no seal" {
	local way
	for way in $(ways); do
		sealed "$way" same
		equal "seals of $way" "$(own_seals)" 2
		"$LAB_TOOLS/check_seals" "$log"
	done
}

@test "a reuse by two programs in two logs is found" {
	printf '%s\n' '0011223344556677 000102030405060708090a0b 1111111111111111 haproxy:10' >"$WORK/lb"
	printf '%s\n' '0011223344556677 000102030405060708090a0c 2222222222222222 disc-backend:20' >"$WORK/node"
	"$LAB_TOOLS/check_seals" --require "$WORK/lb" "$WORK/node"
	printf '%s\n' '0011223344556677 000102030405060708090a0b 2222222222222222 disc-backend:20' >>"$WORK/node"
	run -1 "$LAB_TOOLS/check_seals" "$WORK/lb" "$WORK/node"
	[[ $output == *"REUSED key 0011223344556677 nonce 000102030405060708090a0b: haproxy:10"* ]]
}

@test "a run in which nothing was sealed for clients does not pass for a sound one" {
	printf '%s\n' '0011223344556677 000102030405060708090a0b 1111111111111111 haproxy:10' >"$WORK/lb"
	printf '%s\n' '8811223344556677 000102030405060708090a0c 2222222222222222 disc-backend:20' >"$WORK/node"
	"$LAB_TOOLS/check_seals" "$WORK/lb" "$WORK/node"
	run -1 "$LAB_TOOLS/check_seals" --require "$WORK/lb" "$WORK/node"
	run -1 "$LAB_TOOLS/check_seals" --require "$WORK/lb"
}

@test "a malformed or missing log is an error" {
	echo 'not a seal' >"$WORK/log"
	run -2 "$LAB_TOOLS/check_seals" "$WORK/log"
	[[ $output == *":1: not a seal"* ]]
	printf '0011223344556677 000102030405060708090a0b 1111' >"$WORK/log"
	run -2 "$LAB_TOOLS/check_seals" "$WORK/log"
	run -2 "$LAB_TOOLS/check_seals" "$WORK/no-such-log"
}

@test "a recorder that cannot write ends the program loudly" {
	local status=0
	DISC_SEAL_LOG=$WORK/no-such-folder/log "$SEAL_TWICE" aes 2>"$WORK/errors" || status=$?
	at_least "status" "$status" 128
	grep -q '^seal recorder: .*No such file' "$WORK/errors"
	status=0
	DISC_SEAL_LOG=/dev/full "$SEAL_TWICE" aes 2>"$WORK/errors" || status=$?
	at_least "status" "$status" 128
	grep -q '^seal recorder: write' "$WORK/errors"
}

@test "without DISC_SEAL_LOG nothing is written" {
	(unset DISC_SEAL_LOG; cd "$WORK" && "$SEAL_TWICE" aes)
	equal "files" "$(ls "$WORK")" ""
}

# SPDX-License-Identifier: GPL-2.0-or-later
# Once per run: certificates, files to serve, client programs, and the folder where seals are recorded. Several runs of bats share
# what $DISC_SUITE names.
# shellcheck shell=bash

# One EC key and a certificate: make_certificate CA NAME (which becomes the dNSName).
make_certificate() {
	local ca=$1 name=$2
	openssl ecparam -name prime256v1 -genkey -noout -out "$SUITE/tls/$name.key" 2>>"$SUITE/openssl.log"
	openssl req -new -key "$SUITE/tls/$name.key" -subj "/CN=$name" -out "$SUITE/tls/$name.csr" 2>>"$SUITE/openssl.log"
	openssl x509 -req -in "$SUITE/tls/$name.csr" -CA "$SUITE/tls/$ca.crt" -CAkey "$SUITE/tls/$ca.key" -CAcreateserial \
		-days 30 -extfile <(printf 'subjectAltName=DNS:%s,DNS:*.%s\n' "$name" "$name") \
		-out "$SUITE/tls/$name.crt" 2>>"$SUITE/openssl.log"
	cat "$SUITE/tls/$name.crt" "$SUITE/tls/$name.key" >"$SUITE/tls/$name.pem"
}

make_ca() {
	openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 30 -subj "/CN=$1" \
		-keyout "$SUITE/tls/$1.key" -out "$SUITE/tls/$1.crt" 2>>"$SUITE/openssl.log"
}

# make_chain NAME: a certificate with three intermediate CAs between it and lab-ca, more than 8 KB together: NAME-cas.pem has the
# CAs, NAME-chain.pem the certificate, the CAs and the key.
make_chain() {
	local issuer=lab-ca name filler
	filler=$(head -c 1800 /dev/zero | tr '\0' x)
	for name in "$1-ca-1" "$1-ca-2" "$1-ca-3" "$1"; do
		openssl req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj "/CN=$name" -keyout "$SUITE/tls/$name.key" \
			-out "$SUITE/tls/$name.csr" 2>>"$SUITE/openssl.log"
		openssl x509 -req -in "$SUITE/tls/$name.csr" -CA "$SUITE/tls/$issuer.crt" -CAkey "$SUITE/tls/$issuer.key" -CAcreateserial \
			-days 30 -out "$SUITE/tls/$name.crt" 2>>"$SUITE/openssl.log" -extfile <(
				[ "$name" = "$1" ] || printf 'basicConstraints=critical,CA:TRUE\nkeyUsage=critical,keyCertSign\n'
				printf 'subjectAltName=DNS:%s\nnsComment=%s\n' "$name" "$filler"
			)
		issuer=$name
	done
	cat "$SUITE/tls/$1-ca-3.crt" "$SUITE/tls/$1-ca-2.crt" "$SUITE/tls/$1-ca-1.crt" >"$SUITE/tls/$1-cas.pem"
	cat "$SUITE/tls/$1.crt" "$SUITE/tls/$1-cas.pem" "$SUITE/tls/$1.key" >"$SUITE/tls/$1-chain.pem"
}

# make_file NAME BYTES [NUMBER]: bytes that look random and are the same in every run; other ones for another number.
make_file() {
	openssl enc -aes-128-ctr -K 00112233445566778899aabbccddeeff -iv "$(printf '%032x' "${3:-$2}")" -nosalt \
		-in <(head -c "$2" /dev/zero) -out "$SUITE/www/$1" 2>>"$SUITE/openssl.log"
	sha256sum <"$SUITE/www/$1" | cut -d' ' -f1 >"$SUITE/sums/$1"
}

setup_suite() {
	export SUITE=${DISC_SUITE:-$BATS_RUN_TMPDIR/suite}
	[ -n "${DISC_SUITE:-}" ] || make_suite
}

# make_suite: in $SUITE.
make_suite() {
	mkdir -p "$SUITE"/{tls,www,sums,seals,bin}
	make_ca lab-ca
	make_ca other-ca
	make_certificate lab-ca lab.test
	make_certificate lab-ca agent.lab.test
	make_certificate lab-ca n1.lab.test
	make_certificate lab-ca n2.lab.test
	make_certificate lab-ca stranger.lab.test
	make_certificate other-ca other.lab.test
	make_chain long.lab.test

	local size
	for size in 0 1 16383 16384 16385; do
		make_file "$size" "$size"
	done
	make_file 100k 102400
	make_file 200k 204800
	make_file 2m 2097152
	make_file 10m 10485760
	make_file 100m 104857600
	make_file twin-100m 104857600 1
	[ -z "${DISC_LONG:-}" ] || make_file 1g 1073741824
	make_file page.html 40000

	gcc -std=c11 -D_GNU_SOURCE -O2 -Wall -Wextra -Werror -o "$SUITE/bin/tls_client" "$LAB_TOOLS/tls_client.c" -lssl -lcrypto
	gcc -std=c11 -D_GNU_SOURCE -O2 -Wall -Wextra -Werror -o "$SUITE/bin/h2_client" "$LAB_TOOLS/h2_client.c" -lssl -lcrypto -lnghttp2
	gcc -std=c11 -D_GNU_SOURCE -O2 -Wall -Wextra -Werror -o "$SUITE/bin/lossy_wire" "$LAB_TOOLS/lossy_wire.c"
}

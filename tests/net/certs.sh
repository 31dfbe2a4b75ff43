# SPDX-License-Identifier: Apache-2.0
# certs.sh - authorities and certificates of the test's own, in $TMP: source it after lib.sh.
# shellcheck shell=bash
authority() { # name
	openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 30 -subj "/CN=authority $1" \
		-keyout "$TMP/$1.key" -out "$TMP/$1.pem" 2>>"$TMP/certs.log" || fail "authority $1: $(cat "$TMP/certs.log")"
}
certificate() { # authority, file, DNS name, options of "openssl ca" such as its dates
	local dir=$TMP/ca-$1
	mkdir -p "$dir"
	touch "$dir/index" "$dir/index.attr"
	[ -e "$dir/serial" ] || echo 1000 >"$dir/serial"
	printf '[ca]\ndefault_ca = d\n[d]\ndatabase = %s/index\nserial = %s/serial\nnew_certs_dir = %s\ndefault_md = sha256\ndefault_days = 30\npolicy = p\nunique_subject = no\n[p]\ncommonName = supplied\n[x]\nsubjectAltName = DNS:%s,IP:127.0.0.1\nextendedKeyUsage = serverAuth\n' \
		"$dir" "$dir" "$dir" "$3" >"$dir/conf"
	{
		openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj "/CN=$3" -keyout "$TMP/$2.key" -out "$TMP/$2.csr" &&
			openssl ca -batch -notext -config "$dir/conf" -extensions x -cert "$TMP/$1.pem" -keyfile "$TMP/$1.key" \
				-in "$TMP/$2.csr" -out "$TMP/$2.pem" "${@:4}"
	} 2>>"$TMP/certs.log" || fail "certificate $2: $(cat "$TMP/certs.log")"
	chmod 600 "$TMP/$2.key"
}

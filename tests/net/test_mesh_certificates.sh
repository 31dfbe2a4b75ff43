#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# test_mesh_certificates.sh - certificates are replaced while agents run: what is new serves new streams, those
# that stand stay; what is broken changes nothing and is told; an authority follows another; days that are left
# are in the log, the status and metrics.
source "$(dirname "$0")/lib.sh"
source "$(dirname "$0")/mesh.sh"

mesh_up 2
L=$TMP/live
mkdir -m 700 "$TMP/a" "$TMP/b" "$L"
issue() { # authority, node, more options: a new certificate and key in $TMP/AUTHORITY
	rm -f "$TMP/$1/$2.pem" "$TMP/$1/$2-key.pem"
	"$CTL" ca issue "$2" --dir "$TMP/$1" "${@:3}" >/dev/null || fail "no certificate of $2"
}
put() { # file, name below $L: replaced as a whole
	cp -p "$1" "$L/$2.new" && mv "$L/$2.new" "$L/$2"
}
install() { # authority, node
	put "$TMP/$1/$2-key.pem" "$2-key.pem"
	put "$TMP/$1/$2.pem" "$2.pem"
}
serial_of() { openssl x509 -noout -serial -in "$1"; }
serving() { # node: the serial of what it shows to a new stream
	on $((3 - $1)) openssl s_client -connect "10.77.0.$1:8301" -CAfile "$L/ca.pem" -cert "$L/n$((3 - $1)).pem" -key "$L/n$((3 - $1))-key.pem" </dev/null 2>/dev/null |
		openssl x509 -noout -serial
}
serves() { [ "$(serving "$1")" = "$2" ]; }
told() { grep -qE "event=sync.certificate .*$2" "$TMP/n$1.log"; }
stream_age() { api_of "$1" /v1/waymark/sync | jq '[.streams[] | select(.up).since_ms] | max // -1'; }

"$CTL" ca init --dir "$TMP/a" >/dev/null && "$CTL" ca init --dir "$TMP/b" >/dev/null || fail "ca init"
(umask 077 && "$CTL" keyring generate >"$L/keyring")
put "$TMP/a/ca.pem" ca.pem
issue a n1 --days 10
issue a n2
install a n1
install a n2
tls_agent() {
	node_agent "$1" --set "sync.ca_file=$L/ca.pem" --set "sync.cert_file=$L/n$1.pem" --set "sync.key_file=$L/n$1-key.pem" \
		--set "sync.keyring_file=$L/keyring"
}
tls_agent 1
tls_agent 2
until_ok 20 all_alive 2 1 2 || fail "two agents with certificates do not find each other"
register_on 1 web-1 web 10.77.0.1 80 >/dev/null
until_ok 10 passes_on web web-1 2 || fail "web-1 is not on node 2"

# --- days that are left ----------------------------------------------------------------------------------
# ten as long as no second of the tenth day is over
until_ok 10 told 1 'days=(9|10) text="the certificate ends soon' || fail "the log does not tell that ten days are left"
told 2 'ends soon' && fail "the log of node 2 tells of a certificate that is good for long"
matches "days in the status" "^(9|10)\$" "$(api_of 1 /v1/waymark/status | jq .mesh.certificate_days)"
check "and what is wrong" certificate "$(api_of 1 /v1/waymark/status | jq -r '[.mesh.reasons[].what] | join(" ")')"
matches "for people" 'the certificate ends in (9|10) days' "$(on 1 "$CTL" --agent "unix:$TMP/n1.sock" status)"
matches "days in the metrics" '^waymark_[a-z_]*certificate_days (9|10)$' "$(api_of 1 '/v1/agent/metrics?format=prometheus' | grep certificate_days)"
check "nothing is wrong on node 2" "" "$(api_of 2 /v1/waymark/status | jq -r '[.mesh.reasons[].what] | join(" ")')"

# --- another one serves, streams stay -----------------------------------------------------------------------
first=$(serial_of "$L/n1.pem")
check "what node 1 shows" "$first" "$(serving 1)"
age=$(stream_age 2)
issue a n1
install a n1
second=$(serial_of "$L/n1.pem")
[ "$first" != "$second" ] || fail "both certificates have one serial"
until_ok 20 serves 1 "$second" || fail "the new certificate does not serve: $(serving 1)"
until_ok 10 told 1 'a new certificate serves' || fail "the log does not tell of the new one"
sleep 0.1
[ "$age" -ge 0 ] && [ "$(stream_age 2)" -gt "$age" ] || fail "the stream did not stay: $age ms, then $(stream_age 2) ms"
check "nothing is wrong any more" "" "$(api_of 1 /v1/waymark/status | jq -r '[.mesh.reasons[].what] | join(" ")')"

# --- what is broken changes nothing -----------------------------------------------------------------------------
echo "no certificate" >"$TMP/broken"
put "$TMP/broken" n1.pem
until_ok 20 told 1 'text=.*n1.pem has no certificate' || fail "the log does not tell of a broken file"
check "the one of before serves on" "$second" "$(serving 1)"
put "$TMP/a/n2.pem" n1.pem
until_ok 20 told 1 'text=.*n1-key.pem is not the key of the certificate' || fail "the log does not tell of another's certificate"
check "and still" "$second" "$(serving 1)"
[ "$(stream_age 2)" -gt "$age" ] || fail "the stream did not stay while files were broken"
put "$TMP/a/n2-key.pem" n1-key.pem # and with its key: one of another node
until_ok 20 told 1 'text=.*the certificate names n2 in dc1, and this is node n1 in dc1' || fail "the log does not tell of another node's certificate"
check "it does not serve" "$second" "$(serving 1)"
install a n1

# --- an authority follows another: first both are trusted, then certificates change, then one goes -----------------
cat "$TMP/a/ca.pem" "$TMP/b/ca.pem" >"$TMP/both"
put "$TMP/both" ca.pem
for i in 1 2; do
	issue b "n$i"
	install b "n$i"
done
until_ok 20 serves 1 "$(serial_of "$TMP/b/n1.pem")" || fail "node 1 does not show what the second authority signed"
until_ok 20 serves 2 "$(serial_of "$TMP/b/n2.pem")" || fail "node 2 does not show what the second authority signed"
[ "$(stream_age 2)" -gt "$age" ] || fail "the stream did not stay while the authority changed"
put "$TMP/b/ca.pem" ca.pem
node_stop 2
tls_agent 2
until_ok 20 all_alive 2 1 2 || fail "a new stream does not stand under the second authority"
issue a n2
install a n2 # of an authority that is trusted no more
until_ok 20 told 2 'text=.*n2.pem as that of a server: ' || fail "a certificate of the former authority is taken"
register_on 2 late-1 late 10.77.0.2 80 >/dev/null
until_ok 10 passes_on late late-1 1 || fail "late-1 is not on node 1"
check "nobody failed but node 2, which was stopped" "" "$(sed -n 's/.*event=member.failed node=\(n[^2]\).*/\1/p' "$TMP"/n[12].log | paste -sd' ')"

for i in 1 2; do node_stop "$i"; done
done_testing

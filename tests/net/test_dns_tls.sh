#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# DNS over TLS for clients: who checks the certificate is served, and who does not speak it is not; answers leave as they
# are ready; nobody takes more than his share; a new certificate serves without ending a connection.
# shellcheck source=tests/net/lib.sh
. "$(dirname "$0")/lib.sh"
command -v kdig >/dev/null || {
	echo "skipped: kdig is not installed (make deps-test)"
	exit 77
}
# shellcheck source=tests/net/certs.sh
. tests/net/certs.sh
authority ca
authority other
certificate ca good dns.test
certificate ca next dns.test
certificate ca old dns.test -startdate 20200101000000Z -enddate 20200201000000Z
cp "$TMP/good.pem" "$TMP/cert.pem"
cp -p "$TMP/good.key" "$TMP/cert.key"

# --- what cannot work is known before
try() { "$B/waymarkd" --check-config --set "node.data_dir=$TMP/data" --set kernel.enabled=false --set dns.tls_addresses=127.0.0.1 "$@" 2>&1; }
with() { try --set "dns.tls_cert_file=$TMP/$1" --set "dns.tls_key_file=$TMP/$2" "${@:3}"; }
matches "no certificate" "dns.tls_cert_file: wanted, as dns.tls_addresses is set" "$(try)"
check "is told once" 1 "$(try | wc -l)"
matches "no key" "dns.tls_key_file: wanted" "$(try --set "dns.tls_cert_file=$TMP/good.pem")"
matches "no such file" "dns.tls_cert_file.*none.pem: No such file" "$(with none.pem good.key)"
matches "another's key" "next.key is not the key of the certificate" "$(with good.pem next.key)"
chmod 644 "$TMP/next.key"
matches "a key that others may read" "next.key is open to others" "$(with next.pem next.key)"
chmod 600 "$TMP/next.key"
matches "out of date" "old.pem has expired" "$(with old.pem old.key)"
matches "the port is another's" "dns.tls_port: 127.0.0.1:8600 is dns.port's as well" "$(with good.pem good.key --set dns.tls_port=8600)"
with good.pem good.key >/dev/null
check "what can work" 0 $?

(exec /usr/bin/python3 tests/net/slow_dns.py 127.0.0.15 "$TMP/go") &
start_agent --set "dns.tls_cert_file=$TMP/cert.pem" --set "dns.tls_key_file=$TMP/cert.key" --set dns.tls_addresses=127.0.0.1,::1 \
	--set kernel.enabled=false --set dns.tcp_idle=10s --set dns.tcp_per_client_max=20 \
	--set dns.upstream=list --set dns.forward=slow.test=127.0.0.15
check "register" 200 "$(register web-1 web 127.1.0.1 80)"
for i in $(seq 100); do register "big-$i" big "127.2.0.$i" 80 >/dev/null; done
metric() { api "$API/v1/agent/metrics?format=prometheus" | awk -v m="waymark_$1_total" '$1 == m {print $2}'; }
NAME=web.service.mesh.internal

# --- clients that check
tls() { kdig +short +retry=0 +timeout=10 +tls "$@" $NAME 2>&1; }
check "kdig" 127.1.0.1 "$(tls @127.0.0.1 +tls-ca="$TMP/ca.pem" +tls-hostname=dns.test)"
check "over IPv6" 127.1.0.1 "$(tls @::1 +tls-ca="$TMP/ca.pem" +tls-hostname=dns.test)"
check "who does not check" 127.1.0.1 "$(tls @127.0.0.1)"
matches "another name" "Error in the certificate" "$(tls @127.0.0.1 +tls-ca="$TMP/ca.pem" +tls-hostname=other.test)"
matches "another authority" "Error in the certificate" "$(tls @127.0.0.1 +tls-ca="$TMP/other.pem" +tls-hostname=dns.test)"
dot() { /usr/bin/python3 tests/net/dot_client.py "$TMP/ca.pem" "$@" 2>&1; }
session() { openssl s_client -connect 127.0.0.1:853 -CAfile "$TMP/ca.pem" -verify_return_error "$@" </dev/null 2>&1; }
matches "TLS 1.3, and it is dot" "TLSv1.3.*ALPN protocol: dot" "$(session -alpn dot | tr '\n' ' ')"
matches "TLS 1.2" "Protocol *: TLSv1.2" "$(session -tls1_2)"
matches "none before" "alert protocol version" "$(session -tls1_1 -cipher DEFAULT:@SECLEVEL=0)"
matches "another protocol" "no application protocol" "$(session -alpn h2)"
failed=$(metric dns_user_tls_failed)
check "failed handshakes are counted" true "$([ "$failed" -ge 2 ] && echo true)"

# --- what is ready leaves first
check "out of order" "$NAME. 127.1.0.1
quick.slow.test. 192.0.2.77
slow.slow.test. 192.0.2.77" "$(dot pipeline "$TMP/go" slow.slow.test $NAME quick.slow.test)"
check "in pieces" "$NAME. 127.1.0.1" "$(dot octets $NAME)"
check "queries over TLS are counted" true "$([ "$(metric dns_user_tls)" -ge 7 ] && echo true)"

matches "padded, of ours and of others; not who does not pad" "^468 1872 468 468 [0-9]{2}$" "$(dot padded $NAME big.service.mesh.internal none.$NAME quick.slow.test)"

# --- who says nothing, or what is no TLS, is cut; who takes no answers is not read from, then cut
check "silence" "closed closed closed" "$(dot silent)"
check "no TLS" closed "$(dot garbage)"
check "new keys without an end" "$NAME. 127.1.0.1 closed" "$(dot updates $NAME)"
check "deaf" closed "$(dot deaf big.service.mesh.internal 20000)"
check "cut connections are counted" true "$([ "$(metric dns_user_tcp_limit)" -ge 4 ] && echo true)"
check "and those that are not read from" true "$([ "$(metric dns_user_tcp_held)" -ge 1 ] && echo true)"
check "one client's connections" "20 10 $NAME. 127.1.0.1" "$(dot flood 30 $NAME)"
check "are counted" 10 "$(metric dns_user_tcp_client_full)"

# --- other certificates
serial() { openssl s_client -connect 127.0.0.1:853 </dev/null 2>/dev/null | openssl x509 -noout -serial; }
dot stay $NAME "$TMP/ready" "$TMP/changed" >"$TMP/stayed" &
STAYS=$!
until_ok 20 test -e "$TMP/ready" || fail "a connection stands"
before=$(serial)
cp "$TMP/next.key" "$TMP/cert.key"
cp "$TMP/next.pem" "$TMP/cert.pem"
is_next() { [ "$(serial)" = "$(openssl x509 -noout -serial -in "$TMP/next.pem")" ]; }
until_ok 20 is_next || fail "the new certificate serves: $(serial), was $before"
echo broken >"$TMP/cert.pem"
complains() { grep -q 'dns.certificate.*cert.pem' "$TMP/agent.log"; }
until_ok 20 complains || fail "a broken one is told"
check "and changes nothing" 127.1.0.1 "$(tls @127.0.0.1 +tls-ca="$TMP/ca.pem" +tls-hostname=dns.test)"
touch "$TMP/changed"
wait $STAYS
check "a connection stays all the time" "$NAME. 127.1.0.1 $NAME. 127.1.0.1" "$(cat "$TMP/stayed")"
done_testing

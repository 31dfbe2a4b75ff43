#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Servers that are asked over TLS: only who shows a certificate of the name that is set, signed by an authority that is trusted,
# is asked; who does not is seen by the operator; another server is asked then.
# shellcheck source=tests/net/lib.sh
. "$(dirname "$0")/lib.sh"
# shellcheck source=tests/net/upstream.sh
. tests/net/upstream.sh
# shellcheck source=tests/net/certs.sh
. tests/net/certs.sh
authority ca
authority other
certificate ca good dns.test
certificate ca misnamed other.test
certificate ca old dns.test -startdate 20200101000000Z -enddate 20200201000000Z
certificate other foreign dns.test
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 30 -subj /CN=dns.test -addext subjectAltName=DNS:dns.test \
	-keyout "$TMP/self.key" -out "$TMP/self.pem" 2>>"$TMP/certs.log" || fail "certificate of its own"
cp "$TMP/ca.pem" "$TMP/trusted.pem"

# an unbound that speaks TLS on port 853, and in the clear on 5300 for who starts it: name, address, certificate, domain
serve_tls() {
	serve "$1" "$2" 5300 "	interface: $2@853
	tls-port: 853
	tls-service-pem: \"$TMP/$3.pem\"
	tls-service-key: \"$TMP/$3.key\"
	local-zone: \"$4\" static
	local-data: \"up.$4 60 A 192.0.2.1\"
	local-data: \"a.$4 60 A $5\"
	local-data: 'long.$4 60 TXT $(for _ in {1..40}; do printf '"%s" ' "$(printf 'x%.0s' {1..200})"; done)'" "up.$4"
}
serve_tls one 127.0.0.31 good example. 192.0.2.31
serve_tls two 127.0.0.32 good example. 192.0.2.32
serve_tls misnamed 127.0.0.33 misnamed misnamed.test. 192.0.2.33
serve_tls old 127.0.0.34 old old.test. 192.0.2.34
serve_tls foreign 127.0.0.35 foreign foreign.test. 192.0.2.35
serve_tls self 127.0.0.36 self self.test. 192.0.2.36
serve_tls second 127.0.0.37 self second.test. 192.0.2.37
n=40
for how in closing chopped silent garbage reversed; do
	(exec /usr/bin/python3 tests/net/dot_server.py 127.0.0.$n "$TMP/good.pem" "$TMP/good.key" $how >"$TMP/$how.out") &
	n=$((n + 1))
done

# --- what cannot work is known before
try() { "$B/waymarkd" --check-config --set "node.data_dir=$TMP/data" --set kernel.enabled=false --set dns.upstream=list "$@" 2>&1; }
matches "no such file" "dns.upstream_ca_file: $TMP/none.pem: no authority" "$(try --set dns.forward=.=127.0.0.31#dns.test --set "dns.upstream_ca_file=$TMP/none.pem")"
matches "ourselves" "127.0.0.1 is this agent itself" "$(try --set dns.forward=.=127.0.0.1#dns.test --set dns.tls_addresses=127.0.0.1 \
	--set "dns.tls_cert_file=$TMP/good.pem" --set "dns.tls_key_file=$TMP/good.key")"
try --set dns.forward=.=127.0.0.31#dns.test >/dev/null
check "the system's authorities" 0 $?

FORWARD=".=127.0.0.31#dns.test 127.0.0.32@853#dns.test"
for d in misnamed=33 old=34 foreign=35 self=36 closing=40 chopped=41 silent=42 garbage=43 reversed=44; do
	FORWARD+=",${d%=*}.test=127.0.0.${d#*=}#dns.test"
done
start_agent --set kernel.enabled=false --set dns.upstream=list --set "dns.forward=$FORWARD,mixed.test=127.0.0.37#dns.test 127.0.0.41#dns.test" \
	--set "dns.upstream_ca_file=$TMP/trusted.pem"
error_of() { api $API/v1/waymark/dns | jq -r "first(.servers[] | select(.server | startswith(\"$1\"))).error"; }

# --- who is who he should be
matches "a name" '^192.0.2.3[12]$' "$(ask a.example)"
check "the same over TCP, longer than a datagram" 8000 "$(ask +tcp long.example TXT | tr -d ' "\n' | wc -c)"
both_up() { is_state 127.0.0.31 up && is_state 127.0.0.32 up; }
until_ok 20 both_up || fail "both are up: $(api $API/v1/waymark/dns)"
failed=0
for i in $(seq 40); do [ "$(status_of "n-$i.example")" = NXDOMAIN ] || failed=$((failed + 1)); done
check "of forty questions fail" 0 $failed
check "over few connections" true "$([ "$(grep -c 'n-[0-9]*.example. A' "$TMP/one.log" "$TMP/two.log" | cut -d: -f2 | paste -sd+ | bc)" -ge 40 ] && upstream_counter dns_upstream_tls_opened | jq '. < 30')"

# --- who is not
refused() { # domain, server, what is said
	check "$1" SERVFAIL "$(status_of "a.$1.test")"
	until_ok 20 is_state "$2" down || fail "$1 is down: $(api $API/v1/waymark/dns)"
	matches "$1: why" "$3" "$(error_of "$2")"
}
refused misnamed 127.0.0.33 "hostname mismatch"
refused old 127.0.0.34 "certificate has expired"
refused foreign 127.0.0.35 "unable to get local issuer certificate"
refused self 127.0.0.36 "self-signed certificate"
check "they were asked nothing" "" "$(grep -h 'info: .*a\.[a-z]*\.test' "$TMP"/{misnamed,old,foreign,self,second}.log)"
check "they are counted" true "$(upstream_counter dns_upstream_tls_refused | jq '. >= 4')"
matches "operators see it" "127.0.0.34@853#dns.test +down.* the peer's certificate is refused: certificate has expired" "$("$CTL" dns upstreams)"
failed=0
for i in $(seq 10); do [ "$(ask "m-$i.mixed.test")" = 192.0.2.78 ] || failed=$((failed + 1)); done
check "where another is good, of ten questions fail" 0 $failed
cat "$TMP/other.pem" >>"$TMP/trusted.pem"
trusted() { [ "$(ask a.foreign.test)" = 192.0.2.35 ]; }
until_ok 30 trusted || fail "an authority that is added is trusted: $(error_of 127.0.0.35)"

# --- servers as they may be
check "one that closes each time" "192.0.2.78 192.0.2.78 192.0.2.78" "$(for i in 1 2 3; do ask $i.closing.test; done | xargs)"
check "an octet a record" 192.0.2.78 "$(ask a.chopped.test)"
check "queries are padded, and the protocol is told" "128 dot" "$(sort -u "$TMP/chopped.out")"
for i in 1 2 3; do ask $i.reversed.test >"$TMP/reversed.$i" & ASKS[i]=$!; done
for i in 1 2 3; do wait "${ASKS[$i]}"; done
check "the last first" "192.0.2.78 192.0.2.78 192.0.2.78" "$(cat "$TMP"/reversed.[123] | xargs)"
check "one that says nothing" SERVFAIL "$(status_of a.silent.test)"
until_ok 30 is_state 127.0.0.42 down || fail "it is down: $(api $API/v1/waymark/dns)"
check "one that says something else" SERVFAIL "$(status_of a.garbage.test)"

# --- one dies, and is back
kill_server one
kill_server two
all_dead() { [ "$(status_of "d-$RANDOM.example")" = SERVFAIL ]; }
until_ok 20 all_dead || fail "nobody answers"
serve_tls two 127.0.0.32 good example. 192.0.2.32
back() { [ "$(status_of "again-$RANDOM.example")" = NXDOMAIN ]; }
until_ok 30 back || fail "who is back is asked: $(api $API/v1/waymark/dns)"

# --- who is asked nothing is connected to no longer: this server ends no connection by itself
connections() { ss -Htn state established dst 127.0.0.41:853 | wc -l; }
check "asked" 192.0.2.78 "$(ask b.chopped.test)"
check "over a connection" true "$([ "$(connections)" -ge 1 ] && echo true)"
closed() { [ "$(connections)" = 0 ]; }
until_ok 90 closed || fail "without a question it is closed: $(ss -tn dst 127.0.0.41:853)"
check "and another is made" 192.0.2.78 "$(ask c.chopped.test)"
done_testing

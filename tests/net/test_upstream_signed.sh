#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Names of others that are signed: what is right has AD, what was changed or is out of date is not answered.
# shellcheck source=tests/net/lib.sh
. "$(dirname "$0")/lib.sh"
# shellcheck source=tests/net/upstream.sh
. tests/net/upstream.sh
command -v ldns-signzone >/dev/null || {
	echo "skipped: ldns-signzone is not installed (make deps-test)"
	exit 77
}
mkdir "$TMP/nsd"
cd "$TMP/nsd" || exit 1
for zone in signed expired plain; do
	# shellcheck disable=SC2016
	printf '$ORIGIN %s.lab.\n@ 60 IN SOA ns host 1 3600 600 86400 60\n@ 60 IN NS ns\nns 60 IN A 127.0.0.22\nwww 60 IN A 192.0.2.7\nforged 60 IN A 192.0.2.8\nours 60 IN CNAME web.service.mesh.internal.\nlied 60 IN CNAME bew.service.mesh.internal.\nrange 60 IN CNAME 1.2.3.250.in-addr.arpa.\nmine 60 IN CNAME printer.corp.\nfaked 60 IN CNAME printed.corp.\n' $zone >$zone
done
sign() { # zone, options
	local key
	key=$(ldns-keygen -a ECDSAP256SHA256 -k "$1.lab")
	ldns-signzone "${@:2}" "$1" "$key"
	grep -v '^;' "$key.ds" >>anchors
	mv "$1.signed" "$1"
}
sign signed
sign expired -i 20200101000000 -e 20200201000000
sed -i 's/192\.0\.2\.8/192.0.2.9/; s/bew\.service/web.service/; s/printed\.corp/printer.corp/' signed
printf 'server:\n\tip-address: 127.0.0.22@5353\n\tusername: ""\n\tchroot: ""\n\tzonesdir: "%s"\n\tdatabase: ""\n\tpidfile: ""\n\txfrdfile: "%s/xfrd"\n\tzonelistfile: "%s/list"\nremote-control:\n\tcontrol-enable: no\n' "$PWD" "$PWD" "$PWD" >nsd.conf
for zone in signed expired plain; do printf 'zone:\n\tname: "%s.lab"\n\tzonefile: %s\n' $zone $zone >>nsd.conf; done
(exec nsd -d -c "$PWD/nsd.conf" >"$TMP/nsd.log" 2>&1) &
cd - >/dev/null || exit 1
until_ok 10 dig +tries=1 +time=1 @127.0.0.22 -p 5353 plain.lab SOA || fail "NSD answers: $(cat "$TMP/nsd.log")"

echo '{"dns": {"records": ["printer.corp 60 A 10.0.0.7"]}}' >"$TMP/settings.json"
start_agent --config "$TMP/settings.json" --set kernel.enabled=false --set dns.upstream=list --set dns.forward=.=127.0.0.22@5353 \
	--set dns.validate=true --set "dns.trust_anchor=$TMP/nsd/anchors"
flags() { dig +tries=1 +time=10 +adflag @127.0.0.1 -p 8600 "$@" | sed -n 's/.*flags: \([a-z ]*\);.*/\1/p'; }
check "signed" 192.0.2.7 "$(ask www.signed.lab)"
matches "and said to be" '\bad\b' "$(flags www.signed.lab)"
check "a name that is not there, proved" NXDOMAIN "$(status_of none.signed.lab)"
check "changed behind its signature: not answered" SERVFAIL "$(status_of forged.signed.lab)"
check "but to who validates by itself" 192.0.2.9 "$(ask +cd forged.signed.lab)"
check "out of date: not answered" SERVFAIL "$(status_of www.expired.lab)"
check "not signed, and nobody says that it is" 192.0.2.7 "$(ask www.plain.lab)"
check "has no AD" 0 "$(flags www.plain.lab | grep -cw ad)"
check "nor have names of ours" 0 "$(flags none.service.mesh.internal | grep -cw ad)"

# --- a signed alias of a name of ours, which nobody signs
check "register" 200 "$(register web-1 web 127.1.0.1 80)"
for zone in signed plain; do
	check "$zone: what it leads to is answered" "web.service.mesh.internal. 127.1.0.1" "$(ask ours.$zone.lab | xargs)"
	check "$zone: and what is not there is not" "NXDOMAIN" "$(status_of range.$zone.lab PTR)"
	check "$zone: without AD" 0 "$(flags ours.$zone.lab | grep -cw ad)"
done
check "the alias has its signature" "CNAME RRSIG A" "$(dig +tries=1 +time=10 +noall +answer +dnssec @127.0.0.1 -p 8600 ours.signed.lab | awk '{print $4}' | xargs)"
check "a forged alias is not followed" SERVFAIL "$(status_of lied.signed.lab)"
check "but for who validates by itself" 127.1.0.1 "$(ask +cd lied.signed.lab | tail -1)"

# --- nor is one that leads to a record of the operator's, though nobody is asked for that
for zone in signed plain; do check "$zone: it is answered" "printer.corp. 10.0.0.7" "$(ask mine.$zone.lab | xargs)"; done
check "without AD" 0 "$(flags mine.signed.lab | grep -cw ad)"
check "a forged one is not followed" SERVFAIL "$(status_of faked.signed.lab)"
check "but for who validates by itself" 10.0.0.7 "$(ask +cd faked.signed.lab | tail -1)"
stop_agent

start_agent --set kernel.enabled=false --set dns.upstream=list --set dns.forward=.=127.0.0.22@5353
check "without dns.validate nobody looks" 192.0.2.9 "$(ask forged.signed.lab)"
check "and nothing is said to be signed" 0 "$(flags www.signed.lab | grep -cw ad)"
done_testing

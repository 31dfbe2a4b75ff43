#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Names that are not ours are asked of others: by domain, with failover, stale where nobody answers; of
# resolv.conf as it changes; from the root down. Our names never leave, and nobody leads back to us.
# shellcheck source=tests/net/lib.sh
. "$(dirname "$0")/lib.sh"
# shellcheck source=tests/net/upstream.sh
. tests/net/upstream.sh

data() { printf '\tlocal-zone: "example." static\n\tlocal-data: "a.example. 2 A %s"\n\tlocal-data: "aliased.example. 60 CNAME 3.1.244.10.in-addr.arpa."\n\tlocal-data: "both.example. 60 A %s"\n\tlocal-data: "later.example. 60 A %s"\n' "$1" "$1" "$1"; }
serve one 127.0.0.11 53 "$(data 192.0.2.11)
	local-data: 'mx.example. 60 MX 10 a.example.'
	local-data: 'long.example. 60 TXT $(for _ in {1..8}; do printf '"%s" ' "$(printf 'x%.0s' {1..200})"; done)'
	local-data: '1.2.0.192.in-addr.arpa. 60 PTR a.example.'
	local-zone: '0.192.in-addr.arpa.' nodefault"
serve two 127.0.0.12 53 "$(data 192.0.2.12)"
for a in 20 21; do ip addr add "198.18.0.$a/32" dev lo; done # no private ones
mkdir "$TMP/nsd"
SOA='SOA ns host 1 3600 600 86400 60'
printf '. 60 IN SOA ns.root. host. 1 3600 600 86400 60\n. 60 IN NS ns.root.\nns.root. 60 IN A 198.18.0.20\nworld. 60 IN NS ns.world.\nns.world. 60 IN A 198.18.0.21\n' >"$TMP/nsd/root"
# shellcheck disable=SC2016
printf '$ORIGIN world.\n@ 60 IN %s\n@ 60 IN NS ns\nns 60 IN A 198.18.0.21\nwww 60 IN CNAME host.deep\nhost.deep 60 IN A 192.0.2.99\n' "$SOA" >"$TMP/nsd/world"
# first and last of each range, and what is next to them
PRIVATE='0.0.0.0 0.255.255.255 10.0.0.0 10.255.255.255 100.64.0.0 100.127.255.255 127.0.0.1 127.255.255.255 169.254.0.0
	169.254.255.255 172.16.0.0 172.31.255.255 192.168.0.0 192.168.255.255 240.0.0.0 255.255.255.255
	:: ::1 ::ffff:0.0.0.0 ::ffff:127.0.0.1 ::ffff:255.255.255.255 fc00:: fd77::1 fdff:ffff::1 fe80:: febf:ffff::1 fec0::1 feff:ffff::1'
PUBLIC='1.0.0.0 9.255.255.255 11.0.0.0 100.63.255.255 100.128.0.0 126.255.255.255 128.0.0.0 169.253.255.255 169.255.0.0
	172.15.255.255 172.32.0.0 192.167.255.255 192.169.0.0 ::2 ::fffe:7f00:1 fbff:ffff::1 fe00::1 2001:db8::1'
n=0
for a in $PRIVATE $PUBLIC; do
	n=$((n + 1))
	case $a in *:*) echo "rebind$n 60 IN AAAA $a" ;; *) echo "rebind$n 60 IN A $a" ;; esac
done >>"$TMP/nsd/world"
# shellcheck disable=SC2016
printf '$ORIGIN corp.test.\n@ 60 IN %s\n@ 60 IN NS ns\nns 60 IN A 127.0.0.22\nhost 60 IN A 10.0.0.7\n' "$SOA" >"$TMP/nsd/corp.test"
serve_zones "198.18.0.20@53 198.18.0.21@53 127.0.0.22@5353" root world corp.test

# --- a server that is this agent is refused at the start, as is what is ours
refuses() { "$B/waymarkd" --check-config --set "node.data_dir=$TMP/data" --set kernel.enabled=false --set dns.upstream=list --set "dns.forward=$1" "${@:2}" 2>&1; }
matches "ourselves" "dns.forward: 127.0.0.1 is this agent itself" "$(refuses .=127.0.0.1@8600)"
matches "ourselves, as any address" "dns.forward: 0.0.0.0 is this agent itself" "$(refuses .=0.0.0.0@8600)"
matches "our domain" "dns.forward: x.mesh.internal is ours" "$(refuses x.mesh.internal=127.0.0.11)"
for zone in 240.in-addr.arpa 7.255.in-addr.arpa b.6.2.7.1.6.d.6.9.7.1.6.7.7.d.f.ip6.arpa 1.b.6.2.7.1.6.d.6.9.7.1.6.7.7.d.f.ip6.arpa; do
	matches "our ranges: $zone" "dns.forward: $zone is ours" "$(refuses $zone=127.0.0.11)"
done
matches "ranges of the operator's" "dns.forward: 5.244.10.in-addr.arpa is ours" "$(refuses 5.244.10.in-addr.arpa=127.0.0.11 --set dns.reverse_ranges=10.244.0.0/16)"
matches "too many zones" "dns.reverse_ranges: with 10.128.0.0/9 they are 129 reverse zones, more than 64" "$(refuses .=127.0.0.11 --set dns.reverse_ranges=10.244.0.0/16,10.128.0.0/9)"
matches "no network" "dns.reverse_ranges: a network such as" "$(refuses .=127.0.0.11 --set dns.reverse_ranges=pods)"
for zone in 239.in-addr.arpa ip6.arpa 1.7.1.6.7.7.d.f.ip6.arpa; do
	check "ranges of others: $zone" "" "$(refuses $zone=127.0.0.11 | grep dns.forward)"
done
matches "no address" "dns.forward: an IP address is wanted.*not \"host\"" "$(refuses .=host)"
matches "no server" "dns.forward: dns.upstream is list, and no server is there" "$(refuses '')"

# --- by domain, by two servers
start_agent --set dns.upstream=list --set "dns.forward=.=127.0.0.11 127.0.0.12" \
	--set dns.serve_stale=1h --set dns.port53_addresses=127.0.0.1 --set dns.reverse_ranges=10.244.0.0/16
check "register" 200 "$(register web-1 web 127.1.0.1 80)"
matches "a name of others" "^192.0.2.1[12]$" "$(ask a.example)"
check "our own" 127.1.0.1 "$(ask web.service.mesh.internal)"
check "not one of ours" NXDOMAIN "$(status_of none.service.mesh.internal)"
check "nor an address of our ranges" NXDOMAIN "$(status_of -x 250.1.2.3)"
check "nor one of a range that is said to be ours" "NXDOMAIN NXDOMAIN" "$(status_of -x 10.244.1.2 | xargs) $(status_of aliased.example PTR)"
check "of others' they are asked" "1" "$(status_of -x 10.243.1.2 >/dev/null; cat "$TMP"/one.log "$TMP"/two.log | grep -c '2.1.243.10.in-addr.arpa')"
for name in none.mesh.internal web.service.dc9.mesh.internal x.y.z.mesh.internal MESH.internal _x._tcp.mesh.internal; do
	for type in A AAAA SRV TXT DS ANY; do status_of $name $type >/dev/null; done
done
check "our domain never left" "" "$(grep -i 'mesh.internal' "$TMP"/one.log "$TMP"/two.log)"
check "nor did our ranges" "" "$(grep -E '250.in-addr|244.10.in-addr' "$TMP"/one.log "$TMP"/two.log)"
check "without RD nothing is asked" REFUSED "$(status_of +norec both.example)"
check "of another class neither" REFUSED "$(status_of both.example CH A)"
any() { dig +tries=1 +time=15 +noall +answer @127.0.0.1 -p 8600 "$@" | tr -s '\t ' ' '; }
for how in +notcp +tcp; do check "ANY is asked of nobody, $how" 'never.example. 3600 IN HINFO "RFC8482" ""' "$(any $how never.example ANY)"; done
check "nobody was" "" "$(grep 'never.example' "$TMP"/one.log "$TMP"/two.log)"
flags() { dig +tries=1 +time=15 @127.0.0.1 -p 8600 "$@" | sed -n 's/^;; flags:\([a-z ]*\);.*/\1/p'; }
check "the flags" " qr rd ra" "$(flags both.example)"
check "CD is kept" " qr rd ra cd" "$(flags both.example +cd)"
matches "the question as it was asked" "BoTh.ExAmPlE" "$(dig +noall +question @127.0.0.1 -p 8600 BoTh.ExAmPlE)"

# --- one dies: the other answers; all die: what is kept does, with TTL 30, and what is not is SERVFAIL
both_up() { is_state 127.0.0.11 up && is_state 127.0.0.12 up; }
until_ok 60 both_up || fail "both are up: $(api $API/v1/waymark/dns)"
kill_server one
failed=0
for i in $(seq 20); do [ "$(status_of "new-$i.example")" = NXDOMAIN ] || failed=$((failed + 1)); done
check "with one of two dead, twenty questions fail" 0 $failed
until_ok 60 is_state 127.0.0.11 down || fail "it is found dead: $(api $API/v1/waymark/dns)"
kill_server two
nobody() { is_state 127.0.0.11 down && is_state 127.0.0.12 down; }
matches "all dead: what is kept" "^192.0.2.1[12]$" "$(ask a.example)"
is_state 127.0.0.12 down || status_of other.example >/dev/null
until_ok 60 nobody || fail "nobody is found to answer: $(api $API/v1/waymark/dns)"
[ "$FAILED" = 0 ] || "$CTL" dns status
check "with the TTL of what is stale" 30 "$(ttl_of a.example)"
check "and counted" true "$(upstream_counter dns_upstream_stale | jq '. >= 1')"
check "what is not kept" SERVFAIL "$(status_of nobody-knows.example)"
check "our own" 127.1.0.1 "$(ask web.service.mesh.internal)"
serve two 127.0.0.12 53 "$(data 192.0.2.12)"
back() { [ "$(status_of "again-$RANDOM.example")" = NXDOMAIN ]; }
until_ok 60 back || fail "a server that is back is asked"
until_ok 60 is_state 127.0.0.12 up || fail "the next probe finds it: $(api $API/v1/waymark/dns)"
matches "operators see it" "127.0.0.12@53 +up" "$("$CTL" dns upstreams)"
matches "and how it goes" "^upstream list" "$("$CTL" dns status)"
asked() { grep -c "$1" "$TMP/two.log"; }
check "a new name" 192.0.2.12 "$(ask later.example)"
before=$(asked later.example.)
check "kept" "192.0.2.12 0" "$(ask later.example) $(($(asked later.example.) - before))"
matches "flush is the operator's" "is for the agent's Unix socket" "$("$CTL" dns flush 2>&1)$(api -X DELETE $API/v1/waymark/dns/cache)"
check "flush" 200 "$(operator_code -X DELETE $API/v1/waymark/dns/cache)"
check "and asked again" "192.0.2.12 1" "$(ask later.example) $(($(asked later.example.) - before))"
dns_balance
stop_agent

# --- of resolv.conf, which is watched; we stand in it, too
serve one 127.0.0.11 53 "$(data 192.0.2.11)
	local-data: 'mx.example. 60 MX 10 a.example.'
	local-zone: 'home.arpa.' static
	local-data: 'nas.home.arpa. 60 A 192.168.1.7'
	local-zone: 'test.' static
	local-data: 'site.test. 60 A 10.0.0.9'"
printf 'nameserver 127.0.0.1\n' >"$TMP/resolv.conf"
printf '# the real ones\nnameserver 127.0.0.11\noptions edns0\n' >"$TMP/real.conf"
start_agent --set dns.upstream=resolv.conf --set "dns.resolv_conf=$TMP/resolv.conf,$TMP/real.conf" --set dns.rebind_protection=true \
	--set dns.port53_addresses=127.0.0.1
check "not ourselves, but the next file's" 192.0.2.11 "$(ask both.example)"
check "over port 53, as a libc asks" 192.0.2.11 "$(dig +short +tries=1 +time=15 @127.0.0.1 both.example)"
check "names in the data" "10 a.example." "$(ask mx.example MX)"
check "what the world has not: a home's, a test's" "192.168.1.7 10.0.0.9" "$(ask nas.home.arpa) $(ask site.test)"
printf 'nameserver 127.0.0.12\nnameserver 127.0.0.1\n' >"$TMP/new.conf"
mv "$TMP/new.conf" "$TMP/real.conf"
other() { [ "$(ask both.example)" = 192.0.2.12 ]; }
until_ok 60 other || fail "a change is seen: $(ask both.example)"
rm "$TMP/real.conf"
sleep 1.5
check "the uplink is gone: those before are asked" NXDOMAIN "$(status_of gone.example)"
stop_agent

# --- a server that leads back to us through another
printf 'forward-zone:\n\tname: "."\n\tforward-addr: 127.0.0.1@8600\n' >"$TMP/relay.zone"
serve relay 127.0.0.13 53 "	local-data: 'up.test. 60 A 192.0.2.1'
	include: \"$TMP/relay.zone\"" up.test
serve relay2 127.0.0.14 53 "	local-data: 'up.test. 60 A 192.0.2.1'
	include: \"$TMP/relay.zone\"" up.test
start_agent --set dns.upstream=list --set "dns.forward=.=127.0.0.13 127.0.0.12 127.0.0.14"
until_ok 60 is_state 127.0.0.14 loops || fail "a second one is found: $(api $API/v1/waymark/dns)"
until_ok 60 is_state 127.0.0.13 loops || fail "the loop is found: $(api $API/v1/waymark/dns)"
check "it is not asked" 192.0.2.12 "$(ask both.example)"
for i in $(seq 10); do status_of "never-$i.example" >/dev/null; done
check "nothing goes round" 0 "$(grep -c "never-" "$TMP/relay.log")"
matches "and the log says so" "dns.upstream_loops server=127.0.0.13@53" "$(grep -h upstream_loops "$TMP/agent.log")"
kill_server relay
kill_server relay2
serve relay 127.0.0.13 53 "	local-zone: \"example.\" static"
serve relay2 127.0.0.14 53 "	local-zone: \"waymark-loop.\" refuse
	local-data: 'up.test. 60 A 192.0.2.1'" up.test
until_ok 180 is_state 127.0.0.13 up || fail "one that was set right is asked again: $(api $API/v1/waymark/dns)"
until_ok 180 is_state 127.0.0.14 up || fail "and one that refuses the probes by itself: $(api $API/v1/waymark/dns)"
stop_agent

# --- from the root down, label by label
printf '. 3600 IN NS ns.root.\nns.root. 3600 IN A 198.18.0.20\n' >"$TMP/hints"
start_agent --set dns.upstream=recursion --set "dns.root_hints=$TMP/hints" --set dns.rebind_protection=true \
	--set dns.forward=corp.test=127.0.0.22@5353
check "of the root nobody asks for what the world has not" "NXDOMAIN NXDOMAIN" "$(status_of nas.home.arpa) $(status_of site.test)"
check "recursion" "host.deep.world. 192.0.2.99" "$(ask www.world | xargs)"
n=0
for a in $PRIVATE; do
	n=$((n + 1))
	check "a private address of the world: $a" "" "$(ask rebind$n.world)$(ask rebind$n.world AAAA)"
done
for a in $PUBLIC; do
	n=$((n + 1))
	check "one that is not: $a" "$a" "$(ask rebind$n.world)$(ask rebind$n.world AAAA)"
done
authority() { dig +tries=1 +time=15 +noall +authority @127.0.0.1 -p 8600 "$@" | awk '{print $1, $5}'; }
for a in 10.9.9.9 172.31.9.9 192.168.9.9 169.254.9.9 127.9.9.9 fd99::9 fe80::9 2001:db8::9; do
	matches "the root is not asked whose $a is" "arpa\. localhost\.$" "$(authority -x $a)"
done
matches "but whose other addresses are" "^\. ns.root\.$" "$(authority -x 198.51.101.9)"
check "a domain with a server of its own" 10.0.0.7 "$(ask host.corp.test)"
check "a name that does not exist there" NXDOMAIN "$(status_of none.corp.test)"
done_testing

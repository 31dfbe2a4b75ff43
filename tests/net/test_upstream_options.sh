#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# What may be chosen of how others are asked: letters of random case, addresses of IPv6 for who has none.
# shellcheck source=tests/net/lib.sh
. "$(dirname "$0")/lib.sh"
# shellcheck source=tests/net/upstream.sh
. tests/net/upstream.sh
serve one 127.0.0.11 53 '	local-zone: "example." static
	local-data: "four.example. 60 A 192.0.2.11"
	local-data: "both.example. 60 A 192.0.2.12"
	local-data: "both.example. 60 AAAA 2001:db8::12"'
(exec /usr/bin/python3 tests/net/slow_dns.py 127.0.0.15 /dev/null lower) &

try() { "$B/waymarkd" --check-config --set "node.data_dir=$TMP/data" --set kernel.enabled=false "$@" 2>&1; }
for p in 64:ff9b:: 64:ff9b::/95 x/96 192.0.2.0/96 64:ff9b::/96/96; do
	matches "no prefix for DNS64: $p" "dns.dns64_prefix: an IPv6 prefix of" "$(try --set dns.dns64_prefix=$p)"
done

options=(--set kernel.enabled=false --set dns.upstream=list --set "dns.forward=.=127.0.0.11,lower.test=127.0.0.15")
start_agent "${options[@]}"
check "as it is: no AAAA" "" "$(ask four.example AAAA)"
for i in 1 2 3 4; do status_of "plain-letters-$i.example" >/dev/null; done
check "and the case that was asked" 0 "$(grep -o 'plain-letters-[^ ]*' "$TMP/one.log" | grep -c '[A-Z]')"
stop_agent

start_agent "${options[@]}" --set dns.dns64_prefix=64:ff9b::/96 --set dns.caps_for_id=true
check "register" 200 "$(register web-1 web 127.1.0.1 80)"
check "DNS64" 64:ff9b::c000:20b "$(ask four.example AAAA)"
check "who has an AAAA keeps it" 2001:db8::12 "$(ask both.example AAAA)"
check "nor is A another" 192.0.2.11 "$(ask four.example A)"
check "a name that is not there" NXDOMAIN "$(status_of none.example AAAA)"
check "our own names are as they were" "" "$(ask web.service.mesh.internal AAAA)"
for i in 1 2 3 4; do check "a name in any case" NXDOMAIN "$(status_of "mixed-letters-$i.example")"; done
check "letters of random case" true "$([ "$(grep -io 'mixed-letters-[^ ]*' "$TMP/one.log" | grep -c '[A-Z]')" -ge 3 ] && echo true)"
matches "the client's own letters" "^FoUr.ExAmPlE" "$(dig +noall +answer +tries=1 +time=15 @127.0.0.1 -p 8600 FoUr.ExAmPlE)"
check "who does not keep them is asked again" 192.0.2.77 "$(ask any.lower.test)"

# --- one name is forgotten, the others are kept
asked() { grep -c " $1.example. A IN" "$TMP/one.log"; }
local_asked() { local before; before=$(asked "$1"); ask "$1.example" >/dev/null; echo $(($(asked "$1") - before)); }
stop_agent
start_agent "${options[@]}"
for n in four both; do check "$n is asked for" 1 "$(local_asked $n)"; done
for n in four both; do check "$n is kept" 0 "$(local_asked $n)"; done
matches "flush" "of FOUR.example. is forgotten" "$("$CTL" --agent "unix:$TMP/http.sock" dns flush FOUR.example. 2>&1)"
check "it is asked for again" 1 "$(local_asked four)"
check "and kept" 0 "$(local_asked four)"
check "the other one all the time" 0 "$(local_asked both)"
check "once more" 200 "$(operator_code -X DELETE "$API/v1/waymark/dns/cache?name=four.example")"
check "it is asked for once more" 1 "$(local_asked four)"
check "counted" 2 "$(upstream_counter dns_upstream_name_flushed)"
spaced() { grep -cF ' a?b.example. A IN' "$TMP/one.log"; } # unbound writes '?' for what is no letter
spaced_asked() { local before; before=$(spaced); ask 'a\032b.example' >/dev/null; echo $(($(spaced) - before)); }
check "a name that tools write in another way" "1 0" "$(spaced_asked) $(spaced_asked)"
check "is forgotten as it is typed" "what others said of a b.example is forgotten" "$("$CTL" --agent "unix:$TMP/http.sock" dns flush 'a b.example' 2>&1)"
check "which moves no cursor" 'what others said of \x1b.example is forgotten' "$("$CTL" --agent "unix:$TMP/http.sock" dns flush $'\e.example' 2>&1)"
check "and asked for again" 1 "$(spaced_asked)"
check "no name" 400 "$(operator_code -X DELETE "$API/v1/waymark/dns/cache?name=.")"
check "everything" 200 "$(operator_code -X DELETE $API/v1/waymark/dns/cache)"
for n in four both; do check "$n was forgotten" 1 "$(local_asked $n)"; done
for i in $(seq 70); do operator_code -X DELETE "$API/v1/waymark/dns/cache?name=n$i.example"; done >"$TMP/codes"
matches "many names" "^(200){70}" "$(cat "$TMP/codes")"
check "are answered" NXDOMAIN "$(status_of n70.example)"
done_testing

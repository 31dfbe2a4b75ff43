#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# How often the kernel tells the same to a network over a link: what is more is dropped or told to use TCP;
# this node is not held; changed while the agent runs, and kept while none does.
# shellcheck source=tests/net/lib.sh
. "$(dirname "$0")/lib.sh"

unshare --net sleep 600 &
FAR=$!
far() { nsenter -t "$FAR" --net "$@"; }
until_ok 10 is_apart $FAR
ip link add wmup type veth peer name eth
ip link set eth netns "$FAR"
ip addr add 10.99.1.1/24 dev wmup
ip addr add fd99:1::1/64 dev wmup nodad
ip link set wmup up
far sh -c 'ip link set lo up; ip addr add 10.99.1.2/24 dev eth; ip addr add fd99:1::2/64 dev eth nodad; ip link set eth up'
settings() { printf '{"dns": {"rate_limit": %s}}' "$1" >"$TMP/settings.json"; }
reload() { operator -X PUT "$API/v1/agent/reload"; }
begin() {
	start_agent --config "$TMP/settings.json" --set dns.addresses=10.99.1.1,fd99:1::1,127.0.0.1 --set kernel.dns_devices=wmup
	until_ok 20 attached || fail "the link is attached to"
}
attached() { api $API/v1/waymark/status | jq -e '.plane.hooks[] | select(.name == "dns_link" and .attached)'; }
asks() { far dig +short +tries=1 +time=3 -p 8600 "$@" 2>/dev/null | grep -v '^;'; } # options of dig
NAME=web.service.mesh.internal

settings 0
begin
register a web 10.99.0.1 8081 >/dev/null
until_ok 10 ask $NAME
for _ in 1 2 3 4 5; do check "no bound" 10.99.0.1 "$(asks @10.99.1.1 $NAME)"; done
check "all of it by the kernel" "0 0" "$(counter dns_drop_rate) $(counter dns_rate_cut)"

# one a second: until what was asked at once was dropped, and cut
settings 1
check "a reload" "" "$(reload)"
storm() { # address, name: what is more since the counts before
	far dig +noall +comments +nocookie +tries=1 +time=1 +ignore -p 8600 "@$1" "$2" "$2" "$2" >>"$TMP/storm" 2>&1
	[ "$(counter dns_drop_rate)" -gt "$dropped" ] && [ "$(counter dns_rate_cut)" -gt "$cut" ]
}
bounded() { # text, address, name
	dropped=$(counter dns_drop_rate) cut=$(counter dns_rate_cut)
	: >"$TMP/storm"
	until_ok 60 storm "$2" "$3" || fail "$1: $(cat "$TMP/storm")"
	matches "$1 is dropped, and cut" "flags: qr tc rd;" "$(cat "$TMP/storm")"
}
bounded "an answer over IPv4" 10.99.1.1 $NAME
bounded "over IPv6" fd99:1::1 $NAME
bounded "a denial" fd99:1::1 none.no.mesh.internal
cookie() { far dig +noall +comments +tries=1 +time=1 -p 8600 @10.99.1.1 $NAME 2>/dev/null | sed -n 's/^; COOKIE: \([0-9a-f]*\) .*/\1/p' | tail -1; }
got_cookie() { cookie=$(cookie) && [ -n "$cookie" ]; }
until_ok 60 got_cookie || fail "a cookie, if by BADCOOKIE"
check "who has one is not held" 10 "$(for _ in 1 2 3 4 5 6 7 8 9 10; do asks +cookie="$cookie" @10.99.1.1 $NAME; done | grep -c 10.99.0.1)"
check "over TCP there is no bound" "3" "$(for _ in 1 2 3; do asks +tcp @10.99.1.1 $NAME; done | grep -c 10.99.0.1)"
for _ in 1 2 3 4 5; do check "nor for this node" 10.99.0.1 "$(ask $NAME)"; done
metric() { api "$API/v1/agent/metrics?format=prometheus" | awk -v m="waymark_$1_total" '$1 == m {print $2}'; }
check "counted" "$(counter dns_drop_rate) $(counter dns_rate_cut)" "$(metric dns_drop_rate) $(metric dns_rate_cut)"

stop_agent KILL
bounded "without an agent it" 10.99.1.1 $NAME
settings 0
begin
dropped=$(counter dns_drop_rate)
for _ in 1 2 3 4 5; do check "no bound again" 10.99.0.1 "$(asks @10.99.1.1 $NAME)"; done
check "nothing was dropped" "$dropped" "$(counter dns_drop_rate)"
kill "$FAR"
done_testing

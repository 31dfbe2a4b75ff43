#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Servers are killed while a client asks: no look-up of a name that was asked before fails, with one of two
# dead, nor with both; how long the first waits is a figure of tests/bench/run.sh outage. What is stale has
# a TTL of 30 s from the first answer on.
# shellcheck source=tests/net/lib.sh
. "$(dirname "$0")/lib.sh"
# shellcheck source=tests/net/upstream.sh
. tests/net/upstream.sh

data() { printf '\tlocal-zone: "example." static\n' && seq -f '	local-data: "n-%g.example. 1 A 192.0.2.7"' 0 39; }
serve one 127.0.0.11 53 "$(data)"
serve two 127.0.0.12 53 "$(data)"
outage() { /usr/bin/python3 tests/net/outage.py n 40 "$@"; }
start_agent --set dns.upstream=list --set "dns.forward=.=127.0.0.11 127.0.0.12"
both_up() { is_state 127.0.0.11 up && is_state 127.0.0.12 up; }
until_ok 20 both_up || fail "both are up: $(api $API/v1/waymark/dns)"
check "both answer" 0 "$(outage 2 | jq .failed)"
seen=$(outage 4 "${SERVER[one]}")
check "one is killed: look-ups failed of $(jq .asked <<<"$seen")" 0 "$(jq .failed <<<"$seen")"
seen=$(outage 8 "${SERVER[two]}")
check "all are killed: look-ups failed of $(jq .asked <<<"$seen")" 0 "$(jq .failed <<<"$seen")"
stop_agent

# --- a probe's resolver leaves the TTLs of the others as they are: those that are set, and of what is stale
serve three 127.0.0.13 53 '	local-zone: "example." static
	local-data: "long.example. 86400 A 192.0.2.8"
	local-data: "thirty.example. 30 A 192.0.2.9"
	local-data: "a.example. 2 A 192.0.2.9"
	local-data: "b.example. 2 A 192.0.2.9"'
start_agent --set dns.upstream=list --set "dns.forward=.=127.0.0.13" --set dns.cache_ttl_max=60s --set kernel.enabled=false
check "asked before a probe" "2 2" "$(ttl_of a.example) $(ttl_of b.example)"
probed() { ask probed.example >/dev/null && [ "$(api $API/v1/waymark/dns | jq .servers[0].probes)" -ge 3 ]; }
until_ok 60 probed || fail "the server is probed again: $(api $API/v1/waymark/dns)"
check "dns.cache_ttl_max" 60 "$(ttl_of long.example)"
check "a TTL that is not of what is stale" "30 0" "$(ttl_of thirty.example) $(upstream_counter dns_upstream_stale)"
kill_server three
check "the first that is stale" 30 "$(ttl_of a.example)"
check "and the second" "30 30" "$(ttl_of a.example) $(ttl_of b.example)"
check "counted" 3 "$(upstream_counter dns_upstream_stale)"
stop_agent

# --- the wall clock is set back by an hour, by which libunbound keeps answers: none stays for longer
serve five 127.0.0.15 53 '	local-zone: "example." static
	local-data: "a.example. 5 A 192.0.2.8"'
echo 0 >"$TMP/step"
STEP_CLOCK=$TMP/step LD_PRELOAD=$PWD/build/release/tests/step_clock.so \
	ASAN_OPTIONS=${ASAN_OPTIONS:+$ASAN_OPTIONS:}verify_asan_link_order=0 \
	start_agent --set dns.upstream=list --set "dns.forward=.=127.0.0.15" --set dns.serve_stale=0 --set dns.kernel_cache_after=1
check "before" 5 "$(ttl_of a.example)"
echo -3600 >"$TMP/step"
forgotten() { [ "$(upstream_counter dns_upstream_flushed)" = 1 ]; }
until_ok 10 forgotten || fail "it is seen: $(api $API/v1/waymark/dns)"
for _ in 1 2 3; do
	[ "$(ttl_of a.example)" -le 5 ] || fail "a TTL of $(ttl_of a.example)"
done
echo 3600 >"$TMP/step"
check "set forward it is as ever" 192.0.2.8 "$(ask a.example)"
stop_agent

# --- the uplink is gone: that the kernel knows no way there is no answer of the server
far_network uplink 198.51.100.1
ip addr add 198.51.100.2/24 dev uplink
ip link set uplink up
SERVE_IN=$FAR serve four 198.51.100.1 53 '	local-zone: "example." static
	access-control: 0.0.0.0/0 allow
	local-data: "a.example. 1 A 192.0.2.9"'
start_agent --set dns.upstream=list --set "dns.forward=.=198.51.100.1,nowhere=192.0.2.53,none=fe80::1%none0" --set kernel.enabled=false
until_ok 20 is_state 198.51.100.1 up || fail "it is up: $(api $API/v1/waymark/dns)"
until_ok 20 is_state 192.0.2.53 down || fail "one to which there is no way: $(api $API/v1/waymark/dns)"
until_ok 20 is_state fe80::1%none0 down || fail "nor to a device that is not there: $(api $API/v1/waymark/dns)"
check "asked" 192.0.2.9 "$(ask a.example)"
ip link set uplink down
unknown_is() { [ "$(status_of "$RANDOM.example")" = "$2" ] && is_state 198.51.100.1 "$1"; }
until_ok 20 unknown_is down SERVFAIL || fail "without the uplink it is down: $(api $API/v1/waymark/dns)"
is_stale() { [ "$(ttl_of a.example)" = 30 ]; }
until_ok 20 is_stale || fail "what was asked before is answered: $(ttl_of a.example)"
ip link set uplink up
until_ok 20 unknown_is up NXDOMAIN || fail "it comes back: $(api $API/v1/waymark/dns)"
nft -f - <<<'table ip out { chain out { type filter hook output priority 0; ip daddr 198.51.100.1 drop; }; }' ||
	fail "a firewall"
until_ok 20 unknown_is down SERVFAIL || fail "nor is what a firewall says: $(api $API/v1/waymark/dns)"
done_testing

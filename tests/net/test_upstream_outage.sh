#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Servers are killed while a client asks: no look-up of a name that was asked before fails, with one of two
# dead, nor with both; how long the first waits is a figure of tests/bench/run.sh outage.
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
done_testing

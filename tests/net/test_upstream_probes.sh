#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Servers of many domains that are dead, as those of sites behind a tunnel that is down, do not keep the others from
# being probed: whether they answer, and whether they lead back to us.
# shellcheck source=tests/net/lib.sh
. "$(dirname "$0")/lib.sh"
# shellcheck source=tests/net/upstream.sh
. tests/net/upstream.sh
serve live 127.0.0.11 53 ''
serve loop 127.0.0.12 53 "	local-data: 'up.test. 60 A 192.0.2.1'
forward-zone:
	name: \".\"
	forward-addr: 127.0.0.1@8600" up.test
dead=''
for n in {1..12}; do dead+="site$n.example=127.0.1.$n 127.0.2.$n,"; done
start_agent --set kernel.enabled=false --set dns.upstream=list --set "dns.forward=$dead.=127.0.0.11 127.0.0.12"
until_ok 30 is_state 127.0.0.11 up || fail "the one that answers is found: $(api $API/v1/waymark/dns)"
until_ok 30 is_state 127.0.0.12 loops || fail "and the one that leads here: $(api $API/v1/waymark/dns)"
all_down() { [ "$(api $API/v1/waymark/dns | jq '[.servers[] | select(.state == "down")] | length')" = 24 ]; }
until_ok 60 all_down || fail "and those that are dead: $(api $API/v1/waymark/dns)"
done_testing

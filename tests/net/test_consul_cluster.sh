#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Two Consul clusters that call their datacenter alike are told apart by the authority of each, where they have one.
# shellcheck source=tests/net/lib.sh
. "$(dirname "$0")/lib.sh"

FAKE=http://127.0.0.1:8520
/usr/bin/python3 tests/net/consul_fake.py 8520 &
until_ok 20 api $FAKE/control/seen || fail "the fake does not listen"
control() { api -X PUT $FAKE/control -d "$1"; }
source_of() { api "$API/v1/waymark/sources" | jq -r ".[] | select(.name == \"consul\") | $1"; }
source_is() { [ "$(source_of .state)" = "$1" ]; }
ids() { api "$API/v1/health/service/web" | jq -r '[.[].Service.ID] | sort | join(" ")'; }
ids_are() { [ "$(ids)" = "$1" ]; }
again() {
	stop_agent
	start_agent --set kernel.enabled=false --set source.consul_addresses=$FAKE --set source.consul_wait=2s
}
A=11111111-1111-4111-8111-111111111111 OTHER=22222222-2222-4222-8222-222222222222
control '{"services": {"web": ["w1@127.1.0.1:80", "w2@127.1.0.2:80"]}}'
start_agent --set kernel.enabled=false --set source.consul_addresses=$FAKE --set source.consul_wait=2s
until_ok 40 ids_are "w1 w2" || fail "what is there is not taken: $(source_of .text)"
check "one that has no authority is known by its datacenter" "dc=quay" "$(source_of .identity)"
control "{\"cluster\": \"$A\"}"
again
until_ok 40 source_is watching || fail "it is not followed any more: $(source_of .text)"
check "one that has got one is the same, from now on by that" "dc=quay cluster=$A.consul" "$(source_of .identity)"
stop_agent # it asks who it is when it connects
control "{\"cluster\": \"$OTHER\", \"services\": {\"web\": [\"x1@127.1.0.9:80\"]}}"
start_agent --set kernel.enabled=false --set source.consul_addresses=$FAKE --set source.consul_wait=2s
until_ok 40 source_is refused && echo "ok: another one with the same datacenter is refused" || fail "another cluster is not refused"
matches "and told" 'another cluster that calls it so.*waymarkctl sources release consul' "$(source_of .text)"
check "nothing of it is taken, nothing is lost" "w1 w2" "$(ids)"
check "an operator gives the former up" 200 "$(operator_code -X PUT "$API/v1/waymark/sources/consul/release")"
until_ok 60 ids_are x1 && echo "ok: then it is taken" || fail "it is not taken: $(source_of .text)"

# --- without an authority the datacenter's name is all that is known: the brake holds what the former had
stop_agent
rm -r "$TMP/data"
twelve() { for n in $(seq 12); do echo "\"$1$n@127.1.0.$n:80\""; done | paste -sd,; }
control "{\"cluster\": \"\", \"services\": {\"web\": [$(twelve w)]}}"
start_agent --set kernel.enabled=false --set source.consul_addresses=$FAKE --set source.consul_wait=2s
held() { [ "$(api "$API/v1/health/service/web" | jq length)" = "$1" ]; }
until_ok 40 held 12 || fail "what is there is not taken: $(source_of .text)"
stop_agent
control "{\"services\": {\"web\": [$(twelve x)]}}"
start_agent --set kernel.enabled=false --set source.consul_addresses=$FAKE --set source.consul_wait=2s
until_ok 40 held 24 && echo "ok: another of that name is followed, and what the former had is kept" || fail "there are $(ids)"
check "by the brake" 12 "$(source_of .holding)"
matches "which is told" 'would be gone' "$(source_of .alarm)"
done_testing

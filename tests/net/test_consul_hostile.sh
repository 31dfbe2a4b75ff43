#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# A Consul that means harm (consul_fake.py): bodies that are no JSON, end in the middle or not at all, wrong
# indexes, answers at once or never, errors, no leader. What was known stays, the agent's memory and what it asks
# are bounded, and it follows again as soon as the answers are good.
# shellcheck source=tests/net/lib.sh
. "$(dirname "$0")/lib.sh"

FAKE=http://127.0.0.1:8520
/usr/bin/python3 tests/net/consul_fake.py 8520 &
until_ok 20 api $FAKE/control/seen || fail "the fake does not listen"
control() { api -X PUT $FAKE/control -d "$1"; }
seen() { api $FAKE/control/seen | jq "$1"; }
ids() { api "$API/v1/health/service/$1${2:-}" | jq -r '[.[].Service.ID] | sort | join(" ")'; }
ids_are() { [ "$(ids "$1" "${3:-}")" = "$2" ]; }
there() { until_ok "${WITHIN:-40}" ids_are "$@" || fail "$1 has '$(ids "$1" "${3:-}")', not '$2'"; }
metric() { api "$API/v1/agent/metrics?format=prometheus" | awk -v n="waymark_consul_$1_total" '$1 == n {print $2}'; }
source_of() { api "$API/v1/waymark/sources" | jq -r ".[] | select(.name == \"consul\") | $1"; }
counts() { [ "$(source_of ".counters.$1")" -gt "$2" ]; }
grows() { [ "$(metric "$1")" -gt "$2" ]; }
source_is() { [ "$(source_of .state)" = "$1" ]; }
rss() { awk '$1 == "VmRSS:" {print int($2 / 1024)}' "/proc/$AGENT/status"; }
KNOWN='"services": {"web": ["w1@127.1.0.1:80", "w2@127.1.0.2:80"], "db": ["d1@127.1.0.4:5432"]}'
all_there() {
	check "$1: web is as it was" "w1 w2" "$(ids web)"
	check "$1: db is as it was" d1 "$(ids db)"
}
follows_again() { # what it was
	SERIAL=$((${SERIAL:-0} + 1))
	control "{\"mode\": \"good\", \"services\": {\"web\": [\"w1@127.1.0.1:80\", \"w2@127.1.0.2:80\"],
		\"db\": [\"d1@127.1.0.4:5432\"], \"again\": [\"a$SERIAL@127.1.0.5:80\"]}}"
	WITHIN=90 there again "a$SERIAL"
	all_there "$1, after it"
}

control "{$KNOWN}"
start_agent --set kernel.enabled=false --set source.consul_addresses=$FAKE --set source.consul_token=s3cr-t \
	--set source.consul_wait=2s --set source.consul_memory_max=1048576
there web "w1 w2"
there db d1
until_ok 20 source_is watching || fail "it does not follow: $(source_of .state)"
check "the token is shown to it" '"s3cr-t"' "$(seen .token)"
follows_again "at first"

for mode in garbage cut alien; do
	before=$(source_of .counters.bad)
	control "{\"mode\": \"$mode\", \"index\": $((1000 + RANDOM))}"
	until_ok 40 counts bad $((before + 2)) || fail "$mode: nothing was refused"
	all_there $mode
	follows_again $mode
done

# a body without an end: refused at the bound, memory stays
before=$(source_of .counters.errors) held=$(rss)
control '{"mode": "endless", "index": 40000}'
until_ok 60 counts errors $((before + 4)) || fail "endless: not given up"
all_there endless
grown=$(($(rss) - held))
[ $grown -lt 64 ] || fail "endless: the agent grew by $grown MiB"
follows_again endless

# a wrong index: never asked without a pause
asked_at_once() { [ "$(seen .at_once)" -gt 0 ]; }
for mode in noindex back stuck; do
	control "{\"mode\": \"$mode\", \"index\": 50000}"
	until_ok 20 asked_at_once || fail "$mode: nothing is asked"
	sleep 2
	began=${EPOCHREALTIME/./} # microseconds
	a=$(seen '.services + .health')
	sleep 4
	b=$(seen '.services + .health')
	took=$((${EPOCHREALTIME/./} - began))
	echo "seen: $mode: $((b - a)) questions in $((took / 1000)) ms of 4 things"
	# each may ask BURST times and then twice a second; more is a loop
	[ $((b - a)) -le $((took * 15 / 1000000)) ] || fail "$mode: $((b - a)) questions in $took us"
	all_there $mode
	follows_again $mode
done
grows resets 0 || fail "no reset was counted"
grows early 0 || fail "no early answer was counted"

# a snapshot is restored: indexes go back, and the older word on a node is the one that counts
zone_is() { [ "$(api "$API/v1/health/service/web" | jq -r '.[0].Node.Meta.zone')" = "$1" ]; }
control '{"index": 55000, "node_index": 54000, "zone": "new"}'
until_ok 20 zone_is new || fail "a node is not followed"
control '{"index": 55001, "node_index": 53000, "zone": "old"}'
follows_again "an answer that was made before"
zone_is new || fail "a node is what an older answer said"
control '{"index": 300, "node_index": 200, "zone": "restored"}'
until_ok 20 zone_is restored || fail "a restored snapshot: the node is not what it says"
follows_again "a restored snapshot"

# no leader, errors, refusals: as away, and said so
control '{"mode": "leaderless", "services": {}, "index": 60000}'
until_ok 40 grows leaderless 1 || fail "leaderless: taken"
all_there leaderless
follows_again leaderless
for mode in broken limited; do
	before=$(source_of .counters.errors)
	control "{\"mode\": \"$mode\", \"index\": 70000}"
	until_ok 40 counts errors "$before" || fail "$mode: not seen"
	all_there $mode
	follows_again $mode
done
control '{"mode": "denied", "index": 80000}'
until_ok 40 source_is refused || fail "denied: it is $(source_of .state)"
all_there denied
matches "denied: why" 'HTTP status 403' "$(source_of .text)"
follows_again denied

# slow and silent: given up after the time of a query
control '{"mode": "slow", "index": 90000}'
before=$(source_of .counters.errors)
until_ok 60 counts errors "$before" || fail "slow: not given up"
all_there slow
follows_again slow

# all of it is gone at once: held back, as a mistake would be
many=$(for n in $(seq 40); do printf '"m%s@127.1.1.%s:80",' "$n" "$n"; done)
control "{\"services\": {\"web\": [\"w1@127.1.0.1:80\", \"w2@127.1.0.2:80\"], \"db\": [\"d1@127.1.0.4:5432\"], \"many\": [${many%,}]}}"
m_has() { [ "$(api "$API/v1/health/service/many" | jq length)" = "$1" ]; }
until_ok 30 m_has 40 || fail "many are not there"
# what came within the same minute would count against what goes
stop_agent
start_agent --set kernel.enabled=false --set source.consul_addresses=$FAKE
until_ok 40 source_is watching || fail "it does not follow after a restart"
m_has 40 || fail "many are not there after a restart"
control '{"services": {}}'
until_ok 40 counts held 0 || fail "the brake does not hold"
m_has 40 || fail "many went at once"
matches "the alarm says so" . "$(source_of .alarm)"
check "an operator lets go" 200 "$(operator_code -X PUT "$API/v1/waymark/sources/consul/release")"
until_ok 30 m_has 0 || fail "what was let go stays"

# more services than connections: each has its turn
services=$(for n in $(seq 60); do printf '"s%s": ["i%s@127.1.2.1:80"],' "$n" "$n"; done)
stop_agent
control "{\"services\": {${services%,}}}"
start_agent --set kernel.enabled=false --set source.consul_addresses=$FAKE --set source.consul_queries_max=4
for n in 1 30 60; do there "s$n" "i$n"; done
until_ok 20 source_is watching || fail "not all of 60 are listed"
control "{\"services\": {${services%,}, \"s61\": [\"i61@127.1.2.1:80\"]}}"
there s61 i61
services=${services//i30@/i30b@}
control "{\"services\": {${services%,}, \"s61\": [\"i61@127.1.2.1:80\"]}}"
there s30 i30b
turns_taken() { [ "$(seen '[.paths | to_entries[] | select(.key | test("/s[0-9]+$")) | .value] | min')" -ge 3 ]; }
until_ok 90 turns_taken || fail "some have no turn: $(seen .paths)"
done_testing

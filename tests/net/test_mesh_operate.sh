#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# test_mesh_operate.sh - what an operator asks of a mesh: have all members the same, which object differs
# where; what the brake holds back, and to let it go.
source "$(dirname "$0")/lib.sh"
source "$(dirname "$0")/mesh.sh"

mesh_up 3
for i in 1 2 3; do node_agent "$i" "${INSECURE[@]}"; done
until_ok 20 all_alive 3 1 2 3

# --- how it is ------------------------------------------------------------------------------------------
matches "the status has a line of the mesh" '^mesh +peers, 3 of 3 members alive, 0 failed, [0-9]+ logs behind, 0 held back' "$(ctl_of 1 status)"
matches "a stream tells how far its end is, what it costs and what was repaired" '^name +up +since_ms +rtt_us +behind +same_ms +octets_in +octets_out +packed_pct +conflicts +repairs +repair_ms' "$(ctl_of 1 peers)"
same() { [ "$(api_of 1 /v1/waymark/sync | jq -c '[.streams[] | select(.name == "n2" and .up) | .behind == 0 and .same_ms < 5000 and .octets_out > 0]')" = '[true]' ]; }
until_ok 10 same || fail "the stream to n2 is not at rest: $(api_of 1 /v1/waymark/sync | jq -c .streams)"
reasons() { api_of "$1" /v1/waymark/status | jq -r '[.mesh.reasons[].what] | join(" ")'; }
check "nothing is wrong" "" "$(reasons 1)"

# --- all have the same --------------------------------------------------------------------------------
for i in $(seq 30); do register_on 3 "far-$i" far 10.77.0.3 "$((8000 + i))" >/dev/null; done
register_on 1 near-1 near 10.77.0.1 80 >/dev/null
check "a catalog write" true "$(api_of 1 -X PUT -d '{"Node": "outside", "Address": "192.0.2.9", "Service": {"Service": "ext", "Port": 99}}' /v1/catalog/register)"
until_ok 10 same_digests 1 2 3 || fail "digests differ"
seen=$(ctl_of 1 sync verify)
check "the exit status where all have the same" 0 $?
matches "and what it says" '^all that were asked have the same$' "$seen"
check "as JSON" 'true ["n2","n3"] []' "$(ctl_of 1 --json sync verify | jq -rc '"\(.equal) \([.members[].name] | sort) \(.differences)"')"
check "over TCP it is refused" 403 "$(api_of 1 -o /dev/null -w '%{http_code}' /v1/waymark/sync/verify)"
check "nothing is held" "nothing is held back" "$(ctl_of 2 sync release)"
ctl_of 2 sync release nobody 2>/dev/null && fail "a node that is none was released"

# --- answered when others have it -----------------------------------------------------------------------
put_waiting() { # node, id, what to wait for: its answer and status
	api_of "$1" -w ' %{http_code}' -X PUT -d "{\"ID\": \"$2\", \"Name\": \"waited\", \"Port\": 7}" "/v1/agent/service/register?$3"
}
check "registered, and answered once all have it" " 200" "$(put_waiting 1 waited-1 wait=replicated)"
check "so all have it" "waited-1 waited-1" "$(passing_at 2 waited) $(passing_at 3 waited)"
kill -STOP "${NODE_AGENT[3]}"
check "one of them is enough" " 200" "$(put_waiting 1 waited-2 'wait=replicated&replicas=1')"
matches "that one has it" 'waited-2' "$(passing_at 2 waited)"
not_with_n3() { # who is stopped is alive for some seconds, in which another has it
	SAID=$(put_waiting 1 waited-3 'wait=replicated&timeout=1s')
	[[ $SAID != *'durable here, and with 1 of 2 members that are alive: it follows; not yet with n3 504' ]] || return 0
	kill -CONT "${NODE_AGENT[3]}"
	until_ok 20 all_alive 3 1 2 3
	api_of 1 -X PUT /v1/agent/service/deregister/waited-3
	kill -STOP "${NODE_AGENT[3]}"
	return 1
}
until_ok 20 not_with_n3 && echo "ok: one does not answer: durable here, and told who lacks it" || fail "what is not with n3 is told: $SAID"
matches "it is there" 'waited-3' "$(passing_at 1 waited)"
kill -CONT "${NODE_AGENT[3]}"
until_ok 20 all_alive 3 1 2 3
until_ok 10 passes_on waited "waited-1 waited-2 waited-3" 1 2 3 || fail "what was not with all did not follow"
check "a deregistration, too" " 200" "$(api_of 2 -w ' %{http_code}' -X PUT "/v1/agent/service/deregister/waited-1?node=n1&wait=replicated")"
check "it is gone everywhere" "waited-2 waited-3" "$(passing_at 3 waited)"
check "what is no word of it" "Invalid wait time 400" "$(put_waiting 1 waited-4 wait=replica)"
check "nor a time" "Invalid timeout: a duration up to 60 s is wanted 400" "$(put_waiting 1 waited-4 'wait=replicated&timeout=1h')"
check "what was refused is not registered" "waited-2 waited-3" "$(passing_at 1 waited)"

is_held() { [ "$(api_of 2 /v1/waymark/sync | jq '.held[0].removals // 0')" -ge 11 ]; }
none_held() { [ "$(api_of 2 /v1/waymark/sync | jq '.held | length')" = 0 ]; }

# --- metrics -------------------------------------------------------------------------------------------
metrics=$(api_of 1 '/v1/agent/metrics?format=prometheus')
for name in 'peer_up{peer="n2"} 1' 'peer_rtt_us{peer="n3"} [1-9]' 'peer_octets_in_total{peer="n2"} [1-9]' 'foreign_taken_total [1-9]' 'mesh_held 0' 'mesh_reasons 0'; do
	matches "a metric of the mesh: $name" "^waymark_$name" "$metrics"
done
check "and as Consul shows them" '["n2","n3"]' "$(api_of 1 /v1/agent/metrics | jq -c '[.Gauges[] | select(.Name == "waymark.peer.up").Labels.peer] | sort')"

# --- news of many removals that their owner proves is its word, whoever passes it on ---------------------------
for i in $(seq 40); do register_on 3 "mid-$i" mid 10.77.0.3 "7$i" >/dev/null; done
of_mid() { [ "$(api_of "$1" /v1/health/service/mid | jq length)" = "$2" ]; }
until_ok 20 of_mid 2 40 || fail "node 2 does not have what was registered"
cut_mesh 2 3
for i in $(seq 35); do api_of 3 -X PUT "/v1/agent/service/deregister/mid-$i"; done
until_ok 20 of_mid 1 5 || fail "node 1 did not hear of the removals"
until_ok 20 of_mid 2 5 || fail "node 2 did not hear of the removals"
until_ok 10 none_held || fail "node 2 holds what the owner proved"
heal_mesh
until_ok 10 same_digests 1 2 3 || fail "digests differ after the owner told"

# --- removals that do not come from their owner are held, and named -------------------------------------
node_stop 2
for i in $(seq 20); do api_of 3 -X PUT "/v1/agent/service/deregister/far-$i"; done
left() { [ "$(api_of "$1" /v1/health/service/far | jq length)" = "$2" ]; }
until_ok 10 left 1 10 || fail "node 1 did not hear of the removals"
node_stop 3 KILL
node_agent 2 "${INSECURE[@]}"
until_ok 30 all_alive 2 1 2 || fail "nodes 1 and 2 do not find each other"
until_ok 20 is_held || fail "node 2 holds nothing back"
# the first ones may have waited for the stream to node 2, as news of before: those are not held
there=$(api_of 2 /v1/health/service/far | jq length)
matches "they are still there" '^(2[1-9]|30)$' "$there"
matches "sync status says what is held" '^HELD +[0-9]+ removals of n3, told by n1, not by their owner: far-' "$(ctl_of 2 sync status)"
matches "and what lets it go" 'waymarkctl sync release n3' "$(ctl_of 2 sync status)"
check "the status tells of it" brake "$(reasons 2)"
matches "in words" 'mesh: [0-9]+ removals are held back: see waymarkctl sync status' "$(ctl_of 2 status)"
matches "the doctor as well" 'brake +fault +[0-9]+ removals are held back' "$(ctl_of 2 doctor)"
matches "who is failed is counted" '2 of 3 members alive, 1 failed' "$(ctl_of 1 status)"
seen=$(ctl_of 1 sync verify)
check "the exit status where one differs" 1 $?
matches "it says so" '^NOT all have the same$' "$seen"
matches "the object is named, with its version here and there" '^n2 +n3 +far-20 +gone [0-9]+/[0-9]+ +[0-9]+/[0-9]+' "$seen"
check "all of them, of one node" "$((there - 10)) [\"n3\"] [\"there\"]" "$(ctl_of 1 --json sync verify | jq -rc '"\(.differences | length) \([.differences[].node] | unique) \([.differences[].there.state] | unique)"')"
matches "who is failed was not asked" '^not asked, .*: n3$' "$seen"

check "let go" "let go: what was held back happens now" "$(ctl_of 2 sync release n3)"
until_ok 20 left 2 10 || fail "what was let go is still there"
grep -q sync.released "$TMP/n2.log" || fail "the log does not tell of it"
until_ok 10 same_digests 1 2 || fail "digests differ"
ctl_of 1 sync verify >/dev/null || fail "all have the same, and it says no"
check "nothing is held any more" 0 "$(api_of 2 /v1/waymark/sync | jq '.held | length')"

node_stop 2 KILL
alone() { [ "$(reasons 1)" = alone ]; }
until_ok 20 alone || fail "who is alone does not say so: $(reasons 1)"
matches "and the doctor says what to look at" 'alone +fault +none of the 2 other members answers' "$(ctl_of 1 doctor)"
node_stop 1
done_testing

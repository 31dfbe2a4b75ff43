#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# test_mesh_conflicts.sh - two agents write one catalog entry: the rule decides, the same on both, whatever
# the clocks say; what lost is on the audit list; what would lose is refused before it is stored.
source "$(dirname "$0")/lib.sh"
source "$(dirname "$0")/mesh.sh"

SEMVER=("${INSECURE[@]}" --set sync.conflicts=semver)
put_on() { # node, version, address: its answer and status
	api_of "$1" -w ' %{http_code}' -X PUT -d "{\"Node\": \"outside\", \"Address\": \"192.0.2.9\", \"Service\": {\"ID\": \"ext\", \"Service\": \"ext\", \"Address\": \"$3\", \"Port\": 99${2:+, \"Meta\": {\"version\": \"$2\"\}}}}" /v1/catalog/register
}
version_at() { api_of "$1" /v1/catalog/service/ext | jq -r '.[0].ServiceMeta.version // "none"'; }
all_have() { [ "$(version_at 1) $(version_at 2)" = "$1 $1" ]; }
mesh_up 2
for i in 1 2; do node_agent "$i" "${SEMVER[@]}"; done
until_ok 20 all_alive 2 1 2

# --- the higher version stands, though it was written first ----------------------------------------------
cut_mesh 1 2
until_ok 20 all_alive 1 1 2 || fail "the cut is not noticed"
check "2.0.0 on node 1" "true 200" "$(put_on 1 2.0.0 192.0.2.1)"
sleep 0.1
check "1.9.0 on node 2, later" "true 200" "$(put_on 2 1.9.0 192.0.2.2)"
heal_mesh
until_ok 30 all_alive 2 1 2 || fail "the halves do not find each other"
until_ok 15 all_have 2.0.0 || fail "not both have 2.0.0: $(version_at 1), $(version_at 2)"
until_ok 10 same_digests 1 2 || fail "digests differ"
decided() { api_of 1 /v1/waymark/conflicts && api_of 2 /v1/waymark/conflicts; }
one=$(decided | jq -s 'add | map(select(.id == "ext"))[0]')
check "it is on the audit list" "semver outside 2.0.0 192.0.2.1 n1 1.9.0 192.0.2.2 n2" \
	"$(jq -r '"\(.rule) \(.node) \(.stands.version) \(.stands.address) \(.stands.writer) \(.lost.version) \(.lost.address) \(.lost.writer)"' <<<"$one")"
shown=$(for i in 1 2; do on "$i" "$CTL" conflicts; done)
matches "and shown" '^20[0-9TZ:-]+ +semver +outside +ext +192.0.2.1 \(2.0.0\) by n1 +192.0.2.2 \(1.9.0\) by n2' "$shown"
matches "counted by rule" '^waymark_sync_conflicts_semver_total [1-9]' "$(for i in 1 2; do api_of "$i" '/v1/agent/metrics?format=prometheus'; done)"

# --- what would lose is refused before it is stored --------------------------------------------------------
matches "a lower version is refused, and told what stands" 'stands with version "2.0.0": sync.conflicts is semver, and "1.5.0" is lower 409$' "$(put_on 2 1.5.0 192.0.2.3)"
matches "none at all is lower" '"2.0.0".* 409$' "$(put_on 1 '' 192.0.2.3)"
check "nothing changed" "2.0.0 2.0.0" "$(version_at 1) $(version_at 2)"
check "a higher one is taken" "true 200" "$(put_on 2 2.1.0 192.0.2.4)"
until_ok 10 all_have 2.1.0 || fail "2.1.0 is not on both"
check "the same one, too" "true 200" "$(put_on 1 2.1.0 192.0.2.5)"

# --- a removal stands, and what it removed is remembered ----------------------------------------------------
check "removed on node 1" true "$(api_of 1 -X PUT -d '{"Node": "outside", "ServiceID": "ext"}' /v1/catalog/deregister)"
until_ok 10 all_have none || fail "it is still there"
sleep 1
check "it does not come back" "none none" "$(version_at 1) $(version_at 2)"
matches "a lower one than was removed is refused" 'was removed with version "2.1.0".* 409$' "$(put_on 2 2.0.0 192.0.2.3)"
again() { # settings: both agents, anew
	for i in 1 2; do node_stop "$i"; done
	for i in 1 2; do node_agent "$i" "$@"; done
	until_ok 20 all_alive 2 1 2 || fail "not both are back"
}
again "${SEMVER[@]}"
for i in 1 2; do
	matches "also after a restart, on node $i" 'was removed with version "2.1.0".* 409$' "$(put_on "$i" 2.0.0 192.0.2.3)"
done
check "a higher one is taken" "true 200" "$(put_on 1 2.2.0 192.0.2.6)"
until_ok 10 all_have 2.2.0 || fail "2.2.0 is not on both"
until_ok 10 same_digests 1 2 || fail "digests differ at the end"

# --- by priority: what was written on node 1, though node 2 wrote later ----------------------------------------
priorities() {
	for i in 1 2; do node_stop "$i"; done
	node_agent 1 "${INSECURE[@]}" --set sync.conflicts=priority --set sync.priority=10
	node_agent 2 "${INSECURE[@]}" --set sync.conflicts=priority
	until_ok 20 all_alive 2 1 2 || fail "not both are back"
}
priorities
cut_mesh 1 2
until_ok 20 all_alive 1 1 2 || fail "the cut is not noticed"
check "written on node 1" "true 200" "$(put_on 1 3.0.0 192.0.2.1)"
sleep 0.1
check "and later on node 2" "true 200" "$(put_on 2 4.0.0 192.0.2.2)"
heal_mesh
until_ok 30 all_alive 2 1 2 || fail "the halves do not find each other"
until_ok 15 all_have 3.0.0 || fail "not both have node 1's: $(version_at 1), $(version_at 2)"
until_ok 10 same_digests 1 2 || fail "digests differ"
check "it is on the audit list" "priority 10 3.0.0 0 4.0.0" \
	"$(decided | jq -rs 'add | map(select(.rule == "priority" and .id == "ext"))[0] | "\(.rule) \(.stands.priority) \(.stands.version) \(.lost.priority) \(.lost.version)"')"
priorities
lost='was written where sync.priority is 10: sync.conflicts is priority, and here it is 0'
matches "node 2 is refused, after a restart as well" "$lost 409$" "$(put_on 2 5.0.0 192.0.2.3)"
matches "to remove it, too" "$lost" "$(api_of 2 -X PUT -d '{"Node": "outside", "ServiceID": "ext"}' /v1/catalog/deregister)"
check "removed on node 1" true "$(api_of 1 -X PUT -d '{"Node": "outside", "ServiceID": "ext"}' /v1/catalog/deregister)"
until_ok 10 all_have none || fail "it is still there"
matches "and not written where it was removed" "$lost 409$" "$(put_on 2 5.0.0 192.0.2.3)"
until_ok 10 same_digests 1 2 || fail "digests differ after the removal"

for i in 1 2; do node_stop "$i"; done
done_testing

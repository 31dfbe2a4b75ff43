#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# test_mesh_operate.sh - what an operator asks of a mesh: have all members the same, which object differs
# where; what the brake holds back, and to let it go.
source "$(dirname "$0")/lib.sh"
source "$(dirname "$0")/mesh.sh"

ctl_of() { # node, arguments
	local i=$1
	shift
	on "$i" "$CTL" --agent "unix:$TMP/n$i.sock" "$@"
}
mesh_up 3
for i in 1 2 3; do node_agent "$i" "${INSECURE[@]}"; done
until_ok 20 all_alive 3 1 2 3

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

# --- removals that do not come from their owner are held, and named -------------------------------------
cut_mesh 2 "1 3"
until_ok 20 all_alive 2 1 3 || fail "node 1 does not notice the cut"
for i in $(seq 20); do api_of 3 -X PUT "/v1/agent/service/deregister/far-$i"; done
left() { [ "$(api_of "$1" /v1/health/service/far | jq length)" = "$2" ]; }
until_ok 10 left 1 10 || fail "node 1 did not hear of the removals"
node_stop 3 KILL
heal_mesh
until_ok 30 all_alive 2 1 2 || fail "nodes 1 and 2 do not find each other"
held() { [ "$(api_of 2 /v1/waymark/sync | jq '.held[0].removals // 0')" -ge 15 ]; }
until_ok 20 held || fail "node 2 holds nothing back"
# what was on its way as the mesh was cut may have come
there=$(api_of 2 /v1/health/service/far | jq length)
matches "they are still there" '^(2[5-9]|30)$' "$there"
matches "sync status says what is held" '^HELD +[0-9]+ removals of n3, told by n1, not by their owner: far-' "$(ctl_of 2 sync status)"
matches "and what lets it go" 'waymarkctl sync release n3' "$(ctl_of 2 sync status)"
seen=$(ctl_of 1 sync verify)
check "the exit status where one differs" 1 $?
matches "it says so" '^NOT all have the same$' "$seen"
matches "the object is named, with its version here and there" '^n2 +n3 +far-17 +gone [0-9]+/[0-9]+ +[0-9]+/[0-9]+' "$seen"
check "all of them, of one node" "$((there - 10)) [\"n3\"] [\"there\"]" "$(ctl_of 1 --json sync verify | jq -rc '"\(.differences | length) \([.differences[].node] | unique) \([.differences[].there.state] | unique)"')"
matches "who is failed was not asked" '^not asked, .*: n3$' "$seen"

check "let go" "let go: what was held back happens now" "$(ctl_of 2 sync release n3)"
until_ok 20 left 2 10 || fail "what was let go is still there"
grep -q sync.released "$TMP/n2.log" || fail "the log does not tell of it"
until_ok 10 same_digests 1 2 || fail "digests differ"
ctl_of 1 sync verify >/dev/null || fail "all have the same, and it says no"
check "nothing is held any more" 0 "$(api_of 2 /v1/waymark/sync | jq '.held | length')"

for i in 1 2; do node_stop "$i"; done
done_testing

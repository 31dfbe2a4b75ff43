#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# test_mesh_watch.sh - an index is its agent's own and does not go back, while objects of others come and go:
# blocking queries at one agent over a partition, its healing, restarts, and a node that is forgotten.
source "$(dirname "$0")/lib.sh"
source "$(dirname "$0")/mesh.sh"

mesh_up 3
for i in 1 2 3; do node_agent "$i" "${INSECURE[@]}"; done
until_ok 20 all_alive 3 1 2 3 || fail "not all are there"
for i in 1 2 3; do register_on "$i" "web-$i" web "10.77.0.$i" 80 >/dev/null; done
register_on 3 three-1 three 10.77.0.3 80 '"Check": {"CheckID": "beat", "TTL": "1h", "Status": "passing"}' >/dev/null
until_ok 10 passes_on web "web-1 web-2 web-3" 1 2 3 || fail "web is not everywhere"

on 1 /usr/bin/python3 tests/net/watcher.py "$TMP/stop" /v1/health/service/web '/v1/health/service/web?passing' /v1/health/service/three \
	/v1/health/service/none /v1/catalog/service/web /v1/catalog/service/two /v1/catalog/services /v1/catalog/nodes \
	/v1/health/state/any /v1/health/node/n3 /v1/health/node/n2 /v1/catalog/node/n3 /v1/health/checks/three /v1/kv/a \
	/v1/coordinate/node/nobody >"$TMP/watcher" &
watcher=$!
beats() { # some changes of all agents
	for n in 1 2 3 4 5; do
		api_of 3 -X PUT /v1/agent/check/fail/beat
		register_on 2 "two-$n" two 10.77.0.2 "$n" >/dev/null
		api_of 3 -X PUT /v1/agent/check/pass/beat
		api_of 1 -o /dev/null -X PUT -d "{\"Node\": \"outside\", \"Address\": \"192.0.2.$n\"}" /v1/catalog/register
	done
}
beats
cut_mesh "1 2" 3
until_ok 20 passes_on three "" 1 2 || fail "nobody notices the cut"
api_of 3 -X PUT /v1/agent/service/deregister/web-3
register_on 3 three-2 three 10.77.0.3 81 >/dev/null
beats
heal_mesh
until_ok 30 all_alive 3 1 2 3 || fail "the parts do not find each other"
until_ok 10 passes_on three "three-1 three-2" 1 2 || fail "three is not back"
until_ok 10 passes_on web "web-1 web-2" 1 || fail "web-3 came back"

# another is restarted, and this one, both ways
node_stop 2
node_agent 2 "${INSECURE[@]}"
until_ok 20 all_alive 3 1 2 3 || fail "node 2 is not back"
node_stop 2 KILL
until_ok 20 passes_on web web-1 1 3 || fail "nobody notices that node 2 is dead"
beats 2>/dev/null
node_agent 2 "${INSECURE[@]}"
until_ok 20 passes_on web "web-1 web-2" 1 3 || fail "node 2 is not back"
for how in TERM KILL; do
	node_stop 1 $how
	beats 2>/dev/null
	node_agent 1 "${INSECURE[@]}"
	until_ok 20 all_alive 3 1 2 3 || fail "node 1 is not back"
	until_ok 10 passes_on web "web-1 web-2" 1 || fail "web is not what it was"
done

# a node is forgotten, and another of its name comes
node_stop 3 KILL
until_ok 20 all_alive 2 1 2 || fail "nobody notices that node 3 is dead"
check "a dead node is forgotten" 200 "$(api_of 2 -o /dev/null -w '%{http_code}' -X PUT '/v1/agent/force-leave/n3?prune')"
gone() { [ "$(api_of 1 /v1/catalog/node/n3)" = null ]; }
until_ok 20 gone || fail "n3 is still there"
until_ok 10 passes_on three "" 1 2 || fail "what was on n3 is still there"
rm -r "$TMP/n3"
node_agent 3 "${INSECURE[@]}"
until_ok 30 all_alive 3 1 2 3 || fail "a new n3 is not taken in"
register_on 3 three-3 three 10.77.0.3 83 >/dev/null
until_ok 10 passes_on three three-3 1 2 || fail "three-3 is not everywhere"
api_of 3 -X PUT /v1/agent/service/deregister/three-3
until_ok 10 passes_on three "" 1 2 || fail "three-3 is still there"

: >"$TMP/stop"
wait "$watcher" || fail "an index went back"
cat "$TMP/watcher"
# the watches were awake
matches "answers about what others have" '^/v1/health/service/three: [0-9]+ answers, ([2-9]|[0-9]{2,}) indexes$' "$(cat "$TMP/watcher")"

for i in 1 2 3; do node_stop "$i"; done
done_testing

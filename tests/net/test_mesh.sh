#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# test_mesh.sh - five agents, one mesh: a service registered on one node is answered by the kernel of the
# others; nodes that die, leave, come back; a mesh that is cut in half and healed.
source "$(dirname "$0")/lib.sh"
source "$(dirname "$0")/mesh.sh"

mesh_up 5
for i in 1 2 3 4 5; do
	node_agent "$i" "${INSECURE[@]}"
done
until_ok 20 all_alive 5 1 2 3 4 5
check "members that node 5 takes for alive" 5 "$(alive_at 5)"
check "members in Consul's words" "n1 n2 n3 n4 n5" "$(api_of 3 /v1/agent/members | jq -r '.[] | select(.Status == 1).Name' | sort | paste -sd' ')"

# --- registered on one, found on all ---------------------------------------------------------------
(exec nsenter --net="/proc/${NODE_NS[1]}/ns/net" -- /usr/bin/python3 tools/demo/backend.py web-1 10.77.0.1 8081) &
BACKENDS+=($!)
check "register on node 1" 200 "$(register_on 1 web-1 web 10.77.0.1 8081)"
until_ok 10 passes_on web web-1 1 2 3 4 5 || fail "not every node knows web-1"
check "DNS on node 4" 10.77.0.1 "$(ask_of 4 web.service.mesh.internal)"
vip=$(ask_of 5 web.virtual.mesh.internal)
until_ok 10 on 1 curl -s http://10.77.0.1:8081/
matches "curl on node 5 through its virtual address" web-1 "$(steered_on 5 curl -s --max-time 20 "http://$vip/")"
check "the node of the instance, seen from node 2" n1 "$(api_of 2 /v1/health/service/web | jq -r '.[0].Node.Node')"
check "its serfHealth" passing "$(api_of 2 /v1/health/node/n1 | jq -r '.[] | select(.CheckID == "serfHealth").Status')"
check "its agent's own list does not have it" '{}' "$(api_of 2 /v1/agent/services)"

# --- a check that changes ---------------------------------------------------------------------------
check "a TTL check" 200 "$(register_on 2 ttl-1 beat 10.77.0.2 9000 '"Check": {"CheckID": "beat", "TTL": "1h", "Status": "passing"}')"
until_ok 10 passes_on beat ttl-1 1 3 5 || fail "ttl-1 does not pass everywhere"
api_of 2 -X PUT /v1/agent/check/fail/beat >/dev/null
until_ok 10 passes_on beat "" 1 3 5 || fail "ttl-1 passes after it failed"
api_of 2 -X PUT /v1/agent/check/pass/beat >/dev/null
until_ok 10 passes_on beat ttl-1 1 3 5 || fail "ttl-1 does not pass again"

# --- the catalog is everybody's ----------------------------------------------------------------------
check "a catalog write on node 3" true "$(api_of 3 -X PUT -d '{"Node": "outside", "Address": "192.0.2.9", "Service": {"Service": "ext", "Port": 99}}' /v1/catalog/register)"
until_ok 10 passes_on ext ext 1 2 4 5 || fail "ext is not everywhere"
check "it is removed on node 5" true "$(api_of 5 -X PUT -d '{"Node": "outside"}' /v1/catalog/deregister)"
until_ok 10 passes_on ext "" 1 2 3 4 || fail "ext is still there"

# --- deregistered ------------------------------------------------------------------------------------
register_on 4 gone-1 gone 10.77.0.4 1 >/dev/null
until_ok 10 passes_on gone gone-1 1 2 3 5 || fail "gone-1 is not everywhere"
api_of 4 -X PUT /v1/agent/service/deregister/gone-1
until_ok 10 passes_on gone "" 1 2 3 5 || fail "gone-1 is still there"

# --- what is another agent's is sent to it, and answered by it ----------------------------------------
asked() { # node, path: the status of a PUT
	api_of "$1" -o /dev/null -w '%{http_code}' -X PUT "$2"
}
register_on 2 far-1 far 10.77.0.2 7 >/dev/null
until_ok 10 passes_on far far-1 1 3 4 5 || fail "far-1 is not everywhere"
check "maintenance of n2's instance, asked for on n3" 200 "$(asked 3 '/v1/agent/service/maintenance/far-1?enable=true&node=n2')"
until_ok 10 passes_on far "" 1 3 4 5 || fail "far-1 passes in maintenance"
check "and its end" 200 "$(asked 3 '/v1/agent/service/maintenance/far-1?enable=false&node=n2')"
until_ok 10 passes_on far far-1 1 3 4 5 || fail "far-1 does not pass after maintenance"
check "no legal transition is the owner's word" 409 "$(asked 3 '/v1/waymark/instances/far-1/lifecycle?state=starting&node=n2')"
check "its drain" 200 "$(asked 4 '/v1/waymark/instances/far-1/drain?deadline=1h&node=n2')"
check "is one at its owner" stopping "$(api_of 2 /v1/waymark/instances/far-1 | jq -r .Lifecycle)"
check "an instance that the owner does not have" 404 "$(asked 3 '/v1/agent/service/deregister/none?node=n2')"
check "a node that is none" 404 "$(asked 3 '/v1/agent/service/deregister/far-1?node=nobody')"
check "deregistered" 200 "$(asked 5 '/v1/agent/service/deregister/far-1?node=n2')"
until_ok 10 passes_on far "" 1 3 4 5 || fail "far-1 is still there"
kill -STOP "${NODE_AGENT[2]}"
asked 4 '/v1/agent/service/deregister/none?node=n2' >/dev/null &
asking=$!
sleep 0.3
node_stop 4
wait "$asking"
kill -CONT "${NODE_AGENT[2]}"
node_agent 4 "${INSECURE[@]}"
until_ok 20 all_alive 5 1 2 3 4 5 || fail "not all are there after a stop that was asked meanwhile"

# --- an agent is killed: its instances go critical elsewhere, and come back ----------------------------
node_stop 1 KILL
until_ok 15 passes_on web "" 2 3 4 5 || fail "web-1 passes though its agent is dead"
check "serfHealth of a dead agent" critical "$(api_of 2 /v1/health/node/n1 | jq -r '.[] | select(.CheckID == "serfHealth").Status')"
check "DNS leaves it out" "" "$(ask_of 4 web.service.mesh.internal)"
node_agent 1 "${INSECURE[@]}"
until_ok 15 passes_on web web-1 1 2 3 4 5 || fail "web-1 is not back"

# --- an agent is stopped and started: nobody notices ----------------------------------------------------
node_stop 1
check "after a stop its instances pass on" web-1 "$(passing_at 3 web)"
sleep 3
check "three seconds later too" web-1 "$(passing_at 3 web)"
node_agent 1 "${INSECURE[@]}"
until_ok 15 all_alive 5 1 2 3 4 5
check "everybody is there" 5 "$(alive_at 2)"

# --- cut in half, written on both sides, healed ---------------------------------------------------------
cut_mesh "1 2" "3 4 5"
until_ok 20 all_alive 2 1 2 || fail "node 1 does not notice the cut"
until_ok 20 all_alive 3 3 4 5 || fail "node 3 does not notice the cut"
register_on 2 left-1 left 10.77.0.2 2 >/dev/null
register_on 5 right-1 right 10.77.0.5 5 >/dev/null
api_of 2 -X PUT /v1/agent/service/deregister/ttl-1
check "a write on one side is not seen on the other" "" "$(passing_at 4 left)"
heal_mesh
until_ok 30 all_alive 5 1 2 3 4 5 || fail "the halves do not find each other"
until_ok 10 passes_on left left-1 1 2 3 4 5 || fail "left-1 is not everywhere"
until_ok 10 passes_on right right-1 1 2 3 4 5 || fail "right-1 is not everywhere"
until_ok 10 passes_on beat "" 1 2 3 4 5 || fail "ttl-1 came back"
until_ok 10 same_digests 1 2 3 4 5 || fail "digests differ: $(for i in 1 2 3 4 5; do digest_of $i; done | paste -sd' ')"

# --- one leaves for good ---------------------------------------------------------------------------------
on 5 curl -s --unix-socket "$TMP/n5.sock" -X PUT http://localhost/v1/agent/leave
until_ok 15 passes_on right "" 1 2 3 4 || fail "right-1 is there though its node left"
until_ok 10 all_alive 4 1 2 3 4
check "members that left, in Consul's words" n5 "$(api_of 1 /v1/agent/members | jq -r '.[] | select(.Status == 3).Name')"
wait "${NODE_AGENT[5]}" 2>/dev/null
# what it had has the versions that it had: it comes back with it all the same
node_agent 5 "${INSECURE[@]}"
until_ok 15 passes_on right right-1 1 2 3 4 5 || fail "right-1 is not back with its node"
until_ok 10 all_alive 5 1 2 3 4 5

# --- all are restarted at once ----------------------------------------------------------------------------
for i in 1 2 3 4 5; do node_stop "$i" KILL; done
for i in 1 2 3 4 5; do node_agent "$i" "${INSECURE[@]}"; done
until_ok 20 all_alive 5 1 2 3 4 5 || fail "not all are back"
until_ok 15 passes_on web web-1 1 2 3 4 5 || fail "web-1 is not back everywhere"
until_ok 10 same_digests 1 2 3 4 5 || fail "digests differ after the restart"

# --- and nobody was taken for a liar --------------------------------------------------------------------------
for i in 1 2 3 4 5; do
	check "forged at node $i" 0 "$(count_of "$i" replica_forged)"
	check "unproved at node $i" 0 "$(count_of "$i" replica_unproved)"
done

for i in 1 2 3 4 5; do node_stop "$i"; done
done_testing

#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# test_mesh_api.sh - Consul's API in a mesh of three agents: what is another agent's to answer, order by
# distance, how old an answer may be, indexes that never go back, and real clients.
source "$(dirname "$0")/lib.sh"
source "$(dirname "$0")/mesh.sh"

mesh_up 3
for i in 1 2 3; do
	node_agent "$i" "${INSECURE[@]}"
done
until_ok 20 all_alive 3 1 2 3 || fail "not all are there"

# --- how old an answer may be ---------------------------------------------------------------------------------
in_step() { # node: has it been in step with another within two seconds?
	[ "$(head_of "$1" X-Consul-LastContact /v1/catalog/nodes)" -lt 2000 ]
}
ages_of() { # node: the least of answers that are kept and that are not
	local path
	for path in /v1/health/service/none /v1/health/service/aged /v1/health/service/aged /v1/catalog/nodes /v1/health/state/any /v1/kv/x; do
		head_of "$1" X-Consul-LastContact "$path"
	done | sort -n | head -1
}
register_on 1 aged-1 aged 10.77.0.1 1 >/dev/null
until_ok 10 passes_on aged aged-1 1 2 3 || fail "aged-1 is not everywhere"
for i in 1 2 3; do
	until_ok 20 in_step "$i" || fail "node $i is not in step"
	check "a leader is known to node $i" true "$(head_of "$i" X-Consul-KnownLeader /v1/health/service/aged)"
	check "consistent, in the mesh" 200 "$(api_of "$i" -o /dev/null -w '%{http_code}' '/v1/health/service/aged?consistent')"
	check "max_stale, in the mesh" 200 "$(api_of "$i" -o /dev/null -w '%{http_code}' '/v1/health/service/aged?max_stale=1ms')"
done
cut_mesh 3 "1 2"
until_ok 30 leaderless 3 || fail "node 3 does not notice that it is alone"
[ "$(ages_of 3)" -gt 3000 ] || fail "what who is cut off says is $(ages_of 3) ms old"
check "it answers" 200 "$(api_of 3 -o /dev/null -w '%{http_code}' '/v1/health/service/aged?stale')"
check "none that must be consistent" "No cluster leader 500" "$(api_of 3 -w ' %{http_code}' '/v1/health/service/aged?consistent')"
check "none that must be young" "No cluster leader 500" "$(api_of 3 -w ' %{http_code}' '/v1/health/service/aged?max_stale=1s')"
check "but one that may be older" 200 "$(api_of 3 -o /dev/null -w '%{http_code}' '/v1/health/service/aged?max_stale=10m')"
check "the others are in step" true "$(head_of 1 X-Consul-KnownLeader /v1/health/service/aged)"
until_ok 20 in_step 1 || fail "node 1 is not in step"
node_stop 3
node_agent 3 "${INSECURE[@]}"
[ "$(ages_of 3)" -gt 3000 ] || fail "after a restart what who is cut off says is $(ages_of 3) ms old"
check "nor is one after a restart" false "$(head_of 3 X-Consul-KnownLeader /v1/catalog/nodes)"
heal_mesh
until_ok 30 all_alive 3 1 2 3 || fail "node 3 is not back"
until_ok 20 in_step 3 || fail "node 3 is not in step"
check "a leader is known again" true "$(head_of 3 X-Consul-KnownLeader /v1/health/service/aged)"

# --- what is another agent's is sent to it, and answered by it ------------------------------------------
put() { # node, path, [curl's arguments]: status, and the body behind a space
	local i=$1 path=$2
	shift 2
	api_of "$i" -w ' %{http_code}' -X PUT "$@" "$path" | sed -E 's/^(.*) ([0-9]+)$/\2 \1/; s/ $//'
}
status_of() { # node, check of n2
	api_of "$1" /v1/health/node/n2 | jq -r ".[] | select(.CheckID == \"$2\").Status"
}
shows() { [ "$(status_of "$1" "$2")" = "$3" ]; }

register_on 2 far-1 far 10.77.0.2 7 >/dev/null
until_ok 10 passes_on far far-1 1 3 || fail "far-1 is not everywhere"
check "a check of n2's instance, registered on n1" 200 "$(put 1 '/v1/agent/check/register?node=n2' -d '{"ID": "beat", "Name": "beat", "ServiceID": "far-1", "TTL": "1h"}')"
check "is its owner's" critical "$(api_of 2 /v1/agent/checks | jq -r .beat.Status)"
check "and not ours" '{}' "$(api_of 1 /v1/agent/checks)"
for word in pass:passing warn:warning fail:critical; do
	check "${word%:*}, told on n3" 200 "$(put 3 "/v1/agent/check/${word%:*}/beat?node=n2&note=a%20note%26more")"
	until_ok 10 shows 1 beat "${word#*:}" || fail "beat is not ${word#*:} on node 1"
done
check "its note" "a note&more" "$(api_of 2 /v1/agent/checks | jq -r .beat.Output)"
check "update, told on n1" 200 "$(put 1 '/v1/agent/check/update/beat?node=N2' -d '{"Status": "passing", "Output": "é"}')"
until_ok 10 shows 3 beat passing || fail "beat does not pass on node 3"
check "its output" "é" "$(api_of 2 /v1/agent/checks | jq -r .beat.Output)"
same_error() { # path, [body]: asked for on n1 it is what n2 itself says
	local own sep='?' body=("${@:2}")
	[[ $1 != *\?* ]] || sep='&'
	own=$(put 2 "$1" "${body[@]/#/-d}")
	check "the owner's own error: $1" "$own" "$(put 1 "$1${sep}node=n2" "${body[@]/#/-d}")"
	matches "which is one" '^[45]' "$own"
}
same_error /v1/agent/check/update/beat '{"Status": "odd"}'
same_error /v1/agent/check/pass/none
same_error /v1/agent/check/deregister/none
same_error /v1/agent/service/deregister/none
same_error /v1/agent/service/maintenance/far-1
same_error '/v1/agent/service/maintenance/none?enable=true'
same_error '/v1/waymark/instances/far-1/lifecycle?state=starting'
same_error '/v1/waymark/instances/far-1/drain?deadline=x'
same_error /v1/agent/check/register '{"Name": "x", "TTL": "1h", "odd": 1}'
same_error /v1/agent/check/register '{"Name": "x", "Args": ["/bin/true"], "Interval": "10s"}'
check "maintenance of the node n2, asked for on n3" 200 "$(put 3 '/v1/agent/maintenance?enable=true&reason=why&node=n2')"
until_ok 10 passes_on far "" 1 3 || fail "far-1 passes in maintenance of its node"
check "its reason" why "$(api_of 1 /v1/health/node/n2 | jq -r '.[] | select(.CheckID == "_node_maintenance").Notes')"
check "and its end" 200 "$(put 3 '/v1/agent/maintenance?enable=false&node=n2')"
until_ok 10 passes_on far far-1 1 3 || fail "far-1 does not pass after maintenance"
check "another check" 200 "$(put 1 '/v1/agent/check/register?node=n2' -d '{"ID": "kept", "Name": "kept", "ServiceID": "far-1", "TTL": "1h"}')"
until_ok 10 shows 1 kept critical || fail "kept is not on node 1"
drained=$(put 1 '/v1/waymark/instances/far-1/drain?deadline=1h&node=n2')
matches "a drain's answer has the owner's words" '^200 \{"UntilMs":[0-9]+,"Open":' "$drained"
check "the end of the drain" 200 "$(put 3 '/v1/waymark/instances/far-1/lifecycle?state=running&node=n2')"
check "the check goes" 200 "$(put 1 '/v1/agent/check/deregister/beat?node=n2')"
until_ok 10 shows 3 beat "" || fail "beat is still there"
# the catalog does not change what an agent registered, whoever asks: the owner is named
catalog() { put 1 "/v1/catalog/$1" -d "$2"; }
check "the catalog on n2's instance" '409 Service ID "far-1" is registered with the agent of node "n2": change it there' \
	"$(catalog deregister '{"Node": "n2", "ServiceID": "far-1"}')"
check "one over it" '409 Service ID "far-1" is registered with the agent of node "n2": change it there' \
	"$(catalog register '{"Node": "n2", "SkipNodeUpdate": true, "Service": {"ID": "far-1", "Service": "far", "Port": 8}}')"
check "on its check" '409 Service ID "far-1" is registered with the agent of node "n2": change it there' \
	"$(catalog deregister '{"Node": "n2", "CheckID": "kept"}')"
check "on n2 itself" '409 Node "n2" is another agent: it cannot be deregistered; once it has failed, force-leave removes it' \
	"$(catalog deregister '{"Node": "n2"}')"
check "on its address" '409 Node "n2" is another agent: its address and metadata are set in its settings' \
	"$(catalog register '{"Node": "n2", "Address": "192.0.2.1"}')"
matches "in a transaction" '^409 .*registered with the agent of node \\"n2\\"' \
	"$(put 1 /v1/txn -d '[{"Service": {"Verb": "delete", "Node": "n2", "Service": {"ID": "far-1", "Service": "far"}}}]')"
check "beside it the catalog may write" "200 true" \
	"$(catalog register '{"Node": "n2", "SkipNodeUpdate": true, "Service": {"ID": "beside", "Service": "beside"}}')"
until_ok 10 passes_on beside beside 2 3 || fail "beside is not everywhere"
check "and remove" "200 true" "$(catalog deregister '{"Node": "n2", "ServiceID": "beside"}')"
check "far-1 stands" 7 "$(api_of 3 /v1/health/service/far | jq '.[0].Service.Port')"

check "who is not there" "404 No member with name 'nobody'" "$(put 1 '/v1/agent/check/pass/x?node=nobody')"
check "our own name is us" '404 Unknown check ID "x". Ensure that the check ID is passed, not the check name.' \
	"$(put 1 '/v1/agent/check/pass/x?node=n1')"
padded="{\"ID\": \"long\", \"Name\": \"long\", \"TTL\": \"1h\"$(printf '%*s' 200000 "")}"
check "a large body comes whole" 200 "$(put 1 '/v1/agent/check/register?node=n2' -d @- <<<"$padded")"
until_ok 10 shows 3 long critical || fail "long is not on node 3"

node_stop 2 KILL
until_ok 15 all_alive 2 1 3
check "an owner that failed" '503 The agent of node "n2" has failed: nothing was done' "$(put 1 '/v1/agent/check/pass/long?node=n2')"
node_agent 2 "${INSECURE[@]}"
until_ok 20 all_alive 3 1 2 3 || fail "not all are back"
kill -STOP "${NODE_AGENT[2]}"
matches "an owner that fails meanwhile" '^503 The agent of node "n2" .*: whether it was done is not known$' "$(put 1 '/v1/agent/check/pass/long?node=n2')"
kill -CONT "${NODE_AGENT[2]}"
until_ok 20 all_alive 3 1 2 3 || fail "not all are there"

# --- nearest first, by coordinates ---------------------------------------------------------------------------
coordinates() { api_of "$1" /v1/coordinate/nodes | jq -r '[.[].Node] | sort | join(" ")'; }
all_placed() { [ "$(coordinates 1)" = "n1 n2 n3" ]; }
until_ok 30 all_placed || fail "coordinates are known of: $(coordinates 1)"
for i in 1 2 3; do register_on "$i" "near-$i" near "10.77.0.$i" 9 >/dev/null; done
register_on 3 near-0 near 10.77.0.3 10 >/dev/null
check "an instance on a node without an agent" true "$(api_of 1 -X PUT -d '{"Node": "a-outside", "Address": "192.0.2.9", "Service": {"ID": "near-x", "Service": "near"}}' /v1/catalog/register)"
until_ok 20 passes_on near "near-0 near-1 near-2 near-3 near-x" 1 2 3 || fail "near is not everywhere: $(for i in 1 2 3; do passing_at $i near; done | paste -sd,)"
order() { api_of "$1" "/v1/health/service/near?near=$2" | jq -r '[.[].Service.ID] | join(" ")'; }
for path in /v1/health/service/near /v1/catalog/service/near; do
	check "without near $path is sorted by node" near-x "$(api_of 1 $path | jq -r '.[0] | .ServiceID // .Service.ID')"
done
check "near to ourselves: first" "near-0 near-3" "$(order 3 _agent | cut -d' ' -f1,2)"
check "near to another" near-2 "$(order 3 n2 | cut -d' ' -f1)"
check "on what is no agent's: last" near-x "$(order 2 n1 | cut -d' ' -f5)"
check "from what is no agent's all are as far" "$(order 2 a-outside)" "near-x near-1 near-2 near-0 near-3"
check "from nobody" "near-x near-1 near-2 near-0 near-3" "$(order 2 nobody)"
check "nodes" "n2 a-outside" "$(api_of 1 '/v1/catalog/nodes?near=n2' | jq -r '[.[0].Node, .[-1].Node] | join(" ")')"
check "checks" n2 "$(api_of 1 '/v1/health/state/any?near=n2' | jq -r '.[0].Node')"
# a prepared query that says near whom, in DNS: to a node, to who answers, to who asks
prepare() { # name, near
	curl -s --max-time 20 --unix-socket "$TMP/n1.sock" -o /dev/null -w '%{http_code}' -d "{\"Name\": \"$1\", \"Service\": {\"Service\": \"near\", \"Near\": \"$2\"}}" http://x/v1/query
}
prepared_at_2() { [ "$(api_of 2 /v1/query | jq length)" = 3 ]; }
first_of() { ask_of "$1" "$2.query.mesh.internal" | head -1; } # node, name
check "queries with Near" "200 200 200" "$(prepare to-2 n2) $(prepare to-me _agent) $(prepare to-asker _ip)"
until_ok 20 prepared_at_2 || fail "queries are not at node 2"
for _ in 1 2 3 4 5; do echo "$(first_of 1 to-2) $(first_of 2 to-2) $(first_of 1 to-me) $(first_of 2 to-me) $(first_of 2 to-asker)"; done | sort -u >"$TMP/near"
check "their first address in DNS" "10.77.0.2 10.77.0.2 10.77.0.1 10.77.0.2 10.77.0.2" "$(cat "$TMP/near")"
# a node that is far
far 2 15
farthest() { [ "$(order 1 _agent | tr ' ' '\n' | sed -n 4p)" = near-2 ]; }
until_ok 30 farthest || fail "what is 30 ms away is not the farthest: $(order 1 _agent)"
# the same for connections: no node says a zone, so tiers are by round trips
check "a policy of who is near" 200 "$(api_of 1 -o /dev/null -w '%{http_code}' -X PUT -d '{"select": "nearest"}' /v1/waymark/policies/near)"
explained() { api_of 1 /v1/waymark/policies/near/explain; }
tier_of() { explained | jq "[.tiers[].members | map(.id) | index(\"$1\") != null] | index(true)"; }
split() { # who is 30 ms away is in a later tier than the others
	[ "$(tier_of near-1)" = 0 ] && [ "$(tier_of near-2)" -gt "$(tier_of near-3)" ]
}
until_ok 60 split || fail "nodes are not told apart by round trips: $(explained)"
check "why" true "$(explained | jq '.notes[0] | test("by round trips")')"
behind() { # whom connect() would choose now, in order: who is far behind all that are near
	api_of 1 '/v1/waymark/resolve?service=near' | jq -e '[.chosen[].id] | index("near-2") > ([index("near-0", "near-1", "near-3")] | max)' >/dev/null
}
until_ok 20 behind || fail "whom connect() would choose: $(api_of 1 '/v1/waymark/resolve?service=near')"
far_named() { ask_of 1 near.service.mesh.internal | grep -qx 10.77.0.2; }
! far_named || fail "DNS names who is far while those near are up"
# a restart: it is known before anybody is measured, as here nobody can be
kept() { grep -qE ' [34] n2$' "$TMP/n1/bands" && grep -qE ' 1 n3$' "$TMP/n1/bands"; }
until_ok 20 kept || fail "bands are not kept: $(cat "$TMP/n1/bands")"
kill -STOP "${NODE_AGENT[2]}" "${NODE_AGENT[3]}"
node_stop 1
node_agent 1 "${INSECURE[@]}"
split && echo "ok: after a restart who is near is known before anybody answered" || fail "after a restart: $(explained)"
check "and whom connect() would not choose before others" false "$(api_of 1 '/v1/waymark/resolve?service=near' | jq '.chosen[0].id == "near-2"')"
kill -CONT "${NODE_AGENT[2]}" "${NODE_AGENT[3]}"
until_ok 60 all_alive 3 1 2 3 || fail "they do not find each other again"
near 2

# --- nodes as a UI asks for them -------------------------------------------------------------------------
ui() { api_of 1 /v1/internal/ui/nodes | jq -c "$1"; }
check "nodes with what is on them" '["n1:near-1,passing","n2:near-2,passing","n3:near-3,passing"]' \
	"$(ui '[.[] | select(.Node[:1] == "n") | .Node + ":" + (.Services[] | select(.ID == "near-\(.ID[5:])" and .Service == "near" and .ID != "near-0").ID) + "," + (.Checks[] | select(.CheckID == "serfHealth").Status)]')"
check "one that has nothing" '["a-outside",1,0]' "$(ui '.[0] | [.Node, (.Services | length), (.Checks | length)]')"

# --- a real client ----------------------------------------------------------------------------------------
check "a leader that all agree upon" 1 "$(for i in 1 2 3; do api_of $i /v1/status/leader; echo; done | sort -u | wc -l)"
check "peers" '["10.77.0.1:8301","10.77.0.2:8301","10.77.0.3:8301"]' "$(api_of 3 /v1/status/peers)"
if /usr/bin/python3 -c 'import consul' 2>/dev/null; then
	on 1 /usr/bin/python3 tests/net/mesh_client.py n1 n2 n3 >"$TMP/client" &
	client=$!
	until_ok 30 grep -q '^ready$' "$TMP/client" || fail "the client does not come to its watch"
	register_on 3 waited-1 waited 10.77.0.3 11 >/dev/null
	wait "$client" || fail "python3-consul"
	grep -v '^ready$' "$TMP/client"
else
	echo "skip: python3-consul is not installed"
fi

for i in 1 2 3; do node_stop "$i"; done
done_testing

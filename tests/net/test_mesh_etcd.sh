#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# test_mesh_etcd.sh - three agents that share an etcd: found everywhere, dead nodes are out, etcd killed and
# back, what was registered meanwhile follows.
source "$(dirname "$0")/lib.sh"
source "$(dirname "$0")/mesh.sh"

command -v etcd >/dev/null || {
	echo "skipped: etcd-server is needed"
	exit 77
}
mesh_up 3
ip addr add 10.77.0.254/24 dev mesh0
ETCD=http://10.77.0.254:2379
begin_etcd() {
	etcd --data-dir "$TMP/etcd" --listen-client-urls "$ETCD" --advertise-client-urls "$ETCD" \
		--listen-peer-urls http://127.0.0.1:2380 --log-level error >>"$TMP/etcd.log" 2>&1 &
	ETCD_PID=$!
	until_ok 20 curl -sf "$ETCD/health" || fail "etcd does not answer"
}
BY_ETCD=(--set sync.mode=etcd --set "sync.etcd_endpoints=$ETCD" --set sync.etcd_lease=5s)
following() { [ "$(api_of "$1" /v1/waymark/sync | jq -r .etcd.phase)" = following ]; }

begin_etcd
for i in 1 2 3; do node_agent "$i" "${BY_ETCD[@]}"; done
for i in 1 2 3; do until_ok 20 following "$i" || fail "node $i does not follow etcd"; done
check "members in Consul's words" "n1 n2 n3" "$(api_of 3 /v1/agent/members | jq -r '.[] | select(.Status == 1).Name' | sort | paste -sd' ')"

check "register on node 1" 200 "$(register_on 1 web-1 web 10.77.0.1 8081)"
until_ok 10 passes_on web web-1 1 2 3 || fail "not every node knows web-1"
check "DNS on node 3" 10.77.0.1 "$(ask_of 3 web.service.mesh.internal)"
check "the node of the instance, seen from node 2" n1 "$(api_of 2 /v1/health/service/web | jq -r '.[0].Node.Node')"

put_waiting() { api_of "$1" -w ' %{http_code}' -X PUT -d "{\"ID\": \"$2\", \"Name\": \"waited\", \"Port\": 7}" "/v1/agent/service/register?wait=replicated&timeout=$3"; }
check "registered, and answered once etcd has it" " 200" "$(put_waiting 1 waited-1 10s)"
check "etcd has it" 1 "$(ETCDCTL_API=3 etcdctl --endpoints "$ETCD" get --prefix --keys-only /waymark/dc1/o/ | grep -c waited-1)"
check "a catalog write on node 2" true "$(api_of 2 -X PUT -d '{"Node": "outside", "Address": "192.0.2.9", "Service": {"Service": "ext", "Port": 99}}' /v1/catalog/register)"
until_ok 10 passes_on ext ext 1 3 || fail "ext is not everywhere"
check "it is removed on node 3" true "$(api_of 3 -X PUT -d '{"Node": "outside"}' /v1/catalog/deregister)"
until_ok 10 passes_on ext "" 1 2 3 || fail "ext is still there"

panic_is() { for i in 1 2 3; do [ "$(api_of "$i" /v1/waymark/policies/web | jq -r .panic_threshold 2>/dev/null)" = "$1" ] || return 1; done; }
check "a policy on node 2" '{"warnings":[]}' "$(api_of 2 -X PUT -d '{"panic_threshold": 10}' /v1/waymark/policies/web)"
until_ok 10 panic_is 10 || fail "the policy is not everywhere"
api_of 3 -X PUT -d '{"panic_threshold": 20}' /v1/waymark/policies/web >/dev/null
until_ok 10 panic_is 20 || fail "another's is not everywhere"
api_of 1 -X DELETE /v1/waymark/policies/web
until_ok 10 panic_is "" || fail "it is still there"

check "a leader is known" true "$(head_of 3 X-Consul-KnownLeader /v1/health/service/web)"
[ "$(head_of 3 X-Consul-LastContact /v1/health/service/web)" -lt 15000 ] || fail "etcd was not heard for a lease"

# --- etcd is killed: everything goes on, and what is registered meanwhile follows -------------------
kill -9 "$ETCD_PID"
wait "$ETCD_PID" 2>/dev/null
check "registered while etcd is away" 200 "$(register_on 2 late-1 late 10.77.0.2 82)"
check "who waits is told that it is durable here" "It is durable here, and etcd does not have it yet: it follows 504" "$(put_waiting 2 waited-2 300ms)"
check "it is there on its own node" late-1 "$(passing_at 2 late)"
check "what was known is known" web-1 "$(passing_at 3 web)"
matches "what waits is shown" '^[1-9]' "$(api_of 2 /v1/waymark/sync | jq .etcd.pending)"
matches "the status says that etcd is away" 'mesh: etcd is away: ' "$(on 2 "$CTL" status)"
matches "and how much waits" '^mesh +by etcd, 3 of 3 members alive, 0 failed, [1-9][0-9]* pending' "$(on 2 "$CTL" status)"
until_ok 20 leaderless 3 || fail "node 3 says that it knows a leader"
check "nothing consistent without etcd" "No cluster leader 500" "$(api_of 3 -w ' %{http_code}' '/v1/health/service/web?consistent')"
begin_etcd
for i in 1 2 3; do until_ok 40 following "$i" || fail "node $i does not follow etcd again"; done
check "a leader is known again" true "$(head_of 3 X-Consul-KnownLeader /v1/health/service/web)"
until_ok 20 passes_on late late-1 1 3 || fail "late-1 did not follow"
until_ok 10 passes_on waited "waited-1 waited-2" 3 || fail "waited-2 did not follow"
check "nobody was taken for dead" "web-1 web-1" "$(passing_at 2 web) $(passing_at 3 web)"

# --- the watch broke, and etcd has compacted what came meanwhile ----------------------------------------
index_at() { api_of 3 /v1/health/service/web | jq '.[0].Service.ModifyIndex'; }
WAS=$(index_at) COMPACTED=$(count_of 3 etcd_compacted)
kill -STOP "${NODE_AGENT[3]}"
kill -9 "$ETCD_PID"
wait "$ETCD_PID" 2>/dev/null
begin_etcd
for i in 1 2; do until_ok 40 following "$i" || fail "node $i does not follow etcd again"; done
api_of 2 -X PUT /v1/agent/service/deregister/late-1
register_on 2 late-2 late 10.77.0.2 83 >/dev/null
until_ok 20 passes_on late late-2 1 || fail "late-2 is not on node 1"
ETCDCTL_API=3 etcdctl --endpoints "$ETCD" compact "$(api_of 1 /v1/waymark/sync | jq .etcd.revision)" >/dev/null || fail "etcd does not compact"
kill -CONT "${NODE_AGENT[3]}"
until_ok 40 passes_on late late-2 3 || fail "what was compacted did not follow"
[ "$(count_of 3 etcd_compacted)" -gt "$COMPACTED" ] || fail "nothing was compacted for node 3"
check "what is the same was not touched" "$WAS" "$(index_at)"

# --- an agent is killed: its lease ends ---------------------------------------------------------------
node_stop 1 KILL
until_ok 30 passes_on web "" 2 3 || fail "web-1 passes though its agent is dead"
node_agent 1 "${BY_ETCD[@]}"
until_ok 20 passes_on web web-1 1 2 3 || fail "web-1 is not back"

# --- what happens to etcd while an agent is down is told apart ------------------------------------------
kept() { [ "$(awk '{print $2}' "$TMP/n2/etcd-revision")" = "$(api_of 2 /v1/waymark/sync | jq .etcd.revision)" ]; }
until_ok 10 kept || fail "the revision is not kept"
node_stop 2
check "deregistered while node 2 is down" 200 "$(api_of 1 -o /dev/null -w '%{http_code}' -X PUT /v1/agent/service/deregister/web-1)"
node_agent 2 "${BY_ETCD[@]}"
until_ok 20 following 2 || fail "node 2 does not follow"
until_ok 5 passes_on web "" 2 || fail "what was deregistered meanwhile is still there"
check "and is not taken for lost" 0 "$(api_of 2 /v1/waymark/sync | jq .etcd.held)"
register_on 1 web-1 web 10.77.0.1 8081 >/dev/null
until_ok 10 passes_on web web-1 1 2 3 || fail "web-1 is not back"
until_ok 10 kept || fail "the revision is not kept"
for i in 1 2; do node_stop "$i"; done
kill -9 "$ETCD_PID"
wait "$ETCD_PID" 2>/dev/null
rm -rf "$TMP/etcd"
begin_etcd
node_agent 2 "${BY_ETCD[@]}"
until_ok 30 following 2 || fail "node 2 does not follow an etcd that was wiped"
check "what a wiped etcd lacks stays" web-1 "$(api_of 2 /v1/catalog/service/web | jq -r '.[].ServiceID')"
grep -q 'etcd is another cluster, or went back' "$TMP/n2.log" || fail "the log does not tell of it"
node_agent 1 "${BY_ETCD[@]}"
until_ok 30 passes_on web web-1 1 2 3 || fail "web-1 is not back after etcd was wiped"

# --- a mesh of peers does not write where etcd carries: refused is tested in test_etcd.c ----------------
for i in 1 2 3; do node_stop "$i"; done
done_testing

#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# `sync verify` where etcd carries: all agents compare what they have with what etcd holds now. Somebody writes
# into etcd beside the agents; each object that differs is named and whose it differs, and what its node mends is
# no difference.
source "$(dirname "$0")/lib.sh"
source "$(dirname "$0")/mesh.sh"

command -v etcd >/dev/null || {
	echo "skipped: etcd-server is needed"
	exit 77
}
mesh_up 3
ip addr add 10.77.0.254/24 dev mesh0
ETCD=http://10.77.0.254:2379
etcd --data-dir "$TMP/etcd" --listen-client-urls "$ETCD" --advertise-client-urls "$ETCD" \
	--listen-peer-urls http://127.0.0.1:2380 --log-level error >>"$TMP/etcd.log" 2>&1 &
ETCD_PID=$!
until_ok 20 curl -sf "$ETCD/health" || fail "etcd does not answer"
following() { [ "$(api_of "$1" /v1/waymark/sync | jq -r .etcd.phase)" = following ]; }
for i in 1 2; do node_agent "$i" --set sync.mode=etcd --set "sync.etcd_endpoints=$ETCD"; done
for i in 1 2; do until_ok 20 following "$i" || fail "node $i does not follow etcd"; done

# more than one page, shared ones among them
seq 600 | sed 's|.*|next\nurl = "http://127.0.0.1:8500/v1/agent/service/register"\nrequest = PUT\noutput = /dev/null\ndata = "{\\"ID\\": \\"i&\\", \\"Name\\": \\"many\\", \\"Port\\": &}"|' | sed 1d >"$TMP/registrations"
on 2 curl -s --config "$TMP/registrations" || fail "registrations"
check "a catalog write" true "$(api_of 1 -X PUT -d '{"Node": "outside", "Address": "192.0.2.9", "Service": {"Service": "ext", "Port": 99}}' /v1/catalog/register)"
check "and one that goes" true "$(api_of 1 -X PUT -d '{"Node": "away", "Address": "192.0.2.8"}' /v1/catalog/register)"
check "went" true "$(api_of 1 -X PUT -d '{"Node": "away"}' /v1/catalog/deregister)"
register_on 2 old-1 old 10.77.0.2 81 >/dev/null
all_there() { [ "$(api_of 1 /v1/catalog/service/many | jq length)" = 600 ] && passes_at 1 old old-1; }
until_ok 30 all_there || fail "not all came: $(api_of 1 /v1/catalog/service/many | jq length)"
same() { # node, and who else answers
	[ "$(ctl_of "$1" --json sync verify | jq -c '[.equal, ([.members[].name] | sort | join(" ")), .differences]')" = "[true,\"etcd $2\",[]]" ]
}
for i in 1 2; do until_ok 20 same $i n$((3 - i)) || fail "node $i differs from etcd: $(ctl_of $i --json sync verify)"; done
echo "ok: both have what etcd has"
matches "said to people" 'all that were asked have the same' "$(ctl_of 1 sync verify)"

# --- beside the agents: content of before, a value that is none, and one that no agent knows
b64() { base64 -w0; }
get() { curl -s "$ETCD/v3/kv/range" -d "{\"key\": \"$(printf %s "$1" | b64)\"}" | jq -r '.kvs[0].value'; }
put() { curl -s -o /dev/null "$ETCD/v3/kv/put" -d "{\"key\": \"$(printf %s "$1" | b64)\", \"value\": \"$2\"}"; }
n2=$(api_of 2 /v1/agent/self | jq -r .Config.NodeID)
key=/waymark/dc1/o/$n2/
before=$(get "${key}old-1")
register_on 2 old-1 old 10.77.0.2 82 >/dev/null
port_is() { [ "$(api_of 1 /v1/catalog/service/old | jq '.[0].ServicePort')" = "$1" ]; }
until_ok 10 port_is 82 || fail "the port did not come"
kill -STOP "${NODE_AGENT[2]}" # it would put them right
put "${key}old-1" "$before"
put "${key}i7" "$(printf 'no value' | b64)"
put "/waymark/dc1/s/outside/ghost" "$(printf 'no value either' | b64)"
sleep 1
seen=$(ctl_of 1 --json sync verify)
check "each is named" '["i7 of n2","old-1 of n2"]' "$(jq -c '[.differences[] | select(.node == "n2" and .member == "etcd") | "\(.id) of \(.node)"] | sort' <<<"$seen")"
# who is new has what etcd has of old-1, and names who has not
node_agent 3 --set sync.mode=etcd --set "sync.etcd_endpoints=$ETCD"
until_ok 20 following 3 || fail "node 3 does not follow etcd"
dead() { [ "$(api_of 3 /v1/waymark/members | jq -r '.[] | select(.name == "n2").state')" = failed ]; }
until_ok 40 dead || fail "n2 lives on: $(api_of 3 /v1/waymark/members)"
seen=$(ctl_of 3 --json sync verify)
check "who differs" '["n1"]' "$(jq -c '[.differences[] | select(.id == "old-1").member]' <<<"$seen")"
check "and what differs there" '[true,"other"]' "$(jq -c '.differences[] | select(.id == "old-1") | [.here.state == "there", .there.state]' <<<"$seen")"
check "who was not asked" '["n2"]' "$(jq -c .not_compared <<<"$seen")"
asked() { curl -s "$ETCD/v3/kv/range" -d "{\"key\": \"$(printf %s /waymark/dc1/a/ | b64)\", \"range_end\": \"$(printf %s /waymark/dc1/a0 | b64)\"}" | jq '.kvs | length'; }
check "no answer is left in etcd" 0 "$(asked)"
check "by exit status" 1 "$(ctl_of 1 sync verify >/dev/null 2>&1; echo $?)"
matches "said to people" '^etcd +n2 +old-1 ' "$(ctl_of 1 sync verify)"
kill -CONT "${NODE_AGENT[2]}"
curl -s -o /dev/null "$ETCD/v3/kv/deleterange" -d "{\"key\": \"$(printf %s /waymark/dc1/s/outside/ghost | b64)\"}"
until_ok 40 same 1 "n2 n3" || fail "what its node put again still differs: $(ctl_of 1 --json sync verify)"
echo "ok: its node mended it, and nothing differs"

# --- etcd does not answer
kill -9 "$ETCD_PID"
wait "$ETCD_PID" 2>/dev/null
check "etcd is silent" '[false,"silent"]' "$(ctl_of 1 --json sync verify | jq -c '[.equal, .members[0].state]')"
for i in 1 2 3; do node_stop "$i"; done
done_testing

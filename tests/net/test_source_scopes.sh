#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# What a cluster brings is this agent's view: a namespace of its is nobody else's to register in, by the agent's
# API, the catalog's or a definition; and no other agent of the mesh is told of it.
# shellcheck source=tests/net/lib.sh
. "$(dirname "$0")/lib.sh"
# shellcheck source=tests/net/kube.sh
. tests/net/kube.sh

OTHER=http://127.0.0.1:8510
MESH=(--set sync.mode=peers --set sync.insecure=true --set sync.profile=local)
"$B/waymarkd" --set "node.data_dir=$TMP/other" --set kernel.enabled=false --set http.port=8510 --set http.socket= \
	--set dns.port=0 --set node.name=other --set registry.consul_service=false --set node.address=127.0.0.1 \
	"${MESH[@]}" --set sync.bind=127.0.0.1:8312 2>>"$TMP/other.log" &
PEER=$!
start_cluster
kubeconfig
namespace kube-system 11111111-1111-4111-8111-111111111111
namespace team 22222222-2222-4222-8222-222222222222
node n1 127.0.0.1 a
service web '"clusterIP": "10.96.0.10", "ports": [{"name": "http", "port": 80}]'
slice web-1 web '{"name": "http", "port": 8080}' "$(endpoint 127.1.0.1 a)" "$(endpoint 127.1.0.2 b)"
mkdir "$TMP/d"
echo '{"service": {"name": "default/defined", "port": 1}}' >"$TMP/d/a.json"
start_agent --config-dir "$TMP/d" --set source.kubernetes_enabled=true --set "source.kubernetes_kubeconfig=$TMP/kubeconfig" \
	--set source.kubernetes_node=n1 "${MESH[@]}" --set sync.bind=127.0.0.1:8311 --set node.address=127.0.0.1 \
	--set sync.join=127.0.0.1:8312
there() { [ "$(api "$API/v1/health/service/web?ns=default" | jq length)" = 2 ]; }
until_ok 60 there || fail "the cluster's service is not there: $(api "$API/v1/waymark/sources")"
alive() { [ "$(api "$1/v1/agent/members" | jq '[.[] | select(.Status == 1)] | length')" = 2 ]; }
until_ok 60 alive "$API" && until_ok 60 alive "$OTHER" || fail "the two are no mesh"

# --- its namespaces ---------------------------------------------------------------------------------------------
why() { api -X PUT "$@"; }
OWNED='namespace "(default|team)" is of the source "kubernetes"'
matches "the agent's API" "$OWNED" "$(why "$API/v1/agent/service/register" -d '{"Name": "mine", "Namespace": "team", "Port": 1}')"
matches "by its key as well" "$OWNED" "$(why "$API/v1/agent/service/register" -d '{"Name": "default/mine", "Port": 1}')"
matches "the catalog's" "$OWNED" "$(why "$API/v1/catalog/register" \
	-d '{"Node": "far", "Address": "192.0.2.1", "Service": {"Service": "mine", "Namespace": "team", "Port": 1}}')"
check "another namespace is free" 200 "$(code -X PUT "$API/v1/agent/service/register" -d '{"Name": "mine", "Namespace": "free", "Port": 1}')"
echo '{"service": {"name": "default/defined", "port": 2}}' >"$TMP/d/a.json"
kill -HUP "$AGENT"
until_ok 30 grep -q 'event=definitions.failed.*is of the source' "$TMP/agent.log" && echo "ok: a definition" || fail "a definition is not refused"

# --- the mesh -----------------------------------------------------------------------------------------------------
told() { [ "$(api "$OTHER/v1/health/service/mine?ns=free" | jq length)" = 1 ]; }
until_ok 60 told || fail "what is registered here is not told of"
check "nothing of the cluster is" '[]' "$(api "$OTHER/v1/health/service/web?ns=default")"
check "none of its nodes either" "n1 other" "$(api "$OTHER/v1/catalog/nodes" | jq -r '.[].Node' | sort | xargs)"
verified() { "$B/waymarkctl" --agent "unix:$TMP/http.sock" sync verify >"$TMP/verify"; }
until_ok 60 verified && echo "ok: both have the same" || fail "they differ: $(cat "$TMP/verify")"
check "here they stand" "k8s-n1 n1 other" "$(api "$API/v1/catalog/nodes" | jq -r '.[].Node' | sort | xargs)"
check "its node is nobody's to drain" true "$(code -X PUT "$API/v1/agent/service/deregister/x?node=k8s-n1" | grep -qv '^2' && echo true)"
kill -TERM "$PEER"
wait "$PEER" 2>/dev/null
stop_cluster
done_testing

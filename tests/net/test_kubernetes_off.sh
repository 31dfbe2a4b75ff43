#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# What a cluster no longer has is nobody's: a namespace that went while its server was away, and the policies of one
# whose policies, or which itself, is switched off.
# shellcheck source=tests/net/lib.sh
. "$(dirname "$0")/lib.sh"
# shellcheck source=tests/net/kube.sh
. tests/net/kube.sh

start_cluster
kubeconfig
namespace kube-system 11111111-1111-4111-8111-111111111111
namespace default 22222222-2222-4222-8222-222222222222
namespace team 33333333-3333-4333-8333-333333333333
node n1 127.0.0.1 a
service web '"clusterIP": "10.96.0.10", "ports": [{"name": "http", "port": 80}]' '"waymark.io/policy": "{\"balance\": \"random\"}"'
AGENT_IS=(--set kernel.enabled=false --set source.kubernetes_node=n1 --set "source.kubernetes_kubeconfig=$TMP/kubeconfig")
start_agent "${AGENT_IS[@]}" --set source.kubernetes_enabled=true
is() { api "$API/v1/waymark/sources" | jq -e ".[0].state == \"$1\""; }
register() { code -X PUT "$API/v1/agent/service/register" -d "{\"Name\": \"mine\", \"Namespace\": \"$1\", \"Port\": 1}"; }
registers() { [ "$(register "$1")" = 200 ]; }
policy() { [ "$(api "$API/v1/waymark/policies/default%2Fweb" | jq -r .balance 2>/dev/null)" = "$1" ]; }
no_policy() { [ "$(code "$API/v1/waymark/policies/default%2Fweb")" = 404 ]; }
until_ok 60 is watching || fail "it does not come to watch"
check "a namespace is the cluster's" 400 "$(register team)"

# --- a namespace goes while nobody looks
stop_cluster
until_ok 60 is away || fail "that the server is away is not told"
check "while it is away, too" 400 "$(register team)"
jq '.objects |= map(select(.metadata.name != "team"))' "$TMP/kube.json" >"$TMP/kube.next" && mv "$TMP/kube.next" "$TMP/kube.json"
start_cluster
until_ok 90 registers team && echo "ok: one that is gone when it is back is free" || fail "a namespace that is gone is still owned"
check "one that is there is not" 400 "$(register kube-system)"

# --- policies
until_ok 60 policy random || fail "no policy by annotation"
stop_agent
start_agent "${AGENT_IS[@]}" --set source.kubernetes_enabled=true --set source.kubernetes_policies=false
until_ok 60 no_policy && echo "ok: with policies switched off that of an annotation goes" || fail "a policy outlives its setting"
stop_agent
start_agent "${AGENT_IS[@]}" --set source.kubernetes_enabled=true
until_ok 60 policy random || fail "no policy again"
check "it is written down" true "$(until_ok 30 test -e "$TMP/data/policies-kubernetes.json" && echo true)"
api -X PUT "$API/v1/waymark/policies/other" -d '{"balance": "random"}' >/dev/null
stop_agent
start_agent "${AGENT_IS[@]}"
until_ok 60 no_policy && echo "ok: with the cluster switched off it goes, too" || fail "a policy outlives its cluster"
check "nothing of it is written down" false "$(test -e "$TMP/data/policies-kubernetes.json" && echo true || echo false)"
check "what was written here stays" random "$(api "$API/v1/waymark/policies/other" | jq -r .balance)"
stop_agent
start_agent "${AGENT_IS[@]}"
check "and is gone for good" 404 "$(code "$API/v1/waymark/policies/default%2Fweb")"
stop_cluster
done_testing

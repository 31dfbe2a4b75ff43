#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# WaymarkPolicy at a real API server: the definition is taken, the role of deploy/ is enough, two agents write what they
# make of each policy once, and kubectl's columns show it.
# shellcheck source=tests/net/lib.sh
. "$(dirname "$0")/../net/lib.sh"
# shellcheck source=tests/kubernetes/cluster.sh
. tests/kubernetes/cluster.sh
# shellcheck source=tests/kubernetes/shop.sh
. tests/kubernetes/shop.sh
WMP=/apis/waymark.io/v1/namespaces/default/waymarkpolicies
cluster_up
check "the definition is taken" 201 "$(kube_code POST /apis/apiextensions.k8s.io/v1/customresourcedefinitions "$(cat deploy/kubernetes/waymarkpolicy.json)")"
served() { [ "$(kube_code GET $WMP)" = 200 ]; }
until_ok 60 served || fail "it is not served: $(kube GET /apis/apiextensions.k8s.io/v1/customresourcedefinitions/waymarkpolicies.waymark.io | jq -c .status)"
check "and nothing of it is wrong" '[]' "$(kube GET /apis/apiextensions.k8s.io/v1/customresourcedefinitions/waymarkpolicies.waymark.io |
	jq -c '[.status.conditions[] | select(.type == "NonStructuralSchema")]')"
PYTHONPATH=tests/net /usr/bin/python3 -c '
import json
from kube_yaml import load
print(json.dumps(next(o for o in load("deploy/kubernetes/rbac.yaml") if o["kind"] == "ClusterRole")))' >"$TMP/role"
cluster_role() { # in place of the one of shop.sh: as it is deployed
	kube POST /apis/rbac.authorization.k8s.io/v1/clusterroles "$(cat "$TMP/role")" >/dev/null
	kube POST /apis/rbac.authorization.k8s.io/v1/clusterrolebindings '{"metadata": {"name": "waymark"},
		"roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "waymark"},
		"subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "waymark"}]}' >/dev/null
}
OTHER=http://127.0.0.1:8510
start_kube_agent
"$B/waymarkd" --set "node.data_dir=$TMP/other" --set kernel.enabled=false --set http.port=8510 --set http.socket= --set dns.port=0 \
	--set node.name=other --set node.address=127.0.0.1 "${AGENT_SETTINGS[@]}" --set source.kubernetes_node=n2 2>>"$TMP/other.log" &
PEER=$!
policy() { # name, spec
	kube POST $WMP "{\"apiVersion\": \"waymark.io/v1\", \"kind\": \"WaymarkPolicy\", \"metadata\": {\"name\": \"$1\"}, \"spec\": {$2}}" | jq -r '.message // "made"'
}
accepted() { kube GET "$WMP/$1" | jq -r '.status.conditions[0] | "\(.status) \(.reason) \(.observedGeneration)"'; }
is() { [ "$(accepted "$1")" = "$2" ]; }
becomes() { until_ok 90 is "$1" "$2" && echo "ok: $1 is $2" || check "$1" "$2" "$(kube GET "$WMP/$1")"; }
check "a good one" made "$(policy web '"balance": "least_connections"')"
check "one of which only we know that it is bad" made "$(policy bad '"split": [{"percent": 40}]')"
matches "the schema refuses what it knows" 'panic_threshold' "$(policy worse '"panic_threshold": 200')"
becomes web "True Accepted 1"
becomes bad "False Invalid 1"
matches "the message names the field" 'split' "$(kube GET "$WMP/bad" | jq -r '.status.conditions[0].message')"
kube PATCH "$WMP/bad" '{"spec": {"split": [{"percent": 100, "service": "default/web"}]}}' >/dev/null
becomes bad "True Accepted 2"
counted() { # of both
	for a in "$API" $OTHER; do api "$a/v1/waymark/sources" | jq ".[0].counters.$1"; done | jq -s add
}
check "each was written once" 3 "$(counted statuses)"
check "and by who may" 0 "$(counted statuses_refused)"
columns() { # as kubectl asks for them
	curl -s --cacert "$CLUSTER/pki/ca.crt" -H 'Authorization: Bearer test-admin' -H 'Accept: application/json;as=Table;v=v1;g=meta.k8s.io' "$KUBE_API$WMP"
}
check "columns" "Name Service Accepted Reason Age" "$(columns | jq -r '[.columnDefinitions[] | select(.priority == 0).name] | join(" ")')"
check "show it" "web True Accepted" "$(columns | jq -r '.rows[] | select(.cells[0] == "web").cells | "\(.[0]) \(.[2]) \(.[3])"')"
check "nothing else may be written" 403 "$(KUBE_TOKEN=test-waymark kube_code PATCH $WMP/web '{"spec": {"balance": "random"}}')"
kill "$PEER"
wait "$PEER" 2>/dev/null
done_kube

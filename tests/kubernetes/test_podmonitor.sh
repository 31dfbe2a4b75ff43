#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The PodMonitor of the component and of the chart, on an API server with Prometheus Operator's own definition of that
# resource: taken as it stands, what it selects are the pods of the DaemonSet, and its port is one of theirs. A
# misspelt field is refused, so that what is taken is known to be meant.
# shellcheck source=tests/long/go_tool.sh
. "$(dirname "$0")/../long/go_tool.sh"
go_file podmonitors github.com/prometheus-operator/prometheus-operator@v0.85.0 \
	example/prometheus-operator-crd/monitoring.coreos.com_podmonitors.yaml
go_tool helm helm.sh/helm/v3/cmd/helm@v3.17.3
# shellcheck source=tests/net/lib.sh
. tests/net/lib.sh
go_tool_needed podmonitors monitoring.coreos.com_podmonitors.yaml
# shellcheck source=tests/kubernetes/cluster.sh
. tests/kubernetes/cluster.sh
# shellcheck source=tests/kubernetes/deploy.sh
. tests/kubernetes/deploy.sh
export HOME=$TMP KUBECONFIG=$CLUSTER/admin.kubeconfig
export CONTROLLERS=daemonset-controller,garbage-collector-controller
cluster_up
player_start n1=1 n2=2
cluster_nodes n1 n2
kubectl create -f build/podmonitors/monitoring.coreos.com_podmonitors.yaml >/dev/null || fail "the definition is not made"
kubectl wait --for=condition=Established crd/podmonitors.monitoring.coreos.com --timeout=30s >/dev/null || fail "the resource is not there"

monitor() { kubectl -n waymark get podmonitor waymark -o json | jq -r "$1"; }
selected() { # a jq expression of each pod that the PodMonitor selects, in its own namespace as it names no other
	kubectl -n waymark get pods -o json -l "$(monitor '.spec.selector.matchLabels | to_entries | map("\(.key)=\(.value)") | join(",")')" |
		jq -r ".items[] | $1" | sort | paste -sd' '
}
finds_the_agents() { # who made it
	kubectl -n waymark rollout status daemonset/waymark --timeout=120s >/dev/null || fail "$1: $(kubectl -n waymark get pods)"
	check "$1: it selects by labels alone" '["matchLabels"]' "$(monitor '.spec.selector | keys | tojson')"
	check "$1: no other namespace" null "$(monitor .spec.namespaceSelector)"
	check "$1: the agent of each node" "DaemonSet/waymark/n1 DaemonSet/waymark/n2" \
		"$(selected '(.metadata.ownerReferences[0] | .kind + "/" + .name) + "/" + .spec.nodeName')"
	check "$1: one endpoint" 1 "$(monitor '.spec.podMetricsEndpoints | length')"
	local port
	port=$(monitor '.spec.podMetricsEndpoints[0].port')
	check "$1: each has its port, where the agent answers scrapers" "TCP/8510 TCP/8510" \
		"$(selected ".spec.containers[].ports[] | select(.name == \"$port\") | .protocol + \"/\" + (.containerPort | tostring)")"
}

echo "--- the component"
overlay metrics
said=$(applied "$TMP/overlay-metrics") || fail "not applied: $said"
check "all of it is made, and nothing else is said" "" "$(grep -v ' created$' <<<"$said")"
matches "with the PodMonitor" 'podmonitor.monitoring.coreos.com/waymark created' "$said"
finds_the_agents "the component"
check "nothing of it is lost" "" "$(applied "$TMP/overlay-metrics" | grep -v ' unchanged$')"

echo "--- broken ones"
broken() { # sed's expression: what the server says of such a PodMonitor
	sed "$1; s/name: waymark\$/&-broken/" $DEPLOY/metrics/podmonitor.yaml | kubectl apply --validate=strict -f - 2>&1
}
matches "a misspelt field of an endpoint" 'unknown field "spec.podMetricsEndpoints\[0\].prot"' "$(broken 's/port:/prot:/')"
matches "a misspelt selector" 'unknown field "spec.selector.matchLabel"' "$(broken 's/matchLabels:/matchLabel:/')"
matches "a format that is no list" 'spec.podMetricsEndpoints\[0\].params.format: Invalid value' "$(broken 's/\[prometheus\]/prometheus/')"
check "none of them is there" "waymark" "$(kubectl -n waymark get podmonitors -o 'jsonpath={.items[*].metadata.name}')"

echo "--- the chart"
[ -x build/helm/helm ] || {
	echo "not tried: helm is not to be had: $(tail -n 1 build/helm/log)"
	cluster_down
	done_testing
}
kubectl delete -k "$TMP/overlay-metrics" >/dev/null || fail "not deleted"
kubectl create namespace waymark >/dev/null
build/helm/helm template waymark deploy/helm/waymark --kube-version 1.34.0 --namespace waymark --include-crds \
	--set metrics.enabled=true,metrics.podMonitorLabels.release=monitoring >"$TMP/chart.yaml" || fail "not rendered"
said=$(kubectl apply --validate=strict -f "$TMP/chart.yaml" 2>&1) || fail "not applied: $said"
check "all of it is made, and nothing else is said" "" "$(grep -v ' created$' <<<"$said")"
matches "with the PodMonitor" 'podmonitor.monitoring.coreos.com/waymark created' "$said"
finds_the_agents "the chart"
check "a label of the operator's own is beside the chart's" "waymark monitoring" \
	"$(monitor '.metadata.labels | [."app.kubernetes.io/name", .release] | join(" ")')"
cluster_down
done_testing

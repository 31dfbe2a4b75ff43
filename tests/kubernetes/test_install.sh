#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The commands of docs/deploy.md as they stand there, on a real API server with the controllers of DaemonSets and
# namespaces: installed by kubectl and by helm, a pod a node, settings changed, uninstalled, nothing left.
# shellcheck source=tests/long/go_tool.sh
. "$(dirname "$0")/../long/go_tool.sh"
go_tool helm helm.sh/helm/v3/cmd/helm@v3.17.3
# shellcheck source=tests/net/lib.sh
. tests/net/lib.sh
# shellcheck source=tests/kubernetes/cluster.sh
. tests/kubernetes/cluster.sh
# shellcheck source=tests/kubernetes/deploy.sh
. tests/kubernetes/deploy.sh
export HOME=$TMP KUBECONFIG=$CLUSTER/admin.kubeconfig
PATH=$PWD/build/kubernetes:$PWD/build/helm:$PATH
export CONTROLLERS=daemonset-controller,garbage-collector-controller
cluster_up
player_start n1=1 n2=2 n3=3
cluster_nodes n1 n2 n3

documented() { # a word of its first line: the indented block of docs/deploy.md, run command by command
	local said
	awk -v word="$1" '/^    / { if (!on && !done && index($0, word)) on = 1; if (on) { print substr($0, 5); next } } on { on = 0; done = 1 }' \
		docs/deploy.md >"$TMP/commands"
	[ -s "$TMP/commands" ] || fail "docs/deploy.md has a block with $1"
	cat "$TMP/commands"
	said=$(timeout 300 bash -e "$TMP/commands" 2>&1) || fail "$1: $said"
	check "$1: nothing is warned of" "" "$(grep -iE 'warning|error' <<<"$said")"
}
pods_of() { kubectl -n waymark get pods -l "app.kubernetes.io/name=$1" -o 'jsonpath={range .items[*]}{.spec.nodeName}{"\n"}{end}' | sort | paste -sd' '; }
rolled_out() { kubectl -n waymark rollout status daemonset/"$1" --timeout=120s >/dev/null || fail "$1 does not come up: $(kubectl -n waymark get pods,events)"; }
left() { # what a cluster has of it still
	kubectl get namespace,clusterrole,clusterrolebinding,crd -o name | grep waymark
}

echo "--- by kubectl"
documented "kubectl apply -k deploy/kubernetes"
rolled_out waymark
check "a pod on each node" "n1 n2 n3" "$(pods_of waymark)"
before=$(kubectl -n waymark get pods -o name | sort)
eval "$(grep -o 'kubectl -n waymark rollout restart [a-z/]*' docs/deploy.md)" >/dev/null || fail "rollout restart"
rolled_out waymark
check "after a restart each is another" "" "$(comm -12 <(echo "$before") <(kubectl -n waymark get pods -o name | sort))"
documented "kubectl -n waymark delete daemonset waymark"
check "nothing is left" "" "$(left)"

echo "--- by helm"
[ -x build/helm/helm ] || {
	echo "not tried: helm cannot be built: $(tail -n 1 build/helm/log)"
	cluster_down
	done_testing
}
documented "helm install waymark"
rolled_out waymark
check "a pod on each node" "n1 n2 n3" "$(pods_of waymark)"
documented "helm upgrade waymark"
check "nothing is left but what helm leaves: definitions and the namespace" \
	"namespace/waymark customresourcedefinition.apiextensions.k8s.io/waymarkpolicies.waymark.io" "$(left | paste -sd' ')"
cluster_down
done_testing

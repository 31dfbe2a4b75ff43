# SPDX-License-Identifier: Apache-2.0
# kube.sh - a cluster for a test (kube_cluster.py), and objects of it as an API server has them. Source
# it behind lib.sh.
# shellcheck shell=bash
KUBE='' KUBE_PORT=''
start_cluster() { # what it knew when it was stopped, it knows
	rm -f "$TMP/kube.port"
	/usr/bin/python3 tests/net/kube_cluster.py --state "$TMP/${1:-kube}.json" ${KUBE_PORT:+--port "$KUBE_PORT"} \
		serve "$TMP/kube.port" 2>>"$TMP/kube.log" &
	KUBE=$!
	until_ok 20 test -e "$TMP/kube.port" || fail "the API server does not start"
	KUBE_PORT=$(cat "$TMP/kube.port")
}
stop_cluster() {
	kill "$KUBE"
	wait "$KUBE" 2>/dev/null
}
kube() { /usr/bin/python3 tests/net/kube_cluster.py --port "$KUBE_PORT" "$@"; }
kubeconfig() { # a file for the agent
	cat >"$TMP/kubeconfig" <<-YAML
		apiVersion: v1
		kind: Config
		clusters: [{name: c, cluster: {server: "http://127.0.0.1:$KUBE_PORT"}}]
		users: [{name: u, user: {}}]
		contexts: [{name: x, context: {cluster: c, user: u}}]
		current-context: x
	YAML
}
namespace() { # name, uid
	kube put "{\"kind\": \"Namespace\", \"metadata\": {\"name\": \"$1\", \"uid\": \"$2\"}}"
}
node() { # name, address, zone
	kube put "{\"kind\": \"Node\", \"metadata\": {\"name\": \"$1\", \"labels\": {\"topology.kubernetes.io/region\": \"eu\",
		\"topology.kubernetes.io/zone\": \"$3\"}}, \"status\": {\"addresses\": [{\"type\": \"InternalIP\", \"address\": \"$2\"}]}}"
}
service() { # name, spec's members, annotations
	kube put "{\"kind\": \"Service\", \"metadata\": {\"namespace\": \"default\", \"name\": \"$1\", \"annotations\": {${3:-}}},
		\"spec\": {$2}}"
}
endpoint() { # address, pod, [node], [conditions]
	echo "{\"addresses\": [\"$1\"], \"nodeName\": \"${3:-n1}\", \"targetRef\": {\"kind\": \"Pod\", \"name\": \"$2\"},
		\"conditions\": {${4:-\"ready\": true, \"serving\": true, \"terminating\": false}}}"
}
slice() { # name, service, ports, endpoint...
	local name=$1 service=$2 ports=$3 all
	shift 3
	all=$(IFS=,; echo "$*")
	kube put "{\"kind\": \"EndpointSlice\", \"metadata\": {\"namespace\": \"default\", \"name\": \"$name\",
		\"labels\": {\"kubernetes.io/service-name\": \"$service\"}}, \"addressType\": \"IPv4\", \"ports\": [$ports],
		\"endpoints\": [$all]}"
}
small_cluster() { # as start_cluster: one of a node n1
	start_cluster "$@"
	kubeconfig
	namespace kube-system 11111111-1111-4111-8111-111111111111
	node n1 127.0.0.1 a
}

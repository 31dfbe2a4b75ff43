#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# A small Kubernetes on this machine: demo-kubernetes.sh BUILD_DIRECTORY. A real API server with its controllers, three
# nodes whose pods are network namespaces and cgroups, the agent of one of them, and no kube-proxy. Removes
# everything at the end.
export B=${1:-build/release}
# shellcheck source=tests/net/lib.sh
. "$(dirname "$0")/../tests/net/lib.sh"
# shellcheck source=tests/kubernetes/cluster.sh
. tests/kubernetes/cluster.sh
# shellcheck source=tests/kubernetes/shop.sh
. tests/kubernetes/shop.sh
say() { printf '\n\033[1m%s\033[0m\n' "$*"; }
show() { # a command as the reader would type it, and what it prints
	printf '  $ %s\n' "$*"
	"$@" 2>&1 | sed 's/^/    /'
}
export KUBE_CA=$CLUSTER/pki/ca.crt
deployment() { python3 tests/kubernetes/deployment.py "$@" || fail "deployment $*"; }
in_client() { in_pod shop_client unshare --mount -- sh -c 'mount --bind "$0" /etc/resolv.conf && exec "$@"' "$TMP/resolv.conf" "$@"; }
spread() { # who answered "hello" by its name, how often
	in_client sh -c 'for _ in $(seq 60); do curl -s --max-time 5 http://hello/ || echo failed; done' | sort | uniq -c
}
begin_load() {
	in_pod shop_client python3 tests/kubernetes/dial.py "$(ip_of hello)" 80 500 "$TMP/dial" &
	LOAD=$!
}
end_load() { # what happened meanwhile
	touch "$TMP/dial.stop"
	wait "$LOAD" 2>/dev/null
	rm "$TMP/dial.stop"
	jq -r '"    meanwhile: \(.dialled) connections, \(.failed) failed"' "$TMP/dial"
	check "$1: failed connections" 0 "$(jq .failed "$TMP/dial")"
}

say "A Kubernetes API server with its controllers; three nodes; no kube-proxy"
cluster_up
kube GET /version | jq -r '"    kube-apiserver \(.gitVersion)"'
cluster_shop
show "$CTL" version
say "The agent of node n1, beside it"
start_kube_agent "${DNS_SETTINGS[@]}"
show "$CTL" --agent "unix:$TMP/http.sock" sources

say "A Deployment of four, and its Service"
deployment make hello 4 2
ip=$(ip_of hello)
echo "    ClusterIP $ip; its pods:"
kube GET "$SHOP/pods?labelSelector=app%3Dhello" | jq -r '.items[] | "    \(.metadata.name)  \(.spec.nodeName)  \(.status.podIP)"'
printf 'nameserver %s\nsearch shop.svc.cluster.local svc.cluster.local cluster.local\noptions ndots:5\n' "$DNS_ADDRESS" >"$TMP/resolv.conf"
sed 's/^/    /' "$TMP/resolv.conf"
say "A pod dials it by name"
printf '  $ for i in {1..60}; do curl -s http://hello/; done | sort | uniq -c\n'
until_ok 20 in_client curl -s --max-time 2 http://hello/
spread | tee "$TMP/spread" | sed 's/^/    /'
check "pods that answered" 4 "$(grep -c hello "$TMP/spread")"
show in_client dig +short hello.shop.svc.cluster.local
check "its name is the ClusterIP" "$ip" "$(in_client dig +short hello.shop.svc.cluster.local)"
say "Scaled to eight, under 500 connections a second"
begin_load
deployment scale hello 8
sleep 1
end_load "scaled"
spread | tee "$TMP/spread" | sed 's/^/    /'
say "Rolled: eight new pods take the place of eight"
begin_load
deployment roll hello
end_load "rolled"
spread | sed 's/^/    /'
say "Node n3 is drained: its pods are evicted, and come up elsewhere"
begin_load
kube PATCH /api/v1/nodes/n3 '{"spec": {"unschedulable": true}}' >/dev/null
for p in $(kube GET "$SHOP/pods?labelSelector=app%3Dhello&fieldSelector=spec.nodeName%3Dn3" | jq -r '.items[].metadata.name'); do
	kube POST "$SHOP/pods/$p/eviction" '{"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "'"$p"'", "namespace": "shop"}}' >/dev/null
done
deployment scale hello 8
end_load "drained"
kube GET "$SHOP/pods?labelSelector=app%3Dhello" | jq -r '.items[] | "    \(.metadata.name)  \(.spec.nodeName)"'
check "pods on n3" 0 "$(kube GET "$SHOP/pods?labelSelector=app%3Dhello&fieldSelector=spec.nodeName%3Dn3" | jq '.items | length')"
show "$CTL" --agent "unix:$TMP/http.sock" explain connect shop/hello
done_kube

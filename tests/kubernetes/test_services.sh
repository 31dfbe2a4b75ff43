#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# What a Service promises, dialled from pods and from the node, with a real API server and its controllers:
# one case after the other of Kubernetes' own documentation. No kube-proxy runs.
# shellcheck source=tests/net/lib.sh
. "$(dirname "$0")/../net/lib.sh"
# shellcheck source=tests/kubernetes/cluster.sh
. tests/kubernetes/cluster.sh
# shellcheck source=tests/kubernetes/shop.sh
. tests/kubernetes/shop.sh
cluster_up
cluster_shop
start_kube_agent

echo "--- ClusterIP"
check "IPv4, each endpoint in its turn, each on its own slice's port" "web-1 web-2 web-3" "$(seen_from client web 80 60)"
check "IPv6" "web-1 web-2 web-3" "$(seen_from client web6 80 60)"
check "dual stack, IPv4" "web-1 web-2 web-3" "$(seen_from client web-dual 80 60)"
check "dual stack, IPv6" "web-1 web-2 web-3" "$(seen_from client web-dual 80 60 1)"
check "from the node itself" "web-1 web-2 web-3" "$(seen_from host web 80 60)"
check "another port is refused" refused "$(dial client "$(ip_of web)" 81)"
check "a service without endpoints refuses" refused "$(dial client "$(ip_of none)" 80)"
echo "--- ports"
check "by name" "web-1 web-2 web-3" "$(seen_from client ports 80 60)"
check "by number" "web-1 web-2 web-3" "$(seen_from client ports 9000 60)"
check "UDP" "web-1 web-2 web-3" "$(seen_udp client "$(ip_of ports)" 53 60)"
check "TCP is not asked on UDP's port" refused "$(dial client "$(ip_of ports)" 54)"
echo "--- affinity and where traffic goes"
check "ClientIP: a pod stays with one" 1 "$(seen_from client sticky 80 60 | wc -w)"
check "internalTrafficPolicy Local: this node's only" web-1 "$(seen_from client local 80 60)"
check "PreferSameZone" "web-1 web-3" "$(seen_from client zone 80 60)"
check "PreferClose" "web-1 web-3" "$(seen_from client close 80 60)"
check "PreferSameNode" web-1 "$(seen_from client same-node 80 60)"
check "a pod that dials itself through its service" alone "$(in_pod shop_alone curl -s --max-time 5 "http://$(ip_of alone)/" | tr -d '\n')"
echo "--- readiness"
check "not ready: refused" refused "$(dial client "$(ip_of late)" 80)"
check "publishNotReadyAddresses" late "$(seen_from client early 80 20)"
ready late true
until_ok 20 answers late late || fail "ready, and not dialled: $(dial client "$(ip_of late)" 80)"
ready web-2 false
until_ok 20 seen_is web "web-1 web-3" || fail "not ready, and dialled: $(seen_from client web 80 60)"
ready web-2 true
until_ok 20 seen_is web "web-1 web-2 web-3" || fail "ready again, and not dialled: $(seen_from client web 80 60)"
kube DELETE "$SHOP/pods/web-3" >/dev/null # has a preStop of 600 s
until_ok 20 seen_is web "web-1 web-2" || fail "terminating, and dialled: $(seen_from client web 80 60)"
check "terminating of the last: serves on" draining "$(seen_from client draining 80 20)"
kube DELETE "$SHOP/pods/draining" >/dev/null
until_ok 20 pod_terminates draining
check "all endpoints terminating: who serves still is dialled" draining "$(seen_from client draining 80 20)"
echo "--- from outside addresses"
check "NodePort on the node's address" "web-1 web-2" "$(seen_at client $KUBE_HOST 30080 60)"
check "NodePort from the node" "web-1 web-2" "$(seen_at host $KUBE_HOST 30080 60)"
kube PATCH "$SHOP/services/local" '{"spec": {"type": "NodePort", "externalTrafficPolicy": "Local",
	"ports": [{"name": "http", "port": 80, "targetPort": "http", "nodePort": 30082}]}}' >/dev/null
until_ok 20 node_port_is 30082 "web-1 web-2" || fail "internalTrafficPolicy Local holds at a node port: $(seen_at client $KUBE_HOST 30082 60)"
check "and from the node" "web-1 web-2" "$(seen_at host $KUBE_HOST 30082 60)"
check "at the ClusterIP it does" web-1 "$(seen_from client local 80 60)"
check "the load balancer's address" "web-1 web-2" "$(seen_at client 192.0.2.90 80 60)"
check "an external address is not taken over" no "$(dial client 192.0.2.80 80 | grep -q web && echo yes || echo no)"
echo "--- a slice that is another proxy's"
manual() { api "$API/v1/health/service/manual?ns=shop" | jq length; }
manual_is() { [ "$(manual)" = "$1" ]; }
check "what it has before" 2 "$(manual)"
kube PATCH "/apis/discovery.k8s.io/v1/namespaces/shop/endpointslices/manual-1" \
	'{"metadata": {"labels": {"service.kubernetes.io/service-proxy-name": "other"}}}' >/dev/null
until_ok 20 manual_is 0 || fail "its endpoints are the Service's still: $(manual)"
echo "--- a Service that changes"
kube PATCH "$SHOP/services/web" '{"spec": {"ports": [{"name": "http", "port": 8000, "targetPort": "http"}]}}' >/dev/null
until_ok 20 seen_is web "web-1 web-2" 8000 || fail "the new port is not dialled"
check "the old one is refused" refused "$(dial client "$(ip_of web)" 80)"
gone=$(ip_of web6)
kube DELETE "$SHOP/services/web6" >/dev/null
until_ok 20 unanswered "$gone" || fail "a deleted service answers"
echo "--- Consul's API"
check "health by namespace" "2" "$(api "$API/v1/health/service/web?ns=shop&passing" | jq length)"
check "the key by itself" "2" "$(api "$API/v1/health/service/shop%2Fweb?passing" | jq length)"
check "sources" watching "$(api "$API/v1/waymark/sources" | jq -r '.[0].State // .[0].state')"
echo "--- an external address that is allowed"
stop_agent
start_kube_agent --set source.kubernetes_external=192.0.2.80/32
until_ok 20 at_is 192.0.2.80 "web-1 web-2" || fail "allowed, and not dialled: $(seen_at client 192.0.2.80 80 60)"
done_kube

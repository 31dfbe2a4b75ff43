#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Services of a cluster, as an operator asks about them: what explain says of a ClusterIP and its ports,
# who is connected to it, whether the tables are right, two that claim one address, and that a restart
# writes nothing.
# shellcheck source=tests/net/lib.sh
. "$(dirname "$0")/lib.sh"
# shellcheck source=tests/net/kube.sh
. tests/net/kube.sh

start_cluster
kubeconfig
KUBERNETES=(--set source.kubernetes_enabled=true --set "source.kubernetes_kubeconfig=$TMP/kubeconfig"
	--set source.kubernetes_node=n1 --set kernel.truth_interval=0 --set "source.kubernetes_consul_names=default,other")
ask_of() { "$CTL" --agent "unix:$TMP/http.sock" explain connect -j "$1" | jq -r "$2"; }
metric() { api "$API/v1/agent/metrics?format=prometheus" | awk -v m="waymark_$1" '$1 == m {print $2}'; }
metric_is() { [ "$(metric "$1")" = "$2" ]; }

namespace kube-system 11111111-1111-4111-8111-111111111111
namespace default 22222222-2222-4222-8222-222222222222
node n1 127.0.0.1 a
backend w1 127.1.0.1 8080
service web '"clusterIP": "10.96.0.10", "ports": [{"name": "http", "port": 80, "targetPort": 8080}]'
slice web-1 web '{"name": "http", "port": 8080}' "$(endpoint 127.1.0.1 a)"
backend m1 127.1.0.1 9100
service two '"clusterIP": "10.96.0.12", "ports": [{"name": "http", "port": 80}, {"name": "metrics", "port": 9100}]'
slice two-1 two '{"name": "http", "port": 8080}, {"name": "metrics", "port": 9100}' "$(endpoint 127.1.0.1 a)"
service empty '"clusterIP": "10.96.0.11", "ports": [{"port": 80}], "internalTrafficPolicy": "Local"'
kept() { # internalTrafficPolicy: a Service with a load balancer's address too
	kube put "{\"kind\": \"Service\", \"metadata\": {\"namespace\": \"default\", \"name\": \"kept\"}, \"spec\": {\"type\": \"LoadBalancer\",
		\"clusterIP\": \"10.96.0.13\", \"ports\": [{\"name\": \"http\", \"port\": 80}, {\"name\": \"metrics\", \"port\": 9100}],
		\"internalTrafficPolicy\": \"$1\"}, \"status\": {\"loadBalancer\": {\"ingress\": [{\"ip\": \"192.0.2.77\"}]}}}"
}
node n2 127.0.0.2 b
for n in 4 5; do backend "w$n" "127.1.0.$n" 8080; done
backend m5 127.1.0.5 9100
kept Local
slice kept-1 kept '{"name": "http", "port": 8080}, {"name": "metrics", "port": 9100}' "$(endpoint 127.1.0.4 d)" "$(endpoint 127.1.0.5 e n2)"
UID_A=0f3c1a52-7d2b-4a0e-8a5e-2f6f0a4b9c01 ID=4d1f7e0b9a8c6d5e4f3a2b1c0d9e8f7a6b5c4d3e2f1a0b9c8d7e6f5a4b3c2d1e
pod() { # name, uid, address, annotations
	kube put "{\"kind\": \"Pod\", \"metadata\": {\"namespace\": \"default\", \"name\": \"$1\", \"uid\": \"$2\", \"annotations\": {${4:-}}},
		\"spec\": {\"nodeName\": \"n1\"}, \"status\": {\"phase\": \"Running\", \"podIP\": \"$3\", \"podIPs\": [{\"ip\": \"$3\"}]}}"
}
pod client-1 $UID_A 10.244.1.5
pod client-2 11111111-7d2b-4a0e-8a5e-2f6f0a4b9c01 10.244.1.7
start_agent "${KUBERNETES[@]}"
there() { [ "$(ask_of default/web:80 .verdict 2>/dev/null)" = steered ] && ask_of default/empty:80 .verdict 2>/dev/null; }
until_ok 60 there >/dev/null || fail "the cluster does not come: $(api "$API/v1/waymark/sources")"

# --- explain
check "by its key" "10.96.0.10 default/web steered" "$(ask_of default/web:80 '"\(.address) \(.service) \(.verdict)"')"
check "by its address" "default/web steered" "$(ask_of 10.96.0.10:80 '"\(.service) \(.verdict)"')"
matches "whose address it is" "10.96.0.10, its cluster address, says source kubernetes" "$(ask_of default/web:80 '.steps[0].text')"
check "a port that it has not" "default/web refused" "$(ask_of default/web:81 '"\(.service) \(.verdict)"')"
matches "and why" "has no TCP port 81: ECONNREFUSED at once" "$(ask_of 10.96.0.10:81 '.steps[] | select(.step == "destination").text')"
check "without endpoints" "default/empty refused" "$(ask_of default/empty:80 '"\(.service) \(.verdict)"')"
check "an address that is nobody's" "not a service's" "$(ask_of 10.96.0.99:80 .verdict)"

# --- internalTrafficPolicy: Local holds at cluster IPs alone
dialled() { for _ in $(seq 20); do inside curl -s --max-time 20 "http://$1/"; done | grep -o '^w[0-9]' | sort -u | xargs; }
dialled_is() { [ "$(dialled "$1")" = "$2" ]; }
until_ok 20 dialled_is 10.96.0.13:80 w4 && echo "ok: its ClusterIP leads to this node's" || check "by its ClusterIP" w4 "$(dialled 10.96.0.13:80)"
check "the balancer's address to all" "w4 w5" "$(dialled 192.0.2.77:80)"
explained() { ask_of "$1" '[.steps[] | select(.step == "destination" or .step == "source").text] | join("; ")'; }
matches "explain says what holds at which" "only instances of this node" "$(explained 10.96.0.13:80)"
matches "and what does not" "is service default/kept, from outside its cluster addresses" "$(explained 192.0.2.77:80)"
check "and not there" 0 "$(explained 192.0.2.77:80 | grep -c "only instances")"
check "whom it may be led to" 2 "$(ask_of 192.0.2.77:9100 '[.tiers[].candidates[]?] | length')"
kept Cluster
until_ok 20 dialled_is 10.96.0.13:80 "w4 w5" || fail "the policy is gone, its ClusterIP leads to $(dialled 10.96.0.13:80)"
kept Local
until_ok 20 dialled_is 10.96.0.13:80 w4 || fail "the policy is back, its ClusterIP leads to $(dialled 10.96.0.13:80)"

# --- who is connected
inside bash -c 'exec 3<>/dev/tcp/10.96.0.10/80; sleep 300' &
HELD=$!
row() { "$CTL" --json --pin-dir "$PINS" connections "${1:-default/web}" | jq -re '.[0] | "\(.service) \(.virtual) \(.address)"'; }
until_ok 20 row >/dev/null
check "connections" "default/web 10.96.0.10:80 127.1.0.1:8080" "$(row)"
inside bash -c 'exec 3<>/dev/tcp/10.96.0.12/9100; sleep 300' &
OTHER=$!
until_ok 20 row default/two >/dev/null
check "of a second port" "default/two 10.96.0.12:9100 127.1.0.1:9100" "$(row default/two)"

# --- of which pod: by its cgroup, as kubelet has it with systemd
POD=$CG/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod${UID_A//-/_}.slice/cri-containerd-$ID.scope
mkdir -p "$POD"
in_pod() (
	echo "$BASHPID" >"$POD/cgroup.procs"
	exec "$@"
)
NAMED="default/client-1 $ID"
pods_are() { [ "$(api "$API/v1/waymark/pods" | jq -r '[.[].pod] | sort | join(" ")')" = "$1" ]; }
until_ok 30 pods_are "default/client-1 default/client-2" || fail "pods: $(api "$API/v1/waymark/pods")"
"$CTL" --agent "unix:$TMP/http.sock" monitor --json >"$TMP/flows" &
MONITOR=$!
in_pod bash -c 'exec 3<>/dev/tcp/10.96.0.10/80; echo $$ >"$0"; exec sleep 300' "$TMP/pods" &
until_ok 20 test -s "$TMP/pods" || fail "it does not connect from the pod"
PODS=$(cat "$TMP/pods")
of_pod() { "$CTL" --agent "unix:$TMP/http.sock" --json --pin-dir "$PINS" connections | jq -re ".[] | select(.pid == $PODS) | \"\(.pod) \(.container)\""; }
until_ok 20 of_pod >/dev/null
check "connections name the pod" "$NAMED" "$(of_pod)"
check "where there is no agent, they do not" null "$("$CTL" --agent "unix:$TMP/none" --json --pin-dir "$PINS" connections | jq -r ".[] | select(.pid == $PODS) | .pod")"
check "who is of none" " " "$("$CTL" --agent "unix:$TMP/http.sock" --json --pin-dir "$PINS" connections default/web | jq -r '.[] | select(.pod != "default/client-1") | "\(.pod) \(.container)"')"
check "explain socket" "$NAMED" "$("$CTL" --agent "unix:$TMP/http.sock" --json --pin-dir "$PINS" explain socket "$PODS" | jq -r '.[0] | "\(.pod) \(.container)"')"
matches "and in words" "; of pod default/client-1, container $ID" "$("$CTL" --agent "unix:$TMP/http.sock" --pin-dir "$PINS" explain socket "$PODS")"
check "explain connect" "$NAMED" "$("$CTL" --agent "unix:$TMP/http.sock" explain connect -j --pid "$PODS" default/web:80 | jq -r '.client | "\(.pod) \(.container)"')"
flow() { # the monitor may have begun after the first
	in_pod bash -c 'exec 3<>/dev/tcp/10.96.0.10/80'
	jq -re 'select(.event == "flow" and .pod != "") | "\(.pod) \(.container)"' "$TMP/flows" | head -1 | grep .
}
until_ok 20 flow >/dev/null
check "monitor" "$NAMED" "$(flow)"
kill "$MONITOR" "$PODS"

# --- an annotation takes a pod out, through a restart
dials_as() { # whether the pod comes to the cluster IP
	in_pod timeout 2 bash -c 'exec 3<>/dev/tcp/10.96.0.10/80' 2>/dev/null
}
left_alone() { ! dials_as; }
OUT='"waymark.io/steer": "false"'
pod client-1 $UID_A 10.244.1.5 "$OUT"
until_ok 30 left_alone && echo "ok: who is taken out is steered no more" || fail "who is taken out is steered"
check "others are" w1 "$(inside curl -s --max-time 20 http://10.96.0.10/ | grep -o '^w[0-9]')"
as_pod() { "$CTL" --agent "unix:$TMP/http.sock" explain connect -j --cgroup "$POD" default/web:80 | jq -r "$1"; }
check "explain says so" "not steered" "$(as_pod .verdict)"
matches "and why" "waymark.io/steer takes it out" "$(as_pod '.steps[].text')"
stop_cluster
stop_agent
left_alone && echo "ok: without an agent too" || fail "it is steered while no agent runs"
start_agent "${KUBERNETES[@]}"
until_ok 60 there >/dev/null || fail "it does not come back"
left_alone && echo "ok: after a restart, before the Pods are known" || fail "it is steered after a restart"
start_cluster
until_ok 60 pods_are "default/client-1 default/client-2" || fail "the Pods do not come back"
left_alone && echo "ok: and when they are" || fail "it is steered again"
pod client-1 $UID_A 10.244.1.5
until_ok 30 dials_as && echo "ok: and is again without it" || fail "without the annotation it is not steered"

# --- and by the address of its network namespace, where the cgroup does not say
unshare -n bash -c 'ip link add e0 type veth peer name e1 && ip addr add 10.244.1.7/32 dev e0 && ip link set e0 up && exec sleep 300' &
ALONE=$!
by_address() { "$CTL" --agent "unix:$TMP/http.sock" explain connect -j --pid "$ALONE" default/web:80 | jq -re '.client.pod | select(. != "")'; }
until_ok 20 by_address >/dev/null
check "a pod by its address" default/client-2 "$(by_address)"
kill "$ALONE"

# --- under its bare name, beside what is registered here under it
bare() { api "$API/v1/health/service/web" | jq -r '[.[] | "\(.Service.Address) \(.Service.Tags[0] // "none")"] | sort | join(", ")'; }
bare_is() { [ "$(bare)" = "$1" ]; }
until_ok 20 bare_is "127.1.0.1 k8s" && echo "ok: Consul's API has the bare name" || check "the bare name" "127.1.0.1 k8s" "$(bare)"
check "and DNS" 127.1.0.1 "$(ask web.service.mesh.internal)"
check "an endpoint of several ports" "127.1.0.1 8080" "$(api "$API/v1/health/service/two" | jq -r '.[0].Service | "\(.Address) \(.Port)"')"
check "what is registered here" 200 "$(register web-here web 127.1.0.2 8080)"
until_ok 20 bare_is "127.1.0.1 k8s, 127.1.0.2 none" && echo "ok: stands beside it" || fail "both: $(bare)"
check "and not in the cluster's service" 127.1.0.1 "$(api "$API/v1/health/service/default%2Fweb" | jq -r '.[].Service.Address')"
slice web-1 web '{"name": "http", "port": 8080}' "$(endpoint 127.1.0.3 b)"
until_ok 20 bare_is "127.1.0.2 none, 127.1.0.3 k8s" && echo "ok: endpoints come and go under it" || fail "moved: $(bare)"
slice web-1 web '{"name": "http", "port": 8080}' "$(endpoint 127.1.0.1 a)"
until_ok 20 bare_is "127.1.0.1 k8s, 127.1.0.2 none" || fail "moved back: $(bare)"
api -X PUT "$API/v1/agent/service/deregister/web-here"

# --- the tables are right, a service without endpoints too
agrees() {
	local report
	report=$("$CTL" --agent "$API" --json truth)
	check "$1" true "$(jq .agree <<<"$report")"
	jq -r '.differences[].text, .unseen[]' <<<"$report"
}
agrees "registry, tables and kernel agree"

# --- two that claim one address: the first stands
service thief '"clusterIP": "10.96.0.10", "ports": [{"port": 81}]'
contested() { [ "$(metric tables_frontends_contested)" = 1 ]; }
until_ok 30 contested && echo "ok: it is counted" || fail "it is not counted"
matches "and named" 'event=resolution.contested svc="?default/thief"? address=10.96.0.10 port=0 has="?default/web' "$(grep contested "$TMP/agent.log")"
check "the first has all of it" "default/web refused" "$(ask_of 10.96.0.10:81 '"\(.service) \(.verdict)"')"
kube delete Service default thief
until_ok 30 metric_is tables_frontends_contested 0 || fail "that it is over is not seen"

# --- a restart: all is as it was, and nothing is written
fronts() { bpftool -j map dump pinned "$PINS/maps/frontends" | jq -cS '[.[].formatted] | sort_by(.key)'; }
before=$(fronts)
[ "$(jq length <<<"$before")" -ge 4 ] || fail "few frontends: $before"
stop_agent
start_agent "${KUBERNETES[@]}"
until_ok 60 there >/dev/null || fail "it does not come back"
check "the same entries lead to the same sets" "$before" "$(fronts)"
check "no set was published" 0 "$(api "$API/v1/waymark/status" | jq .tables.publishes)"
check "who was connected is" "default/web 10.96.0.10:80 127.1.0.1:8080" "$(row)"
agrees "they agree after it"
kill "$HELD" "$OTHER"
done_testing

#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# A Kubernetes cluster as a source: connect() to a ClusterIP goes to its endpoints, through scaling,
# rolling, an API server that is away, half of a cluster gone at once, and another cluster's.
# shellcheck source=tests/net/lib.sh
. "$(dirname "$0")/lib.sh"
# shellcheck source=tests/net/kube.sh
. tests/net/kube.sh

start_cluster
kubeconfig
KUBERNETES=(--set source.kubernetes_enabled=true --set "source.kubernetes_kubeconfig=$TMP/kubeconfig"
	--set source.kubernetes_node=n1)
ctl() { "$CTL" --agent "unix:$TMP/http.sock" "$@"; }
source_is() { api "$API/v1/waymark/sources" | jq -e ".[] | select(.name == \"kubernetes\") | $1"; }
count() { source_is "${1:?}" 2>/dev/null || echo "not there"; }
who() { # of $1 dials of host and port $2
	for _ in $(seq "$1"); do inside curl -s --max-time 20 "http://$2/"; done | grep -o '^[a-z][0-9]' | sort | uniq -c | awk '{print $2}' | xargs
}
dials() { [ "$(who 20 "$1")" = "$2" ]; }
gives() { # text, host and port, names
	until_ok 60 dials "$2" "$3" && echo "ok: $1" || check "$1" "$3" "$(who 20 "$2")"
}
refused() {
	inside curl -s --max-time 20 "http://$1/"
	[ $? = 7 ]
}

namespace kube-system 11111111-1111-4111-8111-111111111111
namespace default 22222222-2222-4222-8222-222222222222
node n1 127.0.0.1 a
node n2 127.0.0.2 b
for n in 1 2 3 4; do backend "w$n" "127.1.0.$n" 8080; done
backend m1 127.1.0.1 9100
CLUSTER='"clusterIP": "10.96.0.10", "ports": [{"name": "http", "port": 80, "targetPort": 8080}]'
HTTP='{"name": "http", "port": 8080}'
service web "$CLUSTER"
slice web-1 web "$HTTP" "$(endpoint 127.1.0.1 a)" "$(endpoint 127.1.0.2 b n2)"
service empty '"clusterIP": "10.96.0.11", "ports": [{"port": 80}]'
service two '"clusterIP": "10.96.0.12", "ports": [{"name": "http", "port": 80}, {"name": "metrics", "port": 9100}]'
slice two-1 two "$HTTP, {\"name\": \"metrics\", \"port\": 9100}" "$(endpoint 127.1.0.1 a)"

some() { # of 40 endpoints the first $1
	local n all=()
	for n in $(seq "$1"); do all+=("$(endpoint "127.2.0.$n" "p$n")"); done
	slice big-1 big "$HTTP" "${all[@]}"
}
service big '"clusterIP": "10.96.0.20", "ports": [{"name": "http", "port": 80}]'
some 40

start_agent "${KUBERNETES[@]}"
until_ok 60 source_is '.state == "watching"' || fail "it does not come to watch: $(api "$API/v1/waymark/sources")"
gives "a ClusterIP leads to its endpoints" 10.96.0.10:80 "w1 w2"
gives "each port to its own" 10.96.0.12:9100 m1
gives "and the other" 10.96.0.12:80 w1
until_ok 20 refused 10.96.0.11:80 && echo "ok: a Service without endpoints refuses" || fail "a Service without endpoints does not refuse"
until_ok 20 refused 10.96.0.10:81 && echo "ok: and a port that is none" || fail "a port that is none is not refused"
check "its nodes" "k8s-n1 k8s-n2" "$(api "$API/v1/catalog/nodes" | jq -r '.[].Node' | grep ^k8s- | sort | xargs)"
check "nothing by its bare name, as nobody said so" 0 "$(api "$API/v1/health/service/web" | jq length)"
check "its instances in Consul's API" "127.1.0.1 127.1.0.2" "$(api "$API/v1/health/service/default%2Fweb" | jq -r '.[].Service.Address' | sort | xargs)"
check "their tag and pod" "k8s a" "$(api "$API/v1/health/service/default%2Fweb" | jq -r '.[] | select(.Service.Address == "127.1.0.1") | .Service | .Tags[0] + " " + .Meta.pod')"

# --- scale, roll, not ready, gone
slice web-1 web "$HTTP" "$(endpoint 127.1.0.1 a)" "$(endpoint 127.1.0.2 b n2)" "$(endpoint 127.1.0.3 c)"
gives "one more" 10.96.0.10:80 "w1 w2 w3"
slice web-1 web "$HTTP" "$(endpoint 127.1.0.1 a n1 '"ready": false, "serving": true, "terminating": true')" "$(endpoint 127.1.0.2 b n2)" "$(endpoint 127.1.0.3 c)"
gives "one that ends takes no more" 10.96.0.10:80 "w2 w3"
slice web-1 web "$HTTP" "$(endpoint 127.1.0.2 b n2 '"ready": false')" "$(endpoint 127.1.0.3 c)" "$(endpoint 127.1.0.4 d n2)"
gives "nor one that is not ready, and a new one does" 10.96.0.10:80 "w3 w4"
slice web-1 web "$HTTP" "$(endpoint 127.1.0.3 c n1 '"ready": false, "serving": true, "terminating": true')"
gives "where all end, who serves yet is asked" 10.96.0.10:80 "w3"
slice web-1 web "$HTTP"
until_ok 60 refused 10.96.0.10:80 && echo "ok: without endpoints it refuses" || fail "without endpoints it does not refuse"
slice web-1 web "$HTTP" "$(endpoint 127.1.0.1 a)" "$(endpoint 127.1.0.2 b n2)"
gives "and serves again" 10.96.0.10:80 "w1 w2"

# --- a policy by annotation, a bad one, none
service web "$CLUSTER" '"waymark.io/policy": "{\"split\": [{\"percent\": 100, \"service\": \"default/two\"}]}"'
gives "a policy by annotation" 10.96.0.10:80 "w1"
service web "$CLUSTER" '"waymark.io/policy": "{\"splid\": 1}"'
told() { grep -q 'event=policy.refused.*default/web' "$TMP/agent.log"; }
until_ok 20 told && echo "ok: a bad one is told" || fail "a bad policy is not told"
check "and what it said before stays" "w1" "$(who 10 10.96.0.10:80)"
service web "$CLUSTER"
gives "none" 10.96.0.10:80 "w1 w2"
# --- a list with nothing new
written=$(count .counters.written) lists=$(count .counters.lists)
writes() { api "$API/v1/waymark/status" | jq -c '.tables | [.puts, .publishes, .state_stores]'; }
before=$(writes)
matches "writes to the tables are counted" '^\[[1-9][0-9]*,[1-9]' "$before"
kube compact
listed() { [ "$(count .counters.lists)" -ge $((lists + 4)) ]; }
until_ok 60 listed || fail "it does not list again: $(count .counters.lists), $lists before"
until_ok 60 source_is '.state == "watching"' >/dev/null || fail "it does not come to watch again"
check "a list with nothing new is nothing to the registry" "$written" "$(count .counters.written)"
check "nor to the tables" "$before" "$(writes)"

# --- the API server away, and back with changes
stop_cluster
until_ok 60 source_is '.state == "away"' >/dev/null && echo "ok: it is away" || fail "that it is away is not told"
check "all goes on" "w1 w2" "$(who 20 10.96.0.10:80)"
stop_agent
start_agent "${KUBERNETES[@]}"
gives "after a restart as well" 10.96.0.10:80 "w1 w2"
start_cluster
until_ok 90 source_is '.state == "watching"' >/dev/null || fail "it does not come back"
slice web-1 web "$HTTP" "$(endpoint 127.1.0.4 d)"
gives "it is heard again" 10.96.0.10:80 "w4"

# --- a policy as a resource, which was installed while nobody looked
kube put '{"kind": "WaymarkPolicy", "metadata": {"namespace": "default", "name": "web"}, "spec": {"split": [{"percent": 100, "service": "default/two"}]}}'
stop_agent
start_agent "${KUBERNETES[@]}"
gives "a WaymarkPolicy" 10.96.0.10:80 "w1"
kube delete WaymarkPolicy default web
gives "and without it" 10.96.0.10:80 "w4"

# --- most of it gone at once; that it came was before this run of the agent
forty() { [ "$(api "$API/v1/health/service/default%2Fbig" | jq length)" = "$1" ]; }
until_ok 60 forty 40 || fail "not 40"
some 10
until_ok 60 source_is '.holding > 0' >/dev/null && echo "ok: the brake holds" || fail "the brake does not hold"
check "all 40 are there" 40 "$(api "$API/v1/health/service/default%2Fbig" | jq length)"
matches "waymarkctl shows it" 'kubernetes.*watching' "$(ctl sources)"
ctl sources release kubernetes >/dev/null || fail "no release"
until_ok 60 forty 10 && echo "ok: let go, they are gone" || fail "let go, they are not gone"

# --- another cluster
stop_cluster
start_cluster other
namespace kube-system 33333333-3333-4333-8333-333333333333
node n1 127.0.0.1 a
service web '"clusterIP": "10.96.0.99", "ports": [{"port": 80}]'
until_ok 90 source_is '.state == "refused"' >/dev/null && echo "ok: another cluster is refused" || fail "another cluster is not refused: $(api "$API/v1/waymark/sources")"
check "and what is kept serves" "w4" "$(who 10 10.96.0.10:80)"
done_testing

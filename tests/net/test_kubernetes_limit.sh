#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# More endpoints than kernel.backends_max holds, each port of one being one: what fits is steered, and
# everybody is told which setting it is. With room again it comes by itself.
# shellcheck source=tests/net/lib.sh
. "$(dirname "$0")/lib.sh"
# shellcheck source=tests/net/kube.sh
. tests/net/kube.sh

small_cluster
PORTS='"ports": [{"name": "http", "port": 80}, {"name": "metrics", "port": 9100}]'
BOTH='{"name": "http", "port": 8080}, {"name": "metrics", "port": 9101}'
of() { # name, nth: two endpoints of two ports
	service "$1" "\"clusterIP\": \"10.96.0.$2\", $PORTS"
	slice "$1-1" "$1" "$BOTH" "$(endpoint "127.1.$2.1" a)" "$(endpoint "127.1.$2.2" b)"
}
of a 10
start_agent --set source.kubernetes_enabled=true --set "source.kubernetes_kubeconfig=$TMP/kubeconfig" \
	--set source.kubernetes_node=n1 --set kernel.backends_max=7
backends() { [ "$(api "$API/v1/waymark/status" | jq .tables.backends.used)" = "$1" ]; }
until_ok 60 backends 4 || fail "two endpoints of two ports are not four: $(api "$API/v1/waymark/status" | jq -c .tables)"
echo "ok: each port of each endpoint is one"
backend a1 127.1.10.1 8080
backend a2 127.1.10.2 8080
dials() { inside curl -s --max-time 20 "http://10.96.0.10/" | grep -q '^a[12]'; }
until_ok 60 dials || fail "what fits is not dialled"
of b 11
told() { grep -q 'event=resolution.unfit .*default/b.*kernel.backends_max' "$TMP/agent.log"; }
until_ok 60 told && echo "ok: what does not fit is told, with the setting" || fail "nobody is told: $(grep unfit "$TMP/agent.log")"
frontends() { [ "$(api "$API/v1/waymark/status" | jq .tables.frontends.used)" = "$fronts" ]; }
fronts=$(api "$API/v1/waymark/status" | jq .tables.frontends.used)
of c 12
unfit() { grep -q 'event=resolution.unfit .*default/c' "$TMP/agent.log"; }
until_ok 60 unfit || fail "another one fits"
until_ok 60 frontends && echo "ok: of whom nobody fits the address passes, to who may steer it otherwise" || fail "it is taken, and refuses"
matches "status names the setting" 'backends are the fullest table: raise kernel.backends_max' "$("$CTL" --agent "unix:$TMP/http.sock" status)"
check "it is counted" true "$(api "$API/v1/waymark/status" | jq '.tables.full > 0')"
matches "and a metric" '^waymark_tables_full_total [1-9]' "$(api "$API/v1/agent/metrics?format=prometheus")"
dials && echo "ok: what was there goes on" || fail "what was there is dialled no more"
check "its instances are known" 2 "$(api "$API/v1/health/service/b?ns=default" | jq length)"
kube delete Service default c
kube delete EndpointSlice default c-1
kube delete EndpointSlice default a-1
fits() { inside curl -s --max-time 20 "http://10.96.0.11/" | grep -q '^b1'; }
backend b1 127.1.11.1 8080
backend b1 127.1.11.2 8080
until_ok 60 fits && echo "ok: with room it is steered" || fail "with room it is not steered: $(api "$API/v1/waymark/status" | jq -c .tables)"
stop_cluster
done_testing

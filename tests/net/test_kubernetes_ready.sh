#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Readiness waits for the first list of each source, so that a rolling update does.
# shellcheck source=tests/net/lib.sh
. "$(dirname "$0")/lib.sh"
# shellcheck source=tests/net/kube.sh
. tests/net/kube.sh

small_cluster
service web '"clusterIP": "10.96.0.10", "ports": [{"name": "http", "port": 80}]'
stop_cluster
start_agent --set kernel.enabled=false --set source.kubernetes_enabled=true --set "source.kubernetes_kubeconfig=$TMP/kubeconfig" \
	--set source.kubernetes_node=n1 --set http.metrics_addresses=127.0.0.9
M=http://127.0.0.9:8510
away() { api "$API/v1/waymark/sources" | jq -e '.[0].state == "away"'; }
until_ok 60 away || fail "that the server is away is not told"
check "without a list it is not ready" 503 "$(code "$API/v1/waymark/ready")"
check "but lives" 200 "$(code "$API/v1/waymark/live")"
matches "and says which" 'source.kubernetes: no list is whole yet \(away: namespaces: ' "$(api "$API/v1/waymark/ready" | jq -r '.reasons[]')"
check "who scrapes learns the kind of it, not where the server is" "503 source.kubernetes: no list is whole yet (away: no server answers as it should)" \
	"$(code $M/v1/waymark/ready) $(api $M/v1/waymark/ready | jq -r '.reasons[] | select(startswith("source"))')"
start_cluster
ready() { [ "$(code "$API/v1/waymark/ready")" = 200 ]; }
until_ok 90 ready && echo "ok: with one it is" || fail "it does not become ready: $(api "$API/v1/waymark/ready")"
check "and says nothing of it" '' "$(api "$API/v1/waymark/ready" | jq -r '.reasons[] | select(startswith("source"))')"
stop_cluster
until_ok 60 away || fail "that the server is away again is not told"
check "it stays so while the server is away" 200 "$(code "$API/v1/waymark/ready")"
done_testing

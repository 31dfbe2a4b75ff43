#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# A Deployment of 20 with readiness and a preStop of 5 s, rolled, scaled down and up, and its pods' agent
# killed meanwhile, under 2,000 new connections a second: none fails.
# shellcheck source=tests/net/lib.sh
. "$(dirname "$0")/../net/lib.sh"
# shellcheck source=tests/kubernetes/cluster.sh
. tests/kubernetes/cluster.sh
# shellcheck source=tests/kubernetes/shop.sh
. tests/kubernetes/shop.sh
RATE=${RATE:-2000} DIALLERS=4
cluster_up
cluster_shop
start_kube_agent
deployment() { KUBE_CA=$CLUSTER/pki/ca.crt python3 tests/kubernetes/deployment.py "$@" || fail "deployment $*"; }
deployment make big 20 5
address=$(ip_of big)
seen_many() { [ "$(seen_at client "$address" 80 400 | wc -w)" = 20 ]; }
until_ok 60 seen_many || fail "not all of 20 are dialled"

LOAD=()
load() {
	local i
	for i in $(seq $DIALLERS); do
		in_pod shop_client python3 tests/kubernetes/dial.py "$address" 80 $((RATE / DIALLERS)) "$TMP/dial.$i" &
		LOAD+=($!)
	done
}
judge() { # what happened meanwhile
	local p
	for p in $(seq $DIALLERS); do touch "$TMP/dial.$p.stop"; done
	for p in "${LOAD[@]}"; do wait "$p" 2>/dev/null; done
	LOAD=()
	jq -s -c '{dialled: map(.dialled) | add, rate: map(.rate) | add, failed: map(.failed) | add, errors: map(.errors) | add,
		servers: map(.by | keys) | add | unique | length, p50_us: map(.p50_us) | max, p99_us: map(.p99_us) | max}' "$TMP"/dial.[0-9] >"$TMP/judged"
	echo "$1: $(cat "$TMP/judged")"
	check "$1: failed connects" 0 "$(jq .failed "$TMP/judged")"
	rm -f "$TMP"/dial.*
}
load
deployment roll big
judge "rolling update of 20"
check "the new 20 were dialled, and the old" 40 "$(jq .servers "$TMP/judged")"
load
deployment scale big 8
deployment scale big 20
judge "scaled to 8 and back"
load
stop_agent KILL
sleep 1
start_agent "${AGENT_SETTINGS[@]}"
until_ok 60 source_is watching || fail "does not watch again"
sleep 1
judge "the agent killed and started anew"
done_kube

#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The API server is away, comes back with the same, with half of it gone at once, and as another cluster's.
# Away is some seconds here, and an hour with AWAY=3600.
# shellcheck source=tests/net/lib.sh
. "$(dirname "$0")/../net/lib.sh"
# shellcheck source=tests/kubernetes/cluster.sh
. tests/kubernetes/cluster.sh
# shellcheck source=tests/kubernetes/shop.sh
. tests/kubernetes/shop.sh
AWAY=${AWAY:-10}
cluster_up
cluster_shop
KUBE_CA=$CLUSTER/pki/ca.crt python3 tests/kubernetes/bulk.py fill 200 2 || fail "not filled"
start_kube_agent
until_ok 60 seen_is web "web-1 web-2 web-3" || fail "before: $(seen_from client web 80 60)"
bulk_known() { [ "$(api "$API/v1/waymark/services" | jq '[.[] | select(.name | test("^bulk-"))] | length')" = "$1" ]; }
until_ok 60 bulk_known 200 || fail "200 services are not known"
# what would be read through the API server while it is away
web=$(ip_of web)
who_answers() { seen_at client "$web" 80 60; }

echo "--- away for $AWAY s"
in_pod shop_client python3 tests/kubernetes/dial.py "$web" 80 200 "$TMP/dial" &
dialler=$!
cluster_stop apiserver -KILL
until_ok 60 source_is away || fail "away, and said to be $(source_state)"
sleep "$AWAY"
check "serves on" "web-1 web-2 web-3" "$(who_answers)"
echo "--- an agent that starts meanwhile"
stop_agent
start_agent "${AGENT_SETTINGS[@]}"
check "has what was known" "web-1 web-2 web-3" "$(who_answers)"
bulk_known 200 || fail "services were forgotten"
echo "--- back with the same"
apiserver_start
until_ok 120 cluster_ready
until_ok 120 source_is watching || fail "back, and said to be $(source_state)"
check "as before" "web-1 web-2 web-3" "$(who_answers)"
touch "$TMP/dial.stop"
wait $dialler
check "failed connects in all that time" 0 "$(jq .failed "$TMP/dial")"

echo "--- back with half of it gone"
cluster_stop controllers -KILL
cluster_stop apiserver -KILL
for s in 0 1 2 3 4 5 6 7 8; do
	etcdctl --endpoints http://127.0.0.1:2379 del --prefix "/registry/endpointslices/bulk-$s/" >/dev/null
	etcdctl --endpoints http://127.0.0.1:2379 del --prefix "/registry/services/specs/bulk-$s/" >/dev/null
done
apiserver_start
until_ok 120 cluster_ready
until_ok 120 source_is watching || fail "half back, and said to be $(source_state)"
alarmed() { grep -q 'event=source.alarm' "$TMP/agent.log"; }
until_ok 60 alarmed || fail "no alarm"
sleep 2
bulk_known 200 || fail "the brake held nothing"
check "what is left is served" "web-1 web-2 web-3" "$(who_answers)"
matches "doctor names it" 'source' "$("$CTL" --agent "unix:$TMP/http.sock" --pin-dir "$PINS" doctor 2>&1)"
"$CTL" --agent "unix:$TMP/http.sock" sources release kubernetes || fail "not released"
until_ok 60 bulk_known 20 || fail "released, and not gone"
check "and the rest stays" "web-1 web-2 web-3" "$(who_answers)"

echo "--- another cluster"
cluster_stop apiserver -KILL
cluster_stop etcd -KILL
rm -rf "$CLUSTER/etcd"
etcd_start
apiserver_start
until_ok 120 cluster_ready
until_ok 120 source_is refused || fail "another cluster's, and said to be $(source_state)"
check "nothing of it is taken, what was is served" "web-1 web-2 web-3" "$(who_answers)"
done_kube

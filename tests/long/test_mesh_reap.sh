#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# A node whose agent no member tells of goes after sync.reap with all that it registered. A minute is the
# least that can be set.
source "$(dirname "$0")/../net/lib.sh"
source "$(dirname "$0")/../net/mesh.sh"

mesh_up 2
for i in 1 2; do node_agent $i "${INSECURE[@]}"; done
register_on 1 far-1 far 10.77.0.1 1 >/dev/null
until_ok 20 passes_at 2 far far-1 || fail "node 2 has not what node 1 registered"
node_stop 1 KILL
node_stop 2
node_agent 2 "${INSECURE[@]}" --set sync.restart_grace=1s --set sync.reap=60s
has() { [ "$(api_of 2 /v1/catalog/service/far | jq length)" = "$1" ]; }
until_ok 20 passes_at 2 far "" || fail "it takes node 1 for alive"
check "it is there, as of a node that failed" 1 "$(api_of 2 /v1/catalog/service/far | jq length)"
until_ok 90 has 0 || fail "it does not go"
check "its node, too" n2 "$(api_of 2 /v1/catalog/nodes | jq -r '.[].Node' | paste -sd' ')"
node_stop 2
done_testing

#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# test_mesh_leaf_first.sh - a leaf is asked as soon as it is there, while its home is far and its stream to it is
# being opened, which takes longer than an answer may: the question waits for the home's first word.
source "$(dirname "$0")/lib.sh"
source "$(dirname "$0")/mesh.sh"

WAN=("${INSECURE[@]}" --set sync.profile=wan)
has_home() { [ -n "$(api_of 2 /v1/waymark/sync | jq -r .leaf.home)" ]; }
mesh_up 2
node_agent 1 "${WAN[@]}"
register_on 1 web-1 web 10.77.0.1 8081 >/dev/null
until_ok 10 passes_at 1 web web-1 || fail "node 1 does not know its own"
far 2 150 # each way
node_agent 2 "${WAN[@]}" --set sync.role=leaf
until_ok 20 has_home || fail "the leaf has no home"
check "the first question" 10.77.0.1 "$(ask_of 2 web.service.mesh.internal)"
check "nobody was told that no full member answered" 0 "$(api_of 2 '/v1/agent/metrics?format=prometheus' | awk '$1 == "waymark_leaf_late_total" { print $2 }')"

# --- its home is gone for good: the first questions wait, as it may come back, and then no more do
node_stop 1 KILL
check "a question meanwhile" SERVFAIL "$(on 2 dig +tries=1 +time=15 @127.0.0.1 -p 8600 db.service.mesh.internal | sed -n 's/.*status: \([A-Z]*\),.*/\1/p')"
node_stop 2
done_testing

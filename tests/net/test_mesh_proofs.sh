#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# What an agent registered, and proved, is passed on when it is gone, all others restarted, and who joins has
# nothing: what it proved is kept in their data directories.
source "$(dirname "$0")/lib.sh"
source "$(dirname "$0")/mesh.sh"

mesh_up 3
mesh_keys 3
start() { # node, further options
	local i=$1
	shift
	# shellcheck disable=SC2046
	node_agent "$i" $(tls_of "$i") "$@"
}
for i in 1 2 3; do start $i; done
for i in $(seq 30); do register_on 1 "far-$i" far 10.77.0.1 "$i" >/dev/null; done
has_all() { [ "$(api_of "$1" /v1/catalog/service/far | jq length)" = 30 ]; }
for i in 2 3; do until_ok 20 has_all $i || fail "node $i has not what node 1 registered"; done

kill -9 "${NODE_AGENT[1]}"
wait "${NODE_AGENT[1]}" 2>/dev/null
for i in 2 3; do node_stop "$i"; done
check "proofs are kept, for itself alone" 600 "$(stat -c %a "$TMP/n2/proofs")"
rm -rf "$TMP/n3"
start 2 --set sync.join=10.77.0.3 --set sync.restart_grace=3s
start 3 --set sync.join=10.77.0.2 --set sync.restart_grace=3s
until_ok 20 has_all 3 || fail "who has nothing is not told what node 1 proved: $(api_of 3 /v1/waymark/sync)"
for what in replica_forged replica_unproved; do check "$what" 0 "$(count_of 3 $what)"; done

# --- nobody knows of a member that it was: it is as one that failed
passing_far() { [ "$(api_of "$1" '/v1/health/service/far?passing' | jq length)" = "$2" ]; }
for i in 2 3; do
	until_ok 20 passing_far $i 0 || fail "node $i takes node 1 for alive, of which no member tells"
done
check "its serfHealth" critical "$(api_of 2 /v1/health/node/n1 | jq -r '.[] | select(.CheckID == "serfHealth").Status')"
matches "the log says so" 'event=member.unknown node=n1 ' "$(cat "$TMP/n3.log")"

# --- the agent comes back and has not lost its place
start 1
register_on 1 far-31 far 10.77.0.1 31 >/dev/null
told() { [ "$(api_of "$1" /v1/catalog/service/far | jq length)" = 31 ]; }
for i in 2 3; do
	until_ok 20 told $i || fail "node $i does not hear of node 1 any more"
	until_ok 20 passing_far $i 31 || fail "node $i does not take node 1 for alive again"
done
for i in 1 2 3; do node_stop "$i"; done
done_testing

#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# test_mesh_rolling.sh - all agents of a mesh with TLS are restarted one after the other, while on each node a
# client asks DNS and connects: nobody sees a failure. ROLLING (8) is how many there are.
source "$(dirname "${BASH_SOURCE[0]}")/../net/lib.sh"
source "$(dirname "${BASH_SOURCE[0]}")/../net/mesh.sh"

ROLLING=${ROLLING:-8}
mapfile -t ALL < <(seq "$ROLLING")
mesh_up "$ROLLING"
mesh_keys "$ROLLING"
# shellcheck disable=SC2046 # a word each
for i in "${ALL[@]}"; do node_agent "$i" $(tls_of "$i"); done
until_ok 60 all_alive "$ROLLING" "${ALL[@]}" || fail "not all are alive everywhere"
clients_up "${ALL[@]}"
clients_mark "${ALL[@]}"
for i in "${ALL[@]}"; do
	node_stop "$i"
	# shellcheck disable=SC2046
	node_agent "$i" $(tls_of "$i")
	until_ok 30 all_alive "$ROLLING" "$i" || fail "node $i does not know all again"
done
until_ok 30 same_digests "${ALL[@]}" || fail "digests differ"
clients_saw "$ROLLING agents restarted one by one" "${ALL[@]}"
read -r _ f _ d < <(clients_since web "${ALL[@]}")
check "failed questions and connects while all were restarted" "0 0" "$f $d"
touch "$TMP/stop-clients"
for i in "${ALL[@]}"; do node_stop "$i"; done
done_testing

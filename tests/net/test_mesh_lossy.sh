#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# test_mesh_lossy.sh - four agents with certificates on a network that loses LOSS per cent of their packets at
# random (nft's numgen, which is what iptables calls `statistic`), cut in half meanwhile: what is registered and
# deregistered is everywhere, while it loses, and after the cut; nothing comes back; what clients saw.
source "$(dirname "$0")/lib.sh"
source "$(dirname "$0")/mesh.sh"

ALL="1 2 3 4"
LOSS=${LOSS:-30}
mesh_up 4
mesh_keys 4
# shellcheck disable=SC2046 # words
for i in $ALL; do node_agent "$i" $(tls_of "$i") --set sync.profile=lan; done
until_ok 30 all_alive 4 $ALL || fail "not all are there"
clients_up $ALL
clients_mark $ALL
for i in $ALL; do churn_on "$i" before; done
churn_is_everywhere "before" $ALL
lose "$LOSS" || {
	echo "skipped: kernel refuses numgen in a rule: $(tail -n 1 "$TMP/nft")"
	exit 77
}

# --- it loses ------------------------------------------------------------------------------------------------
# who was taken for failed says that it is not: what counts is that all come to the same, and clients
for n in 1 2 3; do for i in $ALL; do churn_on "$i" "loss$n"; done; done
churn_is_everywhere "$LOSS % lost" $ALL
clients_saw "$LOSS % lost" $ALL
lost=$(lost)
[ "$lost" -gt 0 ] && echo "seen: $lost packets were lost" || fail "nothing was lost"

# --- it loses, and is cut in half ------------------------------------------------------------------------------
cut_mesh "1 2" "3 4"
until_ok 60 all_alive 2 $ALL || fail "the cut is not noticed"
for i in $ALL; do churn_on "$i" half; done
check "what is registered on one side is not seen on the other" "" "$(passing_at 4 churn | tr ' ' '\n' | grep ^c1-half)"
heal_mesh
lose "$LOSS"
until_ok 60 all_alive 4 $ALL || fail "not all find each other: $(for i in $ALL; do alive_at "$i"; done | paste -sd' ')"
churn_is_everywhere "healed, and it loses on" $ALL
clients_saw "healed, and it loses on" $ALL

# --- and loses no more -----------------------------------------------------------------------------------------
heal_mesh
for i in $ALL; do churn_on "$i" good; done
until_ok 60 all_alive 4 $ALL || fail "not all are there"
churn_is_everywhere "nothing is lost any more" $ALL
until_ok 30 ctl_of 1 sync verify >/dev/null || fail "not all have the same: $(ctl_of 1 sync verify)"
clients_mark $ALL
clients_well 20 $ALL || fail "connects fail"
touch "$TMP/stop-clients"
for i in $ALL; do
	echo "seen: node $i took $(count_of "$i" member_failures) members for failed"
	node_stop "$i"
done
done_testing

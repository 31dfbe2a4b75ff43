#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# test_mesh_cuts.sh - five agents with certificates, cut by nft: in half, one way between two, one that hears
# nobody, two halves with a bridge, each second. Both sides register and deregister; healed, all have the same, nothing
# comes back, nothing is lost; what clients on each node saw of it.
source "$(dirname "$0")/lib.sh"
source "$(dirname "$0")/mesh.sh"

ALL="1 2 3 4 5"
mesh_up 5
mesh_keys 5
# shellcheck disable=SC2046 # words
for i in $ALL; do node_agent "$i" $(tls_of "$i"); done
{ # all words of ALL
	until_ok 20 all_alive 5 $ALL || fail "not all are there"
	clients_up $ALL
	clients_mark $ALL
}
for i in $ALL; do churn_on "$i" before; done
failures() { # nodes: how many members failed, as they saw it
	local i n=0
	for i in "$@"; do n=$((n + $(count_of "$i" member_failures))); done
	echo $n
}
healed() { # what happened
	heal_mesh
	until_ok 30 all_alive 5 $ALL || fail "$1: not all find each other: $(for i in $ALL; do alive_at $i; done | paste -sd' ')"
	churn_is_everywhere "$1" $ALL
	until_ok 20 passes_on web "web-1 web-2 web-3 web-4 web-5" $ALL || fail "$1: web is not everywhere"
	clients_saw "$1" $ALL
	clients_well 20 $ALL || fail "$1: connects fail after healing"
	clients_mark $ALL
}
churn_is_everywhere "before" $ALL

# --- in half -------------------------------------------------------------------------------------------------
cut_mesh "1 2" "3 4 5"
until_ok 20 all_alive 2 1 2 || fail "nodes 1 and 2 do not notice the cut"
until_ok 20 all_alive 3 3 4 5 || fail "nodes 3 to 5 do not notice the cut"
for i in 1 3 5; do churn_on "$i" half; done
check "what is registered on one side is not seen on the other" "" "$(passing_at 4 churn | tr ' ' '\n' | grep ^c1-half)"
clients_well 10 1 2 || fail "connects fail on nodes 1 and 2, though the others are known to be gone"
clients_well 10 3 4 5 || fail "connects fail on nodes 3 to 5, though the others are known to be gone"
healed "in half"

# --- one way between two: others see both ----------------------------------------------------------------------
before=$(failures $ALL)
cut_one_way 1 2
for i in 1 2; do churn_on "$i" way; done
churn_is_everywhere "one way, while cut" $ALL
sleep 3 # some rounds of probes: time in which an agent would be accused
check "one way: nobody failed" 0 $(($(failures $ALL) - before))
healed "one way"

# --- who hears nobody accuses all, and is not believed -----------------------------------------------------------
before=$(failures 2 3 4 5)
cut_one_way "2 3 4 5" 1
until_ok 30 all_alive 4 2 3 4 5 || fail "the deaf one is not noticed"
for i in 1 4; do churn_on "$i" deaf; done
sleep 3
check "deaf: the others took only it for failed" 4 $(($(failures 2 3 4 5) - before))
clients_well 10 2 3 4 5 || fail "connects fail on nodes 2 to 5 beside a deaf node"
healed "deaf"

# --- a bridge: 1 and 2 do not reach 3 and 4, all reach 5 -----------------------------------------------------------
before=$(failures $ALL)
cut_mesh "1 2" "3 4"
for i in 2 3; do churn_on "$i" bridge; done
churn_is_everywhere "bridge, while cut" $ALL
sleep 3
check "bridge: nobody failed" 0 $(($(failures $ALL) - before))
healed "bridge"

# --- each second, for 20 seconds ---------------------------------------------------------------------------------
(
	for _ in 1 2 3 4 5 6 7 8 9 10; do
		cut_mesh "1 2" "3 4 5"
		sleep 1
		heal_mesh
		sleep 1
	done
	cut_mesh 9 9 # as `healed` ends a cut
) &
flapping=$!
for n in 1 2 3 4; do for i in 1 5; do churn_on "$i" "flap$n"; done; done
wait $flapping
healed "each second"

touch "$TMP/stop-clients"
for i in $ALL; do node_stop "$i"; done
done_testing

#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# test_mesh_relay.sh - four agents with certificates, whose network loses, delays, doubles and reorders: a tenth of
# what agents say is dropped by nft, then one of them has a cable (relay.py) on which frames take 10 to 120 ms each by
# itself. Nobody is taken for failed, what is registered and deregistered is everywhere, no client sees any of it.
source "$(dirname "$0")/lib.sh"
source "$(dirname "$0")/mesh.sh"

ALL="1 2 3 4"
LOSS=10
mesh_up 4
mesh_keys 4
# shellcheck disable=SC2046 # words
for i in $ALL; do
	on "$i" /usr/bin/python3 tests/net/relay.py offload eth0 || fail "the kernel does not finish its frames"
	node_agent "$i" $(tls_of "$i") --set sync.profile=lan
done
until_ok 30 all_alive 4 $ALL || fail "not all are there"
clients_up $ALL
clients_mark $ALL

failures() {
	local i n=0
	for i in $ALL; do n=$((n + $(count_of "$i" member_failures))); done
	echo $n
}
well() { # what happened, while it happens
	local c d
	churn_is_everywhere "$1" $ALL
	until_ok 20 ctl_of 1 sync verify >/dev/null || fail "$1: not all have the same: $(ctl_of 1 sync verify)"
	check "$1: members taken for failed" 0 $(($(failures) - BEFORE))
	clients_saw "$1" $ALL
	read -r _ _ c d < <(clients_since web $ALL)
	check "$1: connects failed, of $c" 0 "$d"
	clients_mark $ALL
}
BEFORE=$(failures)
for i in $ALL; do churn_on "$i" before; done
well "nothing yet"

# --- loss ------------------------------------------------------------------------------------------------------
if lose $LOSS; then
	for n in 1 2; do for i in $ALL; do churn_on "$i" "loss$n"; done; done
	sleep 3 # some rounds of probes, in which an agent would be accused
	well "$LOSS % lost"
	n=$(lost)
	[ "$n" -gt 0 ] && echo "seen: $n packets were lost" || fail "nothing was lost"
else
	echo "skipped: kernel refuses numgen in a rule: $(tail -n 1 "$TMP/nft")"
fi
heal_mesh

# --- delay, doubles, disorder ------------------------------------------------------------------------------------
ip link add r4 type veth peer name rb4
ip link set rb4 master mesh0 up
ip link set r4 up
ip link set m4 nomaster
(exec /usr/bin/python3 tests/net/relay.py m4 r4 10 120 5 "$TMP/relayed") &
RELAY=$!
for n in 1 2; do for i in $ALL; do churn_on "$i" "relay$n"; done; done
sleep 3
well "10 to 120 ms, 5 % twice"
kill -TERM $RELAY
wait $RELAY
read -r passed overtook twice <"$TMP/relayed"
echo "seen: $passed frames, $overtook overtook another, $twice went twice"
[ "$overtook" -gt 0 ] && [ "$twice" -gt 0 ] || fail "the cable was a good one"

# --- and a good one again ------------------------------------------------------------------------------------------
ip link set m4 master mesh0
for i in 1 4; do churn_on "$i" good; done
well "a good cable again"
touch "$TMP/stop-clients"
for i in $ALL; do node_stop "$i"; done
done_testing

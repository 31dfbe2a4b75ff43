#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# test_mesh_pause.sh - an agent of five stands still (SIGSTOP) for PAUSES seconds, and has 5 % of a processor:
# nobody else is accused, neither by it nor beside it; it is back by itself; clients on its node are served on by
# its kernel. Timers are those of a LAN, as by default.
source "$(dirname "$0")/../net/lib.sh"
source tests/net/mesh.sh

ALL="1 2 3 4 5"
QUOTA_S=${QUOTA_S:-10}
mesh_up 5
mesh_keys 5
# shellcheck disable=SC2046 # words
for i in $ALL; do node_agent "$i" $(tls_of "$i") --set sync.profile=lan; done
until_ok 30 all_alive 5 $ALL || fail "not all are there"
clients_up $ALL
clients_mark $ALL
for i in $ALL; do churn_on "$i" before; done
churn_is_everywhere "before" $ALL

failed_at() { count_of "$1" member_failures; }
others_failed() { # how many members failed as nodes 1, 3, 4, 5 saw it
	local i n=0
	for i in 1 3 4 5; do n=$((n + $(failed_at "$i"))); done
	echo $n
}
returned() { # what happened: node 2 is there again for all, and has what it missed
	until_ok 30 all_alive 5 $ALL || fail "$1: not all find each other"
	churn_is_everywhere "$1" $ALL
	clients_saw "$1" $ALL
	clients_well 20 $ALL || fail "$1: connects fail afterwards"
	clients_mark $ALL
}

for pause in ${PAUSES:-1 10}; do
	others=$(others_failed) own=$(failed_at 2)
	kill -STOP "${NODE_AGENT[2]}"
	for i in 1 3; do churn_on "$i" "pause$pause"; done
	sleep "$pause"
	kill -CONT "${NODE_AGENT[2]}"
	returned "stopped for $pause s"
	check "stopped for $pause s: whom it accused on its return" 0 $(($(failed_at 2) - own))
	seen=$(($(others_failed) - others))
	echo "seen: stopped for $pause s: failed for $seen of 4 others"
	[ "$seen" -le 4 ] || fail "stopped for $pause s: others than it failed"
done

# --- 5 % of a processor: it runs for 5 ms of each 100 ms, as with cpu.max "5000 100000" -------------------------
others=$(others_failed) own=$(failed_at 2)
(
	end=$((SECONDS + QUOTA_S))
	while [ $SECONDS -lt $end ]; do
		kill -STOP "${NODE_AGENT[2]}"
		sleep 0.095
		kill -CONT "${NODE_AGENT[2]}"
		sleep 0.005
	done
) &
quota=$!
for i in 1 3; do churn_on "$i" quota; done
wait $quota
returned "5 % of a processor"
check "5 % of a processor: whom it accused" 0 $(($(failed_at 2) - own))
seen=$(($(others_failed) - others))
echo "seen: 5 % of a processor: failed for $seen of 4 others"
[ "$seen" -le 4 ] || fail "5 % of a processor: others than it failed"

touch "$TMP/stop-clients"
for i in $ALL; do node_stop "$i"; done
done_testing

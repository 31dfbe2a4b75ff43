#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# test_mesh_slow_store.sh - a node whose disk is slow hears of an object again and again while what it heard
# before is being stored: it ends with the last word, and so does who has it from that node.
source "$(dirname "$0")/lib.sh"
source "$(dirname "$0")/mesh.sh"

slow() {
	SLOW_SYNC_MS=400 LD_PRELOAD=$PWD/build/release/tests/slow_sync.so \
		ASAN_OPTIONS=${ASAN_OPTIONS:+$ASAN_OPTIONS:}verify_asan_link_order=0 "$@"
}
say() { api_of 2 -o /dev/null -w '%{http_code}\n' -X PUT "/v1/agent/check/$1/beat"; }
word_at() { api_of "$1" /v1/health/node/n2 | jq -r '.[] | select(.CheckID == "beat").Status'; }
last_word() { # status, nodes
	local i status=$1
	shift
	for i in "$@"; do [ "$(word_at "$i")" = "$status" ] || return 1; done
}
stored() { [ "$(api_of 1 /v1/waymark/sync | jq .waiting)" = 0 ]; } # all that node 1 heard
mesh_up 3
slow node_agent 1 "${INSECURE[@]}"
for i in 2 3; do node_agent "$i" "${INSECURE[@]}"; done
until_ok 20 all_alive 3 1 2 3 || fail "not all are there"
check "a check of node 2" 200 "$(api_of 2 -o /dev/null -w '%{http_code}' -X PUT -d '{"CheckID": "beat", "Name": "beat", "TTL": "1h", "Status": "passing"}' /v1/agent/check/register)"
until_ok 20 last_word passing 1 2 3 || fail "the check is not everywhere"
for round in 1 2 3 4; do
	for status in fail pass fail pass; do
		say "$status" >/dev/null
		sleep 0.1
	done
	until_ok 10 stored || fail "node 1 does not come to an end"
	until_ok 10 last_word passing 1 2 3 || fail "round $round: node 1 has $(word_at 1), node 3 $(word_at 3)"
	until_ok 10 same_digests 1 2 3 || fail "round $round: digests differ"
	check "round $round: all have the last word" "passing passing passing" "$(word_at 1) $(word_at 2) $(word_at 3)"
done

# who comes back while node 1 is storing, and cannot ask another, has it from node 1
node_stop 3 KILL
say fail >/dev/null
until_ok 20 last_word critical 1 2 || fail "node 1 has $(word_at 1)"
say pass >/dev/null
node_agent 3 "${INSECURE[@]}"
until_ok 20 last_word passing 1 2 3 || fail "node 1 has $(word_at 1), node 3 $(word_at 3)"
for i in 1 2 3; do node_stop "$i"; done
done_testing

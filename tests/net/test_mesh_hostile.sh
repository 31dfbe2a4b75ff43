#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# test_mesh_hostile.sh - three agents, and a peer with a valid certificate that means harm (hostile_peer.py): it
# says that it is another, claims what is another's, accuses, sends what cannot be read, clocks from the future,
# replays, floods, pages without end, bombs. Each is refused, counted and ended, or passed over; the others go on.
source "$(dirname "$0")/lib.sh"
source "$(dirname "$0")/mesh.sh"
source "$(dirname "$0")/hostile.sh"

ALL="1 2 3"
mesh_up 4
mesh_keys 4
# shellcheck disable=SC2046 # words
for i in $ALL; do node_agent "$i" $(tls_of "$i"); done
until_ok 30 all_alive 3 $ALL || fail "not all are there"
clients_up $ALL
clients_mark $ALL
for i in $ALL; do churn_on "$i" before; done
churn_is_everywhere "before" $ALL

hostile_up 4
all_of_us() { [ "$(api_of 1 /v1/waymark/members | jq '[.[] | select(.state == "alive" and .name != "n4")] | length')" = 3 ]; }

# --- no attack: a probe is answered, and carries nothing ------------------------------------------------------------
for _ in 1 2 3 4; do # as `attack` does
	echo "beside-a-probe open" >&"${PEER[1]}"
	read -r -t 60 SEEN <&"${PEER[0]}"
	[[ $SEEN =~ ^open|over ]] && break
done
check "beside a probe, a stream's messages" open "$SEEN"

# --- who it says it is -----------------------------------------------------------------------------------------------
attack another-name closed sync_streams_refused 'its certificate names another node'
attack another-id closed sync_streams_refused 'its id is that of another node'
attack another-datacenter closed sync_streams_refused 'it is of another datacenter'
attack another-version closed sync_streams_refused 'it speaks another version'
attack short-id closed sync_streams_refused 'its hello names no node'
attack long-hello closed sync_streams_refused 'hello: a message of [0-9]+ octets, 1024 are allowed'
attack no-hello closed sync_streams_refused 'its first frame is no hello'
attack plain closed frames_failed ''
attack name-in-state open member_clashes ''

# --- what it sends ------------------------------------------------------------------------------------------------------
attack no-frame closed frames_too_long ''
attack frame-over-bound closed frames_too_long ''
attack second-hello closed sync_streams_refused 'a second hello'
attack junk-state closed sync_streams_refused ''
attack junk-spread closed sync_streams_refused 'a message of its tree cannot be read'
attack junk-replica closed sync_streams_refused ''
attack junk-request closed sync_streams_refused 'a request cannot be read'
attack junk-reply closed sync_streams_refused 'a reply cannot be read'
attack junk-verify closed sync_streams_refused 'a comparison cannot be read'
attack another-stop closed sync_streams_refused "it speaks of another agent's stop"
attack asks-as-a-leaf open "" ''
check "who is no leaf is served nothing" "0 true" "$(api_of 1 /v1/waymark/sync | jq -r '.served | "\(.leaves) \(.strangers > 0)"')"
attack claimed-size closed sync_streams_refused 'a message claims [0-9]+ octets'
attack bomb closed sync_streams_refused ''

# --- what it claims, and how much ---------------------------------------------------------------------------------------
attack victims-log open replica_foreign ''
# of node 2's log, which node 1 holds: what node 2 did not prove is dropped, and who told it is named
for forged in forged-news forged-proof forged-removal; do
	attack "$forged" open replica_forged 'node=n4 text=.*is not what that agent proved: dropped'
	passes_on web "web-1 web-2 web-3" $ALL || fail "$forged: web is another: $(passing_at 1 web)"
done
for i in 2 3; do check "$forged: it is not passed on to node $i" 0 "$(count_of "$i" replica_forged)"; done
attack accuse open "" ''
until_ok 20 all_of_us || fail "accuse: an agent that was accused does not refute it"
attack clock-ahead open replica_ahead 'is [0-9]+ ms ahead of ours'
attack replay open "" ''
attack pages closed "" ''
rss() { awk '$1 == "VmRSS:" {print $2}' "/proc/${NODE_AGENT[1]}/status"; }
attack flood '(closed|open)' "" ''
attack connections open "" ''
matches "what no stream came of is a metric" '^waymark_frames_failed_total [1-9]' "$(api_of 1 '/v1/agent/metrics?format=prometheus')"
echo "seen: the victim has $(($(rss) / 1024)) MiB"

# --- all others are as before ---------------------------------------------------------------------------------------------
fd=${PEER[1]}
exec {fd}>&-
until_ok 60 all_alive 3 $ALL || fail "not all are there afterwards: $(for i in $ALL; do alive_at "$i"; done | paste -sd' ')"
for i in $ALL; do churn_on "$i" after; done
churn_is_everywhere "afterwards" $ALL
until_ok 20 passes_on web "web-1 web-2 web-3" $ALL || fail "web is not everywhere"
clients_saw "all of it" $ALL

touch "$TMP/stop-clients"
for i in $ALL; do node_stop "$i"; done
done_testing

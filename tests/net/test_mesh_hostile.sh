#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# test_mesh_hostile.sh - three agents, and a peer with a valid certificate that means harm (hostile_peer.py): it
# says that it is another, claims what is another's, accuses, sends what cannot be read, clocks from the future,
# replays, floods, pages without end, bombs. Each is refused, counted and ended, or passed over; the others go on.
source "$(dirname "$0")/lib.sh"
source "$(dirname "$0")/mesh.sh"

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

id_of() { api_of "$1" /v1/agent/members | jq -r ".[] | select(.Name == \"n$1\").Tags.id"; }
coproc PEER { exec nsenter --net="/proc/${NODE_NS[4]}/ns/net" -- /usr/bin/python3 tests/net/hostile_peer.py "$TMP/ca" n4 10.77.0.4 10.77.0.1 \
	"n2 10.77.0.2 $(id_of 2)" "$(id_of 1)" 2>"$TMP/peer.log"; }
count() { api_of 1 /v1/waymark/sync | jq ".counters.$1 // error(\"no such counter\")"; }
unharmed() { # attack
	check "$1: node 1 answers" 200 "$(api_of 1 -o /dev/null -w '%{http_code}' /v1/health/service/web)"
	[ -e "/proc/${NODE_AGENT[1]}" ] || fail "$1: the agent of node 1 is gone"
}
grew() { [ "$(count "$1")" -gt "$2" ]; }
attacked() { # as `attack`: did it go so?
	local before
	[ -z "$3" ] || before=$(count "$3")
	echo "$1 $2" >&"${PEER[1]}"
	read -r -t 60 SEEN <&"${PEER[0]}" || SEEN="no answer: $(tail -n 3 "$TMP/peer.log" | paste -sd' ')"
	[[ $SEEN =~ ^(closed|$2) ]] || return 1
	[ -z "$3" ] || until_ok 5 grew "$3" "$before" || return 1
	[ -z "$4" ] || until_ok 2 grep -qE "$4" "$TMP/n1.log"
}
# The peer answers no probes: it may be taken for failed, and its stream be ended, before it was heard. Then it
# tries again.
attack() { # its name, "closed" or "open" (either), a counter that grows or "", a pattern of the log or ""
	local n
	for n in 1 2 3 4; do
		if attacked "$@"; then
			echo "ok: $1: $SEEN${3:+, counted as $3}${4:+, the log says why}"
			break
		fi
		[ "$n" -lt 4 ] || fail "$1: the stream: $SEEN; ${3:-nothing} did not grow, or the log does not say /$4/"
	done
	unharmed "$1"
}
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
attack long-hello closed sync_streams_refused 'its hello cannot be read'
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
attack claimed-size closed sync_streams_refused 'a message claims [0-9]+ octets'
attack bomb closed sync_streams_refused ''

# --- what it claims, and how much ---------------------------------------------------------------------------------------
attack victims-log open replica_foreign ''
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

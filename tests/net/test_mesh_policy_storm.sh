#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# test_mesh_policy_storm.sh - two nodes write policies that contradict each other, lead in circles or are none
# (policy_storm.py), at the same time, also while they cannot hear each other; one deletes what the other writes.
# Both have the same policies and choose alike afterwards, and what each has is what its tables say.
source "$(dirname "$0")/lib.sh"
source "$(dirname "$0")/mesh.sh"

SEED=${SEED:-1} # another writes otherwise
storm() { # what, writes: on both
	local i p pids=()
	for i in 1 2; do
		SEED=$((SEED + 1))
		on "$i" /usr/bin/python3 tests/net/policy_storm.py $SEED "$2" >"$TMP/storm-$i" &
		pids[i]=$!
	done
	for i in 1 2; do
		wait "${pids[i]}" && p=ok || p=FAILED
		[ $p = ok ] || fail "$1: node $i does not answer as it should: $(tail -n 8 "$TMP/storm-$i")"
		echo "$p: $1: node $i: $(tail -n 1 "$TMP/storm-$i")"
	done
}
# Without what is each node's own: indexes.
policies_at() { api_of "$1" /v1/waymark/policies | jq -cS 'map(del(.create_index, .modify_index)) | sort_by(.service)'; }
# Whom each service leads to, and how often.
choices_at() { # node
	local s
	for s in web api db cache nobody; do
		api_of "$1" "/v1/waymark/policies/$s/explain" | jq -cS '[.service, .selects_of, .redirected, .verdict,
			[.tiers[] | {what, service, subset, percent, share, members: [.members[] | {id, odds}]}]]' 2>/dev/null || echo "$s: none"
	done
}
same() { # what is asked of each node
	local one
	one=$("$1" 1) && [ -n "$one" ] && [ "$one" = "$("$1" 2)" ]
}
# Registry, tables and kernel of a node: nobody listens where the instances are said to be.
agrees() { # node
	ctl_of "$1" --json truth >"$TMP/truth-$1" 2>&1
	[ "$(jq '[.differences[] | select(.kind != "not_listening")] | length' "$TMP/truth-$1")" = 0 ]
}
verified() { ctl_of 1 sync verify | grep '^all that were asked have the same$'; }
converged() { # what
	until_ok 30 same_digests 1 2 || fail "$1: digests differ"
	until_ok 10 same policies_at || fail "$1: node 1 has $(policies_at 1), node 2 has $(policies_at 2)"
	until_ok 10 same choices_at || fail "$1: they choose otherwise: $(diff <(choices_at 1) <(choices_at 2))"
	until_ok 10 verified || fail "$1: $(ctl_of 1 sync verify)"
	for i in 1 2; do until_ok 10 agrees $i || fail "$1: node $i: $(cat "$TMP/truth-$i")"; done
	echo "ok: $1: both have the same $(policies_at 1 | jq length) policies, as do their tables"
}

begin() { node_agent "$1" "${INSECURE[@]}" --set kernel.truth_interval=0 --set "node.meta=region=r$1"; } # node
mesh_up 2
for i in 1 2; do begin "$i"; done
until_ok 20 all_alive 2 1 2 || fail "not both are there"
for i in 1 2; do
	n=1
	for s in web api db cache; do
		n=$((n + 1))
		check "$s on node $i" 200 "$(register_on "$i" "$s-$i" "$s" "10.77.0.$i" "808$n" "\"Meta\": {\"version\": \"$i\"}")"
	done
done
until_ok 10 passes_on cache "cache-1 cache-2" 1 2 || fail "not both have all"

# --- at the same time --------------------------------------------------------------------------------------
storm "at the same time" 150
converged "at the same time"

# --- what is no policy, by waymarkctl ----------------------------------------------------------------------
before=$(policies_at 1)
mkdir "$TMP/bad" "$TMP/bad/directory"
: >"$TMP/bad/empty"
echo '{"panic_threshold": 5' >"$TMP/bad/half"
echo '[{"panic_threshold": 5}]' >"$TMP/bad/list"
printf '{"panic_threshold": 5}\0{"panic_threshold": 6}' >"$TMP/bad/nul"
printf '{"protocol": "\xff\xfe"}' >"$TMP/bad/octets"
echo '{"service": "db", "panic_threshold": 5}' >"$TMP/bad/another"
head -c 2000000 /dev/zero | tr '\0' 7 >"$TMP/bad/long"
for f in "$TMP"/bad/* "$TMP/bad/none"; do
	if said=$(ctl_of 1 policy set web "$f" 2>&1); then
		fail "policy set of ${f##*/} is taken: $said"
	else
		matches "policy set refuses ${f##*/}" '^waymarkctl: .+' "$said"
	fi
done
check "nothing of it was kept" "$before" "$(policies_at 1)"

# --- with a cut between them -------------------------------------------------------------------------------
cut_mesh 1 2
until_ok 20 all_alive 1 1 2 || fail "the cut is not noticed"
storm "cut apart" 150
heal_mesh
until_ok 30 all_alive 2 1 2 || fail "the halves do not find each other"
converged "cut apart"

# --- while they are cut and healed -------------------------------------------------------------------------
(
	while [ ! -e "$TMP/stop" ]; do
		cut_mesh 1 2
		sleep 0.3
		heal_mesh
		sleep 0.3
	done
) &
flapping=$!
storm "on and off" 150
touch "$TMP/stop"
wait $flapping
until_ok 30 all_alive 2 1 2 || fail "the halves do not find each other"
converged "on and off"

# --- one deletes what the other writes: who was last ------------------------------------------------------------
put_on() { ctl_of "$1" policy set "$2" - <<<"$3" >"$TMP/set" 2>&1 || fail "node $1 does not set $2: $(cat "$TMP/set")"; } # node, service, body
panic_at() { api_of "$1" "/v1/waymark/policies/$2" | jq -r .panic_threshold 2>/dev/null || echo none; }
panics() { [ "$(panic_at 1 "$1") $(panic_at 2 "$1")" = "$2 $2" ]; } # service, expected
put_on 1 web '{"panic_threshold": 1}'
put_on 1 db '{"panic_threshold": 1}'
until_ok 10 panics web 1 || fail "web is not on both"
until_ok 10 panics db 1 || fail "db is not on both"
cut_mesh 1 2
until_ok 20 all_alive 1 1 2 || fail "the cut is not noticed"
check "node 1 deletes" "deleted web" "$(ctl_of 1 policy delete web)"
sleep 0.1
put_on 2 web '{"panic_threshold": 2}'
put_on 1 db '{"panic_threshold": 2}'
sleep 0.1
check "node 2 deletes" "deleted db" "$(ctl_of 2 policy delete db)"
heal_mesh
until_ok 30 all_alive 2 1 2 || fail "the halves do not find each other"
until_ok 15 panics web 2 || fail "what was written behind a removal: $(panic_at 1 web), $(panic_at 2 web)"
until_ok 15 panics db none || fail "what was removed behind a write: $(panic_at 1 db), $(panic_at 2 db)"
converged "deleted and written"

# --- there after kill -9 ---------------------------------------------------------------------------------------
before=$(policies_at 1)
node_stop 2 KILL
begin 2
until_ok 20 all_alive 2 1 2 || fail "node 2 is not back"
converged "after kill -9"
check "nothing changed" "$before" "$(policies_at 2)"
for i in 1 2; do node_stop "$i"; done
done_testing

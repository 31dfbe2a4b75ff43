#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# A client stays with its backend as long as the policy's affinity says and the backend is usable; another
# takes its place when it goes; the agent's end and return change nothing.
# shellcheck source=tests/net/lib.sh
. "$(dirname "$0")/lib.sh"
command -v setpriv >/dev/null || {
	echo "skipped: setpriv is missing"
	exit 77
}

start_agent --set node.meta=region=eu,zone=a
at() { # id, last octet
	[ -n "${3:-}" ] || backend "$1" "127.1.0.$2" 8080
	check "register $1" 200 "$(code -X PUT "$API/v1/agent/service/register" -d "{\"ID\": \"$1\", \"Name\": \"web\",
		\"Address\": \"127.1.0.$2\", \"Port\": 8080, \"Meta\": {\"id\": \"$1\"},
		\"Check\": {\"CheckID\": \"ttl-$1\", \"TTL\": \"10m\", \"Status\": \"passing\"}}")"
}
for i in 1 2 3 4 5 6; do at w$i $i; done
V4=$(vip4 web)
policy() { operator -X PUT "$API/v1/waymark/policies/web" -d "$1"; }
as() { inside setpriv --reuid="$1" --clear-groups -- curl -s --max-time 20 "http://$V4/" | grep -o '^w[0-9]'; } # uid
who() { for _ in $(seq "$2"); do as "$1"; done | sort -u | xargs; }                                              # uid, dials
both() { bpftool -j map dump pinned "$PINS/maps/counters" | jq "[.[].formatted.values[]?.value.$1] | add"; }

check "without it clients go anywhere" 1 "$([ "$(who 1001 40 | wc -w)" -gt 3 ]; echo $((1 - $?)))"
check "a policy" '{"warnings":[]}' "$(policy '{"affinity": {"key": "uid", "timeout": "1h"}}')"
declare -A HAS
for u in 1001 1002 1003 1004; do
	HAS[$u]=$(who $u 15)
	check "client $u stays" 1 "$(wc -w <<<"${HAS[$u]}")"
done
check "clients differ" 1 "$([ "$(for u in "${!HAS[@]}"; do as "$u"; done | sort -u | wc -l)" -gt 1 ]; echo $((1 - $?)))"
check "counted" 1 "$([ "$(both connect_kept)" -ge 56 ]; echo $((1 - $?)))"
GONE=${HAS[1001]}
code -X PUT "$API/v1/agent/check/fail/ttl-$GONE" >/dev/null
NEXT=$(who 1001 15)
check "whose backend fails gets another" 1 "$(wc -w <<<"$NEXT")"
[ "$NEXT" != "$GONE" ] || fail "it is the one that failed"
for u in 1002 1003 1004; do
	[ "${HAS[$u]}" = "$GONE" ] || check "client $u stays" "${HAS[$u]}" "$(who $u 10)"
done
code -X PUT "$API/v1/agent/check/pass/ttl-$GONE" >/dev/null
check "and stays there" "$NEXT" "$(who 1001 15)"

# --- others come and go
for i in 7 8 9; do at w$i $i; done
check "a larger set moves nobody" "$NEXT" "$(who 1001 15)"
check "a policy that leaves it out" '{"warnings":[]}' "$(policy "{\"affinity\": {\"key\": \"uid\", \"timeout\": \"1h\"}, \"default_subset\": \"rest\",
	\"subsets\": {\"rest\": \"Service.Meta.id != $NEXT\"}}")"
AFTER=$(who 1001 15)
check "moves who was there, once" 1 "$(wc -w <<<"$AFTER")"
[ "$AFTER" != "$NEXT" ] || fail "it is in the set no more"

# --- a zone recovers, a split changes: who has a backend stays, who comes goes by what is said now
placed() { # id, service, last octet, zone
	backend "$1" "127.1.1.$3" 8080
	check "register $1" 200 "$(register "$1" "$2" "127.1.1.$3" 8080 "\"Meta\": {\"id\": \"$1\"},
		\"Locality\": {\"Region\": \"eu\", \"Zone\": \"$4\"}, \"Check\": {\"CheckID\": \"ttl-$1\", \"TTL\": \"10m\", \"Status\": \"passing\"}")"
}
placed near1 zoned 1 a
placed far1 zoned 2 b
placed old1 parts 3 a
placed new1 parts 4 a
of() { # uid, service, dials
	for _ in $(seq "$3"); do inside setpriv --reuid="$1" --clear-groups -- curl -s --max-time 20 "http://$(vip4 "$2")/" | grep -o '^[a-z]*1'; done | sort -u | xargs
}
policy_of() { check "policy of $1" '{"warnings":[]}' "$(operator -X PUT "$API/v1/waymark/policies/$1" -d "$2")"; }
UID_1H='"affinity": {"key": "uid", "timeout": "1h"}'
policy_of zoned "{\"select\": \"nearest\", $UID_1H}"
code -X PUT "$API/v1/agent/check/fail/ttl-near1" >/dev/null
check "a zone is down" far1 "$(of 1001 zoned 5)"
code -X PUT "$API/v1/agent/check/pass/ttl-near1" >/dev/null
check "it recovers: who had another stays" far1 "$(of 1001 zoned 10)"
check "who comes is of the zone" near1 "$(of 1002 zoned 10)"
split() { # percent of the old
	policy_of parts "{$UID_1H, \"subsets\": {\"old\": \"Service.Meta.id == old1\", \"new\": \"Service.Meta.id == new1\"},
		\"split\": [{\"percent\": $1, \"subset\": \"old\"}, {\"percent\": $((100 - $1)), \"subset\": \"new\"}]}"
}
split 100
check "a split" old1 "$(of 1001 parts 5)"
split 0
check "it changes: who has a backend stays" old1 "$(of 1001 parts 10)"
check "who comes goes to the other" new1 "$(of 1002 parts 10)"

# --- the agent is killed, and returns
stop_agent KILL
check "though the agent is dead" "$AFTER" "$(who 1001 10)"
start_agent --set node.meta=region=eu,zone=a
check "and after its return" "$AFTER" "$(who 1001 10)"
check "where a zone had recovered, too" far1 "$(of 1001 zoned 5)"

# --- what is known of a client is written when a part of his time has passed, or its end comes sooner
CLIENTS=$(map_id links/connect4 affinity)
until_of() { bpftool -j map dump id "$CLIENTS" | jq ".[].formatted | select(.key.client == $1).value.until_ns"; } # uid
as 1010 >/dev/null # of nothing but web
[ "$(until_of 1010 | wc -l)" = 1 ] || fail "entries of a client: $(until_of 1010)"
check "nobody is told twice" "$(until_of 1010)" "$(as 1010 >/dev/null; until_of 1010)"
UNTIL=$(until_of 1010)
check "a shorter time" '{"warnings":[]}' "$(policy '{"affinity": {"key": "uid", "timeout": "30m"}}')"
as 1010 >/dev/null
[ "$(until_of 1010)" -lt "$UNTIL" ] || fail "his time is the one of before"
check "a longer time" '{"warnings":[]}' "$(policy '{"affinity": {"key": "uid", "timeout": "2h"}}')"
as 1010 >/dev/null
[ "$(until_of 1010)" -gt "$UNTIL" ] || fail "his time is not the longer one"

# --- its time ends
check "a second" '{"warnings":[]}' "$(policy '{"affinity": {"key": "uid", "timeout": "1s"}}')"
seen=$(for _ in $(seq 12); do
	as 1001
	sleep 1.2
done | sort -u | wc -l)
check "then it is drawn anew" 1 "$([ "$seen" -gt 1 ]; echo $((1 - $?)))"
done_testing

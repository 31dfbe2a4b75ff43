#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# `waymarkctl monitor`: decisions as they are made, with what they were made of; who does not read loses
# some and is told so; nothing is told while nobody watches.
# shellcheck source=tests/net/lib.sh
. "$(dirname "$0")/lib.sh"

start_agent
backend one 127.0.0.2 8080
check "register one" 200 "$(register one web 127.0.0.2 8080)"
check "register two" 200 "$(register two api 127.0.0.3 8080 '"Check": {"CheckID": "ttl", "TTL": "10m", "Status": "critical"}')"
MONITORS=()
web=$(vip4 web) api=$(vip4 api)
mkdir "$CG/a" "$CG/b"
monitor() { # file, options of waymarkctl...
	local out=$1
	shift
	"$CTL" --agent "unix:$TMP/http.sock" --json monitor "$@" >"$out" &
	MONITORS+=($!)
}
stand() { [ "$(ss -xH state established | grep -cF "$TMP/http.sock")" -ge "${#MONITORS[@]}" ]; }
all_watch() { # from when each of them is connected; what it asks for is sent with that
	until_ok 20 stand || fail "not all are connected"
	sleep 0.5
}
watching() { [ "$(bpftool -j map dump pinned "$PINS/maps/config" | jq '.[0].formatted.value.flags / 8 | floor % 2')" = 1 ]; }
dial() { # cgroup below ours, address: a connect
	(
		echo $BASHPID >"$CG/$1/cgroup.procs"
		exec curl -s --max-time 20 "http://$2/"
	) >/dev/null
}
lines() { [ "$(wc -l <"$1")" -ge "$2" ]; }

check "nobody watches" 1 "$(watching; echo $?)"
monitor "$TMP/all"
monitor "$TMP/web" --service WEB --verdict picked
monitor "$TMP/b" --cgroup "$CG/b"
until_ok 20 watching || fail "nobody watches"
all_watch
dial a "$web"
dial b "$web"
dial a "$api"
dial b 240.9.9.9
until_ok 20 lines "$TMP/all" 4 || fail "four decisions: $(cat "$TMP/all")"
check "verdicts, in their order" "picked picked refused unknown" "$(jq -r .verdict "$TMP/all" | xargs)"
check "what was dialled" "$web:80 $web:80 $api:80 240.9.9.9:80" "$(jq -r .virtual "$TMP/all" | xargs)"
check "services" "web web api " "$(jq -r .service "$TMP/all" | paste -sd ' ')"
check "instance, address, why" "one n1 127.0.0.2:8080 0 drawn by weight" "$(jq -r 'select(.verdict == "picked") | "\(.instance) \(.node) \(.address) \(.tier) \(.why)"' "$TMP/all" | head -1)"
check "processes" curl "$(jq -r .process "$TMP/all" | sort -u)"
check "cgroups" "$CG/a $CG/b $CG/a $CG/b" "$(jq -r .cgroup "$TMP/all" | xargs)"
check "one service, one verdict" "web picked web picked" "$(jq -r '"\(.service) \(.verdict)"' "$TMP/web" | xargs)"
check "one cgroup" "picked unknown" "$(jq -r .verdict "$TMP/b" | xargs)"
"$CTL" --agent "unix:$TMP/http.sock" monitor >"$TMP/people" &
MONITORS+=($!)
all_watch
dial a "$web"
until_ok 20 lines "$TMP/people" 1
matches "for people" "picked +tcp $web:80 web -> 127.0.0.2:8080 one \(tier 0, drawn by weight\) curl\[[0-9]+\] $CG/a" "$(cat "$TMP/people")"

# --- what a choice of two went by; one of the two has a connection that stays
backend three 127.0.0.4 8080
check "register three" 200 "$(register three web 127.0.0.4 8080 '"Locality": {"Region": "r", "Zone": "z3"}')"
operator -X PUT "$API/v1/waymark/policies/web" -d '{"balance": "least_connections"}' >/dev/null
monitor "$TMP/two" --service web
all_watch
(
	echo $BASHPID >"$CG/a/cgroup.procs"
	# shellcheck disable=SC2016 # the inner shell's
	exec bash -c 'exec 9<>"/dev/tcp/$0/80"; exec sleep 600' "$web"
) &
HOLD=$!
until_ok 20 lines "$TMP/two" 1 || fail "the connection that stays is not told"
held=$(jq -r .instance "$TMP/two")
dial a "$web"
until_ok 20 lines "$TMP/two" 2 || fail "the connection beside it is not told"
check "the other is chosen, by fewer connections" "true least_connections fewer connections, of two 1 $held 2 true" \
	"$(sed -n 2p "$TMP/two" | jq -r "\"\(.instance != \"$held\") \(.balance) \(.why) \(.score) \(.other) \(.other_score) \(.generation > 0)\"")"
check "where it is" "r z3" "$(jq -r 'select(.instance == "three") | "\(.region) \(.zone)"' "$TMP/two" | head -1)"
matches "for people" "\(tier 0(, zone z3)?, fewer connections, of two: 1, and $held 2\)" "$(tail -1 "$TMP/people")"
kill "$HOLD"

# --- an instance of another service, where a policy leads
operator -X PUT "$API/v1/waymark/policies/api" -d '{"redirect": {"service": "web"}}' >/dev/null
monitor "$TMP/led" --service api
led() { dial a "$api"; grep -q picked "$TMP/led"; }
until_ok 20 led || fail "nobody is led there"
matches "whom a policy leads to" '^api (one|three) n1$' "$(jq -r 'select(.verdict == "picked") | "\(.service) \(.instance) \(.node)"' "$TMP/led" | head -1)"

# --- bounds
long=/$(printf '%0512d' 0)
check "a cgroup that is too long" "400 cgroup: at most 511 octets" "$(operator_code "$API/v1/waymark/flows?cgroup=$long") $(operator "$API/v1/waymark/flows?cgroup=$long")"
check "waymarkctl says the same" "waymarkctl: --cgroup: at most 511 octets" "$("$CTL" --agent "unix:$TMP/http.sock" monitor --service "${long:1:256}" --cgroup "$long$long$long$long$long$long$long$long" --verdict lost 2>&1)"
check "another verdict" 400 "$(operator_code "$API/v1/waymark/flows?verdict=lost")"
check "over TCP it is an operator's" 403 "$(code "$API/v1/waymark/flows")"
for _ in $(seq 12); do monitor /dev/null; done
full() { # a probe is one of them while it lasts
	[ "$(operator_code --max-time 1 "$API/v1/waymark/flows")" = 429 ] || { monitor /dev/null; false; }
}
until_ok 30 full || fail "more than 16 watch"
check "it is counted" true "$(api "$API/v1/waymark/status" | jq '.api.api_flows_full > 0')"
kill "${MONITORS[@]}" 2>/dev/null
wait "${MONITORS[@]}" 2>/dev/null
unwatched() { ! watching; }
until_ok 20 unwatched || fail "nobody watches, and it is told"

# --- one that does not read: its decisions are dropped, and it is told how many
mkfifo "$TMP/slow"
curl -sN --unix-socket "$TMP/http.sock" "$API/v1/waymark/flows" >"$TMP/slow" &
slow=$!
exec 8<"$TMP/slow"
until_ok 20 watching || fail "the slow one does not watch"
(
	echo $BASHPID >"$CG/a/cgroup.procs"
	exec /usr/bin/python3 -c '
import socket, sys
for i in range(12000):
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    s.connect((sys.argv[1], 80))
    s.close()' "$web"
)
dropped() { [ "$(api "$API/v1/waymark/status" | jq '.api.api_flows_dropped + .plane.counters.flows_lost')" -gt 0 ]; }
until_ok 20 dropped || fail "nothing was dropped"
check "the agent goes on" 200 "$(code $API/v1/agent/self)"
cat <&8 >"$TMP/late" &
late=$!
told() { grep -q '"dropped":[1-9]' "$TMP/late"; }
until_ok 20 told || fail "who was slow is not told: $(tail -3 "$TMP/late")"
kill "$slow" "$late"
wait "$slow" "$late" 2>/dev/null
rmdir "$CG/a" "$CG/b"
done_testing

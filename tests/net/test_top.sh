#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# `waymarkctl top`: who is dialled is first, with what is open, and what was refused; without an agent.
# shellcheck source=tests/net/lib.sh
. "$(dirname "$0")/lib.sh"

start_agent
register idle-1 idle 127.0.0.5 8080 >/dev/null
register w1 web 127.0.0.2 8080 '"Weights": {"Passing": 3, "Warning": 1}' >/dev/null
register w2 web 127.0.0.3 8080 >/dev/null
register d1 api 127.0.0.4 8080 '"Check": {"CheckID": "ttl", "TTL": "10m", "Status": "critical"}' >/dev/null
web=$(vip4 web) api=$(vip4 api)
cat >"$TMP/dial.py" <<'E2'
import socket, sys, time
held = []
for i in range(20):
    held.append(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
    held[-1].connect((sys.argv[1], 80))
print("ready", flush=True)
while True:
    for address in sys.argv[1:]:
        s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        try:
            s.connect((address, 80))
        except ConnectionRefusedError:
            pass
        s.close()
    time.sleep(0.002)
E2
(
	echo $BASHPID >"$CG/cgroup.procs"
	exec /usr/bin/python3 "$TMP/dial.py" "$web" "$api" 240.9.9.9 >"$TMP/ready"
) &
dialler=$!
until_ok 20 grep -q ready "$TMP/ready"
top() { "$CTL" --pin-dir "$PINS" top --once "$@"; }
of() { jq -r "$1" <<<"$seen"; }
busy() { # a look in which so much was picked that the weights show
	seen=$(top --json)
	[ "$(of '.services[0].picks_s >= 40')" = true ]
}
until_ok 10 busy
check "the busiest first" web "$(of '.services[0].service')"
check "and of it" w1 "$(of '.services[0].backends[0].instance')"
check "picks of it" true "$(of '.services[0].backends[0].picks_s > .services[0].backends[1].picks_s')"
check "all picks are the service's" true "$(of '.services[0] | (.picks_s - ([.backends[].picks_s] | add) | fabs) < 0.01 and .picks_s > 1')"
check "what is open" true "$(of '.services[0].open >= 20')"
check "who is up" "2 0 1" "$(of '[(.services[] | select(.service == "web", .service == "api", .service == "idle")).up] | join(" ")')"
check "state" down "$(of '.services[] | select(.service == "api").backends[0].state')"
check "steered, refused, of nobody" "true true true" "$(of '.totals | [.picked_s, .refused_s, .unknown_s | . > 1] | join(" ")')"
check "nothing of the idle" "0 0" "$(of '.services[] | select(.service == "idle") | "\(.picks_s | floor) \(.open)"')"
people=$(top)
matches "for people" "^web +2 of 2 up +[0-9.]+ +[0-9]+" "$people"
matches "its instance" "w1 +[0-9.]+ +[0-9]+ +- +0 +0 +up" "$people"
"$CTL" --pin-dir "$PINS" --json top >"$TMP/top" &
again=$!
twice() { [ "$(wc -l <"$TMP/top")" -ge 2 ]; }
until_ok 30 twice || fail "top goes on"
kill "$again"
stop_agent
seen=$(top --json)
check "without an agent" "web true" "$(of '"\(.services[0].service) \(.services[0].picks_s > 1)"')"
kill "$dialler"
wait "$dialler" 2>/dev/null
"$CTL" --pin-dir "$PINS" --force detach >/dev/null
top 2>/dev/null
check "without pins" 1 $?
done_testing

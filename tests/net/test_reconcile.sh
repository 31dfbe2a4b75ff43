#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# A connection whose socket is closed while nobody sees the end of sockets would count as open for ever: the
# agent finds it when it starts. One that is open stays.
# shellcheck source=tests/net/lib.sh
. "$(dirname "$0")/lib.sh"

metric() { api "$API/v1/agent/metrics?format=prometheus" | awk -v m="waymark_$1" '$1 == m {print $2}'; }
start_agent
backend one 127.0.0.2 8080
register one web 127.0.0.2 8080 >/dev/null
web=$(vip4 web)
connections() { "$CTL" --json --pin-dir "$PINS" connections | jq length; }
live() { "$CTL" --agent "$API" --pin-dir "$PINS" --json maps dump backends | jq "[.[] | select(.instance == \"one\")][0].backend"; }
open_of() { # how many the kernel counts for the only backend
	local at
	at=$(live)
	bpftool -j map lookup pinned "$PINS/maps/backend_live" key $((at & 255)) $((at >> 8)) 0 0 | jq .formatted.value.open
}
hold() { # a process that has a connection, by a socket of a kind
	(
		echo $BASHPID >"$CG/cgroup.procs"
		exec /usr/bin/python3 -c '
import socket, sys, time
s = socket.socket(socket.AF_INET, getattr(socket, sys.argv[2]))
s.connect((sys.argv[1], 80))
time.sleep(600)' "$web" "$1"
	) &
}
hold SOCK_STREAM && stays=$!
hold SOCK_STREAM && goes=$!
hold SOCK_DGRAM && goes_too=$!
hold SOCK_DGRAM && stays_too=$!
is() { [ "$(connections)" = "$1" ]; }
until_ok 20 is 4 || fail "not all are connected"
check "the kernel counts them" 4 "$(open_of)"
stop_agent
bpftool link detach pinned "$PINS/links/sock_release"
kill $goes $goes_too
wait $goes $goes_too 2>/dev/null
check "nobody saw their end" 4 "$(connections)"
start_agent
until_ok 60 is 2 || fail "they count as open for ever: $(connections)"
check "those that are open stay" 2 "$(connections)"
check "the kernel counts those" 2 "$(open_of)"
check "it is counted" 2 "$(metric reconcile_freed_total)"
kill $stays $stays_too
wait $stays $stays_too 2>/dev/null
until_ok 20 is 0 || fail "their end is not seen"
check "none is open" 0 "$(open_of)"
done_testing

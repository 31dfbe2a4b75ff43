#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# `waymarkctl connections`: which process is connected to what, by a virtual address; with the agent and
# without one; and nothing of what was closed, also over a restart with tables of another size.
# shellcheck source=tests/net/lib.sh
. "$(dirname "$0")/lib.sh"

start_agent
backend one 127.0.0.2 8080
backend two 127.0.0.3 8080
register one web 127.0.0.2 8080 >/dev/null
register two api 127.0.0.3 8080 >/dev/null
register three idle 127.0.0.3 8081 >/dev/null
web=$(vip4 web) api=$(vip4 api)
connections() { "$CTL" --json --pin-dir "$PINS" connections "$@"; }
are() { [ "$(connections | jq length)" = "$1" ]; }

hold() { # virtual address: a process that has a connection
	(
		echo $BASHPID >"$CG/cgroup.procs"
		# shellcheck disable=SC2016 # the inner shell's
		exec bash -c 'exec 9<>"/dev/tcp/$0/80"; exec sleep 600' "$1"
	) &
}
hold "$web" && first=$!
hold "$api" && second=$!
until_ok 10 are 2 || fail "there are not 2: $(connections)"
row=$(connections web)
check "one connection of web" 1 "$(jq length <<<"$row")"
check "its service" web "$(jq -r '.[0].service' <<<"$row")"
check "its instance" one "$(jq -r '.[0].instance' <<<"$row")"
check "what was dialled" "$web:80" "$(jq -r '.[0].virtual' <<<"$row")"
check "what it got" 127.0.0.2:8080 "$(jq -r '.[0].address' <<<"$row")"
check "its process" "$first" "$(jq -r '.[0].pid' <<<"$row")"
check "its command" sleep "$(jq -r '.[0].command' <<<"$row")"
check "its cgroup" "$(basename "$CG")" "$(jq -r '.[0].cgroup | split("/") | last' <<<"$row")"
check "why" "drawn by weight" "$(jq -r '.[0].why' <<<"$row")"
check "by instance" "$second" "$(connections two | jq -r '.[0].pid')"
# the same over HTTP, but for who has the socket
page() { api "$API/v1/waymark/connections$1"; }
check "over HTTP" "$(jq -c '.[0] | [.service, .instance, .virtual, .address, .why, .cookie]' <<<"$row")" "$(page '?service=WEB' | jq -c '.connections[] | [.service, .instance, .virtual, .address, .why, .cookie]')"
check "by instance over HTTP" api "$(page '?instance=two' | jq -r '.connections[].service')"
check "both over HTTP, and no further page" "2 null" "$(page '' | jq -r '"\(.connections | length) \(.after)"')"
first_page=$(page '?limit=1')
next=$(jq .after <<<"$first_page")
check "one a page" "1 1" "$(jq '.connections | length' <<<"$first_page") $(page "?limit=1&after=$next" | jq '.connections | length')"
check "both pages together" 2 "$(jq -s '[.[].connections[].cookie] | unique | length' <<<"$first_page$(page "?limit=1&after=$next")")"
check "a page that there is not" 400 "$(code "$API/v1/waymark/connections?after=x")"
check "of nobody over HTTP" "404 unknown service: nobody" "$(code "$API/v1/waymark/connections?service=nobody") $(page '?service=nobody')"
check "of who has none over HTTP" 0 "$(page '?service=idle' | jq '.connections | length')"
check "of who has none" "no entries" "$("$CTL" --pin-dir "$PINS" connections idle)"
check "of nobody" "1 waymarkctl: connections: neither a service nor an instance 'nobody' is known" \
	"$("$CTL" --pin-dir "$PINS" connections nobody 2>"$TMP/said"; echo "$? $(cat "$TMP/said")")"

kill "$second"
wait "$second" 2>/dev/null
until_ok 10 are 1 || fail "there are not 1: $(connections)"
check "closed ones are gone" "$first" "$(connections | jq -r '.[].pid')"
(
	echo $BASHPID >"$CG/cgroup.procs"
	exec /usr/bin/python3 -c '
import socket, sys, time
open("/proc/self/comm", "wb").write(b"a\xffb")
s = socket.create_connection((sys.argv[1], 80))
time.sleep(600)' "$api"
) &
odd=$!
until_ok 10 are 2 || fail "there are not 2: $(connections)"
check "who calls itself what is no text" 'two a\xffb' "$(connections api | jq -r '.[] | "\(.instance) \(.command)"')"
kill "$odd"
wait "$odd" 2>/dev/null
stop_agent
check "without an agent" "$web:80" "$(connections | jq -r '.[].virtual')"
check "of nobody, without one" "1 waymarkctl: connections: neither a service nor an instance 'nobody' is known, as far as the kernel's tables tell: no agent answers" \
	"$("$CTL" --pin-dir "$PINS" connections nobody 2>"$TMP/said"; echo "$? $(cat "$TMP/said")")"
start_agent --set kernel.backends_max=1000 --set kernel.connections_max=1000
check "over a restart with other tables" "$web:80 127.0.0.2:8080 $first" "$(connections | jq -r '.[] | "\(.virtual) \(.address) \(.pid)"')"
kill "$first"
wait "$first" 2>/dev/null
until_ok 10 are 0 || fail "there are not 0: $(connections)"
check "all are gone" 0 "$(connections | jq length)"
done_testing

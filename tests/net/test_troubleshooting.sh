#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The samples of docs/troubleshooting.md have the shape of what the commands print in the case that it
# describes, which is made here; UPDATE=1 writes them anew.
# shellcheck source=tests/net/lib.sh
. "$(dirname "$0")/lib.sh"

start_agent --set node.meta=region=eu,zone=a --set kernel.truth_interval=0
zoned() { register "$1" web "$2" 8080 "\"Locality\": {\"Region\": \"eu\", \"Zone\": \"$3\"}" >/dev/null; }
backend web-a 127.0.0.2 8080
backend web-b 127.0.0.3 8080
zoned web-a 127.0.0.2 a
zoned web-b 127.0.0.3 b
check "nearest" 200 "$(operator_code -X PUT "$API/v1/waymark/policies/web" -d '{"select": "nearest"}')"
register api-1 api 127.0.0.4 9090 '"Check": {"CheckID": "beat", "TTL": "1h", "Status": "critical"}' >/dev/null
backend api 127.0.0.4 9090
(
	echo $BASHPID >"$CG/cgroup.procs"
	exec /usr/bin/python3 tools/demo/backend.py db 127.0.0.6 5432
) &
until_ok 10 api http://127.0.0.6:5432/
register db-1 db 127.0.0.5 5432 >/dev/null
ip route add 192.0.2.0/24 dev lo # what is sent there gets no answer
register far-1 far 192.0.2.7 443 >/dev/null
# one process that is connected to web, and one that waits for far
hold() { # virtual address, port
	(
		echo $BASHPID >"$CG/cgroup.procs"
		exec /usr/bin/python3 -c '
import socket, sys, time
s = socket.socket()
s.connect((sys.argv[1], int(sys.argv[2])))
time.sleep(600)' "$@"
	) &
}
hold "$(vip4 web)" 80
PID=$!
hold "$(vip4 far)" 443
until_ok 20 sh -c "'$CTL' --json --pin-dir '$PINS' connections | jq -e 'length == 2'" || fail "not both dial"

PATH=$PWD/$B:$PATH
WAYMARK_PIN_DIR=$PINS WAYMARK_HTTP_ADDR=unix:$TMP/http.sock
export PATH PID WAYMARK_PIN_DIR WAYMARK_HTTP_ADDR
options=(docs/troubleshooting.md "$PINS" "$CG")
[ -n "${UPDATE:-}" ] || options+=(--check)
/usr/bin/python3 tools/bpftool-samples.py "${options[@]}" || fail "docs/troubleshooting.md: UPDATE=1 $0"
done_testing

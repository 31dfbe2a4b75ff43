#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Maintenance and checks of the node: what is taken out is out of DNS and of connect() when the answer
# comes, stays out over kill -9, and is back when the answer to the opposite comes.
# shellcheck source=tests/net/lib.sh
. "$(dirname "$0")/lib.sh"
put() { code -X PUT "$API/v1/agent/$1" "${@:2}"; }
names() { ask web.service.mesh.internal | sort | xargs; }
who() { # in 20 connects
	for _ in $(seq 20); do inside curl -s --max-time 20 "http://$V4/"; done | sort -u | xargs
}
refused() { inside curl -s --max-time 20 "http://$V4/" >/dev/null; echo $?; }
both="127.1.0.1 127.1.0.2"

start_agent
for i in 1 2; do
	backend "web-$i" "127.1.0.$i" "808$i"
	check "register web-$i" 200 "$(register "web-$i" web "127.1.0.$i" "808$i")"
done
V4=$(vip4 web)
check "both answer" "web-1 web-2" "$(who)"

# --- one instance; the very next question and connect must know
for round in 1 2 3; do
	check "round $round: on" 200 "$(put 'service/maintenance/web-1?enable=true&reason=new%20disk')"
	check "round $round: DNS" 127.1.0.2 "$(names)"
	check "round $round: connect" web-2 "$(who)"
	check "round $round: off" 200 "$(put 'service/maintenance/web-1?enable=false')"
	check "round $round: DNS has it back" "$both" "$(names)"
done
check "connect has it back" "web-1 web-2" "$(who)"
put 'service/maintenance/web-1?enable=true&reason=new%20disk' >/dev/null
check "health says why" "maintenance new disk" "$(api "$API/v1/agent/health/service/id/web-1" |
	jq -r '.AggregatedStatus + " " + .Checks[0].Notes')"
stop_agent KILL
check "without an agent it is out" 127.1.0.2 "$(names)"
check "of connect too" web-2 "$(who)"
start_agent
check "after kill -9 it is out" 127.1.0.2 "$(names)"
check "of connect too, after kill -9" web-2 "$(who)"
check "and the reason is known" "new disk" "$(api "$API/v1/agent/checks" |
	jq -r '."_service_maintenance:web-1".Notes')"
check "a program that registers again does not end it" 200 \
	"$(register web-1 web 127.1.0.1 8081 '"Tags": ["v2"]')"
check "it is out" 127.1.0.2 "$(names)"
put 'service/maintenance/web-1?enable=false' >/dev/null
check "off brings it back" "$both" "$(names)"

# --- the node
check "the node, on" 200 "$(put 'maintenance?enable=true')"
check "no instance is left" NXDOMAIN "$(status_of web.service.mesh.internal)"
check "connect is refused" 7 "$(refused)"
stop_agent KILL
start_agent
check "after kill -9 as well" NXDOMAIN "$(status_of web.service.mesh.internal)"
check "connect as well" 7 "$(refused)"
check "the node, off" 200 "$(put 'maintenance?enable=false')"
check "all are back" "$both" "$(names)"
check "for connect too" "web-1 web-2" "$(who)"

# --- a check of the node that fails
check "a check of the node" 200 "$(put check/register -d '{"Name": "disk", "TTL": "1h", "Status": "passing"}')"
check "while it passes nothing is different" "$both" "$(names)"
put check/fail/disk >/dev/null
check "it fails: all are out" NXDOMAIN "$(status_of web.service.mesh.internal)"
check "connect knows" 7 "$(refused)"
stop_agent KILL
start_agent
check "it failed before kill -9" 7 "$(refused)"
check "it goes" 200 "$(put check/deregister/disk)"
check "all are back again" "web-1 web-2" "$(who)"

# --- a check that is added to an instance, and is run
check "a check of web-2 that nobody answers" 200 \
	"$(put check/register -d '{"ID": "x", "Name": "x", "ServiceID": "web-2", "TCP": "127.1.0.2:9", "Interval": "200ms", "Status": "passing"}')"
only_one() { [ "$(names)" = 127.1.0.1 ]; }
until_ok 20 only_one || fail "the probe takes it out: $(names)"
check "its removal brings it back" 200 "$(put check/deregister/x)"
check "the other check does not matter any more" "$both" "$(names)"
done_testing

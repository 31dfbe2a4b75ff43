#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# A tag has a virtual address when somebody asks for it: connections to it go to those that have the tag, over
# restarts and while no agent runs.
# shellcheck source=tests/net/lib.sh
. "$(dirname "$0")/lib.sh"

start_agent
at() { # id, last octet, tag
	check "register $1" 200 "$(code -X PUT "$API/v1/agent/service/register" -d "{\"ID\": \"$1\", \"Name\": \"web\",
		\"Address\": \"127.1.0.$2\", \"Port\": 8080, \"Tags\": [\"$3\"], \"Check\": {\"CheckID\": \"ttl-$1\", \"TTL\": \"10m\", \"Status\": \"passing\"}}")"
}
for i in 1 2 3; do backend "w$i" "127.1.0.$i" 8080; done
at w1 1 v1
at w2 2 V2
at w3 3 v2
check "a tag that nobody has" NXDOMAIN "$(status_of v3.web.virtual.mesh.internal)"
V2=$(ask v2.web.virtual.mesh.internal)
matches "an address in the range" '^2[45][0-9]\.' "$V2"
[ "$V2" != "$(vip4 web)" ] || fail "it is the service's"
who() { # of $1 dials
	for _ in $(seq "$1"); do inside curl -s --max-time 20 "http://$V2/"; done | grep -o '^[a-z][0-9]' | sort -u | xargs
}
check "connections to it go to who has the tag" "w2 w3" "$(who 40)"
check "its address has its name" v2.web.virtual.mesh.internal. "$(ask -x "$V2")"
check "w2 fails" 200 "$(code -X PUT "$API/v1/agent/check/fail/ttl-w2")"
check "to whom is up" w3 "$(who 10)"
check "w2 passes" 200 "$(code -X PUT "$API/v1/agent/check/pass/ttl-w2")"
at w1 1 v2
check "who gets the tag is chosen" "w1 w2 w3" "$(who 60)"
stop_agent KILL
check "though the agent is dead" "w1 w2 w3" "$(who 60)"
start_agent
check "and after its return, though nobody asked" "w1 w2 w3" "$(who 60)"
check "the same" "$V2" "$(ask V2.web.virtual.mesh.internal)"
for i in w1 w2 w3; do at "$i" "${i#w}" other; done
inside curl -s --max-time 2 "http://$V2/"
check "nobody has the tag any more: refused" 7 $?
done_testing

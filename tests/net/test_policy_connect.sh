#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# A policy as an operator writes it, and where connections and answers go by it.
# shellcheck source=tests/net/lib.sh
. "$(dirname "$0")/lib.sh"

start_agent --set node.meta=region=eu,zone=a
at() { # id, service, last octet, region, zone, version
	backend "$1" "127.1.0.$3" 8080
	check "register $1" 200 "$(code -X PUT "$API/v1/agent/service/register" -d "{\"ID\": \"$1\", \"Name\": \"$2\",
		\"Address\": \"127.1.0.$3\", \"Port\": 8080, \"Meta\": {\"version\": \"$6\"},
		\"Locality\": {\"Region\": \"$4\", \"Zone\": \"$5\"},
		\"Check\": {\"CheckID\": \"ttl-$1\", \"TTL\": \"10m\", \"Status\": \"passing\"}}")"
}
at w1 web 1 eu a 1
at w2 web 2 eu b 2
at w3 web 3 us a 2
at d1 db 4 eu a 1
V4=$(vip4 web)
policy() { check "policy $1" 200 "$(operator_code -X PUT "$API/v1/waymark/policies/web" -d "$1")"; }
who() { # of $1 dials
	for _ in $(seq "$1"); do inside curl -s "http://$V4/"; done | grep -o '^[a-z][0-9]' | sort | uniq -c | awk '{print $2"="$1}' | xargs
}
set_check() { check "$1 is $2" 200 "$(code -X PUT "$API/v1/agent/check/$2/ttl-$1")"; }

check "without a policy all are chosen" 3 "$(who 60 | wc -w)"
policy '{"select": "nearest"}'
check "the zone takes all" "w1=20" "$(who 20)"
check "DNS names those that connections go to" 127.1.0.1 "$(ask web.service.mesh.internal | xargs)"
set_check w1 fail
check "its region is next" "w2=20" "$(who 20)"
set_check w2 fail
check "then the rest" "w3=20" "$(who 20)"
check "and DNS" 127.1.0.3 "$(ask web.service.mesh.internal | xargs)"
set_check w1 pass
set_check w2 pass
check "and back" "w1=20" "$(who 20)"

policy '{"balance": "round_robin"}'
check "in turn" "w1=20 w2=20 w3=20" "$(who 60)"
policy '{"balance": "maglev", "hash_on": "uid"}'
ONE=$(who 20)
check "one client, one backend" 1 "$(wc -w <<<"$ONE")"
check "the API says which" "$ONE" "$(api "$API/v1/waymark/resolve?service=web&client=$UID" | jq -r '.chosen[0].id')=20"
check "DNS names all" 3 "$(ask web.service.mesh.internal | wc -l)"
SUBSETS='"subsets": {"v1": "Service.Meta.version == \"1\"", "v2": "Service.Meta.version == \"2\""}'
policy "{$SUBSETS, \"default_subset\": \"v2\"}"
check "a subset" "w2 w3" "$(who 40 | sed 's/=[0-9]*//g')"
policy "{$SUBSETS, \"split\": [{\"percent\": 100, \"subset\": \"v1\"}, {\"percent\": 0, \"subset\": \"v2\"}]}"
check "a split" "w1=20" "$(who 20)"
policy '{"select": "failover", "failover": [{"of": "*", "service": "db"}]}'
for i in 1 2 3; do set_check "w$i" fail; done
check "failover to another service" "d1=20" "$(who 20)"
set_check d1 fail
inside curl -s --max-time 2 "http://$V4/"
check "nobody is left: refused" 7 $?
for i in 1 2 3; do set_check "w$i" pass; done
policy "{$SUBSETS, \"default_subset\": \"v1\", \"select\": \"failover\", \"balance\": \"round_robin\", \"failover\": [{\"of\": \"v1\", \"subset\": \"v2\"}]}"
check "a subset has all" "w1=20" "$(who 20)"
set_check w1 fail
check "failover to another subset" "w2=10 w3=10" "$(who 20)"
policy "{$SUBSETS, \"default_subset\": \"v1\", \"select\": \"failover\", \"failover\": [{\"subset\": \"v2\", \"region\": \"us\"}]}"
check "failover to a region, of another subset" "w3=20" "$(who 20)"
set_check w1 pass
check "and back" "w1=20" "$(who 20)"
for i in 1 2 3; do set_check "w$i" fail; done
policy '{"when_none": "any"}'
check "anybody rather than nobody" 3 "$(who 60 | wc -w)"
for i in 1 2 3; do set_check "w$i" pass; done
policy '{"redirect": {"service": "db"}}'
set_check d1 pass
check "a redirect" "d1=20" "$(who 20)"
at d2 db 5 eu a 1
check "what comes there is chosen too" 2 "$(who 40 | wc -w)"
at o1 old 6 eu a 1
check "another, by another service" 200 "$(operator_code -X PUT "$API/v1/waymark/policies/old" -d '{"redirect": {"service": "db"}}')"
policy '{"split": [{"percent": 0, "service": "web"}, {"percent": 100, "service": "old"}]}'
check "of a split's target" "d1 d2" "$(who 40 | sed 's/=[0-9]*//g')"
set_check d2 fail
check "as who is there does" "d1=20" "$(who 20)"
set_check d2 pass

# --- subsets have names and addresses of their own
policy "{$SUBSETS, \"balance\": \"round_robin\"}"
V2=$(ask v2.web.virtual.mesh.internal)
matches "an address in the range" '^2[45][0-9]\.' "$V2"
[ "$V2" != "$V4" ] || fail "it is the service's"
answered() { bpftool -j map dump pinned "$PINS/maps/counters" | jq '[.[].formatted.values[]?.value.dns_answered] | add'; }
before=$(answered)
check "its name names its instances" "127.1.0.2 127.1.0.3" "$(ask v2.web.service.mesh.internal | sort | xargs)"
check "its address has its name" v2.web.virtual.mesh.internal. "$(ask -x "$V2")"
check "answered in the kernel" $((before + 1)) "$(answered)"
who2() {
	for _ in $(seq "$1"); do inside curl -s "http://$V2/"; done | grep -o '^[a-z][0-9]' | sort | uniq -c | awk '{print $2"="$1}' | xargs
}
check "connections to it go there" "w2=20 w3=20" "$(who2 40)"
set_check w2 fail
check "to whom is up" "w3=20" "$(who2 20)"
set_check w3 fail
inside curl -s --max-time 2 "http://$V2/"
check "nobody of it is left: refused" 7 $?
check "and no name" NXDOMAIN "$(status_of v2.web.service.mesh.internal)"
check "the service goes on" "w1=20" "$(who 20)"
set_check w2 pass
set_check w3 pass
stop_agent KILL
check "its address, though the agent is dead" "w2=20 w3=20" "$(who2 40)"
start_agent --set node.meta=region=eu,zone=a
check "and after its return" "w2=20 w3=20" "$(who2 40)"
check "the same" "$V2" "$(ask v2.web.virtual.mesh.internal)"

# --- the agent is killed: its tables go on, and are taken over
policy '{"balance": "round_robin"}'
stop_agent KILL
check "in turn, though the agent is dead" "w1=20 w2=20 w3=20" "$(who 60)"
start_agent --set node.meta=region=eu,zone=a
check "and after its return" "w1=20 w2=20 w3=20" "$(who 60)"
check "the policy is taken away" 0 "$("$CTL" --agent "unix:$TMP/http.sock" policy delete web >/dev/null; echo $?)"
check "all are chosen again" 3 "$(who 60 | wc -w)"
done_testing

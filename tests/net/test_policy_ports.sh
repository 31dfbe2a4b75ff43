#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Ports of a virtual address that a policy gives to named endpoints of the instances.
# shellcheck source=tests/net/lib.sh
. "$(dirname "$0")/lib.sh"

start_agent
at() { # id, last octet, more metadata
	backend "$1" "127.1.0.$2" 8080
	check "register $1" 200 "$(code -X PUT "$API/v1/agent/service/register" -d "{\"ID\": \"$1\", \"Name\": \"web\",
		\"Address\": \"127.1.0.$2\", \"Port\": 8080, \"Meta\": {\"id\": \"$1\"$3},
		\"Check\": {\"CheckID\": \"ttl-$1\", \"TTL\": \"10m\", \"Status\": \"passing\"}}")"
}
at w1 1 ', "endpoints.metrics": "http:9100"'
at w2 2 ', "endpoints.metrics": "http:9200/m"'
at w3 3 ''
backend m1 127.1.0.1 9100
backend m2 127.1.0.2 9200
V4=$(vip4 web) V6=$(vip6 web)
policy() { operator -X PUT "$API/v1/waymark/policies/web" -d "$1"; }
who() { # of $1 dials of host and port $2
	for _ in $(seq "$1"); do inside curl -s --max-time 20 "http://$2/"; done | grep -o '^[a-z][0-9]' | sort | uniq -c | awk '{print $2"="$1}' | xargs
}
RR='"balance": "round_robin"'

check "a port is any port" 3 "$(who 60 "$V4:9090" | wc -w)"
matches "what nobody has is warned of" 'ports.9090: no instance has the endpoint .*nothing' "$(policy "{$RR, \"ports\": {\"9090\": \"nothing\"}}")"
inside curl -s --max-time 20 "http://$V4:9090/"
check "and refused" 7 $?
check "the others are as before" "w1=10 w2=10 w3=10" "$(who 30 "$V4:80")"
check "a policy" '{"warnings":[]}' "$(policy "{$RR, \"ports\": {\"9090\": \"metrics\"}, \"subsets\": {\"two\": \"Service.Meta.id == w2\"}}")"
check "its port leads to the endpoints" "m1=10 m2=10" "$(who 20 "$V4:9090")"
check "by IPv6 as well" "m1=10 m2=10" "$(who 20 "[$V6]:9090")"
check "another to the instances" "w1=10 w2=10 w3=10" "$(who 30 "$V4:9091")"
datagrams() { # name, address, port: answers with its name
	/usr/bin/python3 -c '
import socket, sys
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.bind((sys.argv[2], int(sys.argv[3])))
open(sys.argv[4], "w").close()
while True:
    s.sendto(sys.argv[1].encode(), s.recvfrom(64)[1])' "$1" "$2" "$3" "$TMP/udp-$1" &
	BACKENDS+=($!)
	until_ok 10 test -e "$TMP/udp-$1" || fail "no datagrams at $2"
}
datagrams u1 127.1.0.1 9100
datagrams u2 127.1.0.2 9200
udp() { # connected or not, port, dials
	inside /usr/bin/python3 -c '
import collections, socket, sys
seen = collections.Counter()
for _ in range(int(sys.argv[4])):
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    s.settimeout(5)
    to = (sys.argv[2], int(sys.argv[3]))
    if sys.argv[1] == "connected":
        s.connect(to)
        s.send(b"q")
    else:
        s.sendto(b"q", to)
    name, at = s.recvfrom(64)
    assert at == to, at
    seen[name.decode()] += 1
    s.close()
print(*("%s=%d" % p for p in sorted(seen.items())))' "$1" "$V4" "$2" "$3"
}
check "datagrams go there as well" "u1=10 u2=10" "$(udp connected 9090 20)"
check "without connect() too" "u1=10 u2=10" "$(udp free 9090 20)"
TWO=$(ask two.web.virtual.mesh.internal)
check "of a subset" "m2=10" "$(who 10 "$TWO:9090")"
check "and its other ports" "w2=10" "$(who 10 "$TWO:80")"
check "w1 fails" 200 "$(code -X PUT "$API/v1/agent/check/fail/ttl-w1")"
check "its endpoint is left out with it" "m2=10" "$(who 10 "$V4:9090")"
check "w1 passes" 200 "$(code -X PUT "$API/v1/agent/check/pass/ttl-w1")"
stop_agent KILL
check "though the agent is dead" "m1=10 m2=10" "$(who 20 "$V4:9090")"
start_agent
check "and after its return" "m1=10 m2=10" "$(who 20 "$V4:9090")"
check "w2 has it elsewhere" 200 "$(code -X PUT "$API/v1/agent/service/register" -d '{"ID": "w2", "Name": "web", "Address": "127.1.0.2", "Port": 8080,
	"Meta": {"id": "w2"}, "Check": {"CheckID": "ttl-w2", "TTL": "10m", "Status": "passing"}}')"
check "who has it no more is not asked" "m1=10" "$(who 10 "$V4:9090")"
check "the policy goes" 200 "$(operator_code -X DELETE "$API/v1/waymark/policies/web")"
check "and a port is any port" 3 "$(who 60 "$V4:9090" | wc -w)"
done_testing

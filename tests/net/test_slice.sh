#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Register, resolve, connect, fail over, deregister: what an application sees.
# shellcheck source=tests/net/lib.sh
. "$(dirname "$0")/lib.sh"
CHECK='"Check": {"HTTP": "http://127.1.0.%d:808%d/", "Interval": "1s", "Timeout": "10s"}'

start_agent --set dns.ttl=2s --set node.alt_domain=consul
for i in 1 2 3; do
	backend "web-$i" "127.1.0.$i" "808$i"
	# shellcheck disable=SC2059
	check "register web-$i" 200 "$(register "web-$i" web "127.1.0.$i" "808$i" "$(printf "$CHECK" "$i" "$i")")"
done
passing() { api "$API/v1/health/service/web?passing" | jq length; }
three() { [ "$(passing)" = 3 ]; }
two() { [ "$(passing)" = 2 ]; }
none() { [ "$(passing)" = 0 ]; }
until_ok 20 three || fail "three instances pass: $(passing)"
V4=$(vip4 web) V6=$(vip6 web)

check "register six" 200 "$(register six six fd00::6 80)"
V66=$(vip6 six)

# --- DNS: by the kernel, and by userspace for the rest
before=$(counter dns_answered)
check "A" "127.1.0.1 127.1.0.2 127.1.0.3" "$(ask web.service.mesh.internal | sort | xargs)"
check "A, any case" 3 "$(ask WEB.Service.MESH.internal | wc -l)"
check "A under the second domain" 3 "$(ask web.service.consul | wc -l)"
check "A of the virtual name" "$V4" "$(ask web.virtual.mesh.internal)"
check "AAAA of the virtual name" "$V66" "$(ask six.virtual.mesh.internal AAAA)"
check "answered in the kernel" 5 $(($(counter dns_answered) - before))
check "the TTL" 2 "$(dig +noall +answer @127.0.0.1 -p 8600 web.virtual.mesh.internal | awk '{print $2}')"
check "A over TCP" 3 "$(ask +tcp web.service.mesh.internal | wc -l)"
check "SRV" 3 "$(ask web.service.mesh.internal SRV | wc -l)"
check "NXDOMAIN" NXDOMAIN "$(status_of none.service.mesh.internal)"
check "NODATA" NOERROR "$(status_of web.service.mesh.internal AAAA)"
check "REFUSED" REFUSED "$(status_of example.org)"
check "no AAAA of the virtual name while no endpoint has IPv6" "" "$(ask +tcp web.virtual.mesh.internal AAAA)"
check "deregister six" 200 "$(code -X PUT "$API/v1/agent/service/deregister/six")"
check "NODATA and NXDOMAIN too, in the kernel's counters" 9 $(($(counter dns_answered) - before))
# a message that is no question: an error, not silence
check "FORMERR" 1 "$(/usr/bin/python3 -c '
import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.settimeout(5)
s.sendto(bytes.fromhex("abcd01000001000000000000ff"), ("127.0.0.1", 8600))
print(s.recv(512)[3] & 15)')"

# --- TCP
check "curl to the virtual address" web- "$(inside curl -s "http://$V4/" | cut -c1-4)"
check "curl over IPv6" web- "$(inside curl -s "http://[$V6]:12345/" | cut -c1-4)"
matches "getpeername shows the virtual address" "^$V4 80 web-" "$(inside tests/net/client.py peer "$V4" 80)"
matches "v4-mapped" "^::ffff:$V4 80 web-" "$(inside tests/net/client.py peer "::ffff:$V4" 80)"
spread=$(for _ in $(seq 90); do inside curl -s "http://$V4/"; done | sort | uniq -c | awk '$1 >= 10' | wc -l)
check "all three are used" 3 "$spread"
check "another cgroup is not steered" 000 "$(curl -s --max-time 1 -o /dev/null -w '%{http_code}' "http://$V4/")"
check "traffic for no service goes where it was sent" web-2 "$(inside curl -s http://127.1.0.2:8082/)"

# --- UDP
for i in 1 2; do
	tests/net/client.py udp-echo "127.2.0.$i" 5300 "udp-$i" &
	check "register udp-$i" 200 "$(register "udp-$i" udp "127.2.0.$i" 5300)"
done
U4=$(vip4 udp) U6=$(vip6 udp)
until_ok 10 inside tests/net/client.py udp "$U4" 53
matches "a datagram, unconnected" "^udp-[12] $U4 53$" "$(inside tests/net/client.py udp "$U4" 53)"
matches "a datagram, connected" "^udp-[12] $U4 53$" "$(inside tests/net/client.py udp "$U4" 53 connected)"
matches "a datagram, v4-mapped" "^udp-[12] ::ffff:.* 53$" "$(inside tests/net/client.py udp "::ffff:$U4" 53)"
matches "sockets are spread" "^udp-1=[0-9]+ udp-2=[0-9]+$" "$(inside tests/net/client.py udp-many "$U4" 53 60)"
matches "an IPv6 address of IPv4 backends, connected" "^udp-[12] $U6 53$" "$(inside tests/net/client.py udp "$U6" 53 connected)"
# the kernel cannot send a datagram of an IPv6 destination to an IPv4 one: refused, not lost
matches "the same unconnected" "Connection refused" "$(inside tests/net/client.py udp "$U6" 53 2>&1)"

# --- failing over
kill -9 "${BACKENDS[0]}"
wait "${BACKENDS[0]}" 2>/dev/null
until_ok 20 two || fail "the check notices"
failures=0
for _ in $(seq 60); do [ "$(inside curl -s "http://$V4/" | cut -c1-4)" = web- ] || failures=$((failures + 1)); done
check "no request fails after the check" 0 $failures
check "DNS follows" "127.1.0.2 127.1.0.3" "$(ask web.service.mesh.internal | sort | xargs)"
kill -9 "${BACKENDS[1]}" "${BACKENDS[2]}"
wait "${BACKENDS[1]}" "${BACKENDS[2]}" 2>/dev/null
until_ok 20 none || fail "the checks notice"
check "nobody left: refused" 7 "$(inside curl -s --max-time 10 "http://$V4/" >/dev/null; echo $?)"
check "nobody left: NXDOMAIN" NXDOMAIN "$(status_of web.service.mesh.internal)"
matches "the refusal is counted" '^[1-9]' "$(counter connect_refused)"
backend web-2 127.1.0.2 8082
until_ok 20 inside curl -sf "http://$V4/" || fail "it comes back"
check "it comes back" web-2 "$(inside curl -s "http://$V4/")"

# --- the end of a service
for i in 1 2 3; do check "deregister web-$i" 200 "$(code -X PUT "$API/v1/agent/service/deregister/web-$i")"; done
check "gone from DNS" NXDOMAIN "$(status_of web.service.mesh.internal)"
check "gone from the kernel" 0 "$(bpftool -j map dump pinned "$PINS/maps/frontends" |
	jq '[.[].formatted.key.addr_be[3]] | length - 2')"
for at in "http://$V4/" "http://[$V6]/" "http://240.1.2.3/"; do
	check "nobody's virtual address is refused: $at" 7 "$(inside curl -s --max-time 10 "$at" >/dev/null; echo $?)"
done
matches "a datagram to it too" "Connection refused" "$(inside tests/net/client.py udp "$V4" 53 2>&1)"
check "counted" 4 "$(counter connect_unknown_vip)"
matches "who is not steered has no route" "No route to host" \
	"$(curl -s -S --max-time 10 "http://$V4/" 2>&1)$(ip route get "$V4" 2>&1)"
check "a route for each part of the ranges" 5 "$( (ip route; ip -6 route) | grep -c "^unreachable.* proto 119")"
register again web 127.1.0.2 8082 >/dev/null
check "a name keeps its virtual address" "$V4" "$(vip4 web)"
stop_agent
check "detached" 0 "$("$CTL" --pin-dir "$PINS" detach >/dev/null; echo $?)"
check "detached: the routes are gone" 0 "$( (ip route; ip -6 route) | grep -c "proto 119")"
done_testing

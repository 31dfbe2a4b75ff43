#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# A link to other machines: their questions to an address of the node are answered as they come in, also while no
# agent runs; what is not for the kernel, or not allowed, is not; the link may come, go and be given up.
# shellcheck source=tests/net/lib.sh
. "$(dirname "$0")/lib.sh"

unshare --net sleep 600 &
FAR=$!
far() { nsenter -t "$FAR" --net "$@"; }
until_ok 10 is_apart $FAR
plug() { # the other machine, on a link that has no hardware
	ip link add wmup type veth peer name eth
	ip link set eth netns "$FAR"
	ip addr add 10.99.1.1/24 dev wmup
	ip addr add 10.99.1.9/24 dev wmup
	ip addr add fd99:1::1/64 dev wmup nodad
	ip link set wmup up
	far sh -c 'ip link set lo up; ip addr add 10.99.1.2/24 dev eth; ip addr add fd99:1::2/64 dev eth nodad; ip link set eth up'
}
settings() { printf '{"dns": {"allow": [%s]}}' "$1" >"$TMP/settings.json"; }
begin() { # devices
	start_agent --config "$TMP/settings.json" --set dns.addresses=10.99.1.1,10.99.1.9,fd99:1::1,127.0.0.1 \
		--set dns.port53_addresses=10.99.1.9 --set "kernel.dns_devices=$1"
}
hook() { api $API/v1/waymark/status | jq -r ".plane.hooks[] | select(.name == \"dns_link\" and .where == \"$1\") | .attached"; }
attached() { [ "$(hook wmup)" = true ]; }
asks() { far dig +short +tries=1 +time=3 -p 8600 "$@" 2>/dev/null | grep -v '^;'; } # options of dig
NAME=web.service.mesh.internal

plug
settings ''
begin wmup
register a web 10.99.0.1 8081 >/dev/null
until_ok 20 attached || fail "the link is attached to"
until_ok 10 ask $NAME
without_offload() { ethtool -K wmup tx off && far ethtool -K eth tx off; }
for how in offload software; do
	[ $how = offload ] || without_offload >/dev/null 2>&1 || fail "checksums in software"
	before=$(counter dns_answered)
	check "IPv4, checksums by $how" 10.99.0.1 "$(asks @10.99.1.1 $NAME)"
	check "another address, which is who answers" 10.99.0.1 "$(asks @10.99.1.9 $NAME)"
	check "its port 53" 10.99.0.1 "$(asks @10.99.1.9 -p 53 $NAME)"
	check "IPv6" 10.99.0.1 "$(asks @fd99:1::1 $NAME)"
	check "SRV" 1 "$(asks @fd99:1::1 $NAME SRV | wc -l)"
	check "in the kernel" 5 $(($(counter dns_answered) - before))
done
before=$(counter dns_answered)
check "userspace answers the rest" REFUSED "$(far dig +tries=1 +time=15 -p 8600 @10.99.1.1 a.example | sed -n 's/.*status: \([A-Z]*\),.*/\1/p')"
check "and TCP" 10.99.0.1 "$(asks @10.99.1.1 +tcp $NAME)"
check "not in the kernel" 0 $(($(counter dns_answered) - before))

# a tag: another network, of which this node is no part. The same frame without one is counted.
frame() { # tag as octets
	far /usr/bin/python3 - "$(ip -j link show wmup | jq -r '.[0].address')" "$1" <<-'TEXT'
		import socket, struct, sys
		query = b"\xbe\xef\1\0\0\1\0\0\0\0\0\0\3web\7service\4mesh\10internal\0\0\1\0\1"
		udp = struct.pack("!HHHH", 40000, 8600, 8 + len(query), 0) + query
		ip = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(udp), 1, 0, 64, 17, 0, bytes([10, 99, 1, 2]), bytes([10, 99, 1, 1]))
		n = sum(struct.unpack("!10H", ip))
		n = (n & 0xffff) + (n >> 16)
		ip = ip[:10] + struct.pack("!H", ~(n + (n >> 16)) & 0xffff) + ip[12:]
		s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
		s.bind(("eth", 0))
		mine = s.getsockname()[4]
		s.send(bytes.fromhex(sys.argv[1].replace(":", "")) + mine + bytes.fromhex(sys.argv[2]) + b"\x08\0" + ip + udp)
	TEXT
}
queries=$(counter dns_query)
frame 81000007
frame 88a8000781000007
frame '' # what came before it was looked at before
counted() { [ "$(counter dns_query)" -gt "$queries" ]; }
until_ok 10 counted || fail "a question without a tag is looked at"
check "those with one are not" $((queries + 1)) "$(counter dns_query)"

# who may ask
settings '"192.0.2.0/24", "fd99:1::/64"'
check "a reload" "" "$(operator -X PUT "$API/v1/agent/reload")"
check "another network is dropped" "" "$(asks @10.99.1.1 $NAME)"
check "counted" 1 "$(counter dns_drop_allow)"
check "this one may" 10.99.0.1 "$(asks @fd99:1::1 $NAME)"

# the kernel goes on without an agent
stop_agent KILL
before=$(counter dns_answered)
check "without an agent" " 10.99.0.1" "$(asks @10.99.1.1 $NAME) $(asks @fd99:1::1 $NAME)"
check "by the kernel" 1 $(($(counter dns_answered) - before))
settings ''
begin wmup
until_ok 20 attached || fail "attached again"
check "by another" 10.99.0.1 "$(asks @10.99.1.1 $NAME)"

# the link goes and comes
ip link del wmup
gone() { [ "$(hook wmup)" != true ] && [ ! -e "$PINS/links/dns_link@wmup" ]; }
until_ok 20 gone || fail "its pin goes with it"
check "that is no fault" on "$(api $API/v1/waymark/status | jq -r .plane.state)"
plug
until_ok 20 attached || fail "a link that comes is attached to"
before=$(counter dns_answered)
check "and answers" 10.99.0.1 "$(asks @10.99.1.1 $NAME)"
check "in the kernel, again" 1 $(($(counter dns_answered) - before))

# a glob takes hardware alone, no link is a pod's, nor one without Ethernet
stop_agent
start_agent --set 'kernel.dns_devices=wmu*,lo'
check "a pair is no hardware" "" "$(hook wmup)"
check "so nothing is left on it" "" "$(find "$PINS/links" -name '*dns_link*')"
matches "loopback is no link" 'name=dns_link where=lo .*Ethernet devices only' "$(cat "$TMP/agent.log")"
stop_agent
start_agent --set kernel.dns_devices=wmup --set kernel.veth_devices=wmup
matches "nor is what is a pod's" 'name=dns_link where=wmup .*kernel.veth_devices has it' "$(cat "$TMP/agent.log")"
stop_agent
begin wmup
until_ok 20 attached || fail "attached at last"
check "it answers" 10.99.0.1 "$(asks @10.99.1.1 $NAME)"
dns_balance
stop_agent
check "detached" 0 "$("$CTL" --pin-dir "$PINS" detach >/dev/null; echo $?)"
check "nothing answers" "" "$(asks @10.99.1.1 $NAME)"
matches "nor is anything attached" '^$' "$(bpftool net show dev wmup 2>/dev/null | grep dns_link)"
kill "$FAR"
done_testing

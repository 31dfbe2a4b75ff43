#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Addresses that no device of the node has are on one of the agent's own while it runs (dns.own_device): it
# answers there, gives them back when it ends, and takes up what a killed one left.
# shellcheck source=tests/net/lib.sh
. "$(dirname "$0")/lib.sh"
ip addr add 10.9.0.1/24 dev lo
addresses() { ip -o addr show dev waymark0 scope global 2>/dev/null | awk '{print $4}' | sort | xargs; }
at() { dig +short +tries=1 +time=15 "@$1" "${@:2}" web.service.mesh.internal; }
start() { start_agent --set dns.port53_addresses=10.96.0.10,fd00:10:96::a,10.9.0.1 "$@"; }

check "such addresses may be configured" 0 "$("$B/waymarkd" --check-config --set "node.data_dir=$TMP/data" \
	--set "http.socket=$TMP/http.sock" --set "kernel.pin_dir=$PINS" --set node.name=n1 --set kernel.enabled=false \
	--set dns.own_device=true --set dns.port53_addresses=10.96.0.10 >"$TMP/check" 2>&1; echo $?)"
matches "without the device they are none of this machine" "10.96.0.10 is no address of this machine" \
	"$("$B/waymarkd" --check-config --set "node.data_dir=$TMP/data" --set node.name=n1 --set dns.port53_addresses=10.96.0.10 2>&1)"

start --set dns.own_device=true
check "register" 200 "$(register web-1 web 10.1.2.3 80)"
check "those that were missing are there, each alone" "10.96.0.10/32 fd00:10:96::a/128" "$(addresses)"
for a in 10.96.0.10 fd00:10:96::a 10.9.0.1; do
	check "asked at $a" 10.1.2.3 "$(at $a)"
done
timeout 60 "$B/waymarkd" --set "node.data_dir=$TMP/data" --set "kernel.pin_dir=$PINS" --set "http.socket=$TMP/http.sock" \
	--set kernel.enabled=false --set node.name=n1 --set dns.own_device=true --set dns.port53_addresses=10.96.0.10 2>"$TMP/refused"
check "a second agent is refused" 1 $?
check "and takes nothing from the one that runs" "10.96.0.10/32 fd00:10:96::a/128" "$(addresses)"
stop_agent TERM
check "it is given back" "" "$(ip -o link show waymark0 2>/dev/null)"

start --set dns.own_device=true
stop_agent KILL
check "one that was killed leaves it" "10.96.0.10/32 fd00:10:96::a/128" "$(addresses)"
start_agent --set dns.port53_addresses=10.96.0.11 --set dns.own_device=true
check "the next has its own addresses there" 10.96.0.11/32 "$(addresses)"
stop_agent KILL
start_agent
check "and without the setting none" "" "$(ip -o link show waymark0 2>/dev/null)"
stop_agent TERM

start_agent --set dns.port53_addresses=::,10.96.0.10 --set dns.own_device=true
check "every address is no device's" 10.96.0.10/32 "$(addresses)"
check "and is asked beside one that is" "10.1.2.3 10.1.2.3" "$(at ::1) $(at 10.96.0.10)"
stop_agent TERM

ip link add waymark0-new type bridge
start --set dns.own_device=true
check "one that was killed while it made the device keeps none from it" "10.96.0.10/32 fd00:10:96::a/128" "$(addresses)"
stop_agent TERM
check "and it goes" "" "$(ip -o link show | grep waymark0)"

check "nobody shared these" "" "$(grep dns.shared "$TMP/agent.log")"

# --- another resolver is at the address, on a device of its own, as NodeLocal DNSCache: a bridge as a kernel may have no dummies
other_begin() { # [reuse]: it listens, with SO_REUSEPORT or without
	ip link show nodelocaldns >/dev/null 2>&1 || ip link add nodelocaldns type bridge
	ip addr replace 169.254.20.10/32 dev nodelocaldns
	/usr/bin/python3 -c '
import socket, sys, time
for kind in socket.SOCK_DGRAM, socket.SOCK_STREAM:
    s = socket.socket(socket.AF_INET, kind)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, int(sys.argv[1] == "reuse"))
    s.bind(("169.254.20.10", 53))
    sys.argv.append(s)
s.listen()
time.sleep(600)' "${1:-alone}" &
	OTHER=$!
	until_ok 20 listens || fail "the other resolver listens"
}
listens() { [ "$(ss -Hltn 'src 169.254.20.10:53' | wc -l)" -ge 1 ]; }
other_end() {
	kill "$OTHER"
	wait "$OTHER" 2>/dev/null
}
other_begin reuse
start_agent --set dns.port53_addresses=169.254.20.10 --set dns.own_device=true
check "beside one that shares its port the agent has the address, too" 169.254.20.10/32 "$(addresses)"
matches "it tells that it is not alone there" "dns.shared address=169.254.20.10" "$(tail -n 40 "$TMP/agent.log")"
other_end
ip link del nodelocaldns
check "once the other is gone it is all the agent's" 10.1.2.3 "$(at 169.254.20.10)"
check "over TCP, too" 10.1.2.3 "$(at 169.254.20.10 +tcp)"
other_begin reuse
stop_agent TERM
check "and back: the other still has it" nodelocaldns "$(ip -o addr show to 169.254.20.10 | awk '{print $2}')"
other_end
other_begin
"$B/waymarkd" --set "node.data_dir=$TMP/data" --set "kernel.pin_dir=$PINS" --set "http.socket=$TMP/http.sock" --set node.name=n1 \
	--set kernel.enabled=false --set dns.own_device=true --set dns.port53_addresses=169.254.20.10 2>"$TMP/refused"
check "beside one that does not share it the agent does not start" 1 $?
matches "and says why" "dns.port53_addresses 169.254.20.10: .*in use" "$(cat "$TMP/refused")"
check "and leaves nothing" "" "$(ip -o link show waymark0 2>/dev/null)"
other_end

ip link add waymark0 type bridge
start_agent
stop_agent TERM
matches "a device of somebody else is left alone" waymark0 "$(ip -o link show waymark0 2>/dev/null)"
"$B/waymarkd" --set "node.data_dir=$TMP/data" --set "kernel.pin_dir=$PINS" --set "http.socket=$TMP/http.sock" --set node.name=n1 \
	--set kernel.enabled=false --set dns.own_device=true --set dns.port53_addresses=10.96.0.10 2>"$TMP/refused"
check "and not used" 1 $?
matches "with a reason" "dns.own_device: waymark0: the device is not this agent's" "$(cat "$TMP/refused")"
exit $FAILED

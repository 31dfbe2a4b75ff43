#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# A pod: its own network namespace behind a veth pair. Its questions are answered on the host's side of
# the pair, and its connects are steered, also when the pair comes after the agent.
# shellcheck source=tests/net/lib.sh
. "$(dirname "$0")/lib.sh"

unshare --net sleep 600 &
POD=$!
pod() { nsenter -t "$POD" --net "$@"; }
# the addresses that DNS listens on are there before the pod
ip addr add 10.99.0.1/32 dev lo
ip addr add fd99::1/128 dev lo nodad
start_agent --set dns.addresses=10.99.0.1,fd99::1,127.0.0.1 --set kernel.veth_devices=wmhost
matches "a device that is not there is named" 'name=dns_veth where=wmhost .*no such device' "$(cat "$TMP/agent.log")"
register a web 10.99.0.1 8081 >/dev/null
register six six fd99::1 8081 >/dev/null
backend web-1 10.99.0.1 8081

ip link add wmhost type veth peer name wmpod
ip link set wmpod netns "$POD"
ip addr add 10.99.1.1/24 dev wmhost
ip addr add fd99:1::1/64 dev wmhost nodad
ip link set wmhost up
pod sh -c 'ip link set lo up; ip addr add 10.99.1.2/24 dev wmpod; ip addr add fd99:1::2/64 dev wmpod nodad
	ip link set wmpod up; ip route add default via 10.99.1.1; ip route add default via fd99:1::1'
attached() { api $API/v1/waymark/status | jq -e '.plane.hooks[] | select(.name == "dns_veth" and .attached)'; }
until_ok 20 attached || fail "the device is attached to when it comes"

# packets that are neither answered nor lost, over both transports, checksums included
pod_ask() { pod dig +short +tries=1 +time=15 -p 8600 "$@"; }
before=$(counter dns_answered)
check "IPv4" 10.99.0.1 "$(pod_ask @10.99.0.1 web.service.mesh.internal)"
check "IPv6" 10.99.0.1 "$(pod_ask @fd99::1 web.service.mesh.internal)"
check "the virtual name" "$(vip4 web)" "$(pod_ask @10.99.0.1 web.virtual.mesh.internal)"
check "the virtual name, AAAA over IPv6" "$(vip6 six)" "$(pod_ask @fd99::1 six.virtual.mesh.internal AAAA)"
check "SRV" 1 "$(pod_ask @fd99::1 web.service.mesh.internal SRV | wc -l)"
check "behind the datacenter's label" 10.99.0.1 "$(pod_ask @fd99::1 web.service.dc1.mesh.internal)"
check "answered on the veth" 6 $(($(counter dns_answered) - before))
check "userspace answers the rest" 1 "$(pod_ask @10.99.0.1 n1.node.mesh.internal | wc -l)"
check "and TCP" 10.99.0.1 "$(pod_ask @10.99.0.1 +tcp web.service.mesh.internal)"
check "a connect from the pod" web-1 "$(
	echo $BASHPID >"$CG/cgroup.procs"
	pod curl -s --max-time 20 "http://$(vip4 web)/"
)"

# a pair that goes and comes back
ip link del wmhost
sleep 0.2
check "the agent lives on" 200 "$(code $API/v1/agent/self)"
kill "$POD"
done_testing

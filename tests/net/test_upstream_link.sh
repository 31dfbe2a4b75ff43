#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# A server that is named by an address of a link is asked again as soon as the link is, which went and came back with
# another number, as that of a phone does; what was asked before is answered meanwhile. That we have the address on
# another link, and listen on all, does not make it us.
# shellcheck source=tests/net/lib.sh
. "$(dirname "$0")/lib.sh"
# shellcheck source=tests/net/upstream.sh
. tests/net/upstream.sh
up() { # the link and the server's address at its other end
	ip link add up0 type veth peer name up0-far
	ip link set up0-far netns "$FAR_PID"
	$FAR ip addr add fe80::53/64 dev up0-far nodad
	$FAR ip link set up0-far up
	ip link set up0 up
	until_ok 30 is_ready || fail "the link is up: $(ip addr show dev up0)"
}
is_ready() { ip -6 addr show dev up0 scope link -tentative | grep inet6; }
(exec unshare --net sleep 600) &
FAR_PID=$!
FAR="nsenter -t $FAR_PID -n"
until_ok 60 is_apart $FAR_PID
$FAR ip link set lo up
up
SERVE_IN=$FAR SERVE_FROM=$FAR serve far :: 53 '	interface-automatic: yes
	access-control: ::/0 allow
	local-zone: "example." redirect
	local-data: "example. 1 A 192.0.2.1"
	local-zone: "waymark-loop." static' up.example
printf 'nameserver fe80::53%%up0\n' >"$TMP/resolv.conf"
ip link add ours type veth peer name ours-end
ip link set ours up
ip link set ours-end up
ip addr add fe80::53/64 dev ours nodad # on another link it is ours
start_agent --set kernel.enabled=false --set dns.port53_addresses=:: --set dns.upstream=resolv.conf --set "dns.resolv_conf=$TMP/resolv.conf"
check "a server of a link" 192.0.2.1 "$(ask kept.example)"
for n in 1 2 3; do
	changed=$(upstream_counter dns_upstream_changed)
	ip link del up0
	sleep 1.5 # a look
	check "while it is gone, what was asked before is answered" "192.0.2.1 0" "$(ask kept.example) $(($(upstream_counter dns_upstream_changed) - changed))"
	ip link add "other$n" type dummy 2>/dev/null || ip link add "other$n" type bridge # the number is another's
	up
	noticed() { [ "$(upstream_counter dns_upstream_changed)" -gt "$changed" ]; }
	until_ok 20 noticed || fail "the link's number is another: it is seen"
	again=$(upstream_counter dns_upstream_again)
	check "a link that came back" "192.0.2.1 192.0.2.1" "$(ask kept.example) $(ask "b$n.example")"
	check "by the resolver that keeps answers" 0 $(($(upstream_counter dns_upstream_again) - again))
done
done_testing
